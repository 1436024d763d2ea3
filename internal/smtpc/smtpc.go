// Package smtpc is the client side of SMTP (RFC 5321) and LMTP (RFC 2033) on a
// connection that somebody else made: greeting, EHLO or LHLO, STARTTLS, AUTH, and
// transactions whose results are known for each recipient.
//
//	c := smtpc.New(conn, smtpc.Options{Hello: "mail.example.test", Timeouts: smtpc.DefaultTimeouts()})
//	if err := c.Open(ctx); err != nil { ... }
//	for i, o := range c.Send(ctx, &smtpc.Transaction{...}) { ... }
//	c.Quit()
//
// A transaction is the same in both protocols but for its end: an SMTP server
// answers the end of the text once for all recipients, an LMTP server once for
// each recipient it accepted, in their order.
//
// # Round trips
//
// Where the server offers PIPELINING (RFC 2920) the envelope goes out in groups
// of a few KiB, MAIL, RCPT and DATA together, and the replies of a group are
// read before the next one is written, so neither side can end up waiting for
// the other with full buffers. Else each command waits for its reply. When no
// recipient is accepted, no message is sent: DATA is left out, or where it went
// out already, the final dot follows at once (RFC 2920, 3.1).
//
// Where the server offers CHUNKING (RFC 3030) a text of up to 32 KiB goes out by
// BDAT, in one piece and, with PIPELINING, in the same write as its envelope: one
// round trip for a message. The price is that a connection that ends without
// any reply may have ended with the message delivered; so on a connection that
// was idle this is done only when it is seen to be alive. A longer text goes out
// by DATA: the time for it counts more than a round trip.
//
// # Extensions
//
// SIZE (RFC 1870), 8BITMIME (RFC 6152), SMTPUTF8 (RFC 6531), DSN (RFC 3461),
// STARTTLS (RFC 3207), AUTH (RFC 4954), PIPELINING and CHUNKING. How to
// authenticate is said by Options.Auth; a server that does not offer AUTH is
// sent mail without it. Message text is never converted here.
//
// # Limits
//
// Every phase has a time limit of its own, which counts for a whole reply however
// slowly it comes; replies have a maximum size; errors say in which phase the
// conversation ended. The end of a context ends the conversation at once, except
// behind the end of the text, where the answer is worth waiting for a little:
// without it the message would be sent again.
//
// Not here: BINARYMIME, XFORWARD, XCLIENT, workarounds for broken firewalls
// (smtp_pix_workarounds).
//
// It imports address and smtp.
package smtpc

import (
	"context"
	"fmt"
	"time"

	"postern/internal/smtp"
)

// Options say how to talk.
type Options struct {
	LMTP    bool     // LHLO, and one final reply for each recipient
	Hello   string   // smtp_helo_name, lmtp_lhlo_name: must not be empty
	Discard []string // smtp_discard_ehlo_keywords: offers that are overlooked, in any case
	TLS     TLS
	// Auth chooses how to authenticate to a server that offers AUTH, when
	// everything else is ready; see Mechanism. An error ends the conversation
	// (AuthUnable). nil: no authentication.
	Auth     func(context.Context, Server) (Mechanism, error)
	Timeouts Timeouts
	// LineLimit breaks longer lines of the text (smtp_line_length_limit); 0 never.
	LineLimit int
	// MinDataRate is the rate, in octets a second, below which a server may not
	// fall while it takes the text, DataXfer aside (smtp_min_data_rate, with
	// smtp_per_request_deadline). 0: each piece of the text has its own DataXfer.
	MinDataRate int
	// EHLO says when to say it: EhloAlways (the default), EhloNever
	// (smtp_never_send_ehlo), EhloWhenOffered: to servers that write ESMTP into
	// their greeting (smtp_always_send_ehlo = no). LMTP has no choice.
	EHLO Ehloing
	// WaitQuit waits for the reply to QUIT (smtp_skip_quit_response = no).
	WaitQuit bool
}

// Ehloing says to which servers EHLO is said. Others get HELO.
type Ehloing uint8

// Ways of Options.EHLO.
const (
	EhloAlways Ehloing = iota
	EhloNever
	EhloWhenOffered
)

