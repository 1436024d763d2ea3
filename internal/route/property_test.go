package route_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"postern/internal/address"
	"postern/internal/route"
	"postern/internal/route/routetest"
)

// reference expands an address as virtual(5) and cleanup(8) describe it, with
// lists and sets in place of tables. ok is false where a limit is passed.
func reference(graph map[string][]string, start string, recursion, expansion int) (final []string, ok bool) {
	all := []string{start}
	self := map[string]bool{}
	for i := 0; i < len(all); i++ {
		if len(all) > expansion {
			return nil, false
		}
		for count := 0; !self[all[i]]; count++ {
			if count >= recursion {
				return nil, false
			}
			asked := all[i]
			to := graph[asked]
			if len(to) == 0 {
				break
			}
			for _, t := range to {
				if t == asked {
					self[asked] = true
				}
			}
			all[i] = to[0]
			all = append(all, to[1:]...)
		}
	}
	seen := map[string]bool{}
	for _, a := range all {
		if !seen[a] {
			final = append(final, a)
		}
		seen[a] = true
	}
	return final, true
}

// TestExpandProperty: for any alias graph the expansion ends, agrees with the
// reference, has no duplicates and keeps to its limits.
func TestExpandProperty(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		nodes := rapid.IntRange(1, 12).Draw(t, "nodes")
		node := rapid.Custom(func(t *rapid.T) string {
			return fmt.Sprintf("n%d@a.test", rapid.IntRange(0, nodes-1).Draw(t, "n"))
		})
		graph := rapid.MapOfN(node, rapid.SliceOfN(node, 1, 4), 0, nodes).Draw(t, "graph")
		recursion := rapid.IntRange(1, 8).Draw(t, "recursion")
		expansion := rapid.IntRange(1, 20).Draw(t, "expansion")
		start := node.Draw(t, "start")

		rows := []string{"unused@b.test=x"} // an inline table may not be empty
		for from, to := range graph {
			rows = append(rows, "{"+from+"="+strings.Join(to, " ")+"}")
		}
		w, err := routetest.In(dir, fmt.Sprintf("virtual_alias_recursion_limit = %d\nvirtual_alias_expansion_limit = %d\nvirtual_alias_maps = inline:{ %s }\n",
			recursion, expansion, strings.Join(rows, ", ")))
		if err != nil {
			t.Fatal(err)
		}
		defer w.Opener.Close()
		list, err := w.Router.Expand(context.Background(), []route.Recipient{{Address: address.Split(start), Original: start}}, nil)
		want, ok := reference(graph, start, recursion, expansion)
		var e *route.ExpansionError
		switch {
		case err != nil && (ok || !errors.As(err, &e) || e.Reply.Code != 451):
			t.Fatalf("Expand: %v, want %q", err, want)
		case err == nil && !ok:
			t.Fatalf("Expand = %s, want a limit", addresses(list, nil))
		case err == nil && addresses(list, nil) != strings.Join(want, " "):
			t.Fatalf("Expand = %s, want %q", addresses(list, nil), want)
		}
		if len(list) > expansion {
			t.Fatalf("%d recipients with a limit of %d", len(list), expansion)
		}
	})
}
