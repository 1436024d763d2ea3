package text_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/address"
	"postern/internal/syntax"
	"postern/internal/table"
	"postern/internal/table/text"
)

// dump is a content as "line key=value", then its problems.
func dump(c *text.Content) []string {
	var got []string
	for e := range c.All() {
		got = append(got, fmt.Sprintf("%d %s=%s", e.At().Line, e.Key, e.Value))
	}
	for _, p := range c.Problems {
		got = append(got, (&p).Error())
	}
	return got
}

func TestParse(t *testing.T) {
	tests := []struct {
		name, in string
		options  text.Options
		want     []string
	}{
		{"empty", "", text.Options{}, nil},
		{"rows and comments", "# c\nkey value\n\n  # c\nk2\ttwo  words \r\n", text.Options{}, []string{"2 key=value", "5 k2=two  words"}},
		{"no newline at the end", "key value", text.Options{}, []string{"1 key=value"}},
		{"continued", "info a,\n# comment\n\n\tb,\n c\nnext x\n", text.Options{}, []string{"1 info=a,\tb, c", "6 next=x"}},
		{"value on the next line", "key\n value\n", text.Options{}, []string{"1 key=value"}},
		{"orphan", "  value\nkey x\n", text.Options{}, []string{"2 key=x", `f, line 1: logical line must not start with whitespace: "  value"`}},
		{"quoted key", `"a b"@x.test  q` + "\n" + `"a\"b c" w` + "\n" + `a\ b c`, text.Options{}, []string{`1 "a b"@x.test=q`, `2 "a\"b c"=w`, `3 a\ b=c`}},
		{"open quote", `"a b x`, text.Options{}, []string{`f, line 1: unbalanced '"' in '"a b x' -- ignoring this line`}},
		{"no value", "novalue\nblank  \n\\\n", text.Options{}, []string{
			"f, line 1: expected format: key whitespace value -- ignoring this line",
			"f, line 2: expected format: key whitespace value -- ignoring this line",
			"f, line 3: expected format: key whitespace value -- ignoring this line"}},
		{"alias file", "root: bob\n", text.Options{}, []string{"1 root:=bob", `f, line 1: record is in "key: value" format; is this an alias file?`}},
		{"duplicates", "Key one\nkey two\nKEY three\n", text.Options{Fold: true}, []string{"1 key=one", `f, line 2: duplicate entry: "key"`, `f, line 3: duplicate entry: "KEY"`}},
		{"not folded", "Key one\nkey two\n", text.Options{}, []string{"1 Key=one", "2 key=two"}},
		{"values keep their case", "KEY Value\n", text.Options{Fold: true}, []string{"1 key=Value"}},
		{"folded Unicode", "ÄÖ@x.test v\n", text.Options{Fold: true, UTF8: true}, []string{"1 äö@x.test=v"}},
		{"folded ASCII", "ÄB@x.test v\n", text.Options{Fold: true}, []string{"1 Äb@x.test=v"}},
		{"not UTF-8", "\xff x\ny \xff\nz ö\n", text.Options{UTF8: true}, []string{"3 z=ö", `f, line 1: non-UTF-8 input "\xff x" -- ignoring this line`, `f, line 2: non-UTF-8 input "y \xff" -- ignoring this line`}},
		{"UTF-8 does not matter", "\xff x\n", text.Options{}, []string{"1 \xff=x"}},
		{"NUL", "key x\x00y\n more\nnul\x00 x\n", text.Options{}, []string{"1 key=x", "f, line 3: expected format: key whitespace value -- ignoring this line"}},

		{"alias", "postmaster: root\nlist : a,\n  \"|cmd x\", :include:/f\n", text.Options{Alias: true}, []string{"1 postmaster=root", `2 list=a,  "|cmd x", :include:/f`}},
		{"alias, quoted", `"a b": x` + "\n" + `"q@r": d` + "\n" + `"x\"y:": z`, text.Options{Alias: true}, []string{"1 a b=x", "2 q@r=d", `3 x"y:=z`}},
		{"alias, folded", "Root: x\nroot: y", text.Options{Alias: true, Fold: true}, []string{"1 root=x", `f, line 2: duplicate entry: "root"`}},
		{"alias, bad", "nov:\nnoc\na@b.test: c\na,b: c\n:include:/x: y\n\"open: x\n", text.Options{Alias: true}, []string{
			"f, line 1: need name:value pair -- ignoring this line",
			"f, line 2: need name:value pair -- ignoring this line",
			"f, line 3: name must be local -- ignoring this line",
			"f, line 4: need name:value pair -- ignoring this line",
			"f, line 5: need name:value pair -- ignoring this line",
			`f, line 6: unbalanced '"' in '"open: x' -- ignoring this line`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := text.Parse("f", []byte(tt.in), tt.options)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, dump(c)); diff != "" {
				t.Errorf("Parse(%q) (-want +got):\n%s", tt.in, diff)
			}
		})
	}
}

