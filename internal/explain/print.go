package explain

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	"golang.org/x/net/idna"

	"postern/internal/address"
	"postern/internal/origin"
)

// Print writes the answer for people, as a tree:
//
//	john+shop@example.org    250 2.1.5 Ok
//	|- user john, extension +shop
//	|- class virtual-mailbox   virtual_mailbox_domains, domains:3 "example.org"
//	|    mydestination             -
//	|    virtual_alias_domains     -
//	|    virtual_mailbox_domains   example.org   domains:3
//	|- virtual_alias_maps[1] hash:/etc/postfix/virtual
//	|    john+shop@example.org   -
//	|    john@example.org        jeff@example.com   virtual:7
//	|- expansion of john+shop@example.org
//	|    `- jeff@example.com   virtual:7
//	`- jeff@example.com   class default, smtp to example.com
//	     smtp: default_transport, not written in main.cf
//
// and then the findings.
func (e Explanation) Print(w io.Writer, s Style) {
	p := paper{w, s}
	p.line("", "    ", line{{e.Address, bold}, {"    ", plain}, e.Reply.span()})
	shown := shownLookups{}
	var blocks []block
	blocks = append(blocks, e.normal()...)
	blocks = append(blocks, e.classBlock())
	for _, b := range shown.blocks(e.Steps[:e.atRcpt]) {
		blocks = append(blocks, existing(b))
	}
	for _, b := range shown.blocks(e.sharedSteps()) {
		blocks = append(blocks, e.spared(b))
	}
	blocks = append(blocks, e.expansion()...)
	if e.Omitted > 0 {
		blocks = append(blocks, block{head: line{words(yellow, "the address grows with every alias, and so on: %d more steps", e.Omitted)}})
	}
	blocks = append(blocks, e.afterwards()...)
	for _, r := range e.Recipients {
		blocks = append(blocks, e.recipientBlock(r, shown))
	}
	p.tree(blocks)
	for _, f := range e.Findings {
		f.Print(w, s.Colour)
	}
}

func (r Reply) span() span {
	colour := red
	switch {
	case r.Code < 400:
		colour = green
	case r.Code < 500:
		colour = yellow
	}
	return words(colour, "%d %s %s", r.Code, r.Enhanced, r.Text)
}

// normal says how the address is looked up, where that is not how it was given.
func (e Explanation) normal() []block {
	if e.Normalized == "" {
		return nil
	}
	var parts []string
	if e.Normalized != strings.Trim(e.Address, "<>") {
		parts = append(parts, "looked up as "+e.Normalized)
	}
	a := address.Split(e.Normalized)
	if e.Extension != "" {
		parts = append(parts, "user "+strings.TrimSuffix(a.Local, e.Extension), "extension "+e.Extension)
	}
	if other := otherForm(a.Domain); other != "" {
		parts = append(parts, "the domain is "+other+" too, and a table has to have the form that was asked for")
	}
	if len(parts) == 0 {
		return nil
	}
	return []block{{head: line{{strings.Join(parts, ", "), plain}}}}
}

// otherForm is the U-label form of a domain in A-labels, or the other way around
// (RFC 5890, 2.3.2.1); "" when there is none.
func otherForm(domain string) string {
	convert := idna.ToUnicode
	if strings.IndexFunc(domain, func(r rune) bool { return r > unicode.MaxASCII }) >= 0 {
		convert = idna.ToASCII
	}
	other, err := convert(domain)
	if err != nil || other == domain {
		return ""
	}
	return other
}

// classBlock is the decision about the class: the lists in the order in which
// they count.
func (e Explanation) classBlock() block {
	c := e.ClassReason
	b := block{head: line{{"class ", plain}, {e.Class, bold}, {"   " + e.reason(), plain}}}
	for _, l := range c.Lists {
		entry := line{words(plain, "%-23s   ", l.Parameter)}
		switch {
		case l.Error != "":
			entry = append(entry, words(red, "failed: %s", l.Error))
		case !l.Listed:
			entry = append(entry, span{"-", faint})
		default:
			entry = append(entry, span{l.Key, plain}, words(faint, "   %s", placeAnd(l.At, l.Table)))
			if l.Parameter != c.Parameter {
				entry = append(entry, span{"   this has no effect", yellow})
			}
		}
		b.below = append(b.below, entry)
	}
	return b
}

// reason is the list entry that decided the class.
func (e Explanation) reason() string {
	c := e.ClassReason
	if c.Parameter == "" {
		return "in no domain list"
	}
	text := c.Parameter
	if c.At != nil {
		text += ", " + placeAnd(c.At, c.Table)
	}
	if c.Key != "" {
		text += fmt.Sprintf(" %q", c.Key)
	}
	return text
}

