package compose

import (
	"fmt"
	"strings"
	"testing"

	"postern/internal/table"
	"postern/internal/table/tabletest"
)

// lines is a Logger that keeps what it is told.
type lines []string

func (l *lines) Infof(format string, args ...any)    { *l = append(*l, fmt.Sprintf(format, args...)) }
func (l *lines) Warningf(format string, args ...any) { l.Infof("warning: "+format, args...) }

func TestDebugConformance(t *testing.T) {
	tabletest.Run(t, func(t *testing.T, use table.Use, rows []tabletest.Row) table.Table {
		return open(t, "debug:inline:"+inlineName(rows), use)
	})
}

// Lookups are told in Postfix's words; what a client sent stays on one line.
func TestDebug(t *testing.T) {
	var log lines
	o := opener()
	o.Log = &log
	defer o.Close()
	tab, err := o.Open(t.Context(), "debug:inline:{{a=b c}}", table.Use{Fold: true})
	if err != nil || tab.Name() != "debug:inline:{{a=b c}}" {
		t.Fatalf("Open: %v, %v", tab.Name(), err)
	}
	if got, err := tab.Lookup(t.Context(), "A"); err != nil || got.Value != "b c" {
		t.Errorf("Lookup = %q, %v", got.Value, err)
	}
	tab.Lookup(t.Context(), "x\ny")
	for range tab.(table.Enumerable).All(t.Context()) {
		continue
	}
	failing, _ := o.Open(t.Context(), "debug:fail:x", table.Use{})
	if _, err := failing.Lookup(t.Context(), "k"); err == nil || !failing.Traits().Pattern {
		t.Errorf("Lookup: %v, traits %+v, want those of the table behind it", err, failing.Traits())
	}
	want := lines{
		`inline:{{a=b c}} lookup: "A" = "b c"`,
		`inline:{{a=b c}} lookup: "x\ny" = "not_found"`,
		`inline:{{a=b c}} sequence: "a" = "b c"`,
		`inline:{{a=b c}} sequence: found EOF`,
		`fail:x lookup: "k" = "error"`,
	}
	if strings.Join(log, "\n") != strings.Join(want, "\n") {
		t.Errorf("log\n%s\nwant\n%s", strings.Join(log, "\n"), strings.Join(want, "\n"))
	}
}

// A table that cannot be opened says so by its own name.
func TestDebugOfNothing(t *testing.T) {
	o := opener()
	defer o.Close()
	tab, err := o.Open(t.Context(), "debug:statc:x", table.Use{})
	const want = `statc:x is unavailable. unsupported dictionary type: statc, did you mean "static"?`
	if err == nil || err.Error() != want {
		t.Errorf("Open: %v, want %s", err, want)
	}
	if _, err := tab.Lookup(t.Context(), "k"); err == nil || err.Error() != want {
		t.Errorf("Lookup: %v, want %s", err, want)
	}
}