func TestProvenance(t *testing.T) {
	c, err := text.Parse("/etc/virtual", []byte("# c\ninfo a,\n  b \n"), text.Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Lookup("info")
	if err != nil || got.Value != "a,  b" {
		t.Fatalf("Lookup(info) = %q, %v", got.Value, err)
	}
	if at := got.At[0]; at.File != "/etc/virtual" || at.Line != 2 || at.Text != "info a,  b" {
		t.Errorf("Lookup(info) at %+v", at)
	}
	if _, err := c.Lookup("a"); err != table.ErrNotFound {
		t.Errorf("Lookup(a): %v", err)
	}
}

func TestLongProblemIsCut(t *testing.T) {
	long := strings.Repeat("x", 5000)
	c, err := text.Parse("f", []byte(long), text.Options{})
	if err != nil || len(c.Problems) != 1 || len(c.Problems[0].At.Text) > 300 {
		t.Errorf("Parse gives %d problems, %v", len(c.Problems), err)
	}
}

func seed(f *testing.F) {
	f.Add([]byte("# c\nkey value\n  more\n\"a b\"@x.test q\nKEY v\nx:\ty\n"))
	f.Add([]byte(" orphan\nkey\n value\r\n\\\n\"open\nnul\x00 x\n\xff y"))
	f.Add([]byte("root: x\n\"a b\": y, \"|cmd\"\na@b: c\n"))
}

// FuzzParse holds that the rows are those that syntax.Lines sees, and that each
// of them is found.
func FuzzParse(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		c := check(t, data, text.Options{Fold: true})
		if bytes.IndexByte(data, 0) >= 0 {
			return
		}
		at := map[int]string{}
		for line, err := range syntax.Lines(bytes.NewReader(data)) {
			if errors.Is(err, syntax.ErrOrphan) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			at[line.Number] = strings.TrimRight(line.Text, syntax.Blank)
		}
		for e := range c.All() {
			if want, ok := at[e.At().Line]; !ok || e.At().Text != want {
				t.Errorf("line %d is %q, want %q", e.At().Line, e.At().Text, want)
			}
			delete(at, e.At().Line)
		}
		for _, p := range c.Problems {
			delete(at, p.At.Line)
		}
		if len(at) > 0 {
			t.Errorf("lines without a row or a problem: %v", at)
		}
	})
}

func FuzzParseAlias(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		c := check(t, data, text.Options{Fold: true, Alias: true, UTF8: true})
		for e := range c.All() {
			if e.Key != strings.Trim(e.Key, syntax.Blank) {
				t.Errorf("key %q has blanks around it", e.Key)
			}
		}
	})
}

// check parses data and holds that every row is found, once, under its key.
func check(t *testing.T, data []byte, o text.Options) *text.Content {
	c, err := text.Parse("f", bytes.Clone(data), o)
	if err != nil {
		t.Fatal(err)
	}
	fold := address.FoldASCII
	if o.UTF8 {
		fold = address.Fold
	}
	n, seen := 0, map[string]bool{}
	for e := range c.All() {
		n++
		got, err := c.Lookup(e.Key)
		if err != nil || got.Value != e.Value || got.At[0].Line != e.At().Line {
			t.Errorf("Lookup(%q) = %+v, %v, want %+v", e.Key, got, err, e)
		}
		if seen[e.Key] || e.Key == "" || e.Value == "" || fold(e.Key) != e.Key || strings.Trim(e.Value, syntax.Blank) != e.Value {
			t.Errorf("row %q = %q", e.Key, e.Value)
		}
		seen[e.Key] = true
	}
	if n != c.Len() {
		t.Errorf("All yields %d rows, Len() = %d", n, c.Len())
	}
	return c
}
