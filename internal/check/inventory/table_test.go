package inventory_test

import (
	"slices"
	"testing"
)

// TestRows has several rows for one key, and for keys that differ in case only.
func TestRows(t *testing.T) {
	i := open(t, `
-- main.cf --
virtual_alias_maps = sqlite:{dir}/a.cf
-- a.cf --
dbpath = {dir}/mail.db
query = SELECT b FROM t WHERE a = '%s' ORDER BY rowid
-- mail.sql --
CREATE TABLE t (a TEXT, b TEXT);
INSERT INTO t VALUES ('a@example.org', '1'), ('b@example.org', '2'), ('A@example.org', '3'), ('a@example.org', '4');
`)
	tab := i.Of(t.Context(), "virtual_alias_maps")[0]
	var values, places []string
	for _, e := range tab.Rows("a@Example.org") {
		values, places = append(values, e.Value), append(places, e.At().Row["a"]+" "+e.At().Row["b"])
	}
	if want := []string{"1", "3", "4"}; !slices.Equal(values, want) {
		t.Errorf("rows %q, want %q", values, want)
	}
	if want := []string{"a@example.org 1", "A@example.org 3", "a@example.org 4"}; !slices.Equal(places, want) {
		t.Errorf("places %q, want %q", places, want)
	}
	var first []bool
	for n := range tab.Entries {
		first = append(first, tab.First(n))
	}
	if want := []bool{true, true, false, false}; !slices.Equal(first, want) {
		t.Errorf("first %v, want %v", first, want)
	}
	if !tab.Has("B@example.org") || tab.Has("c@example.org") || len(tab.Rows("c@example.org")) > 0 {
		t.Error("b is there, and c is not")
	}
	if at := tab.Entries[1].At(); at.Key != "b@example.org" || at.Table != tab.Spec || at.Query == "" {
		t.Errorf("the place of b: %+v", at)
	}
}
