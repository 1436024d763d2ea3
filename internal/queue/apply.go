package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"postern/internal/spool"
)

// Action is what can be done to messages by order.
type Action uint8

// Actions. Each takes a message in any state. What a delivery under way has
// begun is finished; recipients that it has not begun are taken back.
const (
	Retry   Action = iota // try now (postqueue -i); what is on hold stays there
	Hold                  // do not try until released (postsuper -h)
	Release               // no longer on hold (postsuper -H)
	Delete                // forget it, nobody is told (postsuper -d)
	Expire                // return it after the next try that fails (postsuper -e)
	Requeue               // expand its recipients anew, under a new id (postsuper -r)
	Bounce                // Expire, and Release what is on hold (postsuper -f)
)

// word is what the log says of a message to which it was done.
func (a Action) word() string {
	return [...]string{"", "placed on hold", "released from hold", "removed", "expired", "requeued", "expired"}[a]
}

// expires and releases are what an action has in common with others.
func (a Action) expires() bool  { return a == Expire || a == Bounce }
func (a Action) releases() bool { return a == Release || a == Bounce }

// expiredAt is the next try of a message whose lifetime was ended by order: at
// once, and recognised later.
var expiredAt = time.Unix(1, 0)

func isExpired(next time.Time) bool { return next.Equal(expiredAt) }

// batchSize is how many messages are changed in one step.
const batchSize = 1000

// Apply does a to all messages that f chooses, and returns to how many. Those
// to which it means nothing, such as Release of one that is not on hold, are
// passed over. progress, which may be nil, is told now and then how many are
// done of those found so far. When ctx ends, what is done stays done, and the
// error is that of ctx.
func (q *Queue) Apply(ctx context.Context, a Action, f Filter, progress func(done, matched int)) (int, error) {
	if progress == nil {
		progress = func(int, int) {}
	}
	numbers, err := q.choose(ctx, f, func(n int) { progress(0, n) })
	if err != nil {
		return 0, err
	}
	done := 0
	for batch := range slices.Chunk(numbers, batchSize) {
		n, err := q.apply(ctx, a, batch)
		if done += n; err != nil {
			return done, err
		}
		progress(done, len(numbers))
	}
	return done, nil
}

// choose returns the numbers of the messages that f chooses. What cannot be
// read is chosen by a filter that need not read it.
func (q *Queue) choose(ctx context.Context, f Filter, found func(int)) (numbers []uint64, err error) {
	m := f.compile(q.options.Now())
	for w := range q.candidates(&m) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		state := q.state(w)
		if !m.takes(state) {
			continue
		}
		if m.reads {
			if e, err := q.read(w, state); err != nil || !m.matches(&e) {
				continue
			}
		}
		if numbers = append(numbers, w.Number); len(numbers)%batchSize == 0 {
			found(len(numbers))
		}
	}
	found(len(numbers))
	return numbers, nil
}

// apply does a to some messages in one step.
func (q *Queue) apply(ctx context.Context, a Action, numbers []uint64) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if a == Requeue {
		return q.requeueAll(ctx, numbers)
	}
	list := make([]spool.Waiting, 0, len(numbers))
	for _, n := range numbers {
		if w, ok := q.options.Store.Peek(n); ok && q.concerns(a, w) {
			list = append(list, w)
		}
	}
	if a == Retry {
		return q.order(list), nil
	}
	q.mark(a, list)
	_, err := q.options.Store.Commit(ctx, a.change(list))
	if errors.Is(err, spool.ErrUnwritten) {
		q.logs.super.Warningf("%d messages %s, which is written when there is space: %v", len(list), a.word(), err)
		err = nil
	}
	q.settle(a, list, err == nil)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", a.word(), err)
	}
	for _, w := range list {
		q.told(a, w)
	}
	return len(list), nil
}

// told logs what was done to a message. Bounce is logged as the actions of which
// it consists.
func (q *Queue) told(a Action, w spool.Waiting) {
	id := spool.FormatID(w.Number)
	if a != Bounce || !isExpired(w.Next) {
		q.logs.super.Infof("%s: %s", id, a.word())
	}
	if a == Bounce && w.Held {
		q.logs.super.Infof("%s: %s", id, Release.word())
	}
}

// concerns reports whether an action means anything to a message.
func (q *Queue) concerns(a Action, w spool.Waiting) bool {
	switch a {
	case Retry:
		return q.state(w) == Deferred
	case Hold:
		return !w.Held
	case Release:
		return w.Held
	case Expire:
		return !isExpired(w.Next)
	case Bounce:
		return !isExpired(w.Next) || w.Held
	}
	return true
}

// change is what the store is told.
func (a Action) change(list []spool.Waiting) (c spool.Change) {
	c.Sync = true
	for _, w := range list {
		switch a {
		case Delete:
			c.Remove = append(c.Remove, w.Number)
		case Expire:
			c.Plan = append(c.Plan, spool.Plan{Number: w.Number, Next: expiredAt, Held: w.Held})
		case Bounce:
			c.Plan = append(c.Plan, spool.Plan{Number: w.Number, Next: expiredAt})
		default:
			c.Plan = append(c.Plan, spool.Plan{Number: w.Number, Next: w.Next, Held: a == Hold})
		}
	}
	return c
}

