package plan

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"postern/internal/explain"
	"postern/internal/finding"
)

// shown is how many addresses of one cause are shown to people.
const shown = 10

// group are the changes that one cause makes in one way.
type group struct {
	kind    kind
	changes []Change
}

// Print writes the changes for people, grouped by what causes them, those with most
// addresses first:
//
//	virtual:12  @example.org  joe@example.com
//	   redirects 3 addresses:
//	      ann@example.org
//	         250 ann@example.org by virtual to /var/vmail/ann/
//	         now 250 joe@example.com by smtp to example.com
func (r *Result) Print(w io.Writer, colour bool) {
	for _, g := range r.groups() {
		g.print(w)
		fmt.Fprintln(w)
	}
	printFindings(w, "New:", r.New, colour)
	printFindings(w, "Cured:", r.Cured, colour)
	if len(r.Unfinished) > 0 {
		fmt.Fprintf(w, "not examined to the end: %s\n", strings.Join(r.Unfinished, ", "))
	}
	for _, o := range r.UnknownRules {
		fmt.Fprintln(w, finding.Printable(o.String()))
	}
	if !r.Changed() {
		fmt.Fprintf(w, "nothing changes for %s\n", count(r.Summary.Addresses, "address", "addresses"))
		return
	}
	fmt.Fprintf(w, "%d of %s changed, %s new, %d cured\n", r.Summary.Changed, count(r.Summary.Addresses, "address", "addresses"),
		count(len(r.New), "finding", "findings"), len(r.Cured))
}

func printFindings(w io.Writer, title string, list []finding.Finding, colour bool) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintln(w, title)
	for _, f := range list {
		f.Print(w, colour)
	}
	fmt.Fprintln(w)
}

// groups are the changes by cause and kind.
func (r *Result) groups() []group {
	index := map[string]int{}
	var list []group
	for _, c := range r.Changes {
		k := kindOf(&c)
		id := fmt.Sprintf("%v\x00%s\x00%v\x00%d", c.Cause, c.Cause.Text, c.InOld, k)
		n, ok := index[id]
		if !ok {
			n = len(list)
			index[id] = n
			list = append(list, group{kind: k})
		}
		list[n].changes = append(list[n].changes, c)
	}
	slices.SortStableFunc(list, func(a, b group) int { return len(b.changes) - len(a.changes) })
	return list
}

// does says what a cause does, for one address and for several.
var does = [...]string{
	refused:    "refuses",
	accepted:   "accepts",
	answered:   "refuses in another way",
	redirected: "redirects",
	rerouted:   "sends another way",
	moved:      "gives another mailbox to",
	judged:     "has another outcome for",
}

func (g group) print(w io.Writer) {
	cause := g.changes[0]
	where := cause.Cause.String()
	if cause.InOld {
		where += " (before)"
	}
	fmt.Fprintln(w, finding.Printable(strings.TrimSpace(where+"  "+cmp.Or(cause.Cause.Text, cause.Cause.Query))))
	listed := 0
	for _, c := range g.changes {
		if !c.Unlisted {
			listed++
		}
	}
	fmt.Fprintf(w, "   %s %s:\n", does[g.kind], whom(listed, len(g.changes)-listed))
	for _, c := range g.changes[:min(len(g.changes), shown)] {
		name := c.Address
		if c.Unlisted {
			name = "all others of " + strings.TrimPrefix(name, anybody+"@")
		}
		fmt.Fprintf(w, "      %s\n         %s\n         now %s\n", finding.Printable(name), finding.Printable(c.Before.String()), finding.Printable(c.After.String()))
	}
	if more := len(g.changes) - shown; more > 0 {
		fmt.Fprintf(w, "      and %d more\n", more)
	}
}

// whom says how many addresses are concerned.
func whom(listed, domains int) string {
	others := "all others of " + count(domains, "domain", "domains")
	switch {
	case domains == 0:
		return count(listed, "address", "addresses")
	case listed == 0:
		return others
	}
	return count(listed, "address", "addresses") + " and " + others
}

func count(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, several)
}

// String says what becomes of an address, in one line.
func (f Fate) String() string {
	reply := func(r explain.Reply) string { return fmt.Sprintf("%d %s %s", r.Code, r.Enhanced, r.Text) }
	switch {
	case f.Later != nil:
		return reply(*f.Later) + " (at the end of the message)"
	case !f.Accepted():
		return reply(f.Reply)
	case len(f.Recipients) == 0:
		return fmt.Sprintf("%d and goes nowhere", f.Reply.Code)
	}
	var list []string
	for _, r := range f.Recipients {
		text := r.Address + " by " + r.Transport
		if to := cmp.Or(r.Mailbox, r.NextHop); to != "" {
			text += " to " + to
		}
		if r.Reply.Code >= 300 {
			text += ": " + reply(r.Reply)
		}
		list = append(list, text)
	}
	return fmt.Sprintf("%d %s", f.Reply.Code, strings.Join(list, ", "))
}
