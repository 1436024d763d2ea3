package smtpc

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"

	"postern/internal/smtp"
)

const (
	// maxAuthLine is the length of an AUTH command, its CRLF included, up to
	// which it may carry the initial response (RFC 4954, 4; RFC 5321, 4.5.3.1.4).
	maxAuthLine = 512
	// maxAuthSteps bounds the challenges of a server that never comes to an end.
	maxAuthSteps = 10
)

// Server is what a client knows of the server when it has to authenticate.
type Server struct {
	Name    string               // by which it introduced itself in its reply to EHLO
	Offered []string             // mechanisms, in upper case
	TLS     *tls.ConnectionState // nil: in clear
	Trust   Trust                // of TLS; Anonymous in clear
}

// Mechanism is one SASL exchange (RFC 4422), used once.
type Mechanism interface {
	// Start returns the name of the mechanism and its initial response; nil
	// when the server speaks first, empty but not nil for an empty one.
	Start() (name string, initial []byte, err error)
	// Next answers a challenge, both decoded. An error ends the exchange: the
	// challenge makes no sense.
	Next(challenge []byte) (response []byte, err error)
	// Done is called when the server says that it is satisfied. An error: the
	// server has not shown yet what the mechanism wants of it (mutual
	// authentication), so it is not to be trusted.
	Done() error
}

// authenticate runs the exchange that Options.Auth chooses, if the server
// offers AUTH (RFC 4954).
func (c *Client) authenticate(ctx context.Context) *Error {
	if c.o.Auth == nil || len(c.ext.Auth) == 0 {
		return nil
	}
	m, err := c.o.Auth(ctx, Server{Name: c.server, Offered: c.ext.Auth, TLS: c.tls, Trust: c.trust()})
	if err != nil {
		return &Error{Kind: AuthUnable, Phase: Auth, Err: err}
	}
	if m == nil {
		return nil
	}
	name, initial, err := m.Start()
	if err == nil && !isAtom(name) {
		err = errors.New("no name of a mechanism")
	}
	if err != nil {
		return &Error{Kind: AuthUnable, Phase: Auth, Err: err}
	}
	reply, failed := c.authStart(name, initial)
	for step := 0; failed == nil; step++ {
		switch {
		case reply.Code/100 == 2:
			if err := m.Done(); err != nil {
				return c.fail(&Error{Kind: AuthUnable, Phase: Auth, Err: err})
			}
			return nil
		case reply.Code != 334:
			return &Error{Kind: AuthRefused, Phase: Auth, Reply: reply}
		case step == maxAuthSteps:
			return c.authGiveUp(errors.New("authentication protocol loop"))
		}
		reply, failed = c.authStep(m, reply.Text)
	}
	return failed
}

// authStart sends the AUTH command. An initial response that is too long for it
// is the answer to a first challenge, which is empty.
func (c *Client) authStart(name string, initial []byte) (smtp.Reply, *Error) {
	t := c.o.Timeouts.Helo
	if initial == nil {
		return c.command(Auth, t, "AUTH ", name)
	}
	response := base64.StdEncoding.EncodeToString(initial)
	if response == "" {
		response = "="
	}
	if len("AUTH  \r\n")+len(name)+len(response) <= maxAuthLine {
		return c.command(Auth, t, "AUTH ", name, " ", response)
	}
	reply, err := c.command(Auth, t, "AUTH ", name)
	if err != nil || reply.Code != 334 {
		return reply, err
	}
	return c.command(Auth, t, response)
}

// authStep answers a challenge. One that cannot be answered ends the exchange.
func (c *Client) authStep(m Mechanism, text string) (smtp.Reply, *Error) {
	challenge, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return smtp.Reply{}, c.authGiveUp(errors.New("malformed challenge"))
	}
	response, err := m.Next(challenge)
	if err != nil {
		return smtp.Reply{}, c.authGiveUp(err)
	}
	return c.command(Auth, c.o.Timeouts.Helo, base64.StdEncoding.EncodeToString(response))
}

// authGiveUp cancels the exchange (RFC 4954, 4); what the server says to that
// does not matter.
func (c *Client) authGiveUp(why error) *Error {
	if _, err := c.command(Auth, c.o.Timeouts.Helo, "*"); err != nil {
		return err
	}
	return &Error{Kind: AuthUnable, Phase: Auth, Err: why}
}