// mark tells the active messages what is going to happen to them, so that a
// pass that ends meanwhile agrees with it.
func (q *Queue) mark(a Action, list []spool.Waiting) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, w := range list {
		if it := q.items[w.Number]; it != nil && it.state == Active {
			it.held = it.held && !a.releases() || a == Hold
			it.removed = it.removed || a == Delete
			it.expired = it.expired || a.expires()
		}
	}
}

// settle follows up what the store was told, or would not take.
func (q *Queue) settle(a Action, list []spool.Waiting, taken bool) {
	var halted []*item
	var counts []int
	q.mu.Lock()
	for _, w := range list {
		it := q.items[w.Number]
		active := it != nil && it.state == Active
		switch {
		case !taken && active:
			it.held, it.removed, it.expired = w.Held, false, isExpired(w.Next)
		case !taken:
			q.sleep(w.Number, w.Next) // a pass may have ended, and believed it
		case active && (a == Hold || a == Delete):
			halted, counts = append(halted, it), append(counts, it.halt())
		case active: // if it is only being looked at, what was seen is out of date
			it.again = &order{number: w.Number}
		case a == Release:
			q.sleep(w.Number, w.Next)
		case a.expires() && (a == Bounce || !w.Held):
			q.sleep(w.Number, expiredAt)
		case it != nil && (a == Hold || a == Delete):
			delete(q.items, w.Number)
		}
	}
	q.admit()
	q.mu.Unlock()
	q.takeBack(q.context(), halted, counts)
}

// takeBack ends the passes of items that have nothing left to wait for.
func (q *Queue) takeBack(ctx context.Context, halted []*item, counts []int) {
	for i, it := range halted {
		if counts[i] > 0 {
			q.finish(ctx, it, &results{count: counts[i], back: true})
		}
	}
}

// context is that of Run, or one without an end.
func (q *Queue) context() context.Context {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ctx != nil {
		return q.ctx
	}
	return context.Background()
}

// order has deferred messages tried now.
func (q *Queue) order(list []spool.Waiting) int {
	given := q.options.Now().UnixNano()
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, w := range list {
		q.ordered.push(order{number: w.Number, stamp: stamp(w.Next), given: given})
	}
	q.admit()
	return len(list)
}

// requeueAll puts messages in anew. Those that are active follow when their
// pass has ended.
func (q *Queue) requeueAll(ctx context.Context, numbers []uint64) (done int, err error) {
	for _, n := range numbers {
		if _, ok := q.options.Store.Peek(n); !ok {
			continue
		}
		q.mu.Lock()
		it := q.items[n]
		active := it != nil && it.state == Active
		var count int
		if active {
			it.requeue = true
			count = it.halt()
		} else {
			it = q.claim(order{number: n}, true)
		}
		q.mu.Unlock()
		if active {
			q.takeBack(q.context(), []*item{it}, []int{count})
			done++
			continue
		}
		err := q.requeue(ctx, n)
		q.mu.Lock()
		q.leave(it)
		if err != nil {
			q.sleep(n, time.Time{}) // the store knows whether it is due
		}
		q.admit()
		q.mu.Unlock()
		if err != nil {
			return done, fmt.Errorf("%s: %w", spool.FormatID(n), err)
		}
		done++
	}
	return done, nil
}

// renew requeues a message whose pass has ended, if that was ordered.
func (q *Queue) renew(ctx context.Context, l *ledger) bool {
	it := l.item
	q.mu.Lock()
	wanted := it.requeue && !it.removed && (it.pass.back || len(l.deferred) > 0)
	q.mu.Unlock()
	if !wanted {
		return false
	}
	if err := q.requeue(ctx, it.number); err != nil {
		q.logs.qmgr.Warningf("%s: cannot be requeued: %v", it.message.ID, err)
		return false
	}
	q.mu.Lock()
	q.leave(it)
	q.admit()
	q.mu.Unlock()
	return true
}

// requeue puts the recipients of a message that are not done with into a new
// message, expanded anew, in one change with their end here.
func (q *Queue) requeue(ctx context.Context, number uint64) error {
	p, err := q.load(number)
	if err != nil {
		return err
	}
	body, err := p.Message.Open()
	if err != nil {
		return err
	}
	defer body.Close()
	e := p.Message.Envelope
	e.Recipients = nil
	end := spool.Settlement{Message: p.Message}
	for i, r := range p.Message.Envelope.Recipients {
		if !p.Done[i] {
			e.Recipients = append(e.Recipients, r)
			end.Outcomes = append(end.Outcomes, spool.Outcome{Index: i})
		}
	}
	fresh, err := q.options.Submit(ctx, Submission{Envelope: e, Text: body, Size: body.Size()})
	if err != nil {
		return err
	}
	messages, err := q.options.Store.Commit(ctx, spool.Change{New: []spool.New{fresh}, Settle: []spool.Settlement{end}})
	if err != nil {
		abort([]spool.New{fresh})
		return err
	}
	q.logs.super.Infof("%s: requeued as %s", p.Message.ID, messages[0].ID)
	q.Add(messages[0])
	return nil
}
