package queue

import (
	"cmp"
	"context"
	"time"

	"postern/internal/deliver"
	"postern/internal/spool"
)

// results are what became of some recipients of a pass.
type results struct {
	count    int // recipients, however they ended
	sent     []spool.Outcome
	told     []verdict // of the sent ones, those that a report speaks of
	forwards []forwarded
	bounced  []verdict
	deferred []verdict
	probed   []verdict // of a message that asks for a report only

	back        bool            // some are pending as they were
	interrupted bool            // some were not tried because the queue ends
	trouble     *deliver.Status // failure of the destination as a whole
	broken      *deliver.Status // failure of the transport as a whole
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
	now := q.options.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	limit := t.processes()
	surplus := limit > 0 && t.workers > limit // since a reload
	if ill == nil && q.unwritten == 0 && ctx.Err() == nil && !surplus {
		if j := t.take(now); j != nil {
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
		var status *deliver.Status
		if i < len(statuses) {
			status = &statuses[i]
		} else {
			status = deferral("4.3.0", "unknown mail transport error")
			status.Transport = true
		}
		if status.Kind == deliver.Deferred && ctx.Err() != nil {
			r.interrupted = true // stopped, not tried: pending as before
			continue
		}
		q.tally(&r, j.item, rcpt, status, j.log, j.request.Transport, began)
	}
	suspended := q.feedback(j, &r, began)
	q.finish(ctx, j.item, &r)
	for _, s := range suspended.shares {
		q.suspend(ctx, s, suspended.reason)
	}
}

// suspension is what is not tried because of another failure.
type suspension struct {
	shares []share
	reason *deliver.Status
}

// suspend defers what waited for a destination or transport that is dead.
func (q *Queue) suspend(ctx context.Context, s share, reason *deliver.Status) {
	r := results{count: len(s.recipients)}
	for _, rcpt := range s.recipients {
		q.tally(&r, s.item, rcpt, reason, q.logs.failed, "", q.options.Now())
	}
	q.finish(ctx, s.item, &r)
}

// tally adds the status of a recipient to the results, and logs it. The status
// is kept and may be that of many: nothing changes it.
func (q *Queue) tally(r *results, it *item, rcpt deliver.Recipient, status *deliver.Status, log Logger, transport string, began time.Time) {
	word := status.Kind.String()
	if status.Kind == deliver.Bounced && q.softBounce.Load() && !it.verify() {
		word, status = "SOFTBOUNCE", softened(status)
	}
	v := verdict{rcpt.Index, status, cmp.Or(status.Recipient, rcpt.Address)}
	switch {
	case it.verify():
		if word = "undeliverable"; status.Kind == deliver.Sent {
			word = "deliverable"
		}
		r.probed = append(r.probed, v)
	case status.Kind == deliver.Bounced:
		r.bounced = append(r.bounced, v)
	case status.Kind == deliver.Deferred:
		r.deferred = append(r.deferred, v)
	case len(status.Forwards) > 0:
		expanded := *status
		expanded.Reach = deliver.Expanded
		v.status = &expanded
		r.forwards = append(r.forwards, forwarded{verdict: v, recipient: rcpt, log: log, transport: transport, began: began})
		return // logged when the new messages are there
	default:
		r.sent = append(r.sent, spool.Outcome{Index: rcpt.Index, Applied: status.Applied})
		if q.isTold(it, &v) {
			r.told = append(r.told, v)
		}
	}
	r.judge(status)
	q.logDelivery(log, it, rcpt, status, word, transport, began)
}

// softened is a failure as soft_bounce has it: not for good.
func softened(status *deliver.Status) *deliver.Status {
	soft := *status
	soft.Kind = deliver.Deferred
	if len(soft.DSN) > 0 {
		soft.DSN = "4" + soft.DSN[1:]
	}
	return &soft
}

// judge notes what a failure says about more than its recipient.
func (r *results) judge(status *deliver.Status) {
	if status.Kind != deliver.Deferred {
		return
	}
	if status.Destination {
		r.trouble = status
	}
	if status.Transport {
		r.broken = status
	}
}

// feedback ends a delivery and moves the window of its lane. When that killed
// the destination, or the transport, what waited for it is returned.
func (q *Queue) feedback(j *job, r *results, began time.Time) (s suspension) {
	now := q.options.Now()
	l := j.lane
	t := l.transport
	q.mu.Lock()
	defer q.mu.Unlock()
	if now.Sub(began) < quick {
		l.answered = now
	}
	switch {
	case r.broken != nil:
		s.reason = deferral(r.broken.DSN, r.broken.Reason)
		s.shares = t.die(s.reason, now, now.Add(q.parameters.TransportRetry))
		q.wakeLater(rest{t.deadUntil.UnixNano(), nil, t})
	case r.trouble == nil && !r.interrupted:
		l.succeed()
	case r.trouble != nil && l.fail(*r.trouble, now):
		l.restsTo = now.Add(q.parameters.MinimalBackoff)
		q.wakeLater(rest{l.restsTo.UnixNano(), l, nil})
		s.shares, s.reason = l.drain(), l.reason
	}
	l.busy--
	t.busy--
	j.item.pass.busy--
	q.pace(l, now)
	if l.shares.len() <= q.laneRoom()/2 {
		l.recall(false)
	}
	l.offer(now)
	l.retire(now)
	return s
}

// pace lets the lane and the transport rest after a delivery
// (destination_rate_delay, transport_rate_delay).
func (q *Queue) pace(l *lane, now time.Time) {
	t := l.transport
	if t.DestinationRateDelay > 0 && !l.dead() {
		l.restsTo = now.Add(t.DestinationRateDelay)
		q.wakeLater(rest{l.restsTo.UnixNano(), l, nil})
	}
	if t.RateDelay > 0 {
		t.restsTo = now.Add(t.RateDelay)
		q.wakeLater(rest{t.restsTo.UnixNano(), nil, t})
	}
}

// laneRoom is how many messages may wait for a destination that is slow.
func (q *Queue) laneRoom() int { return max(10, q.parameters.activeLimit()/10) }

// laneLoad is how many recipients of messages that are not small may wait for a
// destination that is slow: a part of the room that is left, so that there is
// some left however many such destinations there are.
func (q *Queue) laneLoad() int {
	p := &q.parameters
	return max(p.recipientMinimum(), (p.recipientLimit()-q.rooms[large].used)/20)
}
