// Package tabletest is the one suite that every table type must pass.
//
// A type runs it from its own tests:
//
//	func TestConformance(t *testing.T) {
//		tabletest.Run(t, func(t *testing.T, use table.Use, rows []tabletest.Row) table.Table {
//			... write the rows where the type keeps them, and open it ...
//		})
//	}
//
// The suite asks for what is stored and what is not, with keys as they come
// from the network, from many goroutines, with a context that has ended, and
// after Close. It holds that "not found" is ErrNotFound itself, that every
// other failure is an *Error, that folding follows Use.Fold, and that each
// result says where it was written.
//
// Closed is a directory that its user may not enter, for types that have files.
//
// It imports origin, privsep and table.
package tabletest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"postern/internal/origin"
	"postern/internal/table"
)

// Row is one entry to store.
type Row struct {
	Key, Value string
}

// Open returns a new table that holds exactly these rows. The suite closes it.
// Pattern tables store a pattern that matches the whole key, without regard to
// case.
type Open func(t *testing.T, use table.Use, rows []Row) table.Table

// Suite is the suite for a type that is not like most.
type Suite struct {
	Open Open
	// Stored and Absent are keys of the kind the type can hold (networks for
	// cidr). Empty: mail addresses.
	Stored, Absent []string
	// Caseless keys are found in any case, even without Use.Fold.
	Caseless bool
	// Any says that every key is found, with the value of the first row
	// (static).
	Any bool
}

// Run runs the suite for a type that holds mail addresses.
func Run(t *testing.T, open Open) {
	t.Helper()
	Suite{Open: open}.Run(t)
}

// Run runs the suite.
func (s Suite) Run(t *testing.T) {
	t.Helper()
	if len(s.Stored) == 0 {
		s.Stored = []string{"john@example.test", "@example.test", `"two words"@example.test`, "o'neil@example.test", "example.test"}
	}
	if len(s.Absent) == 0 {
		s.Absent = []string{"jill@example.test", "john", "john@", "example", "xjohn@example.test", "john@example.testx"}
	}
	t.Run("found", s.found)
	if !s.Any {
		t.Run("not found", s.notFound)
	}
	t.Run("fold", s.fold)
	t.Run("odd keys", s.oddKeys)
	t.Run("long value", s.longValue)
	t.Run("cancelled", s.cancelled)
	t.Run("concurrent", s.concurrent)
	t.Run("closed", s.closed)
	t.Run("rows", s.rows)
}

// stored are the rows that most tests store.
func (s Suite) stored() []Row {
	var rows []Row
	for i, key := range s.Stored {
		value := "value " + strings.Repeat("i", i+1)
		if s.Any {
			value = "value"
		}
		rows = append(rows, Row{key, value})
	}
	return rows
}

// open opens a table with the stored rows and sees to its end.
func (s Suite) open(t *testing.T, use table.Use) table.Table {
	t.Helper()
	return s.openRows(t, use, s.stored())
}

func (s Suite) openRows(t *testing.T, use table.Use, rows []Row) table.Table {
	t.Helper()
	use.Parameter, use.At = "test_maps", origin.At{File: "main.cf", Line: 1, Text: "test_maps = ..."}
	tab := s.Open(t, use, rows)
	if tab == nil {
		t.Fatal("Open returned no table")
	}
	t.Cleanup(func() { tab.Close() })
	return tab
}

func (s Suite) found(t *testing.T) {
	tab := s.open(t, table.Use{Fold: true})
	if typ, name, ok := strings.Cut(tab.Name(), ":"); !ok || typ == "" || name == "" {
		t.Errorf("Name() = %q, want type:name", tab.Name())
	}
	for _, row := range s.stored() {
		got, err := tab.Lookup(t.Context(), row.Key)
		if err != nil || got.Value != row.Value {
			t.Errorf("Lookup(%q) = %q, %v; want %q", row.Key, got.Value, err, row.Value)
		}
		if len(got.At) == 0 {
			t.Errorf("Lookup(%q) does not say where the value is written", row.Key)
		}
		for _, at := range got.At {
			if at.IsZero() {
				t.Errorf("Lookup(%q) has a zero place in %v", row.Key, got.At)
			}
		}
	}
}

func (s Suite) notFound(t *testing.T) {
	tab := s.open(t, table.Use{Fold: true})
	for _, key := range append([]string{""}, s.Absent...) {
		got, err := tab.Lookup(t.Context(), key)
		if err != table.ErrNotFound {
			t.Errorf("Lookup(%q) = %q, %v; want ErrNotFound itself", key, got.Value, err)
		}
		if got.Value != "" || len(got.At) != 0 {
			t.Errorf("Lookup(%q) = %+v with ErrNotFound, want a zero Result", key, got)
		}
	}
	empty := s.openRows(t, table.Use{Fold: true}, nil)
	if got, err := empty.Lookup(t.Context(), s.Stored[0]); err != table.ErrNotFound {
		t.Errorf("Lookup(%q) in an empty table = %q, %v; want ErrNotFound", s.Stored[0], got.Value, err)
	}
}

func (s Suite) fold(t *testing.T) {
	rows := s.stored()
	for _, fold := range []bool{true, false} {
		tab := s.openRows(t, table.Use{Fold: fold}, rows)
		for _, row := range rows {
			upper := strings.ToUpper(row.Key)
			if upper == row.Key {
				continue
			}
			want := s.Any || s.Caseless || fold
			got, err := tab.Lookup(t.Context(), upper)
			if want && (err != nil || got.Value != row.Value) {
				t.Errorf("Fold %v: Lookup(%q) = %q, %v; want %q", fold, upper, got.Value, err, row.Value)
			}
			if !want && err != table.ErrNotFound {
				t.Errorf("Fold %v: Lookup(%q) = %q, %v; want ErrNotFound", fold, upper, got.Value, err)
			}
		}
	}
}

