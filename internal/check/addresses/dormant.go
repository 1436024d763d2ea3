package addresses

import (
	"context"
	"fmt"
	"slices"

	"postern/internal/origin"
	"postern/internal/table"
)

// dormant is a row that is there and that no lookup finds: of an inactive mailbox, alias
// or domain, or one without a result.
type dormant struct {
	table.Hidden
	parameter, spec string
}

// dormantRows are the rows that no lookup finds, by the address or the domain that was
// meant. They are listed once.
func (g *graph) dormantRows(ctx context.Context) map[string][]dormant {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dormant != nil {
		return g.dormant
	}
	g.dormant = map[string][]dormant{}
	for _, parameter := range slices.Concat(keyedMaps, domainLists) {
		for _, t := range g.list.Of(ctx, parameter) {
			if t.Pattern {
				continue
			}
			for _, h := range t.Hidden(ctx) {
				if h.Reason != table.NotAsked {
					key := meant(h.Key)
					g.dormant[key] = append(g.dormant[key], dormant{h, parameter, t.Spec})
				}
			}
		}
	}
	return g.dormant
}

// inactive are the dormant rows of an address, or of a domain, that a condition of the
// query leaves out, and what a message says of them.
func (g *graph) inactive(ctx context.Context, key string) (at []origin.At, because string) {
	for _, d := range g.dormantRows(ctx)[meant(key)] {
		if d.Reason == table.Excluded {
			at = append(at, d.At())
			because = fmt.Sprintf("; there is a row in %s, but not with %s", d.spec, d.Condition)
		}
	}
	return at, because
}

// revive is the cure where an address, or a domain, has a dormant row; "" where it has
// none.
func (g *graph) revive(ctx context.Context, key string) string {
	for _, d := range g.dormantRows(ctx)[meant(key)] {
		switch {
		case d.Reason == table.NoResult:
			return fmt.Sprintf("give the row of %s in %s a result", cut(key), d.spec)
		case d.Condition == "":
			return fmt.Sprintf("activate the row of %s in %s", cut(key), d.spec)
		default:
			return fmt.Sprintf("activate the row of %s in %s (%s)", cut(key), d.spec, d.Condition)
		}
	}
	return ""
}

// likely is the near miss that a cure may propose: not the address itself, which is near
// when it has a dormant row.
func likely(near []string, key string) string {
	if i := slices.IndexFunc(near, func(n string) bool { return meant(n) != meant(key) }); i >= 0 {
		return near[i]
	}
	return ""
}
