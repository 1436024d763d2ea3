package index

import (
	"context"
	"io"
	"syscall"
	"time"
)

// Commands of fcntl(2) for locks that belong to the open file, not to the
// process, so that goroutines do not lose each other's. They exclude the locks
// of other processes like F_SETLK does.
const fOFDSetLk = 37

// acquire takes the lock on the whole file, shared or exclusive. It waits until
// others let go, the context ends, or patience does.
func (l Lock) acquire(ctx context.Context, fd int, exclusive bool) error {
	for waited := time.Duration(0); ; waited += lockPause {
		err := l.try(fd, exclusive)
		switch {
		case err == nil:
			return nil
		case err != syscall.EAGAIN && err != syscall.EACCES:
			return err
		case waited >= lockPatience:
			return errLocked
		}
		if err := pause(ctx, lockPause); err != nil {
			return err
		}
	}
}

func (l Lock) try(fd int, exclusive bool) error {
	switch l {
	case Flock:
		how := syscall.LOCK_SH
		if exclusive {
			how = syscall.LOCK_EX
		}
		return retry(func() error { return syscall.Flock(fd, how|syscall.LOCK_NB) })
	case FcntlLock:
		typ := int16(syscall.F_RDLCK)
		if exclusive {
			typ = syscall.F_WRLCK
		}
		return l.fcntl(fd, typ)
	}
	return nil
}

func (l Lock) fcntl(fd int, typ int16) error {
	whole := syscall.Flock_t{Type: typ, Whence: io.SeekStart}
	return retry(func() error { return syscall.FcntlFlock(uintptr(fd), fOFDSetLk, &whole) })
}

// release gives the lock back.
func (l Lock) release(fd int) {
	switch l {
	case Flock:
		retry(func() error { return syscall.Flock(fd, syscall.LOCK_UN) })
	case FcntlLock:
		l.fcntl(fd, syscall.F_UNLCK)
	}
}
