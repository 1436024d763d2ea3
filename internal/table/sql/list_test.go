package sql_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"postern/internal/address"
	"postern/internal/table"
	"postern/internal/table/sql"
)

// listed are the tables of the tests about listing, in any of the databases.
func listed(text string) []string {
	return []string{
		"CREATE TABLE l_alias (id INTEGER, address " + text + ", goto_ " + text + ", active INTEGER)",
		`INSERT INTO l_alias VALUES (1, 'john@example.org', 'jeff@example.test', 1), (2, 'team@example.org', 'a@example.org', 1), (3, 'team@example.org', 'b@example.org', 1),
			(4, '@example.org', 'all@example.org', 1), (5, 'old@example.org', 'x@example.org', 0), (6, 'Big@Example.org', 'big@example.org', 1),
			(7, 'blank@example.org ', 'blank@example.org', 1), (8, 'empty@example.org', '', 1), (9, NULL, 'nobody@example.org', 1), (10, 'null@example.org', 'x@example.org', NULL)`,
		"CREATE TABLE l_domain (name " + text + ", target " + text + ")",
		"INSERT INTO l_domain VALUES ('short.example', 'example.org'), ('other.example', 'nowhere.example')",
		"CREATE TABLE l_user (local_part " + text + ", domain " + text + ", home " + text + ")",
		"INSERT INTO l_user VALUES ('ann', 'example.org', 'ann/'), ('bob', 'example.test', 'bob/')",
	}
}

// listing is what a query lists.
type listing struct{ Rows, Hidden []string }

// list lists a table, in the order of the text.
func list(t testing.TB, tab table.Table) (l listing) {
	t.Helper()
	rows, _ := table.As[table.Enumerable](tab)
	for e, err := range rows.All(t.Context()) {
		if err != nil {
			return listing{Rows: []string{err.Error()}}
		}
		l.Rows = append(l.Rows, fmt.Sprintf("%q = %s", e.Key, e.Value))
	}
	more, _ := table.As[table.Concealing](tab)
	for h, err := range more.Hidden(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		reason := [...]string{table.Excluded: "excluded by " + h.Condition, table.NoResult: "no result", table.NotAsked: "not asked"}[h.Reason]
		l.Hidden = append(l.Hidden, fmt.Sprintf("%q: %s active=%s", h.Key, reason, h.At().Row["active"]))
	}
	sort.Strings(l.Rows)
	sort.Strings(l.Hidden)
	return l
}

// testListing holds what All and Hidden yield, and that a table that remembers its
// rows answers as the database.
func testListing(t *testing.T, folds bool, concat func(parts ...string) string, open func(query string) table.Table) {
	alias := "SELECT goto_ FROM l_alias WHERE address='%s' AND active = 1"
	usual := listing{
		Rows: []string{`"@example.org" = all@example.org`, `"Big@Example.org" = big@example.org`, `"blank@example.org " = blank@example.org`,
			`"john@example.org" = jeff@example.test`, `"team@example.org" = a@example.org`, `"team@example.org" = b@example.org`},
		Hidden: []string{`"empty@example.org": no result active=`, `"null@example.org": excluded by active = 1 active=`, `"old@example.org": excluded by active = 1 active=0`},
	}
	var capitals []string // found where the database folds
	if folds {
		capitals = []string{`"Big@short.example" = big@example.org`}
	}
	for name, tt := range map[string]struct {
		cf   string
		want listing
	}{
		"usual": {"query = " + alias, usual},
		"alias domain": {"query = SELECT l_alias.goto_ FROM l_alias, l_domain WHERE l_domain.name='%d' AND l_alias.address = " +
			concat("'%u'", "'@'", "l_domain.target") + " AND l_alias.active = 1",
			listing{Rows: append(capitals, `"john@short.example" = jeff@example.test`, `"team@short.example" = a@example.org`, `"team@short.example" = b@example.org`),
				Hidden: []string{`"empty@short.example": no result active=`, `"null@short.example": excluded by l_alias.active = 1 active=`,
					`"old@short.example": excluded by l_alias.active = 1 active=0`}}},
		"user and domain": {"query = SELECT home FROM l_user WHERE local_part='%u' AND domain='%d'\nresult_format = /mail/%s",
			listing{Rows: []string{`"ann@example.org" = /mail/ann/`, `"bob@example.test" = /mail/bob/`}}},
		"by domain": {"query = SELECT target FROM l_domain WHERE name='%d'\nresult_format = @%s",
			listing{Rows: []string{`"@other.example" = @nowhere.example`, `"@short.example" = @example.org`}}},
		"listed domains": {"query = SELECT home FROM l_user WHERE local_part='%u' AND domain='%d'\ndomain = example.test",
			listing{Rows: []string{`"bob@example.test" = bob/`}, Hidden: []string{`"ann@example.org": not asked active=`}}},
		"one row": {"query = " + alias + " AND id > 1 ORDER BY id LIMIT 1",
			listing{Rows: slices.Concat(usual.Rows[:3], usual.Rows[4:5]),
				Hidden: []string{`"empty@example.org": no result active=`, `"john@example.org": excluded by active = 1 AND id > 1 active=1`,
					`"null@example.org": excluded by active = 1 AND id > 1 active=`, `"old@example.org": excluded by active = 1 AND id > 1 active=0`}}},
		"a union": {"query = SELECT target FROM l_domain WHERE name='%s' UNION SELECT target FROM l_domain WHERE name = '%s' AND target = 'example.org'",
			listing{Rows: []string{`"other.example" = nowhere.example`, `"short.example" = example.org`},
				Hidden: []string{`"other.example": excluded by target = 'example.org' active=`}}},
		"not a plain shape": {"query = SELECT goto_ FROM l_alias WHERE address IN ('%s', '@%d')", listing{Rows: []string{table.ErrNotListed.Error()}}},
	} {
		t.Run(name, func(t *testing.T) {
			tab := open(tt.cf)
			got := list(t, tab)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if remembered := remember(t, tab); remembered != nil {
				sameAnswers(t, tab, remembered)
			}
		})
	}
}

