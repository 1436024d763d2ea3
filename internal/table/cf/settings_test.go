package cf

import (
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
