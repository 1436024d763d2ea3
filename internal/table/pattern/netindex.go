package pattern

import (
	"net/netip"
	"slices"
)

// minIndexed is how many plain network rules must follow each other for an
// index to be worth its while.
const minIndexed = 8

// netIndex finds the first of many neighbouring network rules at the cost of
// one probe for each mask length that occurs in them.
type netIndex struct {
	first   map[netip.Prefix]int // the first rule that has this network
	lengths map[int][]int        // mask lengths, by the length of an address
	end     int                  // the first rule behind the indexed ones
}

// find returns the first rule that matches, or -1.
func (x *netIndex) find(addr netip.Addr) int {
	best := -1
	for _, n := range x.lengths[addr.BitLen()] {
		p, err := addr.Prefix(n)
		if err != nil {
			continue // the lengths are those of the family
		}
		if i, ok := x.first[p]; ok && (best < 0 || i < best) {
			best = i
		}
	}
	return best
}

// indexNetworks gives an index to every long run of plain network rules. A run
// ends at an if, at a negated pattern, and where an if may jump to.
func indexNetworks(p *program) {
	target := make(map[int]bool)
	for i := range p.rules {
		if p.rules[i].isIf {
			target[p.rules[i].end] = true
		}
	}
	for start := 0; start < len(p.rules); {
		end := start
		for end < len(p.rules) && isPlainNetwork(&p.rules[end]) && (end == start || !target[end]) {
			end++
		}
		if end-start >= minIndexed {
			p.rules[start].index = newNetIndex(p.rules, start, end)
		}
		start = max(end, start+1)
	}
}

func isPlainNetwork(r *rule) bool {
	n, ok := r.conditions[0].matcher.(network)
	return ok && !n.negated && !r.isIf
}

func newNetIndex(rules []rule, start, end int) *netIndex {
	x := &netIndex{first: make(map[netip.Prefix]int, end-start), lengths: make(map[int][]int), end: end}
	for i := start; i < end; i++ {
		p := rules[i].conditions[0].matcher.(network).prefix
		if _, ok := x.first[p]; ok {
			continue
		}
		x.first[p] = i
		family := p.Addr().BitLen()
		if !slices.Contains(x.lengths[family], p.Bits()) {
			x.lengths[family] = append(x.lengths[family], p.Bits())
		}
	}
	return x
}
