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
	uid, gid int // -1: ours
}

// mode is that of a new index: that of the source text, without what others
// may write, as postmap(1) has it. without: that of any new file.
func mode(source fs.FileInfo, without bool) attributes {
	mask := syscall.Umask(0o077)
	syscall.Umask(mask)
	m := fs.FileMode(0o644 &^ mask)
	if !without && source.Mode().IsRegular() {
		m = 0o644 & (source.Mode().Perm() | 0o600)
	}
	return attributes{m, -1, -1}
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
	fd, exists, err := b.lock(ctx, path)
	if err != nil {
		return err
	}
	defer syscall.Close(fd) // and the lock with it
	var old reader
	if exists {
		var st syscall.Stat_t
		if err := retry(func() error { return syscall.Fstat(fd, &st) }); err != nil {
			return table.OpenError("database "+path, err)
		}
		a = attributes{fs.FileMode(st.Mode & 0o7777), int(st.Uid), int(st.Gid)}
		if read && st.Size > 0 {
			old.mapping = &mapping{fd: fd, stamp: stampOf(&st)}
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
	if errors.Is(err, fs.ErrPermission) && exists && b.Format.Lock != NoLock {
		return b.overwrite(ctx, path, fd, records)
	}
	return err
}

// lock keeps other builders out: with the lock that Postfix takes on an index
// that is there, else with one on its directory. fd holds the lock.
func (b *Builder) lock(ctx context.Context, path string) (fd int, exists bool, err error) {
	for {
		lock := b.Format.Lock
		fd, err = openIndex(path, syscall.O_RDWR)
		exists = err == nil
		if errors.Is(err, fs.ErrNotExist) {
			lock = Flock
			fd, err = syscall.Open(filepath.Dir(path), syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
			if err != nil {
				return -1, false, table.OpenError("database "+path, err)
			}
		}
		if err != nil {
			return -1, false, err
		}
		if err := lock.acquire(ctx, fd, true); err != nil {
			syscall.Close(fd)
			return -1, false, fmt.Errorf("lock %s: %w", path, err)
		}
		if stillNamed(path, fd, exists) {
			return fd, exists, nil
		}
		syscall.Close(fd)
	}
}

// stillNamed reports whether path means the file behind fd, or nothing when
// there was none.
func stillNamed(path string, fd int, exists bool) bool {
	named, err := statPath(path)
	if !exists {
		return errors.Is(err, fs.ErrNotExist)
	}
	var st syscall.Stat_t
	return err == nil && retry(func() error { return syscall.Fstat(fd, &st) }) == nil && named.file() == stampOf(&st).file()
}

// write writes the records into a new file and gives it the name path.
func (b *Builder) write(ctx context.Context, path string, a attributes, records *Records) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".")
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
	if a.uid >= 0 {
		b.own(file, path, a)
	}
	if err := file.Chmod(a.mode); err != nil {
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

// overwrite writes the records into the index itself, as Postfix does. It is
// for those who may write the file but not its directory. The lock keeps readers
// waiting; only a crash of the machine can leave half a file.
func (b *Builder) overwrite(ctx context.Context, path string, fd int, records *Records) error {
	var content bytes.Buffer
	if err := b.Format.Write(&content, records); err != nil {
		return fmt.Errorf("write index %s: %w", path, err)
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	err := retry(func() error { return syscall.Ftruncate(fd, 0) })
	for at, rest := int64(0), content.Bytes(); err == nil && len(rest) > 0; {
		var n int
		err = retry(func() (err error) { n, err = syscall.Pwrite(fd, rest, at); return err })
		at, rest = at+int64(n), rest[max(n, 0):]
	}
	if err == nil {
		err = retry(func() error { return syscall.Fsync(fd) })
	}
	if err != nil {
		return fmt.Errorf("write index %s: %w", path, err)
	}
	return nil
}

// own gives a new file the owner of the one it replaces. Who may not do that
// is told that the file is theirs now.
func (b *Builder) own(file *os.File, path string, a attributes) {
	if a.uid == os.Geteuid() && a.gid == os.Getegid() {
		return
	}
	if err := file.Chown(a.uid, a.gid); err != nil {
		b.warn("%s: the owner %d:%d cannot be kept: %v", path, a.uid, a.gid, err)
	}
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
