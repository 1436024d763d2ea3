package cf

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/table"
)

// logger keeps warnings.
type logger struct{ lines []string }

func (l *logger) Infof(string, ...any) {}

func (l *logger) Warningf(format string, args ...any) {
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

func load(t *testing.T, text string, known ...string) (*Settings, *logger) {
	t.Helper()
	path, log := filepath.Join(t.TempDir(), "t.cf"), new(logger)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Load(&table.Opener{Log: log}, path, known)
	if err != nil {
		t.Fatal(err)
	}
	return s, log
}

func TestValues(t *testing.T) {
	s, _ := load(t, "n = 3\nzero = 0\nbad = x\ny = YES\nno = no\nmaybe = 1\nold = a\nnew = b\nformer = c\n",
		"n", "zero", "bad", "y", "no", "maybe", "old", "new", "former", "unset")
	for _, tt := range []struct {
		name            string
		fallback, least int
		want            string
	}{
		{"n", 9, 1, "3 <nil>"}, {"unset", 9, 1, "9 <nil>"}, {"zero", 9, 0, "0 <nil>"},
		{"zero", 9, 1, "0 t.cf, line 2: zero: must be at least 1"}, {"bad", 9, 1, `0 t.cf, line 3: bad: "x" is not a number from 0 to 2147483647`},
	} {
		n, err := s.NumberOr(tt.name, tt.fallback, tt.least)
		if got := base(fmt.Sprint(n, " ", err)); got != tt.want {
			t.Errorf("NumberOr(%q, %d, %d) = %s, want %s", tt.name, tt.fallback, tt.least, got, tt.want)
		}
	}
	for name, want := range map[string]string{"y": "true <nil>", "no": "false <nil>", "unset": "false <nil>", "maybe": `false t.cf, line 6: maybe: "1" is neither yes nor no`} {
		b, err := s.Bool(name)
		if got := base(fmt.Sprint(b, " ", err)); got != want {
			t.Errorf("Bool(%q) = %s, want %s", name, got, want)
		}
	}
	s.Former("new", "old")
	s.Former("unset", "former")
	s.Former("n", "none")
	if got := s.Get("new") + s.Get("unset") + s.Get("n"); got != "bc3" {
		t.Errorf("after Former: %q, want bc3", got)
	}
}

// base leaves out the directory of t.cf.
func base(text string) string {
	if i := strings.Index(text, " /"); i >= 0 {
		return text[:i+1] + text[strings.Index(text, "t.cf"):]
	}
	return text
}

// TestSecrets holds that passwords are in no message and no place.
func TestSecrets(t *testing.T) {
	s, log := load(t, "bind_pw = s3cret\nbind_pw = s3cret2\n", "bind_pw")
	_, at, _ := s.Lookup("bind_pw")
	if text := fmt.Sprint(log.lines, at, s.Wrong("bind_pw", ErrRequired)); strings.Contains(text, "s3cret") || at.Text != "bind_pw = ..." || len(log.lines) != 1 {
		t.Errorf("the password is shown: %s, %+v", text, at)
	}
	if s.Get("bind_pw") != "s3cret2" {
		t.Errorf("bind_pw = %q", s.Get("bind_pw"))
	}
}
