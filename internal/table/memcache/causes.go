package memcache

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"syscall"
)

// plain is a failure to reach the server, or to hear from it, in words that say
// what to do.
func (c *client) plain(err error) error {
	var name *net.DNSError
	var timeout net.Error
	unix := c.network == "unix"
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the server closed the connection")
	case errors.As(err, &name) && name.IsNotFound:
		return fmt.Errorf("there is no host of the name %q: correct the name, or see what \"getent hosts %s\" says", name.Name, name.Name)
	case errors.Is(err, fs.ErrNotExist) && unix:
		return errors.New("there is no such socket: is memcached running on this machine, with this path after -s?")
	case errors.Is(err, syscall.ECONNREFUSED) && unix:
		return errors.New("connection refused: nobody listens on this socket; is memcached running?")
	case errors.Is(err, syscall.ECONNREFUSED):
		return errors.New("connection refused: is memcached running there, and does it listen on this address and port (-l and -p)?")
	case errors.Is(err, fs.ErrPermission) && unix:
		return errors.New("permission denied: the user that the mail server runs as may not use this socket (-a of memcached)")
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return errors.New("no route to the host: is it up, and is the address right?")
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("no answer within %v: is the host up, or does a firewall drop the packets?", c.timeout)
	}
	return shorter(err)
}

// shorter leaves out of a network error which address and name server were
// asked.
func shorter(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return errors.New(dns.Err)
	}
	return err
}
