package postconf

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/syntax"
)

// logicalLines are the lines as the server reads them: name and text.
func logicalLines(text string) (names, lines []string) {
	for line, err := range syntax.Lines(strings.NewReader(text)) {
		name := line.Text
		if i := strings.IndexAny(name, "="+syntax.Blank); err == nil && i >= 0 {
			name = name[:i]
		}
		names, lines = append(names, name), append(lines, line.Text)
	}
	return names, lines
}

// without are the lines that do not set a parameter.
func without(text, name string) []string {
	var rest []string
	names, lines := logicalLines(text)
	for i := range names {
		if names[i] != name {
			rest = append(rest, lines[i])
		}
	}
	return rest
}

// FuzzEdit: after an edit the parameter has the value, or is not set any more,
// and nothing else has changed, comments included.
func FuzzEdit(f *testing.F) {
	f.Add("a = 1\n", "a", "2", 0)
	f.Add("# c\na = 1\n  2\n# c\n\n 3\nb=1", "a", "", 0)
	f.Add("a = 1\n 2\nb = 3\n\tx\na=1\n", "a", "x  y", 1)
	f.Add(" orphan\n#\nb\nb = \\\n #x\n y", "b", "", 2)
	f.Add("a\x00b = 1\r\n \r\n\v\fx = y", "\va", "#x", 0)
	f.Add("=\n=a\n", "x", "=", 0)
	f.Fuzz(func(t *testing.T, text, name, value string, action int) {
		do := Action(action)
		if do < Set || do > CommentOut {
			t.Skip()
		}
		arg := name
		if do == Set {
			arg += "=" + value
		}
		r, err := parseRequest(do, arg)
		if err != nil {
			t.Skip()
		}
		out := editMain(text, do, []*request{r})
		if got, want := without(out, r.name), without(text, r.name); !slices.Equal(got, want) {
			t.Fatalf("edit of %q in %q: other lines %q, want %q", arg, text, got, want)
		}
		names, lines := logicalLines(out)
		hits := 0
		for i, n := range names {
			if n != r.name {
				continue
			}
			hits++
			if got, v, err := nameValue(lines[i]); do == Set && (err != nil || got != r.name || v != r.value) {
				t.Fatalf("edit of %q in %q: line %q, want %q = %q", arg, text, lines[i], r.name, r.value)
			}
		}
		if do == Set && hits != max(1, r.found) || do != Set && hits > 0 {
			t.Fatalf("edit of %q in %q: %d entries in %q", arg, text, hits, out)
		}
		if got, want := comments(out), comments(text); do != CommentOut && got != want {
			t.Fatalf("edit of %q in %q: comments %q, want %q", arg, text, got, want)
		}
	})
}

func comments(text string) string {
	var b strings.Builder
	for _, p := range pieces(text) {
		if p.kind == filler {
			b.WriteString(strings.TrimSuffix(p.text, "\n") + "\n")
		}
	}
	return b.String()
}

// FuzzService: an entry that is written anew means the same.
func FuzzService(f *testing.F) {
	f.Add("smtp inet n - n - - smtpd -v -o a=b -o { c = d e } -vox=y")
	f.Add("a unix - - n 60? 1 pipe flags=X { a b } {} {-v} -o #x {{y} z} argv=/bin/a")
	f.Add("a unix - - - - - x -- -o a=b")
	f.Add("a fifo y y y 0 0 x {-v} a")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.ContainsAny(text, "\n") || !balanced(text) {
			t.Skip()
		}
		warned := false
		tool := &Tool{Warn: func(string) { warned = true }}
		s, err := tool.parseService(text)
		if err != nil || warned {
			t.Skip()
		}
		out, err := s.entry(true, nil)
		if err != nil {
			t.Fatal(err)
		}
		again, err := tool.parseService(logical(pieces(out + "\n")))
		if err != nil {
			t.Fatalf("%q becomes %q: %v", text, out, err)
		}
		if diff := cmp.Diff(s, again, cmp.AllowUnexported(service{}, daemonOption{})); diff != "" {
			t.Fatalf("%q becomes %q:\n%s", text, out, diff)
		}
	})
}

// balanced reports whether every word has its braces in pairs, and no option has
// any but around its value.
func balanced(text string) bool {
	for _, word := range syntax.Split(text, blanks) {
		depth := 0
		for i := range len(word) {
			switch word[i] {
			case '{':
				depth++
			case '}':
				if depth--; depth < 0 {
					return false
				}
			}
		}
		if depth != 0 || word[0] == '-' && strings.Contains(word, "{") {
			return false
		}
	}
	return true
}

