package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"postern/internal/address"
	"postern/internal/control/mailq"
)

// The columns of Postfix's mailq where queue ids are long.
const (
	mailqHeading = "----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------\n"
	mailqRow     = "%-17s %8d %19.19s %s\n"
	mailqIndent  = 47
	mailqReason  = 76 // where a reason ends
)

// mailqPrinter writes the queue as "postqueue -p" does.
type mailqPrinter struct {
	w        io.Writer
	messages int
	octets   int64
}

// entry writes one message. What cannot be read is left out.
func (p *mailqPrinter) entry(e *mailq.Entry) error {
	if p.messages == 0 {
		if _, err := io.WriteString(p.w, mailqHeading); err != nil {
			return err
		}
	}
	p.messages++
	p.octets += e.Size
	var b bytes.Buffer
	fmt.Fprintf(&b, mailqRow, e.ID+mailqMark(e), e.Size, e.Arrival.Local().Format(time.ANSIC), shownSender(e.Sender))
	last := ""
	for i := range e.Recipients {
		r := &e.Recipients[i]
		if r.Reason != last {
			reason := r.Reason
			if reason == "" {
				reason = "reason unavailable"
			}
			reason = printable(reason)
			fmt.Fprintf(&b, "%s(%s)\n", strings.Repeat(" ", max(0, mailqReason-len(reason))), reason)
			last = r.Reason
		}
		fmt.Fprintf(&b, "%*s%s\n", mailqIndent, "", external(r.Address))
	}
	b.WriteByte('\n')
	_, err := p.w.Write(b.Bytes())
	return err
}

// mailqMark is what stands behind the id of a message: its state, then whether its
// lifetime was ended by order.
func mailqMark(e *mailq.Entry) string {
	mark := ""
	switch e.State {
	case "active":
		mark = "*"
	case "hold":
		mark = "!"
	}
	if e.Expired {
		mark += "#"
	}
	return mark
}

// end writes the sum.
func (p *mailqPrinter) end() error {
	if p.messages == 0 {
		_, err := io.WriteString(p.w, "Mail queue is empty\n")
		return err
	}
	s := "s"
	if p.messages == 1 {
		s = ""
	}
	_, err := fmt.Fprintf(p.w, "-- %d Kbytes in %d Request%s.\n", p.octets/1024, p.messages, s)
	return err
}

// writeMailqJSON writes one message as "postqueue -j" does.
func writeMailqJSON(w io.Writer, e *mailq.Entry) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"queue_name": %s, "queue_id": %s, "arrival_time": %d, "message_size": %d, "forced_expire": %t, "sender": %s, "recipients": [`,
		quoteJSON(e.State), quoteJSON(e.ID), e.Arrival.Unix(), e.Size, e.Expired, quoteJSON(shownSender(e.Sender)))
	for i := range e.Recipients {
		r := &e.Recipients[i]
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, `{"address": %s`, quoteJSON(external(r.Address)))
		if r.Reason != "" {
			fmt.Fprintf(&b, `, "delay_reason": %s`, quoteJSON(r.Reason))
		}
		b.WriteByte('}')
	}
	b.WriteString("]}\n")
	_, err := w.Write(b.Bytes())
	return err
}

// quoteJSON is a JSON string. What is not UTF-8 becomes U+FFFD.
func quoteJSON(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string can always be encoded
	return strings.TrimSuffix(b.String(), "\n")
}

// shownSender is a sender as mailq shows it: MAILER-DAEMON is the null sender.
func shownSender(internal string) string {
	if internal == "" {
		return "MAILER-DAEMON"
	}
	return external(internal)
}

// external is an address in internal form as it is written.
func external(internal string) string { return printable(address.Split(internal).String()) }

// printable replaces control characters: addresses and reasons come from outside,
// and a terminal would obey them.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c >= 0x80 && c < 0xa0 {
			return '?'
		}
		return c
	}, s)
}
