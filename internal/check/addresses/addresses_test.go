package addresses

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/route"
	"postern/internal/table"
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

func TestEndless(t *testing.T) {
	// grown are rounds of a row that adds an extension, with a row between.
	grown := func(rounds int) []*hop {
		var hops []*hop
		var last *hop
		from := "a"
		for range rounds {
			one, two := rowOf(2, from, from+"-"), rowOf(1, from+"-", from+"+x")
			one.prev, two.prev = last, one
			hops, last, from = append(hops, one, two), two, from+"+x"
		}
		return hops
	}
	chain := []*hop{rowOf(1, "a", "b"), rowOf(2, "b", "c")}
	chain[1].prev = chain[0]
	for _, tt := range []struct {
		name, rows, grown string
		hops              []*hop
	}{
		{"circle", "a b", "", []*hop{rowOf(1, "a", "b"), rowOf(2, "b", "a")}},
		{"through a final one", "", "", []*hop{rowOf(1, "a", "a", "b"), rowOf(2, "b", "a")}},
		{"a chain", "", "", chain},
		{"ever longer", "a- a+x", "a+x-", grown(fewRounds)},
		{"a few times", "", "", grown(fewRounds - 1)},
		{"nothing", "", "", nil},
	} {
		rows, next := endless(tt.hops)
		if froms(rows) != tt.rows || next != tt.grown {
			t.Errorf("%s: endless() = %q, %q, want %q, %q", tt.name, froms(rows), next, tt.rows, tt.grown)
		}
	}
}

func TestIsNesting(t *testing.T) {
	nesting := &route.ExpansionError{Text: "unreasonable virtual_alias_maps map nesting for a"}
	failed := &route.ExpansionError{Text: nesting.Text, Err: errors.New("no answer")}
	for err, want := range map[error]bool{nesting: true, failed: false, errors.New("map nesting"): false} {
		if got := isNesting(err); got != want {
			t.Errorf("isNesting(%v) = %v, want %v", err, got, want)
		}
	}
}

func TestCut(t *testing.T) {
	for in, want := range map[string]string{
		"john@example.org":                                "john@example.org",
		nobody + "@example.org":                           "@example.org",
		strings.Repeat("x", maxShown):                     strings.Repeat("x", maxShown),
		strings.Repeat("x", maxShown-1) + "\u00fc@a.test": strings.Repeat("x", maxShown-1) + "...",
	} {
		if got := cut(in); got != want {
			t.Errorf("cut(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestNowhereFix(t *testing.T) {
	for _, tt := range []struct {
		parameter, near, want string
	}{
		{"virtual_mailbox_maps", "", "add a.test to virtual_mailbox_domains"},
		{"relay_recipient_maps", "b.test", "add a.test to relay_domains, or write b.test if that is meant"},
		{"virtual_alias_maps", "", "add a.test to virtual_alias_domains if all its mail is to come here; " +
			"leave the row as it is if it is meant for mail that leaves through this host"},
	} {
		if got := nowhereFix("a.test", tt.parameter, strings.Fields(tt.near)); got != tt.want {
			t.Errorf("nowhereFix(%s, %q) = %q, want %q", tt.parameter, tt.near, got, tt.want)
		}
	}
}

func TestQuoted(t *testing.T) {
	if got := quoted("+-"); got != `"+" or "-"` {
		t.Errorf("quoted(+-) = %s", got)
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

func TestUnmet(t *testing.T) {
	for _, tt := range []struct {
		condition string
		row       map[string]string
		want      string
		failing   int
	}{
		{"active = 1", map[string]string{"active": "0"}, "active = 1", 1},
		{"active=1", map[string]string{}, "active=1", 1}, // NULL
		{"name = ''", map[string]string{}, "name = ''", 1},
		{"backupmx = 0 AND active = 1", map[string]string{"backupmx": "1", "active": "0"}, "backupmx = 0 AND active = 1", 2},
		{"backupmx = 1 AND active = 1", map[string]string{"backupmx": "1", "active": "0"}, "active = 1", 1},
		{"d.backupmx = '1' AND `d`.`Active` = TRUE", map[string]string{"backupmx": "1", "active": "f"}, "`d`.`Active` = TRUE", 1},
		{"backupmx = false AND active = '1'", map[string]string{"backupmx": "f", "active": "f"}, "active = '1'", 1},
		{"backupmx = false AND active = '1'", map[string]string{"backupmx": "\x00", "active": "\x00"}, "active = '1'", 1},
		// One of the two columns is shown, and nobody knows which.
		{"mailbox.active = 1 AND domain.active = 1", map[string]string{"active": "1"}, "mailbox.active = 1 AND domain.active = 1", 1},
		{"m.active = '1' AND d.active = '1'", map[string]string{"m.active": "0", "d.active": "1"}, "m.active = '1'", 1},
		{"status = 'Active' AND enabled = 1", map[string]string{"status": "active", "enabled": "1.0"}, "status = 'Active'", 1},
		{"status = 'Active' AND enabled = 1", map[string]string{"status": "active", "enabled": "0"}, "status = 'Active' AND enabled = 1", 1},
		// What else a condition may be is not known to hold.
		{"kind = 'box' AND maildir LIKE '%'", map[string]string{"kind": "box"}, "maildir LIKE '%'", 1},
		{"status = 1 OR status = 2 AND active = 1", map[string]string{"status": "3", "active": "1"}, "status = 1 OR status = 2", 1},
		{"active AND backupmx <= 0", map[string]string{"active": "0", "backupmx": "0"}, "active AND backupmx <= 0", 1},
		{"state = 'a AND b'", map[string]string{"state": "a"}, "state = 'a AND b'", 1},
		{"active = 1", map[string]string{"active": "1"}, "active = 1", 1}, // the rows changed meanwhile
		{"", nil, "", 1},
	} {
		d := dormant{Hidden: table.Hidden{Entry: table.Entry{Places: table.Place{Row: tt.row}}, Condition: tt.condition}}
		if got, failing := d.unmet(); got != tt.want || failing != tt.failing {
			t.Errorf("%s of %v: unmet() = %q, %d, want %q, %d", tt.condition, tt.row, got, failing, tt.want, tt.failing)
		}
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
		"john@example.org.":        "john@example.org",
		"<john@example.org>,":      "john@example.org",
		`"john@example.org"`:       "john@example.org",
		`"john doe"@example.org;`:  `"johndoe"@example.org`,
		".example.org":             ".example.org",
		`"`:                        `"`,
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
