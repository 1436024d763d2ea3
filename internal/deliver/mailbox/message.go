package mailbox

import (
	"io"
	"strconv"
	"strings"
	"time"

	"postern/internal/address"
	"postern/internal/spool"
)

// Body is the text of a message with LF line ends; a spool.Body is one.
type Body interface {
	io.ReaderAt
	Size() int64
}

// Message is one delivery: a message for one recipient.
type Message struct {
	ID      string    // queue id, never used twice; part of a Maildir name
	Index   int       // of the recipient in the envelope; part of a Maildir name
	Arrival time.Time // of the message; part of a Maildir name
	Sender  string    // internal form, for the From line of an mbox
	Header  []byte    // lines put in front of the text, see Header
	Body    Body
	// Attempt is above 0 when this delivery may have been made before: an
	// earlier try, or a message that was recovered when the server started.
	Attempt int
	// Durable asks for a sync of a Maildir delivery. Deliveries that cannot
	// hand their Receipt to the spool set it.
	Durable bool
}

// Receipt says what a delivery made.
type Receipt struct {
	// Applied is the file that a checkpoint has to make durable; nil when the
	// delivery is durable already.
	Applied *spool.Applied
	// Repeated is set when the message was in the mailbox already.
	Repeated bool
}

// Header makes the lines that final delivery puts in front of a message
// (RFC 5321, 4.4 for Return-Path; postconf enable_original_recipient):
//
//	Return-Path: <sender@client.example>
//	X-Original-To: john@example.org
//	Delivered-To: jeff@example.com
//
// Addresses are in internal form. There is no X-Original-To line when original
// is empty, and one Delivered-To line for each of deliveredTo. Control
// characters, which would end the line early, become question marks.
func Header(sender, original string, deliveredTo ...string) []byte {
	b := make([]byte, 0, 192)
	b = appendReturnPath(b, sender)
	if original != "" {
		b = appendOriginalTo(b, original)
	}
	for _, to := range deliveredTo {
		b = appendDeliveredTo(b, to)
	}
	return b
}

// ReturnPath makes the line for a sender.
func ReturnPath(sender string) string { return string(appendReturnPath(nil, sender)) }

func appendReturnPath(b []byte, sender string) []byte {
	b = append(b, "Return-Path: <"...)
	b = appendAddress(b, sender)
	return append(b, ">\n"...)
}

// OriginalTo makes the line for an original recipient.
func OriginalTo(original string) string { return string(appendOriginalTo(nil, original)) }

func appendOriginalTo(b []byte, original string) []byte {
	b = append(b, "X-Original-To: "...)
	b = appendAddress(b, original)
	return append(b, '\n')
}

// DeliveredTo makes the line for a recipient, which goes in front of a forwarded
// message too.
func DeliveredTo(addr string) string { return string(appendDeliveredTo(nil, addr)) }

func appendDeliveredTo(b []byte, addr string) []byte {
	b = append(b, "Delivered-To: "...)
	b = appendAddress(b, addr)
	return append(b, '\n')
}

// appendAddress prints an address for a header line, in external form.
func appendAddress(b []byte, internal string) []byte {
	start := len(b)
	b = append(b, address.Split(internal).String()...)
	for i := start; i < len(b); i++ {
		if b[i] < ' ' && b[i] != '\t' || b[i] == 0x7f {
			b[i] = '?'
		}
	}
	return b
}

// FromLine is the line that begins a message in an mbox, dated in the zone of t.
func FromLine(sender string, t time.Time) []byte {
	b := make([]byte, 0, 96)
	b = append(b, "From "...)
	if sender == "" {
		b = append(b, "MAILER-DAEMON"...)
	} else {
		b = appendAddress(b, sender)
	}
	b = append(b, ' ', ' ')
	b = t.AppendFormat(b, time.ANSIC)
	return append(b, '\n')
}

// stem is the part of a Maildir name that identifies the delivery, up to the
// point before the host name. An id that would lead elsewhere is refused.
func (m *Message) stem() (string, error) {
	if strings.IndexByte(m.ID, '/') >= 0 || strings.IndexByte(m.ID, 0) >= 0 {
		return "", refusal("4.3.5", "queue id "+strconv.Quote(m.ID)+" is no part of a file name")
	}
	b := make([]byte, 0, 64)
	b = strconv.AppendInt(b, m.Arrival.Unix(), 10)
	b = append(b, ".Q"...)
	b = append(b, m.ID...)
	b = append(b, 'R')
	b = strconv.AppendInt(b, int64(m.Index), 10)
	return string(b), nil
}

// fileName is the Maildir name; copy counts files of that name found damaged.
func fileName(stem string, copy int, host string) string {
	if copy == 0 {
		return stem + "." + host
	}
	return stem + "_" + strconv.Itoa(copy) + "." + host
}

// sameDelivery reports whether a name in new/ or cur/ was made for stem, by any
// host name, as any copy, with any flags.
func sameDelivery(name, stem string) bool {
	rest, ok := strings.CutPrefix(name, stem)
	return ok && rest != "" && (rest[0] == '.' || rest[0] == '_')
}

// hostInName replaces the characters that a Maildir name must not contain.
func hostInName(host string) string {
	return strings.NewReplacer("/", `\057`, ":", `\072`).Replace(host)
}
