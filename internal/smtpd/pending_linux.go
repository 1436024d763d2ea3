package smtpd

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// pending reports whether the client has sent octets that nobody has read yet.
// It is false for connections that do not tell.
func pending(conn net.Conn) bool {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	n := 0
	err = rc.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	return err == nil && n > 0
}
