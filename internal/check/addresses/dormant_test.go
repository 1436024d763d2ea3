package addresses_test

import (
	"context"
	"strings"
	"testing"

	"postern/internal/check/addresses"
	"postern/internal/explain"
	"postern/internal/finding"
)

// The cure for a row that is there and inactive is to activate it.
func TestDormant(t *testing.T) {
	i, _ := open(t, "testdata/dormant.txtar")
	dir := i.Setup.Dir
	boxes, aliases, domains := "sqlite:"+dir+"/boxes.cf", "sqlite:"+dir+"/aliases.cf", "sqlite:"+dir+"/domains.cf"
	condition := map[string]string{boxes: "active=1 AND maildir LIKE '%'", aliases: "active=1", domains: "active=1"}
	cure := func(address, spec string) string {
		return "activate the row of " + address + " in " + spec + " (" + condition[spec] + ")"
	}
	check := func(list []finding.Finding, code, in, fix string) {
		t.Helper()
		for _, f := range list {
			if f.Code == code && strings.Contains(f.Message, in) {
				if f.Fix != fix {
					t.Errorf("%s of %s: fix %q, want %q", code, in, f.Fix, fix)
				}
				if strings.Contains(fix, "activate") && !strings.Contains(f.Message, "but not with active=1") || strings.Contains(f.Message, "%!") {
					t.Errorf("%s of %s does not say that it is inactive: %s", code, in, f.Message)
				}
				return
			}
		}
		t.Errorf("no %s that speaks of %q in %v", code, in, list)
	}
	all := examine(i)
	for _, tt := range []struct{ code, in, fix string }{
		{"VD208", "x@example.test -> ", cure("jane@example.test", boxes) + ", or take jane@example.test out of the row for x@example.test"},
		{"VD208", "y@example.test -> ", "add nobody@example.test to virtual_mailbox_maps, or take it out of the row for y@example.test"},
		{"VD208", "z@example.test -> ", "write jack@example.test in the place of jacq@example.test, or add jacq@example.test to virtual_mailbox_maps"},
		{"VD208", "w@example.test -> ", cure("info@example.test", aliases) + ", or take info@example.test out of the row for w@example.test"},
		{"VD208", "v@example.test -> ", "give the row of void@example.test in " + boxes + " a result, or take void@example.test out of the row for v@example.test"},
		{"VD208", "self@example.test has an alias to itself", cure("self@example.test", boxes) + ", or take out the row " + aliases + ` "self@example.test"`},
		{"VD202", "a@alias.test -> ", "point a@alias.test at a mailbox or at an address elsewhere, or " + cure("b@alias.test", aliases)},
		{"VD103", "asleep.test is in no list", cure("asleep.test", domains)},
	} {
		check(all, tt.code, tt.in, tt.fix)
	}
	x := explain.Explainer{Dir: dir, Settings: i.Setup.Service, Router: i.Setup.Router, Policy: i.Setup.Policy}
	for _, tt := range []struct{ address, code, fix string }{
		{"jane@example.test", "VD201", cure("jane@example.test", boxes) + ", or write jana@example.test if that is meant"},
		{"b@alias.test", "VD202", cure("b@alias.test", aliases)},
		{"anybody@empty.test", "VD103", cure("empty.test", domains)},
		{"john@asleep.test", "VD103", cure("asleep.test", domains)},
	} {
		e, err := x.Explain(t.Context(), tt.address)
		if err != nil {
			t.Fatal(err)
		}
		var list []finding.Finding
		addresses.Address(context.Background(), i, &e, func(f finding.Finding) { list = append(list, f) })
		check(list, tt.code, "", tt.fix)
	}
}
