package table_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/internal/address"
	"postern/internal/origin"
	"postern/internal/table"
)

// verdict is the outcome of a match: the item, "-" for no match, or "error".
func verdict(m table.Match, err error) string {
	switch {
	case err == nil:
		return m.Item
	case err == table.ErrNotFound:
		return "-"
	default:
		return "error"
	}
}

func TestList(t *testing.T) {
	tests := []struct {
		kind    table.ListKind
		parents bool
		value   string
		want    map[string]string // name to verdict
	}{
		{table.StringList, false, "a.test, B.Test\n c.test", map[string]string{
			"a.test": "a.test", "b.TEST": "b.test", "c.test": "c.test", "x.a.test": "-", "": "-", "test": "-"}},
		{table.StringList, false, "", map[string]string{"a.test": "-", "": "-"}},
		{table.StringList, false, "!a.test, a.test, b.test", map[string]string{"a.test": "-", "b.test": "b.test"}},
		{table.StringList, false, "a.test, !a.test", map[string]string{"a.test": "a.test"}},
		{table.StringList, false, "!!a.test !!!b.test b.test", map[string]string{"a.test": "!!a.test", "b.test": "-"}},
		{table.StringList, false, "map:b.test=no !map:c.test=x map:c.test=x", map[string]string{
			"b.test": "map:b.test=no", "B.TEST": "map:b.test=no", "c.test": "-", "x.b.test": "-"}},
		{table.StringList, false, "a.test fail:x b.test", map[string]string{"a.test": "a.test", "b.test": "error", "c.test": "error"}},
		{table.StringList, false, "a.test nope:x", map[string]string{"a.test": "a.test", "c.test": "error"}},
		{table.StringList, false, "a.test ! b.test", map[string]string{"a.test": "a.test", "b.test": "error"}},
		{table.StringList, false, "a.test # b.test", map[string]string{"a.test": "a.test", "b.test": "-"}},
		{table.StringList, false, "{a b}, [192.0.2.1] [2001:db8::1]", map[string]string{
			"{a b}": "{a b}", "[192.0.2.1]": "[192.0.2.1]", "[2001:DB8::1]": "[2001:db8::1]"}},
		{table.StringList, false, "ÄÖ.test", map[string]string{"äö.test": "äö.test"}},

		{table.DomainList, true, "a.test, !b.a.test, .c.test", map[string]string{
			"a.test": "a.test", "x.a.test": "a.test", "xa.test": "-", "b.a.test": "a.test", "x.c.test": "-"}},
		{table.DomainList, true, "!b.a.test, a.test", map[string]string{"b.a.test": "-", "x.b.a.test": "-", "c.a.test": "a.test"}},
		{table.DomainList, false, "a.test, .b.test", map[string]string{
			"a.test": "a.test", "x.a.test": "-", "x.b.test": ".b.test", "y.x.b.test": ".b.test", "b.test": "-"}},
		{table.DomainList, true, "map:a.test=1", map[string]string{"a.test": "map:a.test=1", "x.a.test": "map:a.test=1"}},
		{table.DomainList, false, "map:a.test=1;.b.test=1", map[string]string{"x.a.test": "-", "x.b.test": "map:a.test=1;.b.test=1"}},
		{table.DomainList, true, "pat:a.test=1", map[string]string{"a.test": "pat:a.test=1", "x.a.test": "-"}},

		{table.AddressList, true, "127.0.0.0/8 [::1]/128 [2001:db8::]/32 192.0.2.7 a.test", map[string]string{
			"127.9.9.9": "127.0.0.0/8", "::1": "[::1]/128", "::2": "-", "2001:db8:7::1": "[2001:db8::]/32",
			"192.0.2.7": "192.0.2.7", "192.0.2.8": "-", "mx.a.test": "a.test", "::ffff:127.0.0.1": "127.0.0.0/8"}},
		{table.AddressList, true, "!192.0.2.1 192.0.2.0/24", map[string]string{"192.0.2.1": "-", "192.0.2.2": "192.0.2.0/24"}},
		{table.AddressList, true, "192.0.2.0/24 !192.0.2.1", map[string]string{"192.0.2.1": "192.0.2.0/24"}},
		{table.AddressList, true, "[::1] [2001:db8::2] 0.0.0.0/0", map[string]string{
			"::1": "[::1]", "2001:db8::2": "[2001:db8::2]", "2001:db8::3": "-", "8.8.8.8": "0.0.0.0/0"}},
		{table.AddressList, true, "192.0.2.1/24 a.test [::1]", map[string]string{"192.0.2.9": "error", "mx.a.test": "a.test", "::1": "[::1]"}},
		{table.AddressList, true, "[2001:db8::1]/32 192.0.2.1", map[string]string{"2001:db8::": "error", "192.0.2.1": "192.0.2.1"}},
		{table.AddressList, true, "2001:db8::/32 a.test", map[string]string{"192.0.2.9": "error"}},
		{table.AddressList, true, "192.0.2 1.2.3.4.5/8 1.2.3.0/33 1.2.3.4/x", map[string]string{"192.0.2.9": "error", "192.0.2": "192.0.2"}},
	}
	for _, tt := range tests {
		w := newWorld(t)
		l, _ := w.List(t.Context(), tt.value, tt.kind, tt.parents, table.Use{Parameter: "test_list"})
		for name, want := range tt.want {
			if got := verdict(l.Match(t.Context(), name, nil)); got != want {
				t.Errorf("List(%q, %d, %v).Match(%q) = %s, want %s", tt.value, tt.kind, tt.parents, name, got, want)
			}
		}
	}
}

