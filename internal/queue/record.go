package queue

import (
	"context"
	"errors"
	"slices"
	"time"

	"postern/internal/deliver"
	"postern/internal/spool"
)

// forwarded is a recipient that new messages take the place of. One that
// bounced, because a part of it was refused, is among the bounced too.
type forwarded struct {
	verdict
	recipient deliver.Recipient
	log       Logger
	transport string
	began     time.Time
	fresh     []spool.New
}

// ledger is what is written down about an item in one change.
type ledger struct {
	item     *item
	sent     []spool.Outcome
	forwards []forwarded
	notices  []notice
	told     []verdict // sent, and to be reported
	bounced  []verdict
	deferred []verdict
	probed   []verdict
	final    bool // ends the pass: deferrals are written too
	warned   bool // one of the notices warns of the delay
	next     time.Time

	removed, expired bool // orders that were given during the pass
}

// write commits the ledger. New messages that cannot be written do not stop
// the rest: the recipients they are about are deferred instead. It returns
// false when the queue was stopped before the store could write; then the
// store knows the message as it was before.
func (q *Queue) write(ctx context.Context, l *ledger) bool {
	if l.empty() {
		return true
	}
	if fresh := l.fresh(); len(fresh) > 0 {
		change := l.change()
		messages, err := q.options.Store.Commit(context.WithoutCancel(ctx), change)
		if err == nil {
			q.announce(l, messages)
			return true
		}
		if !errors.Is(err, spool.ErrGone) { // deleted meanwhile: nobody is told
			q.logs.qmgr.Warningf("%s: new messages cannot be written: %v", l.item.message.ID, err)
		}
		abort(fresh)
		l.giveBack()
		if l.empty() {
			return true
		}
	}
	return q.persist(ctx, l.change())
}

func (l *ledger) empty() bool {
	return len(l.sent)+len(l.forwards)+len(l.notices)+len(l.bounced)+len(l.probed) == 0 && (!l.final || len(l.deferred) == 0)
}

// fresh are the new messages, in the order of the change.
func (l *ledger) fresh() []spool.New {
	var fresh []spool.New
	for i := range l.forwards {
		fresh = append(fresh, l.forwards[i].fresh...)
	}
	for i := range l.notices {
		fresh = append(fresh, l.notices[i].fresh)
	}
	return fresh
}

// change is the ledger as the store takes it.
func (l *ledger) change() spool.Change {
	c := spool.Change{New: l.fresh()}
	outcomes := slices.Clip(l.sent)
	for i := range l.forwards {
		if f := &l.forwards[i]; f.status.Kind == deliver.Sent {
			outcomes = append(outcomes, spool.Outcome{Index: f.index, Applied: f.status.Applied})
		}
	}
	for _, list := range [...][]verdict{l.bounced, l.probed} {
		for i := range list {
			outcomes = append(outcomes, spool.Outcome{Index: list[i].index})
		}
	}
	if len(outcomes) > 0 {
		c.Settle = []spool.Settlement{{Message: l.item.message, Outcomes: outcomes}}
	}
	if l.final && len(l.deferred) > 0 {
		c.Defer = []spool.Postponement{{
			Message: l.item.message, Deferrals: l.deferrals(), Next: l.next,
			Attempts: l.item.attempts + 1, Warned: l.item.warned || l.warned,
		}}
	}
	return c
}

// maxReason bounds what is kept of a reason; a remote server may have said it.
const maxReason = 1000

// deferrals are what the store keeps of the deferred recipients, by ascending
// index.
func (l *ledger) deferrals() []spool.Deferral {
	deferrals := make([]spool.Deferral, len(l.deferred))
	for i, v := range l.deferred {
		reason := v.status.Reason
		if len(reason) > maxReason {
			reason = reason[:maxReason]
		}
		deferrals[i] = spool.Deferral{Index: v.index, Status: v.status.DSN, Reason: reason}
	}
	slices.SortFunc(deferrals, func(a, b spool.Deferral) int { return a.Index - b.Index })
	return deferrals
}

// giveBack defers the recipients whose new messages could not be made. Who was
// to hear of a success only does not.
func (l *ledger) giveBack() {
	for i := range l.forwards {
		if f := &l.forwards[i]; f.status.Kind == deliver.Sent {
			l.deferred = append(l.deferred, verdict{f.index, deferral("4.3.0", "cannot forward: queue file write error"), f.address})
		}
	}
	l.deferred = append(append(l.deferred, l.bounced...), l.probed...)
	l.forwards, l.notices, l.told, l.bounced, l.probed, l.warned = nil, nil, nil, nil, nil, false
}

func abort(fresh []spool.New) {
	for _, n := range fresh {
		if n.Draft != nil {
			n.Draft.Abort()
		}
	}
}

// settled marks a recipient as done with.
func (q *Queue) settled(it *item, index int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	it.done[index] = true
}

// announce logs what the new messages are, and queues them.
func (q *Queue) announce(l *ledger, messages []*spool.Message) {
	rest := messages
	for i := range l.forwards {
		f := &l.forwards[i]
		if f.status.Kind == deliver.Sent {
			q.settled(l.item, f.index)
			status := *f.status
			status.Reason = forwardText(status.Reason, rest[:len(f.fresh)])
			q.logDelivery(f.log, l.item, f.recipient, &status, deliver.Sent.String(), f.transport, f.began)
		}
		rest = rest[len(f.fresh):]
	}
	for i := range l.notices {
		q.logs.bounce.Infof("%s: %s notification: %s", l.item.message.ID, l.notices[i].name, rest[i].ID)
	}
	for _, m := range messages {
		q.Add(m)
	}
}

// Bounds of the time between tries to write.
const (
	firstPause = time.Second
	lastPause  = time.Minute
)

// persist commits a change that has happened already, and so does not give up
// before ctx ends. While it has not succeeded nothing is delivered.
func (q *Queue) persist(ctx context.Context, c spool.Change) bool {
	_, err := q.options.Store.Commit(context.WithoutCancel(ctx), c)
	if err == nil {
		return true
	}
	q.complain(err)
	q.stall(+1)
	defer q.stall(-1)
	for pause := firstPause; err != nil; pause = min(2*pause, lastPause) {
		if errors.Is(err, spool.ErrTooLarge) {
			withoutReasons(c.Defer)
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause):
		}
		if _, err = q.options.Store.Commit(context.WithoutCancel(ctx), c); err != nil {
			q.complain(err)
		}
	}
	return true
}

// withoutReasons makes postponements as small as they can be.
func withoutReasons(postponements []spool.Postponement) {
	for i := range postponements {
		for j := range postponements[i].Deferrals {
			postponements[i].Deferrals[j].Reason = ""
		}
	}
}

// stall counts the changes that cannot be written. When there is none left,
// deliveries start again.
func (q *Queue) stall(change int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.unwritten += change; q.unwritten == 0 {
		for _, t := range q.transports {
			q.employ(t)
		}
	}
}

// complain says that the store does not work, once a minute.
func (q *Queue) complain(err error) {
	now := q.options.Now()
	q.mu.Lock()
	silent := now.Sub(q.complained) < time.Minute
	if !silent {
		q.complained = now
	}
	q.mu.Unlock()
	if !silent {
		q.logs.qmgr.Warningf("delivery is stopped, for results cannot be recorded: %v", err)
	}
}
