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
	addresses []string    // that patterns spell out
	unknown   []openRules // the changed rules of all others
}

// openRules are changed rules of one table whose addresses nobody can list.
type openRules struct {
	table string
	count int
}

func (o openRules) String() string {
	if o.count == 1 {
		return "1 changed rule of " + o.table + " matches addresses that no table lists; --addresses FILE names them"
	}
	return fmt.Sprintf("%d changed rules of %s match addresses that no table lists; --addresses FILE names them", o.count, o.table)
}

// asked are the parameters, besides those that are keyed or followed, whose patterns
// are asked for recipients.
var asked = []string{"transport_maps", "local_recipient_maps"}

// changedRules looks at the tables of regular expressions that are not the same on
// both sides. What a rule does depends on those before it: the addresses are those of
// all rules of such a table.
func changedRules(ctx context.Context, sides [2]*side) rules {
	var found rules
	even, counted := newEvener(sides), map[string]bool{}
	for _, n := range []int{1, 0} {
		for _, t := range sides[n].inventory.Tables(ctx) {
			if !isExpressions(t) {
				continue
			}
			others := counterpart(sides[1-n].inventory.Tables(ctx), even, t)
			if slices.EqualFunc(t.Rules, others, sameRule) {
				continue
			}
			asks := sides[n].asksRecipients(t)
			for _, r := range t.Rules {
				id := t.Uses[0].Parameter + "\x00" + r.Pattern // with another result it is the same rule
				if a, ok := spelledOut(r.Pattern); ok {
					found.addresses = append(found.addresses, a)
				} else if asks && !counted[id] && !slices.ContainsFunc(others, func(o table.Rule) bool { return sameRule(r, o) }) {
					counted[id] = true
					found.count(even, t.Spec)
				}
			}
		}
	}
	return found
}

// count counts a changed rule of a table.
func (r *rules) count(even *evener, spec string) {
	for i := range r.unknown {
		if even.text(r.unknown[i].table) == even.text(spec) {
			r.unknown[i].count++
			return
		}
	}
	r.unknown = append(r.unknown, openRules{spec, 1})
}

func isExpressions(t *inventory.Table) bool {
	return strings.HasPrefix(t.Spec, "pcre:") || strings.HasPrefix(t.Spec, "regexp:")
}

func sameRule(a, b table.Rule) bool { return a.Pattern == b.Pattern && a.Result == b.Result }

// counterpart are the rules of the same table on the other side, or else those that
// its parameter has there.
func counterpart(tables []*inventory.Table, even *evener, t *inventory.Table) []table.Rule {
	var list []table.Rule
	for _, o := range tables {
		if even.text(o.Spec) == even.text(t.Spec) {
			return o.Rules
		}
		if isExpressions(o) && o.Uses[0].Parameter == t.Uses[0].Parameter {
			list = append(list, o.Rules...)
		}
	}
	return list
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

// spelledOut is the address that a pattern matches when it is one with anchors:
// /^info@one\.test$/. A dot stands for itself.
func spelledOut(pattern string) (string, bool) {
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
	local, domain, ok := strings.Cut(b.String(), "@")
	return b.String(), ok && local != "" && domain != "" && !strings.Contains(domain, "@")
}

// isWord says whether a character after a backslash stands for something else.
func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}
