package mailbox

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

const openDir = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC

// openBase opens the base directory as a starting point. It is opened anew for
// every delivery: a descriptor that is kept would go on to point below a file
// system that is mounted later.
func openBase(base string) (int, error) {
	fd, err := openat(unix.AT_FDCWD, base, openDir, 0)
	if err != nil {
		return -1, failure("base directory "+base, err)
	}
	return fd, nil
}

// beneath opens the directory rel below base for use as a starting point; the
// errors are the kernel's, EXDEV when a symbolic link leads outside.
func beneath(base int, rel string) (int, error) {
	return beneathFlags(base, rel, openDir)
}

func beneathFlags(base int, rel string, flags int) (int, error) {
	how := unix.OpenHow{
		Flags:   uint64(flags),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS,
	}
	// openat2(2): EAGAIN when something was renamed meanwhile and the kernel
	// could not make sure. The bound ends a game that somebody plays with us.
	for range 100 {
		fd, err := unix.Openat2(base, rel, &how)
		switch err {
		case unix.EAGAIN, unix.EINTR:
			continue
		case unix.ENOSYS, unix.EPERM: // old kernel, or a sandbox that does not know the call
			return walk(base, rel, flags)
		}
		return fd, err
	}
	return -1, unix.EAGAIN
}

// walk is beneath where there is no openat2: it follows no symbolic link at all
// (ELOOP or ENOTDIR).
func walk(base int, rel string, flags int) (int, error) {
	at := base
	elements := strings.Split(rel, "/")
	for i, element := range elements {
		if element == ".." {
			closeUnless(at, base)
			return -1, unix.EXDEV
		}
		f := openDir
		if i == len(elements)-1 {
			f = flags
		}
		next, err := openat(at, element, f|unix.O_NOFOLLOW, 0)
		closeUnless(at, base)
		if err != nil {
			return -1, err
		}
		at = next
	}
	return at, nil
}

func closeUnless(fd, kept int) {
	if fd != kept {
		unix.Close(fd)
	}
}

// makeBeneath makes the directory rel below base with all its parents, mode
// 0700. When durable, every directory that got a new entry is synced.
func makeBeneath(base int, rel string, durable bool) error {
	parent, name := ".", rel
	for end := 0; end < len(rel); {
		if i := strings.IndexByte(rel[end+1:], '/'); i >= 0 {
			end += 1 + i
		} else {
			end = len(rel)
		}
		prefix := rel[:end]
		if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
			parent, name = prefix[:i], prefix[i+1:]
		} else {
			name = prefix
		}
		if err := makeOne(base, prefix, parent, name, durable); err != nil {
			return err
		}
	}
	return nil
}

func makeOne(base int, prefix, parent, name string, durable bool) error {
	fd, err := beneath(base, prefix)
	if err == nil {
		return unix.Close(fd)
	}
	if !errors.Is(err, unix.ENOENT) {
		return err
	}
	at, err := beneath(base, parent)
	if err != nil {
		return err
	}
	defer unix.Close(at)
	if err := again(func() error { return unix.Mkdirat(at, name, 0o700) }); err != nil && err != unix.EEXIST {
		return err
	}
	if durable {
		return syncDir(at)
	}
	return nil
}

// syncDir makes the entries of a directory durable. dir may be a descriptor
// that is only a starting point, which cannot be synced itself.
func syncDir(dir int) error {
	fd, err := openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return again(func() error { return unix.Fsync(fd) })
}

// openat is openat(2), once more when a signal came.
func openat(dir int, name string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags, mode)
		if err != unix.EINTR {
			return fd, err
		}
	}
}
