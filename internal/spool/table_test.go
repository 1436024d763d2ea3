package spool

import (
	"cmp"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestTable compares a table with a map, and what is frozen with a copy.
func TestTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x table
		want := map[uint64]slot{}
		var frozen []slot
		var leaves []leaf
		top := uint64(1000)
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				for range rapid.IntRange(1, 300).Draw(t, "n") {
					top += rapid.Uint64Range(1, 3).Draw(t, "step")
					want[top] = slot{number: top, next: int64(top)}
					x.insert(want[top])
				}
			},
			"insert": func(t *rapid.T) {
				e := slot{number: rapid.Uint64Range(1, top).Draw(t, "number"), rcpts: 7}
				want[e.number] = e
				x.insert(e)
			},
			"edit": func(t *rapid.T) {
				number := rapid.Uint64Range(990, top).Draw(t, "number")
				if e := x.edit(number); e != nil {
					e.next++
					want[number] = *e
				}
			},
			"delete": func(t *rapid.T) {
				from := rapid.Uint64Range(1, top).Draw(t, "from")
				for number := range rapid.Uint64Range(1, 200).Draw(t, "n") {
					x.delete(from + number)
					delete(want, from+number)
				}
			},
			"freeze": func(t *rapid.T) {
				if frozen == nil {
					frozen, leaves = sorted(want), x.freeze()
				}
			},
			"thaw": func(t *rapid.T) {
				if frozen != nil {
					compareSlots(t, frozen, slotsOf(leaves))
					x.thaw()
					frozen = nil
				}
			},
			"": func(t *rapid.T) { checkTable(t, &x, want) },
		})
	})
}

func sorted(m map[uint64]slot) []slot {
	return slices.SortedFunc(maps.Values(m), func(a, b slot) int { return cmp.Compare(a.number, b.number) })
}

func slotsOf(leaves []leaf) []slot {
	list := []slot{}
	for _, l := range leaves {
		list = append(list, l.slots[:l.n]...)
	}
	return list
}

func compareSlots(t *rapid.T, want, got []slot) {
	if !slices.Equal(want, got) {
		t.Fatalf("%d slots, want %d:\n%v\n%v", len(got), len(want), got, want)
	}
}

func checkTable(t *rapid.T, x *table, want map[uint64]slot) {
	all := sorted(want)
	compareSlots(t, all, slotsOf(x.leaves))
	if x.n != len(all) {
		t.Fatalf("n = %d, want %d", x.n, len(all))
	}
	last := uint64(0)
	if len(all) > 0 {
		last = all[len(all)-1].number
	}
	if x.last() != last {
		t.Fatalf("last() = %d, want %d", x.last(), last)
	}
	got := make([]slot, 0, len(all))
	buf := make([]slot, 50)
	for from := uint64(0); ; from = got[len(got)-1].number {
		n := x.after(from, buf)
		if n == 0 {
			break
		}
		got = append(got, buf[:n]...)
	}
	compareSlots(t, all, got)
	for number, e := range want {
		if f := x.find(number); f == nil || *f != e {
			t.Fatalf("find(%d) = %v, want %v", number, f, e)
		}
	}
	if x.find(last+1) != nil || x.edit(last+1) != nil {
		t.Fatal("found what is not there")
	}
	if n := len(x.leaves); n > 2 && x.n < n*blockSlots/5 {
		t.Fatalf("%d slots in %d blocks", x.n, n)
	}
}
