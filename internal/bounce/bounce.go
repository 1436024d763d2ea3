// Package bounce composes the notifications that tell a sender what became of
// a message: it was returned, it is late, it was delivered, or what delivery
// would come to (RFC 3464, delivery status notifications, in the
// multipart/report of RFC 6522).
//
// A report has three parts: a text for people, the same facts for programs,
// and the message itself or its headers.
//
//	From: Mail Delivery System <MAILER-DAEMON@example.com>
//	Subject: Undelivered Mail Returned to Sender
//	To: john@example.org
//	Auto-Submitted: auto-replied
//	MIME-Version: 1.0
//	Content-Type: multipart/report; report-type=delivery-status;
//		boundary="4F1C0A0012.1795381917/mail.example.com"
//
//	text:      <lost@example.com> (expanded from <all@example.com>): unknown user
//	report:    Final-Recipient: rfc822; lost@example.com
//	           Action: failed
//	           Status: 5.1.1
//	           Diagnostic-Code: X-Postfix; unknown user
//	           (smtp; and the reply of a server, x-unix; and the output of a program)
//	message:   Return-Path: <john@example.org>
//	           ...
//
// The names of fields and parts are those of Postfix, for programs know them;
// the words for people are our own, or those of a template file (bounce(5),
// postconf bounce_template_file):
//
//	failure_template = <<EOF
//	Charset: us-ascii
//	From: Mail Delivery System <MAILER-DAEMON>
//	Subject: Undelivered Mail Returned to Sender
//	Postmaster-Subject: Postmaster Copy: Undelivered Mail
//
//	The mail server at $myhostname ...
//	EOF
//
// A notification for a message that used SMTPUTF8 has the global forms of RFC
// 6533. The original is copied as it is read, never held in memory as a whole.
// It comes along when it was given up, is not larger than the size limit
// (postconf bounce_size_limit), and its sender did not ask for less (RET=HDRS,
// RFC 3461, 4.3); else only its header does.
//
// Date, Message-Id and Received are left to whoever puts the notification into
// the spool, for they need its queue id. Who gets a notification, and whether
// anybody does, is for the queue to say: package bounce sends nothing.
//
// It imports address, config, header, origin, spool and golang.org/x/net/idna.
package bounce

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"postern/internal/address"
	"postern/internal/header"
	"postern/internal/spool"
)

// Kind is what a notification is about.
type Kind uint8

// Kinds of notifications.
const (
	Failure Kind = iota // given up
	Delay               // late, tried again
	Success             // delivered, and the sender wanted to know (NOTIFY=SUCCESS)
	Verify              // what delivery would come to, or came to (sendmail -bv, -v)
)

// Recipient is one recipient of the original message with its fate.
type Recipient struct {
	Address  string // final address, internal form
	Original string // address before expansion; "" when unknown
	// Action is the word of RFC 3464, 2.3.3, or one of Postfix's own for probes:
	// failed, delayed, delivered, relayed, expanded, deliverable, undeliverable.
	// "" is what the kind implies: failed, delayed, delivered, deliverable.
	Action     string
	ORCPT      string // RFC 3461, 4.2, decoded: "rfc822;john@example.org"; "" when not given
	Status     string // enhanced status code, "5.1.1"
	Reason     string // text, as in the log
	Relay      string // Success, Verify: "virtual", "mx.example.com[192.0.2.1]:25"; "" or "none": none
	RemoteMTA  string // host that answered; "" for local trouble
	Diagnostic string // its answer, "550 5.1.1 ..."; "" for local trouble
	Output     string // what a program said that failed; "" when there was none
}

// Report says what a notification is to contain.
type Report struct {
	Kind Kind
	// Postmaster makes it the copy for the postmaster (postconf
	// notify_classes): another subject, and never more than headers.
	Postmaster bool
	Hostname   string         // postconf myhostname
	Origin     string         // postconf myorigin
	To         string         // who gets it, internal form
	ID         string         // queue id of the original message
	Original   spool.Envelope // of the original message
	Recipients []Recipient
	SizeLimit  int64      // postconf bounce_size_limit; 0: never more than headers
	RetryUntil time.Time  // Delay: when the queue gives up
	Now        time.Time  // part of the boundary
	Templates  *Templates // expanded; nil: the built-in ones
	// Threaded refers to the original message in the header, so that mail
	// programs show the two together (postconf enable_threaded_bounces).
	Threaded bool
}

