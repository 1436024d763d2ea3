package sql

import (
	"slices"
	"strconv"
	"strings"
)

// listing is a query turned round: instead of the rows of one key it asks for all
// rows, and for what tells their keys.
type listing struct {
	dialect   *dialect
	list      phrase // what is selected
	from      phrase
	joins     []phrase   // conditions that tie tables to each other
	filters   []phrase   // conditions on one table: active = 1
	equations []equation // conditions on the key, of which there is at least one
	order     phrase
	limit     int // rows for one key, 0: all
}

// aggregates are functions that make one row of many.
var aggregates = []string{"AVG", "BIT_AND", "BIT_OR", "COUNT", "GROUP_CONCAT", "JSON_ARRAYAGG", "MAX", "MIN", "STRING_AGG", "ARRAY_AGG", "SUM", "TOTAL"}

// listings turns a query round. ok is false when its shape does not allow that:
// then nobody can tell which keys it answers.
func (d *dialect) listings(text string) (list []*listing, ok bool) {
	tokens, err := d.tokens(text)
	if err != nil {
		return nil, false
	}
	branches := phrase(tokens).split("UNION")
	for i, branch := range branches {
		if i > 0 && len(branch) > 0 && branch[0].word("ALL") {
			branch = branch[1:]
		}
		l, ok := d.listing(branch.bare())
		if !ok || len(branches) > 1 && (l.limit > 0 || len(l.order) > 0) {
			return nil, false
		}
		list = append(list, l)
	}
	return list, true
}

// unlistable are words that make a query more than SELECT, FROM and WHERE.
var unlistable = []string{"GROUP", "HAVING", "INTERSECT", "EXCEPT", "MINUS", "OFFSET", "FETCH", "WINDOW", "INTO", "PROCEDURE", "FOR", "LOCK"}

// listing turns one SELECT round.
func (d *dialect) listing(p phrase) (*listing, bool) {
	if len(p) == 0 || !p[0].word("SELECT") || p.has(unlistable...) {
		return nil, false
	}
	l := &listing{dialect: d}
	p, limit := cut(p[1:], "LIMIT")
	p, l.order = cut(p, "ORDER")
	p, where := cut(p, "WHERE")
	l.list, l.from = cut(p, "FROM")
	if len(l.list) == 0 || len(l.from) == 0 || l.from.hasValue() || l.order.hasValue() || l.aggregates() {
		return nil, false
	}
	if len(limit) > 0 {
		n, err := strconv.Atoi(limit.String())
		if err != nil || n < 1 {
			return nil, false
		}
		l.limit = n
	}
	if !l.conditions(where) || len(l.equations) == 0 {
		return nil, false
	}
	return l, l.substitute()
}

// cut parts a phrase at a word, which goes with neither part.
func cut(p phrase, word string) (before, behind phrase) {
	parts := p.split(word)
	if len(parts) < 2 {
		return p, nil
	}
	return parts[0], p[len(parts[0])+1:]
}

func (l *listing) aggregates() bool {
	for i, t := range l.list[:len(l.list)-1] {
		for _, name := range aggregates {
			if t.word(name) && l.list[i+1].text == "(" {
				return true
			}
		}
	}
	return false
}

// conditions sorts what WHERE demands.
func (l *listing) conditions(where phrase) bool {
	where = where.bare()
	if len(where) == 0 {
		return true
	}
	if where.has("OR", "XOR", "BETWEEN", "CASE") {
		if where.hasValue() {
			return false
		}
		l.keep(where)
		return true
	}
	parts := where.split("AND")
	for _, part := range parts {
		switch {
		case len(part) == 0:
			return false
		case len(parts) > 1 && part[0].text == "(" && len(part.bare()) < len(part):
			if !l.conditions(part) {
				return false
			}
		case !part.hasValue():
			l.keep(part)
		default:
			e, ok := l.dialect.readEquation(part)
			if !ok {
				return false
			}
			l.equations = append(l.equations, e)
		}
	}
	return true
}

// keep keeps a condition without the key.
func (l *listing) keep(p phrase) {
	if len(columnsOf(p)) < 2 && !p.nested() {
		l.filters = append(l.filters, p)
	} else {
		l.joins = append(l.joins, p)
	}
}

// nested reports a query inside.
func (p phrase) nested() bool {
	for _, t := range p {
		if t.word("SELECT") {
			return true
		}
	}
	return false
}

// operators are words of conditions that are no columns.
var operators = map[string]bool{"AND": true, "OR": true, "XOR": true, "NOT": true, "IS": true, "NULL": true, "TRUE": true, "FALSE": true,
	"IN": true, "LIKE": true, "BETWEEN": true, "UNKNOWN": true, "ESCAPE": true, "COLLATE": true, "INTERVAL": true,
	"DAY": true, "HOUR": true, "MINUTE": true, "SECOND": true, "MONTH": true, "YEAR": true, "AS": true, "DATE": true, "TIMESTAMP": true,
	"CURRENT_DATE": true, "CURRENT_TIMESTAMP": true, "BINARY": true, "CASE": true, "WHEN": true, "THEN": true, "ELSE": true, "END": true}

// columnsOf are the columns that a condition names, as written, each once.
func columnsOf(p phrase) []string {
	var list []string
	for i := 0; i < len(p); i++ {
		t := p[i]
		quoted := !t.name && (t.text[0] == '`' || t.text[0] == '"')
		if !t.name && !quoted || t.name && (operators[strings.ToUpper(t.text)] || t.text[0] >= '0' && t.text[0] <= '9') {
			continue
		}
		begin := i
		for i+2 < len(p) && p[i+1].text == "." {
			i += 2
		}
		if i+1 < len(p) && p[i+1].text == "(" {
			continue // a function
		}
		name := p[begin : i+1].String()
		known := false
		for _, other := range list {
			known = known || strings.EqualFold(other, name)
		}
		if !known {
			list = append(list, name)
		}
	}
	return list
}

