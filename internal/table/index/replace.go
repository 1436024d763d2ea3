package index

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"postern/internal/table"
)

// errUnchanged says that there is nothing to write.
var errUnchanged = errors.New("nothing to write")

// attributes are the mode and the owner of a new file.
type attributes struct {
	mode     fs.FileMode
	uid, gid int         // -1: ours
	source   fs.FileInfo // the source text when it was read; nil: there is none
}

// fresh are the attributes of a new index: those of any of Postfix's files,
// and with a source text no more than its mode allows (postmap(1)).
func fresh(source fs.FileInfo) attributes {
	m := fs.FileMode(0o644)
	if source != nil && source.Mode().IsRegular() {
		m &= source.Mode().Perm() | 0o600
	}
	return attributes{mode: m, uid: -1, gid: -1}
}

// attributes are those of an index that is built from this source text.
func (b *Builder) attributes(source fs.FileInfo) attributes {
	a := fresh(source)
	if b.NoMode {
		a = fresh(nil)
	}
	a.source = source
	return a
}

// reader is the index that is replaced, locked. Without a mapping there is
// none, or none whose content matters.
type reader struct {
	*mapping
}

// each calls f for every record, or returns why they cannot be read.
func (r reader) each(f func(Record) error) error {
	if r.mapping == nil {
		return nil
	}
	return r.guard(func() error {
		for record, err := range r.reader.All() {
			if err == nil {
				err = f(record)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// replace writes the records that collect returns over the index. With read,
// collect is given the index as it is.
func (b *Builder) replace(ctx context.Context, a attributes, read bool, collect func(old reader) (*Records, error)) error {
	path := b.index()
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	h, err := b.hold(ctx, path)
	if err != nil {
		return err
	}
	defer h.close()
	var old reader
	if h.index >= 0 {
		var st syscall.Stat_t
		if err := retry(func() error { return syscall.Fstat(h.index, &st) }); err != nil {
			return table.OpenError("database "+path, err)
		}
		a.mode, a.uid, a.gid = fs.FileMode(st.Mode&0o7777), int(st.Uid), int(st.Gid)
		if read && st.Size > 0 {
			old.mapping = &mapping{fd: h.index, stamp: stampOf(&st)}
			defer old.unmap() // a mapping would keep the lock
			if err := old.load(b.Format, path); err != nil {
				return err
			}
		}
	}
	records, err := collect(old)
	if errors.Is(err, errUnchanged) {
		return nil
	}
	if err != nil {
		return err
	}
	b.progress(partBuild)
	err = b.write(ctx, path, a, records)
	if errors.Is(err, fs.ErrPermission) && h.index >= 0 && b.Format.Lock != NoLock {
		err = b.overwrite(ctx, path, h.index, records)
		if err == nil {
			err = b.date(path, a)
		}
	}
	return err
}

// held keeps other builders out while it is open.
type held struct {
	lock  int // descriptor of what is locked: the index, or its directory
	index int // descriptor of the index, -1 when there is none
}

func (h held) close() {
	syscall.Close(h.lock)
	if h.index >= 0 && h.index != h.lock {
		syscall.Close(h.index)
	}
}

// hold takes the lock that Postfix takes on an index that is there. When there
// is none, or Postfix does not lock it (cdb), it locks the directory, which
// keeps out builders of Postern only.
func (b *Builder) hold(ctx context.Context, path string) (held, error) {
	for {
		h, lock, err := b.openHeld(path)
		if err != nil {
			return held{}, err
		}
		if err := lock.acquire(ctx, h.lock, true); err != nil {
			h.close()
			return held{}, fmt.Errorf("lock %s: %w", path, err)
		}
		if stillNamed(path, h.index) {
			return h, nil
		}
		h.close()
	}
}

// openHeld opens what is to be locked, and says how.
func (b *Builder) openHeld(path string) (held, Lock, error) {
	index, err := openIndex(path, syscall.O_RDWR)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return held{}, NoLock, err
	}
	if err == nil && b.Format.Lock != NoLock {
		return held{index, index}, b.Format.Lock, nil
	}
	dir, err := syscall.Open(filepath.Dir(path), syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		if index >= 0 {
			syscall.Close(index)
		}
		return held{}, NoLock, table.OpenError("database "+path, err)
	}
	return held{dir, index}, Flock, nil
}

// stillNamed reports whether path means the file behind the descriptor, or
// nothing when that is -1.
func stillNamed(path string, fd int) bool {
	named, err := statPath(&table.Opener{}, path)
	if fd < 0 {
		return errors.Is(err, fs.ErrNotExist)
	}
	var st syscall.Stat_t
	return err == nil && retry(func() error { return syscall.Fstat(fd, &st) }) == nil && named.file() == stampOf(&st).file()
}

// write writes the records into a new file and gives it the name path.
func (b *Builder) write(ctx context.Context, path string, a attributes, records *Records) (err error) {
	prefix := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".")
	removeLeftovers(prefix)
	file, err := os.CreateTemp(filepath.Dir(prefix), filepath.Base(prefix))
	if err != nil {
		return fmt.Errorf("create index %s: %w", path, err)
	}
	defer func() {
		file.Close()
		if err != nil {
			os.Remove(file.Name())
		}
	}()
	total := float64(records.Bytes() + 1)
	out := bufio.NewWriterSize(&watched{ctx: ctx, to: file, report: func(done int64) {
		b.progress(partBuild + (1-partBuild)*min(1, float64(done)/total))
	}}, 1<<20)
	if err := b.Format.Write(out, records); err != nil {
		return fmt.Errorf("write index %s: %w", path, err)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write index %s: %w", path, err)
	}
	if err := own(file, a); err != nil && b.Format.Lock == NoLock {
		b.warn("%s: the owner %d:%d cannot be kept: %v", path, a.uid, a.gid, err)
	} else if err != nil {
		return fmt.Errorf("write index %s: the owner %d:%d cannot be kept: %w", path, a.uid, a.gid, err)
	}
	if err := file.Chmod(a.mode); err != nil {
		return fmt.Errorf("write index %s: %w", path, err)
	}
	if err := b.date(file.Name(), a); err != nil {
		return fmt.Errorf("write index %s: %w", path, err)
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("write index %s: %w", path, err)
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return fmt.Errorf("write index %s: %w", path, err)
	}
	return syncDirectory(filepath.Dir(path))
}

// removeLeftovers removes what builders left behind that were killed. The lock
// says that none is at work.
func removeLeftovers(prefix string) {
	names, _ := filepath.Glob(prefix + "[0-9]*") // of a name with a * or [ in it they stay
	for _, name := range names {
		os.Remove(name)
	}
}

// overwrite writes the records into the index itself, as Postfix does. It is
// for those who may write the file but not its directory, or not give a new file
// the owner of the old one. The lock keeps readers waiting. When the disk is
// full the old content is written back; but a process or a machine that dies
// meanwhile leaves half a file.
func (b *Builder) overwrite(ctx context.Context, path string, fd int, records *Records) error {
	var content bytes.Buffer
	if err := b.Format.Write(&content, records); err != nil {
		return fmt.Errorf("write index %s: %w", path, err)
	}
	var st syscall.Stat_t
	if err := retry(func() error { return syscall.Fstat(fd, &st) }); err != nil {
		return table.OpenError("database "+path, err)
	}
	old := make([]byte, st.Size)
	if n, err := pread(fd, old); err != nil || n < len(old) {
		return fmt.Errorf("read index %s: %d of %d bytes, %v", path, n, len(old), err)
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	err := fill(fd, content.Bytes())
	if err != nil {
		if back := fill(fd, old); back != nil {
			err = fmt.Errorf("%w; and the old content cannot be written back (%v): build it again", err, back)
		}
		return fmt.Errorf("write index %s: %w", path, err)
	}
	return nil
}

// pread reads a file from its beginning.
func pread(fd int, into []byte) (done int, err error) {
	for done < len(into) {
		var n int
		err = retry(func() (err error) { n, err = syscall.Pread(fd, into[done:], int64(done)); return err })
		if err != nil || n == 0 {
			return done, err
		}
		done += n
	}
	return done, nil
}

// fill makes data the content of a file.
func fill(fd int, data []byte) error {
	for at := 0; at < len(data); {
		var n int
		err := retry(func() (err error) { n, err = syscall.Pwrite(fd, data[at:], int64(at)); return err })
		if err != nil {
			return err
		}
		at += n
	}
	if err := retry(func() error { return syscall.Ftruncate(fd, int64(len(data))) }); err != nil {
		return err
	}
	return retry(func() error { return syscall.Fsync(fd) })
}

// date makes an index as old as the source text that it was built from, when
// that was written to meanwhile: the text is to count as newer.
func (b *Builder) date(name string, a attributes) error {
	if a.source == nil {
		return nil
	}
	now, err := os.Stat(b.Path)
	if err != nil || os.SameFile(a.source, now) && a.source.ModTime().Equal(now.ModTime()) && a.source.Size() == now.Size() {
		return nil
	}
	return os.Chtimes(name, a.source.ModTime(), a.source.ModTime())
}

// own gives a new file the owner and the group of the one it replaces.
func own(file *os.File, a attributes) error {
	if a.uid < 0 {
		return nil
	}
	return file.Chown(a.uid, a.gid)
}

// syncDirectory makes a rename last.
func syncDirectory(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// watched is a writer that ends with its context, and says how far it got.
type watched struct {
	ctx    context.Context
	to     io.Writer
	done   int64
	report func(done int64)
}

func (w *watched) Write(p []byte) (int, error) {
	if err := context.Cause(w.ctx); err != nil {
		return 0, err
	}
	n, err := w.to.Write(p)
	w.done += int64(n)
	w.report(w.done)
	return n, err
}

// readAll reads r, of which size bytes are expected.
func readAll(ctx context.Context, r io.Reader, size int64, report func(done int64)) ([]byte, error) {
	// One byte more than the size lets the reader meet the end without growing.
	data := make([]byte, 0, size+1)
	for {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		n, err := r.Read(data[len(data):min(cap(data), len(data)+4<<20)])
		data = data[:len(data)+n]
		report(int64(len(data)))
		if err == io.EOF {
			return data, nil
		}
		if err != nil {
			return nil, err
		}
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
	}
}
