package sql

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"postern/internal/origin"
	"postern/internal/table"
	"postern/internal/table/cf"
)

// Remember returns a table that answers from all the rows that All has yielded. It
// asks other, which is this table opened for another use, where a key has several
// rows: their order is the database's business. ok is false when it is not known for
// sure how the database compares keys, or when the rows were not read to the end.
func (l *lookup) Remember(rows []table.Entry, find table.Finder, other table.Table) (m table.Memory, ok bool) {
	compared := comparison(l.compared.Load())
	if compared == unknown || len(l.listings) != 1 || !l.Use.Fold {
		return nil, false
	}
	odd := func(e table.Entry) bool { return !isPrintable(e.Key) }
	if compared == caseless && slices.ContainsFunc(rows, odd) {
		return nil, false
	}
	return &memory{lookup: l, other: other, find: find, caseless: compared == caseless}, true
}

// memory answers from rows that were read before.
type memory struct {
	*lookup
	other    table.Table
	find     table.Finder
	caseless bool
	brief    bool
}

// Brief is the same memory whose answers do not say where they are written.
func (m *memory) Brief() table.Memory {
	other := *m
	other.brief = true
	return &other
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
	e, count := m.find(stored)
	switch {
	case count == 0, count == 1 && !m.caseless && e.Key != stored:
		return table.Result{}, table.ErrNotFound
	case count > 1:
		return m.other.Lookup(ctx, key)
	}
	if m.brief {
		return table.Result{Value: e.Value}, nil
	}
	at := e.At()
	at.Key, at.Query = p.Whole, m.query.readable(&p)
	return table.Result{Value: e.Value, At: []origin.At{at}}, nil
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
