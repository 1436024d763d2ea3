package compose

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/table"
)

// expressions are names of tables and the keys that each is asked for.
var expressions = []struct {
	spec string
	keys []string
}{
	{"inline:{a=b}", keys("a A b")},
	{"inline:{A=B}", keys("a A")},
	{"inline:{a=b, c=d}", keys("a c")},
	{"inline:{a=b,c=d e=f}", keys("a c e")},
	{"inline:{ a=b }", keys("a")},
	{"inline:{ { a = b c , d } }", keys("a")},
	{"inline:{{a=b} {c=d}}", keys("a c")},
	{"inline:{{a=b}{c=d}}", keys("a c")},
	{"inline:{{a=b}x}", keys("a")},
	{"inline:{x{a=b}}", keys("a x x{a x{a=b}")},
	{"inline:{{{a=b}}}", keys("a {a")},
	{"inline:{{a={b}}}", keys("a")},
	{"inline:{a={b c}}", keys("a")},
	{"inline:{a={b}, c=d}", keys("a c")},
	{"inline:{a=}", keys("a")},
	{"inline:{a=b=c}", keys("a")},
	{"inline:{a==c}", keys("a")},
	{"inline:{=b}", keys("a")},
	{"inline:{ { = b } }", keys("a")},
	{"inline:{a}", keys("a")},
	{"inline:{a=b, c}", keys("a")},
	{"inline:{{a b=c}}", keys("a")},
	{"inline:{{a b}}", keys("a")},
	{"inline:{{}}", keys("a")},
	{"inline:{{ }}", keys("a")},
	{"inline:{}", keys("a")},
	{"inline:{ }", keys("a")},
	{"inline:{,}", keys("a")},
	{"inline:{,a=b,,}", keys("a")},
	{"inline:{a=b", keys("a")},
	{"inline:a=b", keys("a")},
	{"inline:{a=b}x", keys("a")},
	{"inline:{a=b}}", keys("a")},
	{"inline:{{a=b}", keys("a")},
	{"inline:{{a=b}, {c=d", keys("a")},
	{"inline:{a=1, a=2}", keys("a")},
	{"inline:{a=1, A=2}", keys("a A")},
	{`inline:{"a b"=c}`, []string{`"a b"`, "a b"}},
	{`inline:{{"a b"=c}}`, []string{`"a b"`, "a b"}},
	{`inline:{{"a = b" = c}}`, []string{`"a = b"`}},
	{`inline:{{"a = c}}`, []string{`"a`}},
	{`inline:{{a\ b = c}}`, []string{`a\ b`}},
	{`inline:{{a\= = c}}`, []string{`a\=`}},
	{`inline:{{a\}}`, []string{`a\`}},
	{"inline:{{a\t=\tb\t}}", keys("a")},
	{"inline:{{a=b\vc}}", keys("a")},
	{"inline:{a@b.test=c@d.test}", keys("a@b.test A@B.TEST @b.test")},
	{"static:a", keys("x")},
	{"static:a b", keys("x")},
	{"static: a ", keys("x")},
	{"static:{a b}", keys("x")},
	{"static:{ a b }", keys("x")},
	{"static:{}", keys("x")},
	{"static:{ }", keys("x")},
	{"static:{a}b", keys("x")},
	{"static:{a", keys("x")},
	{"static:{{a}}", keys("x")},
	{"static:{{a} {b}}", keys("x")},
	{"static:a{b}", keys("x")},
	{"static:a}", keys("x")},
	{"static:", keys("x")},
	{"static:a:b", keys("x")},
	{"fail:x", keys("x")},
	{"fail:", keys("x")},
	{"fail:{a", keys("x")},
	{"randmap:{a}", keys("x")},
	{"randmap:{ a }", keys("x")},
	{"randmap:{a,}", keys("x")},
	{"randmap:{,a,,a}", keys("x")},
	{"randmap:{{a b}}", keys("x")},
	{"randmap:{{a}}", keys("x")},
	{"randmap:{{ a } { a }}", keys("x")},
	{"randmap:{}", keys("x")},
	{"randmap:{ }", keys("x")},
	{"randmap:{,}", keys("x")},
	{"randmap:{{}}", keys("x")},
	{"randmap:a", keys("x")},
	{"randmap:{a", keys("x")},
	{"randmap:{a}b", keys("x")},
	{"randmap:{{a}", keys("x")},
	{"randmap:{a}}", keys("x")},
	{"unionmap:{static:a}", keys("x")},
	{"unionmap:{static:a, static:b}", keys("x")},
	{"unionmap:{static:a static:b,static:a}", keys("x")},
	{"unionmap:{inline:{a=1}, inline:{a=2, b=3}, inline:{b=4}}", keys("a b c A")},
	{"unionmap:{inline:{a=}, inline:{a=2}}", keys("a b")},
	{"unionmap:{inline:{a=2}, inline:{a=}}", keys("a b")},
	{"unionmap:{inline:{a=}}", keys("a b")},
	{"unionmap:{inline:{a=1}, fail:x}", keys("a b")},
	{"unionmap:{fail:x, inline:{a=1}}", keys("a b")},
	{"unionmap:{unionmap:{static:a, static:b}, static:c}", keys("x")},
	{"unionmap:{pipemap:{inline:{a=b}, inline:{b=c}}, inline:{a=d}}", keys("a b")},
	{"unionmap:{static:{a b}, static:{c, d}}", keys("x")},
	{"unionmap:{}", keys("x")},
	{"unionmap:{ }", keys("x")},
	{"unionmap:{,}", keys("x")},
	{"unionmap:static:a", keys("x")},
	{"unionmap:{static:a", keys("x")},
	{"unionmap:{static:a}x", keys("x")},
	{"unionmap:{static}", keys("x")},
	{"unionmap:{static:a, b}", keys("x")},
	{"unionmap:{{static:a}}", keys("x")},
	{"unionmap:{static:}", keys("x")},
	{"unionmap:{:a}", keys("x")},
	{"unionmap:{nope:a}", keys("x")},
	{"unionmap:{static:a, nope:a}", keys("x")},
	{"unionmap:{static:a, inline:{}}", keys("x")},
	{"pipemap:{static:a}", keys("x")},
	{"pipemap:{inline:{a=b}, inline:{b=c}}", keys("a b A")},
	{"pipemap:{inline:{a=B}, inline:{b=c}}", keys("a")},
	{"pipemap:{inline:{a=b} inline:{b=c},inline:{c=d}}", keys("a b c")},
	{"pipemap:{inline:{a=b}, inline:{x=c}}", keys("a x")},
	{"pipemap:{inline:{a=}, inline:{x=c}}", keys("a")},
	{"pipemap:{inline:{a=b}, fail:x}", keys("a b")},
	{"pipemap:{inline:{a=b}, static:{c d}}", keys("a b")},
	{"pipemap:{}", keys("x")},
	{"pipemap:{static:a, b}", keys("x")},
	{"pipemap:{static:a", keys("x")},
	{"pipemap:{ static:a , inline:{ {a = b c} } }", keys("x")},
	{"environ:x", keys("postern_test POSTERN_TEST Postern_Empty postern_none")},
	{"environ:", keys("postern_test")},
	{"environ:{}", keys("postern_test")},
	{"unix:passwd.byname", keys("root ROOT nobody nosuchuser")},
	{"unix:group.byname", keys("root ROOT nogroup nosuchgroup")},
	{"unix:passwd", keys("root")},
	{"unix:", keys("root")},
	{"unix:passwd.byuid", keys("0")},
	{"nope:x", keys("x")},
	{"Static:x", keys("x")},
	{":x", keys("x")},
	{"static :x", keys("x")},
}

func keys(text string) []string { return strings.Fields(text) }

// said is what a lookup answers: the value in brackets, "-", "error" for a
// lookup that fails, or why there is no table.
func said(ctx context.Context, tab table.Table, openErr error, key string) string {
	if openErr != nil {
		text := openErr.Error()
		if _, reason, ok := strings.Cut(text, " is unavailable. "); ok {
			text = reason
		}
		text, _, _ = strings.Cut(text, ", did you mean ")
		return strings.TrimSpace(text)
	}
	r, err := tab.Lookup(ctx, key)
	switch {
	case err == nil:
		return "[" + r.Value + "]"
	case err == table.ErrNotFound:
		return "-"
	}
	return "error"
}

// TestPostfix compares each expression with Postfix's own postmap, the words of
// its errors included.
func TestPostfix(t *testing.T) {
	program, err := exec.LookPath("postmap")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("postmap is not installed")
		}
		t.Skip("postmap is not installed")
	}
	dir := t.TempDir()
	main := filepath.Join(dir, "main.cf")
	if err := os.WriteFile(main, []byte("compatibility_level = 3.6\nmyhostname = host.test\nimport_environment = postern_test POSTERN_TEST\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	// Postfix waits until a file that it reads stands still.
	if err := os.Chtimes(main, time.Time{}, time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("postern_test", "lower")
	t.Setenv("POSTERN_TEST", "upper")
	o := opener()
	t.Cleanup(func() { o.Close() })
	var wait sync.WaitGroup
	limit := make(chan struct{}, 100) // postmap sleeps for a second before it fails
	for _, e := range expressions {
		tab, openErr := o.Open(t.Context(), e.spec, table.Use{Fold: true})
		for _, key := range e.keys {
			wait.Go(func() {
				limit <- struct{}{}
				defer func() { <-limit }()
				got, want := said(t.Context(), tab, openErr, key), postmap(t, program, dir, e.spec, key)
				if got != want {
					t.Errorf("%s, key %q: %s, Postfix says %s", e.spec, key, got, want)
				}
			})
		}
	}
	wait.Wait()
}

// postmap is what postmap -q says, in the form of said.
func postmap(t *testing.T, program, dir, spec, key string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, "-c", dir, "-q", key, spec)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	_, fatal, isFatal := strings.Cut(strings.TrimSpace(stderr.String()), "fatal: ")
	switch {
	case err == nil:
		return "[" + strings.TrimSuffix(string(out), "\n") + "]"
	case strings.Contains(fatal, "query error"):
		return "error"
	case isFatal:
		return fatal
	}
	return "-"
}
