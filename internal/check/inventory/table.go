package inventory

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"

	"postern/internal/address"
	"postern/internal/origin"
	"postern/internal/table"
	"postern/internal/table/cf"
	"postern/internal/table/sql"
	"postern/internal/table/text"
)

// Table is one table that parameters name.
type Table struct {
	Spec     string    // "type:name" as configured, without "proxy:"
	At       origin.At // where it is named first
	Uses     []Use     // all of them, those that somebody wrote first; filled in by Tables
	Entries  []table.Entry
	Complete bool  // Entries are all rows
	Pattern  bool  // rules, not keys: it has no rows
	Composed bool  // made of other tables, which Tables has as well: Err is that of one of them
	Err      error // why it cannot be asked; nil: it works

	Opened   table.Table    // never nil after reading: with Err its lookups fail
	Rules    []table.Rule   // of a pattern table
	Problems []text.Problem // of its source text
	Settings *cf.Settings   // of its .cf file, nil: it has none that could be read
	Query    *sql.Query     // nil: it is no SQL table

	word  string // as written
	use   Use
	once  sync.Once
	first map[string]int32   // by folded key, the number of the first entry
	more  map[string][]int32 // those of the others

	concealed once[[]table.Hidden]
}

// aliasTables are the parameters whose tables have the syntax of aliases(5).
var aliasTables = map[string]bool{"alias_maps": true, "alias_database": true}

// read opens the table and reads all rows.
func (t *Table) read(ctx context.Context, o *table.Opener) {
	use := table.Use{Parameter: t.use.Parameter, At: t.use.At, Fold: true, AliasSyntax: aliasTables[t.use.Parameter]}
	t.first, t.more = map[string]int32{}, map[string][]int32{}
	t.Composed = len(withMembers(t.word, t.use, 0)) > 1
	t.Opened, t.Err = o.Open(ctx, t.word, use)
	if t.Err != nil {
		var p *text.Problem
		if errors.As(t.Err, &p) {
			t.Problems = []text.Problem{*p}
		}
		return
	}
	t.describe()
	rows, ok := table.As[table.Enumerable](t.Opened)
	if !ok {
		return
	}
	t.Complete = true
	for e, err := range rows.All(ctx) {
		if err != nil {
			t.Complete = false
			if !errors.Is(err, table.ErrNotListed) {
				t.Err = err
			}
			break
		}
		t.add(e)
	}
}

// describe takes from the opened table what it says about itself.
func (t *Table) describe() {
	t.Pattern = t.Opened.Traits().Pattern
	if ruled, ok := table.As[table.Ruled](t.Opened); ok {
		t.Rules = ruled.Rules()
	}
	if source, ok := table.As[interface{ Problems() []text.Problem }](t.Opened); ok {
		t.Problems = source.Problems()
	}
	if described, ok := table.As[interface{ Settings() *cf.Settings }](t.Opened); ok {
		t.Settings = described.Settings()
	}
	if asker, ok := table.As[interface{ Query() *sql.Query }](t.Opened); ok {
		t.Query = asker.Query()
	}
}

// marks are the records that postalias(1) adds for NIS and for sendmail. They are
// nobody's addresses.
var marks = []string{"YP_LAST_MODIFIED", "YP_MASTER_NAME", "@"}

func (t *Table) add(e table.Entry) {
	if slices.Contains(marks, e.Key) {
		return
	}
	key, n := address.Fold(e.Key), int32(len(t.Entries))
	t.Entries = append(t.Entries, e)
	if _, known := t.first[key]; known {
		t.more[key] = append(t.more[key], n)
	} else {
		t.first[key] = n
	}
}

// Rows are the entries whose key is this one, without regard to case.
func (t *Table) Rows(key string) []table.Entry {
	key = address.Fold(key)
	first, ok := t.first[key]
	if !ok {
		return nil
	}
	rows := []table.Entry{t.Entries[first]}
	for _, n := range t.more[key] {
		rows = append(rows, t.Entries[n])
	}
	return rows
}

// First says of an entry, by its number, whether it is the first with its key,
// without regard to case.
func (t *Table) First(n int) bool { return t.first[address.Fold(t.Entries[n].Key)] == int32(n) }

// find returns the first of the entries that Rows has, and how many these are.
func (t *Table) find(key string) (e table.Entry, count int) {
	key = address.Fold(key)
	n, ok := t.first[key]
	if !ok {
		return e, 0
	}
	return t.Entries[n], 1 + len(t.more[key])
}

// Has reports whether there is an entry with this key, without regard to case.
func (t *Table) Has(key string) bool {
	_, ok := t.first[address.Fold(key)]
	return ok
}

// Hidden are the rows that exist and that no lookup finds, with the reason: those
// of an inactive record, for example. It asks the database anew, once. What cannot
// be listed is left out.
func (t *Table) Hidden(ctx context.Context) []table.Hidden {
	return t.concealed.get(func() []table.Hidden {
		c, ok := table.As[table.Concealing](t.Opened)
		if !ok || t.Err != nil {
			return nil
		}
		return whole(c.Hidden(ctx))
	})
}

// whole are the rows up to the first error.
func whole[T any](rows iter.Seq2[T, error]) []T {
	var list []T
	for r, err := range rows {
		if err != nil {
			break
		}
		list = append(list, r)
	}
	return list
}
