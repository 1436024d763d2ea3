package sql_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/origin"
	"postern/internal/table"
	"postern/internal/table/sql"
)

func TestOpenErrors(t *testing.T) {
	tests := []struct {
		name, cf, want string // want follows "t.cf"; line numbers count from 1
	}{
		{"no dbpath", "query = SELECT 1", `: parameter dbpath is missing: add a line "dbpath = ..."`},
		{"empty dbpath", "\ndbpath =\nquery = SELECT 1", ", line 2: dbpath: must not be empty: write its value behind the '='"},
		{"no query", "dbpath = mail.db", `: parameter query is missing: add a line "query = ..."`},
		{"empty query", "dbpath = mail.db\nquery = ", ", line 2: query: must not be empty: write its value behind the '='"},
		{"legacy without where", "dbpath = mail.db\ntable = t\nselect_field = f", `: parameter where_field is missing: add a line "where_field = ..."`},
		{"bad letter", "dbpath = mail.db\nquery = SELECT '%x'", `, line 2: query: "%x" is not followed by one of % s u d S U D 1..9`},
		{"bare percent", "dbpath = mail.db\nquery = SELECT 5 %", `, line 2: query: "%" is not followed by one of % s u d S U D 1..9`},
		{"open quote", "dbpath = mail.db\nquery = SELECT 'x", ", line 2: query: no end of a quoted text or comment: 'x"},
		{"open comment", "dbpath = mail.db\nquery = SELECT /* x", ", line 2: query: no end of a quoted text or comment: /* x"},
		{"two statements", "dbpath = mail.db\nquery = SELECT 1; DELETE FROM t", ", line 2: query: more than one statement"},
		{"bad format", "dbpath = mail.db\nquery = SELECT 1\nresult_format = %0", `, line 3: result_format: "%0" is not followed by one of % s u d S U D 1..9`},
		{"bad limit", "dbpath = mail.db\nquery = SELECT 1\nexpansion_limit = many", `, line 3: expansion_limit: "many" is not a number from 0 to 2147483647`},
		{"no equals sign", "dbpath = mail.db\nquery SELECT 1", `, line 2: missing '=' after attribute name "query": write "query = value"`},
		{"no database", "query = SELECT 1\ndbpath = {dir}/none.db", ", line 2: dbpath: open none.db: No such file or directory: the database must exist and be readable, it is never created"},
		{"bad SQL", "dbpath = {dir}/mail.db\nquery = SELECT goto FROM aliases WHERE source='%s'", ", line 2: query failed on mail.db: SQL logic error: no such column: goto (1)"},
		{"no table", "dbpath = {dir}/mail.db\nquery = SELECT 1 FROM t_%d", ", line 2: query failed on mail.db"},
		{"not a database", "dbpath = {dir}/t.cf\nquery = SELECT 1 FROM x", ", line 1: dbpath: t.cf is no database that SQLite can read: file is not a database (26)"},
	}
	for _, tt := range tests {
		dir := write(t, tt.cf)
		tab, err := sql.SQLite(t.Context(), &table.Opener{Log: new(recorder)}, dir+"/t.cf", table.Use{})
		if err == nil {
			tab.Close()
			t.Errorf("%s: no error", tt.name)
			continue
		}
		_, text, _ := strings.Cut(strings.ReplaceAll(err.Error(), dir+"/", ""), "sqlite:t.cf is unavailable. ")
		if !strings.HasPrefix(text, "t.cf"+tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, text, "t.cf"+tt.want)
		}
		var e *table.Error
		if !errors.As(err, &e) || e.At.File != dir+"/t.cf" || e.At.Line > 0 != strings.HasPrefix(tt.want, ", line") {
			t.Errorf("%s: %v blames %v, want the line in t.cf", tt.name, err, e.At)
		}
		if _, err := os.Stat(dir + "/none.db"); err == nil {
			t.Errorf("%s: the database was created", tt.name)
		}
	}
}

func TestSettingsWarnings(t *testing.T) {
	_, log, dir := open(t, "  orphan\ndbpth = x\n"+byAlias+"zzzzz = 1\nquery = SELECT 1\n", table.Use{})
	want := []string{
		`t.cf, line 1: logical line must not start with whitespace: "  orphan"`,
		`t.cf, line 2: unknown parameter "dbpth" is ignored, did you mean "dbpath"?`,
		`t.cf, line 5: unknown parameter "zzzzz" is ignored`,
		`t.cf, line 6: query overrides the earlier entry of line 4`,
		"t.cf, line 6: query has no %s for the key in it: every key gets the same answer; write for example ... WHERE email = '%s'",
	}
	if diff := cmp.Diff(want, log.take(dir)); diff != "" {
		t.Errorf("warnings (-want +got)\n%s", diff)
	}
}

func TestNames(t *testing.T) {
	dir := write(t, byAlias)
	param := func(name string) (string, origin.At, bool) {
		value, ok := map[string]string{"alias_dbpath": dir + "/mail.db", "alias_query": "SELECT 'prefix'", "t.cf_query": ""}[name]
		return value, origin.At{File: dir + "/main.cf", Line: 7}, ok
	}
	if err := os.WriteFile(dir+"/r.cf", []byte("dbpath = mail.db\nquery = SELECT 'relative'\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/empty.cf", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	none := func(string) (string, origin.At, bool) { return "", origin.At{}, false }
	tests := []struct {
		name     string
		relative bool
		param    func(string) (string, origin.At, bool)
		want     string // the value of "5", or the end of the error
	}{
		{dir + "/t.cf", false, param, "five"},
		{"./t.cf", true, param, "five"},
		{"alias", false, param, "prefix"},
		{"alias", true, param, "prefix"},
		{"t.cf", true, none, "five"},
		{"t.cf", true, nil, "five"},
		{"empty.cf", true, none, "empty.cf: parameter dbpath is missing: add a line \"dbpath = ...\""},
		{"r.cf", true, none, "relative"},
		{"t.cf", true, param, `main.cf: parameter t.cf_dbpath is missing: add a line "t.cf_dbpath = ..."`},
		{"t.cf", false, none, "main.cf has no parameters t.cf_dbpath, t.cf_query ...: a name without a leading '/' means these; to name a file, write its full path"},
		{"u.cf", true, none, "u.cf: there is no file u.cf, and main.cf has no parameters u.cf_*: create the file, or name it with its full path"},
		{dir + "/u.cf", true, none, "open u.cf: No such file or directory: this is the file with the parameters of the table: create it, or correct its name in main.cf"},
		{dir, true, none, "open " + dir + ": Is a directory"},
	}
	for _, tt := range tests {
		o := &table.Opener{Dir: dir, RelativeNames: tt.relative, Param: tt.param}
		tab, err := sql.SQLite(t.Context(), o, tt.name, table.Use{})
		got := ""
		if err != nil {
			_, got, _ = strings.Cut(strings.ReplaceAll(err.Error(), dir+"/", ""), "unavailable. ")
		} else {
			got = ask(t, tab, "5")
			tab.Close()
		}
		if got != tt.want {
			t.Errorf("open %q (relative %v): %q, want %q", tt.name, tt.relative, got, tt.want)
		}
	}
}
