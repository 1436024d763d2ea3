package setup

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"postern/internal/table"
)

// serverTypes are the types whose tables wait for somebody else.
var serverTypes = [...]string{"ldap", "memcache", "mysql", "pgsql", "socketmap", "tcp"}

// hurry gives the tables of servers so much time for an answer.
func hurry(types map[string]table.Constructor, limit time.Duration) {
	for _, typ := range serverTypes {
		construct := types[typ]
		if construct == nil {
			continue
		}
		types[typ] = func(ctx context.Context, o *table.Opener, name string, use table.Use) (table.Table, error) {
			t, err := construct(ctx, o, name, use)
			if t == nil {
				return nil, err
			}
			h := &hurried{Table: t, limit: limit}
			if rows, ok := table.As[table.Enumerable](t); ok {
				return &hurriedRows{h, rows}, err
			}
			return h, err
		}
	}
}

// hurried is a table that fails when it takes longer than limit for an answer, and at
// once from then on.
type hurried struct {
	table.Table
	limit time.Duration

	mu   sync.Mutex // held while the table is asked: who else wants to know learns of the failure
	late error
}

// Unwrap is the table itself.
func (h *hurried) Unwrap() table.Table { return h.Table }

// Lookup asks the table.
func (h *hurried) Lookup(ctx context.Context, key string) (r table.Result, err error) {
	h.ask(ctx, func(ctx context.Context) error {
		r, err = h.Table.Lookup(ctx, key)
		return err
	}, func(late error) { err = h.again(key, late) })
	return r, err
}

// ask asks the table, or tells that it was too late before.
func (h *hurried) ask(ctx context.Context, ask func(context.Context) error, tell func(late error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.late != nil {
		tell(h.late)
		return
	}
	limited, cancel := context.WithTimeout(ctx, h.limit)
	defer cancel()
	err := ask(limited)
	if err != nil && !errors.Is(err, table.ErrNotFound) && limited.Err() != nil && ctx.Err() == nil {
		h.late = err
	}
}

// again is the failure of an earlier question for this one.
func (h *hurried) again(key string, late error) error {
	var e *table.Error
	if !errors.As(late, &e) {
		return &table.Error{Table: h.Name(), Key: key, Err: late}
	}
	failed := *e
	failed.Key = key
	return &failed
}

// hurriedRows is one that can be listed.
type hurriedRows struct {
	*hurried
	rows table.Enumerable
}

// All lists the rows, unless the table was too late before.
func (h *hurriedRows) All(ctx context.Context) iter.Seq2[table.Entry, error] {
	h.mu.Lock()
	defer h.mu.Unlock()
	if late := h.late; late != nil {
		return func(yield func(table.Entry, error) bool) { yield(table.Entry{}, late) }
	}
	return h.rows.All(ctx)
}
