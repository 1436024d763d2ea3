package addresses

import (
	"errors"
	"slices"
	"strings"

	"postern/internal/address"
	"postern/internal/route"
)

// maxRewrites is how often a canonical table is applied to its own result; then the
// address is taken as it is.
const maxRewrites = 10

// endlessRewriting are the rows of a canonical table that never comes to an end.
func endlessRewriting(hops []*hop) []*hop {
	for _, parameter := range []string{"recipient_canonical_maps", "canonical_maps"} {
		var own []*hop
		for _, h := range hops {
			if h.parameter == parameter {
				own = append(own, h)
			}
		}
		if len(own) >= maxRewrites {
			if rows := cycle(own); rows != nil {
				return rows
			}
			return repeated(own)
		}
	}
	return nil
}

// fewAliases is how many aliases one behind the other are followed before somebody
// looks whether it will have an end. Sound chains are shorter; the limit of the
// server is reached soon enough by others.
const fewAliases = 50

// fewRounds is how often a row answers for ever longer addresses until it is taken
// for one that always will.
const fewRounds = 5

// isNesting reports an expansion that was given up for the length of its chain.
func isNesting(err error) bool {
	var e *route.ExpansionError
	return errors.As(err, &e) && e.Err == nil && strings.Contains(e.Text, "map nesting")
}

// endless finds the rows of an expansion that cannot come to an end, nil when it may.
// grown is the address that the rows make of their first one when it gets longer
// each time.
func endless(hops []*hop) (rows []*hop, grown string) {
	open := slices.DeleteFunc(slices.Clone(hops), (*hop).isFinal)
	if rows = cycle(open); rows != nil || len(open) == 0 {
		return rows, ""
	}
	rounds := open[len(open)-1:]
	for h := rounds[0].prev; h != nil; h = h.prev {
		if sameRow(h, rounds[0]) && len(h.from) < len(rounds[len(rounds)-1].from) {
			rounds = append(rounds[:len(rounds):len(rounds)], h)
		}
	}
	if len(rounds) < fewRounds {
		return nil, ""
	}
	first, second := rounds[len(rounds)-1], rounds[len(rounds)-2]
	return append([]*hop{first}, back(second.prev, first)...), second.from
}

// circle finds why an expansion has no end: the rows of a circle, or the row where a
// limit was reached, and its parameter.
func circle(hops []*hop, e *route.ExpansionError) (rows []*hop, limit string) {
	if rows = cycle(hops); rows != nil {
		return rows, ""
	}
	size := strings.Contains(e.Text, "expansion size")
	if !size {
		if rows = repeated(hops); rows != nil {
			return rows, ""
		}
	}
	switch {
	case size:
		limit = "virtual_alias_expansion_limit"
	case strings.Contains(e.Text, "map nesting"):
		limit = "virtual_alias_recursion_limit"
	default:
		limit = "virtual_alias_address_length_limit"
	}
	if len(hops) == 0 {
		return nil, limit // the address itself is beyond the limit
	}
	largest := hops[0]
	for _, h := range hops {
		if len(h.to) > len(largest.to) {
			largest = h
		}
	}
	return []*hop{largest}, limit
}

// cycle finds hops each of which leads to the next, and the last to the first. An
// address that leads to itself is no circle: it is final.
func cycle(hops []*hop) []*hop {
	from := map[string]*hop{}
	for _, h := range hops {
		if key := address.Fold(h.from); from[key] == nil {
			from[key] = h
		}
	}
	done := map[*hop]bool{}
	for _, h := range hops {
		if rows := cycleFrom(h, from, done); rows != nil {
			return rows
		}
	}
	return nil
}

// cycleFrom searches depth first, without recursion: chains can be long.
func cycleFrom(start *hop, from map[string]*hop, done map[*hop]bool) []*hop {
	type visit struct {
		hop  *hop
		next int // of hop.to
	}
	stack := []visit{{hop: start}}
	for len(stack) > 0 {
		top := &stack[len(stack)-1]
		if done[top.hop] || top.next == len(top.hop.to) {
			done[top.hop] = true
			stack = stack[:len(stack)-1]
			continue
		}
		to := from[top.hop.to[top.next]]
		top.next++
		if to == nil || to == top.hop || done[to] {
			continue
		}
		if i := slices.IndexFunc(stack, func(v visit) bool { return v.hop == to }); i >= 0 {
			var rows []*hop
			for _, v := range stack[i:] {
				rows = append(rows, v.hop)
			}
			return rows
		}
		stack = append(stack, visit{hop: to})
	}
	return nil
}

// repeated are the rows from one that comes again at the end, with ever new
// addresses: a pattern that matches its own result.
func repeated(hops []*hop) []*hop {
	if len(hops) == 0 {
		return nil
	}
	last := len(hops) - 1
	for i := last - 1; i >= 0; i-- {
		if sameRow(hops[i], hops[last]) {
			return hops[i+1:]
		}
	}
	return nil
}

func sameRow(a, b *hop) bool {
	return len(a.at) > 0 && len(b.at) > 0 && a.table == b.table && a.at[0].String() == b.at[0].String()
}

// back are the rows from last back to the one after first, in their order.
func back(last, first *hop) []*hop {
	var rows []*hop
	for h := last; h != nil && h != first && !slices.Contains(rows, h); h = h.prev {
		rows = append(rows, h)
	}
	slices.Reverse(rows)
	return rows
}

// turned is the same circle, beginning at the row that comes first in its file, so
// that a circle is the same from wherever one comes into it.
func turned(rows []*hop) []*hop {
	first := 0
	for i, h := range rows {
		if before(h, rows[first]) {
			first = i
		}
	}
	return append(slices.Clone(rows[first:]), rows[:first]...)
}

func before(a, b *hop) bool {
	if len(a.at) == 0 || len(b.at) == 0 {
		return len(a.at) > len(b.at)
	}
	x, y := a.at[0], b.at[0]
	if x.File != y.File {
		return x.File < y.File
	}
	if x.Line != y.Line {
		return x.Line < y.Line
	}
	return x.String() < y.String()
}
