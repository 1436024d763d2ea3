package cf

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/table"
)

// FuzzSettings holds that any text is a .cf file or an error that names it.
func FuzzSettings(f *testing.F) {
	for _, text := range []string{"dbpath = x\nquery = SELECT 1\n", "  orphan\n#c\na=b", "=", "query", "expansion_limit = 99999999999", "domain = a, hash:x"} {
		f.Add(text)
	}
	known := []string{"dbpath", "query", ParamResult, ParamDomain, ParamLimit}
	f.Fuzz(func(t *testing.T, text string) {
		s := &Settings{Source: "t.cf", values: make(map[string]setting)}
		err := s.readFile(&table.Opener{}, strings.NewReader(text), known)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "t.cf") {
				t.Errorf("error %q does not name the file", err)
			}
			return
		}
		if _, err := NewCommon(t.Context(), &table.Opener{}, "sqlite:t.cf", s, table.Use{}); err != nil && !strings.Contains(err.Error(), "t.cf") {
			t.Errorf("error %q does not name the file", err)
		}
	})
}

// TestNoSecrets holds that what is said of a wrong file has no password in it.
func TestNoSecrets(t *testing.T) {
	const secret = "S3cret"
	path := filepath.Join(t.TempDir(), "t.cf")
	for _, text := range []string{"password S3cret\n", "password = a\npassword = S3cret\n", "hosts = a\nhosts = postgresql://u:S3cret@h/d\n", "pasword = S3cret\n"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		var log lines
		_, err := Load(&table.Opener{Log: &log}, path, []string{"hosts", "password"})
		said := strings.Join(log, "\n")
		if err != nil {
			said += err.Error()
		}
		if said == "" || strings.Contains(said, secret) {
			t.Errorf("%q: %q", text, said)
		}
	}
}

// TestShown holds what is shown of a line, and what of a URI.
func TestShown(t *testing.T) {
	for _, c := range []struct{ name, line, want string }{
		{"password", "password = S3cret", "x_password = ..."},
		{"hosts", "hosts = a b", "hosts = a b"},
		{"hosts", "hosts = postgresql://h/d?sslmode=require", "hosts = postgresql://h/d?sslmode=require"},
		{"hosts", "hosts = postgresql://u:a b@h/d", "x_hosts = ..."},
		{"hosts", "hosts = postgresql://h/d?password=a", "x_hosts = ..."},
	} {
		if got := shown(c.name, "x_"+c.name, c.line); got != c.want {
			t.Errorf("shown(%q) = %q, want %q", c.line, got, c.want)
		}
	}
	for in, want := range map[string]string{
		"":                                   "",
		"a@b: c":                             "a@b: c",
		"x://":                               "x://",
		"ldap://h/ for a@b":                  "ldap://h/ for a@b",
		"x://u@h":                            "x://u@h",
		"x://u:p@h, y://v:q@r@i z":           "x://u:...@h, y://v:...@i z",
		"'x://h/d?password=p&a=b' password=": "'x://h/d?password=...&a=b' password=",
		"x://h/?password=p":                  "x://h/?password=...",
	} {
		if got := WithoutPasswords(in); got != want {
			t.Errorf("WithoutPasswords(%q) = %q, want %q", in, got, want)
		}
	}
	if !HasPassword("bind_pw", "x") || HasPassword("bind_pw", "") || !HasPassword("hosts", "x://u:p@h") || HasPassword("hosts", "x://u@h") {
		t.Error("HasPassword")
	}
}

// lines is a log.
type lines []string

func (l *lines) Infof(format string, args ...any)    { l.Warningf(format, args...) }
func (l *lines) Warningf(format string, args ...any) { *l = append(*l, fmt.Sprintf(format, args...)) }

// TestValueEndsAtNUL holds what C sees of a value.
func TestValueEndsAtNUL(t *testing.T) {
	s := &Settings{Source: "t.cf", values: make(map[string]setting)}
	c, err := NewCommon(t.Context(), &table.Opener{}, "mysql:t.cf", s, table.Use{})
	if err != nil {
		t.Fatal(err)
	}
	collector := c.Collect(&Parts{Whole: "k"}, func() string { return "" })
	for _, value := range []string{"john/\x00\x00", "\x00", "b"} {
		if _, err := collector.Add(value); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := collector.Finish(); err != nil || r.Value != "john/,b" {
		t.Errorf("result %q, %v", r.Value, err)
	}
}

// TestLongLines reads a query of many lines.
func TestLongLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.cf")
	if err := os.WriteFile(path, []byte("dbpath = x\nquery = SELECT a\n  FROM t\n# comment\n  WHERE k='%s'\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := Load(&table.Opener{}, path, []string{"dbpath", "query"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.Get("query"), "SELECT a  FROM t  WHERE k='%s'"; got != want || s.values["query"].at.Line != 2 {
		t.Errorf("query = %q at %v, want %q at line 2", got, s.values["query"].at, want)
	}
}
