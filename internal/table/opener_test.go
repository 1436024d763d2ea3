package table_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"postern/internal/origin"
	"postern/internal/table"
)

func TestOpen(t *testing.T) {
	w := newWorld(t)
	for _, spec := range []string{"map:a=1", "proxy:map:a=1", "proxy:proxy:map:a=1"} {
		tab := w.open(t, spec, table.Use{})
		if tab.Name() != "map:a=1" {
			t.Errorf("Open(%q).Name() = %q", spec, tab.Name())
		}
		if got, err := tab.Lookup(t.Context(), "a"); err != nil || got.Value != "1" {
			t.Errorf("Open(%q).Lookup(a) = %q, %v", spec, got.Value, err)
		}
	}
	if len(w.opened) != 1 {
		t.Errorf("one table was opened %d times", len(w.opened))
	}
}

// A table that proxymap(8) may not open is told of once, and opened.
func TestUnapproved(t *testing.T) {
	w := newWorld(t)
	w.Approved = func(spec string) bool { return spec == "proxy:map:a=1" }
	use := table.Use{At: origin.At{File: "main.cf", Line: 7}}
	w.open(t, "proxy:map:a=1", use)
	w.open(t, "map:b=1", use)
	paranoid := use
	paranoid.NoRemote = true
	w.open(t, "proxy:map:b=1", paranoid)
	if w.log.text() != "" {
		t.Errorf("log %q, want nothing", w.log.text())
	}
	for range 2 {
		w.open(t, "proxy:map:b=1", use)
	}
	w.open(t, "proxy:map:c=1", table.Use{})
	want := `warning: main.cf:7: request for unapproved table: "map:b=1", which Postfix would refuse; ` +
		"to approve this table for read-only access, list proxy:map:b=1 in main.cf:proxy_read_maps\n" +
		`warning: request for unapproved table: "map:c=1", which Postfix would refuse; ` +
		"to approve this table for read-only access, list proxy:map:c=1 in main.cf:proxy_read_maps"
	if w.log.text() != want {
		t.Errorf("log %q, want %q", w.log.text(), want)
	}
}

