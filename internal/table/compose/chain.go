package compose

import (
	"context"
	"errors"
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

var _ table.Table = (*union)(nil)

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

// Pipe is the constructor of pipemap:.
func Pipe(ctx context.Context, o *table.Opener, name string, use table.Use) (table.Table, error) {
	m, err := openMembers(ctx, o, "pipemap", name, use)
	if m == nil {
		return nil, err
	}
	return &pipe{m}, err
}

type pipe struct{ *members }

var _ table.Table = (*pipe)(nil)

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
