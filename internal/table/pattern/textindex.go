package pattern

import "slices"

// gramSize is how many bytes of the text that a rule requires it is found by.
const gramSize = 4

type gram [gramSize]byte

// textIndex finds those of many rules that may match a key at the cost of one probe
// for each of its bytes. The rules that it does not find would not match.
type textIndex struct {
	rules  map[gram][]int32 // by text that the keys they match have
	always []int32          // the rules that are tried for every key, in their order
}

// candidates are the rules to be tried for one key, each list in order.
type candidates struct{ found, always []int32 }

// candidates appends what is found to buffer. Without an index there are none.
func (x *textIndex) candidates(folded string, buffer []int32) candidates {
	if x == nil {
		return candidates{}
	}
	for i := 0; i+gramSize <= len(folded); i++ {
		buffer = append(buffer, x.rules[gram([]byte(folded[i:i+gramSize]))]...)
	}
	slices.Sort(buffer)
	return candidates{buffer, x.always}
}

// next is the first candidate that does not come before a rule, or -1.
func (c *candidates) next(from int) int {
	for len(c.found) > 0 && int(c.found[0]) < from {
		c.found = c.found[1:]
	}
	for len(c.always) > 0 && int(c.always[0]) < from {
		c.always = c.always[1:]
	}
	switch {
	case len(c.found) == 0 && len(c.always) == 0:
		return -1
	case len(c.found) == 0:
		return int(c.always[0])
	case len(c.always) == 0:
		return int(c.found[0])
	}
	return int(min(c.found[0], c.always[0]))
}

// indexTexts gives an index to a program in which many rules require text. Every if
// is tried, for what does not hold is passed over with all that is in it.
func indexTexts(p *program) {
	x := &textIndex{rules: map[gram][]int32{}}
	grams, count := make([][]gram, len(p.rules)), map[gram]int{}
	for i := range p.rules {
		grams[i] = p.rules[i].grams()
		for _, g := range grams[i] {
			count[g]++
		}
	}
	for i, list := range grams {
		if len(list) == 0 {
			x.always = append(x.always, int32(i))
			continue
		}
		rarest := slices.MinFunc(list, func(a, b gram) int { return count[a] - count[b] })
		x.rules[rarest] = append(x.rules[rarest], int32(i))
	}
	if len(p.rules)-len(x.always) >= minIndexed {
		p.texts = x
	}
}

// grams are the parts of the text that every key has which the rule matches; none:
// it must be tried for every key.
func (r *rule) grams() []gram {
	first := r.conditions[0]
	s, ok := first.matcher.(*screened)
	if !ok || first.negated || r.isIf {
		return nil
	}
	var list []gram
	for _, piece := range s.required.pieces {
		for i := 0; i+gramSize <= len(piece); i++ {
			list = append(list, gram([]byte(piece[i:i+gramSize])))
		}
	}
	return list
}
