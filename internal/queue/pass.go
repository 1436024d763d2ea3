package queue

import (
	"context"
	"time"

	"postern/internal/spool"
)

// finish takes in the results of some recipients. Who brings the last ones of
// a pass ends it.
func (q *Queue) finish(ctx context.Context, it *item, r *results) {
	l := ledger{item: it, sent: r.sent, forwards: r.forwards}
	if len(l.forwards) > 0 {
		q.submitForwards(ctx, &l)
	}
	if !q.note(it, r) {
		written := q.write(ctx, &l)
		if !q.release(&l, r.count, written) {
			return
		}
		l = ledger{item: it}
	}
	q.endPass(ctx, &l)
}

// note adds the results to the pass, and reports whether these are the last of
// it.
func (q *Queue) note(it *item, r *results) (last bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range r.sent {
		it.done[r.sent[i].Index] = true
	}
	p := &it.pass
	p.told = append(p.told, r.told...)
	p.bounced = append(p.bounced, r.bounced...)
	p.deferred = append(p.deferred, r.deferred...)
	p.probed = append(p.probed, r.probed...)
	p.back = p.back || r.back
	p.interrupted = p.interrupted || r.interrupted
	p.ended = p.ended || p.left == r.count
	return p.left == r.count
}

// release strikes off recipients whose results are recorded, or could not be
// before the queue was stopped. It reports whether they were the last.
func (q *Queue) release(l *ledger, count int, written bool) (last bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	p := &l.item.pass
	p.told = append(p.told, l.told...)
	p.deferred = append(p.deferred, l.deferred...)
	p.interrupted = p.interrupted || !written
	p.left -= count
	q.resume(l.item)
	p.ended = p.ended || p.left == 0
	return p.left == 0
}

// endPass decides what comes after a pass and writes it down.
func (q *Queue) endPass(ctx context.Context, l *ledger) {
	q.conclude(l)
	if !l.removed {
		q.submitPartial(ctx, l)
		if l.item.pass.interrupted {
			l.deferred = nil // pending as before
		}
		parameters := q.settings()
		now := q.options.Now()
		l.next = parameters.nextTry(l.item, now)
		q.expire(l, &parameters, now)
		q.notify(ctx, l, &parameters)
	}
	if !q.write(ctx, l) {
		return
	}
	for !q.renew(ctx, l) {
		late, closed := q.close(l)
		if late {
			q.expireLate(ctx, l.item)
		}
		if closed {
			return
		}
	}
}

// expireLate ends the lifetime of a message once more: that was ordered while
// the end of its pass, with another next try, was being written down.
func (q *Queue) expireLate(ctx context.Context, it *item) {
	plan := spool.Change{Plan: []spool.Plan{{Number: it.number, Next: expiredAt, Held: it.held}}}
	if q.persist(ctx, plan) && !it.held {
		q.mu.Lock()
		q.sleep(it.number, expiredAt)
		q.mu.Unlock()
	}
}

// conclude takes over what the pass has come to, and the orders that were given
// during it. Nobody is told of a message that was deleted.
func (q *Queue) conclude(l *ledger) {
	q.mu.Lock()
	defer q.mu.Unlock()
	it := l.item
	l.final, l.removed, l.expired = true, it.removed, it.expired
	if it.removed {
		return
	}
	l.told = append(l.told, it.pass.told...)
	l.bounced, l.probed = it.pass.bounced, it.pass.probed
	l.deferred = append(l.deferred, it.pass.deferred...)
}

// settings returns the parameters of now.
func (q *Queue) settings() Parameters {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.parameters
}

// expire gives up what was deferred when the message is too old, or when that
// was ordered.
func (q *Queue) expire(l *ledger, p *Parameters, now time.Time) {
	m := l.item.message
	old := now.Sub(m.Envelope.Arrival) >= p.lifetime(m.Envelope.Sender)
	if len(l.deferred) == 0 || !old && !l.expired {
		return
	}
	word := "expired"
	if !old {
		word = "force-expired"
	}
	q.logs.qmgr.Infof("%s: from=<%s>, status=%s, returned to sender", m.ID, external(m.Envelope.Sender), word)
	l.bounced = append(l.bounced, l.deferred...)
	l.deferred = nil
}

// close ends the pass of an item that is written down, unless it is to be
// requeued. It reports whether its lifetime was ended by order too late for the
// pass to know.
func (q *Queue) close(l *ledger) (late, closed bool) {
	it := l.item
	p := &it.pass
	q.mu.Lock()
	if l.reissued() {
		q.mu.Unlock()
		return false, false
	}
	q.leave(it)
	late = it.expired && !l.expired && len(l.deferred) > 0 && !p.interrupted
	over := l.over()
	switch {
	case over || it.removed || it.held || p.interrupted:
		// Nothing is to be tried.
	case len(l.deferred) > 0:
		q.sleep(it.number, l.next)
	case p.parked != nil && p.parked.shares.len() > 0:
		q.wait(&p.parked.parked, it.order())
	default: // taken back to make room, or by an order that does not hold any more
		q.wait(&q.ordered, it.order())
	}
	q.admit()
	q.mu.Unlock()
	if over && !it.removed {
		q.logs.qmgr.Infof("%s: removed", it.message.ID)
		if o := q.options.Observe; o != nil {
			o.Removed(q.options.Now().Sub(it.message.Envelope.Arrival))
		}
	}
	return late && !it.removed, true
}

// over reports whether nothing is left of the message after the pass.
func (l *ledger) over() bool {
	p := &l.item.pass
	return !p.interrupted && !p.back && len(l.deferred) == 0
}
