package ldap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"postern/internal/table/cf"
	"postern/internal/table/reach"
)

// conn is a connection to a server. One goroutine uses it at a time.
type conn struct {
	*goldap.Conn
	net    net.Conn
	server *server
	since  time.Time // when it became idle
}

// dial connects to a server and logs in, within the timeout. The error names
// the server.
func (l *login) dial(ctx context.Context, s *server) (*conn, error) {
	c, err := l.connect(ctx, s)
	if err != nil {
		return nil, err
	}
	if l.bind {
		err = c.within(ctx, l.timeout, func() error { return l.authenticate(c) })
	}
	if err != nil {
		c.Close()
		return nil, s.failure(err)
	}
	return c, nil
}

// failure is err with the name of the server, unless it has a place.
func (s *server) failure(err error) error {
	if isPlaced(err) {
		return err
	}
	return fmt.Errorf("%s: %w", s.url, err)
}

// isPlaced reports whether err blames a line of the configuration.
func isPlaced(err error) bool {
	var placed *cf.PlacedError
	return errors.As(err, &placed)
}

// connect makes a connection that is encrypted if it shall be.
func (l *login) connect(ctx context.Context, s *server) (*conn, error) {
	dialer := net.Dialer{Timeout: l.timeout}
	directory := reach.Server{Name: "the directory server", Wait: l.timeout}
	nc, err := dialer.DialContext(ctx, s.network, s.address)
	if err != nil {
		return nil, s.failure(directory.Cause(err, s.network == "unix"))
	}
	c := &conn{net: nc, server: s}
	if s.ldaps {
		secure := tls.Client(nc, l.tlsFor(s))
		err := c.within(ctx, l.timeout, func() error { return secure.HandshakeContext(ctx) })
		if err != nil {
			nc.Close()
			return nil, l.insecure(paramHost, s, err)
		}
		nc = secure
	}
	c.Conn = goldap.NewConn(nc, s.ldaps)
	c.Start()
	if !l.startTLS || s.ldaps {
		return c, nil
	}
	if err := c.within(ctx, l.timeout, func() error { return c.StartTLS(l.tlsFor(s)) }); err != nil {
		c.Close()
		return nil, l.insecure(paramStartTLS, s, err)
	}
	return c, nil
}

// insecure is the error of a connection that could not be encrypted.
func (l *login) insecure(name string, s *server, err error) error {
	cure := ""
	if strings.Contains(err.Error(), "unknown authority") {
		cure = ": name its issuer in " + paramCAFile
	}
	return l.wrong(name, fmt.Errorf("%s: %w%s", s.url, err, cure))
}

// authenticate tells the server who we are. An empty bind_dn is anonymous.
func (l *login) authenticate(c *conn) error {
	if l.external {
		if err := c.ExternalBind(); err != nil {
			return l.wrong(paramBind, fmt.Errorf("%s: SASL EXTERNAL needs ldapi:// or %s: %w", c.server.url, paramCert, plainError(err)))
		}
		return nil
	}
	request := goldap.NewSimpleBindRequest(l.dn, l.pw, nil)
	request.AllowEmptyPassword = true
	_, err := c.SimpleBind(request)
	switch {
	case goldap.IsErrorWithCode(err, goldap.LDAPResultInvalidCredentials) && l.pw != "":
		return l.wrong(paramBindPW, fmt.Errorf("%s does not accept this password for bind_dn = %s: %w", c.server.url, l.dn, plainError(err)))
	case isResult(err):
		return l.wrong(paramBindDN, fmt.Errorf("%s does not let %q in: %w", c.server.url, l.dn, plainError(err)))
	}
	return err
}

// errTimeout is the error of a server that does not answer in time.
var errTimeout = errors.New("no answer within the timeout")

// within runs f, whose reads and writes fail when the time is over or ctx ends.
// The connection is of no use after an error for which isResult does not hold.
func (c *conn) within(ctx context.Context, timeout time.Duration, f func() error) error {
	end := time.Now().Add(timeout)
	c.net.SetDeadline(end)
	stop := context.AfterFunc(ctx, func() { c.net.SetDeadline(time.Unix(1, 0)) })
	err := f()
	if !stop() && err == nil {
		err = ctx.Err() // the deadline may strike yet
	}
	switch {
	case err == nil:
		return c.net.SetDeadline(time.Time{})
	case ctx.Err() != nil:
		return ctx.Err()
	case !isResult(err) && !time.Now().Before(end):
		return fmt.Errorf("%w of %v", errTimeout, timeout)
	}
	return plainError(err)
}

// isResult reports whether err is what the server said, so that the connection
// is still of use.
func isResult(err error) bool {
	var e *goldap.Error
	return errors.As(err, &e) && e.ResultCode < goldap.ErrorNetwork
}

// plainError is err in words for people.
func plainError(err error) error {
	if e, ok := err.(*goldap.Error); ok {
		return &resultError{e}
	}
	return err
}

// resultError is what the server said, or what hindered the LDAP package.
type resultError struct{ ldap *goldap.Error }

func (e *resultError) Error() string { return reason(e.ldap) }

func (e *resultError) Unwrap() error { return e.ldap }

// reason is the text of an error of the LDAP package: "No Such Object (32)".
func reason(err error) string {
	var e *goldap.Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	text := strings.Trim(strings.TrimPrefix(e.Err.Error(), "ldap: "), ": ")
	if e.ResultCode >= goldap.ErrorNetwork {
		return text
	}
	name := fmt.Sprintf("%s (%d)", goldap.LDAPResultCodeMap[e.ResultCode], e.ResultCode)
	if text != "" {
		name += ": " + text
	}
	return name
}
