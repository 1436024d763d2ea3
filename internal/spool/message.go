package spool

import "time"

// Notify are the events of which a sender wants to hear (RFC 3461, 4.1). The
// zero value is the default: failure, and delay where the server says so.
type Notify uint8

// Bits of Notify. Never excludes the others.
const (
	NotifyNever Notify = 1 << iota
	NotifySuccess
	NotifyFailure
	NotifyDelay
)

// Envelope is what travels with a message besides its text. Addresses are in
// internal (unquoted) form.
type Envelope struct {
	Sender     string // "" is the null sender
	Arrival    time.Time
	Recipients []Recipient
	SMTPUTF8   bool   // the client said SMTPUTF8 (RFC 6531)
	EightBit   bool   // the client said BODY=8BITMIME (RFC 6152)
	EnvID      string // RFC 3461, decoded; "" when not given
	Ret        string // "FULL", "HDRS" or ""
	MessageID  string // value of the Message-Id header with its brackets, for logs; may be ""
	Bounce     bool   // a notification made here: it never causes another
	// Verify asks for a report of what delivery would come to, and no delivery
	// (sendmail -bv). Report asks for delivery and a report of every result
	// (sendmail -v). The report goes to the sender.
	Verify, Report bool
}

// Recipient is one final recipient of a message, after alias expansion.
type Recipient struct {
	Address  string // where the message goes
	Original string // as the client gave it at RCPT; "" when unknown (X-Original-To is left out)
	ORCPT    string // "rfc822;john@example.org" (RFC 3461, 4.2), decoded; may be ""
	Notify   Notify
}

// Message is a message in the spool. It is immutable; what became of its
// recipients is kept by the spool and given to Settle and Defer.
type Message struct {
	Number   uint64 // queue id as a number; rises with every message
	ID       string // queue id: Number as 12 or more characters of [0-9A-F], never used twice
	Envelope Envelope
	Size     int64  // octets of the text with LF line ends, our Received header included
	CRC      uint32 // CRC-32C of the text
	spool    *Spool // that holds the text; nil for a message that is in no spool
	text     []byte // its text
}

// Outcome says that a recipient is done with.
type Outcome struct {
	Index   int      // in Envelope.Recipients
	Applied *Applied // for a mailbox file that the checkpoint has to cover; nil: nothing to make durable
}

// Applied describes a file that a delivery made, so that recovery can see
// whether it survived (design, 5.2).
type Applied struct {
	Path   string // absolute path of the file in new/
	Dev    uint64 // st_dev of its file system
	Length int64
	CRC    uint32 // CRC-32C of the file's content
	// Found: an earlier delivery had made the file, maybe one that was never
	// settled. A sync that failed since then may have told of it, and nobody
	// listened: so it is written again before it counts as durable.
	Found bool
}

// Deferral is the state of a recipient that is tried again.
type Deferral struct {
	Index  int
	Status string // enhanced code, "4.4.1"
	Reason string // text for the queue listing and the final bounce
}
