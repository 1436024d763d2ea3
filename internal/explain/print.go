package explain

import (
	"fmt"
	"io"
	"strings"

	"postern/internal/origin"
	"postern/internal/route"
)

// Print writes the answer for people, as a tree:
//
//	john@example.org    250 2.1.5 Ok
//	|- class virtual-mailbox   virtual_mailbox_domains, main.cf:12 "example.org"
//	|- virtual_alias_maps hash:/etc/postfix/virtual
//	|    john@example.org        jeff@example.com   virtual:7
//	`- jeff@example.com   class default, smtp to example.com
func (e Explanation) Print(w io.Writer) {
	fmt.Fprintf(w, "%s    %d %s %s\n", printable(e.Address), e.Reply.Code, e.Reply.Enhanced, e.Reply.Text)
	branch := func(last bool) string {
		if last {
			return "`- "
		}
		return "|- "
	}
	last := len(e.Recipients) == 0 && len(lookups(e.Steps)) == 0
	fmt.Fprintf(w, "%sclass %s   %s\n", branch(last), e.Class, e.reason())
	for _, a := range e.ClassReason.Also {
		fmt.Fprintf(w, "|    also listed as %s by %s, %v: this has no effect\n", a.Class, a.Parameter, a.At)
	}
	e.printSteps(w)
	for i, r := range e.Recipients {
		fmt.Fprintf(w, "%s%s   %s\n", branch(i == len(e.Recipients)-1), r.Address, r.where())
	}
}

// printable keeps an address that was given on the command line on its line.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, text)
}

// reason is the list entry that decided the class.
func (e Explanation) reason() string {
	c := e.ClassReason
	if c.Parameter == "" {
		return "in no domain list"
	}
	text := c.Parameter
	if c.At != nil {
		text += ", " + c.At.String()
	}
	if c.Table != "" {
		text += " (" + c.Table + ")"
	}
	if c.Key != "" {
		text += fmt.Sprintf(" %q", c.Key)
	}
	return text
}

// lookups are the steps that are worth a line: questions to tables and what
// followed from them. The class has its own line.
func lookups(steps []route.Step) []route.Step {
	var out []route.Step
	asked := map[string]bool{}
	for _, s := range steps {
		switch s.Op {
		case "lookup":
			// The same question comes up more than once: does it exist, where is it?
			// The lines of a .forward file are answers to one question.
			id := s.Parameter + "\x00" + s.Table + "\x00" + s.Key
			if s.At != nil {
				id += "\x00" + s.At.String()
			}
			if !isDomainList(s.Parameter) && !asked[id] {
				asked[id] = true
				out = append(out, s)
			}
		case "expand", "rewrite":
			if s.Error != "" {
				out = append(out, s)
			}
		}
	}
	return out
}

func isDomainList(parameter string) bool {
	switch parameter {
	case "mydestination", "virtual_alias_domains", "virtual_mailbox_domains", "relay_domains":
		return true
	}
	return false
}

// printSteps writes the lookups, grouped by table.
func (e Explanation) printSteps(w io.Writer) {
	steps := lookups(e.Steps)
	width := 0
	for _, s := range steps {
		width = max(width, min(len(s.Key), 40))
	}
	before := ""
	for _, s := range steps {
		if head := strings.TrimSpace(s.Parameter + " " + s.Table); head != before {
			fmt.Fprintf(w, "|- %s\n", head)
			before = head
		}
		fmt.Fprintf(w, "|    %-*s   %s\n", width, s.Key, outcome(s))
	}
}

func outcome(s route.Step) string {
	switch {
	case s.Error != "":
		return "failed: " + s.Error
	case s.Result == nil:
		return "-"
	}
	text := *s.Result
	if s.At != nil {
		text += "   " + place(*s.At)
	}
	return text
}

// place is the short form of a place, with the query of a database row.
func place(at origin.At) string {
	if at.Query != "" {
		return at.Query
	}
	return at.String()
}

// where says how a recipient leaves.
func (r Recipient) where() string {
	text := "class " + r.Class + ", "
	switch {
	case r.Mailbox != "":
		text += r.Transport + " to " + r.Mailbox
	case r.Transport == "":
		text += "nowhere"
	case r.Reply.Code >= 300:
		text += r.Transport
	case r.Transport == "local", r.Transport == "discard":
		text += r.Transport + ": " + r.Reply.Text
	default:
		text += r.Transport + " to " + r.NextHop
	}
	if r.Reply.Code >= 300 {
		text += fmt.Sprintf(": %d %s %s", r.Reply.Code, r.Reply.Enhanced, r.Reply.Text)
	}
	return text
}

// PrintVerdicts writes one line per final recipient, as sendmail -bv does:
//
//	john@example.org... deliverable: virtual to /var/vmail/john/
func (e Explanation) PrintVerdicts(w io.Writer) {
	if e.Reply.Code >= 300 {
		fmt.Fprintf(w, "%s... undeliverable: %d %s %s\n", e.Address, e.Reply.Code, e.Reply.Enhanced, e.Reply.Text)
		return
	}
	for _, r := range e.Recipients {
		word := "deliverable"
		if r.Reply.Code >= 300 {
			word = "undeliverable"
		}
		fmt.Fprintf(w, "%s... %s: %s\n", r.Address, word, r.where())
	}
}
