package mailbox

import (
	"context"
	"errors"
	"io"
	"path"

	"golang.org/x/sys/unix"

	"postern/internal/route"
)

// mboxFile is an open mbox in use by one delivery, running as its owner.
type mboxFile struct {
	store   *Store
	box     *route.Mailbox
	dir     int    // descriptor of the directory the file is in
	leaf    string // name of the file in it
	fd      int
	created bool // the file is new, and so is its directory entry
	dotted  bool // leaf.lock is ours
	// repeated is set when the message was in the file already.
	repeated bool
}

// errReplaced says that the file was renamed or removed while we waited.
var errReplaced = errors.New("mailbox was replaced while it was locked")

// deliverMbox takes the turn among our own deliveries before the identity, so
// that no thread waits with the rights of somebody else for our own doing.
func (s *Store) deliverMbox(ctx context.Context, box *route.Mailbox, rel string, m *Message) (receipt Receipt, err error) {
	done, err := s.boxes.take(ctx, path.Clean(box.Path))
	if err != nil {
		return receipt, err
	}
	defer done()
	err = s.as(s.identity(box, rel), func() error {
		base, err := openBase(box.Base)
		if err != nil && box.File {
			return failure("open "+box.Path, errors.Unwrap(err))
		}
		if err != nil {
			return err
		}
		defer unix.Close(base)
		parent, leaf := path.Split(rel)
		dir, err := beneath(base, path.Clean("./"+parent))
		if err != nil {
			return openFailed(box, err)
		}
		defer unix.Close(dir)
		for try := 1; ; try++ {
			f := mboxFile{store: s, box: box, dir: dir, leaf: leaf, fd: -1}
			err := f.deliver(ctx, m)
			receipt.Repeated = f.repeated
			if err != errReplaced {
				return err
			}
			if try == s.o.Timing.Attempts {
				return failure("open "+box.Path, err)
			}
		}
	})
	return receipt, err
}

func (f *mboxFile) deliver(ctx context.Context, m *Message) error {
	if err := f.open(); err != nil {
		return openFailed(f.box, err)
	}
	defer unix.Close(f.fd)
	if err := f.check(); err != nil {
		return err
	}
	defer f.unlock()
	if err := f.lock(ctx); err != nil {
		return err
	}
	if !f.stillThere() {
		return errReplaced
	}
	if err := f.append(m); err != nil {
		return failure("error writing message", err)
	}
	return nil
}

// open opens the file or makes it. A symbolic link is not followed, and a pipe
// or device is not waited for.
func (f *mboxFile) open() (err error) {
	const flags = unix.O_RDWR | unix.O_APPEND | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	for range 10 { // made and removed by others between our two calls: once more
		if f.fd, err = openat(f.dir, f.leaf, flags, 0); err != unix.ENOENT {
			return err
		}
		if f.fd, err = openat(f.dir, f.leaf, flags|unix.O_CREAT|unix.O_EXCL, 0o600); err != unix.EEXIST {
			f.created = err == nil
			return err
		}
	}
	return err
}

func openFailed(box *route.Mailbox, err error) error {
	switch {
	case errors.Is(err, unix.EXDEV):
		return leaves(box.Path, box.Base)
	case errors.Is(err, unix.ELOOP):
		return refusal("4.2.0", "destination "+box.Path+" is a symbolic link")
	case errors.Is(err, unix.ENXIO), errors.Is(err, unix.EISDIR):
		return notRegular(box, err)
	}
	return failure("open "+box.Path, err)
}

// notRegular has the error of the system for those who have their own words.
func notRegular(box *route.Mailbox, err error) error {
	e := refusal("4.2.0", "destination "+box.Path+" is not a regular file")
	e.Err = err
	return e
}

// check refuses what somebody else may have put in the place of the mailbox.
func (f *mboxFile) check() error {
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return failure("open "+f.box.Path, err)
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return notRegular(f.box, unix.ENXIO) // as a pipe that nobody reads
	case st.Nlink > 1:
		return refusal("4.2.0", "destination "+f.box.Path+" has several names (hard links)")
	case f.box.File && st.Mode&0o111 != 0:
		return &Error{DSN: "5.7.1", Reason: "file is executable"}
	case f.store.o.StrictOwner && !f.box.File && int(st.Uid) != f.box.UID:
		return refusal("4.2.0", "destination "+f.box.Path+" is not owned by recipient")
	}
	return nil
}

