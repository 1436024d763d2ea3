package sql_test

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/table"
)

// TestServerLookup asks both kinds of servers.
func TestServerLookup(t *testing.T) {
	tests := []struct {
		name, cf string // the lines that reach the server are added
		only     string // the type; "" is both
		want     map[string]string
		warnings []string
	}{
		{
			name: "several rows", cf: "query = SELECT destination FROM aliases WHERE source='%s' ORDER BY destination", only: "mysql",
			want:     map[string]string{"team@example.test": "a@x.example,b@x.example", "holes": "full", "null": "-", "none": "-", "o'neil": "quote", "100%": "percent", "": "-"},
			warnings: []string{`table "mysql:t.cf": empty lookup result for: "holes" -- ignored`},
		},
		{
			name: "NULL is empty", cf: "query = SELECT destination FROM aliases WHERE source='%s' AND note IN ('null', 'row')", only: "pgsql",
			want:     map[string]string{"holes": "full", "o'neil": "-"},
			warnings: []string{`table "pgsql:t.cf": empty lookup result for: "holes" -- ignored`},
		},
		{
			name: "every column of every row", cf: "query = SELECT destination, note, 1 FROM aliases WHERE source='%s' AND note IS NOT NULL",
			want: map[string]string{"team@example.test": "a@x.example,first,1", "jeff@a.b.example": "jeff@c.example,one,1"},
		},
		{
			name: "parts", cf: "query = SELECT '%u|%d|%1|%2|%%', '[%U' ",
			want: map[string]string{"user@a.b.test": "user|a.b.test|test|b|%,[user", "user@test": "-", "user": "-", "@a.b.test": "-"},
		},
		{
			name: "like and functions", cf: "query = SELECT note FROM aliases WHERE destination LIKE '%%@%d' AND lower('%u') = concat('%U', '')",
			want: map[string]string{"x@c.example": "one", "x": "-"},
		},
		{
			name: "numbers", cf: "query = SELECT email FROM virtual_users WHERE id = '%s'",
			want: map[string]string{"1": "john@example.org", "9": "-"},
		},
		{
			name: "tutorial, legacy", cf: "table = virtual_aliases\nselect_field = destination\nwhere_field = source\nadditional_conditions = AND domain_id = '1' ORDER BY id",
			want: map[string]string{"team@example.org": "john@example.org,jeff@example.test", "@example.test": "-"},
		},
		{
			name: "domain", cf: "query = SELECT 'v' WHERE '%s' <> ''\ndomain = x.test, !no.test", only: "pgsql",
			want: map[string]string{"user@x.test": "v", "user": "-", "@x.test": "-", "user@y.test": "-"},
		},
		{
			name: "limit", cf: "query = SELECT destination FROM aliases WHERE source='%s'\nexpansion_limit = 1",
			want: map[string]string{"team@example.test": "error", "jeff@a.b.example": "jeff@c.example"},
		},
		{
			name: "quotes and backslashes", only: "mysql",
			cf:   `query = SELECT note FROM aliases WHERE source="%s" AND 'it\'s \"%u\" \\' = concat('it''s "', '%u', '" ', char(92)) # 100% '`,
			want: map[string]string{"team@example.test": "first", "jeff@a.b.example": "one", `"`: "-", `\`: "-"},
		},
		{
			name: "dollar quotes", only: "pgsql",
			cf:   `query = SELECT note FROM aliases WHERE source=$$%s$$ AND E'it\'s %u' = $a$it's %u$a$ AND note IS NOT NULL /* /* 100% */ ' */`,
			want: map[string]string{"team@example.test": "first", "o'neil": "-"},
		},
		{
			name: "types", only: "mysql",
			cf:   "query = SELECT 42, -1, CAST(2.50 AS DECIMAL(5,2)), 0.1e0, 1e30, DATE'2026-01-02', CAST('2026-01-02 03:04:05' AS DATETIME), TIME'01:02:03', x'4142', TRUE, 18446744073709551615 WHERE '%s' <> ''",
			want: map[string]string{"x": "42,-1,2.50,0.1,1e30,2026-01-02,2026-01-02 03:04:05,01:02:03,AB,1,18446744073709551615"},
		},
		{
			name: "types", only: "pgsql",
			cf:   "query = SELECT 42, 2.50, 0.1::float8, DATE '2026-01-02', TRUE, '\\x4142'::bytea, ARRAY['a','b c'], 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid WHERE '%s' <> ''",
			want: map[string]string{"x": `42,2.50,0.1,2026-01-02,t,\x4142,{a,"b c"},a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11`},
		},
		{
			name: "function", cf: "select_function = lookup_alias", only: "pgsql",
			want: map[string]string{"jeff@a.b.example": "jeff@c.example", "none": "-"},
			warnings: []string{
				`table "pgsql:t.cf": empty lookup result for: "none" -- ignored`,
			},
		},
		{
			name: "no result set", cf: "query = CREATE TEMPORARY TABLE IF NOT EXISTS tt (x INT)", only: "pgsql",
			want:     map[string]string{"x": "-"},
			warnings: []string{"t.cf, line 5: query has no %s for the key in it: every key gets the same answer; write for example ... WHERE email = '%s'"},
		},
		{name: "procedure", cf: "query = CALL one('%s')", only: "mysql", want: map[string]string{"jeff@a.b.example": "jeff@c.example", "none": "-"}},
		{name: "procedure without a result", cf: "query = CALL none('%s')", only: "mysql", want: map[string]string{"x": "error"}},
		{name: "result not required", cf: "query = CALL none('%s')\nrequire_result_set = no", only: "mysql", want: map[string]string{"x": "-"}},
		{name: "several results", cf: "query = CALL two('%s')", only: "mysql", want: map[string]string{"jeff@a.b.example": "error"}},
	}
	for _, e := range engines(t) {
		e.routines(t)
		for _, tt := range tests {
			if tt.only != "" && tt.only != e.name {
				continue
			}
			t.Run(e.name+"/"+tt.name, func(t *testing.T) {
				log := new(recorder)
				path := e.file(t, e.login()+tt.cf+"\n")
				tab := e.tableAt(t, &table.Opener{Log: log, SingleValueStrict: true}, path, table.Use{Parameter: "virtual_alias_maps"})
				for range 2 { // on a new connection and on a used one
					for key, want := range tt.want {
						if got := ask(t, tab, key); got != want {
							_, err := tab.Lookup(t.Context(), key)
							t.Errorf("Lookup(%q) = %q, %v, want %q", key, got, err, want)
						}
					}
				}
				if got := log.take(filepath.Dir(path)); len(tt.warnings) > 0 || len(got) > 0 {
					if len(got) > len(tt.warnings) {
						got = got[:len(tt.warnings)]
					}
					if diff := cmp.Diff(strings.Join(tt.warnings, "\n"), strings.Join(got, "\n")); diff != "" {
						t.Errorf("warnings (-want +got)\n%s", diff)
					}
				}
			})
		}
	}
}

// routines makes the procedures and functions that TestServerLookup calls.
func (e *engine) routines(t testing.TB) {
	t.Helper()
	if e.name == "pgsql" {
		e.run(t, "CREATE OR REPLACE FUNCTION lookup_alias(text) RETURNS text LANGUAGE sql AS 'SELECT destination FROM aliases WHERE source = $1'")
		return
	}
	e.run(t, "CREATE OR REPLACE PROCEDURE one(k VARCHAR(100)) SELECT destination FROM aliases WHERE source = k",
		"CREATE OR REPLACE PROCEDURE none(k VARCHAR(100)) SET @x = k",
		"CREATE OR REPLACE PROCEDURE two(k VARCHAR(100)) BEGIN SELECT 1; SELECT destination FROM aliases WHERE source = k; END")
}

// TestServerHosts reaches the servers in every way.
func TestServerHosts(t *testing.T) {
	m, p := mysqlEngine(t), pgsqlEngine(t)
	options := filepath.Join(t.TempDir(), "my.cnf")
	text := fmt.Sprintf("[client]\nuser = %s\npassword = \"p'w\\\"d #\\\\%%s@/\" # not this\nport=%s\n[more]\nsocket=%s\n", testUser, m.Port, m.Socket)
	if err := os.WriteFile(options, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	login := fmt.Sprintf("user = %s\npassword = %s\ndbname = mail\n", testUser, testPassword)
	uri := fmt.Sprintf("postgresql://%s@%s/mail", url.UserPassword(testUser, testPassword), p.Addr)
	tests := []struct {
		e  *engine
		cf string
	}{
		{m, login + "hosts = inet:" + m.Addr},
		{m, login + "hosts = unix:" + m.Socket},
		{m, login + "hosts = " + closedPort(t) + ", " + m.Addr + " unix:/nonexistent/socket"},
		{m, "hosts = 127.0.0.1\ndbname = mail\noption_file = " + options},
		{m, "dbname = mail\noption_file = " + options + "\noption_group = more"},
		{m, login + "hosts = localhost\noption_file = " + options + "\noption_group = more"},
		{m, login + "hosts = " + m.Addr + "\ncharset = latin1"},
		{m, login + "hosts = " + m.Addr + "\ntls_CAfile = " + m.CA},
		{m, login + "hosts = " + m.Addr + "\ntls_verify_cert = yes\ntls_CAfile = " + m.CA},
		{m, login + "hosts = " + m.Addr + "\ntls_ciphers = ECDHE-ECDSA-AES128-GCM-SHA256"},
		{p, login + "hosts = inet:" + p.Addr},
		{p, login + "hosts = " + p.socket()},
		{p, login + "hosts = " + p.Socket + "/.s.PGSQL." + p.Port},
		{p, login + "hosts = " + closedPort(t) + ", " + p.Addr},
		{p, login + "hosts = " + p.Addr + "\nencoding = LATIN1"},
		{p, "hosts = " + uri},
		{p, "hosts = " + uri + "?sslmode=verify-full&sslrootcert=" + p.CA},
		{p, login + "hosts = postgres://" + p.Addr + "/?sslmode=disable"},
	}
	for _, tt := range tests {
		log := new(recorder)
		o := &table.Opener{Log: log}
		tab := tt.e.table(t, o, tt.cf+"\nquery = SELECT destination FROM aliases WHERE source = '%s'\n", table.Use{})
		if got := ask(t, tab, "jeff@a.b.example"); got != "jeff@c.example" {
			_, err := tab.Lookup(t.Context(), "jeff@a.b.example")
			t.Errorf("%s: %s\n%q, %v, log %q", tt.e.name, tt.cf, got, err, log.take(""))
		}
	}
}

// TestServerTLS holds that a certificate that is asked for is looked at.
func TestServerTLS(t *testing.T) {
	m, p := mysqlEngine(t), pgsqlEngine(t)
	for _, tt := range []struct {
		e        *engine
		cf, want string
	}{
		{m, m.login() + "tls_CAfile = " + p.CA, "TLS: x509: certificate signed by unknown authority"},
		{m, m.login() + "tls_verify_cert = yes", "TLS: x509: certificate signed by unknown authority"},
		{m, m.login() + "hosts = unix:" + m.Socket + "\ntls_verify_cert = yes\ntls_CAfile = " + m.CA, "TLS: x509: certificate is not valid for any names, but wanted to match localhost"},
		{p, p.login() + "hosts = postgresql://" + p.Addr + "/mail?sslmode=verify-ca&sslrootcert=" + m.CA, "certificate signed by unknown authority"},
	} {
		tab := tt.e.table(t, &table.Opener{}, tt.cf+"\nquery = SELECT '%s'\n", table.Use{})
		if _, err := tab.Lookup(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.cf, err, tt.want)
		}
	}
}

// TestServerOrigin holds that a result says the rows and the query.
func TestServerOrigin(t *testing.T) {
	for _, e := range engines(t) {
		tab := e.table(t, &table.Opener{}, e.login()+"query = SELECT destination, note AS why FROM aliases WHERE source='%s'\n", table.Use{})
		got, err := tab.Lookup(t.Context(), "o'neil")
		if err == table.ErrNotFound || err != nil || len(got.At) != 1 {
			t.Fatalf("%s: %+v, %v", e.name, got, err)
		}
		at := got.At[0]
		if want := "SELECT destination, note AS why FROM aliases WHERE source='o''neil'"; at.Query != want || at.Row["destination"] != "quote" {
			t.Errorf("%s: %+v, want query %q", e.name, at, want)
		}
	}
}

// TestPasswordReadable warns of a password that everybody can read.
func TestPasswordReadable(t *testing.T) {
	e, log := mysqlEngine(t), new(recorder)
	path := e.file(t, e.login()+"query = SELECT '%s'\n")
	for mode, want := range map[os.FileMode]int{0o640: 0, 0o604: 1} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		e.tableAt(t, &table.Opener{Log: log}, path, table.Use{})
		if got := log.take(filepath.Dir(path)); len(got) != want || want > 0 && !strings.Contains(got[0], "t.cf, line 3: the password can be read by every user of this machine (mode 0604)") {
			t.Errorf("mode %o: %q", mode, got)
		}
	}
}
