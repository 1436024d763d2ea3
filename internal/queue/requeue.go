package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"postern/internal/spool"
)

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
		var stopped halted
		if active {
			it.requeue, it.held = true, false // as postsuper(1) has it: not on hold any more
			stopped = halted{it, it.halt()}
		} else {
			it = q.claim(order{number: n}, true)
		}
		q.mu.Unlock()
		if active {
			q.takeBack(q.context(), []halted{stopped})
			done++
			continue
		}
		err := q.reissue(ctx, it)
		switch {
		case errors.Is(err, spool.ErrGone): // deleted meanwhile
			continue
		case err != nil:
			return done, fmt.Errorf("%s: %w", spool.FormatID(n), err)
		}
		done++
	}
	return done, nil
}

// renew requeues a message whose pass has ended, if that was ordered.
func (q *Queue) renew(ctx context.Context, l *ledger) bool {
	q.mu.Lock()
	wanted := l.reissued()
	l.item.requeue = false
	q.mu.Unlock()
	if !wanted {
		return false
	}
	err := q.requeue(ctx, l.item)
	q.unwilling(l.item, err)
	return err == nil
}

// reissued reports whether an item is to be requeued after its pass: that was
// ordered, and something is left of it. The lock is held.
func (l *ledger) reissued() bool { return l.item.requeue && !l.item.removed && !l.over() }

// reissue requeues an active item that has no pass, and ends its activity.
func (q *Queue) reissue(ctx context.Context, it *item) error {
	err := q.requeue(ctx, it)
	if err == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.leave(it)
	if it.again != nil {
		q.wait(&q.ordered, *it.again)
	} else {
		q.sleep(it.number, time.Time{}) // the store knows whether it is due
	}
	q.admit()
	return err
}

// unwilling says that a message was not requeued though that was ordered. Of one
// that was deleted meanwhile there is nothing to say.
func (q *Queue) unwilling(it *item, err error) {
	if err != nil && !errors.Is(err, spool.ErrGone) {
		q.logs.qmgr.Warningf("%s: cannot be requeued: %v", spool.FormatID(it.number), err)
	}
}

// requeue puts the recipients of an active item that are not done with into a
// new message, expanded anew, in one change with their end here. That ends the
// activity of the item. Of a message that was deleted meanwhile nothing becomes,
// which is spool.ErrGone; for one that was put on hold the new one is.
func (q *Queue) requeue(ctx context.Context, it *item) error {
	p, err := q.options.Store.Load(it.number)
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
	return q.replace(ctx, it, fresh, end)
}

// replace ends a message, with a new one in its place. Orders for the message
// have been written down before, or find it gone.
func (q *Queue) replace(ctx context.Context, it *item, fresh spool.New, end spool.Settlement) error {
	q.changes.Lock()
	defer q.changes.Unlock()
	q.mu.Lock()
	fresh.Held = fresh.Held || it.held
	q.mu.Unlock()
	messages, err := q.options.Store.Commit(ctx, spool.Change{New: []spool.New{fresh}, Settle: []spool.Settlement{end}})
	if err != nil {
		abort([]spool.New{fresh})
		return err
	}
	q.logs.super.Infof("%s: requeued as %s", end.Message.ID, messages[0].ID)
	q.mu.Lock()
	q.leave(it)
	q.admit()
	q.mu.Unlock()
	q.Add(messages[0])
	return nil
}
