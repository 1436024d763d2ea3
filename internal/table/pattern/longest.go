package pattern

import "regexp/syntax"

// What the Go engine has no notation for stands in an expression as one of the
// characters from firstMark on, which no key has: the keys are bytes.
const (
	firstMark     = 0x10FF00 // the back-references 1 to 9 are firstMark+1 to firstMark+9
	wordStartMark = firstMark + 10
	wordEndMark   = firstMark + 11
)

// stepLimit is how many steps a match of longest may take.
const stepLimit = 5_000_000

// longest is a pattern with back-references or word anchors. It is a program of
// the Go engine that is run by trying all ways: of the leftmost matches the
// longest counts, and of those the first. Without back-references no state is
// visited twice, so that the time is linear in the length of the key; with them
// it is limited.
type longest struct {
	prog   *syntax.Prog
	groups int
	fold   bool // back-references match in either case
	refers bool // the program has back-references
}

// newLongest compiles the translation of a pattern.
func newLongest(expr expression, fold bool) (matcher, error) {
	re, err := syntax.Parse(expr.text, syntax.Perl)
	if err != nil {
		return nil, err
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return nil, err
	}
	m := &longest{prog: prog, groups: expr.groups, fold: fold}
	for i := range prog.Inst {
		if mark := markOf(&prog.Inst[i]); mark > firstMark && mark < wordStartMark {
			m.refers = true
		}
	}
	return m, nil
}

// markOf is the mark that an instruction stands for, or 0.
func markOf(in *syntax.Inst) rune {
	if in.Op == syntax.InstRune1 && in.Rune[0] >= firstMark {
		return in.Rune[0]
	}
	return 0
}

func (m *longest) match(s *subject, wantGroups bool) ([]string, bool, error) {
	size := 2 * (m.groups + 1)
	if m.refers {
		size += len(m.prog.Inst)
	}
	r := &run{longest: m, key: s.key, slots: make([]int, size)}
	if !m.refers {
		n := len(m.prog.Inst) * (len(s.key) + 1)
		if n > stepLimit {
			return nil, false, errBacktracking
		}
		r.visited = make([]uint64, n/64+1)
	}
	for start := 0; start <= len(s.key) && r.best == nil; start++ {
		for i := range r.slots {
			r.slots[i] = -1
		}
		if !r.from(start) {
			return nil, false, errBacktracking
		}
	}
	if r.best == nil {
		return nil, false, nil
	}
	groups := make([]string, m.groups+1)
	for i := range groups {
		if from, to := r.best[2*i], r.best[2*i+1]; 0 <= from && from <= to {
			groups[i] = s.key[from:to]
		}
	}
	return groups, true, nil
}

// run is one match under way.
type run struct {
	*longest
	key     string
	steps   int
	visited []uint64 // a bit for each instruction and place; nil with back-references
	// slots are the ends of the groups and, with back-references, the place at
	// which each instruction was last come by.
	slots []int
	best  []int // the ends of the groups of the longest match
	jobs  []job
}

// job is a way to be tried, or a slot to be set back before the ones under it.
type job struct{ pc, place, slot int }

// from tries all ways from one place. It reports false when it gives up.
func (r *run) from(start int) bool {
	r.jobs = append(r.jobs[:0], job{r.prog.Start, start, -1})
	for len(r.jobs) > 0 {
		j := r.jobs[len(r.jobs)-1]
		r.jobs = r.jobs[:len(r.jobs)-1]
		if j.slot >= 0 {
			r.slots[j.slot] = j.place
			continue
		}
		pc, place := j.pc, j.place
		for ok := true; ok; {
			if r.steps++; r.steps > stepLimit {
				return false
			}
			if r.been(pc, place) {
				if r.visited != nil {
					break
				}
				pc = int(r.prog.Inst[pc].Arg) // out of a loop that takes nothing
				continue
			}
			if r.prog.Inst[pc].Op == syntax.InstMatch {
				r.matched(start, place)
				break
			}
			pc, place, ok = r.step(pc, place)
		}
	}
	return true
}

// been reports whether this way leads nowhere new: without back-references a
// state that was tried, with them one that the same way has come by without
// having taken a byte.
func (r *run) been(pc, place int) bool {
	if r.visited != nil {
		n := pc*(len(r.key)+1) + place
		seen := r.visited[n/64]&(1<<(n%64)) != 0
		r.visited[n/64] |= 1 << (n % 64)
		return seen
	}
	slot := 2*(r.groups+1) + pc
	if r.prog.Inst[pc].Op != syntax.InstAlt {
		return false
	}
	if r.slots[slot] == place {
		return true
	}
	r.set(slot, place)
	return false
}

// set changes a slot until the other ways are tried.
func (r *run) set(slot, place int) {
	r.jobs = append(r.jobs, job{slot: slot, place: r.slots[slot]})
	r.slots[slot] = place
}

func (r *run) matched(start, end int) {
	if r.best != nil && r.best[1] >= end {
		return
	}
	r.best = append(r.best[:0], r.slots[:2*(r.groups+1)]...)
	r.best[0], r.best[1] = start, end
}

// step takes one instruction. ok says whether the way goes on.
func (r *run) step(pc, place int) (next, after int, ok bool) {
	in := &r.prog.Inst[pc]
	next = int(in.Out)
	switch in.Op {
	case syntax.InstNop:
		return next, place, true
	case syntax.InstAlt, syntax.InstAltMatch:
		r.jobs = append(r.jobs, job{pc: int(in.Arg), place: place, slot: -1})
		return next, place, true
	case syntax.InstCapture:
		if int(in.Arg) < 2*(r.groups+1) {
			r.set(int(in.Arg), place)
		}
		return next, place, true
	case syntax.InstEmptyWidth:
		return next, place, syntax.EmptyOp(in.Arg)&^r.context(place) == 0
	case syntax.InstFail:
		return 0, 0, false
	}
	switch mark := markOf(in); {
	case mark == wordStartMark:
		return next, place, !r.word(place-1) && r.word(place)
	case mark == wordEndMark:
		return next, place, r.word(place-1) && !r.word(place)
	case mark != 0:
		return r.refer(int(mark-firstMark), next, place)
	}
	if place == len(r.key) || !in.MatchRune(rune(r.key[place])) {
		return 0, 0, false
	}
	return next, place + 1, true
}

// refer takes the text of a group once more.
func (r *run) refer(group, next, place int) (int, int, bool) {
	from, to := r.slots[2*group], r.slots[2*group+1]
	if from < 0 || to < from || to-from > len(r.key)-place {
		return 0, 0, false
	}
	text, again := r.key[from:to], r.key[place:place+to-from]
	same := text == again || r.fold && equalFold(text, again)
	return next, place + len(text), same
}

// context is what holds between two bytes.
func (r *run) context(place int) syntax.EmptyOp {
	before, after := rune(-1), rune(-1)
	if place > 0 {
		before = rune(r.key[place-1])
	}
	if place < len(r.key) {
		after = rune(r.key[place])
	}
	return syntax.EmptyOpContext(before, after)
}

// word reports whether there is a byte at a place that belongs to a word.
func (r *run) word(place int) bool {
	return place >= 0 && place < len(r.key) && syntax.IsWordChar(rune(r.key[place]))
}

// equalFold compares two texts of the same length; ASCII letters match in either
// case.
func equalFold(a, b string) bool {
	for i := range len(a) {
		if c, d := a[i], b[i]; c != d && (c|0x20 != d|0x20 || !isLetter(c)) {
			return false
		}
	}
	return true
}
