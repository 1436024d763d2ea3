package sql_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/table"
	"postern/internal/table/sql"
)

// peer is Postfix's postmap with tables of a type, or the end of the test.
func peer(t testing.TB, typ string) string {
	t.Helper()
	program, err := exec.LookPath("postmap")
	if err != nil {
		program, err = exec.LookPath("/usr/sbin/postmap")
	}
	if err == nil {
		out, _ := exec.Command(filepath.Dir(program)+"/postconf", "-m").Output()
		if !strings.Contains("\n"+string(out), "\n"+typ+"\n") {
			err = exec.ErrNotFound
		}
	}
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("Postfix with %s tables is not installed", typ)
		}
		t.Skipf("Postfix with %s tables is not installed", typ)
	}
	return program
}

// postmap asks Postfix for keys without line ends. Absent keys are left out.
func postmap(t testing.TB, program, typ, cf string, keys []string) map[string]string {
	t.Helper()
	dir := filepath.Dir(cf)
	main := filepath.Join(dir, "main.cf")
	if err := os.WriteFile(main, []byte("compatibility_level = 3.6\nmyhostname = host.test\nsmtputf8_enable = yes\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{main, cf} { // Postfix waits until a file stands still
		if err := os.Chtimes(file, time.Time{}, time.Unix(0, 0)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, "-c", dir, "-q", "-", typ+":"+cf)
	cmd.Stdin = strings.NewReader(strings.Join(keys, "\n") + "\n")
	out, err := cmd.Output() // status 1: no key was found
	if exit, ok := err.(*exec.ExitError); ok && (exit.ExitCode() != 1 || strings.Contains(string(exit.Stderr), "fatal:")) {
		t.Fatalf("postmap: %s", exit.Stderr)
	}
	found := make(map[string]string)
	for _, line := range strings.Split(strings.TrimSuffix(string(out), "\n"), "\n") {
		if key, value, ok := strings.Cut(line, "\t"); ok {
			found[key] = value
		}
	}
	return found
}

// randomKeys are keys of which some are in the tables and most are odd.
func randomKeys(r *rand.Rand, n int) []string {
	words := strings.Fields(`john o'neil team jeff user @ @ . example.org example.test a.b.example holes null mixed 100% 5 %s ' " \ \' -- ; /* ü \xff ? $1 ' OR '1'='1`)
	words = append(words, " ", "\xff", "\xc3", strings.Repeat("x", 300))
	keys := strings.Fields("john@example.org o'neil@example.org team@example.org @example.test example.org example.test jeff@a.b.example team@example.test holes null empty mixed o'neil 100% 5 %s user@b.a.example @ a@b@c.example user@a..example JOHN@Example.ORG")
	for range n {
		var key strings.Builder
		for range 1 + r.IntN(4) {
			key.WriteString(words[r.IntN(len(words))])
		}
		k := strings.Trim(key.String(), " ")
		if strings.HasSuffix(k, `\`) {
			k += "x" // PostgreSQL fails on a pattern that ends so
		}
		if k != "" {
			keys = append(keys, k)
		}
	}
	return keys
}

// queries are .cf files, with what every database understands.
var queries = []string{
	"query = SELECT 1 FROM virtual_domains WHERE name='%s'",
	"query = SELECT 1 FROM virtual_users WHERE email='%s'",
	"query = SELECT destination FROM virtual_aliases WHERE source='%s' ORDER BY id",
	"query = SELECT email FROM virtual_users WHERE email='%s'\nresult_format = %d/%u/",
	"query = SELECT concat(email, ' ', domain_id) FROM virtual_users WHERE email='%u@%d' AND '%2.%1' <> 'x'\nresult_format = <%s|%S|%U|%D|%1>",
	"table = virtual_aliases\nselect_field = destination\nwhere_field = source\nadditional_conditions = AND domain_id IN (1, 2) ORDER BY id DESC",
	"query = SELECT destination FROM aliases WHERE source = '%s' ORDER BY note\nresult_format = %u",
	"query = SELECT note FROM aliases WHERE destination LIKE '%%@%d' OR lower('%u') = source ORDER BY note",
	"query = SELECT 'v', id, id * 2 FROM virtual_users WHERE '%s' <> '' ORDER BY id\ndomain = example.test, !a.example a.b.example",
	"query = SELECT name FROM virtual_domains WHERE id = 1 AND '[%s]' LIKE '%%' AND '%U' = '%u'",
}

// TestServerPostfix compares with Postfix's own tables on the same databases.
func TestServerPostfix(t *testing.T) {
	r := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	for _, e := range engines(t) {
		program := peer(t, e.name)
		for i, cf := range queries {
			t.Run(fmt.Sprintf("%s/%d", e.name, i), func(t *testing.T) {
				compare(t, program, e.name, e.file(t, e.login()+cf+"\n"), e.open, randomKeys(r, 150))
			})
		}
	}
}

// TestOptionFilePostfix holds that where Postfix reaches its server by an option
// file, we do.
func TestOptionFilePostfix(t *testing.T) {
	e := mysqlEngine(t)
	program := peer(t, "mysql")
	for _, host := range []string{"localhost", "127.0.0.1"} {
		for _, user := range []string{"plain", "secret IDENTIFIED BY 'x'"} {
			name, password, _ := strings.Cut(user, " ")
			e.run(t, "CREATE USER "+name+"@"+host+" "+password, "GRANT SELECT ON aliases TO "+name+"@"+host)
		}
	}
	for _, tt := range []struct {
		options, cf string
		ours        bool // Postfix takes no password from an option file, we do
	}{
		{options: "user=plain\nsocket={socket}"},
		{options: "user=secret\npassword=x\nsocket={socket}", ours: true},
		{options: "user=secret\npassword=x\nsocket={socket}", cf: "user = plain"},
		{options: "user=plain\npassword=y\nsocket={socket}", cf: "user = secret\npassword = x"},
		{options: "user=plain\nhost=127.0.0.1\nport={port}", cf: "hosts = localhost"},
		{options: "user=plain\nport={port}", cf: "hosts = 127.0.0.1"},
		{options: "user=plain\nport={port}\nhost=127.0.0.1", cf: "hosts = unix:/nonexistent"},
		{options: "user=plain\nport=1\nsocket=/nonexistent", cf: "hosts = 127.0.0.1:{port}"},
		{options: "user=plain\nsocket={socket}", cf: "hosts = inet:LOCALHOST:{port}"},
		{options: "[mysql]\nuser=plain\n[client]\nsocket={socket}", cf: "option_group = mysql"},
		{options: "[client-server]\nuser=plain\n[client-mariadb]\nsocket={socket}", cf: "option_group ="},
	} {
		fill := strings.NewReplacer("{socket}", e.Socket, "{port}", e.Port)
		path := e.file(t, "")
		options := filepath.Join(filepath.Dir(path), "my.cnf")
		text := fill.Replace(tt.cf) + "\ndbname = mail\noption_file = " + options + "\n" + aliasQuery
		for file, text := range map[string]string{path: text, options: "[client]\n" + fill.Replace(tt.options) + "\n"} {
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		tab := e.tableAt(t, &table.Opener{}, path, table.Use{})
		if got, err := tab.Lookup(t.Context(), "o'neil"); err != nil || got.Value != "quote" {
			t.Errorf("%q, %q: %q, %v", tt.options, tt.cf, got.Value, err)
		}
		if tt.ours {
			continue
		}
		if found := postmap(t, program, "mysql", path, []string{"o'neil"}); found["o'neil"] != "quote" {
			t.Errorf("%q, %q: Postfix finds %q", tt.options, tt.cf, found)
		}
	}
}

// TestSQLitePostfix does the same with sqlite:, and with values of all types.
func TestSQLitePostfix(t *testing.T) {
	program := peer(t, "sqlite")
	r := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	statements := append(append([]string(nil), serverTables...),
		"CREATE TABLE typed (k TEXT, d DATE, t TIMESTAMP, f REAL, i INTEGER, b BLOB, n NUMERIC, x)",
		"INSERT INTO typed VALUES ('john@example.org', '2026-01-02', '2026-01-02 03:04:05', 1e30, 1767322800, x'414243', 2.50, 0.1), ('o''neil', 1767322800, '2026-01-02T03:04:05Z', 3.0, -1, 'text', '1e5', NULL)")
	configs := append([]string(nil), queries...)
	for _, column := range strings.Fields("d t f i b n x d||t f/4 *") {
		configs = append(configs, "query = SELECT "+column+" FROM typed WHERE k = '%s'")
	}
	for i, cf := range configs {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			cf = strings.Replace(cf, "concat(email, ' ', domain_id)", "email || ' ' || domain_id", 1)
			dir := write(t, "dbpath = {dir}/mail.db\n"+cf+"\n", statements...)
			compare(t, program, "sqlite", dir+"/t.cf", sql.SQLite, randomKeys(r, 50))
		})
	}
}

// compare asks both.
func compare(t *testing.T, program, typ, cf string, open table.Constructor, keys []string) {
	t.Helper()
	o := &table.Opener{UTF8: true, Types: map[string]table.Constructor{typ: open}}
	defer o.Close()
	tab, err := o.Open(t.Context(), typ+":"+cf, table.Use{Fold: true})
	if err != nil {
		t.Fatal(err)
	}
	found := postmap(t, program, typ, cf, keys)
	for _, key := range keys {
		want, ok := found[key]
		if !ok {
			want = "-"
		}
		if got := ask(t, tab, key); got != want {
			_, err := tab.Lookup(t.Context(), key)
			text, _ := os.ReadFile(cf)
			t.Errorf("%s\nLookup(%q) = %q, %v, Postfix says %q", text, key, got, err, want)
		}
	}
}
