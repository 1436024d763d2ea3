package sql

import (
	"context"
	"strings"
	"unicode/utf8"

	"postern/internal/address"
	"postern/internal/origin"
	"postern/internal/table"
	"postern/internal/table/cf"
)

// Remember returns a table that answers from all the rows that All has yielded. It
// asks other, which is this table opened for another use, where a key has several
// rows: their order is the database's business. ok is false when it is not known for
// sure how the database compares keys, or when the rows were not read to the end.
func (l *lookup) Remember(rows []table.Entry, other table.Table) (t table.Table, ok bool) {
	compared := comparison(l.compared.Load())
	if compared == unknown || len(l.listings) != 1 || !l.Use.Fold {
		return nil, false
	}
	m := &memory{lookup: l, other: other, rows: rows, caseless: compared == caseless, index: make(map[string]int32, len(rows))}
	for i, e := range rows {
		key := e.Key
		if m.caseless {
			if !isPrintable(key) {
				return nil, false
			}
			key = address.FoldASCII(key)
		}
		if _, known := m.index[key]; known {
			m.index[key] = several
			continue
		}
		m.index[key] = int32(i)
	}
	return m, true
}

// several stands for the rows of a key that has more than one.
const several = -1

// memory answers from rows that were read before.
type memory struct {
	*lookup
	other    table.Table
	rows     []table.Entry
	caseless bool
	index    map[string]int32
}

func (m *memory) Name() string { return m.Table }

func (m *memory) Traits() table.Traits { return table.Traits{} }

// Close does nothing: the table that it remembers belongs to somebody else.
func (m *memory) Close() error { return nil }

func (m *memory) Lookup(ctx context.Context, key string) (table.Result, error) {
	p, ok, err := m.Prepare(ctx, key)
	if err != nil {
		return table.Result{}, m.failure(key, err)
	}
	if !ok {
		return table.Result{}, table.ErrNotFound
	}
	stored := m.listings[0].stored(&p)
	if !isPrintable(p.Whole) && (m.caseless || strings.IndexByte(p.Whole, 0) >= 0 || !utf8.ValidString(p.Whole)) {
		return m.other.Lookup(ctx, key)
	}
	if m.caseless {
		stored = address.FoldASCII(stored)
	}
	n, found := m.index[stored]
	switch {
	case !found:
		return table.Result{}, table.ErrNotFound
	case n == several:
		return m.other.Lookup(ctx, key)
	}
	at := m.rows[n].At
	at.Key, at.Query = p.Whole, m.query.readable(&p)
	return table.Result{Value: m.rows[n].Value, At: []origin.At{at}}, nil
}

// stored is the key of the rows that answer a key.
func (l *listing) stored(p *cf.Parts) string {
	switch l.letters() {
	case "d":
		return "@" + p.Domain
	case "u":
		return p.User
	}
	return p.Whole
}

// isPrintable reports a text of printable ASCII without blanks, which all databases
// compare alike.
func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}
