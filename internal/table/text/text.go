// Package text is the lookup table that is a text file: the source of hash:,
// btree:, lmdb:, cdb: and dbm: tables, and texthash:.
//
// The file has one row a line (postmap(1)):
//
//	# a comment
//	john@example.org    john/
//	"two words"@example.org  two/
//	info@example.org    john@example.org,
//	                    jack@example.org
//
// The key ends at the first white space outside double quotes; a backslash
// protects the next character; quotes and backslashes are part of the key, for
// they are part of an address. The value is the rest, trimmed. A line that
// begins with white space continues the one before it. Empty lines and lines
// whose first non-blank
// character is '#' are left out wherever they stand. Everything
// after a NUL byte of a line is ignored.
//
// Alias files (Use.AliasSyntax, aliases(5)) are written
//
//	postmaster: root
//	"two words": john, "|/usr/bin/program argument"
//
// The name ends at the first ':' outside quotes, and loses its quotes; the value
// is kept as it is written.
//
// Lines that are not in this form are left out with a warning that names file
// and line. Of several rows for one key the first counts, and the others get a
// warning. With Use.Fold keys are folded when the file is read, and when asked.
//
// Package index decides when the source text of a hash: table answers. A changed
// file is noticed within a second (see table.File). A file has at most 4 GiB.
//
// The content is held in memory: the text once, 12 bytes a row, and 16 to 32 bytes
// a row to find it.
//
// It imports address, origin, syntax and table.
package text

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"

	"postern/internal/origin"
	"postern/internal/table"
)

// Table answers from a text file.
type Table struct {
	name   string
	fold   bool
	o      *table.Opener
	file   *table.File[*Content]
	closed atomic.Bool
}

var (
	_ table.Table      = (*Table)(nil)
	_ table.Enumerable = (*Table)(nil)
)

// maxWarnings is how many warnings one reading of a file gives.
const maxWarnings = 50

var errClosed = errors.New("table is closed")

// Indexed is the constructor of a type whose index files are built from a text
// file of the same name: hash, btree, lmdb, cdb, dbm, sdbm.
func Indexed(typ string) table.Constructor {
	return func(_ context.Context, o *table.Opener, name string, use table.Use) (table.Table, error) {
		t, err := Open(o, typ, name, use)
		if err != nil {
			return nil, err
		}
		return t, nil
	}
}

// TextHash is the constructor of texthash:. With Opener.StrictDuplicates a
// duplicate key makes the whole table fail.
func TextHash(_ context.Context, o *table.Opener, name string, use table.Use) (table.Table, error) {
	t, err := open(o, "texthash", name, use, o.StrictDuplicates)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// Open opens the source text of an indexed table.
func Open(o *table.Opener, typ, name string, use table.Use) (*Table, error) {
	return open(o, typ, name, use, false)
}

func open(o *table.Opener, typ, name string, use table.Use, strict bool) (*Table, error) {
	path := o.Path(name)
	options := Options{Alias: use.AliasSyntax, Loose: typ == "texthash", Fold: use.Fold, UTF8: o.UTF8}
	file, err := table.OpenFile(o, path, func(data []byte) (*Content, error) {
		c, err := Parse(path, data, options)
		if err != nil {
			return nil, err
		}
		return c, report(o, c, strict)
	})
	if err != nil {
		return nil, err
	}
	return &Table{name: typ + ":" + name, fold: use.Fold, o: o, file: file}, nil
}

// report logs the problems of a file. With strict, the first duplicate is an
// error.
func report(o *table.Opener, c *Content, strict bool) error {
	for i, p := range c.Problems {
		if strict && p.Kind == Duplicate {
			return &p
		}
		if i < maxWarnings {
			o.Warn("%v", &p)
		}
	}
	if more := len(c.Problems) - maxWarnings; more > 0 {
		o.Warn("%s: %d more warnings", c.path, more)
	}
	return nil
}

// Name is the table as configured.
func (t *Table) Name() string { return t.name }

// Traits are those of a table with fixed keys.
func (t *Table) Traits() table.Traits { return table.Traits{} }

// Problems are what is wrong with lines of the file, in its order.
func (t *Table) Problems() []Problem { return t.file.Content().Problems }

// Lookup returns the value of the first row with that key.
func (t *Table) Lookup(_ context.Context, key string) (table.Result, error) {
	e, err := t.Row(key)
	if err != nil {
		return table.Result{}, err
	}
	return table.Result{Value: e.Value, At: []origin.At{e.At()}}, nil
}

// Row is Lookup without the place, which the entry tells.
func (t *Table) Row(key string) (table.Entry, error) {
	if t.closed.Load() {
		return table.Entry{}, &table.Error{Table: t.name, Key: key, Err: errClosed}
	}
	if t.fold {
		key = t.o.Fold(key)
	}
	return t.file.Content().Row(key)
}

// All yields the rows in the order of the file. Rows with a key that an earlier
// row has are left out: nothing finds them.
func (t *Table) All(context.Context) iter.Seq2[table.Entry, error] {
	return func(yield func(table.Entry, error) bool) {
		if t.closed.Load() {
			yield(table.Entry{}, &table.Error{Table: t.name, Err: errClosed})
			return
		}
		for entry := range t.file.Content().All() {
			if !yield(entry, nil) {
				return
			}
		}
	}
}

// Close ends the table. Lookups after it fail.
func (t *Table) Close() error {
	t.closed.Store(true)
	return nil
}