// stillThere reports whether the locked file is the one that others see.
func (f *mboxFile) stillThere() bool {
	var open, named unix.Stat_t
	return unix.Fstat(f.fd, &open) == nil &&
		unix.Fstatat(f.dir, f.leaf, &named, unix.AT_SYMLINK_NOFOLLOW) == nil &&
		open.Dev == named.Dev && open.Ino == named.Ino
}

// append writes the message to the end and syncs it; when that fails the file
// gets its old length back.
func (f *mboxFile) append(m *Message) error {
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return err
	}
	if m.Attempt > 0 && st.Size > 0 {
		if err := f.lookBack(m, &st); err != nil {
			return err
		}
	}
	var err error
	if !f.repeated {
		if err := f.cutPart(m, &st); err != nil {
			return err
		}
		from := FromLine(m.Sender, f.store.o.Now())
		f.setMark(st.Size, from)
		err = f.write(m, st.Size, from)
	}
	if err == nil {
		f.clearMark()
		err = again(func() error { return unix.Fsync(f.fd) })
	}
	if err == nil && (f.created || f.repeated) {
		err = f.syncEntry()
	}
	if err == nil || f.repeated {
		return err
	}
	if cut := again(func() error { return unix.Ftruncate(f.fd, st.Size) }); cut != nil {
		f.store.o.Log.Warningf("%s: remove a partial message from %s: %v", m.ID, f.box.Path, cut)
	} else {
		f.clearMark()
	}
	return err
}

// lookBack finds an earlier delivery of the message, and cuts off a part of one.
func (f *mboxFile) lookBack(m *Message, st *unix.Stat_t) error {
	found, err := f.findEarlier(m, st.Size)
	if err != nil {
		return err
	}
	if f.repeated = found.whole; f.repeated {
		f.store.o.Log.Infof("%s: message is in %s already", m.ID, f.box.Path)
		return nil
	}
	if found.torn < 0 {
		return nil
	}
	f.store.o.Log.Infof("%s: removing a partial message from %s", m.ID, f.box.Path)
	if err := again(func() error { return unix.Ftruncate(f.fd, found.torn) }); err != nil {
		return err
	}
	st.Size = found.torn
	return nil
}

func (f *mboxFile) write(m *Message, size int64, from []byte) error {
	gap, err := f.gap(size)
	if err != nil {
		return err
	}
	room := f.store.room()
	if room >= 0 {
		room = max(room-size, 0)
	}
	out := newOutput(f.fd, room)
	defer out.release()
	// Errors of out stick, so that the last flush tells them all.
	io.WriteString(out, gap)
	out.Write(from)
	if err := f.writeMessage(out, m); err != nil {
		return err
	}
	return out.flush()
}

// writeMessage writes what follows the From line, to the empty line at the end.
func (f *mboxFile) writeMessage(out io.Writer, m *Message) error {
	if _, err := out.Write(m.Header); err != nil {
		return err
	}
	text := fromQuoter{w: out}
	if err := copyBody(&text, m.Body); err != nil {
		return err
	}
	return text.finish()
}

// gap is what the file lacks to end in an empty line.
func (f *mboxFile) gap(size int64) (string, error) {
	var end [2]byte
	n := min(size, 2)
	if n == 0 {
		return "", nil
	}
	if _, err := unix.Pread(f.fd, end[2-n:], size-n); err != nil {
		return "", err
	}
	switch {
	case end[1] != '\n':
		return "\n\n", nil
	case end[0] != '\n':
		return "\n", nil
	}
	return "", nil
}

// syncEntry makes the name of a new file durable, also where the directory may
// be written to but not read (mode 1733).
func (f *mboxFile) syncEntry() error {
	err := syncDir(f.dir)
	if err == unix.EACCES {
		return again(func() error { return unix.Syncfs(f.fd) })
	}
	return err
}

// copyBody passes the text on in large pieces.
func copyBody(w io.Writer, b Body) error {
	array := buffers.Get().(*[outputSize]byte)
	defer buffers.Put(array)
	for at, size := int64(0), b.Size(); at < size; {
		piece := array[:min(size-at, outputSize)]
		n, err := b.ReadAt(piece, at)
		if n < len(piece) {
			return &readError{err}
		}
		if _, err := w.Write(piece); err != nil {
			return err
		}
		at += int64(n)
	}
	return nil
}
