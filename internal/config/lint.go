package config

import (
	"fmt"
	"sort"
	"strings"

	"postern/internal/syntax"
)

// lint looks for what works but was hardly meant: unknown names close to known
// ones, comments at the end of a line.
func (s *Settings) lint() {
	used := s.references()
	var names []string
	for name := range s.written {
		names = append(names, name)
	}
	sort.Slice(names, func(i, j int) bool { return s.written[names[i]].At.Line < s.written[names[j]].At.Line })
	for _, name := range names {
		v := s.written[name]
		if p, known := s.params[name]; known {
			if p.Type == "str" && listLike(name) {
				s.lintList(name, v)
			}
			continue
		}
		if used[name] || s.servicePrefixed(name) || tableParameter(name) {
			continue
		}
		near := s.near(name)
		text := fmt.Sprintf("unknown parameter: %s", name)
		if len(near) == 0 {
			text = fmt.Sprintf("unused parameter: %s=%s", name, clip(v.Raw))
		}
		s.problem(v.At, name, text, near...)
	}
}

// listLike tells list and table parameters from single texts by their names.
func listLike(name string) bool {
	for _, suffix := range []string{"_maps", "_domains", "_restrictions", "mydestination", "mynetworks", "_interfaces", "_networks"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// lintList finds words in a list that begin with '#': Postfix ignores the rest
// of a domain list there.
func (s *Settings) lintList(name string, v Value) {
	for _, w := range syntax.Split(v.Raw, syntax.Separators) {
		if w[0] == '#' {
			s.problem(v.At, name, fmt.Sprintf("%s: comment at end of line is not supported: %s", name, w))
			return
		}
	}
}

// references are the names that values refer to with $, and the restriction
// classes of the user.
func (s *Settings) references() map[string]bool {
	used := map[string]bool{}
	for _, v := range s.written {
		text := v.Raw
		for {
			i := strings.IndexByte(text, '$')
			if i < 0 {
				break
			}
			text = strings.TrimLeft(text[i+1:], "{( ")
			used[text[:nameLen(text)]] = true
		}
	}
	for _, w := range syntax.Split(s.written["smtpd_restriction_classes"].Raw, syntax.Separators) {
		used[w] = true
	}
	return used
}

// servicePrefixed reports a parameter of a delivery service:
// relay_destination_concurrency_limit, dovecot_time_limit.
func (s *Settings) servicePrefixed(name string) bool {
	for _, m := range s.services {
		if rest, ok := strings.CutPrefix(name, m.Name+"_"); ok {
			if _, known := s.params["default_"+rest]; known || rest == "time_limit" || strings.HasPrefix(rest, "initial_destination") ||
				strings.HasPrefix(rest, "delivery_slot") || strings.HasPrefix(rest, "transport_rate") {
				return true
			}
		}
	}
	return false
}

// tableSuffixes end the names of table parameters that are written into main.cf
// (mysql:foo reads foo_dbname).
var tableSuffixes = []string{"_hosts", "_user", "_password", "_dbname", "_dbpath", "_query", "_result_format", "_domain",
	"_expansion_limit", "_table", "_select_field", "_where_field", "_additional_conditions", "_server_host", "_search_base",
	"_query_filter", "_result_attribute", "_bind_dn", "_bind_pw", "_version"}

func tableParameter(name string) bool {
	for _, suffix := range tableSuffixes {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// near are the known names that differ in few letters, best first, at most
// three.
func (s *Settings) near(name string) []string {
	type candidate struct {
		name string
		cost int
	}
	limit := 1 + len(name)/8
	var list []candidate
	for known := range s.params {
		if d := distance(name, known, limit); d <= limit {
			list = append(list, candidate{known, d})
		}
	}
	sort.Slice(list, func(i, j int) bool {
		if list[i].cost != list[j].cost {
			return list[i].cost < list[j].cost
		}
		return list[i].name < list[j].name
	})
	var out []string
	for _, c := range list[:min(3, len(list))] {
		out = append(out, c.name)
	}
	return out
}

// distance is the number of letters to insert, delete, change or swap with the
// neighbour to make b of a; more than limit is limit+1.
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	before, last, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(last[j]+1, cur[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, last, cur = last, cur, before
	}
	return last[len(b)]
}
