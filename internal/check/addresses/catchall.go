package addresses

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"postern/internal/address"
	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/route"
	"postern/internal/table"
)

// nobody is a local part that no row is expected to spell out. It has letters and
// digits only: no recipient_delimiter splits it.
const nobody = "nosuchuser7f3k9q2zx"

// someExtension is an extension that hardly a row spells out.
const someExtension = "anything"

// shown is an address as messages have it: nobody stands for everybody.
func shown(text string) string {
	if rest, ok := strings.CutPrefix(text, nobody+"@"); ok {
		return "@" + rest
	}
	return text
}

// shownAll is a text with such addresses in it.
func shownAll(text string) string { return strings.ReplaceAll(text, nobody+"@", "@") }

// stranger is what becomes of somebody unknown in a domain.
type stranger struct {
	address address.Address
	found   table.Found // the alias, if answered
	caught  bool
}

// stranger asks the alias tables for somebody unknown in a domain.
func (g *graph) stranger(ctx context.Context, domain string) *stranger {
	domain = address.Fold(domain)
	g.mu.Lock()
	s := g.strangers[domain]
	g.mu.Unlock()
	if s != nil {
		return s
	}
	s = &stranger{address: address.Address{Local: nobody, Domain: domain}}
	s.found, s.caught = g.askAlias(ctx, s.address)
	g.mu.Lock()
	g.strangers[domain] = s
	g.mu.Unlock()
	return s
}

// gives reports whether an answer comes from the row that catches strangers, though
// it was given for another key.
func (s *stranger) gives(f table.Found) bool {
	return s.caught && f.Table.Name() == s.found.Table.Name() && sameRows(f.At, s.found.At) &&
		(f.Key.Kind == table.CatchAll || s.found.Key.Kind != table.CatchAll)
}

// sameRows compares the rows of two answers, whatever key they were found by.
func sameRows(a, b []origin.At) bool {
	return len(a) > 0 && slices.EqualFunc(a, b, func(x, y origin.At) bool {
		if x.Table == "" {
			return x.File == y.File && x.Line == y.Line && x.Parameter == y.Parameter
		}
		return x.Table == y.Table && len(x.Row) == len(y.Row) && equalRow(x.Row, y.Row)
	})
}

func equalRow(a, b map[string]string) bool {
	for column, value := range a {
		if b[column] != value {
			return false
		}
	}
	return true
}

// isGeneral reports whether a row answers for strangers in the domain too.
func (g *graph) isGeneral(ctx context.Context, domain string, h *hop) bool {
	s := g.stranger(ctx, domain)
	return s.caught && h.parameter == "virtual_alias_maps" && h.table == s.found.Table.Name() && sameRows(h.at, s.found.At)
}

// isPattern reports whether a row is a rule of a pattern table.
func (g *graph) isPattern(ctx context.Context, h *hop) bool {
	for _, t := range g.list.Of(ctx, h.parameter) {
		if t.Spec == h.table {
			return t.Pattern
		}
	}
	return false
}

// explainCatchAll is judgeMailbox for one address that was given.
func (g *graph) explainCatchAll(ctx context.Context, a address.Address) {
	user, ext := g.router.Extension(a.Local)
	base := address.Address{Local: user, Domain: a.Domain}
	g.judgeMailbox(ctx, base)
	if ext != "" {
		g.judgeExtension(ctx, base, ext)
	}
}

// judgeMailbox is VD204: a mailbox without an alias to itself, whose mail a
// catch-all takes.
func (g *graph) judgeMailbox(ctx context.Context, a address.Address) {
	s := g.stranger(ctx, a.Domain)
	if !s.caught {
		return
	}
	found, ok := g.askAlias(ctx, a)
	if !ok || !s.gives(found) || g.leadsBack(a, found) || !g.isMailbox(ctx, a) {
		return
	}
	n := note{code: "VD204", severity: finding.Error, domain: address.Fold(a.Domain), name: a.Internal(), at: g.rows(found)}
	cured := found.Key.Kind == table.CatchAll && g.settings.Bool("virtual_mailbox_overrides_catchall")
	n.message = func(names string, count int) string {
		who := fmt.Sprintf("catch-all %s -> %s hides %s from mail: %s", found.Key.Text, found.Value, mailboxes(count), names)
		if found.Key.Kind != table.CatchAll {
			who = fmt.Sprintf("%s answers for every address of %s with %s, and so takes the mail of %s: %s",
				found.Table.Name(), a.Domain, found.Value, mailboxes(count), names)
		}
		if cured {
			return who + ", in Postfix; here virtual_mailbox_overrides_catchall spares them"
		}
		return who + " (the order of lines or rows does not matter)"
	}
	n.fix = "give every mailbox an alias to itself, in a table of virtual_alias_maps after the others"
	switch {
	case cured:
		n.severity = finding.Warning
	case found.Key.Kind == table.CatchAll:
		n.fix += ", or set virtual_mailbox_overrides_catchall = yes"
	default:
		n.fix = "give every mailbox an alias to itself in a table of virtual_alias_maps before " + found.Table.Name()
	}
	g.notes.add(n)
}

