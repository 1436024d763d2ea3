package plan

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"postern/internal/explain"
)

// comparison follows addresses through both sides.
type comparison struct {
	sides    [2]*side
	list     []subject
	progress func(part float64, what string)
	even     *evener
	affected *affected // nil: every address may have another fate
	rules    *rules
}

// run finds the changes, in the order of the addresses.
func (c *comparison) run(ctx context.Context) ([]Change, error) {
	fates := make([]*Change, len(c.list))
	c.each(ctx, len(c.list), checked, compared, "addresses", func(n int) {
		fates[n] = c.compare(ctx, c.list[n])
	})
	changes := []Change{}
	for _, f := range fates {
		if f != nil {
			changes = append(changes, *f)
		}
	}
	clear(fates)
	c.each(ctx, len(changes), compared, 1, "causes", func(n int) {
		c.explain(ctx, &changes[n])
	})
	slices.SortFunc(changes, func(a, b Change) int { return strings.Compare(a.Address, b.Address) })
	return changes, ctx.Err()
}

// batch is how many addresses a worker takes at once.
const batch = 256

// each calls f for all numbers below total, on all processors, until ctx ends.
func (c *comparison) each(ctx context.Context, total int, from, to float64, what string, f func(n int)) {
	var next, done atomic.Int64
	var wait sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for ctx.Err() == nil {
				start := int(next.Add(batch)) - batch
				if start >= total {
					return
				}
				end := min(start+batch, total)
				for n := start; n < end; n++ {
					f(n)
				}
				part := float64(done.Add(int64(end-start))) / float64(total)
				c.progress(from+part*(to-from), what)
			}
		})
	}
	wait.Wait()
}

// compare returns the change of an address, nil if there is none.
func (c *comparison) compare(ctx context.Context, s subject) *Change {
	if c.affected != nil && !c.affected.has(s.text) {
		return nil
	}
	before, after := fate(c.sides[0].fates.Fate(ctx, s.text)), fate(c.sides[1].fates.Fate(ctx, s.text))
	if before.same(after) || c.even.fate(before).same(c.even.fate(after)) {
		return nil
	}
	return &Change{Address: s.text, Unlisted: s.unlisted, Before: before, After: after}
}

// fate is what becomes of an address, its recipients in order.
func fate(e explain.Explanation) Fate {
	f := Fate{Reply: e.Reply, Later: e.After, Recipients: e.Recipients}
	for i := range f.Recipients {
		r := &f.Recipients[i]
		r.TransportAt, r.UIDAt, r.GIDAt = nil, nil, nil // places are those of the cause
		if r.Via == nil {
			r.Via = []string{}
		}
	}
	if f.Recipients == nil {
		f.Recipients = []explain.Recipient{}
	}
	slices.SortStableFunc(f.Recipients, byAddress)
	return f
}

// Accepted says whether the mail is taken.
func (f Fate) Accepted() bool { return f.Reply.Code < 300 && f.Later == nil }

// same reports whether two fates are one: what the client is told, and where the
// mail ends. By which aliases it came there does not matter.
func (f Fate) same(g Fate) bool {
	return f.Reply == g.Reply && equal(f.Later, g.Later) && slices.EqualFunc(f.Recipients, g.Recipients, sameRecipient)
}

func sameRecipient(a, b explain.Recipient) bool {
	return a.Address == b.Address && a.Class == b.Class && a.Transport == b.Transport && a.NextHop == b.NextHop &&
		a.Mailbox == b.Mailbox && a.Reply == b.Reply && a.Format == b.Format && equal(a.UID, b.UID) && equal(a.GID, b.GID)
}

// equal compares what may be missing.
func equal[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
