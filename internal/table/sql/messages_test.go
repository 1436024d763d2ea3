package sql_test

import (
	"context"
	"flag"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/table"
)

var update = flag.Bool("update", false, "write the golden files anew")

// wrong are mistakes in a .cf file. {login} are the four lines that reach the
// server, {addr} and {socket} where it is, {closed} an address where nobody
// listens.
var wrong = []struct{ name, cf string }{
	{"no-file", ""},
	{"no-dbname", "user = mail\nquery = SELECT v FROM t WHERE k = '%s'"},
	{"empty-dbname", "user = mail\ndbname =\nquery = SELECT v FROM t WHERE k = '%s'"},
	{"no-query", "{login}"},
	{"empty-query", "{login}query ="},
	{"unknown-parameter", "host = {addr}\n{login}usr = x\nqeury = x\nquery = SELECT 'v' WHERE '%s' <> ''"},
	{"no-letter", "{login}query = SELECT email FROM virtual_users WHERE id = 1"},
	{"bad-letter", "{login}query = SELECT email FROM virtual_users WHERE email = '%x'"},
	{"open-quote", "{login}query = SELECT email FROM virtual_users WHERE email = '%s"},
	{"unquoted", "{login}query = SELECT email FROM virtual_users WHERE email = %s"},
	{"bad-port", "hosts = 127.0.0.1:33o6\nuser = mail\ndbname = mail\nquery = SELECT '%s'"},
	{"bad-interval", "{login}idle_interval = 0\nquery = SELECT '%s'"},
	{"wrong-password", "hosts = {addr}\nuser = mail\npassword = other\ndbname = mail\nquery = SELECT '%s'"},
	{"wrong-user", "hosts = {addr}\nuser = male\npassword = x\ndbname = mail\nquery = SELECT '%s'"},
	{"no-user", "hosts = {addr}\ndbname = mail\nquery = SELECT '%s'"},
	{"wrong-dbname", "{login}dbname = nail\nquery = SELECT '%s'"},
	{"refused", "hosts = {closed}\nuser = mail\ndbname = mail\nquery = SELECT '%s'"},
	{"unknown-host", "hosts = db.invalid\nuser = mail\ndbname = mail\nquery = SELECT '%s'"},
	{"no-socket", "hosts = unix:/nonexistent/socket\nuser = mail\ndbname = mail\nquery = SELECT '%s'"},
	{"two-hosts", "hosts = {closed} unix:/nonexistent/socket\nuser = mail\ndbname = mail\nquery = SELECT '%s'"},
	{"syntax-error", "{login}query = SELEKT email FROM virtual_users WHERE email = '%s'"},
	{"no-table", "{login}query = SELECT email FROM users WHERE email = '%s'"},
	{"no-column", "{login}query = SELECT address FROM virtual_users WHERE email = '%s'"},
	{"no-permission", "{login}query = SELECT v FROM {other} WHERE v = '%s'"},
	{"two-statements", "{login}query = SELECT '%s'; DELETE FROM virtual_users"},
	{"two-rows", "{login}query = SELECT destination FROM virtual_aliases WHERE source <> '%s' ORDER BY id"},
	{"limit", "{login}query = SELECT destination FROM virtual_aliases WHERE source <> '%s' ORDER BY id\nexpansion_limit = 1"},
	{"bad-charset", "{login}charset = utf9\nencoding = utf9\nquery = SELECT '%s'"},
	{"option-file", "{login}option_file = /nonexistent/my.cnf\nquery = SELECT '%s'"},
	{"tls", "{login}tls_CAfile = /nonexistent/ca.pem\nquery = SELECT '%s'"},
	{"cast", "{login}query = SELECT 'x' WHERE DATE '%s' > DATE '2000-01-01'"},
	{"question-mark", "{login}query = SELECT 'x' WHERE ? = '%s'"},
}

// TestMessages holds what a newcomer reads who makes one of the usual mistakes.
// go test -update writes the files.
func TestMessages(t *testing.T) {
	for _, e := range engines(t) {
		e.forbidden(t)
		for _, w := range wrong {
			if w.name == "no-user" && e.name == "mysql" {
				continue // who runs the test may be known to the server
			}
			t.Run(e.name+"-"+w.name, func(t *testing.T) {
				got := e.complaints(t, w.cf)
				path := filepath.Join("testdata", "messages", e.name+"-"+w.name+".golden")
				if *update {
					if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), got); diff != "" {
					t.Errorf("%s (-want +got)\n%s", path, diff)
				}
			})
		}
	}
}

// complaints is a .cf file and what is said about it, with what differs from
// run to run masked.
func (e *engine) complaints(t *testing.T, cf string) string {
	t.Helper()
	dir, log := t.TempDir(), new(recorder)
	path := filepath.Join(dir, "t.cf")
	closed := closedPort(t)
	fill := strings.NewReplacer("{login}", e.login(), "{addr}", e.Addr, "{closed}", closed, "{other}", e.secret())
	text := fill.Replace(cf) + "\n"
	if cf != "" {
		if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	var said []string
	o := &table.Opener{Log: log, SingleValueStrict: true}
	tab, err := e.open(t.Context(), o, path, table.Use{Parameter: "virtual_mailbox_maps", SingleValue: true})
	if err != nil {
		said = append(said, "open: "+err.Error())
	} else {
		defer tab.Close()
		if _, err := tab.Lookup(context.Background(), "john@example.org"); err != nil {
			said = append(said, "lookup: "+err.Error())
		}
	}
	for _, line := range log.take(dir) {
		said = append(said, "log: "+line)
	}
	mask := strings.NewReplacer(dir+"/", "", e.Addr, "HOST:PORT", closed, "HOST:CLOSED", e.Socket, "SOCKET", e.Port, "PORT")
	out := mask.Replace(text + "\n" + strings.Join(said, "\n") + "\n")
	if u, err := user.Current(); err == nil { // who connects when there is no user parameter
		out = strings.ReplaceAll(out, `user "`+u.Username+`"`, `user "USER"`)
	}
	return strings.ReplaceAll(out, "in 'field list'", "in 'SELECT'") // before and after MariaDB 10.11.12
}

// secret is a table that the user of the tests may not read.
func (e *engine) secret() string {
	if e.name == "pgsql" {
		return "secrets"
	}
	return "mysql.user"
}

func (e *engine) forbidden(t testing.TB) {
	t.Helper()
	if e.name == "pgsql" {
		e.run(t, "RESET ROLE", "CREATE TABLE IF NOT EXISTS secrets (v VARCHAR(10))")
	}
}

// closedPort is an address of loopback where nobody listens.
func closedPort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
