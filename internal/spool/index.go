package spool

import "math/bits"

// index is what the spool knows of its messages without reading the log. It is
// guarded by Spool.mu.
type index struct {
	table    table
	works    map[uint64]*work    // of the messages that need one
	segs     map[uint32]*segment // of the log, by generation
	finished int                 // messages in table without open recipients
	version  uint64              // rises with every change of a work
	loading  bool                // segments are not charged: recount does that at the end
}

func newIndex() index {
	return index{works: map[uint64]*work{}, segs: map[uint32]*segment{}}
}

// enter adds a new message whose recipients are all open.
func (x *index) enter(e slot) {
	e.done = 0
	x.table.insert(e)
	x.charge(e.text.gen, int64(e.textWeight))
	x.charge(e.state.gen, int64(e.stateWeight))
	if e.wide() {
		w := x.work(e.number)
		w.wide, w.left = newBitset(e.rcpts), int(e.rcpts)
	}
}

// charge adds to the bytes of a segment that are needed.
func (x *index) charge(gen uint32, weight int64) {
	if weight == 0 || x.loading {
		return
	}
	if seg := x.segs[gen]; seg != nil {
		seg.live += weight
	}
}

// lodgeText says where the text of a message is from now on.
func (x *index) lodgeText(e *slot, at spot, weight uint32) {
	x.charge(e.text.gen, -int64(e.textWeight))
	e.text, e.textWeight = at, weight
	x.charge(at.gen, int64(weight))
}

// lodgeState says where the state of a message is from now on.
func (x *index) lodgeState(e *slot, at spot, weight uint32) {
	x.charge(e.state.gen, -int64(e.stateWeight))
	e.state, e.stateWeight = at, weight
	x.charge(at.gen, int64(weight))
}

// strike removes a message that is done with.
func (x *index) strike(e *slot) {
	x.charge(e.text.gen, -int64(e.textWeight))
	x.charge(e.state.gen, -int64(e.stateWeight))
	if x.open(e) == 0 {
		x.finished--
	}
	x.forget(e.number)
	x.table.delete(e.number)
}

// forget drops what is known of a message besides its slot.
func (x *index) forget(number uint64) {
	w := x.works[number]
	if w == nil {
		return
	}
	for _, d := range w.debts {
		d.gone = true
	}
	delete(x.works, number)
}

// work is the work of a message, made if need be, and about to change.
func (x *index) work(number uint64) *work {
	w := x.works[number]
	if w == nil {
		w = &work{}
		x.works[number] = w
	}
	x.version++
	w.version = x.version
	return w
}

// tidy forgets a work that says nothing.
func (x *index) tidy(number uint64) {
	if w := x.works[number]; w != nil && w.wide == nil && w.owed == 0 && w.pins == 0 {
		delete(x.works, number)
	}
}

// open is how many recipients of a message are not done with.
func (x *index) open(e *slot) int {
	if !e.wide() {
		return int(e.rcpts) - bits.OnesCount16(e.done)
	}
	return x.works[e.number].left
}

// done reports whether a recipient is done with.
func (x *index) done(e *slot, i int) bool {
	if !e.wide() {
		return e.done>>i&1 != 0
	}
	return x.works[e.number].wide.has(i)
}

// settle marks a recipient as done with. It was already, or there is no such
// recipient: false.
func (x *index) settle(e *slot, i int) bool {
	if !e.has(i) || x.done(e, i) {
		return false
	}
	if e.wide() {
		w := x.work(e.number)
		w.wide.set(i)
		w.left--
	} else {
		e.done |= 1 << i
	}
	if x.open(e) == 0 {
		x.finished++
	}
	return true
}

// reopen takes a settle back.
func (x *index) reopen(e *slot, i int) {
	if !e.has(i) || !x.done(e, i) {
		return
	}
	if x.open(e) == 0 {
		x.finished--
	}
	if e.wide() {
		w := x.work(e.number)
		w.wide.clear(i)
		w.left++
	} else {
		e.done &^= 1 << i
	}
}

// owe notes that a delivery is not durable yet.
func (x *index) owe(d *debt) {
	w := x.work(d.number)
	w.debts = append(w.debts, d)
	w.owed++
}

// acquit says that a delivery is durable, or was none.
func (x *index) acquit(d *debt) {
	if d.gone {
		return
	}
	d.gone = true
	w := x.work(d.number)
	if w.owed--; w.owed == 0 {
		w.debts = nil
	}
	x.tidy(d.number)
}

// owed are the deliveries of a message that are not durable yet.
func (x *index) owed(number uint64) []Outcome {
	w := x.works[number]
	if w == nil || w.owed == 0 {
		return nil
	}
	list := make([]Outcome, 0, w.owed)
	for _, d := range w.debts {
		if !d.gone {
			list = append(list, d.outcome)
		}
	}
	return list
}

// over reports that nothing of a message is needed any more.
func (x *index) over(e *slot) bool {
	if x.open(e) > 0 {
		return false
	}
	w := x.works[e.number]
	return w == nil || w.owed == 0 && w.pins == 0
}

// recount charges the segments anew for all messages. It returns those that
// refer to a segment which is not there, and those that are done with.
func (x *index) recount() (dangling, over []uint64) {
	x.loading = false
	for _, seg := range x.segs {
		seg.live = 0
	}
	x.finished = 0
	for _, l := range x.table.leaves {
		for i := range l.n {
			e := &l.slots[i]
			if x.open(e) == 0 {
				x.finished++
			}
			x.charge(e.text.gen, int64(e.textWeight))
			x.charge(e.state.gen, int64(e.stateWeight))
			switch {
			case x.over(e):
				over = append(over, e.number)
			case x.segs[e.state.gen] == nil, !e.is(slotFile) && x.segs[e.text.gen] == nil:
				dangling = append(dangling, e.number)
			}
		}
	}
	return dangling, over
}
