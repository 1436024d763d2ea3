package index_test

import (
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/table"
	"postern/internal/table/index"
	"postern/internal/table/tabletest"
)

// closedWorld is a world whose files only the helper may see. calls is how often
// it was asked.
type closedWorld struct {
	*world
	as    func(f func())
	calls int
}

func newClosedWorld(t *testing.T, format index.Format) *closedWorld {
	t.Helper()
	dir, helper, as := tabletest.Closed(t)
	w := &closedWorld{world: newWorld(t, format), as: as}
	w.dir, w.path = dir, dir+"/virtual"
	w.opener.Helper = func(name string) (*os.File, error) {
		w.calls++
		return helper(name)
	}
	return w
}

// want opens the table, or asks the one that is open, as the user who may not
// enter the directory.
func (w *closedWorld) want(tab *table.Table, value string, log ...string) {
	w.t.Helper()
	w.now = w.now.Add(1500 * time.Millisecond)
	got := ""
	w.as(func() {
		if *tab == nil {
			*tab = w.open()
		}
		got = w.ask(*tab, "a@x.test")
	})
	if got != value {
		w.t.Errorf("a@x.test = %q, want %q", got, value)
	}
	if diff := cmp.Diff(log, w.take()); diff != "" {
		w.t.Errorf("log (-want +got)\n%s", diff)
	}
}

// TestClosedDirectory: a table whose directory this process may not enter is
// answered as any other, and follows its files.
func TestClosedDirectory(t *testing.T) {
	eachFormat(t, func(t *testing.T, format index.Format) {
		w := newClosedWorld(t, format)
		name, file := format.Type+":virtual", "virtual"+format.Suffix
		w.source("a@x.test one\n", time.Hour)
		w.build(30 * time.Minute)
		var tab table.Table
		w.want(&tab, "one")
		w.source("a@x.test two\n", 0)
		w.want(&tab, "two", "info: "+name+": virtual is newer than "+file+`: the source text answers; run "postmap `+name+`" (table_autocompile)`)
		w.build(-2 * time.Second)
		w.want(&tab, "two", "info: "+name+": "+file+" is up to date and answers again")
		w.source("a@x.test three\n", 0)
		w.build(-4 * time.Second)
		w.want(&tab, "three")
		os.Remove(w.path)
		os.Remove(w.index())
		w.want(&tab, "three", "warning: open database "+file+": No such file or directory; the file opened before stays in use")
		w.source("a@x.test four\n", 0)
		w.want(&tab, "four", "info: "+name+": open database "+file+`: No such file or directory: the source text answers; run "postmap `+name+`" (table_autocompile)`)

		w.build(0)
		calls := w.calls
		w.as(func() {
			for range 100 {
				w.ask(tab, "a@x.test")
			}
		})
		if w.calls != calls {
			t.Errorf("100 look-ups within a second asked the helper %d times", w.calls-calls)
		}
	})
}

// TestClosedDirectoryWithoutHelper: the table that cannot be opened fails; one
// that was open goes on with what it has.
func TestClosedDirectoryWithoutHelper(t *testing.T) {
	eachFormat(t, func(t *testing.T, format index.Format) {
		w := newClosedWorld(t, format)
		w.opener.Helper = nil
		w.source("a@x.test one\n", time.Hour)
		w.build(30 * time.Minute)
		reason := "open database virtual" + format.Suffix + ": Permission denied"
		w.as(func() {
			tab, err := w.opener.Open(t.Context(), format.Type+":"+w.path, table.Use{Fold: true})
			if err == nil {
				t.Error("the table could be opened")
			} else if got := w.ask(tab, "a@x.test"); got != format.Type+":virtual is unavailable. "+reason {
				t.Errorf("a@x.test = %q", got)
			}
		})
		tab := w.open()
		w.want(&tab, "one", "warning: "+reason+"; the file opened before stays in use")
		w.want(&tab, "one")
	})
}
