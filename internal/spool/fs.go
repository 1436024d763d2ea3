package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// FS is what the spool asks of a file system. The tests put a simulated one
// here, that forgets what was not synced. Names are absolute; errors are those
// of package os, so that errors.Is finds fs.ErrNotExist and syscall.ENOSPC.
type FS interface {
	// Open opens a regular file with the flags of package os. A symbolic link
	// as the last element is not followed, and nothing else but a regular file
	// is opened or waited for. A file made has mode 0600.
	Open(name string, flag int) (File, error)
	// Mkdir makes a directory of mode 0700. One that exists is no error.
	Mkdir(name string) error
	Rename(from, to string) error
	Remove(name string) error
	// ReadDir returns the names in a directory in ascending order.
	ReadDir(name string) ([]string, error)
	// SyncDir makes the entries of a directory durable.
	SyncDir(name string) error
	// Volume describes the file system that holds name.
	Volume(name string) (Volume, error)
	// OpenDevice opens the file system that holds the directory name.
	OpenDevice(name string) (Device, error)
	// Lock takes the lock on a file until the result is closed and writes id
	// into it. Held by another: a *LockedError with the id that the holder wrote.
	Lock(name, id string) (io.Closer, error)
}

// File is an open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	// Reserve takes the space of the first size bytes and fills them with
	// zeros, so that writing there later needs no new blocks.
	Reserve(size int64) error
	// Datasync makes the content durable (fdatasync). After an error nothing
	// is known of what was written before, and asking again proves nothing.
	Datasync() error
}

// Device is a file system opened for syncing. An error of write-back since it
// was opened is reported by the next Sync (Linux 5.8 and later).
type Device interface {
	io.Closer
	Sync() error
	Number() uint64 // st_dev
}

// Volume is what statfs tells.
type Volume struct {
	Free int64 // bytes free for us
	// NoInodes: no further file can be made. File systems that make inodes as
	// they need them never say so.
	NoInodes bool
	Mode     Mode
	Type     string // "ext4", "nfs"; a number in hex when unknown
	// Remote: the spool cannot live here (network and user-space file systems).
	Remote bool
}

// errNotRegular is a directory, a pipe or the like in the place of a file.
var errNotRegular = errors.New("not a regular file")

type osFS struct{}

var _ FS = osFS{}

func (osFS) Open(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &os.PathError{Op: "open", Path: name, Err: errNotRegular}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) Mkdir(name string) error {
	if err := os.Mkdir(name, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

func (osFS) Rename(from, to string) error { return os.Rename(from, to) }
func (osFS) Remove(name string) error     { return os.Remove(name) }

func (osFS) ReadDir(name string) ([]string, error) {
	entries, err := os.ReadDir(name)
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}

// openDir opens a directory; a pipe in its place is not waited for.
func openDir(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
}

func (osFS) SyncDir(name string) error {
	d, err := openDir(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func (osFS) Volume(name string) (Volume, error) {
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(name, &st) }); err != nil {
		return Volume{}, &os.PathError{Op: "statfs", Path: name, Err: err}
	}
	v := volumeOf(int64(st.Type))
	v.Free = int64(st.Bavail) * st.Bsize
	v.NoInodes = st.Files > 0 && st.Ffree == 0
	return v, nil
}

func (osFS) OpenDevice(name string) (Device, error) {
	d, err := openDir(name)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(int(d.Fd()), &st) }); err != nil {
		d.Close()
		return nil, &os.PathError{Op: "stat", Path: name, Err: err}
	}
	return osDevice{d, st.Dev}, nil
}

// Lock holds flock(2), which ends with the process however that ends.
func (osFS) Lock(name, id string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	err = retry(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		defer f.Close()
		held, _ := io.ReadAll(io.LimitReader(f, 32))
		return nil, &LockedError{Path: name, Holder: strings.TrimSpace(string(held))}
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt([]byte(id+"\n"), 0)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return f, nil
}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Reserve writes zeros into allocated blocks: on ext4 a sync of such a file
// commits no journal, which is three times as fast as a growing file or one
// that was only allocated. It syncs as it goes: a sync of the log waits for all
// that was written before it, and must not have to wait for a whole segment.
func (f osFile) Reserve(size int64) error {
	err := retry(func() error { return unix.Fallocate(int(f.Fd()), 0, 0, size) })
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return &os.PathError{Op: "fallocate", Path: f.Name(), Err: err}
	}
	zeros := make([]byte, 1<<20)
	for off := int64(0); off < size; {
		n, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-off)], off)
		if err == nil {
			err = f.Datasync()
		}
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

func (f osFile) Datasync() error {
	if err := retry(func() error { return unix.Fdatasync(int(f.Fd())) }); err != nil {
		return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	}
	return nil
}

type osDevice struct {
	*os.File
	dev uint64
}

func (d osDevice) Number() uint64 { return d.dev }

func (d osDevice) Sync() error {
	if err := retry(func() error { return unix.Syncfs(int(d.Fd())) }); err != nil {
		return &os.PathError{Op: "syncfs", Path: d.Name(), Err: err}
	}
	return nil
}

// retry repeats a system call that a signal interrupted.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// writeFile puts a small file in place: temporary name, sync, rename, sync of
// the directory. After a power cut there is the old file or the new one.
func writeFile(fsys FS, name string, content []byte) error {
	temp := name + ".new"
	f, err := fsys.Open(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	if err == nil {
		err = f.Datasync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = fsys.Rename(temp, name)
	}
	if err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(name))
}

// readFile reads a whole file of at most limit bytes.
func readFile(fsys FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, fmt.Errorf("%s: %w: %d bytes where at most %d are expected", name, ErrDamaged, size, limit)
	}
	b := make([]byte, size)
	_, err = io.ReadFull(io.NewSectionReader(f, 0, size), b)
	return b, err
}
