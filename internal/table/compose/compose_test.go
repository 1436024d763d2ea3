package compose

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/origin"
	"postern/internal/table"
	"postern/internal/table/tabletest"
)

func opener() *table.Opener {
	return &table.Opener{Types: map[string]table.Constructor{
		"inline": Inline, "static": Static, "fail": Fail, "unionmap": Union, "pipemap": Pipe,
		"randmap": Rand, "environ": Environ, "unix": Unix, "debug": Debug,
	}}
}

func open(t *testing.T, spec string, use table.Use) table.Table {
	t.Helper()
	o := opener()
	t.Cleanup(func() { o.Close() })
	tab, err := o.Open(t.Context(), spec, use)
	if err != nil {
		t.Fatalf("Open(%q): %v", spec, err)
	}
	return tab
}

// inlineName is the name of an inline table that holds rows.
func inlineName(rows []tabletest.Row) string {
	if len(rows) == 0 {
		return "{other=x}"
	}
	var items []string
	for _, row := range rows {
		items = append(items, fmt.Sprintf("{ %s = %s }", row.Key, row.Value))
	}
	return "{" + strings.Join(items, ", ") + "}"
}

func TestInlineConformance(t *testing.T) {
	tabletest.Run(t, func(t *testing.T, use table.Use, rows []tabletest.Row) table.Table {
		return open(t, "inline:"+inlineName(rows), use)
	})
}

func TestUnionConformance(t *testing.T) {
	tabletest.Run(t, func(t *testing.T, use table.Use, rows []tabletest.Row) table.Table {
		half := len(rows) / 2
		return open(t, "unionmap:{inline:"+inlineName(rows[:half])+", inline:"+inlineName(rows[half:])+"}", use)
	})
}

func TestPipeConformance(t *testing.T) {
	tabletest.Run(t, func(t *testing.T, use table.Use, rows []tabletest.Row) table.Table {
		var first, second []tabletest.Row
		for i, row := range rows {
			first = append(first, tabletest.Row{Key: row.Key, Value: fmt.Sprint("row", i)})
			second = append(second, tabletest.Row{Key: fmt.Sprint("row", i), Value: row.Value})
		}
		return open(t, "pipemap:{inline:"+inlineName(first)+" inline:"+inlineName(second)+"}", use)
	})
}

func TestStaticConformance(t *testing.T) {
	tabletest.Suite{Any: true, Open: func(t *testing.T, use table.Use, rows []tabletest.Row) table.Table {
		return open(t, "static:{"+rows[0].Value+"}", use)
	}}.Run(t)
}

func TestRandConformance(t *testing.T) {
	tabletest.Suite{Any: true, Open: func(t *testing.T, use table.Use, rows []tabletest.Row) table.Table {
		if strings.Contains(rows[0].Value, ",") { // a value of randmap has no separators
			return open(t, "static:{"+rows[0].Value+"}", use)
		}
		return open(t, "randmap:{"+rows[0].Value+"}", use)
	}}.Run(t)
}

func TestSystemConformance(t *testing.T) {
	suite := tabletest.Suite{Stored: []string{"root", "john", "_sys", "x-y"}, Absent: []string{"roo", "rootx", "0", "nobody"}}
	suite.Open = func(t *testing.T, use table.Use, rows []tabletest.Row) table.Table {
		path := filepath.Join(t.TempDir(), "passwd")
		var b strings.Builder
		for _, row := range rows {
			fmt.Fprintf(&b, "%s:%s\n", row.Key, row.Value)
		}
		write(t, path, b.String())
		tab, err := openSystem(&table.Opener{}, "test", path, 2, use)
		if err != nil {
			t.Fatal(err)
		}
		return &valueAfterName{tab}
	}
	suite.Run(t)
}

// valueAfterName gives the line of a system table without its first field.
type valueAfterName struct{ table.Table }

