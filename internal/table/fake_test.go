package table_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/address"
	"postern/internal/origin"
	"postern/internal/table"
)

// fake is a table in memory.
type fake struct {
	name    string
	use     table.Use
	rows    map[string]string
	pattern bool
	err     error
	closed  int
}

func (f *fake) Name() string         { return f.name }
func (f *fake) Traits() table.Traits { return table.Traits{Pattern: f.pattern} }

func (f *fake) Lookup(_ context.Context, key string) (table.Result, error) {
	if f.closed > 0 {
		return table.Result{}, &table.Error{Table: f.name, Key: key, Err: errors.New("closed")}
	}
	if f.err != nil {
		return table.Result{}, f.err
	}
	if f.use.Fold {
		key = address.Fold(key)
	}
	value, ok := f.rows[key]
	if !ok {
		return table.Result{}, table.ErrNotFound
	}
	return table.Result{Value: value, At: []origin.At{{File: f.name, Line: len(key)}}}, nil
}

func (f *fake) Close() error {
	f.closed++
	return nil
}

// journal is a Logger that keeps what it is told.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) Infof(format string, args ...any) { j.add("info: "+format, args) }

func (j *journal) Warningf(format string, args ...any) { j.add("warning: "+format, args) }

func (j *journal) add(format string, args []any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

func (j *journal) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines, "\n")
}

// clock is a time that stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Unix(1700000000, 0)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// world is an opener with fake types: "map:a=1;b=2" holds those rows, "pat:..."
// the same as a pattern table, "broken:why" cannot be opened while broken says
// so, "fail:x" fails every lookup.
type world struct {
	*table.Opener
	log    *journal
	clock  *clock
	broken error
	opened []*fake
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{log: &journal{}, clock: newClock(), broken: errors.New("no luck")}
	rows := func(pattern bool, typ string) table.Constructor {
		return func(_ context.Context, _ *table.Opener, name string, use table.Use) (table.Table, error) {
			f := &fake{name: typ + ":" + name, use: use, rows: map[string]string{}, pattern: pattern}
			for row := range strings.SplitSeq(strings.Trim(name, "{}"), ";") {
				key, value, _ := strings.Cut(row, "=")
				f.rows[key] = value
			}
			w.opened = append(w.opened, f)
			return f, nil
		}
	}
	w.Opener = &table.Opener{
		Types: map[string]table.Constructor{
			"map": rows(false, "map"),
			"pat": rows(true, "pat"),
			"broken": func(ctx context.Context, o *table.Opener, name string, use table.Use) (table.Table, error) {
				if w.broken != nil {
					return nil, w.broken
				}
				return rows(false, "broken")(ctx, o, name, use)
			},
			"fail": func(_ context.Context, _ *table.Opener, name string, _ table.Use) (table.Table, error) {
				return &fake{name: "fail:" + name, err: &table.Error{Table: "fail:" + name, Err: errors.New("down")}}, nil
			},
			"rude": func(_ context.Context, _ *table.Opener, name string, _ table.Use) (table.Table, error) {
				return &fake{name: "rude:" + name, err: errors.New("plain")}, nil
			},
		},
		Log: w.log,
		Now: w.clock.Now,
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func (w *world) open(t *testing.T, spec string, use table.Use) table.Table {
	t.Helper()
	tab, err := w.Open(t.Context(), spec, use)
	if err != nil {
		t.Fatalf("Open(%q): %v", spec, err)
	}
	return tab
}