func TestMatchClient(t *testing.T) {
	tests := []struct{ value, name, addr, want string }{
		{"a.test 192.0.2.0/24", "mx.a.test", "198.51.100.1", "a.test"},
		{"a.test 192.0.2.0/24", "unknown", "192.0.2.1", "192.0.2.0/24"},
		{"a.test 192.0.2.0/24", "", "192.0.2.1", "192.0.2.0/24"},
		{"a.test 192.0.2.0/24", "b.test", "", "-"},
		{"!a.test 192.0.2.0/24", "a.test", "192.0.2.1", "-"},
		{"!192.0.2.1 a.test", "a.test", "192.0.2.1", "-"},
		{"map:192.0.2.1=1", "unknown", "192.0.2.1", "map:192.0.2.1=1"},
		{"map:a.test=1", "x.a.test", "192.0.2.1", "map:a.test=1"},
		{"pat:192.0.2.1=1", "x.a.test", "192.0.2.1", "pat:192.0.2.1=1"},
		{"fail:x", "a.test", "192.0.2.1", "error"},
		{"192.0.2.1/24", "a.test", "2001:db8::1", "-"},
	}
	for _, tt := range tests {
		w := newWorld(t)
		l, _ := w.List(t.Context(), tt.value, table.AddressList, true, table.Use{})
		if got := verdict(l.MatchClient(t.Context(), tt.name, tt.addr, nil)); got != tt.want {
			t.Errorf("List(%q).MatchClient(%q, %q) = %s, want %s", tt.value, tt.name, tt.addr, got, tt.want)
		}
	}
}

func TestNilList(t *testing.T) {
	var l *table.List
	if !l.Empty() {
		t.Error("a nil list is not empty")
	}
	if _, err := l.Match(t.Context(), "a", nil); err != table.ErrNotFound {
		t.Errorf("Match: %v", err)
	}
	if _, err := l.MatchClient(t.Context(), "a", "", nil); err != table.ErrNotFound {
		t.Errorf("MatchClient: %v", err)
	}
}