// substitute puts what the key is equal to in its place among what is selected.
func (l *listing) substitute() bool {
	if !l.list.hasValue() {
		return true
	}
	list := make(phrase, 0, len(l.list))
	for _, t := range l.list {
		if t.value == nil {
			list = append(list, t)
			continue
		}
		same := l.equal(t)
		if same == nil {
			return false
		}
		list = append(list, token{text: "(" + same.String() + ")", glued: t.glued})
	}
	l.list = list
	return true
}

// equal is the expression that a single letter must be equal to, or nil.
func (l *listing) equal(t token) phrase {
	for _, letter := range t.value.Pieces() {
		for _, e := range l.equations {
			if t.value.Single() && len(e.right) == 1 && e.right[0].letter == letter|('a'-'A') {
				return e.left
			}
		}
	}
	return nil
}

// statement asks for all rows that lookups find: what is selected, then for each
// equation its columns and the test of its comparison.
func (l *listing) statement(rows int) string {
	return l.write(nil, l.where(l.filters), rows)
}

// hidden asks for the rows that only the filters keep from being found, with the
// columns of the filters behind what is selected; "" when there is no filter.
func (l *listing) hidden(rows int) string {
	if len(l.filters) == 0 {
		return ""
	}
	where := append(l.where(nil), "("+l.condition()+") IS NOT TRUE")
	return l.write(l.filtered(), where, rows)
}

// filtered are the columns that filters look at.
func (l *listing) filtered() []string {
	var list []string
	for _, f := range l.filters {
		list = append(list, columnsOf(f)...)
	}
	return list
}

// named are the names of columns, the last of which are those of the filters: where
// two of these have one name, as they are written (m.active, d.active).
func (l *listing) named(columns []string, shown int) []string {
	front, behind := columns[:len(columns)-shown], columns[len(columns)-shown:]
	written := l.filtered()
	list := slices.Clone(front)
	for i, name := range behind {
		same := func(other string) bool { return strings.EqualFold(other, name) }
		if slices.ContainsFunc(behind[:i], same) || slices.ContainsFunc(behind[i+1:], same) {
			name = written[i]
		}
		list = append(list, name)
	}
	return list
}

// condition is what the filters demand, as written, with parentheses around
// alternatives that are one of several.
func (l *listing) condition() string {
	var parts []string
	for _, f := range l.filters {
		text := f.String()
		if len(l.filters) > 1 && f.has("OR", "XOR") {
			text = "(" + text + ")"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, " AND ")
}

// where are the conditions without the key.
func (l *listing) where(filters []phrase) []string {
	var where []string
	for _, p := range append(l.joins[:len(l.joins):len(l.joins)], filters...) {
		where = append(where, "("+p.String()+")")
	}
	for _, e := range l.equations {
		if text := e.pattern(l.dialect); text != "" {
			where = append(where, text)
		}
	}
	return where
}

func (l *listing) write(shown, where []string, rows int) string {
	var b strings.Builder
	b.WriteString("SELECT " + l.list.String())
	for _, column := range shown {
		b.WriteString(", " + column)
	}
	for _, e := range l.equations {
		for _, column := range e.columns() {
			b.WriteString(", " + column.String())
		}
		b.WriteString(", " + l.dialect.test(e.left.String()))
	}
	b.WriteString(" FROM " + l.from.String())
	if len(where) > 0 {
		b.WriteString(" WHERE " + strings.Join(where, " AND "))
	}
	if len(l.order) > 0 {
		b.WriteString(" ORDER " + l.order.String())
	}
	b.WriteString(" LIMIT " + strconv.Itoa(rows))
	return b.String()
}

// columns is how many columns stand behind what is selected.
func (l *listing) columns() int {
	n := 0
	for _, e := range l.equations {
		n += len(e.columns()) + 1
	}
	return n
}

// keyName is the name of the column that alone is the key, or "".
func (l *listing) keyName() string {
	if len(l.equations) != 1 {
		return ""
	}
	left := l.equations[0].left
	last := left[len(left)-1]
	for i, t := range left {
		if i%2 == 1 && t.text != "." {
			return ""
		}
	}
	if !last.name && last.text[0] != '`' && last.text[0] != '"' {
		return ""
	}
	return strings.Trim(last.text, "`\"")
}

// byDomain reports a query that answers all addresses of a domain alike.
func (l *listing) byDomain() bool { return l.letters() == "d" }

// letters are those of all equations, each once.
func (l *listing) letters() string {
	all := ""
	for _, e := range l.equations {
		for _, letter := range e.letters() {
			if !strings.ContainsRune(all, letter) {
				all += string(letter)
			}
		}
	}
	return all
}

// key finds the key of a row from the columns behind what is selected, and how
// surely it is compared.
func (l *listing) key(cells []cell) (key string, c comparison, ok bool) {
	var k known
	c = exact
	for _, e := range l.equations {
		n := len(e.columns())
		test := comparisonOf(cells[n])
		if !e.solve(cells[:n], test == exact, &k) {
			return "", unknown, false
		}
		if test == caseless && len(e.columns()) > 1 {
			test = unknown // = overlooks final blanks, and LIKE does not
		}
		c = min(c, test)
		cells = cells[n+1:]
	}
	key, ok = k.key()
	return key, c, ok
}
