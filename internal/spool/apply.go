package spool

import "slices"

// What a record says is applied to the index here, when the record is placed
// and again when the log is read. The callers hold mu.

// apply does to the index what the record r, placed at at, says.
func (s *Spool) apply(c *Change, r *changed, at place, metaLen int64) []*Message {
	messages := make([]*Message, len(c.New))
	each := metaLen / int64(max(len(r.news)+len(r.states), 1))
	off := at.off + headSize + metaLen
	for i, n := range c.New {
		v := &r.news[i]
		s.index.enter(newSlot(v, at, off, each))
		off += v.inline()
		if !v.file {
			s.keepText(v.id, n.Draft.buf)
		} else if err := n.Draft.file.Close(); err != nil {
			s.log.Warningf("%s: close the text's file: %v", n.Draft.ID(), err)
		}
		n.Draft.done, n.Draft.buf, n.Draft.file = true, nil, nil
		messages[i] = s.message(v)
	}
	for _, v := range r.settle {
		s.applySettled(v, at)
	}
	for i := range r.states {
		s.applyState(&r.states[i], at, each)
	}
	for _, v := range r.plans {
		s.applyPlan(v)
	}
	for _, number := range r.remove {
		s.applyRemoved(number, at)
	}
	return messages
}

// newSlot is a message whose record is at at, and whose text at off.
func newSlot(v *stored, at place, off, metaLen int64) slot {
	e := slot{number: v.id, state: at.spot(), stateWeight: uint32(headSize + metaLen), rcpts: uint32(len(v.envelope.Recipients))}
	if v.file {
		e.flags = slotFile
	} else {
		e.text, e.textWeight = place{at.gen, off}.spot(), textWeight(v.size)
	}
	return e
}

// textWeight is what a text needs of its segment. An empty one needs its place.
func textWeight(size int64) uint32 { return uint32(size) + recordAlign }

// applySettled marks recipients as done with.
func (s *Spool) applySettled(v settled, at place) {
	e := s.index.table.edit(v.id)
	if e == nil {
		return
	}
	for _, o := range v.outcomes {
		if s.index.settle(e, o.Index) {
			s.incur(&debt{number: v.id, outcome: o, at: at, boot: s.boot})
		}
	}
	s.over(e)
}

// applyOwed says that deliveries which were settled are owed still, although
// all that was recorded before covered is durable.
func (s *Spool) applyOwed(v settled, at place) {
	e := s.index.table.edit(v.id)
	if e == nil {
		return
	}
	known := map[int]*debt{}
	if w := s.index.works[v.id]; w != nil {
		for _, d := range w.debts {
			if !d.gone {
				known[d.outcome.Index] = d
			}
		}
	}
	for _, o := range v.outcomes {
		if d := known[o.Index]; d != nil {
			d.at = at
		} else if s.index.settle(e, o.Index) || e.has(o.Index) {
			s.incur(&debt{number: v.id, outcome: o, at: at, boot: s.boot})
		}
	}
}

// incur notes a delivery that is not durable yet, unless a checkpoint after it
// has covered it.
func (s *Spool) incur(d *debt) {
	if d.outcome.Applied != nil && !d.at.before(s.covered) {
		d.doubt = d.doubt || d.outcome.Applied.Found
		s.debts = append(s.debts, d)
		s.index.owe(d)
	}
}

// applyRemoved marks all recipients as done with.
func (s *Spool) applyRemoved(number uint64, at place) {
	if e := s.index.table.find(number); e != nil {
		v := settled{id: number}
		for i := range int(e.rcpts) {
			v.outcomes = append(v.outcomes, Outcome{Index: i})
		}
		s.applySettled(v, at)
	}
}

// applyState says that the state of a message, which is as the index has it,
// stands at at from now on.
func (s *Spool) applyState(v *state, at place, metaLen int64) {
	e := s.index.table.edit(v.id)
	if e == nil {
		return
	}
	s.index.lodgeState(e, at.spot(), uint32(headSize+metaLen))
	e.next = nanos(v.schedule.next)
	e.set(slotTried, len(v.schedule.deferrals) > 0)
	s.forgetText(v.id)
}

// applyPlan changes when a message is tried.
func (s *Spool) applyPlan(v planned) {
	if e := s.index.table.edit(v.id); e != nil {
		e.next = nanos(v.next)
		e.set(slotHeld, v.held)
	}
}

// applyUndone opens recipients again. What was owed for them is not any more.
func (s *Spool) applyUndone(v undone) {
	e := s.index.table.edit(v.id)
	if e == nil {
		return
	}
	for _, i := range v.indices {
		s.index.reopen(e, i)
	}
	if w := s.index.works[v.id]; w != nil {
		for _, d := range slices.Clone(w.debts) {
			if !s.index.done(e, d.outcome.Index) {
				s.index.acquit(d)
			}
		}
	}
}

// pin keeps messages that are about to be settled from being struck off, and
// tells what will have been settled.
func (s *Spool) pin(r *changed) []undone {
	var pinned []undone
	for _, v := range r.settle {
		if e := s.index.table.find(v.id); e != nil {
			u := undone{id: v.id}
			for _, o := range v.outcomes {
				if !s.index.done(e, o.Index) {
					u.indices = append(u.indices, o.Index)
				}
			}
			pinned = append(pinned, u)
		}
	}
	for _, number := range r.remove {
		if v, ok := s.view(number); ok {
			u := undone{id: number}
			for i, done := range v.done {
				if !done {
					u.indices = append(u.indices, i)
				}
			}
			pinned = append(pinned, u)
		}
	}
	for _, u := range pinned {
		s.index.work(u.id).pins++
	}
	return pinned
}

// unpin ends what pin began.
func (s *Spool) unpin(p *placed) {
	if len(p.settled) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range p.settled {
		s.index.work(u.id).pins--
		s.index.tidy(u.id)
		if e := s.index.table.find(u.id); e != nil {
			s.over(e)
		}
	}
}

// over strikes a message off if it is done with.
func (s *Spool) over(e *slot) {
	if s.replaying || !s.index.over(e) {
		if s.index.open(e) == 0 {
			s.forgetText(e.number)
		}
		return
	}
	s.strike(e)
}

// strike removes a message of which nothing is needed any more.
func (s *Spool) strike(e *slot) {
	s.forgetText(e.number)
	if e.is(slotFile) {
		s.retired = append(s.retired, e.number)
	}
	s.index.strike(e)
}

// cacheLimit bounds the texts of messages that are kept in memory until their
// first delivery attempt, each with cacheCost for the bookkeeping.
const (
	cacheLimit = 32 << 20
	cacheCost  = 256
)

// keepText keeps the text of a new message for its first delivery.
func (s *Spool) keepText(number uint64, text []byte) {
	if cost := cap(text) + cacheCost; s.cached+cost <= cacheLimit {
		s.texts[number] = text
		s.cached += cost
	}
}

func (s *Spool) forgetText(number uint64) {
	if text, ok := s.texts[number]; ok {
		delete(s.texts, number)
		s.cached -= cap(text) + cacheCost
	}
}
