package smtpd

import (
	"context"
	"crypto/tls"
	"net/netip"

	"postern/internal/address"
	"postern/internal/smtp"
)

// Profile is everything a transaction depends on. It is immutable; a reload
// makes a new one.
type Profile struct {
	Config *Config
	Policy Policy
	Intake Intake
	// Flush starts the delivery of what is queued for a domain (ETRN, RFC 1985).
	// eligible is false for a domain of which nobody keeps account (postconf
	// fast_flush_domains). nil: no domain is,
	// and ETRN is not announced.
	Flush func(ctx context.Context, domain string) (eligible bool, err error)
	// PeerName finds the name of a client; nil: every client is "unknown"
	// (smtpd_peername_lookup = no). It is asked once, at connect.
	PeerName func(ctx context.Context, addr netip.Addr) PeerName
	// Notice takes what the postmaster is to be told of a session that is over, if
	// its class is in Config.NotifyClasses; nil: nobody is told.
	Notice func(ctx context.Context, n Notice)
	// Exempt reports the clients of smtpd_client_event_limit_exceptions, whose
	// connections are not limited; nil: none.
	Exempt func(c *Client) bool
	// BareNewlineOK reports the clients of smtpd_forbid_bare_newline_exclusions,
	// for which ForbidBareNewline does not count; nil: none.
	BareNewlineOK func(c *Client) bool
}

// PeerName is what the DNS says about the name of a client.
type PeerName struct {
	Name      string // verified: it has the client's address; "" or "unknown": none
	Reverse   string // of the PTR record, not verified; "" or "unknown": none
	Temporary bool   // Name is missing because of a passing failure
}

// Client is the other side of a session.
type Client struct {
	Addr        netip.Addr // without zone; an IPv4-mapped address is IPv4. Invalid for a connection that has none (unix socket)
	Port        uint16
	Name        string // verified host name, or "unknown"
	ReverseName string // name of the PTR record, or "unknown"
	NameTemp    bool   // Name is "unknown" because of a passing failure
	ServerAddr  netip.Addr
	ServerPort  uint16
	Helo        string               // argument of the last good HELO or EHLO; "" before it
	ESMTP       bool                 // it was EHLO
	TLS         *tls.ConnectionState // nil: in clear
}

// String is the client as logs name it: "name[192.0.2.1]".
func (c *Client) String() string { return c.Name + "[" + c.AddrText() + "]" }

// AddrText is the address as text, "unknown" when there is none.
func (c *Client) AddrText() string {
	if !c.Addr.IsValid() {
		return "unknown"
	}
	return c.Addr.String()
}

// Proto is the protocol as logs and policies name it: SMTP or ESMTP.
func (c *Client) Proto() string {
	if c.ESMTP {
		return "ESMTP"
	}
	return "SMTP"
}

// With is the protocol for the Received header (RFC 3848; RFC 6531, 4.3): SMTP,
// ESMTP, ESMTPS, UTF8SMTP, UTF8SMTPS.
func (c *Client) With(utf8 bool) string {
	with := c.Proto()
	if utf8 {
		with = "UTF8SMTP"
	}
	if c.TLS != nil && c.ESMTP {
		with += "S"
	}
	return with
}

// Transaction is a mail transaction, from MAIL to the end of the text or RSET.
// Hooks read it during their call and keep nothing of it; Effects alone they add
// to, by their Verdict.
type Transaction struct {
	Client     *Client
	Config     *Config
	Sender     smtp.Path
	Params     smtp.MailParams
	Recipients []Recipient // accepted so far
	Rejected   int         // recipients refused so far, by reply code 4xx or 5xx
	QueueID    string      // "" before the first accepted recipient
	Size       int64       // octets of the text with LF line ends; 0 before its end
	Effects    []Effect    // of the policy, in order of appearance
}

// Recipient is an argument of RCPT.
type Recipient struct {
	Path   smtp.Path
	Params smtp.RcptParams
}

// Effect is what an access table does to a whole message: HOLD, DISCARD, FILTER,
// REDIRECT, BCC, PREPEND with its argument. The session only carries it from the
// policy to the intake.
type Effect struct {
	Verb string
	Text string
}

// Verdict is the answer of a policy. The zero value lets the command pass.
type Verdict struct {
	// Reply refuses: a 4xx or 5xx reply. After 421 and 521 the connection ends.
	Reply smtp.Reply
	// Hangup ends the connection without a reply.
	Hangup bool
	// Notes are logged before the refusal, each on a line of its own:
	// reject_warning, hold, discard, filter, warn, info.
	Notes []Note
	// Effects of Connect and Helo go into every transaction of the session,
	// those of other methods into the open one.
	Effects []Effect
}

// Note is a log line "QID: ACTION: WHERE from H[IP]: TEXT; from=<s> ...".
type Note struct {
	Action string
	Text   string
}

// Policy decides what a client may do. A policy that delays its refusals to RCPT
// (smtpd_delay_reject) returns the zero Verdict from Connect, Helo and Mail. Its
// methods are called by many sessions at a time.
type Policy interface {
	// Connect is asked before the greeting.
	Connect(ctx context.Context, c *Client) Verdict
	// Helo is asked with the new name in c.Helo.
	Helo(ctx context.Context, c *Client) Verdict
	// Mail is asked with the sender and its parameters. The size that the
	// client announced is checked before, the room in the queue behind it.
	Mail(ctx context.Context, t *Transaction) Verdict
	// Rcpt is asked for each recipient whose syntax is good.
	Rcpt(ctx context.Context, t *Transaction, r *Recipient) Verdict
	// Data is asked before the 354 reply.
	Data(ctx context.Context, t *Transaction) Verdict
	// EndOfData is asked when the text is in, before Body.Commit.
	EndOfData(ctx context.Context, t *Transaction) Verdict
	// Vrfy is asked for the address of VRFY. t has no sender and no recipients.
	Vrfy(ctx context.Context, t *Transaction, a address.Address) Verdict
	// Etrn is asked for the domain of ETRN.
	Etrn(ctx context.Context, c *Client, domain string) Verdict
}

// Intake stores messages.
type Intake interface {
	// Room is called when the policy let MAIL pass. A reply that is not zero
	// refuses the transaction: there is no room for it, or the store is ill. It
	// may take its time to slow a client down.
	Room(ctx context.Context, t *Transaction) smtp.Reply
	// Begin is called when the first recipient of a transaction passed the
	// policy, and gives the message its queue id. A reply that is not zero
	// refuses that recipient; the Body is nil then.
	Begin(ctx context.Context, t *Transaction) (Body, smtp.Reply)
}

// Body is a message on its way in. One of Commit and Abort ends it, and is
// called exactly once.
type Body interface {
	QueueID() string
	// Start is called once, when DATA was accepted and before the first Write:
	// all recipients are known.
	Start(t *Transaction)
	// Write takes the next piece of the text, with LF line ends. It must not
	// keep or change p. After an error the rest of the text is read and
	// dropped, and Commit is called for its reply.
	Write(p []byte) (int, error)
	// Commit stores the message durably. The client is told the reply: a
	// positive one promises that the message survives a power cut, of a
	// message with another one nothing stays. The reply to a message whose
	// Write failed must not be positive.
	Commit(ctx context.Context, t *Transaction) smtp.Reply
	// Abort drops what was written.
	Abort()
}

// Logger takes log lines without a line end and without the program's name.
type Logger interface {
	Infof(format string, args ...any)
	Warningf(format string, args ...any)
}
