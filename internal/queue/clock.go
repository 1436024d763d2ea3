package queue

import (
	"container/heap"
	"context"
	"time"
)

// alarms is a heap of sleeping items, the next one to wake first.
type alarms []*item

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].next.Before(a[j].next) }
func (a alarms) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *alarms) Push(x any)        { *a = append(*a, x.(*item)) }
func (a *alarms) Pop() any {
	last := len(*a) - 1
	it := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	return it
}

func (a *alarms) init() { heap.Init(a) }

// sleep puts an item to sleep until its next try.
func (q *Queue) sleep(it *item) {
	it.state = Deferred
	heap.Push(&q.sleeping, it)
	if q.sleeping[0] == it {
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

// strike wakes the items and destinations whose time has come, and returns how
// long it is to the next.
func (q *Queue) strike() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.options.Now()
	wait := idle
	for len(q.sleeping) > 0 {
		if d := q.sleeping[0].next.Sub(now); d > 0 {
			wait = d
			break
		}
		it := heap.Pop(&q.sleeping).(*item)
		it.state = Incoming
		q.due.push(it)
	}
	asleep := q.dead[:0]
	for _, l := range q.dead {
		if d := l.deadUntil.Sub(now); d > 0 {
			wait = min(wait, d)
			asleep = append(asleep, l)
		} else {
			l.revive()
		}
	}
	clear(q.dead[len(asleep):])
	q.dead = asleep
	q.admit()
	return max(wait, time.Millisecond)
}
