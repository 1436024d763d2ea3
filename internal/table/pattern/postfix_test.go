package pattern_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/table"
)

// TestPostfixRules compares whole tables with Postfix.
func TestPostfixRules(t *testing.T) {
	p := newPostfix(t)
	for _, typ := range []string{"regexp", "pcre", "cidr"} {
		t.Run(typ, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("testdata", typ+".keys"))
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", typ)
			tab, err := types()[typ](t.Context(), &table.Opener{}, path, table.Use{})
			if err != nil {
				t.Fatal(err)
			}
			defer tab.Close()
			keys := strings.Split(strings.TrimSpace(string(text)), "\n")
			found, _ := p.query(t, typ+":"+path, keys)
			for _, key := range keys {
				want, ok := found[key]
				if !ok {
					want = "-"
				}
				if got := answer(tab, key); got != want {
					t.Errorf("%s: Lookup(%q) = %q, Postfix says %q", path, key, got, want)
				}
			}
		})
	}
}

// answer is the value of a key, "-" when there is none, or the failure.
func answer(tab table.Table, key string) string {
	r, err := tab.Lookup(context.Background(), key)
	switch {
	case err == table.ErrNotFound:
		return "-"
	case err != nil:
		return err.Error()
	}
	return r.Value
}

// warnings is a Logger that keeps them.
type warnings []string

func (w *warnings) Infof(string, ...any) { /* of no interest */ }
func (w *warnings) Warningf(format string, args ...any) {
	*w = append(*w, fmt.Sprintf(format, args...))
}

var lineNumber = regexp.MustCompile(`, line (\d+): `)

// lineNumbers are the lines that warnings name, each once.
func lineNumbers(texts []string) string {
	var lines []string
	for _, text := range texts {
		if m := lineNumber.FindStringSubmatch(text); m != nil && !slices.Contains(lines, m[1]) {
			lines = append(lines, m[1])
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, " ")
}

// postfix runs Postfix's postmap in a configuration directory of its own.
type postfix struct{ program, dir string }

func newPostfix(t *testing.T) postfix {
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
	return postfix{program, dir}
}

// query asks for all keys, which have no tabs. It returns what was found, and
// the warnings.
func (p postfix) query(t *testing.T, spec string, keys []string) (found map[string]string, complaints []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), p.program, "-c", p.dir, "-u", "-q", "-", spec)
	cmd.Stdin = strings.NewReader(strings.Join(keys, "\n") + "\n")
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run() // status 1: no key was found
	if exit, ok := err.(*exec.ExitError); err != nil && (!ok || exit.ExitCode() != 1 || strings.Contains(stderr.String(), "fatal")) {
		text, _ := os.ReadFile(strings.SplitN(spec, ":", 2)[1])
		t.Errorf("postmap -q - %s: %v, %s\n%s", spec, err, stderr.String(), text)
	}
	found = make(map[string]string)
	for line := range strings.SplitSeq(strings.TrimSuffix(out.String(), "\n"), "\n") {
		if key, value, ok := strings.Cut(line, "\t"); ok {
			found[key] = value
		}
	}
	for line := range strings.SplitSeq(stderr.String(), "\n") {
		if lineNumber.MatchString(line) { // and not of an empty result
			complaints = append(complaints, line)
		}
	}
	return found, complaints
}
