package sql_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/table"
	"postern/internal/table/sql"
	"postern/internal/table/sql/sqltest"
	"postern/internal/table/tabletest"
)

func TestMain(m *testing.M) { os.Exit(sqltest.Main(m)) }

// engine is one of the database servers, with what a test needs to know.
type engine struct {
	*sqltest.Server
	name    string // of the table type
	open    table.Constructor
	columns string // of a table of rows that compares bytes
	setup   []string
}

// The user of all tests. Its password needs care in option files and URIs.
const (
	testUser     = "mail"
	testPassword = `p'w"d #\%s@/`
)

var mysqlSetup = []string{
	"CREATE DATABASE mail CHARACTER SET utf8mb4",
	`CREATE USER mail@'127.0.0.1' IDENTIFIED BY 'p\'w"d #\\%s@/'`,
	`CREATE USER mail@localhost IDENTIFIED BY 'p\'w"d #\\%s@/'`,
	"GRANT ALL ON mail.* TO mail@'127.0.0.1'",
	"GRANT ALL ON mail.* TO mail@localhost",
	"USE mail",
}

var pgsqlSetup = []string{
	`CREATE ROLE mail LOGIN PASSWORD 'p''w"d #\%s@/'`,
	"CREATE DATABASE mail OWNER mail",
	`\c mail`,
	"SET ROLE mail", // so that it owns the tables
}

// The tables of the tutorial, and what the other tests look in.
var serverTables = []string{
	"CREATE TABLE virtual_domains (id INT NOT NULL PRIMARY KEY, name VARCHAR(50) NOT NULL)",
	"CREATE TABLE virtual_users (id INT NOT NULL PRIMARY KEY, domain_id INT NOT NULL, password VARCHAR(106) NOT NULL, email VARCHAR(120) NOT NULL UNIQUE)",
	"CREATE TABLE virtual_aliases (id INT NOT NULL PRIMARY KEY, domain_id INT NOT NULL, source VARCHAR(100) NOT NULL, destination VARCHAR(100) NOT NULL)",
	"INSERT INTO virtual_domains VALUES (1, 'example.org'), (2, 'example.test')",
	"INSERT INTO virtual_users VALUES (1, 1, 'x', 'john@example.org'), (2, 1, 'x', 'o''neil@example.org')",
	"INSERT INTO virtual_aliases VALUES (1, 1, 'team@example.org', 'john@example.org'), (2, 1, 'team@example.org', 'jeff@example.test'), (3, 2, '@example.test', 'john@example.org')",
	sample[0], sample[1],
}

var (
	prepared sync.Map // names of the engines that have their tables
	tableID  atomic.Int64
)

// engines starts both servers, or skips.
func engines(t testing.TB) []*engine {
	t.Helper()
	return []*engine{mysqlEngine(t), pgsqlEngine(t)}
}

func mysqlEngine(t testing.TB) *engine {
	t.Helper()
	return (&engine{Server: sqltest.MariaDB(t), name: "mysql", open: sql.MySQL, setup: mysqlSetup,
		columns: "(k VARCHAR(200) COLLATE utf8mb4_nopad_bin, v MEDIUMTEXT)"}).prepare(t)
}

func pgsqlEngine(t testing.TB) *engine {
	t.Helper()
	return (&engine{Server: sqltest.PostgreSQL(t), name: "pgsql", open: sql.PgSQL, setup: pgsqlSetup,
		columns: "(k VARCHAR(200), v TEXT)"}).prepare(t)
}

func (e *engine) prepare(t testing.TB) *engine {
	t.Helper()
	if _, done := prepared.LoadOrStore(e.name, true); !done {
		e.Exec(t, append(e.setup[:len(e.setup):len(e.setup)], serverTables...)...)
	}
	return e
}

// run runs statements in the database of the tests.
func (e *engine) run(t testing.TB, statements ...string) {
	t.Helper()
	use := []string{"USE mail"}
	if e.name == "pgsql" {
		use = []string{`\c mail`, "SET ROLE mail"}
	}
	e.Exec(t, append(use, statements...)...)
}

// login are the lines of a .cf file that reach the server.
func (e *engine) login() string {
	return fmt.Sprintf("hosts = %s\nuser = %s\npassword = %s\ndbname = mail\n", e.Addr, testUser, testPassword)
}

// socket is the server's socket for a hosts line.
func (e *engine) socket() string {
	if e.name == "pgsql" {
		return fmt.Sprintf("unix:%s:%s", e.Socket, e.Port)
	}
	return "unix:" + e.Socket
}

// table opens a table of a .cf file with this text.
func (e *engine) table(t testing.TB, o *table.Opener, cf string, use table.Use) table.Table {
	t.Helper()
	return e.tableAt(t, o, e.file(t, cf), use)
}

// tableAt opens the table of a .cf file.
func (e *engine) tableAt(t testing.TB, o *table.Opener, path string, use table.Use) table.Table {
	t.Helper()
	tab, err := e.open(t.Context(), o, path, use)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tab.Close() })
	return tab
}

// file writes a .cf file.
func (e *engine) file(t testing.TB, cf string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "t.cf")
	if err := os.WriteFile(path, []byte(cf), 0o640); err != nil {
		t.Fatal(err)
	}
	return path
}

// rowTable makes a table of the database with these rows.
func (e *engine) rowTable(t testing.TB, rows []tabletest.Row) string {
	t.Helper()
	name := fmt.Sprintf("rows_%d", tableID.Add(1))
	statements := []string{"CREATE TABLE " + name + " " + e.columns}
	for _, r := range rows {
		quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
		statements = append(statements, "INSERT INTO "+name+" VALUES ("+quote(r.Key)+","+quote(r.Value)+")")
	}
	e.run(t, statements...)
	return name
}

// TestServerConformance runs the suite, with and without the cache of answers.
func TestServerConformance(t *testing.T) {
	for _, e := range engines(t) {
		for _, ttl := range []time.Duration{0, time.Hour} {
			t.Run(fmt.Sprintf("%s/%v", e.name, ttl), func(t *testing.T) {
				tabletest.Run(t, func(t *testing.T, use table.Use, rows []tabletest.Row) table.Table {
					o := &table.Opener{CacheTTL: ttl, CacheSize: 1000}
					cf := e.login() + "query = SELECT v FROM " + e.rowTable(t, rows) + " WHERE k = '%s'\n"
					return e.table(t, o, cf, use)
				})
			})
		}
	}
}
