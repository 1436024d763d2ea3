package index

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"postern/internal/table"
)

// mapping is an open index file whose bytes are mapped into memory. Its
// methods, but close, are safe for concurrent use.
//
// Nothing is copied and no lock is held while records are looked for. Instead,
// whoever has read an answer asks the file whether it was modified since it was
// mapped (unchanged), and throws the answer away if so: then it may be half old
// and half new.
type mapping struct {
	fd     int
	data   []byte
	reader Reader
	stamp  stamp // when it was mapped
	// rewritten says that files of this kind are written in place. Others are
	// replaced, which once a second is soon enough to notice.
	rewritten bool
}

// stamp is what changes when a file is written, replaced or removed: the time
// of change (ctime) of its inode, which nobody can set back.
type stamp struct {
	device, inode  uint64
	size           int64
	changed, wrote syscall.Timespec
}

// Times of files advance in ticks: a file written twice within one has the same
// time. tick is longer than any.
const tick = 20 * time.Millisecond

// lockPause is the time between attempts to lock a file, and lockPatience how
// long they go on. Debian's postmap keeps its lock while it writes.
const (
	lockPause    = 10 * time.Millisecond
	lockPatience = time.Minute
)

var (
	errChanged = errors.New("the index file changed while it was read")
	errLocked  = fmt.Errorf("another process has kept the index file locked for %v", lockPatience)
)

func stampOf(st *syscall.Stat_t) stamp {
	return stamp{uint64(st.Dev), st.Ino, st.Size, st.Ctim, st.Mtim}
}

// statPath is the stamp of the file that now has that name, which only the
// helper may be able to see.
func statPath(o *table.Opener, path string) (stamp, error) {
	info, err := o.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	return stampOf(info.Sys().(*syscall.Stat_t)), nil
}

// retry calls a system call until no signal interrupts it.
func retry(call func() error) error {
	for {
		if err := call(); err != syscall.EINTR {
			return err
		}
	}
}

func (s stamp) file() [2]uint64 { return [2]uint64{s.device, s.inode} }

func (s stamp) modified() time.Time { return time.Unix(s.wrote.Unix()) }

// openMapping maps the file under a shared lock, so that it is whole. An error
// of the file is worded like Postfix's.
func openMapping(ctx context.Context, o *table.Opener, f Format, path string) (*mapping, error) {
	var err error
	for range 100 {
		var m *mapping
		if m, err = tryMapping(ctx, o, f, path); err != errChanged {
			return m, err
		}
	}
	return nil, err
}

func tryMapping(ctx context.Context, o *table.Opener, f Format, path string) (_ *mapping, err error) {
	fd, err := openIndex(path, syscall.O_RDONLY)
	if errors.Is(err, fs.ErrPermission) {
		fd, err = openByOther(o, path)
	}
	if err != nil {
		return nil, err
	}
	m := &mapping{fd: fd, rewritten: f.Lock != NoLock}
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	if err := f.Lock.acquire(ctx, fd, false); err != nil {
		return nil, err
	}
	defer f.Lock.release(fd)
	if err := m.settle(ctx, o, path); err != nil {
		return nil, err
	}
	return m, m.load(f, path)
}

// load maps the file and makes sense of its head.
func (m *mapping) load(f Format, path string) (err error) {
	if m.stamp.size == 0 {
		return fmt.Errorf("open database %s: %w: it is empty", path, ErrDamaged)
	}
	if int64(int(m.stamp.size)) != m.stamp.size {
		return table.OpenError("database "+path, syscall.EFBIG)
	}
	m.data, err = syscall.Mmap(m.fd, 0, int(m.stamp.size), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return table.OpenError("database "+path, err)
	}
	err = m.guard(func() (err error) {
		m.reader, err = f.Open(m.data)
		return err
	})
	if err != nil && err != errChanged {
		err = fmt.Errorf("open database %s: %w", path, err)
	}
	return err
}

// openIndex opens a regular file.
func openIndex(path string, flags int) (fd int, err error) {
	err = retry(func() error {
		fd, err = syscall.Open(path, flags|syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
		return err
	})
	if err != nil {
		return -1, table.OpenError("database "+path, err)
	}
	var st syscall.Stat_t
	if err := retry(func() error { return syscall.Fstat(fd, &st) }); err != nil {
		syscall.Close(fd)
		return -1, table.OpenError("database "+path, err)
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFREG {
		syscall.Close(fd)
		return -1, fmt.Errorf("open database %s: not a regular file", path)
	}
	return fd, nil
}

// openByOther opens an index that this process may not read.
func openByOther(o *table.Opener, path string) (int, error) {
	file, err := o.OpenFile(path)
	if err != nil {
		return -1, table.OpenError("database "+path, err)
	}
	defer file.Close()
	return unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
}

// settle takes the stamp of the file, at a time when any later change will give
// it another one. errChanged: the name means another file by now.
func (m *mapping) settle(ctx context.Context, o *table.Opener, path string) error {
	for {
		var st syscall.Stat_t
		if err := retry(func() error { return syscall.Fstat(m.fd, &st) }); err != nil {
			return table.OpenError("database "+path, err)
		}
		m.stamp = stampOf(&st)
		named, err := statPath(o, path)
		if err != nil {
			return table.OpenError("database "+path, err)
		}
		if named.file() != m.stamp.file() {
			return errChanged
		}
		age := time.Since(time.Unix(st.Ctim.Unix()))
		if age < 0 || age > tick {
			return nil
		}
		if err := pause(ctx, tick-age+time.Millisecond); err != nil {
			return err
		}
	}
}

// pause waits, unless the context ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// unchanged reports whether the file is as it was when it was mapped.
func (m *mapping) unchanged() bool {
	var st syscall.Stat_t
	for {
		err := syscall.Fstat(m.fd, &st)
		if err == nil {
			return stampOf(&st) == m.stamp
		}
		if err != syscall.EINTR {
			return false
		}
	}
}

// removed reports whether all that happened to the file since it was mapped is
// that names of it were made or removed, and takes its new stamp if so.
func (m *mapping) removed() bool {
	var st syscall.Stat_t
	if err := retry(func() error { return syscall.Fstat(m.fd, &st) }); err != nil {
		return false
	}
	now := stampOf(&st)
	if now.size != m.stamp.size || now.wrote != m.stamp.wrote {
		return false
	}
	m.stamp = now
	return true
}

// guard calls read, which looks at the mapped bytes. The memory behind them
// vanishes when another process shortens the file; then read ends there and
// guard returns errChanged.
func (m *mapping) guard(read func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if fault := recover(); fault != nil {
			at, ok := fault.(interface{ Addr() uintptr })
			if !ok || len(m.data) == 0 || at.Addr()-uintptr(unsafe.Pointer(&m.data[0])) >= uintptr(len(m.data)) {
				panic(fault)
			}
			err = errChanged
			if m.unchanged() {
				err = fmt.Errorf("%w: it cannot be read from the disk", ErrDamaged)
			}
		}
	}()
	return read()
}

// cString is text up to its first NUL, as C sees it.
func cString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// unmap gives the memory back.
func (m *mapping) unmap() {
	if m.data != nil {
		syscall.Munmap(m.data)
		m.data, m.reader = nil, nil
	}
}

func (m *mapping) close() {
	m.unmap()
	syscall.Close(m.fd)
}
