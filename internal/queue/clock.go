package queue

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// alarm is when a message is to be tried, as far as the queue knows: the store
// is asked when the time has come.
type alarm struct {
	at     int64 // nanoseconds since 1970; 0: at once
	number uint64
}

func (a alarm) due() int64 { return a.at }

// rest is when a lane, or a transport as a whole, may be used again.
type rest struct {
	at        int64
	lane      *lane
	transport *transport
}

func (r rest) due() int64 { return r.at }

// stamp is a time as alarms hold it.
func stamp(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// sleep lets a message wait for its next try. The lock is held.
func (q *Queue) sleep(number uint64, next time.Time) {
	q.sleeping.push(alarm{stamp(next), number})
	if len(q.sleeping) > q.pruneAt {
		q.pruneAlarms()
	}
	q.arm()
}

// fewAlarms are not worth looking through.
const fewAlarms = 1000

// pruneAlarms leaves one alarm for each message, at its next try: orders may
// leave many behind. It is done when there are twice as many as were left the
// last time. The lock is held.
func (q *Queue) pruneAlarms() {
	slices.SortFunc(q.sleeping, func(a, b alarm) int { return cmp.Compare(a.number, b.number) })
	kept := q.sleeping[:0]
	for _, a := range q.sleeping {
		if n := len(kept); n > 0 && kept[n-1].number == a.number {
			continue
		}
		if w, ok := q.options.Store.Peek(a.number); ok && !w.Held {
			kept = append(kept, alarm{stamp(w.Next), a.number})
		}
	}
	q.sleeping = kept
	q.sleeping.order()
	q.pruneAt = 2*len(q.sleeping) + fewAlarms
}

// wakeLater has a lane or a transport looked at again at a time. The lock is held.
func (q *Queue) wakeLater(r rest) {
	q.resting.push(r)
	q.arm()
}

// arm makes the clock look again when it would sleep too long: after something
// was put into a heap, and when what was due has been taken from it. The lock
// is held.
func (q *Queue) arm() {
	if len(q.sleeping) > 0 && q.sleeping[0].at < q.armed || len(q.resting) > 0 && q.resting[0].at < q.armed {
		q.ring()
	}
}

// ring makes the clock look again.
func (q *Queue) ring() {
	select {
	case q.alarm <- struct{}{}:
	default:
	}
}

// idle is how long the clock waits when there is nothing to wait for.
const idle = time.Hour

// keepTime wakes what is due until ctx ends.
func (q *Queue) keepTime(ctx context.Context) {
	timer := time.NewTimer(q.strike())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-q.alarm:
		}
		timer.Reset(q.strike())
	}
}

// strike wakes the lanes and messages whose time has come, and returns how long
// it is to the next. Messages that are due are taken by goroutines that arm the
// clock for the next ones, and where there is no room, when others leave.
func (q *Queue) strike() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.options.Now()
	at := now.UnixNano()
	wait := idle
	for len(q.resting) > 0 {
		if d := q.resting[0].at - at; d > 0 {
			wait = min(wait, time.Duration(d))
			break
		}
		q.wake(q.resting.pop(), now)
	}
	if !q.crowded.IsZero() && !now.Before(q.crowded) {
		q.crowded = time.Time{}
		if q.running && (q.excluded() || q.squeezed(now)) {
			q.workers.Add(1)
			go q.unload(q.ctx)
		}
	}
	q.admit()
	if !q.crowded.IsZero() {
		wait = min(wait, q.crowded.Sub(now))
	}
	if len(q.sleeping) > 0 && q.sleeping[0].at > at {
		wait = min(wait, time.Duration(q.sleeping[0].at-at))
	}
	wait = max(wait, time.Millisecond)
	q.armed = at + int64(wait)
	return wait
}

// wake lets a lane or a transport work again.
func (q *Queue) wake(r rest, now time.Time) {
	if t := r.transport; t != nil {
		t.recover(now)
		q.employ(t)
		return
	}
	r.lane.rouse(now)
	q.employ(r.lane.transport)
}