func (v *valueAfterName) Lookup(ctx context.Context, key string) (table.Result, error) {
	r, err := v.Table.Lookup(ctx, key)
	_, r.Value, _ = strings.Cut(r.Value, ":")
	return r, err
}

func TestEnvironConformance(t *testing.T) {
	suite := tabletest.Suite{Stored: []string{"postern_a", "postern_b"}, Absent: []string{"postern_c", "postern"}}
	suite.Open = func(t *testing.T, use table.Use, rows []tabletest.Row) table.Table {
		for _, key := range suite.Stored {
			t.Setenv(key, "") // so that the test ends with what was there before
			os.Unsetenv(key)
		}
		for _, row := range rows {
			t.Setenv(row.Key, row.Value)
		}
		return open(t, "environ:x", use)
	}
	suite.Run(t)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestLookup(t *testing.T) {
	tests := []struct{ spec, key, want string }{ // want: the value, "-" for not found, "error: ..." else
		{"inline:{a=1, b=2}", "b", "2"},
		{"inline:{a=1, {b = two words, and more}}", "b", "two words, and more"},
		{"inline:{a=b=c}", "a", "b=c"},
		{"inline:{a=1, A=2}", "a", "2"},
		{`inline:{{"a b"@x.test = 1}}`, `"a b"@x.test`, "1"},
		{`inline:{{"a=b"@x.test=1}, c=d}`, `"a=b"@x.test`, "1"},
		{`inline:{{a\=b=1}}`, `a\=b`, "1"},
		{"inline:{{a = }}", "a", ""},
		{"inline:{ÄÖ=1}", "äö", "-"}, // ASCII only: the opener is not UTF8
		{"static:one", "x", "one"},
		{"static:all/users/", "", "all/users/"},
		{"static:{ two  words }", "x", "two  words"},
		{"randmap:{one}", "x", "one"},
		{"randmap:{{a b}}", "x", "{a b}"},
		{"fail:why", "x", `error: fail:why lookup error for "x": tables of type fail always fail`},
		{"unionmap:{static:a, inline:{k=b}, inline:{j=c}}", "k", "a,b"},
		{"unionmap:{static:a, inline:{k=b}}", "x", "a"},
		{"unionmap:{inline:{k=b}}", "x", "-"},
		{"unionmap:{static:a, fail:b}", "x", `error: fail:b lookup error for "x": tables of type fail always fail`},
		{"unionmap:{unionmap:{static:a, static:b}, static:c}", "x", "a,b,c"},
		{"pipemap:{inline:{k=j}, inline:{j=v}}", "k", "v"},
		{"pipemap:{inline:{k=j}, inline:{i=v}}", "k", "-"},
		{"pipemap:{inline:{k=j}, fail:x}", "i", "-"},
		{"pipemap:{inline:{k=j}, fail:x}", "k", `error: fail:x lookup error for "j": tables of type fail always fail`},
	}
	for _, tt := range tests {
		tab := open(t, tt.spec, table.Use{Fold: true})
		got, err := tab.Lookup(t.Context(), tt.key)
		text := got.Value
		if err == table.ErrNotFound {
			text = "-"
		} else if err != nil {
			text = "error: " + err.Error()
		}
		if text != tt.want {
			t.Errorf("%s: Lookup(%q) = %q, want %q", tt.spec, tt.key, text, tt.want)
		}
		if tab.Name() != tt.spec {
			t.Errorf("Name() = %q, want %q", tab.Name(), tt.spec)
		}
	}
}

func TestSyntaxErrors(t *testing.T) {
	tests := []struct{ spec, want string }{
		{"inline:a=b", `bad syntax: "inline:a=b"; need "inline:{name=value...}"`},
		{"inline:{}", `bad syntax: "inline:{}"; need "inline:{name=value...}"`},
		{"inline:{a=b} c", `bad syntax: "inline:{a=b} c"; need "inline:{name=value...}"`},
		{"inline:{a}", `missing '=' after attribute name: "inline:{a}"; need "inline:{name=value...}"`},
		{"inline:{ , }", `empty table: "inline:{ , }"; need "inline:{name=value...}"`},
		{"static:{a", `bad static:name syntax: missing '}' in "{a"`},
		{"static:{a} b", `bad static:name syntax: syntax error after '}' in "{a} b"`},
		{"randmap:x", `bad syntax: "randmap:x"; need "randmap:{value...}"`},
		{"unionmap:x", `bad syntax: "unionmap:x"; need "unionmap:{type:name...}"`},
		{"unionmap:{}", `bad syntax: "unionmap:{}"; need "unionmap:{type:name...}"`},
		{"pipemap:{x}", `bad syntax: "pipemap:{x}"; need "pipemap:{type:name...}"`},
		{"unix:shadow.byname", `unknown table: unix:shadow.byname`},
		{"unionmap:{static:a, foo:b}", `foo:b is unavailable. unsupported dictionary type: foo`},
	}
	for _, tt := range tests {
		tab, err := opener().Open(t.Context(), tt.spec, table.Use{})
		if err == nil || !strings.HasSuffix(err.Error(), tt.want) {
			t.Errorf("Open(%q): %v, want %s", tt.spec, err, tt.want)
		}
		if _, err := tab.Lookup(t.Context(), "x"); err == nil || errors.Is(err, table.ErrNotFound) {
			t.Errorf("Open(%q).Lookup: %v, want a failure", tt.spec, err)
		}
	}
}

// A pipemap with a broken table still knows what is not in the first one.
func TestPartlyBroken(t *testing.T) {
	tab, err := opener().Open(t.Context(), "pipemap:{inline:{k=j}, foo:x}", table.Use{})
	if err == nil || tab.Traits().Pattern {
		t.Fatalf("Open: %v", err)
	}
	if _, err := tab.Lookup(t.Context(), "other"); err != table.ErrNotFound {
		t.Errorf("Lookup(other): %v, want ErrNotFound", err)
	}
	if _, err := tab.Lookup(t.Context(), "k"); err == nil || err.Error() != "foo:x is unavailable. unsupported dictionary type: foo" {
		t.Errorf("Lookup(k): %v", err)
	}
}

func TestTraits(t *testing.T) {
	for spec, want := range map[string]table.Traits{
		"inline:{a=b}":                     {InPlace: true},
		"static:a":                         {InPlace: true},
		"fail:a":                           {Pattern: true},
		"randmap:{a}":                      {Pattern: true, InPlace: true},
		"environ:x":                        {},
		"unionmap:{fail:a, inline:{a=b}}":  {Pattern: true},
		"pipemap:{inline:{a=b}, fail:a}":   {InPlace: true},
		"pipemap:{environ:x, randmap:{a}}": {},
	} {
		if got := open(t, spec, table.Use{}).Traits(); got != want {
			t.Errorf("%s: Traits() = %+v, want %+v", spec, got, want)
		}
	}
}

// Values that stand in a parameter have the place of the parameter that names
// the table, also when two parameters name the same text.
func TestProvenance(t *testing.T) {
	o := opener()
	for line := range 2 {
		at := origin.At{File: "main.cf", Line: line + 1}
		for _, spec := range []string{"inline:{k=v}", "static:v", "randmap:{v}", "unionmap:{inline:{k=v}}"} {
			tab, err := o.Open(t.Context(), spec, table.Use{At: at})
			if err != nil {
				t.Fatal(err)
			}
			got, err := tab.Lookup(t.Context(), "k")
			if err != nil || len(got.At) != 1 || got.At[0].Line != line+1 {
				t.Errorf("%s: Lookup at %v, %v, want line %d", spec, got.At, err, line+1)
			}
		}
	}
	both := open(t, "unionmap:{inline:{k=v}, static:v}", table.Use{At: origin.At{File: "main.cf", Line: 1}})
	if got, err := both.Lookup(t.Context(), "k"); err != nil || len(got.At) != 2 {
		t.Errorf("unionmap: Lookup = %+v, %v, want two places", got, err)
	}
	if got, err := open(t, "static:v", table.Use{}).Lookup(t.Context(), "k"); err != nil || len(got.At) != 0 {
		t.Errorf("static without a place: Lookup = %+v, %v", got, err)
	}
}

func TestRandChoosesAll(t *testing.T) {
	o := opener()
	n := 0
	o.Int = func(limit int) int {
		n++
		return n % limit
	}
	tab, err := o.Open(t.Context(), "randmap:{a, b c}", table.Use{})
	if err != nil {
		t.Fatal(err)
	}
	var got string
	for range 6 {
		r, err := tab.Lookup(t.Context(), "x")
		if err != nil {
			t.Fatal(err)
		}
		got += r.Value
	}
	if got != "bcabca" {
		t.Errorf("six lookups give %q", got)
	}
}

func TestUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passwd")
	write(t, path, "# comment\nroot:x:0:0:root:/root:/bin/sh\r\n+nis::::::\nshort:x\n:x:1:1:::\nJohn:x:7:7::/h:\nroot:x:9:9:::\n")
	tab, err := openSystem(&table.Opener{}, "passwd.byname", path, 7, table.Use{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := tab.Lookup(t.Context(), "root")
	if err != nil || got.Value != "root:x:0:0:root:/root:/bin/sh" || got.At[0].String() != path+":2" {
		t.Errorf("Lookup(root) = %+v, %v", got, err)
	}
	if _, err := tab.Lookup(t.Context(), "John"); err != nil {
		t.Errorf("Lookup(John): %v", err)
	}
	for _, key := range []string{"+nis", "short", "", "# comment", "john"} {
		if _, err := tab.Lookup(t.Context(), key); err != table.ErrNotFound {
			t.Errorf("Lookup(%q): %v, want ErrNotFound", key, err)
		}
	}
	if _, err := openSystem(&table.Opener{}, "passwd.byname", path+"x", 7, table.Use{}); err == nil {
		t.Error("a missing file can be opened")
	}
	for _, spec := range []string{"unix:passwd.byname", "unix:group.byname"} {
		if _, err := open(t, spec, table.Use{Fold: true}).Lookup(t.Context(), "ROOT"); err != nil {
			t.Errorf("%s: Lookup(ROOT): %v", spec, err)
		}
	}
}

// Tables that list their rows refuse to after Close.
func TestAllAfterClose(t *testing.T) {
	for _, spec := range []string{"inline:{a=b}", "unix:group.byname"} {
		tab := open(t, spec, table.Use{})
		tab.Close()
		for _, err := range tab.(table.Enumerable).All(t.Context()) {
			if err == nil {
				t.Errorf("%s: All yields a row after Close", spec)
			}
		}
	}
}

func FuzzInline(f *testing.F) {
	for _, s := range []string{"{a=b}", "{a=b, { c = d e } }", `{{"a=b"@x = 1}}`, "{{}", "{=}", "{a\\", "{ÄÖ=\xff}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		tab, err := Inline(t.Context(), &table.Opener{}, name, table.Use{Fold: true, At: origin.At{File: "main.cf"}})
		if err != nil {
			return
		}
		n := 0
		for e, err := range tab.(table.Enumerable).All(t.Context()) {
			n++
			got, lookupErr := tab.Lookup(t.Context(), e.Key)
			if err != nil || lookupErr != nil || got.Value != e.Value {
				t.Errorf("inline:%s: Lookup(%q) = %q, %v, want %q, %v", name, e.Key, got.Value, lookupErr, e.Value, err)
			}
		}
		if n == 0 {
			t.Errorf("inline:%s has no rows", name)
		}
	})
}
