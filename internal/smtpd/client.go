package smtpd

import (
	"context"
	"net"
	"strings"
	"unicode"
	"unicode/utf8"
)

// unknown stands for a name that is not known.
const unknown = "unknown"

// newClient says what the connection tells about the client.
func newClient(conn net.Conn) Client {
	c := Client{Name: unknown, ReverseName: unknown}
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		ap := a.AddrPort()
		c.Addr, c.Port = ap.Addr().Unmap().WithZone(""), ap.Port()
	}
	if a, ok := conn.LocalAddr().(*net.TCPAddr); ok {
		ap := a.AddrPort()
		c.ServerAddr, c.ServerPort = ap.Addr().Unmap().WithZone(""), ap.Port()
	}
	return c
}

// lookUpName asks the DNS for the client's name.
func (ss *session) lookUpName(ctx context.Context) {
	if ss.profile.PeerName == nil || !ss.client.Addr.IsValid() {
		return
	}
	peer := ss.profile.PeerName(ctx, ss.client.Addr)
	if peer.Name != "" {
		ss.client.Name = printable(peer.Name)
	}
	if peer.Reverse != "" {
		ss.client.ReverseName = printable(peer.Reverse)
	}
	ss.client.NameTemp = peer.Temporary
}

// printable makes text of the client fit for a log line: control characters and
// octets that are not UTF-8 become question marks.
func printable(s string) string {
	bad := func(r rune) bool { return r == utf8.RuneError || unicode.IsControl(r) }
	if strings.IndexFunc(s, bad) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if bad(r) {
			return '?'
		}
		return r
	}, s)
}

// clip cuts text for a log line.
func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}
