package pattern_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/origin"
	"postern/internal/table"
	"postern/internal/table/pattern"
	"postern/internal/table/tabletest"
)

// recorder keeps warnings.
type recorder struct {
	mu    sync.Mutex
	lines []string
}

func (r *recorder) Infof(string, ...any) {}

func (r *recorder) Warningf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

// take returns the warnings since the last call.
func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := r.lines
	r.lines = nil
	return lines
}

func types() map[string]table.Constructor {
	return map[string]table.Constructor{"regexp": pattern.Regexp, "pcre": pattern.Pcre, "cidr": pattern.Cidr}
}

// write stores text in a new file.
func write(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// open opens a table of typ with these lines; the warnings go to the recorder
// without the name of the file.
func open(t testing.TB, typ, text string, use table.Use) (table.Table, *recorder) {
	t.Helper()
	log := new(recorder)
	tab, err := types()[typ](context.Background(), &table.Opener{Log: log}, write(t, text), use)
	if err != nil {
		t.Fatalf("open %s of %q: %v", typ, text, err)
	}
	t.Cleanup(func() { tab.Close() })
	return tab, log
}

// ask returns the value of a key, or "-" when it is not found.
func ask(t testing.TB, tab table.Table, key string) string {
	t.Helper()
	got, err := tab.Lookup(context.Background(), key)
	if err == table.ErrNotFound {
		return "-"
	}
	if err != nil {
		t.Fatalf("Lookup(%q): %v", key, err)
	}
	return got.Value
}

func TestConformance(t *testing.T) {
	for _, typ := range []string{"regexp", "pcre"} {
		t.Run(typ, func(t *testing.T) {
			open := func(t *testing.T, use table.Use, rows []tabletest.Row) table.Table {
				var text strings.Builder
				for _, r := range rows {
					fmt.Fprintf(&text, "/^%s$/ %s\n", strings.ReplaceAll(regexp.QuoteMeta(r.Key), "/", `\/`), r.Value)
				}
				tab, _ := open(t, typ, text.String(), use)
				return tab
			}
			tabletest.Suite{Open: open, Caseless: true}.Run(t)
		})
	}
	t.Run("cidr", func(t *testing.T) {
		open := func(t *testing.T, use table.Use, rows []tabletest.Row) table.Table {
			var text strings.Builder
			for _, r := range rows {
				fmt.Fprintf(&text, "%s %s\n", r.Key, r.Value)
			}
			tab, _ := open(t, "cidr", text.String(), use)
			return tab
		}
		tabletest.Suite{
			Open:     open,
			Stored:   []string{"192.0.2.1", "192.0.2.2", "2001:db8::1"},
			Absent:   []string{"192.0.2.3", "2001:db8::2", "192.0.2", "example.test", "::ffff:192.0.2.1"},
			Caseless: true,
		}.Run(t)
	})
}

func TestOrigin(t *testing.T) {
	path := write(t, "# first\n/^a/ x\n/^b(.)/ long\n  value $1\n")
	tab, err := pattern.Regexp(t.Context(), &table.Opener{}, path, table.Use{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := tab.Lookup(t.Context(), "bc")
	want := table.Result{Value: "long  value c", At: []origin.At{{File: path, Line: 3, Text: "/^b(.)/ long  value $1"}}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("Lookup(bc): %v (-want +got)\n%s", err, diff)
	}
	use := table.Use{At: origin.At{File: "main.cf", Line: 7, Text: "virtual_alias_maps = regexp:{...}"}}
	tab, err = pattern.Regexp(t.Context(), &table.Opener{}, "{{/^a/ x}, {/^b/ y}}", use)
	if err != nil {
		t.Fatal(err)
	}
	got, err = tab.Lookup(t.Context(), "b")
	want = table.Result{Value: "y", At: []origin.At{use.At}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("inline: Lookup(b): %v (-want +got)\n%s", err, diff)
	}
	if traits := tab.Traits(); !traits.InPlace || !traits.Pattern {
		t.Errorf("inline: Traits() = %+v, want both", traits)
	}
}

func TestInline(t *testing.T) {
	tests := []struct {
		typ, name, key, want, wantErr string
	}{
		{"regexp", "{{/a(.)/ x$1}, {/b/ y}}", "ab", "xb", ""},
		{"regexp", "{{/a/ x}, {/b{1,2}/ y}}", "b", "y", ""},
		{"regexp", "{{if /a/},{/ab/ x},{endif}}", "ab", "x", ""},
		{"regexp", "{{ # comment },{},{/ab/ x}}", "ab", "x", ""},
		{"regexp", "{{/ab/ a, b, {c}}}", "ab", "a, b, {c}", ""},
		{"regexp", "{\n {/ab/ x}\n {/q/ y}}", "q", "y", ""},
		{"regexp", "{}", "ab", "-", ""},
		{"cidr", "{{10.0.0.0/8 x}}", "10.1.2.3", "x", ""},
		{"pcre", "{{/^a(?=b)/ x}}", "ab", "x", ""},
		{"regexp", "{/a/ x}", "", "", "each rule needs braces"},
		{"regexp", "{{/a/ x} junk}", "", "", `"junk"`},
		{"regexp", "{{/ax/ x}", "", "", "regexp map: missing '}' in"},
	}
	for _, tt := range tests {
		tab, err := types()[tt.typ](t.Context(), &table.Opener{Log: new(recorder)}, tt.name, table.Use{})
		if tt.wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("open %s:%s: %v, want %q in it", tt.typ, tt.name, err, tt.wantErr)
			}
			continue
		}
		if err != nil {
			t.Errorf("open %s:%s: %v", tt.typ, tt.name, err)
			continue
		}
		if got := ask(t, tab, tt.key); got != tt.want {
			t.Errorf("%s:%s: Lookup(%q) = %q, want %q", tt.typ, tt.name, tt.key, got, tt.want)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	_, err := pattern.Regexp(t.Context(), &table.Opener{}, missing, table.Use{})
	if want := "open " + missing + ": No such file or directory"; err == nil || err.Error() != want || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v, want %q", err, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := pattern.Cidr(ctx, &table.Opener{}, missing, table.Use{}); !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %v, want context.Canceled", err)
	}
}

func TestRelativeName(t *testing.T) {
	path := write(t, "/a/ found\n")
	o := &table.Opener{Dir: filepath.Dir(path), RelativeNames: true}
	tab, err := pattern.Regexp(t.Context(), o, "rules", table.Use{})
	if err != nil {
		t.Fatal(err)
	}
	if got := ask(t, tab, "a"); got != "found" {
		t.Errorf("Lookup(a) = %q, want found", got)
	}
	if tab.Name() != "regexp:rules" {
		t.Errorf("Name() = %q, want the configured one", tab.Name())
	}
}

// TestReload moves the clock: a changed file is seen at the next check.
func TestReload(t *testing.T) {
	path := write(t, "/a/ old\n")
	now := time.Now()
	log := new(recorder)
	o := &table.Opener{Log: log, Now: func() time.Time { return now }}
	tab, err := pattern.Regexp(t.Context(), o, path, table.Use{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("/a/ new\n/b(/ broken\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, tab, "a"); got != "old" {
		t.Errorf("before the check: Lookup(a) = %q, want old", got)
	}
	now = now.Add(time.Minute)
	if got := ask(t, tab, "a"); got != "new" {
		t.Errorf("after the check: Lookup(a) = %q, want new", got)
	}
	want := []string{"regexp map " + path + `, line 2: unmatched ( or \(: skipping this rule`}
	if diff := cmp.Diff(want, log.take()); diff != "" {
		t.Errorf("warnings (-want +got)\n%s", diff)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	if got := ask(t, tab, "a"); got != "new" {
		t.Errorf("after the file has gone: Lookup(a) = %q, want new", got)
	}
}

func TestBacktrackingLimit(t *testing.T) {
	tab, _ := open(t, "pcre", "/^x/ x\n/^(a+)+$/ y\n", table.Use{})
	_, err := tab.Lookup(t.Context(), strings.Repeat("a", 40)+"!")
	var e *table.Error
	if !errors.As(err, &e) || e.At.Line != 2 || !strings.Contains(err.Error(), "backtracking") {
		t.Errorf("Lookup of a costly key: %v, want an *Error that names line 2", err)
	}
	if got := ask(t, tab, "aaa"); got != "y" {
		t.Errorf("Lookup(aaa) = %q, want y", got)
	}
}

func TestInvalidUTF8InUTFPattern(t *testing.T) {
	tab, _ := open(t, "pcre", "/(*UTF)^.$/ one character\n", table.Use{})
	if got := ask(t, tab, "\u00e9"); got != "one character" {
		t.Errorf("Lookup = %q, want one character", got)
	}
	_, err := tab.Lookup(t.Context(), "\xe9")
	var e *table.Error
	if !errors.As(err, &e) {
		t.Errorf("Lookup of invalid UTF-8: %v, want an *Error", err)
	}
}

// TestLongKeys makes the subject buffer of PCRE2 grow.
func TestLongKeys(t *testing.T) {
	tab, _ := open(t, "pcre", `/^(.*)b(c)?(.)$/ $1-$2-$3`+"\n", table.Use{})
	for _, n := range []int{0, 1, 255, 256, 257, 5000, 10} {
		a := strings.Repeat("a", n)
		if got, want := ask(t, tab, a+"bx"), a+"--x"; got != want {
			t.Errorf("key of %d bytes: got %d bytes, want %d", n+2, len(got), len(want))
		}
	}
}
