//go:build !linux

package smtpd

import "net"

// pending reports whether the client has sent octets that nobody has read yet.
// It is false for connections that do not tell.
func pending(net.Conn) bool { return false }