func TestOpenErrors(t *testing.T) {
	at := origin.At{File: "main.cf", Line: 7}
	tests := []struct{ spec, want string }{
		{"x", `x is unavailable. open dictionary: expecting "type:name" form instead of "x"`},
		{"map:", `map: is unavailable. open dictionary: expecting "type:name" form instead of "map:"`},
		{"proxy:", ` is unavailable. open dictionary: expecting "type:name" form instead of ""`},
		{"mapp:x", `mapp:x is unavailable. unsupported dictionary type: mapp, did you mean "map"?`},
		{"MAP:x", `MAP:x is unavailable. unsupported dictionary type: MAP, did you mean "map"?`},
		{"Map:x", `Map:x is unavailable. unsupported dictionary type: Map, did you mean "map"?`},
		{"broken:x", `broken:x is unavailable. no luck`},
	}
	for _, tt := range tests {
		w := newWorld(t)
		tab, err := w.Open(t.Context(), tt.spec, table.Use{At: at})
		var e *table.Error
		if !errors.As(err, &e) || err.Error() != tt.want || e.At.Line != 7 || e.Config {
			t.Errorf("Open(%q): %v, want %s", tt.spec, err, tt.want)
		}
		if tab == nil || !tab.Traits().Pattern {
			t.Fatalf("Open(%q) gives no failing pattern table", tt.spec)
		}
		if _, err := tab.Lookup(t.Context(), "key"); err == nil || err.Error() != tt.want {
			t.Errorf("Open(%q).Lookup: %v, want %s", tt.spec, err, tt.want)
		}
		if err := tab.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	var u *table.UnsupportedType
	if _, err := newWorld(t).Open(t.Context(), "mapp:x", table.Use{}); !errors.As(err, &u) || u.Type != "mapp" {
		t.Errorf("the type cannot be had from %v", err)
	}
}

// A table that could not be opened heals when it can.
func TestFailedTableHeals(t *testing.T) {
	w := newWorld(t)
	tab, err := w.Open(t.Context(), "broken:a=1", table.Use{})
	if err == nil {
		t.Fatal("no error")
	}
	w.broken = errors.New("still no luck")
	want := func(text string) {
		t.Helper()
		if _, err := tab.Lookup(t.Context(), "a"); err == nil || !strings.HasSuffix(err.Error(), text) {
			t.Errorf("Lookup: %v, want ...%s", err, text)
		}
	}
	want(". no luck") // not tried again within the second
	w.clock.advance(time.Second)
	want("still no luck")
	w.broken = nil
	want("still no luck")
	w.clock.advance(time.Second)
	if got, err := tab.Lookup(t.Context(), "a"); err != nil || got.Value != "1" {
		t.Errorf("Lookup = %q, %v, want the healed table", got.Value, err)
	}
	if tab.Traits().Pattern {
		t.Error("the healed table is still a pattern table")
	}
	w.Close()
	if _, err := tab.Lookup(t.Context(), "a"); err == nil {
		t.Error("the healed table answers after Close")
	}
}

// A caller that goes away is not the reason why a table is broken.
func TestFailedTableKeepsReason(t *testing.T) {
	w := newWorld(t)
	tab, _ := w.Open(t.Context(), "broken:a=1", table.Use{})
	w.broken = context.Canceled
	w.clock.advance(time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tab.Lookup(ctx, "a"); err == nil || !strings.HasSuffix(err.Error(), "no luck") {
		t.Errorf("Lookup: %v, want the first reason", err)
	}
}

func TestSharing(t *testing.T) {
	w := newWorld(t)
	first := w.open(t, "map:a=1", table.Use{Parameter: "one"})
	if w.open(t, "map:a=1", table.Use{Parameter: "two"}) != first {
		t.Error("a table is opened for each parameter")
	}
	for _, use := range []table.Use{{Fold: true}, {NoSubstitution: true}, {NoRemote: true}, {SingleValue: true}, {AliasSyntax: true}} {
		if w.open(t, "map:a=1", use) == first {
			t.Errorf("a table is shared in spite of %+v", use)
		}
	}
	braced := w.open(t, "map:{a=1}", table.Use{})
	if w.open(t, "map:{a=1}", table.Use{}) == braced {
		t.Error("a table that is written in the parameter is shared")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, f := range w.opened {
		if f.closed != 1 {
			t.Errorf("%s was closed %d times", f.name, f.closed)
		}
	}
	if late := w.open(t, "map:a=1", table.Use{}); late != nil {
		if _, err := late.Lookup(t.Context(), "a"); err == nil {
			t.Error("a table opened after Close answers")
		}
	}
}

func TestOpenConcurrently(t *testing.T) {
	o := &table.Opener{Types: map[string]table.Constructor{
		"map": func(context.Context, *table.Opener, string, table.Use) (table.Table, error) {
			return &fake{name: "map:x", rows: map[string]string{"a": "1"}}, nil
		},
	}}
	var wait sync.WaitGroup
	tables := make([]table.Table, 8)
	for i := range tables {
		wait.Go(func() { tables[i], _ = o.Open(t.Context(), "map:x", table.Use{}) })
	}
	wait.Wait()
	for _, tab := range tables {
		if tab != tables[0] {
			t.Fatal("two tables for one name")
		}
		if _, err := tab.Lookup(t.Context(), "a"); err != nil {
			t.Fatalf("Lookup: %v", err)
		}
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestUTF8(t *testing.T) {
	w := newWorld(t)
	w.UTF8 = true
	tab := w.open(t, "map:a=1;b=\xff", table.Use{})
	if _, err := tab.Lookup(t.Context(), "\xff"); err != table.ErrNotFound {
		t.Errorf("Lookup of a key that is not UTF-8: %v, want ErrNotFound", err)
	}
	if want := `non-UTF-8 key "\xff"`; !strings.Contains(w.log.text(), want) {
		t.Errorf("log %q, want %s", w.log.text(), want)
	}
	_, err := tab.Lookup(t.Context(), "b")
	var e *table.Error
	if !errors.As(err, &e) || !e.Config || !strings.Contains(err.Error(), "non-UTF-8 value") || e.At.Line == 0 {
		t.Errorf("Lookup of a value that is not UTF-8: %v", err)
	}
	if got, err := tab.Lookup(t.Context(), "a"); err != nil || got.Value != "1" {
		t.Errorf("Lookup(a) = %q, %v", got.Value, err)
	}
}

func TestPath(t *testing.T) {
	tests := []struct {
		relative   bool
		name, want string
	}{
		{true, "x.cf", "/etc/mail/x.cf"},
		{true, "/x.cf", "/x.cf"},
		{false, "x.cf", "x.cf"},
	}
	for _, tt := range tests {
		o := &table.Opener{Dir: "/etc/mail", RelativeNames: tt.relative}
		if got := o.Path(tt.name); got != tt.want {
			t.Errorf("RelativeNames %v: Path(%q) = %q, want %q", tt.relative, tt.name, got, tt.want)
		}
	}
}

func TestOpenError(t *testing.T) {
	err := table.OpenError("/etc/x", &fs.PathError{Op: "open", Path: "/etc/x", Err: syscall.ENOENT})
	if want := "open /etc/x: No such file or directory"; err.Error() != want {
		t.Errorf("OpenError = %q, want %q", err, want)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error("the system error is lost")
	}
	if err := table.OpenError("x", errors.New("odd")); err.Error() != "open x: odd" {
		t.Errorf("OpenError = %q", err)
	}
}

func TestErrorText(t *testing.T) {
	e := &table.Error{Table: "hash:x", Key: "k", Err: errors.New("why")}
	if want := `hash:x lookup error for "k": why`; e.Error() != want {
		t.Errorf("Error() = %q, want %q", e, want)
	}
}

func TestDefaults(t *testing.T) {
	o := &table.Opener{}
	o.Warn("nobody listens")
	if n := o.Random(3); n < 0 || n > 2 {
		t.Errorf("Random(3) = %d", n)
	}
	o.Int = func(n int) int { return n - 1 }
	if n := o.Random(3); n != 2 {
		t.Errorf("Random(3) = %d, want what Int says", n)
	}
	if o.Clock().IsZero() {
		t.Error("Clock() is zero")
	}
}
