package smtpd

import (
	"context"
	"net"
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
