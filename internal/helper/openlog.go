package helper

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"postern/internal/maillog"
	"postern/internal/privsep"
)

// openLog opens the log file for the server.
func (h *Helper) openLog(name string) (*os.File, error) {
	if h.log == "" || name != h.log {
		return nil, fmt.Errorf("%s is not maillog_file: %w", name, ErrRefused)
	}
	return OpenLog(h.o.As, h.policy.Load().Owner, name)
}

// OpenLog opens a log file for appending, or makes it, with the mode 0640. In a
// directory of mail_owner that is done with mail_owner's rights, who could have
// put anything there: a symbolic link is an error then, and so is what is no
// regular file or belongs to root.
func OpenLog(as privsep.Runner, owner privsep.Identity, name string) (*os.File, error) {
	err := (&Policy{Owner: owner}).notOurs(name)
	if !errors.Is(err, ErrRefused) {
		if err != nil {
			return nil, err
		}
		return maillog.OpenFile(name)
	}
	fd := -1
	err = as.Do(owner, func() (err error) {
		fd, err = appendTo(name)
		return err
	})
	if err != nil {
		closeFile(fd)
		return nil, fmt.Errorf("as mail_owner, who owns the directory: %w", &os.PathError{Op: "open", Path: name, Err: err})
	}
	return os.NewFile(uintptr(fd), name), nil
}

// errNotRegular is something else than a file.
var errNotRegular = errors.New("not a regular file")

// appendTo opens a regular file for appending, or makes it.
func appendTo(name string) (int, error) {
	const flags = unix.O_WRONLY | unix.O_APPEND | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	fd, err := unix.Open(name, flags, 0)
	if err == unix.ENOENT {
		if fd, err = unix.Open(name, flags|unix.O_CREAT|unix.O_EXCL, 0o600); err == nil {
			err = unix.Fchmod(fd, 0o640)
		}
	}
	if err != nil {
		return fd, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = errNotRegular
	}
	return fd, err
}
