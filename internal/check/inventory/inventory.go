// Package inventory is what a configuration lists: the tables and their rows, the
// domains with the list that has them, and every address that a table names. Checks
// that look at the whole of a configuration, and near misses, come from here.
//
// Everything is read at the first question and kept. A table that cannot be listed
// (a server without a query of a plain shape, a pattern) has no rows here, and says
// so by Complete; that is never a fault.
//
// It imports address, origin, route, setup, syntax and table.
package inventory

import (
	"context"
	"errors"
	"sync"

	"postern/internal/address"
	"postern/internal/origin"
	"postern/internal/setup"
	"postern/internal/syntax"
	"postern/internal/table"
)

// MaxRows is how many rows of one table of a database are read.
const MaxRows = 100000

// Inventory is what one configuration lists. It is safe for concurrent use.
type Inventory struct {
	Setup *setup.Setup

	mu     sync.Mutex
	tables map[string]*Table   // by spec, without "proxy:"
	params map[string][]*Table // by parameter
}

// Table is one table that parameters name.
type Table struct {
	Spec     string    // "type:name" as configured, without "proxy:"
	At       origin.At // where it is named first
	Entries  []table.Entry
	Complete bool  // Entries are all rows
	Pattern  bool  // rules, not keys: it has no rows
	Err      error // why it cannot be asked; nil: it works

	keys map[string][]int // by folded key, the places in Entries
}

// New is an inventory of which nothing has been read yet.
func New(s *setup.Setup) *Inventory {
	return &Inventory{Setup: s, tables: map[string]*Table{}, params: map[string][]*Table{}}
}

// Of are the tables that a parameter names (virtual_alias_maps), in its order.
// Words of a list that are no tables are left out: example.org, /a/file,
// 192.0.2.0/24.
func (i *Inventory) Of(ctx context.Context, parameter string) []*Table {
	i.mu.Lock()
	defer i.mu.Unlock()
	if list, ok := i.params[parameter]; ok {
		return list
	}
	var list []*Table
	v := i.Setup.Settings.Value(parameter)
	for _, word := range syntax.Split(v.Text, syntax.Separators) {
		if isTable(word) {
			list = append(list, i.read(ctx, word, table.Use{Parameter: parameter, At: v.At, Fold: true}))
		}
	}
	i.params[parameter] = list
	return list
}

// isTable tells "type:name" from the other words of a list.
func isTable(word string) bool {
	for j := range len(word) {
		switch word[j] {
		case ':':
			return j > 0
		case '/', '[', '!', '@':
			return false
		}
	}
	return false
}

// read reads all rows of a table, once. i.mu is held.
func (i *Inventory) read(ctx context.Context, word string, use table.Use) *Table {
	spec := table.Direct(word)
	if t := i.tables[spec]; t != nil {
		return t
	}
	t := &Table{Spec: spec, At: use.At, keys: map[string][]int{}}
	i.tables[spec] = t
	opened, err := i.Setup.Opener.Open(ctx, word, use)
	if err != nil {
		t.Err = err
		return t
	}
	t.Pattern = opened.Traits().Pattern
	rows, ok := opened.(table.Enumerable)
	if !ok {
		return t
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
	return t
}

func (t *Table) add(e table.Entry) {
	key := address.Fold(e.Key)
	t.keys[key] = append(t.keys[key], len(t.Entries))
	t.Entries = append(t.Entries, e)
}

// Rows are the entries whose key is this one, without regard to case.
func (t *Table) Rows(key string) []table.Entry {
	var rows []table.Entry
	for _, n := range t.keys[address.Fold(key)] {
		rows = append(rows, t.Entries[n])
	}
	return rows
}
