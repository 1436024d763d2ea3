package plan_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/plan"
	"postern/internal/setup"
)

// TestRules changes rules of a table of patterns.
func TestRules(t *testing.T) {
	const rules = "/^sales@one\\.test$/ ann@one.test\n/^s-.*@one\\.test$/ ann@one.test\n"
	for _, tt := range []struct {
		name, after string
		changed     []string
		note        string
	}{
		{"nothing", rules, nil, ""},
		{"an address comes", rules + "/^info@one\\.test$/ bob@one.test\n", []string{"info@one.test by virtual:3"}, ""},
		{"an address goes", "/^s-.*@one\\.test$/ ann@one.test\n", []string{"sales@one.test by virtual:1"}, ""},
		{"another target", strings.Replace(rules, "ann@", "bob@", 1), []string{"sales@one.test by virtual:1"}, ""},
		{"a rule before it", "/^s/ bob@one.test\n" + rules, []string{"sales@one.test by virtual:1"}, "1 changed rule of pcre:"},
		{"another order", "/^s-.*@one\\.test$/ ann@one.test\n/^sales@one\\.test$/ ann@one.test\n", nil, ""},
		{"a repetition", rules + rules, nil, ""},
		{"another target of many", strings.Replace(rules, "/^s-.*@one\\.test$/ ann@", "/^x.*/ bob@one.test\n/^s-.*@one\\.test$/ bob@", 1), nil, "2 changed rules of pcre:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := func(rules string) *setup.Setup {
				f := sound().with("main.cf", "texthash:{dir}/virtual", "pcre:{dir}/virtual")
				f["virtual"] = rules
				return f.open(t, setup.Options{})
			}
			r := compare(t, config(rules), config(tt.after), plan.Options{})
			var got []string
			for _, c := range r.Changes {
				got = append(got, c.Address+" by "+c.Cause.String())
			}
			if diff := cmp.Diff(tt.changed, got); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			var b bytes.Buffer
			r.Print(&b, false)
			if tt.note != "" && !strings.Contains(b.String(), "\n"+tt.note) && !strings.HasPrefix(b.String(), tt.note) {
				t.Errorf("no %q in\n%s", tt.note, b.String())
			}
			if tt.note == "" && strings.Contains(b.String(), "--addresses") {
				t.Errorf("a note in\n%s", b.String())
			}
		})
	}
}

// TestOrder exchanges rules of a table of patterns: the first that fits is the one
// that answers.
func TestOrder(t *testing.T) {
	const first, info, team, last = "/^x/ ann@one.test\n", "/^info@/ bob@one.test\n", "/^info.*@one\\.test$/ ann@one.test\n", "/^y/ ann@one.test\n"
	config := func(rules string) *setup.Setup {
		f := sound().with("main.cf", "texthash:{dir}/virtual", "pcre:{dir}/virtual")
		f["virtual"] = rules
		return f.open(t, setup.Options{})
	}
	r := compare(t, config(first+info+team+last), config(first+team+info+last), plan.Options{Addresses: []string{"info@one.test"}})
	if len(r.Changes) != 1 || r.Changes[0].Address != "info@one.test" || r.Changes[0].Cause.Line != 2 {
		t.Errorf("changes %+v", r.Changes)
	}
	if len(r.UnknownRules) != 1 || r.UnknownRules[0].Count != 2 {
		t.Errorf("unknown rules %v", r.UnknownRules)
	}
}

// TestOrderOfResults exchanges rules whose results are one text, with other parts of
// the address in it.
func TestOrderOfResults(t *testing.T) {
	const tagged, plain = "/^(.+)\\+.*@one\\.test$/ $1@two.test\n", "/^(.+)@one\\.test$/ $1@two.test\n"
	config := func(rules string) *setup.Setup {
		f := sound().with("main.cf", "texthash:{dir}/virtual", "pcre:{dir}/virtual")
		f["virtual"] = rules
		return f.open(t, setup.Options{})
	}
	r := compare(t, config(tagged+plain), config(plain+tagged), plan.Options{})
	if len(r.UnknownRules) != 1 || r.UnknownRules[0].Count != 2 {
		t.Errorf("unknown rules %v", r.UnknownRules)
	}
}

// TestOrderOfTables exchanges two tables of a parameter, of which each stays as it was.
func TestOrderOfTables(t *testing.T) {
	config := func(tables string) *setup.Setup {
		f := sound().with("main.cf", "texthash:{dir}/virtual", tables)
		f["a"], f["b"] = "/a/ ann@one.test\n", "/^info@one\\.test$/ bob@one.test\n/c/ bob@one.test\n"
		return f.open(t, setup.Options{})
	}
	const a, b = "pcre:{dir}/a", "regexp:{dir}/b"
	for _, tt := range []struct {
		old, now string
		want     int // tables with changed rules
	}{{a + " " + b, b + ", " + a, 2}, {a + " " + b, a + "," + b, 0}, {a + " " + b, b, 1}, {a, b + " " + a, 1}} {
		r := compare(t, config(tt.old), config(tt.now), plan.Options{})
		if len(r.UnknownRules) != tt.want {
			t.Errorf("%s -> %s: unknown rules %v, want %d tables", tt.old, tt.now, r.UnknownRules, tt.want)
		}
	}
}