func mailboxes(n int) string {
	if n == 1 {
		return "a mailbox"
	}
	return fmt.Sprintf("%d mailboxes", n)
}

// isMailbox reports whether virtual_mailbox_maps has a row for this address in
// particular.
func (g *graph) isMailbox(ctx context.Context, a address.Address) bool {
	class, _, ok := g.class(ctx, a.Domain)
	if !ok || class != route.VirtualMailbox {
		return false
	}
	box, ok := g.ask(ctx, "virtual_mailbox_maps", a, table.ExternalFirst)
	if !ok || box.Key.Kind == table.CatchAll {
		return false
	}
	other, ok := g.ask(ctx, "virtual_mailbox_maps", address.Address{Local: nobody, Domain: a.Domain}, table.ExternalFirst)
	return !ok || other.Table.Name() != box.Table.Name() || !sameRows(other.At, box.At)
}

// leadsBack reports whether an answer has the address itself among its targets.
func (g *graph) leadsBack(a address.Address, found table.Found) bool {
	if strings.HasPrefix(found.Value, "@") {
		return address.Fold(found.Value[1:]) == address.Fold(a.Domain)
	}
	list, _ := address.ParseList(found.Value)
	for _, t := range list {
		if g.router.Rewrite(t).Equal(a) {
			return true
		}
	}
	return false
}

// rows are the places of an answer, or that of the parameter.
func (g *graph) rows(found table.Found) []origin.At {
	if len(found.At) > 0 {
		return found.At
	}
	return []origin.At{g.parameter("virtual_alias_maps")}
}

// judgeExtension is VD205: for user+ext an alias table answers by domain, although
// the user has an alias or a mailbox.
func (g *graph) judgeExtension(ctx context.Context, base address.Address, ext string) {
	s := g.stranger(ctx, base.Domain)
	if !s.caught || s.found.Key.Kind == table.CatchAll {
		return // "@domain" is asked after user@domain
	}
	full := address.Address{Local: base.Local + ext, Domain: base.Domain}
	found, ok := g.askAlias(ctx, full)
	if !ok || found.Key.Kind != table.Full || !s.gives(found) {
		return
	}
	own, has := g.askAlias(ctx, base)
	has = has && !s.gives(own)
	if !has && !g.isMailbox(ctx, base) || g.leadsBack(base, found) || g.leadsBack(full, found) {
		return
	}
	at, fix := g.byDomain(ctx, address.Fold(base.Domain), found)
	g.notes.add(note{code: "VD205", severity: finding.Error, domain: address.Fold(base.Domain), name: base.Internal(), at: at, fix: fix,
		message: func(names string, _ int) string {
			return fmt.Sprintf("%s answers by domain (%s -> %s): mail to %s with an extension gets that answer, "+
				"because the address without the extension is asked for only after it",
				found.Table.Name(), base.Domain, found.Value, names)
		}})
}

// byDomain are the places of an answer for a whole domain, the query first, since all
// such answers are its fault; and what can be done about it.
func (g *graph) byDomain(ctx context.Context, domain string, found table.Found) (at []origin.At, fix string) {
	delimiters := quoted(g.settings.String("recipient_delimiter"))
	fix = fmt.Sprintf("write the row as \"@%s\" in a table that is asked for whole keys, or let it answer no key with %s in it", domain, delimiters)
	rows := g.rows(found)
	for _, t := range g.list.Of(ctx, "virtual_alias_maps") {
		if t.Spec != found.Table.Name() || t.Query == nil {
			continue
		}
		fix = fmt.Sprintf("store the catch-all as \"@%s\" and query for '%%s', or let the query answer no key with %s in it", domain, delimiters)
		at = append(at, t.Query.At)
		if listed := t.Rows("@" + domain); len(listed) > 0 {
			rows = []origin.At{listed[0].At()} // with the column of the key
		}
		break
	}
	for _, row := range rows {
		if row.Table != "" {
			row.Key = storedKey(row.Row, domain)
		}
		at = append(at, row)
	}
	return at, fix
}

// storedKey is how the row of a database has its domain.
func storedKey(row map[string]string, domain string) string {
	for _, value := range row {
		if address.Fold(value) == domain {
			return value
		}
	}
	return "@" + domain
}

// quoted are the characters of a set: "+" or "-".
func quoted(set string) string {
	words := make([]string, 0, len(set))
	for _, c := range set {
		words = append(words, strconv.Quote(string(c)))
	}
	return strings.Join(words, " or ")
}

// examineExtension asks for one user of a domain with an extension.
func (g *graph) examineExtension(ctx context.Context, base address.Address) {
	if set := g.settings.String("recipient_delimiter"); set != "" {
		if user, ext := g.router.Extension(base.Local); ext == "" && user != "" {
			g.judgeExtension(ctx, base, set[:1]+someExtension)
		}
	}
}
