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