// Body is the text of the original message, as a spool.Body gives it.
type Body interface {
	io.ReaderAt
	Size() int64
}

// Notification is a composed report, ready to be written once or several
// times as long as the body it was composed from stays open.
type Notification struct {
	// EightBit: there are octets above 127 in it (RFC 6152).
	EightBit bool
	// SMTPUTF8: it has to travel as internationalised mail (RFC 6531).
	SMTPUTF8 bool

	head     []byte // up to and with the Return-Path of the original
	original io.ReaderAt
	length   int64 // of the original's part that is taken
	tail     []byte
}

// headerLimit bounds how much of a header is returned when the body is not:
// header fields may fill a whole message.
const headerLimit = 100 << 10

// Compose prepares the notification. It reads the original once, to see
// whether it is 7-bit. The error is one of reading it.
func (r *Report) Compose(original Body) (*Notification, error) {
	n := &Notification{original: original, length: original.Size(), SMTPUTF8: r.Original.SMTPUTF8}
	whole := r.returnsText() && n.length <= r.SizeLimit
	if !whole {
		head, err := header.Read(original, headerLimit)
		if err != nil {
			return nil, fmt.Errorf("header of message %s: %w", r.ID, err)
		}
		n.length = int64(len(head))
	}
	words, report := r.text(), r.deliveryStatus()
	eightBit, err := hasEightBit(io.NewSectionReader(original, 0, n.length))
	if err != nil {
		return nil, fmt.Errorf("text of message %s: %w", r.ID, err)
	}
	n.EightBit = eightBit || !isASCII(words) || !isASCII(report) || !isASCII([]byte(r.addresses()))
	c := composer{report: r, encoding: "7bit"}
	if n.EightBit {
		c.encoding = "8bit"
	}
	n.head = c.head(words, report, whole)
	n.tail = []byte("\n--" + r.boundary() + "--\n")
	return n, nil
}

// returnsText reports whether the text of the original may come along: in a
// failure, not in the postmaster's copy of what its sender has got already.
func (r *Report) returnsText() bool {
	copied := r.Postmaster && r.Original.Sender != ""
	return r.Kind == Failure && !copied && r.Original.Ret != "HDRS"
}

// addresses are those of the header and the Return-Path.
func (r *Report) addresses() string { return r.To + r.Original.Sender + r.Origin }

func (r *Report) boundary() string {
	return fmt.Sprintf("%s.%d/%s", r.ID, r.Now.Unix(), r.Hostname)
}

// WriteTo writes the notification with LF line ends.
func (n *Notification) WriteTo(w io.Writer) (int64, error) {
	head, err := w.Write(n.head)
	written := int64(head)
	if err != nil {
		return written, err
	}
	body, err := io.Copy(w, io.NewSectionReader(n.original, 0, n.length))
	written += body
	if err != nil {
		return written, err
	}
	tail, err := w.Write(n.tail)
	return written + int64(tail), err
}

// Size is the number of octets WriteTo writes.
func (n *Notification) Size() int64 {
	return int64(len(n.head)) + n.length + int64(len(n.tail))
}

// words are the template of the report.
func (r *Report) words() template {
	if r.Templates != nil {
		return r.Templates.kinds[r.Kind]
	}
	t := builtIn[r.Kind]
	t.text = strings.NewReplacer("$myhostname", r.Hostname, "$myorigin", r.Origin).Replace(t.text)
	return t
}

// sender is the original's; that of mail from nobody has a name in reports.
func (r *Report) sender() string {
	if r.Original.Sender == "" {
		return "MAILER-DAEMON@" + r.Hostname
	}
	return r.Original.Sender
}

// external is an address as headers show it: quoted, on one line.
func external(internal string) string {
	return clean(address.Split(internal).String())
}

// clean keeps text on one line: control characters become '?', white space of
// any kind a blank.
func clean(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '\t' || c == '\n' || c == '\r':
			return ' '
		case c < ' ' || c == 0x7f:
			return '?'
		}
		return c
	}, s)
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

