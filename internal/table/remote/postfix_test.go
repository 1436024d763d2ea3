package remote

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/table"
)

// postfix runs Postfix's own postmap.
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
	p := postfix{program, t.TempDir()}
	main := filepath.Join(p.dir, "main.cf")
	if err := os.WriteFile(main, []byte("compatibility_level = 3.6\nmyhostname = host.test\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	// Postfix waits until a file that it reads stands still.
	if err := os.Chtimes(main, time.Time{}, time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	return p
}

// query is what postmap says of one key, in the form of answer; a failure is
// "error".
func (p postfix) query(t *testing.T, spec, key string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), p.program, "-c", p.dir, "-u", "-q", key, spec)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	switch {
	case err == nil:
		return "[" + strings.TrimSuffix(string(out), "\n") + "]"
	case strings.Contains(stderr.String(), "query error"):
		return "error"
	case stderr.Len() == 0:
		return "-"
	}
	t.Errorf("postmap -q %q %s: %v, %s", key, spec, err, stderr.String())
	return ""
}

// class is an answer with all failures alike.
func class(answer string) string {
	if answer != "-" && !strings.HasPrefix(answer, "[") {
		return "error"
	}
	return answer
}

// TestPostfixReplies compares what is made of replies, good ones and odd ones.
func TestPostfixReplies(t *testing.T) {
	p := newPostfix(t)
	each(t, func(t *testing.T, k kind) {
		var wait sync.WaitGroup
		for _, tt := range replies[k.typ] {
			// Postfix tries ten times, a second apart, when tcp: gets no line.
			slow := k.typ == "tcp" && (!strings.HasSuffix(tt.reply, "\n") || len(tt.reply) > readAhead)
			if slow && os.Getenv("SOAK") == "" {
				continue
			}
			_, tab := k.start(t, &table.Opener{}, func(string) string { return tt.reply })
			wait.Go(func() { // postmap sleeps for a second before it fails
				if got, want := class(answer(tab, "key")), p.query(t, tab.Name(), "key"); got != want {
					t.Errorf("reply %.50q: %.200s, Postfix says %.200s", tt.reply, got, want)
				}
			})
		}
		wait.Wait()
	})
}

// TestPostfixQuestions compares what is sent for odd keys.
func TestPostfixQuestions(t *testing.T) {
	p := newPostfix(t)
	keys := []string{"a", "A", "a b", "a\tb", "a%b", "100%", "%41", "a:b", "1:a", "caf\xc3\xa9", "\xff\xfe", "\x01\x1f\x7f", "line\nbreak", "cr\r", " a ", "'\"\\", "info@example.test", strings.Repeat("x", 2000)}
	each(t, func(t *testing.T, k kind) {
		var mu sync.Mutex
		var asked []string
		end := byte('\n')
		if k.typ == "socketmap" {
			end = ',' // no key has one
		}
		raw := func(in *bufio.Reader) (string, error) {
			text, err := in.ReadString(end)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				asked = append(asked, text)
			}
			return "", err
		}
		s := serve(t, k.network, raw, func(string) string { return k.missing })
		tab := k.table(t, &table.Opener{}, s)
		for _, key := range keys {
			if got, want := answer(tab, key), p.query(t, tab.Name(), key); got != "-" || want != "-" {
				t.Fatalf("Lookup(%q): %s, Postfix says %s", key, got, want)
			}
			mu.Lock()
			if len(asked) != 2 || asked[0] != asked[1] {
				t.Errorf("questions for key %q: %q, want the same twice", key, asked)
			}
			asked = nil
			mu.Unlock()
		}
	})
}
