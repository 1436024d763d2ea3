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
	used    int         // recipients of active messages
	waiting fifo[order] // messages for which there was none
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
	if s == small || it.weight > 0 {
		return true
	}
	o.recipients, o.retry = int32(n), it.retry
	r := &q.rooms[s]
	if r.waiting.len() > 0 || !q.fits(s, n) {
		r.waiting.push(o)
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
		if w := &q.rooms[s].waiting; w.len() > 0 && q.fits(s, int(w.first().recipients)) {
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
	waiting := q.excluded()
	if q.active >= q.parameters.activeLimit() {
		waiting = waiting || q.incoming.len()+q.ordered.len() > 0 || q.due(now)
	}
	if waiting && q.crowded.IsZero() {
		q.crowded = now.Add(quick)
		q.ring()
	}
}

// due reports whether the time of a message has come.
func (q *Queue) due(now time.Time) bool {
	return len(q.sleeping) > 0 && q.sleeping[0].at <= now.UnixNano()
}

// wanted is the room that those need who wait for it, but not more than most.
func (r *room) wanted(most int) (n int) {
	for _, o := range r.waiting.all() {
		if n += int(o.recipients); n >= most {
			return most
		}
	}
	return n
}

// evict takes back messages that wait for destinations that do not answer, as
// far as others need their room. Recipients under way keep theirs, and a huge
// message keeps all of it while there are any, for it stays in memory. evict
// returns the messages with what was taken back of each. The lock is held.
func (q *Queue) evict(now time.Time) (items []*item, counts []int) {
	var needed [sizes]int
	for s := large; s < sizes; s++ {
		r, capacity := &q.rooms[s], q.parameters.capacity(s)
		needed[s] = r.used + r.wanted(capacity) - capacity
	}
	for _, it := range q.items {
		if it.weight == 0 || needed[it.size] <= 0 || !it.stuck(now) {
			continue
		}
		it.park()
		n := it.halt()
		items, counts = append(items, it), append(counts, n)
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
	return items, counts
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
