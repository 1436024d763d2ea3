package queue

import (
	"context"
	"errors"
	"slices"
	"time"

	"postern/internal/deliver"
	"postern/internal/route"
)

// routedRecipient is a recipient with its way.
type routedRecipient struct {
	Routed
	recipient deliver.Recipient
}

// refused is a recipient that is not tried, and why.
type refused struct {
	recipient deliver.Recipient
	status    *deliver.Status
}

// dispatch puts the next recipients of an item in its pass into lanes.
func (q *Queue) dispatch(ctx context.Context, it *item) {
	q.mu.Lock()
	if it.pass.ended { // halted while it waited for this
		q.mu.Unlock()
		return
	}
	it.pass.placed = time.Time{}
	nobody := it.pass.left == 0
	var r results
	if it.pass.halted {
		r.count, r.back = it.pass.unrouted, true
		it.pass.unrouted = 0
	}
	from, to := it.portion()
	q.mu.Unlock()
	ways := q.route(ctx, it, from, to, &r)
	for _, no := range q.place(it, ways, &r) {
		q.tally(&r, it, no.recipient, no.status, q.logs.failed, "", q.options.Now())
		r.count++
	}
	if r.count > 0 || nobody {
		q.finish(ctx, it, &r)
	}
}

// route asks where the recipients of a portion go; those that cannot go
// anywhere are in the results.
func (q *Queue) route(ctx context.Context, it *item, from, to int, r *results) []routedRecipient {
	envelope := &it.message.Envelope
	ways := make([]routedRecipient, 0, to-from)
	for i := from; i < to; i++ {
		if it.done[i] {
			continue
		}
		rcpt := deliver.Recipient{
			Index: i, Address: envelope.Recipients[i].Address,
			Original: envelope.Recipients[i].Original, Attempt: it.attempt(),
		}
		if ctx.Err() != nil {
			r.count, r.interrupted = r.count+1, true
			continue
		}
		to, err := q.options.Route(ctx, envelope.Sender, rcpt.Address)
		switch {
		case err == nil:
			if to.Address != "" && to.Address != rcpt.Address { // else there is one copy of it
				rcpt.Address = to.Address
			}
			ways = append(ways, routedRecipient{to, rcpt})
		case ctx.Err() != nil:
			r.count, r.interrupted = r.count+1, true
		default:
			q.tally(r, it, rcpt, q.unroutable(it, err), q.logs.failed, "", q.options.Now())
			r.count++
		}
	}
	return ways
}

// unroutable is the fate of a recipient that the router has no way for.
func (q *Queue) unroutable(it *item, err error) *deliver.Status {
	var no *route.DeliveryError
	if !errors.As(err, &no) {
		q.logs.qmgr.Warningf("%s: %v", it.message.ID, err)
		return deferral("4.3.0", "address resolver failure")
	}
	status := deferral(no.DSN, no.Reason)
	if !no.Temporary {
		status.Kind = deliver.Bounced
	}
	return status
}

// place puts recipients into their lanes, and has the next portion routed when
// there is one. It returns those that are not to be tried now.
func (q *Queue) place(it *item, ways []routedRecipient, r *results) (no []refused) {
	now := q.options.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	p := &it.pass
	p.placed = now
	for i := range ways {
		way := &ways[i]
		t := q.transport(way.Transport)
		if p.halted {
			r.count, r.back = r.count+1, true
			continue
		}
		if status, stop := q.stopped(t, it, now); stop {
			no = append(no, refused{way.recipient, status})
			continue
		}
		l := t.lane(way.NextHop, way.recipient.Address)
		if l.dead() && it.given > l.diedAt {
			l.revive(0) // whoever asks knows that something has changed
		}
		switch {
		case l.dead():
			no = append(no, refused{way.recipient, l.reason})
		case l.full(it, now):
			r.count, r.back, p.parked = r.count+1, true, l
		case l.put(it, way.recipient, now):
			q.employ(t)
		}
	}
	if p.parked != nil && len(no) == 0 && p.left-p.unrouted == r.count {
		// Nothing waits: the rest is looked at when there is room.
		r.count, p.unrouted = r.count+p.unrouted, 0
	}
	p.paused = p.unrouted > 0
	q.resume(it)
	return no
}

// stopped reports whether a transport takes no mail now, and why. An order to
// try the message overrules defer_transports, and a failure before the order.
func (q *Queue) stopped(t *transport, it *item, now time.Time) (*deliver.Status, bool) {
	if it.given == 0 && slices.Contains(q.parameters.DeferTransports, t.name) {
		return deferral("4.3.2", "deferred transport"), true
	}
	if t.dead(now) && it.given > t.diedAt {
		t.deadUntil = time.Time{}
	}
	return t.reason, t.dead(now)
}

// resume has more recipients of an item routed when few of them wait. The lock
// is held.
func (q *Queue) resume(it *item) {
	p := &it.pass
	if p.paused && p.left-p.unrouted <= portionSize/2 {
		p.paused = false
		q.unrouted.push(it)
		q.admit()
	}
}