// placeAnd is a place, with the table that is there when the place does not say it.
func placeAnd(at *origin.At, table string) string {
	switch {
	case at == nil:
		return table
	case table == "" || at.Table != "":
		return at.String()
	}
	return at.String() + " (" + short(table) + ")"
}

// short is the beginning of a table's name: inline tables have all their rows in it.
func short(table string) string {
	const enough = 60
	if r := []rune(table); len(r) > enough {
		return string(r[:enough]) + "..."
	}
	return table
}

// existing says why tables are asked at RCPT that delivery does not ask.
func existing(b block) block {
	if parameter, _, _ := strings.Cut(b.head[0].text, "["); ofRecipients(strings.Fields(parameter)[0]) {
		b.head = append(b.head, span{"   asked at RCPT: does the recipient exist?", faint})
	}
	return b
}

// spared says why mailboxes are asked for while aliases are looked up.
func (e Explanation) spared(b block) block {
	if len(e.Recipients) > 0 && strings.HasPrefix(b.head[0].text, "virtual_mailbox_maps") {
		b.head = append(b.head, span{`   asked before "@domain": a mailbox keeps its mail (virtual_mailbox_overrides_catchall)`, faint})
	}
	return b
}

// afterwards says what becomes of an accepted message where RCPT did not.
func (e Explanation) afterwards() []block {
	var blocks []block
	if len(e.Actions) > 0 {
		blocks = append(blocks, block{head: line{words(yellow, "access tables do this with the message: %s", strings.Join(e.Actions, ", "))}})
	}
	if e.After != nil {
		blocks = append(blocks, block{head: line{{"accepted at RCPT, but after the text the client is told: ", yellow}, e.After.span()}})
	}
	bounced, waiting := 0, 0
	for _, r := range e.Recipients {
		switch {
		case r.Reply.Code >= 500:
			bounced++
		case r.Reply.Code >= 400:
			waiting++
		}
	}
	if bounced+waiting > 0 {
		var fates []string
		if bounced > 0 {
			fates = append(fates, fmt.Sprintf("%d returned to the sender", bounced))
		}
		if waiting > 0 {
			fates = append(fates, fmt.Sprintf("%d waiting in the queue", waiting))
		}
		blocks = append(blocks, block{head: line{words(yellow, "accepted at RCPT, but then: %s of %d", strings.Join(fates, ", "), len(e.Recipients))}})
	}
	return blocks
}

// recipientBlock says how a recipient leaves, and why that way.
func (e Explanation) recipientBlock(r Recipient, shown shownLookups) block {
	b := block{head: line{{r.Address, bold}, {"   class " + r.Class + ", ", plain}, r.where()}}
	if r.TransportBy != "" {
		text := r.Transport + ": " + r.TransportBy + written(r.TransportAt)
		if r.NextHopBy != "" && r.NextHopBy != r.TransportBy {
			text += "; next hop: " + r.NextHopBy
		}
		b.below = append(b.below, line{{text, faint}})
	}
	if r.Cause != "" {
		b.below = append(b.below, line{{r.Cause, yellow}})
	}
	if r.UID != nil && r.GID != nil {
		b.below = append(b.below, line{words(faint, "%s of uid %d%s, gid %d%s", r.Format, *r.UID, written(r.UIDAt), *r.GID, written(r.GIDAt))})
	}
	for _, lookups := range shown.blocks(e.Steps[r.from:r.to]) {
		b.below = append(b.below, lookups.head)
		for _, l := range lookups.below {
			b.below = append(b.below, append(line{{"  ", plain}}, l...))
		}
	}
	return b
}

// written is where something is written, behind a comma.
func written(at *origin.At) string {
	switch {
	case at == nil:
		return ""
	case at.Line == 0 && at.Table == "":
		return ", not written in main.cf"
	}
	return ", " + at.String()
}

// where says how a recipient leaves.
func (r Recipient) where() span {
	switch {
	case r.Reply.Code >= 300:
		text := r.Transport
		if text == "" {
			text = "nowhere"
		}
		s := r.Reply.span()
		return span{text + ": " + s.text, s.colour}
	case r.Mailbox != "":
		return span{r.Transport + " to " + r.Mailbox, plain}
	case r.Transport == "local", r.Transport == "discard":
		return span{r.Transport + ": " + r.Reply.Text, plain}
	}
	return span{r.Transport + " to " + r.NextHop, plain}
}
