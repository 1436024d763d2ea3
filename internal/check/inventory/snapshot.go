package inventory

import (
	"context"
	"errors"
	"maps"

	"postern/internal/setup"
	"postern/internal/table"
)

// Snapshot is the same configuration with tables that answer from the rows that
// were read, where that is exact; the others are asked. A table that has failed
// fails at once. It is for those who put many questions. Its tables belong to
// Setup: Close closes nothing.
func (i *Inventory) Snapshot(ctx context.Context) (*setup.Setup, error) {
	return i.snapshot(ctx, true)
}

// Verdicts is Snapshot for those who only want to know where mail ends: answers from
// memory do not say where they are written, which takes most of the time.
func (i *Inventory) Verdicts(ctx context.Context) (*setup.Setup, error) {
	return i.snapshot(ctx, false)
}

func (i *Inventory) snapshot(ctx context.Context, places bool) (*setup.Setup, error) {
	i.Tables(ctx)
	return i.Setup.WithTypes(ctx, func(types map[string]table.Constructor) {
		for typ := range maps.Keys(types) {
			types[typ] = i.borrow(typ, places)
		}
	})
}

// borrow is the constructor of tables that belong to Setup.
func (i *Inventory) borrow(typ string, places bool) table.Constructor {
	return func(ctx context.Context, _ *table.Opener, name string, use table.Use) (table.Table, error) {
		t, err := i.Setup.Opener.Open(ctx, typ+":"+name, use)
		known := i.known(ctx, typ+":"+name)
		switch {
		case known == nil:
		case known.Err != nil:
			return broken{t, known.Err}, err
		case known.Complete && use.Fold:
			if remembering, ok := table.As[table.Memorable](known.Opened); ok {
				if m, ok := remembering.Remember(known.Entries, known.find, t); ok {
					if !places {
						m = m.Brief()
					}
					return m, err
				}
			}
		}
		return borrowed{t}, err
	}
}

// known is what was read of a table, or nil.
func (i *Inventory) known(ctx context.Context, spec string) *Table {
	if inPlace(spec) {
		return nil
	}
	i.mu.Lock()
	t := i.tables[spec]
	i.mu.Unlock()
	if t != nil {
		i.read(ctx, []*Table{t})
	}
	return t
}

// borrowed is a table that somebody else closes.
type borrowed struct{ table.Table }

func (borrowed) Close() error { return nil }

// Unwrap is the table itself.
func (b borrowed) Unwrap() table.Table { return b.Table }

// broken is a table that has failed.
type broken struct {
	table.Table
	err error
}

func (broken) Close() error { return nil }

// Lookup fails as it did before.
func (b broken) Lookup(_ context.Context, key string) (table.Result, error) {
	var e *table.Error
	if errors.As(b.err, &e) {
		failed := *e
		if failed.Key != "" {
			failed.Key = key
		}
		return table.Result{}, &failed
	}
	return table.Result{}, &table.Error{Table: b.Name(), Key: key, Err: b.err}
}
