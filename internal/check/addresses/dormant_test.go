package addresses_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/internal/check/addresses"
	"postern/internal/check/inventory"
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
	for _, tt := range []struct{ address, code, fix string }{
		{"jane@example.test", "VD201", cure("jane@example.test", boxes) + ", or write jana@example.test if that is meant"},
		{"b@alias.test", "VD202", cure("b@alias.test", aliases)},
		{"anybody@empty.test", "VD103", cure("empty.test", domains)},
		{"john@asleep.test", "VD103", cure("asleep.test", domains)},
	} {
		check(explained(t, i, tt.address), tt.code, "", tt.fix)
	}
}

// explained are the findings about one address.
func explained(t *testing.T, i *inventory.Inventory, address string) (list []finding.Finding) {
	t.Helper()
	x := explain.Explainer{Dir: i.Setup.Dir, Settings: i.Setup.Service, Router: i.Setup.Router, Policy: i.Setup.Policy}
	e, err := x.Explain(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	addresses.Address(t.Context(), i, &e, func(f finding.Finding) { list = append(list, f) })
	return list
}

// Of several dormant rows the message, its places and the cure speak of those that help,
// and when they are active nothing is wrong any more.
func TestRevival(t *testing.T) {
	i, _ := open(t, "testdata/revival.txtar")
	dir := i.Setup.Dir
	in := strings.NewReplacer("DOM", "sqlite:"+dir+"/dom.cf", "REL", "sqlite:"+dir+"/rel.cf", "BOX", "sqlite:"+dir+"/box.cf").Replace
	for _, tt := range []struct{ code, about, address, because, fix, awake string }{
		{"VD208", "info@example.test -> ", "info@example.test", "; there is a row in BOX, but not with active = 1;",
			"activate the row of joe@example.test in BOX (active = 1), or take joe@example.test out of the row for info@example.test",
			"UPDATE mailbox SET active = 1 WHERE username = 'joe@example.test'"},
		{"VD208", "sales@example.test -> ", "sales@example.test", "",
			"add joan@example.test to virtual_mailbox_maps, or take it out of the row for sales@example.test", ""},
		{"VD202", "sales@alias.test -> ", "sales@alias.test", "",
			"point sales@alias.test at a mailbox or at an address elsewhere, or add a row for jim@alias.test to virtual_alias_maps", ""},
		{"VD103", "relay.test is in no list", "john@relay.test", "; there is a row in REL, but not with active = 1;",
			"activate the row of relay.test in REL (active = 1)", "UPDATE domain SET active = 1 WHERE domain = 'relay.test'"},
		{"VD103", "twin.test is in no list", "john@twin.test", "; there is a row in DOM, but not with backupmx = 0, and a row in REL, but not with backupmx = 1;",
			"activate the row of twin.test in DOM (backupmx = 0), or activate the row of twin.test in REL (backupmx = 1)",
			"UPDATE domain SET backupmx = 1 WHERE domain = 'twin.test'"},
	} {
		about := func(f finding.Finding) bool { return f.Code == tt.code && strings.Contains(f.Message, tt.about) }
		for _, list := range [][]finding.Finding{examine(i), explained(t, i, tt.address)} {
			n := slices.IndexFunc(list, about)
			if n < 0 {
				t.Errorf("no %s about %s in %v", tt.code, tt.about, list)
				continue
			}
			f := list[n]
			if f.Fix != in(tt.fix) || !strings.Contains(f.Message, in(tt.because)) || tt.because == "" && strings.Contains(f.Message, "there is a row") {
				t.Errorf("%s about %s:\n%s\nfix: %s", tt.code, tt.about, f.Message, f.Fix)
			}
			for _, at := range f.At {
				if asleep := at.Row["active"] == "0"; asleep && !strings.Contains(in(tt.fix), at.Table) {
					t.Errorf("%s about %s is placed at %v as well", tt.code, tt.about, at)
				}
			}
		}
		if tt.awake == "" {
			continue
		}
		fill(t, filepath.Join(dir, "mail.db"), tt.awake)
		if list := explained(t, openDir(t, dir), tt.address); slices.ContainsFunc(list, func(f finding.Finding) bool { return f.Severity == finding.Error }) {
			t.Errorf("%s is not cured: %v", tt.about, list)
		}
	}
}
