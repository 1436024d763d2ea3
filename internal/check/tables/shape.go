package tables

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"postern/internal/address"
	"postern/internal/check/inventory"
	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/table"
	"postern/internal/table/text"
)

// shape examines what a table answers, and how its query is written (VD308).
func (x *examination) shape(ctx context.Context, t *inventory.Table) {
	x.problems(t, nil)
	x.unquoted(t)
	x.empty(ctx, t, nil)
	x.several(ctx, t, nil)
}

// problems reports the lines of a text that a table does not have, or has in vain;
// with keys only those that have one of them.
func (x *examination) problems(t *inventory.Table, keys map[string]bool) {
	var twice, void []text.Problem
	for _, p := range t.Problems {
		if keys != nil && !concerns(p, keys) {
			continue
		}
		if p.Kind == text.Duplicate {
			twice = append(twice, p)
		} else {
			void = append(void, p)
		}
	}
	x.twice(t, twice)
	for _, p := range void {
		x.void(t, p)
	}
}

// concerns reports a line that was meant for one of these keys. A rule that cannot be
// used was meant for a key that stands in it.
func concerns(p text.Problem, keys map[string]bool) bool {
	if p.Kind != text.Unusable {
		return keys[meant(keyOf(p))]
	}
	rule := address.Fold(strings.ReplaceAll(p.At.Text, `\`, ""))
	for key := range keys {
		if key != "" && strings.Contains(rule, key) {
			return true
		}
	}
	return false
}

// keyOf is the key of a line with a problem, as far as there is one.
func keyOf(p text.Problem) string {
	if p.Key != "" {
		return p.Key
	}
	word, _, _ := strings.Cut(strings.TrimSpace(p.At.Text), " ")
	word, _, _ = strings.Cut(word, "\t")
	return strings.TrimSuffix(word, ":")
}

// twice reports keys that several lines have.
func (x *examination) twice(t *inventory.Table, list []text.Problem) {
	typ, _ := parts(t)
	for _, p := range list {
		at, f := []origin.At{p.At}, finding.Error
		effect := "the first line counts, and this one has no effect"
		if rows := t.Rows(p.Key); len(rows) > 0 {
			at = append(at, rows[0].At())
			effect = fmt.Sprintf("line %d counts, and this one has no effect", rows[0].At().Line)
			if typ != "texthash" && equal(rows[0].At().Text, p.At.Text) {
				f = finding.Warning // nothing is lost
			}
		}
		if typ == "texthash" {
			effect += "; a Postfix daemon would not use the file at all"
		}
		x.add(finding.Finding{Code: "VD308", Severity: f, At: at,
			Message: fmt.Sprintf("%s has the key %q twice, again in line %d: %s", t.Spec, p.Key, p.At.Line, effect),
			Fix:     "write one line with all values, separated by commas, and delete the other"})
	}
}

// equal compares lines without regard to blanks and case.
func equal(a, b string) bool {
	return address.Fold(strings.Join(strings.Fields(a), " ")) == address.Fold(strings.Join(strings.Fields(b), " "))
}

// void reports a line that is left out, or whose key nothing has.
func (x *examination) void(t *inventory.Table, p text.Problem) {
	f := finding.Finding{Code: "VD308", Severity: finding.Error, At: []origin.At{p.At}}
	switch p.Kind {
	case text.NoValue:
		f.Message = fmt.Sprintf("%s, line %d has a key without a value (%s), so the line is left out", t.Spec, p.At.Line, strings.TrimSpace(p.At.Text))
		f.Fix = "write a value behind the key: " + keyOf(p) + " user@example.org"
		if !answersAddresses(t) {
			f.Fix = "write a value behind the key, any word where only the key counts: " + keyOf(p) + " OK"
		}
	case text.AliasFile:
		f.Code, f.Message = "VD309", fmt.Sprintf("%s, line %d can never match: its key %q ends in ':', which is how aliases(5) files are written", t.Spec, p.At.Line, keyOf(p)+":")
		f.Near, f.Fix = []string{keyOf(p)}, "remove the ':' behind the key"
	case text.NotLocal:
		f.Code, f.Message = "VD309", fmt.Sprintf("%s, line %d can never match: a name in an alias file has no domain (%s)", t.Spec, p.At.Line, keyOf(p))
		f.Fix = "move the line to a table of virtual_alias_maps"
	case text.NotUTF8:
		f.Code, f.Message = "VD309", fmt.Sprintf("%s, line %d is not UTF-8, so the line is left out", t.Spec, p.At.Line)
		f.Fix = "store the file as UTF-8"
	case text.Unusable:
		f.Code, f.Message = "VD309", fmt.Sprintf("%s, line %d can never match, and is left out: %s (%s)", t.Spec, p.At.Line, strings.TrimSuffix(p.Text, text.Ignoring), strings.TrimSpace(p.At.Text))
		f.Fix = "correct the rule, or delete it"
		if !x.folded(t) {
			f.Severity = finding.Warning // a rule about texts loses no mail
		}
	case text.Orphan:
		f.Message = fmt.Sprintf("%s, line %d begins with a blank and continues nothing, so the line is left out", t.Spec, p.At.Line)
		f.Fix = "remove the blanks in front of the line"
	default:
		f.Message = fmt.Sprintf("%s, line %d is left out: %s", t.Spec, p.At.Line, strings.TrimSuffix(p.Text, text.Ignoring))
		f.Fix = "correct the line"
	}
	x.add(f)
}

// answersAddresses reports a table whose values are addresses.
func answersAddresses(t *inventory.Table) bool {
	return slices.ContainsFunc(t.Uses, func(u inventory.Use) bool {
		return strings.HasSuffix(u.Parameter, "alias_maps") || strings.HasSuffix(u.Parameter, "canonical_maps") || strings.HasSuffix(u.Parameter, "_bcc_maps")
	})
}

// unquoted reports a query that is not safe from what a stranger writes, where
// Postfix puts the key into its text.
func (x *examination) unquoted(t *inventory.Table) {
	if t.Query == nil || len(t.Query.Unquoted) == 0 {
		return
	}
	letters := strings.Join(slices.Compact(t.Query.Unquoted), ", ")
	at := append([]origin.At{t.Query.At}, places(t)[:1]...)
	x.add(finding.Finding{Code: "VD308", Severity: finding.Warning, At: at,
		Message: fmt.Sprintf("%s is not inside single quotes in the query of %s: Postern sends the key as a value, but Postfix puts it into the text of the query, where it is no text", letters, t.Spec),
		Fix:     fmt.Sprintf("write '%s' in the query", strings.Trim(t.Query.Unquoted[0], `"`))})
}

// emptyForStrangers reports a query that answers an empty text for what is not
// there.
func (x *examination) emptyForStrangers(t *inventory.Table) {
	at := places(t)
	if t.Query != nil {
		at = append([]origin.At{t.Query.At}, at...)
	}
	x.add(finding.Finding{Code: "VD308", Severity: finding.Warning, At: at,
		Message: fmt.Sprintf("%s (%s) answers an empty text for an address that nobody has, instead of no row: Postfix and Postern skip it with a warning each time", t.Spec, parameters(t)),
		Fix:     "let the query return no row for what is not there: a condition in WHERE instead of IF, CASE or COALESCE"})
}

// empty reports rows and rules whose answer is an empty text; with a meeting only
// those that it met.
func (x *examination) empty(ctx context.Context, t *inventory.Table, m *meeting) {
	var skipped, waiting blamedRows
	for _, h := range t.Hidden(ctx) {
		if h.Reason == table.NoResult && h.Value == "" && m.has(h.Key) {
			skipped.add(h.Key, h.At())
		}
	}
	for _, row := range t.Entries {
		if isEmpty(t, row.Value) && m.has(row.Key) {
			waiting.add(row.Key, row.At())
		}
	}
	for _, rule := range t.Rules {
		if rule.Result == "" && m.answeredAt(rule.At) {
			waiting.add(rule.Pattern, rule.At)
		}
	}
	if len(skipped.keys) > 0 {
		x.add(finding.Finding{Code: "VD308", Severity: finding.Warning, At: skipped.at,
			Message: fmt.Sprintf("%s (%s) has %s with an empty value, which is skipped as if it were not there: %s", t.Spec, parameters(t), counted(len(skipped.keys), "row", "rows"), shortened(skipped.keys)),
			Fix:     "give the rows a value, or delete them"})
	}
	if len(waiting.keys) > 0 {
		x.add(finding.Finding{Code: "VD308", Severity: finding.Error, At: waiting.at,
			Message: fmt.Sprintf("%s (%s) answers an empty text for %s, which is a configuration error: mail waits (451 4.3.5)", t.Spec, parameters(t), shortened(waiting.keys)),
			Fix:     "give the rows a value, or delete them"})
	}
}

// isEmpty reports a value with nothing in it. Of addresses blanks are nothing.
func isEmpty(t *inventory.Table, value string) bool {
	return value == "" || strings.TrimSpace(value) == "" && kindOf(t) == ofAddresses
}

// blamedRows are keys or patterns with their places.
type blamedRows struct {
	keys []string
	at   []origin.At
}

func (b *blamedRows) add(key string, at origin.At) {
	b.keys, b.at = append(b.keys, key), append(b.at, at)
}

// single are the parameters whose answer is one value. virtual_mailbox_maps has one
// where a mailbox is written to.
var single = []string{"virtual_mailbox_maps", "virtual_uid_maps", "virtual_gid_maps", "transport_maps",
	"canonical_maps", "sender_canonical_maps", "recipient_canonical_maps"}

// needsOne is the parameter that wants one value of a table, "" if none does.
func (x *examination) needsOne(t *inventory.Table) string {
	transport, _, _ := strings.Cut(x.settings.String("virtual_transport"), ":")
	for _, u := range t.Uses {
		if !slices.Contains(single, u.Parameter) {
			continue
		}
		if u.Parameter != "virtual_mailbox_maps" || transport == "virtual" || x.settings.String("table_single_value") == "strict" {
			return u.Parameter
		}
	}
	return ""
}

// maxAsked is how many rows of one table are looked up to see whether they are what
// they look like. Those behind them are taken for the same.
const maxAsked = 50

// several reports keys that several rows of a database have, where one value is
// needed; with keys only those.
func (x *examination) several(ctx context.Context, t *inventory.Table, only map[string]bool) {
	parameter := x.needsOne(t)
	if t.Query == nil || parameter == "" {
		return
	}
	first, seen := make(map[string]int32, len(t.Entries)), map[string]bool{}
	var keys []string
	var at []origin.At
	for n, row := range t.Entries {
		if only != nil && !only[meant(row.Key)] {
			continue
		}
		one, known := first[row.Key]
		if !known {
			first[row.Key] = int32(n)
			continue
		}
		if !seen[row.Key] && (len(seen) >= maxAsked || x.manyValues(ctx, t, row.Key)) {
			keys, at = append(keys, row.Key), append(at, t.Entries[one].At(), row.At())
		}
		seen[row.Key] = true
	}
	if len(keys) == 0 {
		return
	}
	x.add(finding.Finding{Code: "VD308", Severity: finding.Error, At: at,
		Message: fmt.Sprintf("%s answers several rows for %s, where %s needs one: %s", t.Spec, counted(len(keys), "key", "keys"), parameter, shortened(keys)),
		Fix:     "delete the rows that are too many, and let the table have each key once (UNIQUE)"})
}

// manyValues looks a key up to see whether it has several values.
func (x *examination) manyValues(ctx context.Context, t *inventory.Table, key string) bool {
	r, err := t.Opened.Lookup(ctx, key)
	return err == nil && len(r.At) > 1 || err != nil && !errors.Is(err, table.ErrNotFound)
}
