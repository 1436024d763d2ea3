package explain

import (
	"slices"

	"postern/internal/route"
)

// maxGrowing is how many hops are shown of a chain of aliases in which every address
// is longer than the one before: a pattern that answers its own output goes on until
// a limit ends it.
const maxGrowing = 10

// growing returns how long the addresses of such a chain are where there is no more to
// learn from it; 0: there is no such chain, or it is short.
func growing(steps []route.Step) int {
	hops, last := 0, ""
	for _, s := range steps {
		if s.Op != "expand" || s.Result == nil {
			continue
		}
		switch {
		case len(*s.Result) <= len(s.Key):
			hops = 0
		case s.Key != last:
			hops = 1
		default:
			hops++
		}
		if last = *s.Result; hops > maxGrowing {
			return len(s.Key)
		}
	}
	return 0
}

// withoutGrowth takes the steps away that follow the first hops of a growing chain.
func (e *Explanation) withoutGrowth() {
	limit := growing(e.Steps)
	if limit == 0 {
		return
	}
	long := func(s route.Step) bool { return len(s.Key) >= limit }
	before := func(n int) int {
		return n - len(slices.DeleteFunc(slices.Clone(e.Steps[:n]), func(s route.Step) bool { return !long(s) }))
	}
	for i := range e.Recipients {
		r := &e.Recipients[i]
		r.from, r.to = before(r.from), before(r.to)
	}
	e.atRcpt = before(e.atRcpt)
	all := len(e.Steps)
	e.Steps = slices.DeleteFunc(e.Steps, long)
	e.Omitted = all - len(e.Steps)
}
