package sql_test

import (
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/origin"
	"postern/internal/table"
	"postern/internal/table/sql"
	"postern/internal/table/tabletest"
)

// recorder keeps warnings.
type recorder struct {
	mu    sync.Mutex
	lines []string
}

func (r *recorder) Infof(string, ...any) {}

func (r *recorder) Warningf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

// take returns the warnings since the last call, with dir left out.
func (r *recorder) take(dir string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var lines []string
	for _, l := range r.lines {
		lines = append(lines, strings.ReplaceAll(l, dir+"/", ""))
	}
	r.lines = nil
	return lines
}

// database makes a database file.
func database(t testing.TB, path string, statements ...string) {
	t.Helper()
	db, err := stdsql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// sample are tables in which most tests look.
var sample = []string{
	"CREATE TABLE aliases (source TEXT, destination TEXT, note TEXT)",
	`INSERT INTO aliases VALUES
		('jeff@a.b.example', 'jeff@c.example', 'one'),
		('team@example.test', 'a@x.example', 'first'), ('team@example.test', 'b@x.example', NULL),
		('holes', NULL, 'null'), ('holes', '', 'empty'), ('holes', 'full', 'row'),
		('null', NULL, ''), ('empty', '', ''),
		('mixed', 'user@x.example', ''), ('mixed', 'bare', ''), ('mixed', 'open@', ''), ('mixed', '@dom', ''),
		('o''neil', 'quote', ''), ('100%', 'percent', ''), ('5', 'five', '')`,
}

// write makes a directory with mail.db and t.cf, in which {dir} is the directory.
func write(t testing.TB, cf string, statements ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if statements == nil {
		statements = sample
	}
	database(t, filepath.Join(dir, "mail.db"), statements...)
	cf = strings.ReplaceAll(cf, "{dir}", dir)
	if err := os.WriteFile(filepath.Join(dir, "t.cf"), []byte(cf), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

const byAlias = "dbpath = {dir}/mail.db\nquery = SELECT destination FROM aliases WHERE source='%s'\n"

// open opens t.cf of a directory that write makes.
func open(t testing.TB, cf string, use table.Use) (tab table.Table, log *recorder, dir string) {
	t.Helper()
	dir, log = write(t, cf), new(recorder)
	tab, err := sql.SQLite(context.Background(), &table.Opener{Log: log, SingleValueStrict: true}, dir+"/t.cf", use)
	if err != nil {
		t.Fatalf("open %s: %v", cf, err)
	}
	t.Cleanup(func() { tab.Close() })
	return tab, log, dir
}

// ask returns the value of a key, "-" when it is not found, and "error" when
// the lookup failed.
func ask(t testing.TB, tab table.Table, key string) string {
	t.Helper()
	got, err := tab.Lookup(context.Background(), key)
	var e *table.Error
	switch {
	case err == nil:
		return got.Value
	case err == table.ErrNotFound:
		return "-"
	case errors.As(err, &e):
		return "error"
	}
	t.Fatalf("Lookup(%q): %v is no *table.Error", key, err)
	return ""
}

func TestConformance(t *testing.T) {
	tabletest.Suite{Open: func(t *testing.T, use table.Use, rows []tabletest.Row) table.Table {
		statements := []string{"CREATE TABLE rows (k TEXT, v TEXT)"}
		for _, r := range rows {
			quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
			statements = append(statements, "INSERT INTO rows VALUES ("+quote(r.Key)+","+quote(r.Value)+")")
		}
		dir := write(t, "dbpath = {dir}/mail.db\nquery = SELECT v FROM rows WHERE k = '%s'\n", statements...)
		tab, err := sql.SQLite(t.Context(), &table.Opener{}, dir+"/t.cf", use)
		if err != nil {
			t.Fatal(err)
		}
		return tab
	}}.Run(t)
}

func TestLookup(t *testing.T) {
	tests := []struct {
		name, cf string // {dir} and a dbpath line are added
		want     map[string]string
		warnings []string
	}{
		{
			name: "several rows", cf: "query = SELECT destination FROM aliases WHERE source='%s'",
			want: map[string]string{"team@example.test": "a@x.example,b@x.example", "holes": "full", "null": "-", "none": "-", "o'neil": "quote", "100%": "percent", "": "-"},
			warnings: []string{
				`table "sqlite:t.cf": empty lookup result for: "holes" -- ignored`,
			},
		},
		{
			name: "first column only", cf: "query = SELECT destination, note FROM aliases WHERE source='%s'",
			want: map[string]string{"jeff@a.b.example": "jeff@c.example"},
		},
		{
			name: "number", cf: "query = SELECT 1 FROM aliases WHERE source='%s';",
			want: map[string]string{"team@example.test": "1,1", "x": "-"},
		},
		{
			name: "parts of the key", cf: "query = SELECT '%u|%d|%1|%2|%%' ",
			want: map[string]string{"user@a.b.test": "user|a.b.test|test|b|%", "user@test": "-", "user": "-", "@a.b.test": "-", "user@": "-", "a@b@c.test": "a@b|c.test|test|c|%", "user@a..test.": "user|a..test.|test|a|%"},
		},
		{
			name: "user", cf: "query = SELECT '%U'",
			want: map[string]string{"user@test": "user", "user": "user", "@test": "-", "user@": "user", "@": "-"},
		},
		{
			name: "like", cf: "query = SELECT note FROM aliases WHERE destination LIKE '%%@%d'",
			want: map[string]string{"x@c.example": "one", "x": "-"},
		},
		{
			name: "result format", cf: "query = SELECT destination FROM aliases WHERE source='%s'\nresult_format = <%s %% %u %d>",
			want: map[string]string{"mixed": "<user@x.example % user x.example>", "jeff@a.b.example": "<jeff@c.example % jeff c.example>"},
		},
		{
			name: "user of the result", cf: "query = SELECT destination FROM aliases WHERE source='%s'\nresult_format = %u",
			want: map[string]string{"mixed": "user,bare,open"},
		},
		{
			name: "key in the result", cf: "query = SELECT destination FROM aliases WHERE source='%s'\nresult_format = %D/%U/%1/%s/",
			want: map[string]string{"jeff@a.b.example": "a.b.example/jeff/example/jeff@c.example/", "mixed": "-"},
		},
		{
			name: "domain", cf: "query = SELECT 'v' WHERE '%s' <> ''\ndomain = x.test, !no.test, inline-is-not-a-type",
			want: map[string]string{"user@x.test": "v", "USER@X.TEST": "v", "@@x.test": "v", "user": "-", "x.test": "-", "@x.test": "-", "user@": "-", "user@y.test": "-", "user@no.test": "-"},
		},
		{
			name: "domain list fails", cf: "query = SELECT 'v' WHERE '%s' <> ''\ndomain = x.test, hash:/there/is/none, y.test",
			want:     map[string]string{"user@x.test": "v", "user@y.test": "error", "user": "-"},
			warnings: []string{"t.cf, line 3: domain: hash:/there/is/none is unavailable. unsupported dictionary type: hash"},
		},
		{
			name: "expansion limit", cf: "query = SELECT destination FROM aliases WHERE source='%s'\nexpansion_limit = 1",
			want: map[string]string{"team@example.test": "error", "jeff@a.b.example": "jeff@c.example"},
		},
		{
			name: "legacy", cf: "table = aliases\nselect_field = destination\nwhere_field = source\nadditional_conditions = AND note = 'first' OR note='%u'",
			want: map[string]string{"team@example.test": "a@x.example", "one@example.test": "jeff@c.example"},
		},
		{
			name: "unquoted", cf: "query = SELECT destination FROM aliases WHERE source=%s OR note=\"%u\"",
			want: map[string]string{"5": "five", "one": "jeff@c.example", "' OR '1'='1": "-", "1 OR 1=1": "-", `" OR ""="`: "-"},
			warnings: []string{
				"t.cf, line 2: %s not in single quotes: the key is sent as a value, write '%s'",
				"t.cf, line 2: \"%u\" not in single quotes: the key is sent as a value, write '%u'",
			},
		},
		{
			name: "comments", cf: "query = SELECT /* '%s' */ destination FROM aliases WHERE source='%s' AND note <> 'it''s' -- 100%",
			want: map[string]string{"5": "five"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tab, log, dir := open(t, "dbpath = {dir}/mail.db\n"+tt.cf+"\n", table.Use{Parameter: "virtual_alias_maps"})
			for key, want := range tt.want {
				if got := ask(t, tab, key); got != want {
					t.Errorf("Lookup(%q) = %q, want %q", key, got, want)
				}
			}
			got := log.take(dir)
			if diff := cmp.Diff(tt.warnings, got); diff != "" {
				t.Errorf("warnings (-want +got)\n%s", diff)
			}
		})
	}
}

func TestFold(t *testing.T) {
	for fold, want := range map[bool]string{true: "jeff@c.example", false: "-"} {
		tab, _, _ := open(t, byAlias, table.Use{Fold: fold})
		if got := ask(t, tab, "Jeff@A.B.Example"); got != want {
			t.Errorf("Fold %v: %q, want %q", fold, got, want)
		}
	}
}

func TestOrigin(t *testing.T) {
	tab, _, dir := open(t, strings.Replace(byAlias, "destination", "destination, source, note AS why", 1), table.Use{})
	got, err := tab.Lookup(t.Context(), "team@example.test")
	at := func(destination, note string) origin.At {
		a := origin.At{
			Table: "sqlite:" + dir + "/t.cf",
			Key:   "team@example.test",
			Query: "SELECT destination, source, note AS why FROM aliases WHERE source='team@example.test'",
			Row:   map[string]string{"destination": destination, "source": "team@example.test"},
		}
		if note != "" {
			a.Row["why"] = note
		}
		return a
	}
	want := table.Result{Value: "a@x.example,b@x.example", At: []origin.At{at("a@x.example", "first"), at("b@x.example", "")}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("Lookup: %v (-want +got)\n%s", err, diff)
	}
	got, err = tab.Lookup(t.Context(), "o'neil")
	if want := "SELECT destination, source, note AS why FROM aliases WHERE source='o''neil'"; err != nil || got.At[0].Query != want {
		t.Errorf("Query = %q, %v; want %q", got.At, err, want)
	}
}

func TestSingleValue(t *testing.T) {
	use := table.Use{SingleValue: true, Parameter: "virtual_mailbox_maps"}
	tab, _, dir := open(t, byAlias, use)
	_, err := tab.Lookup(t.Context(), "team@example.test")
	var e *table.Error
	if !errors.As(err, &e) {
		t.Fatalf("two rows: %v, want an *Error", err)
	}
	want := "2 values where virtual_mailbox_maps needs one: SELECT destination FROM aliases WHERE source='team@example.test'"
	if e.Err.Error() != want || e.At.File != dir+"/t.cf" || e.At.Line != 2 {
		t.Errorf("two rows: %v at %v, want %q at line 2", e.Err, e.At, want)
	}
	if got := ask(t, tab, "holes"); got != "full" {
		t.Errorf("one value of three rows: %q, want full", got)
	}
	tab, err = sql.SQLite(t.Context(), &table.Opener{}, dir+"/t.cf", use)
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Close()
	if got := ask(t, tab, "team@example.test"); got != "a@x.example,b@x.example" {
		t.Errorf("table_single_value = join: %q, want both", got)
	}
}

// TestQueryFails changes the database so that an open table meets an error.
func TestQueryFails(t *testing.T) {
	tab, _, dir := open(t, byAlias, table.Use{})
	database(t, dir+"/mail.db", "ALTER TABLE aliases RENAME COLUMN destination TO goto")
	_, err := tab.Lookup(t.Context(), "5")
	var e *table.Error
	if !errors.As(err, &e) || e.At.File != dir+"/t.cf" || e.At.Line != 2 || !strings.Contains(err.Error(), "no such column: destination") {
		t.Errorf("Lookup: %v, want an *Error at line 2 that names the column", err)
	}
	database(t, dir+"/mail.db", "ALTER TABLE aliases RENAME COLUMN goto TO destination")
	if got := ask(t, tab, "5"); got != "five" {
		t.Errorf("after the cure: %q, want five", got)
	}
}

// TestInterrupted ends the context of a query that would run for hours.
func TestInterrupted(t *testing.T) {
	tab, _, _ := open(t, "dbpath = {dir}/mail.db\nquery = WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT count(*) FROM n WHERE '%s' <> ''\n", table.Use{})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := tab.Lookup(ctx, "x")
	var e *table.Error
	if !errors.As(err, &e) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Lookup: %v, want an *Error with context.DeadlineExceeded in it", err)
	}
}

func BenchmarkSQLite(b *testing.B) {
	tab, _, dir := open(b, byAlias, table.Use{Fold: true})
	database(b, dir+"/mail.db", "CREATE INDEX by_source ON aliases (source)")
	for name, key := range map[string]string{"hit": "jeff@a.b.example", "miss": "none@example.test"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ask(b, tab, key)
			}
		})
		b.Run(name+"/8", func(b *testing.B) {
			b.SetParallelism(4) // times GOMAXPROCS
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					ask(b, tab, key)
				}
			})
		})
	}
}

// A parameter of the query's own would be bound to nothing.
func TestForeignParameters(t *testing.T) {
	for _, where := range []string{"source=? OR source='%s'", "source=:name", "source=@x"} {
		dir := write(t, "dbpath = {dir}/mail.db\nquery = SELECT destination FROM aliases WHERE "+where+"\n")
		_, err := sql.SQLite(t.Context(), &table.Opener{Log: new(recorder)}, dir+"/t.cf", table.Use{})
		if err == nil || !strings.Contains(err.Error(), "t.cf, line 2") || !strings.Contains(err.Error(), "1 parameters of its own") {
			t.Errorf("%s: %v", where, err)
		}
	}
}
