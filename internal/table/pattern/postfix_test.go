package pattern_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/table"
)

// postmap asks Postfix's own program for keys in a table and returns the keys
// that it finds with their values.
func postmap(t *testing.T, spec string, keys []string) map[string]string {
	t.Helper()
	program, err := exec.LookPath("postmap")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("postmap is not installed")
		}
		t.Skip("postmap is not installed")
	}
	dir := t.TempDir()
	main := filepath.Join(dir, "main.cf")
	if err := os.WriteFile(main, []byte("compatibility_level = 3.6\nmyhostname = host.test\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	// Postfix waits until a file that it reads stands still.
	if err := os.Chtimes(main, time.Time{}, time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-c", dir, "-u", "-q", "-", spec)
	cmd.Stdin = strings.NewReader(strings.Join(keys, "\n") + "\n")
	out, err := cmd.Output() // status 1: no key was found
	if exit, ok := err.(*exec.ExitError); err != nil && (!ok || strings.Contains(string(exit.Stderr), "fatal")) {
		t.Fatalf("postmap -q - %s: %v", spec, err)
	}
	found := make(map[string]string)
	for _, line := range strings.Split(strings.TrimSuffix(string(out), "\n"), "\n") {
		if key, value, ok := strings.Cut(line, "\t"); ok {
			found[key] = value
		}
	}
	return found
}

// compare holds that our table and Postfix's answer all keys alike.
func compare(t *testing.T, typ, path string, keys []string) {
	t.Helper()
	tab, err := types()[typ](context.Background(), &table.Opener{}, path, table.Use{})
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Close()
	found := postmap(t, typ+":"+path, keys)
	for _, key := range keys {
		want, ok := found[key]
		if !ok {
			want = "-"
		}
		got := ask(t, tab, key)
		if got != want {
			text, _ := os.ReadFile(path)
			t.Errorf("%s table\n%sLookup(%q) = %q, Postfix says %q", typ, text, key, got, want)
		}
	}
}

// TestPostfixRules compares whole tables.
func TestPostfixRules(t *testing.T) {
	for _, typ := range []string{"regexp", "pcre", "cidr"} {
		t.Run(typ, func(t *testing.T) {
			keys, err := os.ReadFile(filepath.Join("testdata", typ+".keys"))
			if err != nil {
				t.Fatal(err)
			}
			compare(t, typ, filepath.Join("testdata", typ), strings.Split(strings.TrimSpace(string(keys)), "\n"))
		})
	}
}

// TestPostfixExpressions compares random expressions on random keys: whether
// they match, and what $1 is when a group is the whole match.
func TestPostfixExpressions(t *testing.T) {
	random := rand.New(rand.NewPCG(20, 20))
	keys := []string{"a", "b", "ab", "aab", "abab", "c", "A", "B1", "_", "a_b", "a b", "a.b", "(a)", "a*", "a+b", "{1}", "\\", "]", "-", "^a", "a$", "ba", "bbb", "1", "a1b2", "\xe9", "\xc3\xa9x", "|"}
	for range 150 {
		flags := []string{"", "i", "m", "x", "ix"}[random.IntN(5)]
		body := randomExpression(random, 3)
		result := "$1"
		if strings.Contains(flags, "x") {
			body = `\(` + body + `\)`
		} else {
			body = "(" + body + ")"
		}
		path := write(t, fmt.Sprintf("/%s/%s [%s]\n/^/ none\n", body, flags, result))
		compare(t, "regexp", path, keys)
	}
}

// randomExpression writes something like an expression of either syntax,
// without '/' and alternatives, whose engines agree on the whole match.
func randomExpression(random *rand.Rand, depth int) string {
	atoms := []string{
		"a", "b", "c", "1", "_", ".", "[ab]", "[^ab]", "[[:alpha:]]", "[]a]", "[^]a]", "[a-c]", "[\\]", "[a\\d]", "[[.-.]]", "[[=a=]]", "[-a]", "[a-]", "[^[:space:]]",
		`\.`, `\w`, `\W`, `\s`, `\S`, `\d`, `\\`, "^", "$", `\b`, `\B`, `\<`, `\>`, "\\`", `\'`, "*", "+", "?", "{", "}", "]", ")", `\*`, `\+`, `\?`, `\{`, `\}`, "\xe9", "\xc3",
		"[b-a]", "[[:foo:]]", "[[.ab.]]", "[a-[:digit:]]", "[+--]", "[a-b-c]", `\n`, " ",
	}
	repeats := []string{"*", "+", "?", "{2}", "{1,}", "{,2}", "{1,2}", "{0}", "{2,1}", "{x", "{1", `\{1,2\}`, `\+`, `\?`, "**", "*?", "{1}{2}"}
	var b strings.Builder
	for range 1 + random.IntN(3) {
		switch n := random.IntN(8); {
		case n < 2 && depth > 0:
			b.WriteString("(" + randomExpression(random, depth-1) + ")")
		case n == 2 && depth > 0:
			b.WriteString(`\(` + randomExpression(random, depth-1) + `\)`)
		case n == 3 && depth > 0:
			b.WriteString("(" + randomExpression(random, depth-1) + "|" + randomExpression(random, depth-1) + ")")
		default:
			b.WriteString(atoms[random.IntN(len(atoms))])
		}
		if random.IntN(3) == 0 {
			b.WriteString(repeats[random.IntN(len(repeats))])
		}
	}
	return b.String()
}