// postfixTool is Postfix's postconf.
func postfixTool(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"postconf", "/usr/sbin/postconf"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("postconf of Postfix is missing")
	}
	t.Skip("postconf of Postfix is missing")
	return ""
}

func owner(st os.FileInfo) string {
	sys := st.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%d:%d", sys.Uid, sys.Gid)
}

func writeConfig(t *testing.T, main string) *Tool {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"main.cf": main, "master.cf": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	return &Tool{Dir: dir, Chosen: true, Warn: func(text string) { t.Error(text) }}
}

// TestEditorsWait: edits at the same time, half of them by Postfix's program, all
// have their effect.
func TestEditorsWait(t *testing.T) {
	postfix := postfixTool(t)
	tool := writeConfig(t, "a = b\n")
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			if err := tool.EditMain(t.Context(), Set, []string{fmt.Sprintf("ours%d=x", i)}); err != nil {
				t.Error(err)
			}
		})
		group.Go(func() {
			out, err := exec.Command(postfix, "-c", tool.Dir, "-e", fmt.Sprintf("theirs%d=x", i)).CombinedOutput()
			if err != nil {
				t.Errorf("postconf: %v: %s", err, out)
			}
		})
	}
	group.Wait()
	text, err := os.ReadFile(tool.path("main.cf"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		for _, who := range []string{"ours", "theirs"} {
			if line := fmt.Sprintf("%s%d = x\n", who, i); !strings.Contains(string(text), line) {
				t.Errorf("%q is lost", line)
			}
		}
	}
	if rest, err := filepath.Glob(tool.path("*.tmp")); err != nil || len(rest) > 0 {
		t.Errorf("left behind: %q, %v", rest, err)
	}
}

// TestReplaceFile: mode and owner stay, a failed edit changes nothing, and what
// a crash left behind does no harm.
func TestReplaceFile(t *testing.T) {
	tool := writeConfig(t, "a = b\n")
	main := tool.path("main.cf")
	if err := os.WriteFile(main+".tmp", []byte("debris"), 0o644); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := os.Chown(main, 1234, 1235); err != nil {
			t.Fatal(err)
		}
	}
	before, err := os.Stat(main)
	if err != nil {
		t.Fatal(err)
	}
	if err := tool.EditMain(t.Context(), Set, []string{"a=c"}); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(main)
	if err != nil || before.Mode() != after.Mode() || owner(before) != owner(after) {
		t.Errorf("mode %v of %s became %v of %s, %v", before.Mode(), owner(before), after.Mode(), owner(after), err)
	}
	failing := errors.New("no")
	if err := replaceFile(t.Context(), main, func(string) (string, error) { return "x", failing }); !errors.Is(err, failing) {
		t.Errorf("the error of the edit became %v", err)
	}
	if text, err := os.ReadFile(main); err != nil || string(text) != "a = c\n" {
		t.Errorf("main.cf is %q, %v", text, err)
	}
	if list, err := filepath.Glob(tool.path("*.tmp")); err != nil || len(list) > 0 {
		t.Errorf("left behind: %q, %v", list, err)
	}
}

// TestLockEnds: who waits for another editor can be stopped.
func TestLockEnds(t *testing.T) {
	tool := writeConfig(t, "a = b\n")
	err := replaceFile(t.Context(), tool.path("main.cf"), func(old string) (string, error) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := tool.EditMain(ctx, Set, []string{"a=c"}); err == nil {
			t.Error("a second editor did not wait")
		}
		return old, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestTableParams: the parameters of table types are those that Postfix knows.
func TestTableParams(t *testing.T) {
	postfix := postfixTool(t)
	all := map[string]bool{"nosuch": true}
	maps := "virtual_mailbox_maps ="
	for kind, params := range tableParams {
		maps += " " + kind + ":" + kind
		for _, p := range params {
			all[p] = true
		}
	}
	text := maps + "\n"
	for kind := range tableParams {
		for p := range all {
			text += kind + "_" + p + " = x\n"
		}
	}
	tool := writeConfig(t, text)
	out, err := exec.Command(postfix, "-c", tool.Dir, "-nH").Output()
	if err != nil {
		t.Fatal(err)
	}
	known := strings.Fields(string(out))
	for kind, params := range tableParams {
		for p := range all {
			if name := kind + "_" + p; slices.Contains(known, name) != slices.Contains(params, p) {
				t.Errorf("%s: Postfix knows it: %v", name, slices.Contains(known, name))
			}
		}
	}
}
