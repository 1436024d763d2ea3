package tables

import (
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/table/sql/sqltest"
)

func TestMain(m *testing.M) { os.Exit(sqltest.Main(m)) }

// rows are those of the tests: one with capitals, one that is there twice, one with
// an empty value.
var rows = []string{
	"CREATE TABLE t (k VARCHAR(80), v VARCHAR(80))",
	"INSERT INTO t VALUES ('Joe@example.test', 'joe/'), ('two@example.test', 'a/'), ('two@example.test', 'b/'), ('void@example.test', '')",
}

// TestServers asks real servers: what they refuse, and how they compare.
func TestServers(t *testing.T) {
	mysql, pgsql := sqltest.MariaDB(t), sqltest.PostgreSQL(t)
	mysql.Exec(t, append([]string{"CREATE DATABASE mail CHARACTER SET utf8mb4", "CREATE USER mail@'127.0.0.1' IDENTIFIED BY 's3cret'",
		"GRANT SELECT ON mail.* TO mail@'127.0.0.1'", "USE mail"}, rows...)...)
	pgsql.Exec(t, append([]string{"CREATE ROLE mail LOGIN PASSWORD 's3cret'", "CREATE DATABASE mail OWNER mail", `\c mail`, "SET ROLE mail"}, rows...)...)
	const good = "SELECT v FROM t WHERE k='%s'"
	tests := []struct {
		name, typ, addr, password, query string
		want                             []string
	}{
		{"mysql", "mysql", mysql.Addr, "s3cret", good, []string{`VD308 error mysql:v.cf "two@example.test"`, `VD308 warning mysql:v.cf "void@example.test"`}},
		{"mysql login", "mysql", mysql.Addr, "s3cret2", good, []string{"VD306 error v.cf:3"}},
		{"mysql query", "mysql", mysql.Addr, "s3cret", "SELECT gone FROM t WHERE k='%s'", []string{"VD307 error v.cf:5"}},
		{"pgsql", "pgsql", pgsql.Addr, "s3cret", good, []string{`VD308 error pgsql:v.cf "two@example.test"`, `VD308 warning pgsql:v.cf "void@example.test"`,
			`VD309 error pgsql:v.cf "Joe@example.test" Joe@example.test`}},
		{"pgsql login", "pgsql", pgsql.Addr, "s3cret2", good, []string{"VD306 error v.cf:3"}},
		{"pgsql query", "pgsql", pgsql.Addr, "s3cret", "SELECT v FROM gone WHERE k='%s'", []string{"VD307 error v.cf:5"}},
		{"pgsql names", "pgsql", pgsql.Addr, "s3cret", `SELECT v FROM t WHERE k="%s"`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := build(t, fmt.Sprintf("-- main.cf --\nvirtual_mailbox_domains = example.test\nvirtual_mailbox_base = /var/vmail\nvirtual_mailbox_maps = %s:{dir}/v.cf\n"+
				"-- v.cf --\nhosts = %s\nuser = mail\npassword = %s\ndbname = mail\nquery = %s\n", tt.typ, tt.addr, tt.password, tt.query))
			got := h.examine()
			if tt.want == nil { // the server takes a name in double quotes for a column
				if len(got) == 0 {
					t.Error("no finding")
				}
				return
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}
