package bounce

import (
	"bytes"
	"cmp"
	"fmt"
	"strings"

	"postern/internal/address"
	"postern/internal/header"
)

// width is where lines of text are folded, and indent begins the next one.
const (
	width  = 79
	indent = "    "
)

// text is the part for people. The postmaster needs no explanation.
func (r *Report) text() []byte {
	var b bytes.Buffer
	if !r.Postmaster {
		b.WriteString(r.words().text)
	}
	for _, rcpt := range r.Recipients {
		b.WriteByte('\n')
		line := "<" + external(rcpt.Address) + ">"
		if rcpt.expanded() {
			line += " (expanded from <" + external(rcpt.Original) + ">)"
		}
		writeFolded(&b, line+": "+clean(r.reason(&rcpt)))
	}
	return b.Bytes()
}

// expanded reports whether the address came out of another one.
func (rcpt *Recipient) expanded() bool {
	return rcpt.Original != "" && !address.Split(rcpt.Original).Equal(address.Split(rcpt.Address))
}

// reason is why, or by whom: reports that were asked for name the relay.
func (r *Report) reason(rcpt *Recipient) string {
	if (r.Kind == Success || r.Kind == Verify) && rcpt.Relay != "" && rcpt.Relay != "none" {
		return "delivery via " + rcpt.Relay + ": " + rcpt.Reason
	}
	return rcpt.Reason
}

// deliveryStatus is the part for programs (RFC 3464, 2).
func (r *Report) deliveryStatus() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Reporting-MTA: dns; %s\n", clean(r.Hostname))
	if r.Original.EnvID != "" {
		fmt.Fprintf(&b, "Original-Envelope-Id: %s\n", clean(r.Original.EnvID))
	}
	fmt.Fprintf(&b, "X-Postfix-Queue-ID: %s\n", r.ID)
	fmt.Fprintf(&b, "X-Postfix-Sender: %s; %s\n", r.addressType(r.sender()), external(r.sender()))
	fmt.Fprintf(&b, "Arrival-Date: %s\n", header.AppendDate(nil, r.Original.Arrival))
	for i := range r.Recipients {
		b.WriteByte('\n')
		r.recipientStatus(&b, &r.Recipients[i])
	}
	if !r.Original.SMTPUTF8 {
		return sevenBit(b.Bytes())
	}
	return b.Bytes()
}

// sevenBit replaces octets above 127: only the global form has room for them.
func sevenBit(b []byte) []byte {
	for i, c := range b {
		if c >= 0x80 {
			b[i] = '?'
		}
	}
	return b
}

// recipientStatus is the block of one recipient (RFC 3464, 2.3).
func (r *Report) recipientStatus(b *bytes.Buffer, rcpt *Recipient) {
	fmt.Fprintf(b, "Final-Recipient: %s; %s\n", r.addressType(rcpt.Address), external(rcpt.Address))
	switch {
	case rcpt.ORCPT != "":
		fmt.Fprintf(b, "Original-Recipient: %s\n", r.original(rcpt.ORCPT))
	case rcpt.expanded():
		fmt.Fprintf(b, "Original-Recipient: %s;%s\n", r.addressType(rcpt.Original), external(rcpt.Original))
	}
	fmt.Fprintf(b, "Action: %s\nStatus: %s\n", cmp.Or(clean(rcpt.Action), actions[r.Kind]), clean(rcpt.Status))
	if rcpt.RemoteMTA != "" {
		fmt.Fprintf(b, "Remote-MTA: dns; %s\n", clean(rcpt.RemoteMTA))
	}
	switch { // types as those of Postfix (RFC 3464, 2.3.6)
	case rcpt.Diagnostic != "":
		writeFolded(b, "Diagnostic-Code: smtp; "+clean(rcpt.Diagnostic))
	case rcpt.Output != "":
		writeFolded(b, "Diagnostic-Code: x-unix; "+clean(rcpt.Output))
	default:
		writeFolded(b, "Diagnostic-Code: X-Postfix; "+clean(r.reason(rcpt)))
	}
	if r.Kind == Delay {
		fmt.Fprintf(b, "Will-Retry-Until: %s\n", header.AppendDate(nil, r.RetryUntil))
	}
}

// actions are what the kinds imply.
var actions = [...]string{Failure: "failed", Delay: "delayed", Success: "delivered", Verify: "deliverable"}

// original is an ORCPT as a report shows it. Servers name the type rfc822 also
// for an address that is not ASCII; in a global report that is utf-8 (RFC 6533, 3).
func (r *Report) original(orcpt string) string {
	if rest, ok := strings.CutPrefix(orcpt, "rfc822;"); ok {
		orcpt = r.addressType(rest) + ";" + rest
	}
	return clean(orcpt)
}

// addressType is that of RFC 3464, 2.1.2, or of RFC 6533, 3 for an address
// that is not ASCII.
func (r *Report) addressType(addr string) string {
	if r.Original.SMTPUTF8 && !isASCII([]byte(addr)) {
		return "utf-8"
	}
	return "rfc822"
}

// writeFolded writes text, broken between words where it is wider than width.
// A word that is longer stays whole.
func writeFolded(b *bytes.Buffer, text string) {
	column := 0
	for word := range strings.FieldsSeq(text) {
		switch {
		case column == 0:
		case column+1+len(word) > width:
			b.WriteString("\n" + indent)
			column = len(indent)
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	b.WriteByte('\n')
}
