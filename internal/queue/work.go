package queue

import (
	"cmp"
	"context"
	"errors"
	"time"

	"postern/internal/deliver"
	"postern/internal/route"
	"postern/internal/spool"
)

// results are what became of some recipients of a pass.
type results struct {
	count       int // recipients, however they ended
	sent        []spool.Outcome
	forwards    []forwarded
	bounced     []verdict
	deferred    []verdict
	interrupted bool
	trouble     *deliver.Status // failure of the destination as a whole
}

// admit starts goroutines that route what waits, as far as limits allow. It is
// called with the lock held.
func (q *Queue) admit() {
	waiting := q.incoming.len() + q.due.len()
	room := q.parameters.activeLimit() - q.active
	for ; q.running && waiting > 0 && room > 0 && q.activators < maxActivators; waiting-- {
		q.activators++
		room--
		q.workers.Add(1)
		go q.activate(q.ctx)
	}
}

// next takes the item that is to become active, new mail and retries in turn.
// It returns nil when there is none, or no room.
func (q *Queue) next() *item {
	if q.ctx.Err() != nil || q.active >= q.parameters.activeLimit() {
		return nil
	}
	from := &q.incoming
	if q.due.len() > 0 && (from.len() == 0 || !q.lastDue) {
		from = &q.due
	}
	if from.len() == 0 {
		return nil
	}
	q.lastDue = from == &q.due
	it := from.pop()
	it.begin(q.options.Now())
	q.active++
	return it
}

