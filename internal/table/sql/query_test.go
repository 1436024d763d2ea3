package sql

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/table/cf"
)

func TestParseQuery(t *testing.T) {
	key, _ := cf.CutParts("o'neil@a.example", cf.Needs{User: true, Domain: true, Labels: 2})
	tests := []struct {
		text      string
		statement string
		values    []string
		unquoted  []string
		wantErr   string
	}{
		{text: "SELECT 1", statement: "SELECT 1", values: []string{}},
		{text: "SELECT a FROM t WHERE k='%s';\n", statement: "SELECT a FROM t WHERE k=?", values: []string{"o'neil@a.example"}},
		{text: "WHERE u='%u' AND d = '%d'", statement: "WHERE u=? AND d = ?", values: []string{"o'neil", "a.example"}},
		{text: "lower('%U@%D') LIKE '%%@%d'", statement: "lower(?) LIKE ?", values: []string{"o'neil@a.example", "%@a.example"}},
		{text: "'it''s %1 %2' 'plain' ''", statement: "? 'plain' ''", values: []string{"it's example a"}},
		{text: "5 %% 2 = %s", statement: "5 % 2 = ?", values: []string{"o'neil@a.example"}, unquoted: []string{"%s"}},
		{text: "\"a\"\"%u\" `%d`", statement: "? ?", values: []string{`a"o'neil`, "a.example"}, unquoted: []string{`"a""%u"`, "`%d`"}},
		{text: "a -- '%q\nb /* 100% '*/ '%s'", statement: "a -- '%q\nb /* 100% '*/ ?", values: []string{"o'neil@a.example"}},
		{text: "'%s' -- end", statement: "? -- end", values: []string{"o'neil@a.example"}},
		{text: "'100%'", wantErr: `"%" is not followed by one of % s u d S U D 1..9`},
		{text: "%", wantErr: `"%" is not followed by one of % s u d S U D 1..9`},
		{text: "% 2", wantErr: `"% " is not followed by one of % s u d S U D 1..9`},
		{text: "'a", wantErr: "no end of a quoted text or comment: 'a"},
		{text: "'a''", wantErr: "no end of a quoted text or comment: 'a''"},
		{text: "a; b", wantErr: "more than one statement"},
	}
	for _, tt := range tests {
		q, err := sqliteDialect.parseQuery(tt.text)
		if err != nil || tt.wantErr != "" {
			if err == nil || err.Error() != tt.wantErr {
				t.Errorf("parseQuery(%q): %v, want %q", tt.text, err, tt.wantErr)
			}
			continue
		}
		got := []any{q.statement(), q.bind(&key), q.unquoted}
		if diff := cmp.Diff([]any{tt.statement, tt.values, tt.unquoted}, got); diff != "" {
			t.Errorf("parseQuery(%q) (-want +got)\n%s", tt.text, diff)
		}
	}
}

func TestReadable(t *testing.T) {
	q, err := sqliteDialect.parseQuery("SELECT v FROM t WHERE k = '%s' AND d=%d")
	if err != nil {
		t.Fatal(err)
	}
	key, _ := cf.CutParts("o'neil@a.example", cf.Needs{})
	if got, want := q.readable(&key), "SELECT v FROM t WHERE k = 'o''neil@a.example' AND d='a.example'"; got != want {
		t.Errorf("readable = %s, want %s", got, want)
	}
}

// FuzzQuery holds that a key never changes the text that is sent.
func FuzzQuery(f *testing.F) {
	for _, text := range []string{"SELECT a FROM t WHERE k='%s'", "'%u''%d' \"%s\" -- %\n`", "/*", "%% %s ;", "'", "a;b", `'\'%s\%\\' #`, "$$%s$a$ $a$ E'\\%s' /*/**/%*/"} {
		f.Add(text, "' OR '1'='1")
	}
	f.Fuzz(func(t *testing.T, text, key string) {
		for _, d := range []*dialect{sqliteDialect, mysqlDialect, pgsqlDialect} {
			checkQuery(t, d, text, key)
		}
	})
}

func checkQuery(t *testing.T, d *dialect, text, key string) {
	q, err := d.parseQuery(text)
	if err != nil {
		return
	}
	if len(q.text) != len(q.values)+1 {
		t.Fatalf("parseQuery(%q): %d texts around %d values", text, len(q.text), len(q.values))
	}
	var n cf.Needs
	for _, v := range q.values {
		v.KeyNeeds(&n, false)
	}
	p, ok := cf.CutParts(key, n)
	if !ok {
		return
	}
	if got := len(q.bind(&p)); got != len(q.values) {
		t.Errorf("parseQuery(%q).bind: %d values, want %d", text, got, len(q.values))
	}
	readable, err := d.parseQuery(q.readable(&p))
	if strings.Contains(text+key, "%") || err != nil {
		return // a key may hold what looks like a letter
	}
	if len(readable.values) != 0 {
		t.Errorf("readable of %q has values of its own", text)
	}
}