// hasEightBit reports whether r holds octets above 127.
func hasEightBit(r io.Reader) (bool, error) {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if !isASCII(buf[:n]) {
			return true, nil
		}
		if err == io.EOF {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
}

// composer lays out the parts of a report.
type composer struct {
	report   *Report
	encoding string // Content-Transfer-Encoding of all parts
	buf      bytes.Buffer
}

// head is everything in front of the original message.
func (c *composer) head(words, report []byte, whole bool) []byte {
	r := c.report
	auto := "auto-replied" // RFC 3834, 5
	if r.Postmaster {
		auto = "auto-generated"
	}
	t := r.words()
	subject := t.subject
	if r.Postmaster {
		subject = cmp.Or(t.postmaster, t.subject)
	}
	fmt.Fprintf(&c.buf, "From: %s\nSubject: %s\nTo: %s\n", completeFrom(t.from, clean(r.Origin)), subject, external(r.To))
	if id := r.messageID(); id != "" {
		fmt.Fprintf(&c.buf, "References: %s\nIn-Reply-To: %s\n", id, id)
	}
	fmt.Fprintf(&c.buf, "Auto-Submitted: %s\n", auto)
	fmt.Fprintf(&c.buf, "MIME-Version: 1.0\nContent-Type: multipart/report; report-type=%s;\n\tboundary=\"%s\"\n",
		r.global("delivery-status", "global-delivery-status"), r.boundary())
	fmt.Fprintf(&c.buf, "Content-Transfer-Encoding: %s\n\nThis is a MIME-encapsulated message.\n", c.encoding)

	charset := t.charset
	if t.asciiOnly() {
		charset = "utf-8" // addresses and reasons may need it
	}
	c.part("Notification", "text/plain; charset="+charset, c.encoding)
	c.buf.Write(words)
	if r.Original.SMTPUTF8 {
		c.part("Delivery report", "message/global-delivery-status", c.encoding)
	} else {
		c.part("Delivery report", "message/delivery-status", "") // RFC 3464, 2.1.1: 7-bit
	}
	c.buf.Write(report)

	description := "Undelivered Message"
	if r.Kind == Success || r.Kind == Verify {
		description = "Message"
	}
	if whole {
		c.part(description, r.global("message/rfc822", "message/global"), c.encoding)
	} else {
		c.part(description+" Headers", r.global("text/rfc822-headers", "message/global-headers"), c.encoding)
	}
	fmt.Fprintf(&c.buf, "Return-Path: <%s>\n", external(r.sender()))
	return c.buf.Bytes()
}

// messageID is the original's Message-Id when the report is to refer to it and it
// is one.
func (r *Report) messageID() string {
	id := r.Original.MessageID
	if !r.Threaded || len(id) < 3 || id[0] != '<' || id[len(id)-1] != '>' ||
		strings.IndexFunc(id, func(c rune) bool { return c <= ' ' || c > '~' }) >= 0 {
		return ""
	}
	return id
}

// completeFrom adds the origin to an address of a template that has no domain:
// "MAILER-DAEMON (Mail)", "Mail <MAILER-DAEMON>".
func completeFrom(from, origin string) string {
	if at := strings.LastIndexByte(from, '<'); at >= 0 {
		inner, rest, found := strings.Cut(from[at+1:], ">")
		if !found || inner == "" || strings.Contains(inner, "@") {
			return from
		}
		return from[:at+1] + inner + "@" + origin + ">" + rest
	}
	addr, rest, _ := strings.Cut(from, " ")
	if strings.Contains(addr, "@") || rest != "" && rest[0] != '(' {
		return from
	}
	return strings.TrimRight(addr+"@"+origin+" "+rest, " ")
}

// part starts a part of the multipart.
func (c *composer) part(description, contentType, encoding string) {
	fmt.Fprintf(&c.buf, "\n--%s\nContent-Description: %s\nContent-Type: %s\n", c.report.boundary(), description, contentType)
	if encoding != "" {
		fmt.Fprintf(&c.buf, "Content-Transfer-Encoding: %s\n", encoding)
	}
	c.buf.WriteByte('\n')
}

// global chooses the form of RFC 6533 where the original used SMTPUTF8.
func (r *Report) global(plain, global string) string {
	if r.Original.SMTPUTF8 {
		return global
	}
	return plain
}
