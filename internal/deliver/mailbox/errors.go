package mailbox

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"postern/internal/privsep"
)

// Error is why a mailbox did not take a message.
type Error struct {
	DSN       string // enhanced status code, "4.2.0"
	Reason    string // "create maildir file /var/vmail/john/tmp/1.Q1R0.mx: Permission denied"
	Temporary bool
	Err       error // cause, may be nil
}

func (e *Error) Error() string { return e.Reason }

func (e *Error) Unwrap() error { return e.Err }

// failure classes the cause of a failed operation (RFC 3463, 3.3; virtual(8)).
func failure(doing string, err error) *Error {
	e := &Error{DSN: "4.2.0", Temporary: true, Err: err}
	var read *readError
	switch {
	case errors.As(err, &read):
		e.DSN = "4.3.0"
	case errors.Is(err, unix.EDQUOT), errors.Is(err, unix.EFBIG):
		e.DSN, e.Temporary = "5.2.2", false
	case errors.Is(err, unix.ENOSPC):
		e.DSN = "4.3.0"
	case errors.Is(err, privsep.ErrRoot), errors.Is(err, privsep.ErrNotRoot):
		e.DSN = "4.3.5"
	}
	e.Reason = doing + ": " + ErrorText(err)
	return e
}

// refusal is a failure that is found by looking, not by an error of the kernel.
func refusal(dsn, reason string) *Error {
	return &Error{DSN: dsn, Reason: reason, Temporary: true}
}

// ErrorText is the text of an error number as strerror(3) writes it, with a
// capital letter; any other error is shown as it is.
func ErrorText(err error) string {
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return err.Error()
	}
	text := errno.Error()
	if text == "" {
		return text
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// again calls f until it was not interrupted by a signal.
func again(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}
