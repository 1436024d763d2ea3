// Package deliver is how mail leaves: the Agent interface and what agents and
// the queue say to each other. The agents live in folders named as their
// master.cf services: virtual, local, pipe, smtp (which is lmtp too), error,
// discard.
//
// It imports address and spool.
package deliver

import (
	"context"
	"time"

	"postern/internal/spool"
)

// Agent delivers messages for one transport.
type Agent interface {
	// Deliver tries all recipients of the request and returns a Status for
	// each, by index. It returns when every recipient has its status, or soon
	// after ctx ends, with Deferred for those not done. It never panics on
	// what a message or a remote server says.
	Deliver(ctx context.Context, r *Request) []Status
}

// Request is one message for recipients that share a transport and next hop.
type Request struct {
	Message    *spool.Message
	Transport  string // master.cf service name, for logs
	NextHop    string // "example.com", "[host]:25", "unix:private/lmtp", text for error
	Recipients []Recipient
	// Probe asks what delivery would come to, and nothing is delivered: Sent
	// then says "delivers to maildir". smtp and lmtp go as far as RCPT TO. The
	// log says deliverable and undeliverable (sendmail -bv).
	Probe bool
}

// Recipient is one recipient of a request.
type Recipient struct {
	Index    int    // in Message.Envelope.Recipients
	Address  string // internal form, as resolved
	Original string // for X-Original-To and orig_to=
	// Attempt counts earlier tries of this recipient. An agent that makes a
	// file under a name derived from the message id looks for an earlier one
	// of that name first, even on attempt 0: the process may have died between
	// the delivery and its record.
	Attempt int
}

// Kind is the fate of a recipient.
type Kind uint8

// Fates.
const (
	Sent     Kind = iota // delivered, the recipient is done with
	Deferred             // try again later
	Bounced              // never; the sender is told
)

// String is the word after status= in the log.
func (k Kind) String() string { return [...]string{"sent", "deferred", "bounced"}[k] }

// Reach says how far the mail of a Sent recipient got, for the report of success
// that a sender may have asked for (RFC 3461, 5.2.2; RFC 3464, 2.3.3).
type Reach uint8

// How far. The zero value is a mailbox, a file or a command: final delivery.
const (
	Delivered Reach = iota
	Relayed         // to a server that makes no reports of success
	Passed          // to a server that has taken over the sender's wishes (DSN): no report from here
	Expanded        // other recipients have taken the place of this one
)

// Status is what became of one recipient.
type Status struct {
	Kind   Kind
	Reach  Reach  // of Sent
	DSN    string // enhanced status code, "2.0.0"
	Reason string // text in the log's parentheses and in the bounce: "delivered to maildir"
	// Recipient is the address that failed, for the report, when it is not the
	// recipient itself but one that it stands for; else "".
	Recipient string
	Relay     string // for relay= in the log: "virtual", "mx.example.com[192.0.2.1]:25", "none"
	// Destination is set when the failure is that of the whole next hop
	// (cannot connect): other mail for it need not be tried now.
	Destination bool
	// Transport is set when the failure is that of the transport as a whole (its
	// program cannot be run): nothing is tried over it for transport_retry_time.
	Transport  bool
	RemoteMTA  string // host name of the server that answered, for the report; "" for local trouble
	Diagnostic string // its reply as it came, "550 5.1.1 ..."; "" for local trouble
	// Output is what a program said that did not take the mail, or what its exit
	// status means; "" when there was none. In reports it has the place of
	// Diagnostic.
	Output  string
	Applied *spool.Applied
	// Forwards are new messages that take this recipient's place (aliases of
	// local users); the queue puts them in before it settles the recipient.
	Forwards []Forward
	Setup    time.Duration // time to connect, third figure of delays=
	// ConnUse counts the messages sent over the connection, this one included;
	// from 2 on the log says conn_use=2 behind relay=. 0: no connection.
	ConnUse int
}

// Forward is a copy of the message for other addresses, with a Delivered-To
// header in front (RFC 5321, 3.9; local(8)).
type Forward struct {
	Sender     string   // internal form
	Recipients []string // internal form, complete with a domain
	Original   string   // original recipient of the new ones; "": each is its own
	Prepend    string   // header lines put in front of the text, each ending in \n
}
