package addresses

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"postern/internal/address"
	"postern/internal/check/inventory"
	"postern/internal/explain"
	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/route"
	"postern/internal/table"
)

// orderedMaps are the parameters of which the first table that answers counts. Of
// others (local_recipient_maps) only the fact of an answer does.
var orderedMaps = []string{
	"virtual_alias_maps", "virtual_mailbox_maps", "recipient_canonical_maps", "sender_canonical_maps", "canonical_maps",
	"transport_maps", "relocated_maps", "alias_maps", "recipient_bcc_maps", "sender_bcc_maps",
	"virtual_uid_maps", "virtual_gid_maps", "smtpd_sender_login_maps",
	"sender_dependent_relayhost_maps", "sender_dependent_default_transport_maps",
}

// addressResults are those of them whose results are lists of addresses.
var addressResults = []string{
	"virtual_alias_maps", "recipient_canonical_maps", "sender_canonical_maps", "canonical_maps",
	"alias_maps", "recipient_bcc_maps", "sender_bcc_maps", "smtpd_sender_login_maps",
}

// maxQuestions bounds how often a table that cannot be listed is asked for the keys
// of the tables behind it.
const maxQuestions = 500

// examineOrder is VD206: keys that two tables of one parameter answer differently.
func (g *graph) examineOrder(ctx context.Context) {
	for _, parameter := range orderedMaps {
		tables := g.list.Of(ctx, parameter)
		for later := 1; later < len(tables); later++ {
			questions := maxQuestions
			keys := map[string]bool{}
			for _, e := range tables[later].Entries {
				key := address.Fold(e.Key)
				if keys[key] || ctx.Err() != nil {
					continue
				}
				keys[key] = true
				g.judgeOrder(ctx, parameter, tables[:later+1], key, &questions)
			}
		}
	}
}

// judgeOrder compares the row of the last of some tables with the answer of the
// first that has one.
func (g *graph) judgeOrder(ctx context.Context, parameter string, tables []*inventory.Table, key string, questions *int) {
	last := tables[len(tables)-1]
	unused := last.Rows(key)
	for _, t := range tables[:len(tables)-1] {
		if t.Err != nil || t == last {
			return
		}
		value, at, ok := answer(ctx, t, key, questions)
		if !ok {
			continue
		}
		if !g.sameAnswer(parameter, key, value, valueOf(unused)) {
			g.unusedRow(parameter, key, t, value, at, last, unused)
		}
		return
	}
}

// answer is what a table says to a key: from its rows, or by asking it. Patterns are
// asked for whole addresses only.
func answer(ctx context.Context, t *inventory.Table, key string, questions *int) (value string, at []origin.At, ok bool) {
	if rows := t.Rows(key); len(rows) > 0 {
		for _, e := range rows {
			at = append(at, e.At())
		}
		return valueOf(rows), at, true
	}
	if t.Complete && !t.Pattern || t.Pattern && strings.LastIndexByte(key, '@') < 1 || *questions == 0 || t.Opened == nil {
		return "", nil, false
	}
	if !t.Pattern {
		*questions--
	}
	result, err := t.Opened.Lookup(ctx, key)
	if err != nil {
		return "", nil, false
	}
	return result.Value, result.At, true
}

// valueOf joins the values of rows as a lookup does.
func valueOf(rows []table.Entry) string {
	values := make([]string, len(rows))
	for i, e := range rows {
		values[i] = e.Value
	}
	return strings.Join(values, ",")
}

// sameAnswer reports whether it does not matter that the second answer is not used:
// it is the same, or the address itself, which stands for "no alias".
func (g *graph) sameAnswer(parameter, key, used, unused string) bool {
	if !slices.Contains(addressResults, parameter) {
		return strings.TrimSpace(used) == strings.TrimSpace(unused)
	}
	a, b := g.targetsOf(parameter, used), g.targetsOf(parameter, unused)
	if len(b) == 0 || slices.Equal(b, g.targetsOf(parameter, key)) {
		return true
	}
	return slices.Equal(a, b)
}

