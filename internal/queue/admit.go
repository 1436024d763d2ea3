package queue

import (
	"context"
	"errors"
	"time"

	"postern/internal/spool"
)

// maxActivators bounds the goroutines that route messages, and with them the
// messages whose tables are asked at the same time.
const maxActivators = 8

// order says that a message is to be tried.
type order struct {
	number     uint64
	stamp      int64 // its next try when the order was given; if it has moved, the order is void
	given      int64 // when somebody asked; 0: nobody did
	recipients int32 // where it waits for room, how many for
	retry      bool  // and whether it was tried before
}

// Where messages come from, in the order in which they are asked.
const (
	fromUnrouted = iota
	fromRooms
	fromIncoming
	fromOrdered
	fromSleeping
	sources
)

// admit starts goroutines that route what waits, as far as limits allow. It is
// called with the lock held.
func (q *Queue) admit() {
	if !q.running || q.activators >= maxActivators {
		return
	}
	n := q.incoming.len() + q.ordered.len()
	now := q.options.Now()
	if q.due(now) {
		n += len(q.sleeping)
	}
	if s := q.invited(); s != small {
		n += q.rooms[s].waiting.len()
	}
	q.watch(now)
	waiting := q.unrouted.len() + max(0, min(n, q.parameters.activeLimit()-q.active))
	for ; waiting > 0 && q.activators < maxActivators; waiting-- {
		q.activators++
		q.workers.Add(1)
		ctx := q.ctx
		q.crew.begin(ctx, func() { q.activate(ctx) })
	}
}

// activate routes what waits until there is nothing left, or no room.
func (q *Queue) activate(ctx context.Context) {
	defer q.workers.Done()
	for {
		it, o := q.next(ctx)
		if it == nil {
			return
		}
		if it.pass.began.IsZero() {
			if !q.prepare(it, o) {
				continue
			}
			q.logActive(it)
		}
		q.dispatch(ctx, it)
	}
}

// next takes the item that is to be routed, from one source after the other.
// When there is none it strikes the caller off and returns nil.
func (q *Queue) next(ctx context.Context) (*item, order) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.options.Now()
	for i := 0; i < sources && ctx.Err() == nil; i++ {
		source := (q.source + i) % sources
		if it, o := q.from(source, now); it != nil {
			q.source = source + 1
			return it, o
		}
	}
	q.activators--
	q.watch(now)
	if !q.due(now) {
		q.arm()
	}
	return nil, order{}
}

// from takes an item from one source, nil when it has none or there is no room.
// Messages that were tried before leave a part of the active queue to new ones.
func (q *Queue) from(source int, now time.Time) (*item, order) {
	if source == fromUnrouted {
		if q.unrouted.len() == 0 {
			return nil, order{}
		}
		return q.unrouted.pop(), order{}
	}
	limit := q.parameters.activeLimit()
	retries := q.retrying < limit-limit/5
	for q.active < limit {
		var o order
		switch {
		case source == fromRooms && q.invited() != small:
			o = q.rooms[q.invited()].waiting.pop()
		case source == fromIncoming && q.incoming.len() > 0:
			o.number = q.incoming.pop()
			if o.number > q.inherited {
				q.fresh--
			}
		case source == fromOrdered && q.ordered.len() > 0 && retries:
			o = q.ordered.pop()
		case source == fromSleeping && q.due(now) && retries:
			a := q.sleeping.pop()
			o = order{number: a.number, stamp: a.at}
		default:
			return nil, order{}
		}
		if it := q.claim(o, source >= fromOrdered || o.retry); it != nil {
			if source == fromRooms {
				q.occupy(it, o)
			}
			return it, o
		}
	}
	return nil, order{}
}

// claim makes the item of an order active, so that nobody else tries it. It
// returns nil when somebody does.
func (q *Queue) claim(o order, retry bool) *item {
	it := q.items[o.number]
	switch {
	case it == nil:
		it = &item{number: o.number}
		q.items[o.number] = it
	case it.state == Active:
		if o.given > 0 {
			again := o
			it.again = &again // it may turn out that it is not tried now
		}
		return nil
	}
	it.state, it.given, it.stamp, it.retry = Active, o.given, o.stamp, retry
	it.inherited = o.number <= q.inherited
	q.active++
	if retry {
		q.retrying++
	}
	return it
}

// leave strikes an active item off. The lock is held.
func (q *Queue) leave(it *item) {
	delete(q.items, it.number)
	q.active--
	q.rooms[it.size].used -= it.weight
	if it.retry {
		q.retrying--
	}
}

// prepare asks the store whether a claimed message is to be tried now, reads it
// where it is not in memory, and begins its pass. If it is not to be tried, it
// is given up, with an alarm for later where there has to be one.
func (q *Queue) prepare(it *item, o order) bool {
	now := q.options.Now()
	w, ok := q.options.Store.Peek(it.number)
	if !ok || w.Held {
		return q.giveUp(it, nil)
	}
	if w.Next.After(now) && (o.given == 0 || !same(stamp(w.Next), o.stamp)) {
		return q.giveUp(it, &alarm{stamp(w.Next), it.number})
	}
	if !q.enter(it, o, w.Recipients, now) {
		return false
	}
	q.mu.Lock()
	known := it.message != nil
	q.mu.Unlock()
	if !known {
		p, err := q.options.Store.Load(it.number)
		switch {
		case errors.Is(err, spool.ErrGone) || err == nil && p.Held:
			return q.giveUp(it, nil)
		case err != nil:
			q.logs.qmgr.Warningf("%s: cannot be read: %v", spool.FormatID(it.number), err)
			return q.giveUp(it, &alarm{now.Add(q.settings().MaximalBackoff).UnixNano(), it.number})
		}
		q.mu.Lock()
		it.fill(&p)
		q.mu.Unlock()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	it.expired = it.expired || isExpired(w.Next)
	it.begin(now)
	return true
}

// same compares two stamps. The store may keep times less exactly.
func same(a, b int64) bool {
	d := a - b
	return -int64(time.Second) < d && d < int64(time.Second)
}

// giveUp ends the activity of an item that is not to be tried now.
func (q *Queue) giveUp(it *item, a *alarm) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.leave(it)
	switch {
	case it.again != nil: // what was read of it is out of date
		q.ordered.push(*it.again)
	case a != nil:
		q.sleeping.push(*a)
		q.arm()
	}
	q.admit()
	return false
}

// unload takes messages back that fill memory and wait for destinations that do
// not answer.
func (q *Queue) unload(ctx context.Context) {
	defer q.workers.Done()
	now := q.options.Now()
	q.mu.Lock()
	items, counts := q.evict(now)
	q.admit()
	if q.active >= q.parameters.activeLimit() {
		parked, taken := q.unloadLanes(now)
		items, counts = append(items, parked...), append(counts, taken...)
	}
	q.mu.Unlock()
	q.takeBack(ctx, items, counts)
}

// unloadLanes parks what waits for destinations that do not answer, but for as
// much as has room there. It returns the messages, with what was taken back of
// each. The lock is held.
func (q *Queue) unloadLanes(now time.Time) (parked []*item, counts []int) {
	room := q.laneRoom()
	for _, t := range q.transports {
		for _, l := range t.lanes {
			if l.shares.len() <= room || l.promising(now) {
				continue
			}
			for _, s := range l.excess(room) {
				s.item.pass.parked = l
				parked, counts = append(parked, s.item), append(counts, s.takeBack())
			}
		}
	}
	return parked, counts
}