func TestListErrors(t *testing.T) {
	at := origin.At{File: "main.cf", Line: 3}
	tests := []struct {
		kind        table.ListKind
		value, want string
	}{
		{table.StringList, "a, !", "no pattern after '!'"},
		{table.StringList, "nope:x", "unsupported dictionary type: nope"},
		{table.StringList, "/no/such/file", "open /no/such/file: No such file or directory"},
		{table.AddressList, "192.0.2.1/24", `non-null host address bits in "192.0.2.1/24", perhaps you should use "192.0.2.0/24" instead`},
		{table.AddressList, "[2001:db8::1]/32", `non-null host address bits in "[2001:db8::1]/32", perhaps you should use "[2001:db8::]/32" instead`},
		{table.AddressList, "192.0.2.0/33", `bad net/mask pattern: "192.0.2.0/33"`},
		{table.AddressList, "192.0.2/24", `bad address pattern: "192.0.2/24"`},
		{table.AddressList, "2001:db8::/32", `unsupported dictionary type: 2001: write an IPv6 address in brackets: "[2001:db8::]/32"`},
	}
	for _, tt := range tests {
		w := newWorld(t)
		l, err := w.List(t.Context(), tt.value, tt.kind, false, table.Use{Parameter: "test_list", At: at})
		var e *table.Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), tt.want) || e.At.Line != 3 {
			t.Errorf("List(%q): %v at %v, want %s", tt.value, err, e, tt.want)
			continue
		}
		if l == nil {
			t.Errorf("List(%q) gives no list", tt.value)
		}
	}
	w := newWorld(t)
	l, _ := w.List(t.Context(), "fail:x", table.StringList, false, table.Use{Parameter: "test_list"})
	_, err := l.Match(t.Context(), "a", nil)
	if want := "test_list: fail:x: table lookup problem: fail:x is unavailable. down"; err == nil || err.Error() != want {
		t.Errorf("Match: %v, want %s", err, want)
	}
}

func TestListComment(t *testing.T) {
	w := newWorld(t)
	if _, err := w.List(t.Context(), "a.test, # the rest", table.StringList, false, table.Use{Parameter: "mydestination"}); err != nil {
		t.Fatal(err)
	}
	if want := "warning: mydestination: comment at end of line is not supported: # the rest"; w.log.text() != want {
		t.Errorf("log %q, want %q", w.log.text(), want)
	}
}

func TestListProvenance(t *testing.T) {
	dir := t.TempDir()
	inner, outer := filepath.Join(dir, "inner"), filepath.Join(dir, "outer")
	write(t, inner, "# comment, with items\nd.test\n  e.test # not e2.test\n")
	write(t, outer, "b.test, !c.test\n\n!"+inner+"\n")
	w := newWorld(t)
	main := origin.At{File: "main.cf", Line: 5, Text: "mydestination = ..."}
	l, err := w.List(t.Context(), "a.test !"+outer+" map:f.test=1 c.test", table.StringList, false, table.Use{Parameter: "mydestination", At: main})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"a.test": "a.test main.cf:5", "b.test": "-", "c.test": fmt.Sprintf("!c.test %s:1", outer),
		"d.test": fmt.Sprintf("d.test %s:2", inner), "e.test": fmt.Sprintf("e.test %s:3", inner), "e2.test": "-",
		"f.test": "map:f.test=1 main.cf:5 map:f.test=1:6",
	} {
		m, err := l.Match(t.Context(), name, nil)
		got := verdict(m, err)
		for _, at := range m.At {
			got += " " + at.String()
		}
		if got != want {
			t.Errorf("Match(%q) = %q, want %q", name, got, want)
		}
	}
	m, err := l.Match(t.Context(), "F.test", nil)
	if err != nil || m.Table != "map:f.test=1" || m.Key != "f.test" {
		t.Errorf("Match(F.test) = %+v, %v", m, err)
	}
}

func TestListInclusionEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "self")
	write(t, path, "a.test\n"+path+"\n")
	w := newWorld(t)
	l, err := w.List(t.Context(), path, table.StringList, false, table.Use{})
	if err == nil || !strings.Contains(err.Error(), "nested more than") {
		t.Errorf("List: %v, want an end of the nesting", err)
	}
	if got := verdict(l.Match(t.Context(), "a.test", nil)); got != "a.test" {
		t.Errorf("Match = %s", got)
	}
}

func TestListObserver(t *testing.T) {
	w := newWorld(t)
	l, err := w.List(t.Context(), "x.test map:b.test=1", table.DomainList, true, table.Use{Parameter: "relay_domains"})
	if err != nil {
		t.Fatal(err)
	}
	var steps []string
	if _, err := l.Match(t.Context(), "a.b.test", func(s table.Step) { steps = append(steps, s.Parameter+" "+s.Key) }); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(steps, ","), "relay_domains a.b.test,relay_domains b.test"; got != want {
		t.Errorf("steps %q, want %q", got, want)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// naive is a list of domains as Postfix searches it: item by item.
func naive(value, name string, parents bool) string {
	name = address.Fold(name)
	for _, item := range strings.Fields(value) {
		pattern := address.Fold(strings.TrimLeft(item, "!"))
		match := pattern == name
		if parents {
			match = match || strings.HasSuffix(name, "."+pattern) && pattern[0] != '.' && name != "."+pattern
		} else {
			match = match || pattern[0] == '.' && strings.HasSuffix(name, pattern) && name != pattern
		}
		if match && len(item)%2 != len(pattern)%2 {
			return "-"
		}
		if match {
			return address.Fold(item)
		}
	}
	return "-"
}

func FuzzList(f *testing.F) {
	f.Add("a.test !b.a.test .c.test a.test", "x.b.a.test", true)
	f.Add("!!a !b, 192.0.2.0/24 [::1] {x", "192.0.2.1", false)
	f.Add("#x", "#x", false)
	f.Fuzz(func(t *testing.T, value, name string, parents bool) {
		o := &table.Opener{}
		if strings.Contains(value, "/") { // the fuzzer shall not read files
			value = strings.ReplaceAll(value, " /", " x/")
			value = strings.TrimLeft(strings.ReplaceAll(value, "!/", "!x/"), "/")
		}
		if !strings.ContainsAny(value, "/,\t\r\n") {
			for _, kind := range []table.ListKind{table.StringList, table.AddressList} {
				l, _ := o.List(t.Context(), value, kind, parents, table.Use{})
				l.Match(t.Context(), name, nil)
				l.MatchClient(t.Context(), name, name, nil)
			}
		}
		plain := strings.Map(func(r rune) rune {
			if strings.ContainsRune("abc.! ", r) {
				return r
			}
			return -1
		}, value)
		words := slices.DeleteFunc(strings.Fields(plain), func(word string) bool { return strings.Trim(word, "!") == "" })
		plain = strings.Join(words, " ")
		l, err := o.List(t.Context(), plain, table.DomainList, parents, table.Use{})
		if err != nil {
			t.Fatalf("List(%q): %v", plain, err)
		}
		if strings.HasPrefix(name, "[") || strings.HasPrefix(name, ".") || strings.Contains(name, "..") || strings.HasSuffix(name, ".") {
			return // Postfix walks these too, to no effect
		}
		if got, want := verdict(l.Match(t.Context(), name, nil)), naive(plain, name, parents); got != want {
			t.Errorf("List(%q, %v).Match(%q) = %s, want %s", plain, parents, name, got, want)
		}
	})
}

func BenchmarkListStrings(b *testing.B) {
	var value strings.Builder
	for i := range 10000 {
		fmt.Fprintf(&value, "domain%d.test, ", i)
	}
	l, err := (&table.Opener{}).List(context.Background(), value.String(), table.StringList, false, table.Use{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Match(context.Background(), "domain9999.test", nil); err != nil {
			b.Fatal(err)
		}
	}
}
