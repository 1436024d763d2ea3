package plan

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"postern/internal/check/inventory"
	"postern/internal/syntax"
	"postern/internal/table"
)

// rules are what is known of the pattern tables in which the two sides differ.
type rules struct {
	addresses []string            // that patterns spell out
	domains   []string            // the same of domain lists
	unknown   []OpenRules         // the changed rules of all others
	blamed    [2]map[place]blamed // by the side that has them, the changed rules
}

// OpenRules are changed rules of one table whose addresses nobody can list.
type OpenRules struct {
	Table string `json:"table"`
	Count int    `json:"count"`
}

func (o OpenRules) String() string {
	if o.Count == 1 {
		return "1 changed rule of " + o.Table + " matches addresses that no table lists; --addresses FILE names them"
	}
	return fmt.Sprintf("%d changed rules of %s match addresses that no table lists; --addresses FILE names them", o.Count, o.Table)
}

// asked are the parameters, besides those that are keyed or followed, whose patterns
// are asked for recipients or for their domains.
var asked = []string{"transport_maps", "local_recipient_maps", "mydestination"}

// changedRules looks at the tables of rules that are not the same on both sides. What
// a rule does depends on those before it: the addresses are those of all rules of such
// a table, and of the ifs around them.
func changedRules(ctx context.Context, sides [2]*side) *rules {
	found := &rules{blamed: [2]map[place]blamed{{}, {}}}
	even, counted := newEvener(sides), map[string]bool{}
	for _, n := range []int{1, 0} {
		for _, t := range sides[n].inventory.Tables(ctx) {
			if !hasRules(t) {
				continue
			}
			others := counterpart(sides[1-n].inventory.Tables(ctx), even, t)
			moved := !even.sameOrder(t, sides)
			if !moved && slices.EqualFunc(t.Rules, others, even.sameRule) {
				continue
			}
			changed := even.difference(t.Rules, others)
			if moved {
				changed = even.all(t.Rules)
			} else if len(changed) == 0 && len(even.difference(others, t.Rules)) == 0 {
				changed = even.reordered(t.Rules, others)
			}
			for _, r := range changed {
				found.blamed[n][placeOf(r.rule.At, sides[n])] = r.blame(n == 0, sides)
			}
			if isExpressions(t) {
				found.candidates(t)
			}
			if !isExpressions(t) || !sides[n].asksRecipients(t) {
				continue
			}
			for _, r := range changed {
				id := t.Uses[0].Parameter + "\x00" + r.rule.Pattern // with another result it is the same rule
				if _, ok := named(t, r.rule.Pattern); !ok && !counted[id] {
					counted[id] = true
					found.count(even, t.Spec)
				}
			}
		}
	}
	return found
}

// candidates adds the addresses and the domains that the patterns of a table spell out.
func (r *rules) candidates(t *inventory.Table) {
	add := func(pattern string) {
		switch text, ok := named(t, pattern); {
		case ok && isAddress(text):
			r.addresses = append(r.addresses, text)
		case ok:
			r.domains = append(r.domains, text)
		}
	}
	for _, rule := range t.Rules {
		add(rule.Pattern)
		for _, c := range rule.Within {
			add(c.Pattern)
		}
	}
}

// named is the address that a pattern of a table spells out, or the domain when the
// table is a list of these.
func named(t *inventory.Table, pattern string) (text string, ok bool) {
	text, ok = literal(pattern)
	ofDomains := slices.ContainsFunc(t.Uses, func(u inventory.Use) bool { return domainLists[u.Parameter] })
	return text, ok && (isAddress(text) || ofDomains && !strings.Contains(text, "@"))
}

// domainLists are the parameters that say which domains end here or are relayed.
var domainLists = map[string]bool{"mydestination": true, "virtual_alias_domains": true, "virtual_mailbox_domains": true, "relay_domains": true}

// count counts a changed rule of a table.
func (r *rules) count(even *evener, spec string) {
	for i := range r.unknown {
		if even.text(r.unknown[i].Table) == even.text(spec) {
			r.unknown[i].Count++
			return
		}
	}
	r.unknown = append(r.unknown, OpenRules{spec, 1})
}

func isExpressions(t *inventory.Table) bool {
	return strings.HasPrefix(t.Spec, "pcre:") || strings.HasPrefix(t.Spec, "regexp:")
}

// hasRules says whether a table is one of rules that stand in lines of their own.
func hasRules(t *inventory.Table) bool { return isExpressions(t) || strings.HasPrefix(t.Spec, "cidr:") }

// counterpart are the rules of the same table on the other side, or else those that
// its parameter has there.
func counterpart(tables []*inventory.Table, even *evener, t *inventory.Table) []table.Rule {
	var list []table.Rule
	for _, o := range tables {
		if even.text(o.Spec) == even.text(t.Spec) {
			return o.Rules
		}
		if hasRules(o) && o.Uses[0].Parameter == t.Uses[0].Parameter {
			list = append(list, o.Rules...)
		}
	}
	return list
}

// sameOrder reports whether a parameter that names a table has its tables of
// expressions in the same order on both sides, as far as both have them.
func (e *evener) sameOrder(t *inventory.Table, sides [2]*side) bool {
	return !slices.ContainsFunc(t.Uses, func(u inventory.Use) bool {
		var order [2][]string
		for n, s := range sides {
			for _, w := range syntax.Split(s.setup.Settings.Value(u.Parameter).Text, syntax.Separators) {
				if spec := table.Direct(w); strings.HasPrefix(spec, "pcre:") || strings.HasPrefix(spec, "regexp:") {
					order[n] = append(order[n], e.text(spec))
				}
			}
		}
		only := func(n int) func(string) bool {
			return func(spec string) bool { return !slices.Contains(order[n], spec) }
		}
		now, old := slices.DeleteFunc(slices.Clone(order[1]), only(0)), slices.DeleteFunc(order[0], only(1))
		return !slices.Equal(old, now)
	})
}

// asksRecipients says whether a table is asked for addresses of recipients.
func (s *side) asksRecipients(t *inventory.Table) bool {
	return slices.ContainsFunc(t.Uses, func(u inventory.Use) bool {
		if keyed[u.Parameter] || slices.Contains(follows, u.Parameter) || slices.Contains(asked, u.Parameter) {
			return true
		}
		words := syntax.Split(s.setup.Settings.Value(u.Parameter).Text, syntax.Separators)
		for i, w := range words {
			if i > 0 && table.Direct(w) == t.Spec && words[i-1] == "check_recipient_access" {
				return true
			}
		}
		return false
	})
}

// literal is the text that a pattern matches when it is one with anchors:
// /^info@one\.test$/. A dot stands for itself.
func literal(pattern string) (string, bool) {
	if pattern == "" {
		return "", false
	}
	end := strings.LastIndexByte(pattern, pattern[0])
	if end < 2 || strings.Trim(pattern[end+1:], "i") != "" || pattern[1] != '^' || pattern[end-1] != '$' {
		return "", false
	}
	var b strings.Builder
	for text := pattern[2 : end-1]; text != ""; text = text[1:] {
		if text[0] == '\\' && len(text) > 1 && !isWord(text[1]) {
			text = text[1:]
		} else if strings.IndexByte(`\^$|?*+()[]{} `, text[0]) >= 0 {
			return "", false
		}
		b.WriteByte(text[0])
	}
	return b.String(), b.Len() > 0
}

func isAddress(text string) bool {
	local, domain, ok := strings.Cut(text, "@")
	return ok && local != "" && domain != "" && !strings.Contains(domain, "@")
}

// isWord says whether a character after a backslash stands for something else.
func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}
