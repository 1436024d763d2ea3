package explain

import (
	"path/filepath"
	"slices"
	"strings"

	"postern/internal/address"
	"postern/internal/finding"
	"postern/internal/smtp"
)

// Judge gives recipients the verdict that the findings come to. The resolver does not
// know whether a mailbox can be written and a server reached: the mail waits where it
// cannot (VD402, VD403), and is returned where the server does not know the user
// (VD203).
func (x *Explainer) Judge(e *Explanation) {
	for i := range e.Recipients {
		r := &e.Recipients[i]
		for _, f := range e.Findings {
			if f.Severity != finding.Error || r.Reply.Code >= 300 {
				continue
			}
			switch {
			case f.Code == "VD402" && obstructs(f, r.Mailbox):
				r.Reply = Reply{450, "4.2.0", r.Format + " delivery fails (VD402)"}
				if strings.Contains(f.Message, "is returned") {
					r.Reply = x.bounce("5.2.0", r.Reply.Text)
				}
			case f.Code == "VD403" && leadsTo(f, r.NextHop):
				r.Reply = Reply{450, "4.4.1", "connect to " + r.NextHop + " fails (VD403)"}
			case f.Code == "VD203" && about(f, r.Address):
				r.Reply = x.saidOf(f, r.Address)
			}
		}
	}
}

// obstructs says whether a finding names a mailbox, a part of it, or what it is below.
func obstructs(f finding.Finding, mailbox string) bool {
	if mailbox == "" {
		return false
	}
	text := f.Message
	for _, end := range []string{"; the way is", "; there is", " leaves virtual_mailbox_base"} {
		text, _, _ = strings.Cut(text, end)
	}
	words := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" :,;", r) })
	inside := filepath.Clean(mailbox) + "/"
	if slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(w, inside) }) {
		return true
	}
	for dir := filepath.Clean(mailbox); len(dir) > 1; dir = filepath.Dir(dir) {
		if slices.ContainsFunc(words, func(w string) bool { return filepath.Clean(w) == dir }) {
			return true
		}
	}
	return false
}

// leadsTo says whether a finding names a next hop, or the socket or server that it
// means.
func leadsTo(f finding.Finding, nextHop string) bool {
	server := strings.TrimPrefix(strings.TrimPrefix(nextHop, "unix:"), "inet:")
	return server != "" && strings.Contains(f.Message, server)
}

// about says whether a finding names an address, or a row of it.
func about(f finding.Finding, a string) bool {
	a = address.Fold(a)
	if named, _, _ := strings.Cut(f.Message, ", the LMTP server"); strings.HasSuffix(address.Fold(named), " "+a) {
		return true
	}
	for _, at := range f.At {
		key, _, _ := strings.Cut(strings.TrimSpace(at.Text), " ")
		key, _, _ = strings.Cut(key, "\t")
		if address.Fold(at.Key) == a || address.Fold(key) == a {
			return true
		}
	}
	return false
}

// saidOf is the reply of a mailbox server that VD203 quotes; of another user it is
// only known that there is one.
func (x *Explainer) saidOf(f finding.Finding, a string) Reply {
	text := "the mailbox server refuses the address (VD203)"
	named, said, _ := strings.Cut(f.Message, " refuses the address: ")
	if !strings.Contains(address.Fold(named), " "+address.Fold(a)+",") || len(said) < 5 || said[0] != '5' {
		return x.bounce("5.1.1", text)
	}
	dsn, text := smtp.SplitEnhanced(said[4:], "5.0.0")
	return x.bounce(dsn, strings.TrimSpace(text))
}