// Timeouts bound the phases of a conversation; 0 is no limit. Each is named for
// the parameter smtp_NAME_timeout.
type Timeouts struct {
	Helo     time.Duration // greeting, EHLO, HELO, LHLO
	StartTLS time.Duration
	Mail     time.Duration
	Rcpt     time.Duration
	DataInit time.Duration // reply to DATA
	DataXfer time.Duration // each piece of the message
	DataDone time.Duration // reply to the final dot
	Rset     time.Duration
	Quit     time.Duration
}

// DefaultTimeouts returns the defaults of the smtp_*_timeout parameters.
func DefaultTimeouts() Timeouts {
	return Timeouts{
		Helo: 300 * time.Second, StartTLS: 300 * time.Second, Mail: 300 * time.Second, Rcpt: 300 * time.Second,
		DataInit: 120 * time.Second, DataXfer: 180 * time.Second, DataDone: 600 * time.Second,
		Rset: 20 * time.Second, Quit: 300 * time.Second,
	}
}

// Phase is a part of the conversation.
type Phase uint8

// Phases, in their order.
const (
	Greeting Phase = iota
	Ehlo
	Helo
	Lhlo
	StartTLS
	Auth
	Rset
	Mail
	Rcpt
	Data
	Body      // the text of the message
	EndOfData // the final dot and what answers it
	Quit
)

var phases = [...]struct{ request, activity string }{
	Greeting:  {"connection", "receiving the initial server greeting"},
	Ehlo:      {"EHLO command", "performing the EHLO handshake"},
	Helo:      {"HELO command", "performing the HELO handshake"},
	Lhlo:      {"LHLO command", "performing the LHLO handshake"},
	StartTLS:  {"STARTTLS command", "performing the TLS handshake"},
	Auth:      {"AUTH command", "performing the AUTH exchange"},
	Rset:      {"RSET command", "sending RSET"},
	Mail:      {"MAIL FROM command", "sending MAIL FROM"},
	Rcpt:      {"RCPT TO command", "sending RCPT TO"},
	Data:      {"DATA command", "sending DATA command"},
	Body:      {"message body", "sending message body"},
	EndOfData: {"end of DATA command", "sending end of data -- message may be sent more than once"},
	Quit:      {"QUIT command", "sending QUIT"},
}

// String is the name for "(in reply to ...)": "RCPT TO command".
func (p Phase) String() string { return phases[p].request }

// Activity is the name for "lost connection while ...": "sending RCPT TO".
func (p Phase) Activity() string { return phases[p].activity }

// Kind says how a conversation failed.
type Kind uint8

// Kinds of failure.
const (
	Refused       Kind = iota // the server's reply says no
	Lost                      // the connection ended
	TimedOut                  // a time limit was reached
	Malformed                 // what the server says is no SMTP
	Canceled                  // the context ended
	TLSNotOffered             // TLS is required and the server has none
	TLSRefused                // TLS is required and the server refuses STARTTLS
	TLSHandshake              // the handshake failed
	TLSUnverified             // the certificate is not one that is trusted
	AuthUnable                // nothing the server offers, or says, serves to authenticate
	AuthRefused               // the server does not take the credentials
	TooBig                    // the message is longer than the server's SIZE
	BadAddress                // the address cannot be written in a command
	Unreadable                // the text of the message could not be read
)

var kinds = [...]string{
	"refused", "lost connection", "timed out", "malformed reply", "canceled", "TLS not offered", "TLS refused",
	"TLS handshake failure", "server certificate not verified", "cannot authenticate", "authentication refused", "message too big for the server",
	"bad address", "cannot read the message",
}

// String is the kind in words.
func (k Kind) String() string { return kinds[k] }

// Error is a conversation that failed.
type Error struct {
	Kind  Kind
	Phase Phase
	Reply smtp.Reply // of Refused, TLSRefused and AuthRefused
	Size  int64      // of TooBig: the message's
	Limit int64      // of TooBig: the server's
	Err   error      // cause, may be nil
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%s while %s", e.Kind, e.Phase.Activity())
	if !e.Reply.IsZero() {
		text += ": " + e.Reply.String()
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// Outcome is what became of one recipient of a transaction.
type Outcome struct {
	Reply smtp.Reply // the server's last word on the recipient; zero when Err is set
	Phase Phase      // what it answers
	Err   *Error     // why there is no last word
}

// Delivered reports whether the server has taken over the message for this
// recipient.
func (o Outcome) Delivered() bool {
	return o.Err == nil && o.Phase == EndOfData && o.Reply.Code/100 == 2
}

func (o Outcome) decided() bool { return o.Err != nil || !o.Reply.IsZero() }