// remember is the table that answers from the rows of another one, or nil.
func remember(t testing.TB, tab table.Table) table.Table {
	t.Helper()
	var entries []table.Entry
	rows, _ := table.As[table.Enumerable](tab)
	for e, err := range rows.All(t.Context()) {
		if err != nil {
			return nil
		}
		entries = append(entries, e)
	}
	m, ok := table.As[table.Memorable](tab)
	if !ok {
		t.Fatal("the table remembers nothing")
	}
	find := func(key string) (first table.Entry, count int) {
		for _, e := range entries {
			if address.Fold(e.Key) != address.Fold(key) {
				continue
			}
			if count++; count == 1 {
				first = e
			}
		}
		return first, count
	}
	other, ok := m.Remember(entries, find, tab)
	if !ok {
		return nil
	}
	return other
}

// sameAnswers asks two tables the same random questions.
func sameAnswers(t *testing.T, real, other table.Table) {
	users := []string{"john", "team", "old", "Big", "big", "blank", "empty", "null", "ann", "bob", "x", "", "ann ", "j\u00f6hn", "a\x00b"}
	domains := []string{"@example.org", "@Example.org", "@example.org ", "@short.example", "@other.example", "@example.test", "@", "", "example.org", "short.example"}
	rapid.Check(t, func(r *rapid.T) {
		key := rapid.SampledFrom(users).Draw(r, "user") + rapid.SampledFrom(domains).Draw(r, "domain")
		want, err := real.Lookup(t.Context(), key)
		got, err2 := other.Lookup(t.Context(), key)
		if got.Value != want.Value || errors.Is(err, table.ErrNotFound) != errors.Is(err2, table.ErrNotFound) || (err == nil) != (err2 == nil) {
			r.Fatalf("%q: %q, %v; the database says %q, %v", key, got.Value, err2, want.Value, err)
		}
		if len(want.At) == 1 && (got.At[0].Key != want.At[0].Key || got.At[0].Query != want.At[0].Query) {
			r.Fatalf("%q: at %+v; the database says %+v", key, got.At[0], want.At[0])
		}
	})
}

func bars(parts ...string) string { return strings.Join(parts, " || ") }

func concat(parts ...string) string { return "CONCAT(" + strings.Join(parts, ", ") + ")" }

func TestListSQLite(t *testing.T) {
	for _, text := range []string{"TEXT", "TEXT COLLATE NOCASE"} {
		t.Run(text, func(t *testing.T) {
			dir := write(t, "", listed(text)...)
			testListing(t, text != "TEXT", bars, func(lines string) table.Table { return sqliteAt(t, dir, lines) })
		})
	}
}

