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
	switch a {
	case Requeue:
		return q.requeueAll(ctx, numbers)
	case Retry:
		return q.order(q.concerned(a, numbers)), nil
	}
	list, halted, err := q.change(ctx, a, numbers)
	q.takeBack(q.context(), halted)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", a.word(), err)
	}
	for _, w := range list {
		q.told(a, w)
	}
	return len(list), nil
}

// change writes down what an action means for some messages. It returns those to
// which it means something, and items that have nothing left to wait for.
func (q *Queue) change(ctx context.Context, a Action, numbers []uint64) ([]spool.Waiting, []halted, error) {
	q.changes.RLock()
	defer q.changes.RUnlock()
	list := q.concerned(a, numbers)
	q.mark(a, list)
	_, err := q.options.Store.Commit(ctx, a.change(list))
	if errors.Is(err, spool.ErrUnwritten) {
		q.logs.super.Warningf("%d messages %s, which is written when there is space: %v", len(list), a.word(), err)
		err = nil
	}
	return list, q.settle(a, list, err == nil), err
}

// concerned are the messages to which an action means anything.
func (q *Queue) concerned(a Action, numbers []uint64) []spool.Waiting {
	list := make([]spool.Waiting, 0, len(numbers))
	for _, n := range numbers {
		if w, ok := q.options.Store.Peek(n); ok && q.concerns(a, w) {
			list = append(list, w)
		}
	}
	return list
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

// halted is an item whose pass is to end, with so many recipients taken back.
type halted struct {
	item  *item
	count int
}

// settle follows up what the store was told, or would not take. It returns the
// items that were halted.
func (q *Queue) settle(a Action, list []spool.Waiting, taken bool) (stopped []halted) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, w := range list {
		it := q.items[w.Number]
		active := it != nil && it.state == Active
		switch {
		case !taken && active:
			it.held, it.removed, it.expired = w.Held, false, isExpired(w.Next)
		case !taken:
			q.sleep(w.Number, w.Next) // a pass may have ended, and believed it
		case active && (a == Hold || a == Delete):
			it.held, it.removed = it.held || a == Hold, it.removed || a == Delete // it may have become active since mark
			stopped = append(stopped, halted{it, it.halt()})
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
	return stopped
}

// takeBack ends the passes of items that have nothing left to wait for.
func (q *Queue) takeBack(ctx context.Context, stopped []halted) {
	for _, h := range stopped {
		if h.count > 0 {
			q.finish(ctx, h.item, &results{count: h.count, back: true})
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
		q.wait(&q.ordered, order{number: w.Number, stamp: stamp(w.Next), given: given})
	}
	q.admit()
	return len(list)
}
