package remote

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"
)

// plain is a failure to connect in words that say what to do.
func (e endpoint) plain(err error) error {
	var name *net.DNSError
	unix := e.network == "unix"
	switch {
	case errors.As(err, &name) && name.IsNotFound:
		return fmt.Errorf("there is no host of the name %q: correct the name, or see what \"getent hosts %s\" says", name.Name, name.Name)
	case errors.Is(err, fs.ErrNotExist) && unix:
		return errors.New("there is no such socket: is the server running, and is this the path of its socket?")
	case errors.Is(err, syscall.ECONNREFUSED) && unix:
		return errors.New("connection refused: nobody listens on this socket; is the server running?")
	case errors.Is(err, syscall.ECONNREFUSED):
		return errors.New("connection refused: is the server running, and does it listen on this address and port?")
	case errors.Is(err, fs.ErrPermission) && unix:
		return errors.New("permission denied: the user that the mail server runs as may not use this socket")
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return errors.New("no route to the host: is it up, and is the address right?")
	}
	return shorter(err)
}

// shorter drops what net.Dial puts in front of an error.
func shorter(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	if inner := errors.Unwrap(err); inner != nil {
		return inner // of an *os.SyscallError
	}
	return err
}
