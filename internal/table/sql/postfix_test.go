package sql_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/table"
)

// TestPostfix compares templates with Postfix's own sqlite tables.
func TestPostfix(t *testing.T) {
	program, err := exec.LookPath("postmap")
	if err == nil {
		if out, _ := exec.Command("postconf", "-m").Output(); !strings.Contains(string(out), "sqlite") {
			err = exec.ErrNotFound
		}
	}
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("Postfix with sqlite tables is not installed")
		}
		t.Skip("Postfix with sqlite tables is not installed")
	}
	keys := strings.Fields("user@b.a.example user @b.a.example user@ user@example user@a..example user@.example a@b@c.example @ x@b.a.example. jeff@a.b.example team@example.test holes null empty mixed o'neil 100% 5 %s")
	var configs []string
	for _, letter := range strings.Fields("%s %u %d %S %U %D %1 %2 %3 %u|%d %% x%%y %1%u") {
		configs = append(configs, "query = SELECT '["+letter+"]'",
			"query = SELECT destination, note FROM aliases WHERE source='%s'\nresult_format = <"+letter+">")
	}
	configs = append(configs,
		"query = SELECT destination FROM aliases WHERE source='%s'\nresult_format = const",
		"query = SELECT 'v'\ndomain = example.test, !a.example a.b.example",
		"query = SELECT note FROM aliases WHERE destination LIKE '%%@%d' OR lower('%u')=source",
		"table = aliases\nselect_field = destination\nwhere_field = source\nadditional_conditions = AND note <> '%u'",
		"query = SELECT 1 FROM aliases WHERE source = '%s' OR source = 'it''s %u' -- %%",
	)
	for _, cf := range configs {
		tab, _, dir := open(t, "dbpath = {dir}/mail.db\n"+cf+"\n", table.Use{})
		main := filepath.Join(dir, "main.cf")
		if err := os.WriteFile(main, []byte("compatibility_level = 3.6\nmyhostname = host.test\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		// Postfix waits until a file that it reads stands still.
		for _, file := range []string{main, dir + "/t.cf"} {
			if err := os.Chtimes(file, time.Time{}, time.Unix(0, 0)); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command(program, "-c", dir, "-q", "-", "sqlite:"+dir+"/t.cf")
		cmd.Stdin = strings.NewReader(strings.Join(keys, "\n") + "\n")
		out, _ := cmd.Output() // status 1: no key was found
		found := make(map[string]string)
		for _, line := range strings.Split(strings.TrimSuffix(string(out), "\n"), "\n") {
			if key, value, ok := strings.Cut(line, "\t"); ok {
				found[key] = value
			}
		}
		for _, key := range keys {
			want, ok := found[key]
			if !ok {
				want = "-"
			}
			if got := ask(t, tab, key); got != want {
				t.Errorf("%s\nLookup(%q) = %q, Postfix says %q", cf, key, got, want)
			}
		}
	}
}
