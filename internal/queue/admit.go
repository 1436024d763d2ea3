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
			if !q.prepare(ctx, it, o) {
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
	retries := q.retrying < q.parameters.retryLimit()
	for q.active < limit {
		var o order
		switch {
		case source == fromRooms && q.invited() != small:
			o = q.pull(&q.rooms[q.invited()].waiting)
		case source == fromIncoming && q.incoming.len() > 0:
			o.number = q.incoming.pop()
			if o.number > q.inherited {
				q.fresh--
			}
		case source == fromOrdered && q.ordered.len() > 0 && retries:
			o = q.pull(&q.ordered)
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
func (q *Queue) prepare(ctx context.Context, it *item, o order) bool {
	now := q.options.Now()
	w, ok := q.options.Store.Peek(it.number)
	if !ok || w.Held {
		return q.giveUp(ctx, it, nil)
	}
	if w.Next.After(now) && (o.given == 0 || !same(stamp(w.Next), o.stamp)) {
		return q.giveUp(ctx, it, &alarm{stamp(w.Next), it.number})
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
			return q.giveUp(ctx, it, nil)
		case err != nil:
			q.logs.qmgr.Warningf("%s: cannot be read: %v", spool.FormatID(it.number), err)
			return q.giveUp(ctx, it, &alarm{now.Add(q.settings().MaximalBackoff).UnixNano(), it.number})
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

// giveUp ends the activity of an item that is not to be tried now. If somebody
// wants it requeued, that is done.
func (q *Queue) giveUp(ctx context.Context, it *item, a *alarm) bool {
	q.mu.Lock()
	if it.requeue {
		q.mu.Unlock()
		q.unwilling(it, q.reissue(ctx, it))
		return false
	}
	defer q.mu.Unlock()
	q.leave(it)
	switch {
	case it.again != nil: // what was read of it is out of date
		q.wait(&q.ordered, *it.again)
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
	stopped := q.evict(now)
	q.admit()
	if q.squeezed(now) {
		stopped = append(stopped, q.unloadLanes(now)...)
	}
	q.mu.Unlock()
	q.takeBack(ctx, stopped)
}

// unloadLanes parks what waits for destinations that do not answer, but for as
// much as has room there: a tenth of the active queue, and half of it for all of
// them. The lock is held.
func (q *Queue) unloadLanes(now time.Time) (stopped []halted) {
	var slow []*lane
	for _, t := range q.transports {
		for _, l := range t.lanes {
			if l.shares.len() > 0 && !l.promising(now) {
				slow = append(slow, l)
			}
		}
	}
	room := min(q.laneRoom(), max(1, q.parameters.activeLimit()/2/max(1, len(slow))))
	for _, l := range slow {
		if l.shares.len() <= room {
			continue
		}
		for _, s := range l.excess(room) {
			s.item.pass.parked = l
			stopped = append(stopped, halted{s.item, s.takeBack()})
		}
	}
	return stopped
}