// targetsOf are the addresses of a list, complete, folded and in order. Names of
// logins are no addresses.
func (g *graph) targetsOf(parameter, value string) []string {
	list, _ := address.ParseList(value)
	if strings.HasPrefix(value, "@") {
		return []string{address.Fold(value)}
	}
	var out []string
	for _, a := range list {
		if parameter != "smtpd_sender_login_maps" {
			a = g.router.Rewrite(a)
		}
		out = append(out, address.Fold(a.Internal()))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// unusedRow is VD206.
func (g *graph) unusedRow(parameter, key string, first *inventory.Table, value string, at []origin.At, last *inventory.Table, unused []table.Entry) {
	n := note{code: "VD206", severity: finding.Error, name: key}
	if i := strings.LastIndexByte(key, '@'); i >= 0 {
		n.domain = key[i+1:]
	}
	for _, e := range unused {
		n.at = append(n.at, e.At())
	}
	n.at = append(n.at, at...)
	n.message = func(names string, count int) string {
		if count > 1 {
			return fmt.Sprintf("%s: answered by %s, so what %s says of them is never used", names, first.Spec, last.Spec)
		}
		return fmt.Sprintf("%s: %s, the first table of %s that answers, says %q, so %q of %s is never used",
			names, first.Spec, parameter, value, valueOf(unused), last.Spec)
	}
	n.fix = fmt.Sprintf("put what is wanted into one row and delete the other; where %s is to count, name it before %s in %s", last.Spec, first.Spec, parameter)
	g.notes.add(n)
}

// explainOrder is VD206 and VD517 for one address: rows for it that do not count.
func (g *graph) explainOrder(ctx context.Context, a address.Address, e *explain.Explanation) {
	user, ext := g.router.Extension(a.Local)
	keys := []string{address.Fold(a.String())}
	if ext != "" {
		keys = append(keys, address.Fold(address.Address{Local: user, Domain: a.Domain}.String()))
	}
	for _, parameter := range orderedMaps {
		tables := g.list.Of(ctx, parameter)
		for later := 1; later < len(tables); later++ {
			for _, key := range keys {
				questions := maxQuestions
				if tables[later].Has(key) {
					g.judgeOrder(ctx, parameter, tables[:later+1], key, &questions)
				}
			}
		}
	}
	g.explainUnasked(ctx, keys[0], e)
}

// explainUnasked is VD517: a row for the literal address, as postmap -q finds it,
// that the decision has not come to.
func (g *graph) explainUnasked(ctx context.Context, key string, e *explain.Explanation) {
	for _, s := range g.list.Naming(ctx, key) {
		row := s.Entry()
		if !decides(s.Parameter) || found(e, s.Table.Spec, key, row.At().RelativeTo(g.setup.Dir)) {
			continue
		}
		g.notes.add(note{code: "VD517", severity: finding.Info, domain: address.Fold(address.Split(key).Domain), name: key, at: []origin.At{row.At()},
			message: func(string, int) string {
				return fmt.Sprintf("%s has a row for %s (%q), as postmap -q finds it, but the decision does not come to it: "+
					"its class does not ask %s, or another answer comes first", s.Table.Spec, key, row.Value, s.Parameter)
			},
			fix: "look at the steps of the explanation for the answer that counts"})
	}
}

// decides reports a parameter that has a say about where mail goes.
func decides(parameter string) bool {
	return slices.Contains(keyedMaps, parameter) || slices.Contains([]string{
		"transport_maps", "relocated_maps", "local_recipient_maps", "alias_maps", "recipient_bcc_maps"}, parameter)
}

// found reports whether an explanation has found the row of a table, by asking it or
// a table that is made of it and others (unionmap:, pipemap:).
func found(e *explain.Explanation, spec, key string, at origin.At) bool {
	return slices.ContainsFunc(e.Steps, func(s route.Step) bool {
		return s.Op == "lookup" && s.Result != nil && address.Fold(s.Key) == key &&
			(s.Table == spec || strings.Contains(s.Table, "{") && hasPlace(s, at))
	})
}

// hasPlace reports whether an answer comes from a place, by itself or with others.
func hasPlace(s route.Step, at origin.At) bool {
	return slices.ContainsFunc(places(s), func(p origin.At) bool { return p.String() == at.String() })
}
