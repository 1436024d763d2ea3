package smtpc

import (
	"crypto/tls"
	"net"
	"syscall"
)

// quiet reports whether a connection is open and has nothing to read. It is
// false for connections that do not tell.
func quiet(conn net.Conn) bool {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	var peeked error
	var octet [1]byte
	err = rc.Control(func(fd uintptr) {
		_, _, peeked = syscall.Recvfrom(int(fd), octet[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	})
	return err == nil && peeked == syscall.EAGAIN
}
