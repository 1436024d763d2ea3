package queue

import "time"

// size says how many recipients a message has, roughly: each size has room of
// its own, so that none keeps another waiting.
type size uint8

// Sizes. A small message has up to qmgr_message_recipient_minimum recipients and
// needs no room, a large one up to a tenth of qmgr_message_recipient_limit.
const (
	small size = iota
	large
	huge
	sizes
)

// hugeFactor is how much room there is for huge messages, in recipient limits.
// With the default two messages of 50 000 recipients are in memory.
const hugeFactor = 5

// room is for messages of one size.
type room struct {
	used    int          // recipients of active messages
	waiting fifo[uint64] // messages for which there was none
}

// size is that of a message with n recipients.
func (p *Parameters) size(n int) size {
	switch {
	case n <= p.recipientMinimum():
		return small
	case n <= p.recipientLimit()/10:
		return large
	}
	return huge
}

// capacity is how many recipients have room.
func (p *Parameters) capacity(s size) int {
	if s == huge {
		return hugeFactor * p.recipientLimit()
	}
	return p.recipientLimit()
}

// fits reports whether n recipients find room now. A message that is larger than
// all the room has it alone.
func (q *Queue) fits(s size, n int) bool {
	used := q.rooms[s].used
	return s == small || used == 0 || used+n <= q.parameters.capacity(s)
}

// enter gives a claimed message room for its n recipients. Where there is none,
// or others wait for it, the message waits behind them, and enter returns false.
func (q *Queue) enter(it *item, o order, n int, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.parameters.size(n)
	if s == small || it.weight > 0 || it.requeue { // what is requeued is not delivered
		return true
	}
	o.recipients, o.retry = int32(n), it.retry
	r := &q.rooms[s]
	if r.waiting.len() > 0 || !q.fits(s, n) {
		q.wait(&r.waiting, o)
		if it.again != nil {
			q.wait(&r.waiting, *it.again)
		}
		q.leave(it)
		q.watch(now)
		return false
	}
	q.occupy(it, o)
	return true
}

// occupy counts the recipients of an item as in memory, until it leaves. The
// lock is held.
func (q *Queue) occupy(it *item, o order) {
	it.weight = int(o.recipients)
	it.size = q.parameters.size(it.weight)
	q.rooms[it.size].used += it.weight
}

// invited returns the size of a message that waits for room and would find it
// now; small: there is none.
func (q *Queue) invited() size {
	for s := large; s < sizes; s++ {
		if w := &q.rooms[s].waiting; w.len() > 0 && q.fits(s, int(q.orders[w.first()].recipients)) {
			return s
		}
	}
	return small
}

// excluded reports whether messages wait for room.
func (q *Queue) excluded() bool {
	return q.rooms[large].waiting.len()+q.rooms[huge].waiting.len() > 0
}

// watch has memory made free in a while when something waits for it now. The
// lock is held.
func (q *Queue) watch(now time.Time) {
	if (q.excluded() || q.squeezed(now)) && q.crowded.IsZero() {
		q.crowded = now.Add(quick)
		q.ring()
	}
}

// due reports whether the time of a message has come.
func (q *Queue) due(now time.Time) bool {
	return len(q.sleeping) > 0 && q.sleeping[0].at <= now.UnixNano()
}

// squeezed reports whether messages wait because the active queue is full, or
// because that part of it is that messages may have which were tried before.
func (q *Queue) squeezed(now time.Time) bool {
	retries := q.ordered.len() > 0 || q.due(now)
	return q.active >= q.parameters.activeLimit() && (retries || q.incoming.len() > 0) ||
		q.retrying >= q.parameters.retryLimit() && retries
}

// wanted is the room that those need who wait for some of a size, but not more
// than most.
func (q *Queue) wanted(s size, most int) (n int) {
	for _, number := range q.rooms[s].waiting.all() {
		if n += int(q.orders[number].recipients); n >= most {
			return most
		}
	}
	return n
}

// evict takes back messages that wait for destinations that do not answer, as
// far as others need their room. Recipients under way keep theirs, and a huge
// message keeps all of it while there are any, for it stays in memory. evict
// returns them. The lock is held.
func (q *Queue) evict(now time.Time) (stopped []halted) {
	var needed [sizes]int
	for s := large; s < sizes; s++ {
		r, capacity := &q.rooms[s], q.parameters.capacity(s)
		needed[s] = r.used + q.wanted(s, capacity) - capacity
	}
	for _, it := range q.items {
		if it.weight == 0 || needed[it.size] <= 0 || !it.stuck(now) {
			continue
		}
		it.park()
		n := it.halt()
		stopped = append(stopped, halted{it, n})
		free := it.weight
		switch {
		case it.size == large:
			free -= min(free, it.pass.left-n)
			it.weight -= free
			q.rooms[large].used -= free
		case it.pass.busy > 0:
			free = 0
		}
		needed[it.size] -= free
	}
	return stopped
}

// stuck reports whether an active message has been waiting for a while, and for
// destinations only that gave no quick answer of late.
func (it *item) stuck(now time.Time) bool {
	p := &it.pass
	if p.placed.IsZero() || now.Sub(p.placed) < quick || p.halted {
		return false
	}
	for _, s := range p.shares {
		if len(s.recipients) > 0 && s.lane.promising(now) {
			return false
		}
	}
	return true
}

// park has the item wait where it waits now when its pass is over.
func (it *item) park() {
	for _, s := range it.pass.shares {
		if len(s.recipients) > 0 {
			it.pass.parked = s.lane
		}
	}
}
