package setup

import (
	"context"
	"errors"
	"testing"
	"time"

	"postern/internal/table"
)

// server is a table that answers "quick", and for other keys waits for the end.
type server struct{ asked *int }

func (server) Name() string         { return "tcp:x" }
func (server) Traits() table.Traits { return table.Traits{} }
func (server) Close() error         { return nil }

func (s server) Lookup(ctx context.Context, key string) (table.Result, error) {
	*s.asked++
	if key == "quick" {
		return table.Result{}, table.ErrNotFound
	}
	<-ctx.Done()
	return table.Result{}, &table.Error{Table: "tcp:x", Key: key, Err: ctx.Err()}
}

// TestHurry: a server that is too late is not asked again, one that does not know is.
func TestHurry(t *testing.T) {
	asked := 0
	types := map[string]table.Constructor{"tcp": func(context.Context, *table.Opener, string, table.Use) (table.Table, error) {
		return server{&asked}, nil
	}}
	hurry(types, time.Millisecond)
	o := &table.Opener{Types: types}
	tab, err := o.Open(context.Background(), "tcp:x", table.Use{})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(ctx context.Context, key string) error {
		_, err := tab.Lookup(ctx, key)
		return err
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := ask(ended, "who"); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	for range 2 {
		if err := ask(context.Background(), "quick"); err != table.ErrNotFound {
			t.Errorf("quick: %v", err)
		}
	}
	for _, key := range []string{"slow", "quick", "other"} {
		err := ask(context.Background(), key)
		var e *table.Error
		if !errors.As(err, &e) || e.Key != key || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", key, err)
		}
	}
	if asked != 4 {
		t.Errorf("asked %d times, want 4", asked)
	}
}