// activate routes items until none is waiting.
func (q *Queue) activate(ctx context.Context) {
	defer q.workers.Done()
	for {
		q.mu.Lock()
		it := q.next()
		if it == nil {
			q.activators--
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		q.logActive(it)
		q.dispatch(ctx, it)
	}
}

// routedRecipient is a recipient with its way.
type routedRecipient struct {
	Routed
	recipient deliver.Recipient
}

// suspension is a recipient whose destination is dead.
type suspension struct {
	recipient deliver.Recipient
	reason    deliver.Status
}

// dispatch puts the recipients of an item that begins its pass into lanes.
func (q *Queue) dispatch(ctx context.Context, it *item) {
	nobody := it.pass.left == 0
	ways, r := q.route(ctx, it)
	var suspended []suspension
	q.mu.Lock()
	for i := range ways {
		way := &ways[i]
		t := q.transport(way.Transport)
		l := t.lane(way.NextHop, way.recipient.Address)
		if l.dead() {
			suspended = append(suspended, suspension{way.recipient, l.reason})
			continue
		}
		if l.put(it, way.recipient) {
			q.employ(t)
		}
	}
	q.mu.Unlock()
	for _, s := range suspended {
		q.suspend(&r, it, s)
	}
	if r.count > 0 || nobody {
		q.finish(ctx, it, &r)
	}
}

// route asks where the recipients go; those that cannot go anywhere are in the
// results.
func (q *Queue) route(ctx context.Context, it *item) ([]routedRecipient, results) {
	var r results
	envelope := &it.message.Envelope
	ways := make([]routedRecipient, 0, it.pass.left)
	for i := range envelope.Recipients {
		if it.done[i] {
			continue
		}
		rcpt := deliver.Recipient{
			Index: i, Address: envelope.Recipients[i].Address,
			Original: envelope.Recipients[i].Original, Attempt: it.attempt(),
		}
		to, err := q.options.Route(ctx, envelope.Sender, rcpt.Address)
		switch {
		case err == nil:
			if to.Address != "" {
				rcpt.Address = to.Address
			}
			ways = append(ways, routedRecipient{to, rcpt})
		case ctx.Err() != nil:
			r.count, r.interrupted = r.count+1, true
		default:
			q.tally(&r, it, rcpt, q.unroutable(it, err), q.logs.failed, q.options.Now())
			r.count++
		}
	}
	return ways, r
}

// unroutable is the fate of a recipient that the router has no way for.
func (q *Queue) unroutable(it *item, err error) deliver.Status {
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

// suspend defers a recipient for a dead destination.
func (q *Queue) suspend(r *results, it *item, s suspension) {
	status := deferral(s.reason.DSN, "delivery temporarily suspended: "+s.reason.Reason)
	q.tally(r, it, s.recipient, status, q.logs.failed, q.options.Now())
	r.count++
}

// employ starts a worker for the transport when there is work and it may have
// another. It is called with the lock held.
func (q *Queue) employ(t *transport) {
	if !q.running || t.ready.len() == 0 || t.Processes > 0 && t.workers >= t.Processes {
		return
	}
	t.workers++
	q.workers.Add(1)
	go q.work(q.ctx, t)
}

// work delivers for a transport until nothing is ready.
func (q *Queue) work(ctx context.Context, t *transport) {
	defer q.workers.Done()
	for {
		j := q.take(ctx, t)
		if j == nil {
			return
		}
		q.deliver(ctx, j)
	}
}

// take returns the next delivery of t; nil, and the worker is struck off, when
// there is none or nothing may be delivered now.
func (q *Queue) take(ctx context.Context, t *transport) *job {
	ill := q.options.Store.Err()
	if ill != nil {
		q.complain(ill)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	surplus := t.Processes > 0 && t.workers > t.Processes // since a reload
	if ill == nil && q.unwritten == 0 && ctx.Err() == nil && !surplus {
		if j := t.take(); j != nil {
			q.employ(t)
			return j
		}
	}
	t.workers--
	return nil
}

// deliver has the agent make a delivery, and sees to what comes of it.
func (q *Queue) deliver(ctx context.Context, j *job) {
	began := q.options.Now()
	statuses := j.agent.Deliver(ctx, &j.request)
	r := results{count: len(j.request.Recipients)}
	for i, rcpt := range j.request.Recipients {
		status := deferral("4.3.0", "unknown mail transport error")
		if i < len(statuses) {
			status = statuses[i]
		}
		if status.Kind == deliver.Deferred && ctx.Err() != nil {
			r.interrupted = true // stopped, not tried: pending as before
			continue
		}
		q.tally(&r, j.item, rcpt, status, j.log, began)
	}
	suspended := q.feedback(j.lane, &r)
	q.finish(ctx, j.item, &r)
	for _, s := range suspended {
		var rest results
		for _, rcpt := range s.recipients {
			q.suspend(&rest, s.item, suspension{rcpt, *r.trouble})
		}
		q.finish(ctx, s.item, &rest)
	}
}

// tally adds the status of a recipient to the results, and logs it.
func (q *Queue) tally(r *results, it *item, rcpt deliver.Recipient, status deliver.Status, log Logger, began time.Time) {
	word := status.Kind.String()
	if status.Kind == deliver.Bounced && q.softBounce.Load() {
		status.Kind, word = deliver.Deferred, "SOFTBOUNCE"
		if len(status.DSN) > 0 {
			status.DSN = "4" + status.DSN[1:]
		}
	}
	v := verdict{rcpt.Index, status, cmp.Or(status.Recipient, rcpt.Address)}
	switch status.Kind {
	case deliver.Sent:
		if len(status.Forwards) > 0 {
			r.forwards = append(r.forwards, forwarded{verdict: v, recipient: rcpt, log: log, began: began})
			return // logged when the new messages are there
		}
		r.sent = append(r.sent, spool.Outcome{Index: rcpt.Index, Applied: status.Applied})
	case deliver.Bounced:
		r.bounced = append(r.bounced, v)
	default:
		r.deferred = append(r.deferred, v)
		if status.Destination {
			reason := status
			r.trouble = &reason
		}
	}
	q.logDelivery(log, it, rcpt, &status, word, began)
}

// feedback ends a delivery of the lane and moves its window. When that killed
// the destination, what waited for it is returned.
func (q *Queue) feedback(l *lane, r *results) (suspended []*share) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case r.trouble == nil && !r.interrupted:
		l.succeed()
	case r.trouble != nil && l.fail(*r.trouble):
		l.deadUntil = q.options.Now().Add(q.parameters.MinimalBackoff)
		q.dead = append(q.dead, l)
		q.ring()
		suspended = l.drain()
	}
	l.busy--
	l.offer()
	l.retire()
	return suspended
}
