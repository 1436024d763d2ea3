package addresses

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/route"
)

// rowOf is a hop of line n of a table.
func rowOf(n int, from string, to ...string) *hop {
	return &hop{parameter: "virtual_alias_maps", table: "texthash:virtual", key: from, from: from, raw: strings.Join(to, ", "), to: to,
		at: []origin.At{{File: "virtual", Line: n}}}
}

func froms(rows []*hop) string {
	var names []string
	for _, h := range rows {
		names = append(names, h.from)
	}
	return strings.Join(names, " ")
}

func TestCircle(t *testing.T) {
	var long []*hop
	for range 500 {
		long = append(long, rowOf(1, "a", "b"), rowOf(2, "b", "a"))
	}
	for _, tt := range []struct {
		name  string
		hops  []*hop
		text  string
		rows  string
		limit string
	}{
		{"two", long, "map nesting", "a b", ""},
		{"behind others", []*hop{rowOf(1, "in", "x", "b"), rowOf(2, "b", "c"), rowOf(3, "c", "d", "b")}, "map nesting", "b c", ""},
		{"not through oneself", []*hop{rowOf(1, "a", "a", "b"), rowOf(2, "b", "c", "d", "e")}, "expansion size", "b", "virtual_alias_expansion_limit"},
		{"two ways to one address", []*hop{rowOf(1, "a", "b", "c"), rowOf(2, "b", "d"), rowOf(3, "c", "d"), rowOf(4, "d", "e", "f", "g")},
			"expansion size", "d", "virtual_alias_expansion_limit"},
		{"ever new", []*hop{rowOf(1, "a", "xa"), rowOf(1, "xa", "xxa"), rowOf(1, "xxa", "xxxa")}, "result xxxa", "xxa", ""},
		{"a long chain", []*hop{rowOf(1, "a", "b"), rowOf(2, "b", "c")}, "map nesting", "a", "virtual_alias_recursion_limit"},
		{"a long address", []*hop{rowOf(1, "a", "b")}, "result bbb", "a", "virtual_alias_address_length_limit"},
	} {
		rows, limit := circle(tt.hops, &route.ExpansionError{Text: "unreasonable virtual_alias_maps " + tt.text})
		if froms(rows) != tt.rows || limit != tt.limit {
			t.Errorf("%s: circle() = %q, %q, want %q, %q", tt.name, froms(rows), limit, tt.rows, tt.limit)
		}
	}
}

func TestTurned(t *testing.T) {
	a, b, c := rowOf(2, "a"), rowOf(7, "b"), rowOf(1, "c")
	for _, rows := range [][]*hop{{a, b, c}, {b, c, a}, {c, a, b}} {
		if got := froms(turned(rows)); got != "c a b" {
			t.Errorf("turned(%s) = %s, want c a b", froms(rows), got)
		}
	}
}

func TestConsequences(t *testing.T) {
	var n notes
	add := func(code, domain, file string) {
		n.add(note{code: code, severity: finding.Error, domain: domain, name: file, at: []origin.At{{File: file, Line: 1}}, message: says("%s")})
	}
	add("VD208", "a.test", "virtual")  // a.test is local: a consequence
	add("VD208", "b.test", "virtual2") // nothing is wrong with b.test
	add("VD204", "both.test", "shared")
	add("VD204", "c.test", "shared") // one of the two domains of this row is sound
	add("VD101", "a.test", "main.cf")
	add("VD101", "both.test", "main.cf")
	add("VD102", "d.test", "rules")
	add("VD513", "d.test", "rules") // reported with VD102
	var got []string
	n.report(func(f finding.Finding) { got = append(got, f.Code+" "+f.Message) })
	want := []string{"VD208 virtual2", "VD204 shared", "VD101 main.cf", "VD102 rules", "VD513 rules"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("findings (-want +got):\n%s", d)
	}
}

func TestNotesOfOneKind(t *testing.T) {
	var n notes
	for i := range 2 * maxAlike {
		n.add(note{code: "VD208", severity: finding.Error, domain: "a.test", name: string(rune('a' + i)),
			at: []origin.At{{File: "virtual", Line: i + 1}}, message: says("dead: %s"), near: []string{"near"}})
	}
	count, last := 0, finding.Finding{}
	n.report(func(f finding.Finding) { count, last = count+1, f })
	if count != maxAlike+1 {
		t.Errorf("%d findings, want %d and one for the rest", count, maxAlike)
	}
	if want := "20 more in a.test like those before: u, v, w and 17 more"; last.Message != want {
		t.Errorf("message = %q, want %q", last.Message, want)
	}
	if len(last.At) != maxAlike {
		t.Errorf("%d places, want %d", len(last.At), maxAlike)
	}
}

func TestMeant(t *testing.T) {
	for in, want := range map[string]string{
		"John@Example.org":         "john@example.org",
		"john@example.org\u00a0\r": "john@example.org",
		" jo hn@ex\u200bample.org": "john@example.org",
		"john@m\u00fcller.example": "john@xn--mller-kva.example",
		"j\u00fcrgen@example.org":  "j\u00fcrgen@example.org",
		"M\u00dcLLER.example":      "xn--mller-kva.example",
		"john@-\u00fc.example":     "john@-\u00fc.example", // no such domain
		"":                         "",
	} {
		if got := meant(in); got != want {
			t.Errorf("meant(%q) = %q, want %q", in, got, want)
		}
		if again := meant(want); again != want {
			t.Errorf("meant(%q) = %q, though nothing is wrong with it", want, again)
		}
	}
}

var patterns = map[string]string{
	`/^info@example\.org$/`:     "info@example.org",
	`/^info\+x@example\.org$/i`: "info+x@example.org",
	`/info@example.org/`:        "info@example.org",
	`/^(.*)@example\.org$/`:     "",
	`/@example\.org$/`:          "",
	`/^info$/`:                  "",
	`/`:                         "",
	`//`:                        "",
	``:                          "",
	`!/^info@example\.org$/`:    "",
	`/\/`:                       "",
}

func TestSpelledOut(t *testing.T) {
	for in, want := range patterns {
		a, ok := spelledOut(in)
		if ok != (want != "") || ok && a.Internal() != want {
			t.Errorf("spelledOut(%q) = %v, %v, want %q", in, a, ok, want)
		}
	}
}

// TestSpelledOutAnything holds that what is taken for an address has nothing left of
// a pattern in it. (A fuzz target would be slow in a test with a database.)
func TestSpelledOutAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.OneOf(rapid.String(), rapid.StringMatching(`/\^?[a-z.\\*+@-]{0,12}@[a-z.\\()-]{0,9}\$?/i?`)).Draw(t, "pattern")
		if a, ok := spelledOut(in); ok && (a.Local == "" || a.Domain == "" || strings.ContainsAny(a.Domain, "*+?()[]")) {
			t.Errorf("spelledOut(%q) = %v", in, a)
		}
	})
}
