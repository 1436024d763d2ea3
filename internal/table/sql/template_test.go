package sql

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/table"
)

func TestParseQuery(t *testing.T) {
	key, _ := cutParts("o'neil@a.example", needs{user: true, domain: true, labels: 2})
	tests := []struct {
		text      string
		statement string
		values    []any
		unquoted  []string
		wantErr   string
	}{
		{text: "SELECT 1", statement: "SELECT 1", values: []any{}},
		{text: "SELECT a FROM t WHERE k='%s';\n", statement: "SELECT a FROM t WHERE k=?", values: []any{"o'neil@a.example"}},
		{text: "WHERE u='%u' AND d = '%d'", statement: "WHERE u=? AND d = ?", values: []any{"o'neil", "a.example"}},
		{text: "lower('%U@%D') LIKE '%%@%d'", statement: "lower(?) LIKE ?", values: []any{"o'neil@a.example", "%@a.example"}},
		{text: "'it''s %1 %2' 'plain' ''", statement: "? 'plain' ''", values: []any{"it's example a"}},
		{text: "5 %% 2 = %s", statement: "5 % 2 = ?", values: []any{"o'neil@a.example"}, unquoted: []string{"%s"}},
		{text: "\"a\"\"%u\" `%d`", statement: "? ?", values: []any{`a"o'neil`, "a.example"}, unquoted: []string{`"a""%u"`, "`%d`"}},
		{text: "a -- '%q\nb /* 100% '*/ '%s'", statement: "a -- '%q\nb /* 100% '*/ ?", values: []any{"o'neil@a.example"}},
		{text: "'%s' -- end", statement: "? -- end", values: []any{"o'neil@a.example"}},
		{text: "'100%'", wantErr: `"%" is not followed by one of % s u d S U D 1..9`},
		{text: "%", wantErr: `"%" is not followed by one of % s u d S U D 1..9`},
		{text: "% 2", wantErr: `"% " is not followed by one of % s u d S U D 1..9`},
		{text: "'a", wantErr: "no end of a quoted text or comment: 'a"},
		{text: "'a''", wantErr: "no end of a quoted text or comment: 'a''"},
		{text: "a; b", wantErr: "more than one statement"},
	}
	for _, tt := range tests {
		q, err := parseQuery(tt.text)
		if err != nil || tt.wantErr != "" {
			if err == nil || err.Error() != tt.wantErr {
				t.Errorf("parseQuery(%q): %v, want %q", tt.text, err, tt.wantErr)
			}
			continue
		}
		got := []any{q.statement(func(int) string { return "?" }), q.bind(&key), q.unquoted}
		if diff := cmp.Diff([]any{tt.statement, tt.values, tt.unquoted}, got); diff != "" {
			t.Errorf("parseQuery(%q) (-want +got)\n%s", tt.text, diff)
		}
	}
}

func TestReadable(t *testing.T) {
	q, err := parseQuery("SELECT v FROM t WHERE k = '%s' AND d=%d")
	if err != nil {
		t.Fatal(err)
	}
	key, _ := cutParts("o'neil@a.example", needs{})
	if got, want := q.readable(&key), "SELECT v FROM t WHERE k = 'o''neil@a.example' AND d='a.example'"; got != want {
		t.Errorf("readable = %s, want %s", got, want)
	}
}

func TestSuggestion(t *testing.T) {
	known := append([]string{paramPath}, commonParameters()...)
	for name, want := range map[string]string{
		"dbpth": "dbpath", "db_path": "dbpath", "Query": "query", "result_filter": "result_format", "domains": "domain", "xyz": "", "": "", "hosts": "",
	} {
		if want != "" {
			want = fmt.Sprintf(", did you mean %q?", want)
		}
		if got := suggestion(name, known); got != want {
			t.Errorf("suggestion(%q) = %q, want %q", name, got, want)
		}
	}
}

// FuzzTemplate holds that what a template expands to is the template when
// every part reads like its letter, and that no part is missing.
func FuzzTemplate(f *testing.F) {
	for _, text := range []string{"%s", "%u@%d", "a%%b%1.%2", "%", "%x", "%S%U%D%9", ""} {
		f.Add(text, "user@a.b.example")
		f.Add(text, "@")
		f.Add(text, "x@..")
	}
	f.Fuzz(func(t *testing.T, text, key string) {
		tmpl, err := parseTemplate(text)
		if err != nil {
			return
		}
		same := &parts{whole: "%s", user: "%u", domain: "%d"}
		capital := &parts{whole: "%S", user: "%U", domain: "%D", labels: strings.Fields("%1 %2 %3 %4 %5 %6 %7 %8 %9")}
		if got, want := tmpl.expand(capital, same), strings.ReplaceAll(text, "%%", "%"); len(tmpl.pieces) > 0 && got != want && !strings.Contains(text, "%%") {
			t.Errorf("parseTemplate(%q).expand = %q, want %q", text, got, want)
		}
		var n needs
		tmpl.keyNeeds(&n, false)
		if p, ok := cutParts(key, n); ok {
			tmpl.expand(&p, &p)
		}
	})
}

// FuzzQuery holds that a key never changes the text that is sent.
func FuzzQuery(f *testing.F) {
	for _, text := range []string{"SELECT a FROM t WHERE k='%s'", "'%u''%d' \"%s\" -- %\n`", "/*", "%% %s ;", "'", "a;b"} {
		f.Add(text, "' OR '1'='1")
	}
	f.Fuzz(func(t *testing.T, text, key string) {
		q, err := parseQuery(text)
		if err != nil {
			return
		}
		if len(q.text) != len(q.values)+1 {
			t.Fatalf("parseQuery(%q): %d texts around %d values", text, len(q.text), len(q.values))
		}
		var n needs
		q.keyNeeds(&n)
		p, ok := cutParts(key, n)
		if !ok {
			return
		}
		if got := len(q.bind(&p)); got != len(q.values) {
			t.Errorf("parseQuery(%q).bind: %d values, want %d", text, got, len(q.values))
		}
		readable, err := parseQuery(q.readable(&p))
		if strings.Contains(text+key, "%") || err != nil {
			return // a key may hold what looks like a letter
		}
		if len(readable.values) != 0 {
			t.Errorf("readable of %q has values of its own", text)
		}
	})
}

// FuzzSettings holds that any text is a .cf file or an error that names it.
func FuzzSettings(f *testing.F) {
	for _, text := range []string{"dbpath = x\nquery = SELECT 1\n", "  orphan\n#c\na=b", "=", "query", "expansion_limit = 99999999999", "domain = a, hash:x"} {
		f.Add(text)
	}
	known := append([]string{paramPath}, commonParameters()...)
	f.Fuzz(func(t *testing.T, text string) {
		s := &settings{source: "t.cf", values: make(map[string]setting)}
		err := s.readFile(&table.Opener{}, strings.NewReader(text), known)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "t.cf") {
				t.Errorf("error %q does not name the file", err)
			}
			return
		}
		if _, err := newLookup(t.Context(), &table.Opener{}, "sqlite:t.cf", s, table.Use{}); err != nil && !strings.Contains(err.Error(), "t.cf") {
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
	s, err := loadSettings(&table.Opener{}, path, []string{paramPath, paramQuery})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.get(paramQuery), "SELECT a  FROM t  WHERE k='%s'"; got != want || s.values[paramQuery].at.Line != 2 {
		t.Errorf("query = %q at %v, want %q at line 2", got, s.values[paramQuery].at, want)
	}
}
