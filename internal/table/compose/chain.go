package compose

import (
	"context"
	"errors"
	"iter"
	"strings"

	"postern/internal/table"
)

// members are the tables that a table is made of. The opener owns them.
type members struct {
	head
	tables []table.Table
}

// Traits are those of the first table.
func (m *members) Traits() table.Traits { return m.tables[0].Traits() }

// openMembers opens the tables of a group. Members that cannot be opened fail
// when they are asked; the error says why. Bad syntax gives no members at all.
func openMembers(ctx context.Context, o *table.Opener, typ, name string, use table.Use) (*members, error) {
	specs, err := group(typ, name, "type:name")
	if err != nil {
		return nil, err
	}
	for _, spec := range specs {
		if !strings.Contains(spec, ":") {
			return nil, badSyntax(typ, name, "type:name")
		}
	}
	m := &members{head: head{name: typ + ":" + name}}
	var errs []error
	for _, spec := range specs {
		t, err := o.Open(ctx, spec, use)
		m.tables = append(m.tables, t)
		errs = append(errs, err)
	}
	return m, errors.Join(errs...)
}

// Union is the constructor of unionmap:.
func Union(ctx context.Context, o *table.Opener, name string, use table.Use) (table.Table, error) {
	m, err := openMembers(ctx, o, "unionmap", name, use)
	if m == nil {
		return nil, err
	}
	return &union{m}, err
}

type union struct{ *members }

var (
	_ table.Table      = (*union)(nil)
	_ table.Enumerable = (*union)(nil)
)

// Lookup joins what the tables say, in their order. All are asked; the first
// failure is the answer. Nothing but empty values is not found, as in Postfix.
func (t *union) Lookup(ctx context.Context, key string) (table.Result, error) {
	if err := t.ready(key); err != nil {
		return table.Result{}, err
	}
	var all table.Result
	for _, member := range t.tables {
		r, err := member.Lookup(ctx, key)
		if errors.Is(err, table.ErrNotFound) {
			continue
		}
		if err != nil {
			return table.Result{}, err // it names the member
		}
		if all.Value != "" {
			all.Value += ","
		}
		all.Value += r.Value
		all.At = append(all.At, r.At...)
	}
	if all.Value == "" {
		return table.Result{}, table.ErrNotFound
	}
	return all, nil
}

// All yields the rows of all tables, in their order. Where a lookup joins what
// several tables say they are entries of their own.
func (t *union) All(ctx context.Context) iter.Seq2[table.Entry, error] {
	return func(yield func(table.Entry, error) bool) {
		for _, member := range t.tables {
			if !t.rows(ctx, member, yield) {
				return
			}
		}
	}
}

// rows yields the rows of a table, and reports whether to go on. A table that has
// none to list, or whose rows were not asked for to their end, ends the sequence.
func (m *members) rows(ctx context.Context, member table.Table, yield func(table.Entry, error) bool) bool {
	if err := m.ready(""); err != nil {
		yield(table.Entry{}, err)
		return false
	}
	rows, ok := table.As[table.Enumerable](member)
	if !ok {
		yield(table.Entry{}, table.ErrNotListed)
		return false
	}
	for entry, err := range rows.All(ctx) {
		if !yield(entry, err) || err != nil {
			return false
		}
	}
	return true
}

// Pipe is the constructor of pipemap:.
func Pipe(ctx context.Context, o *table.Opener, name string, use table.Use) (table.Table, error) {
	m, err := openMembers(ctx, o, "pipemap", name, use)
	if m == nil {
		return nil, err
	}
	return &pipe{m}, err
}

type pipe struct{ *members }

var (
	_ table.Table      = (*pipe)(nil)
	_ table.Enumerable = (*pipe)(nil)
)

// All yields the rows of the first table, each key once, with what the whole makes
// of it; those that it makes nothing of are left out.
func (t *pipe) All(ctx context.Context) iter.Seq2[table.Entry, error] {
	return func(yield func(table.Entry, error) bool) {
		seen := make(map[string]bool)
		t.rows(ctx, t.tables[0], func(entry table.Entry, err error) bool {
			if err != nil {
				return yield(entry, err)
			}
			if seen[entry.Key] {
				return true
			}
			seen[entry.Key] = true
			r, err := t.Lookup(ctx, entry.Key)
			if errors.Is(err, table.ErrNotFound) {
				return true
			}
			entry.Value = r.Value
			return yield(entry, err) && err == nil
		})
	}
}

// Lookup asks each table for what the one before it said. The places are those
// of every row on the way, in order.
func (t *pipe) Lookup(ctx context.Context, key string) (table.Result, error) {
	if err := t.ready(key); err != nil {
		return table.Result{}, err
	}
	last := table.Result{Value: key}
	for _, member := range t.tables {
		r, err := member.Lookup(ctx, last.Value)
		if errors.Is(err, table.ErrNotFound) {
			return table.Result{}, table.ErrNotFound
		}
		if err != nil {
			return table.Result{}, err // it names the member
		}
		r.At = append(last.At[:len(last.At):len(last.At)], r.At...)
		last = r
	}
	return last, nil
}
