package cache_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/origin"
	"postern/internal/table"
	"postern/internal/table/cache"
	"postern/internal/table/tabletest"
)

// rows is a table in memory that counts its lookups.
type rows struct {
	fold    bool
	mu      sync.Mutex
	values  map[string]string
	fail    bool
	wait    chan struct{} // nil: lookups do not wait
	lookups atomic.Int64
	closed  atomic.Bool
}

func (r *rows) Name() string         { return "rows:x" }
func (r *rows) Traits() table.Traits { return table.Traits{Pattern: true} }
func (r *rows) Close() error         { r.closed.Store(true); return nil }

func (r *rows) Lookup(ctx context.Context, key string) (table.Result, error) {
	r.lookups.Add(1)
	if r.wait != nil {
		<-r.wait
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail || r.closed.Load() || ctx.Err() != nil {
		return table.Result{}, &table.Error{Table: r.Name(), Key: key, Err: cmp.Or(ctx.Err(), errDown)}
	}
	if r.fold {
		key = strings.ToLower(key)
	}
	value, ok := r.values[key]
	if !ok {
		return table.Result{}, table.ErrNotFound
	}
	return table.Result{Value: value, At: []origin.At{{Table: r.Name(), Key: key}}}, nil
}

var errDown = errors.New("down")

// set changes what the table says.
func (r *rows) set(key, value string, fail bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.values[key], r.fail = value, fail
}

// listed is a table that can list its rows.
type listed struct{ *rows }

func (l listed) All(context.Context) iter.Seq2[table.Entry, error] {
	return func(yield func(table.Entry, error) bool) {
		for k, v := range l.values {
			if !yield(table.Entry{Key: k, Value: v, Places: table.Place{Table: l.Name()}}, nil) {
				return
			}
		}
	}
}

func TestConformance(t *testing.T) {
	tabletest.Run(t, func(t *testing.T, use table.Use, stored []tabletest.Row) table.Table {
		r := &rows{fold: use.Fold, values: make(map[string]string)}
		for _, row := range stored {
			r.values[row.Key] = row.Value
		}
		return cache.New(listed{r}, time.Hour, 1000)
	})
}

func TestOff(t *testing.T) {
	r := &rows{}
	for _, tab := range []table.Table{cache.New(r, 0, 10), cache.New(r, time.Second, 0)} {
		if tab != table.Table(r) {
			t.Errorf("New without a time or a size is %T, want the table itself", tab)
		}
	}
	tab := cache.New(r, time.Second, 1)
	defer tab.Close()
	if _, ok := tab.(table.Enumerable); ok || !tab.Traits().Pattern || tab.Name() != "rows:x" {
		t.Errorf("%T can list rows, or has other traits than the table behind it", tab)
	}
}

// say looks a key up: its value, "-" or "error".
func say(t *testing.T, tab table.Table, key string) string {
	t.Helper()
	got, err := tab.Lookup(t.Context(), key)
	var failed *table.Error
	switch {
	case err == nil:
		return got.Value
	case err == table.ErrNotFound:
		return "-"
	case errors.As(err, &failed):
		return "error"
	}
	t.Fatalf("Lookup(%q): %v", key, err)
	return ""
}

// TestKeeps follows answers until they run out.
func TestKeeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rows{values: map[string]string{"a": "1"}}
		tab := cache.New(r, time.Minute, 100)
		defer tab.Close()
		steps := []struct {
			name    string
			do      func()
			a, b    string
			lookups int64
		}{
			{"first", func() {}, "1", "-", 2},
			{"kept, not found too", func() { r.set("a", "2", false); r.set("b", "3", false) }, "1", "-", 2},
			{"kept while the table fails", func() { r.set("a", "2", true); time.Sleep(30 * time.Second) }, "1", "-", 2},
			{"run out", func() { time.Sleep(31 * time.Second) }, "error", "error", 4},
			{"failures are not kept", func() { r.set("a", "2", false) }, "2", "3", 6},
			{"kept again", func() { r.set("a", "4", true) }, "2", "3", 6},
			{"closed", func() { tab.Close() }, "error", "error", 6},
		}
		for _, s := range steps {
			s.do()
			if a, b := say(t, tab, "a"), say(t, tab, "b"); a != s.a || b != s.b || r.lookups.Load() != s.lookups {
				t.Errorf("%s: %q, %q after %d lookups, want %q, %q after %d", s.name, a, b, r.lookups.Load(), s.a, s.b, s.lookups)
			}
		}
		if !r.closed.Load() {
			t.Error("Close did not close the table")
		}
	})
}

// TestTogether has many ask for one key, some of whom give up.
func TestTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rows{values: map[string]string{"a": "1"}, wait: make(chan struct{})}
		tab := cache.New(r, time.Minute, 100)
		defer tab.Close()
		ctx, cancel := context.WithCancel(t.Context())
		var wait sync.WaitGroup
		wait.Go(func() { // the first, who asks for all, gives up
			var failed *table.Error
			if _, err := tab.Lookup(ctx, "a"); !errors.As(err, &failed) || !errors.Is(err, context.Canceled) {
				t.Errorf("given up: %v, want context.Canceled", err)
			}
		})
		synctest.Wait()
		for range 10 {
			wait.Go(func() {
				if got := say(t, tab, "a"); got != "1" {
					t.Errorf("%q, want 1", got)
				}
			})
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(r.wait)
		wait.Wait()
		if n := r.lookups.Load(); n != 1 {
			t.Errorf("%d lookups, want 1", n)
		}
	})
}

// TestBounded holds that neither many nor long answers fill the memory.
func TestBounded(t *testing.T) {
	long := strings.Repeat("x", 100<<10)
	r := &rows{values: map[string]string{"long": long, long: "short"}}
	tab := cache.New(r, time.Hour, 10)
	defer tab.Close()
	for range 2 {
		say(t, tab, "long")
		say(t, tab, long)
	}
	if n := r.lookups.Load(); n != 4 {
		t.Errorf("%d lookups, want 4: long keys and values are not kept", n)
	}
	for i := range 1000 {
		say(t, tab, fmt.Sprint(i))
	}
	before := r.lookups.Load()
	for i := range 1000 {
		say(t, tab, fmt.Sprint(i))
	}
	if again := r.lookups.Load() - before; again < 900 {
		t.Errorf("%d of 1000 keys were asked for again, want most: 10 are kept", again)
	}
}

// TestAppend holds that what one caller does to its result no other one sees.
func TestAppend(t *testing.T) {
	tab := cache.New(&rows{values: map[string]string{"a": "1"}}, time.Hour, 10)
	defer tab.Close()
	for range 2 {
		got, err := tab.Lookup(t.Context(), "a")
		if err != nil || len(got.At) != 1 || cap(got.At) != 1 {
			t.Fatalf("%+v, %v", got, err)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	tab := cache.New(&rows{values: map[string]string{"john@example.test": "1"}}, time.Hour, 1000)
	defer tab.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tab.Lookup(b.Context(), "john@example.test"); err != nil {
			b.Fatal(err)
		}
	}
}