// oddKeys asks for what a hostile client may send.
func (s Suite) oddKeys(t *testing.T) {
	tab := s.open(t, table.Use{Fold: true})
	for _, key := range []string{
		strings.Repeat("x", 20<<10), strings.Repeat("a.", 10<<10), strings.Repeat("@", 300),
		"nul\x00@example.test", "john@example.test\x00", "\xff\xfe@example.test", "j\u00f6hn@ex\u00e4mple.test",
		" ", "\t", " john@example.test", "john@example.test ", "a b", "line\nbreak", "cr\r\n",
		"%", "%s", "%u@%d", "%%", "100%", "'", "''", "' OR '1'='1", `"`, `""`, `\`, `\'`, `a\`, "`", ";", "--", "/*",
		"*", "?", "[", "]", "(", ")", "{", "}", "$1", "${1}", ".", "..", "/", "../../etc/passwd", "#", "!",
	} {
		got, err := tab.Lookup(t.Context(), key)
		if s.Any && (err != nil || got.Value != "value") {
			t.Errorf("Lookup(%.40q) = %q, %v; want %q", key, got.Value, err, "value")
		}
		if !s.Any && err != table.ErrNotFound {
			t.Errorf("Lookup(%.40q) = %q, %v; want ErrNotFound", key, got.Value, err)
		}
	}
}

func (s Suite) longValue(t *testing.T) {
	row := Row{s.Stored[0], strings.Repeat("user@example.test, ", 2000) + "end@example.test"}
	tab := s.openRows(t, table.Use{Fold: true}, []Row{row})
	if got, err := tab.Lookup(t.Context(), row.Key); err != nil || got.Value != row.Value {
		t.Errorf("Lookup(%q) gives %d bytes, %v; want %d", row.Key, len(got.Value), err, len(row.Value))
	}
}

// cancelled holds that a lookup that was given up is an answer or a failure,
// but never "not found" for a key that exists.
func (s Suite) cancelled(t *testing.T) {
	tab := s.open(t, table.Use{Fold: true})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	row := s.stored()[0]
	got, err := tab.Lookup(ctx, row.Key)
	if err == nil && got.Value != row.Value {
		t.Errorf("Lookup(%q) with an ended context = %q, want %q or an error", row.Key, got.Value, row.Value)
	}
	if err != nil {
		wantError(t, "with an ended context", err)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Lookup(%q) with an ended context: %v, want context.Canceled in it", row.Key, err)
		}
	}
	if got, err := tab.Lookup(t.Context(), row.Key); err != nil || got.Value != row.Value {
		t.Errorf("Lookup(%q) after one that was given up = %q, %v; want %q", row.Key, got.Value, err, row.Value)
	}
}

func (s Suite) concurrent(t *testing.T) {
	tab := s.open(t, table.Use{Fold: true})
	rows := s.stored()
	var wait sync.WaitGroup
	for worker := range 8 {
		wait.Go(func() {
			for i := range 50 {
				row := rows[(worker+i)%len(rows)]
				if got, err := tab.Lookup(t.Context(), row.Key); err != nil || got.Value != row.Value {
					t.Errorf("Lookup(%q) = %q, %v; want %q", row.Key, got.Value, err, row.Value)
					return
				}
				if _, err := tab.Lookup(t.Context(), s.Absent[i%len(s.Absent)]); !s.Any && err != table.ErrNotFound {
					t.Errorf("Lookup(%q): %v, want ErrNotFound", s.Absent[i%len(s.Absent)], err)
					return
				}
			}
		})
	}
	wait.Wait()
}

func (s Suite) closed(t *testing.T) {
	tab := s.open(t, table.Use{Fold: true})
	for range 2 {
		if err := tab.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	_, err := tab.Lookup(t.Context(), s.Stored[0])
	if err == nil {
		t.Fatal("Lookup after Close answers")
	}
	wantError(t, "after Close", err)
}

// rows holds that a table that can list its rows lists those it finds.
func (s Suite) rows(t *testing.T) {
	tab := s.open(t, table.Use{Fold: true})
	rows, ok := tab.(table.Enumerable)
	if !ok {
		return // an optional power
	}
	n := 0
	for entry, err := range rows.All(t.Context()) {
		if err != nil {
			t.Fatalf("All: %v", err)
		}
		n++
		if got, err := tab.Lookup(t.Context(), entry.Key); err != nil || got.Value != entry.Value {
			t.Errorf("All lists %q = %q, Lookup says %q, %v", entry.Key, entry.Value, got.Value, err)
		}
		if entry.At().IsZero() {
			t.Errorf("All does not say where %q is written", entry.Key)
		}
	}
	if want := len(s.stored()); n != want {
		t.Errorf("All lists %d rows, want %d", n, want)
	}
	for range rows.All(t.Context()) {
		break // an early end must be borne
	}
}

// wantError holds that a failure has its class.
func wantError(t *testing.T, when string, err error) {
	t.Helper()
	var e *table.Error
	if errors.Is(err, table.ErrNotFound) || !errors.As(err, &e) {
		t.Errorf("Lookup %s: %v, want an *Error", when, err)
	} else if e.Table == "" {
		t.Errorf("Lookup %s: %#v names no table", when, e)
	}
}