func TestListServers(t *testing.T) {
	for _, e := range engines(t) {
		t.Run(e.name, func(t *testing.T) {
			e.run(t, append([]string{"DROP TABLE IF EXISTS l_alias, l_domain, l_user"}, listed("VARCHAR(100)")...)...)
			testListing(t, e.name == "mysql", concat, func(lines string) table.Table {
				return e.table(t, &table.Opener{}, e.login()+lines+"\n", table.Use{Fold: true})
			})
			tab := e.table(t, &table.Opener{}, e.login()+"query = SELECT home FROM l_user WHERE local_part='%u' AND domain='%d'\n", table.Use{Fold: true})
			if remember(t, tab) == nil {
				t.Error("plain rows are not remembered")
			}
		})
	}
}

// sqliteAt opens a table of mail.db in a directory.
func sqliteAt(t testing.TB, dir, lines string) table.Table {
	t.Helper()
	path := filepath.Join(t.TempDir(), "t.cf")
	if err := os.WriteFile(path, []byte("dbpath = "+dir+"/mail.db\n"+lines+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	tab, err := sql.SQLite(t.Context(), &table.Opener{}, path, table.Use{Fold: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tab.Close() })
	return tab
}

// TestRemembers says which columns of SQLite are answered for from memory.
func TestRemembers(t *testing.T) {
	for text, want := range map[string]bool{"TEXT": true, "VARCHAR(9)": true, "": true, "TEXT COLLATE NOCASE": false, "TEXT COLLATE RTRIM": false, "BLOB": true} {
		dir := write(t, "", listed(text)...)
		tab := sqliteAt(t, dir, "query = SELECT goto_ FROM l_alias WHERE address='%s'")
		if got := remember(t, tab) != nil; got != want {
			t.Errorf("a column of %q: remembered %v, want %v", text, got, want)
		}
	}
}

// TestListTooMany ends a list that is too long.
func TestListTooMany(t *testing.T) {
	const most = 100
	dir := write(t, "", "CREATE TABLE t (k TEXT, v TEXT)",
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i <= 100) INSERT INTO t SELECT 'u'||i, 'v' FROM n")
	tab := sqliteAt(t, dir, "query = SELECT v FROM t WHERE k='%s'")
	sql.ListAtMost(tab, most)
	rows, _ := table.As[table.Enumerable](tab)
	n := 0
	var end error
	for _, err := range rows.All(t.Context()) {
		if end = err; err == nil {
			n++
		}
	}
	if n != most || !errors.Is(end, table.ErrNotListed) {
		t.Errorf("%d rows, then %v; want %d, then %v", n, end, most, table.ErrNotListed)
	}
	if remember(t, tab) != nil {
		t.Error("half a list is remembered")
	}
}

// TestListFails lists a table whose lookups fail, and a server that does not answer.
func TestListFails(t *testing.T) {
	dir := write(t, "", listed("TEXT")...)
	tab := sqliteAt(t, dir, "query = SELECT goto_ FROM l_alias WHERE address='%s'")
	database(t, dir+"/mail.db", "DROP TABLE l_alias")
	got := list(t, tab).Rows
	if len(got) != 1 || !strings.Contains(got[0], "no such table: l_alias") {
		t.Errorf("a table that is gone: %q", got)
	}
	tab.Close()
	if got := list(t, tab).Rows; len(got) != 1 || !strings.Contains(got[0], "closed") {
		t.Errorf("a closed table: %q", got)
	}
}

// TestListSilentServer bounds the wait for a server that accepts and says nothing.
func TestListSilentServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, construct := range map[string]table.Constructor{"mysql": sql.MySQL, "pgsql": sql.PgSQL} {
		path := filepath.Join(t.TempDir(), "t.cf")
		text := fmt.Sprintf("hosts = %s\nuser = u\npassword = secret\ndbname = d\nquery = SELECT a FROM t WHERE k='%%s'\n", l.Addr())
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		tab, err := construct(t.Context(), &table.Opener{}, path, table.Use{Fold: true})
		if err != nil {
			t.Fatal(err)
		}
		defer tab.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		rows, _ := table.As[table.Enumerable](tab)
		for _, err := range rows.All(ctx) {
			var failed *table.Error
			if !errors.As(err, &failed) || failed.At.Line != 1 || !strings.Contains(err.Error(), l.Addr().String()) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: %v at %v", name, err, failed)
			}
		}
	}
}
