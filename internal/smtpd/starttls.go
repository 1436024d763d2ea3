package smtpd

import (
	"context"
	"crypto/tls"
	"io"
	"strings"
	"time"

	"postern/internal/smtp"
)

// startTLS handles STARTTLS (RFC 3207). What the client sent in clear behind the
// command is thrown away, and all that it said before is forgotten (4.2).
func (ss *session) startTLS(ctx context.Context, args string) (outcome, error) {
	c := ss.config()
	var refusal smtp.Reply
	switch {
	case args != "":
		refusal = smtp.R(501, "5.5.4", "Syntax: STARTTLS")
	case ss.client.TLS != nil:
		refusal = smtp.R(554, "5.5.1", "Error: TLS already active")
	case !c.offersTLS():
		refusal = smtp.R(502, "5.5.1", "Error: command not implemented")
	}
	if !refusal.IsZero() {
		ss.slowReply(ctx, refusal)
		return bad, nil
	}
	ss.abort()
	ss.slowReply(ctx, smtp.R(220, "2.0.0", "Ready to start TLS"))
	if err := ss.flush(); err != nil {
		return bad, err
	}
	if err := ss.handshake(ctx); err != nil {
		return bad, err
	}
	ss.client.Helo, ss.client.ESMTP, ss.state = "", false, stateStart
	return good, nil
}

// handshake makes the connection a TLS connection. A failure is logged and ends
// the session as a lost connection.
func (ss *session) handshake(ctx context.Context) error {
	c := ss.config()
	if c.TLS == nil {
		ss.log.Warningf("no TLS certificate for service %s, closing the connection of %s", c.Service, &ss.client)
		return errQuit
	}
	conn := tls.Server(ss.raw, c.TLS)
	if err := ss.raw.SetDeadline(time.Now().Add(c.startTLSTimeout())); err != nil {
		return err
	}
	// A goroutine of its own: the stack that the cryptography needs goes with it.
	done := make(chan error, 1)
	go func() { done <- conn.HandshakeContext(ctx) }()
	if err := <-done; err != nil {
		ss.log.Infof("SSL_accept error from %s: %s", &ss.client, printable(err.Error()))
		return io.EOF
	}
	if err := ss.raw.SetDeadline(time.Time{}); err != nil {
		return err
	}
	ss.setConn(conn)
	state := conn.ConnectionState()
	ss.client.TLS = &state
	if c.LogTLS {
		ss.log.Infof("Anonymous TLS connection established from %s: %s with cipher %s",
			&ss.client, strings.Replace(tls.VersionName(state.Version), "TLS ", "TLSv", 1), tls.CipherSuiteName(state.CipherSuite))
	}
	return nil
}
