package sql_test

import (
	stdsql "database/sql"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/table"
	"postern/internal/table/sql"
)

// TestReplaced moves another database to dbpath.
func TestReplaced(t *testing.T) {
	dir, log := write(t, byAlias), new(recorder)
	now := time.Now()
	tab, err := sql.SQLite(t.Context(), &table.Opener{Log: log, Now: func() time.Time { return now }}, dir+"/t.cf", table.Use{})
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Close()
	steps := []struct {
		name     string
		prepare  func()
		want     string
		warnings []string
	}{
		{"the first file", func() {}, "five", nil},
		{"a file without the table", func() {
			database(t, dir+"/bad.db", "CREATE TABLE other (x)")
			os.Rename(dir+"/bad.db", dir+"/mail.db")
		}, "five", []string{"sqlite:t.cf: t.cf, line 2: query failed on mail.db: SQL logic error: no such table: aliases (1); the file opened before stays in use"}},
		{"the same again", func() {}, "five", nil},
		{"a good file", func() {
			database(t, dir+"/new.db", sample[0], "INSERT INTO aliases VALUES ('5', 'new', '')")
			os.Rename(dir+"/new.db", dir+"/mail.db")
		}, "new", nil},
		{"no file", func() { os.Remove(dir + "/mail.db") }, "new",
			[]string{"sqlite:t.cf: t.cf, line 1: dbpath: open mail.db: No such file or directory: the database must exist and be readable, it is never created; the file opened before stays in use"}},
	}
	for _, s := range steps {
		s.prepare()
		now = now.Add(time.Second)
		if got := ask(t, tab, "5"); got != s.want {
			t.Errorf("%s: %q, want %q", s.name, got, s.want)
		}
		if diff := cmp.Diff(s.warnings, log.take(dir)); diff != "" {
			t.Errorf("%s: warnings (-want +got)\n%s", s.name, diff)
		}
	}
}

// TestWriter holds that lookups go on beside a writer, and see what it commits.
func TestWriter(t *testing.T) {
	tab, _, dir := open(t, byAlias, table.Use{})
	db, err := stdsql.Open("sqlite", dir+"/mail.db")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec("INSERT INTO aliases VALUES ('6', 'six', '')"); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, tab, "6"); got != "-" {
		t.Errorf("before the commit: %q, want not found", got)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, tab, "6"); got != "six" {
		t.Errorf("after the commit: %q, want six", got)
	}
}

// TestReadOnly holds that a query cannot change the database.
func TestReadOnly(t *testing.T) {
	tab, _, _ := open(t, "dbpath = {dir}/mail.db\nquery = DELETE FROM aliases WHERE source='%s' RETURNING destination\n", table.Use{})
	if got := ask(t, tab, "5"); got != "error" {
		t.Errorf("a query that writes: %q, want an error", got)
	}
}

// TestOddPath opens a database whose path looks like parts of a URI.
func TestOddPath(t *testing.T) {
	dir := write(t, "dbpath = {dir}/a b%41?mode=rwc#x.db\nquery = SELECT destination FROM aliases WHERE source='%s'\n")
	if err := os.Rename(dir+"/mail.db", dir+"/a b%41?mode=rwc#x.db"); err != nil {
		t.Fatal(err)
	}
	tab, err := sql.SQLite(t.Context(), &table.Opener{}, dir+"/t.cf", table.Use{})
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Close()
	if got := ask(t, tab, "5"); got != "five" {
		t.Errorf("Lookup = %q, want five", got)
	}
}

// TestRemoved has many ask at once when the file is gone: the connections that
// are open go on.
func TestRemoved(t *testing.T) {
	tab, _, dir := open(t, byAlias, table.Use{})
	if err := os.Remove(dir + "/mail.db"); err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for range 16 {
		wait.Go(func() {
			if got := ask(t, tab, "5"); got != "five" {
				t.Errorf("Lookup = %q, want five", got)
			}
		})
	}
	wait.Wait()
}
