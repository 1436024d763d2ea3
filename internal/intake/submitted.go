package intake

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode"

	"postern/internal/address"
	"postern/internal/header"
	"postern/internal/maildrop"
	"postern/internal/route"
	"postern/internal/smtp"
	"postern/internal/spool"
)

// Submitted is a message from the command line, ready for Pickup.
type Submitted struct {
	UID        int
	Sender     address.Address
	FullName   string
	Recipients []route.Recipient
	Params     smtp.MailParams
	Verify     bool // only a report is wanted (sendmail -bv)
	Report     bool // a report is wanted, too (sendmail -v)
	Size       int64
	Text       io.Reader
}

// maxHeader bounds the header section that is searched for recipients.
const maxHeader = 1 << 20

// ReadSubmitted reads a maildrop item. With sendmail -t the recipients of To,
// Cc and Bcc are added, of the Resent- fields when there are any. An address
// that cannot be read is an error that names it.
func ReadSubmitted(item *maildrop.Item) (Submitted, error) {
	e := item.Envelope
	m := Submitted{UID: item.UID, FullName: e.FullName, Size: item.Size, Text: item.Text, Verify: e.Verify, Report: e.Report}
	m.Params.EnvID, m.Params.Ret = e.EnvID, e.Ret
	if e.EightBit {
		m.Params.Body = "8BITMIME"
	}
	var err error
	if e.Sender != "" {
		if m.Sender, err = address.Parse(e.Sender); err != nil {
			return m, fmt.Errorf("sender %q: %w", e.Sender, err)
		}
	}
	if e.Ret != "" && e.Ret != "FULL" && e.Ret != "HDRS" {
		return m, fmt.Errorf("bad ret value %q", e.Ret)
	}
	if strings.ContainsFunc(e.EnvID, unicode.IsControl) { // it would end the field of a notification
		return m, fmt.Errorf("bad envelope id %q", e.EnvID)
	}
	notify, ok := smtp.ParseNotify(e.Notify)
	if e.Notify != "" && !ok {
		return m, fmt.Errorf("bad notify value %q", e.Notify)
	}
	for i, text := range e.Recipients {
		list, err := address.ParseList(text)
		if err != nil || len(list) == 0 {
			return m, fmt.Errorf("recipient %q: bad address syntax", text)
		}
		m.add(list, notify)
		if i < len(e.DSN) {
			if err := m.asked(len(list), e.DSN[i]); err != nil {
				return m, fmt.Errorf("recipient %q: %w", text, err)
			}
		}
	}
	if e.FromHeader {
		if err := m.fromHeader(notify); err != nil {
			return m, err
		}
	}
	return m, nil
}

func (m *Submitted) add(list []address.Address, notify smtp.Notify) {
	for _, a := range list {
		m.Recipients = append(m.Recipients, route.Recipient{Address: a, Original: a.Internal(), Notify: uint8(notify)})
	}
}

// asked takes what was said about the last n recipients.
func (m *Submitted) asked(n int, d maildrop.DSN) error {
	notify, ok := smtp.ParseNotify(d.Notify)
	if d.Notify != "" && !ok {
		return fmt.Errorf("bad notify value %q", d.Notify)
	}
	if strings.ContainsFunc(d.ORCPT, unicode.IsControl) || d.ORCPT != "" && !strings.Contains(d.ORCPT, ";") {
		return fmt.Errorf("bad original recipient %q", d.ORCPT)
	}
	last := m.Recipients[len(m.Recipients)-n:]
	for i := range last {
		last[i].ORCPT = d.ORCPT
		if d.Notify != "" {
			last[i].Notify = uint8(notify)
		}
	}
	return nil
}

// fromHeader reads the header section and puts it back in front of the text.
func (m *Submitted) fromHeader(notify smtp.Notify) error {
	head, err := io.ReadAll(io.LimitReader(m.Text, maxHeader))
	if err != nil {
		return err
	}
	m.Text = io.MultiReader(bytes.NewReader(head), m.Text)
	names := []string{"To", "Cc", "Bcc"}
	for _, prefix := range []string{"Resent-", ""} {
		found := false
		for f := range header.Fields(head) {
			for _, name := range names {
				if !f.Is(prefix + name) {
					continue
				}
				found = true
				list, err := address.ParseList(f.Unfold())
				if err != nil {
					return fmt.Errorf("header %s: %w", f.Name, err)
				}
				m.add(list, notify)
			}
		}
		if found {
			return nil
		}
	}
	return nil
}

func routeRecipient(r spool.Recipient) route.Recipient {
	return route.Recipient{Address: address.Split(r.Address), Original: r.Original, ORCPT: r.ORCPT, Notify: uint8(r.Notify)}
}
