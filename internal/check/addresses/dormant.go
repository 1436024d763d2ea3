package addresses

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"postern/internal/address"
	"postern/internal/origin"
	"postern/internal/route"
	"postern/internal/table"
)

// dormant is a row that is there and that no lookup finds: of an inactive mailbox, alias
// or domain, or one without a result.
type dormant struct {
	table.Hidden
	parameter, spec string
}

// dormantRows are the rows that no lookup finds, by the address or the domain that was
// meant. They are listed once.
func (g *graph) dormantRows(ctx context.Context) map[string][]dormant {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dormant != nil {
		return g.dormant
	}
	g.dormant = map[string][]dormant{}
	for _, parameter := range slices.Concat(keyedMaps, domainLists) {
		for _, t := range g.list.Of(ctx, parameter) {
			if t.Pattern {
				continue
			}
			for _, h := range t.Hidden(ctx) {
				if h.Reason != table.NotAsked {
					key := meant(h.Key)
					g.dormant[key] = append(g.dormant[key], dormant{h, parameter, t.Spec})
				}
			}
		}
	}
	return g.dormant
}

// revival is what a finding says of the dormant rows that were meant to answer; empty
// where there are none. All of it speaks of the same rows.
type revival struct {
	at      []origin.At
	because string // for the end of the message
	cure    string
}

// reviveAddress chooses among the dormant rows of an address those that would make it
// known: of the recipients of its class, or else aliases that lead away from it.
func (g *graph) reviveAddress(ctx context.Context, a address.Address, c route.Class) revival {
	key := a.Internal()
	var listed, aliases []dormant
	for _, d := range g.dormantRows(ctx)[meant(key)] {
		switch d.parameter {
		case "virtual_mailbox_maps", "relay_recipient_maps":
			if d.parameter == recipientMaps(c) {
				listed = append(listed, d)
			}
		case "virtual_alias_maps", "recipient_canonical_maps", "canonical_maps":
			if !slices.Contains(g.targetsOf(d.parameter, d.Value), address.Fold(key)) {
				aliases = append(aliases, d)
			}
		}
	}
	if len(listed) == 0 {
		listed = aliases
	}
	return revive(key, listed)
}

// reviveDomain chooses among the dormant rows of a domain those of the lists.
func (g *graph) reviveDomain(ctx context.Context, domain string) revival {
	var listed []dormant
	for _, d := range g.dormantRows(ctx)[meant(domain)] {
		if slices.Contains(domainLists, d.parameter) {
			listed = append(listed, d)
		}
	}
	return revive(domain, listed)
}

// revive is what is said of those rows that lack least: the row of a backup MX is in
// the query for mailbox domains as well, and more is wrong with it there.
func revive(key string, rows []dormant) (r revival) {
	var states, cures []string
	fewest := math.MaxInt
	for _, d := range rows {
		condition, failing := d.unmet()
		if failing > fewest {
			continue
		}
		if failing < fewest {
			r, states, cures, fewest = revival{}, nil, nil, failing
		}
		r.at = append(r.at, d.At())
		state, cure := "without a result", fmt.Sprintf("give the row of %s in %s a result", cut(key), d.spec)
		if d.Reason == table.Excluded {
			state, cure = "not with "+condition, fmt.Sprintf("activate the row of %s in %s (%s)", cut(key), d.spec, condition)
		}
		if !slices.Contains(cures, cure) {
			states, cures = append(states, fmt.Sprintf("a row in %s, but %s", d.spec, state)), append(cures, cure)
		}
	}
	if len(cures) > 0 {
		r.because, r.cure = "; there is "+strings.Join(states, ", and "), strings.Join(cures, ", or ")
	}
	return r
}

// equality is a term of a condition that compares a column with a literal.
var equality = regexp.MustCompile("(?i)^((?:[\\w`\"]+\\.)*[`\"]?([a-z_]\\w*)[`\"]?)\\s*=\\s*(?:'([^']*)'|(\\d+|true|false))$")

// unmet is what the query demands of a row and the row does not have: its condition
// without the terms that are known to hold, and how many terms fail, as far as that is
// known. One does at least.
func (d dormant) unmet() (condition string, failing int) {
	row := d.At().Row
	var left []string
	for term := range strings.SplitSeq(d.Condition, " AND ") {
		if m := equality.FindStringSubmatch(term); m != nil {
			switch d.compare(row, m[1], m[2], m[3]+m[4]) {
			case holds:
				continue
			case fails:
				failing++
			}
		}
		left = append(left, term)
	}
	if len(left) == 0 {
		return d.Condition, 1
	}
	return strings.Join(left, " AND "), max(failing, 1)
}

// outcome is that of a comparison which the database makes.
type outcome int

const (
	open outcome = iota // it cannot be told here
	holds
	fails
)

// compare compares a column of a row, in which NULL is left out, with a value. The
// column is there as it is written, when tables that are joined have the same, or by its
// name alone.
func (d dormant) compare(row map[string]string, written, name, value string) outcome {
	is, ok := row[written]
	if !ok && mentions(d.Condition, name) > 1 {
		return open // which of them is not known
	}
	for column, text := range row {
		if !ok && strings.EqualFold(column, name) {
			is, ok = text, true
		}
	}
	switch {
	case !ok:
		return fails
	case plain(is) == plain(value):
		return holds
	case strings.EqualFold(is, value): // some databases fold, others do not
		return open
	}
	a, errA := strconv.ParseFloat(is, 64)
	b, errB := strconv.ParseFloat(value, 64)
	if errA == nil && errB == nil && a == b {
		return holds
	}
	return fails
}

// mentions is how often a condition has a word.
func mentions(condition, word string) (n int) {
	for w := range strings.FieldsFuncSeq(condition, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		if strings.EqualFold(w, word) {
			n++
		}
	}
	return n
}

// plain is a truth value as a number: PostgreSQL answers with t, and MySQL, for a bit,
// with a byte.
func plain(value string) string {
	switch strings.ToLower(value) {
	case "t", "true", "\x01":
		return "1"
	case "f", "false", "\x00":
		return "0"
	}
	return value
}

// likely is the near miss that a cure may propose: not the address itself, which is near
// when it has a dormant row.
func likely(near []string, key string) string {
	if i := slices.IndexFunc(near, func(n string) bool { return meant(n) != meant(key) }); i >= 0 {
		return near[i]
	}
	return ""
}
