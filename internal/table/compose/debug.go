package compose

import (
	"context"
	"iter"

	"postern/internal/table"
)

// Debug is the constructor of debug:, which is another table that tells the log
// of each lookup. What follows the colon is that table's type:name.
func Debug(ctx context.Context, o *table.Opener, name string, use table.Use) (table.Table, error) {
	inner, err := o.Open(ctx, name, use)
	t := &debug{head: head{name: "debug:" + name}, inner: inner, log: o.Log}
	if rows, ok := inner.(table.Enumerable); ok {
		return &debugRows{t, rows}, err
	}
	return t, err
}

// debug is a table that another one answers for; the opener owns that one.
type debug struct {
	head
	inner table.Table
	log   table.Logger
}

// debugRows is a debug table that can list its rows.
type debugRows struct {
	*debug
	rows table.Enumerable
}

var (
	_ table.Table      = (*debug)(nil)
	_ table.Enumerable = (*debugRows)(nil)
)

// Traits are those of the table behind it.
func (t *debug) Traits() table.Traits { return t.inner.Traits() }

// Unwrap is the table behind it.
func (t *debug) Unwrap() table.Table { return t.inner }

// Lookup asks the table and tells what it said.
func (t *debug) Lookup(ctx context.Context, key string) (table.Result, error) {
	if err := t.ready(key); err != nil {
		return table.Result{}, err
	}
	r, err := t.inner.Lookup(ctx, key)
	value := r.Value
	switch {
	case err == table.ErrNotFound:
		value = "not_found"
	case err != nil:
		value = "error"
	}
	t.infof("%s lookup: %q = %q", t.inner.Name(), key, value)
	return r, err
}

// All yields the rows of the table and tells of each.
func (t *debugRows) All(ctx context.Context) iter.Seq2[table.Entry, error] {
	return func(yield func(table.Entry, error) bool) {
		if err := t.ready(""); err != nil {
			yield(table.Entry{}, err)
			return
		}
		for entry, err := range t.rows.All(ctx) {
			if err == nil {
				t.infof("%s sequence: %q = %q", t.inner.Name(), entry.Key, entry.Value)
			}
			if !yield(entry, err) {
				return
			}
		}
		t.infof("%s sequence: found EOF", t.inner.Name())
	}
}

func (t *debug) infof(format string, args ...any) {
	if t.log != nil {
		t.log.Infof(format, args...)
	}
}
