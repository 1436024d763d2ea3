package route_test

import (
	"context"
	"testing"

	"postern/internal/route"
	"postern/internal/route/routetest"
)

// TestOverridesCatchall: with virtual_mailbox_overrides_catchall a mailbox that
// exists is spared by "@domain", at every step of an expansion.
func TestOverridesCatchall(t *testing.T) {
	const world = `
virtual_mailbox_domains = mbox.test, mbox2.test
virtual_alias_domains = alias.test
recipient_delimiter = +
virtual_mailbox_maps = inline:{john@mbox.test=john/, all+tag@mbox.test=tag/, @mbox2.test=all/, jill@mbox2.test=jill/, x@alias.test=x/}
virtual_alias_maps = inline:{
	@mbox.test=catch@other.test, sales@mbox.test=john@mbox.test, john2@mbox.test=nobody@mbox.test,
	@mbox2.test=catch@other.test, @alias.test=@mbox.test, jane@mbox.test=x@other.test, @localhost=catch@other.test}
`
	tests := []struct{ name, main, in, want string }{
		{"mailbox", "", "john@mbox.test", "john@mbox.test"},
		{"mailbox in capitals", "", "JOHN@mbox.test", "JOHN@mbox.test"},
		{"mailbox with extension", "", "john+e@mbox.test", "john+e@mbox.test"},
		{"mailbox of an extension", "", "all+tag@mbox.test", "all+tag@mbox.test"},
		{"another extension of it", "", "all+other@mbox.test", "catch@other.test"},
		{"no mailbox", "", "who@mbox.test", "catch@other.test"},
		{"alias to a mailbox", "", "sales@mbox.test", "john@mbox.test"},
		{"alias to no mailbox", "", "john2@mbox.test", "catch@other.test"},
		{"domain mapped onto it", "", "john@alias.test", "john@mbox.test"},
		{"domain mapped onto it, no mailbox", "", "who@alias.test", "catch@other.test"},
		{"its @domain mailbox does not count", "", "who@mbox2.test", "catch@other.test"},
		{"but other mailboxes there do", "", "jill@mbox2.test", "jill@mbox2.test"},
		{"alias of its own beats the mailbox", "virtual_mailbox_maps = inline:{jane@mbox.test=jane/}", "jane@mbox.test", "x@other.test"},
		{"another class is not spared", "", "x@alias.test", "catch@other.test"},
		{"local class is not spared", "", "john@localhost", "catch@other.test"},
		{"off", "virtual_mailbox_overrides_catchall = no", "john@mbox.test", "catch@other.test"},
		{"off at a later step", "virtual_mailbox_overrides_catchall = no", "sales@mbox.test", "catch@other.test"},
		{"compatibility", "compatibility = postfix\ncompatibility_level = 3.6", "john@mbox.test", "catch@other.test"},
		{"compatibility, but written", "compatibility = postfix\ncompatibility_level = 3.6\nvirtual_mailbox_overrides_catchall = yes", "john@mbox.test", "john@mbox.test"},
		{"row of a pattern", "virtual_alias_maps = regexp:{{/@mbox.test/ catch@other.test}}", "john@mbox.test", "catch@other.test"},

		{"mailbox table fails", "virtual_mailbox_maps = fail:x", "who@mbox.test", "451 4.3.0 Error: queue file write error"},
		{"mailbox table fails at a later step", "virtual_mailbox_maps = fail:x", "sales@mbox.test", "451 4.3.0 Error: queue file write error"},
		{"mailbox table fails, not asked", "virtual_mailbox_maps = fail:x", "jane@mbox.test", "x@other.test"},
		{"mailbox table fails, another class", "virtual_mailbox_maps = fail:x", "who@localhost", "catch@other.test"},
		{"mailbox table fails, off", "virtual_mailbox_maps = fail:x\nvirtual_mailbox_overrides_catchall = no", "who@mbox.test", "catch@other.test"},
		{"mailbox domains fail", "virtual_mailbox_domains = fail:x", "who@mbox.test", "451 4.3.0 Error: queue file write error"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := routetest.New(t, world+tt.main)
			if got := expand(t, w, tt.in); got != tt.want {
				t.Errorf("Expand(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

// TestCatchallIsAsked counts the questions: the mailbox table is asked only
// when it comes to "@domain".
func TestCatchallIsAsked(t *testing.T) {
	w := routetest.New(t, `
virtual_mailbox_domains = mbox.test
virtual_mailbox_maps = inline:{john@mbox.test=john/}
virtual_alias_maps = inline:{@mbox.test=catch@other.test, jane@mbox.test=x@other.test}
`)
	asked := func(in string) (n int) {
		tr := &route.Trace{}
		if _, err := w.Router.Expand(context.Background(), given(t, in), tr); err != nil {
			t.Fatal(err)
		}
		for _, s := range tr.Steps {
			if s.Op == "lookup" && s.Parameter == "virtual_mailbox_maps" {
				n++
			}
		}
		return n
	}
	for in, want := range map[string]int{"jane@mbox.test": 0, "john@mbox.test": 1, "who@mbox.test": 1, "x@other.test": 0} {
		if got := asked(in); got != want {
			t.Errorf("%s: virtual_mailbox_maps was asked %d times, want %d", in, got, want)
		}
	}
}
