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

	word string // as written
	use  Use
	once sync.Once
	keys map[string][]int32 // by folded key, the places in Entries

	concealed once[[]table.Hidden]
}

// aliasTables are the parameters whose tables have the syntax of aliases(5).
var aliasTables = map[string]bool{"alias_maps": true, "alias_database": true}

// read opens the table and reads all rows.
func (t *Table) read(ctx context.Context, o *table.Opener) {
	use := table.Use{Parameter: t.use.Parameter, At: t.use.At, Fold: true, AliasSyntax: aliasTables[t.use.Parameter]}
	t.keys = map[string][]int32{}
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
	key := address.Fold(e.Key)
	t.keys[key] = append(t.keys[key], int32(len(t.Entries)))
	t.Entries = append(t.Entries, e)
}

// Rows are the entries whose key is this one, without regard to case.
func (t *Table) Rows(key string) []table.Entry {
	places := t.keys[address.Fold(key)]
	rows := make([]table.Entry, 0, len(places))
	for _, n := range places {
		rows = append(rows, t.Entries[n])
	}
	return rows
}

// Has reports whether there is an entry with this key, without regard to case.
func (t *Table) Has(key string) bool { return len(t.keys[address.Fold(key)]) > 0 }

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
