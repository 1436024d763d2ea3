package spool

import (
	"context"
	"fmt"
)

// content is a decoded record. Of news (and keep) only those count whose text
// is whole.
type content struct {
	changed *changed
	keep    *state
	mark    *mark
	texts   []bool
}

// decode reads a record. why is not empty when something is wrong with it;
// what it returns may be used all the same.
func (r *recovery) decode(rec *record) (c content, why string) {
	if !rec.whole {
		return c, "checksum"
	}
	var err error
	var news []stored
	switch rec.head.kind {
	case recordChange:
		var v changed
		v, err = decodeChanged(rec.meta)
		c.changed, news = &v, v.news
	case recordKeep:
		var v state
		v, err = decodeState(rec.meta)
		c.keep, news = &v, []stored{v.stored}
	case recordMark:
		var v mark
		v, err = decodeMark(rec.meta)
		c.mark = &v
	default:
		return content{}, "unknown type of record"
	}
	if err != nil {
		return content{}, "does not follow the format"
	}
	list, ok := texts(rec.blob, news)
	if !ok {
		return content{}, "length of the texts"
	}
	for i, text := range list {
		whole := text != nil || news[i].file
		c.texts = append(c.texts, whole)
		if !whole {
			why = "text of " + formatID(news[i].id) + " from <" + news[i].envelope.Sender + ">"
		}
	}
	return c, why
}

// apply does to the index what a record says.
func (r *recovery) apply(seg *segment, rec *record, c content) {
	s := r.s
	at := place{seg.gen, rec.off}
	meta := int64(len(rec.meta))
	off := rec.off + headSize + meta
	switch {
	case c.mark != nil:
		s.boot = c.mark.boot
		r.lastID = max(r.lastID, c.mark.ids)
	case c.keep != nil && c.texts[0]:
		// With a damaged text, what an earlier record holds of it may be whole.
		r.enter(newSlot(&c.keep.stored, at, off, meta))
		r.replace(c.keep, at, meta)
	case c.changed != nil:
		each := meta / int64(max(len(c.changed.news)+len(c.changed.states), 1))
		for i := range c.changed.news {
			v := &c.changed.news[i]
			if c.texts[i] {
				r.enter(newSlot(v, at, off, each))
			}
			off += v.inline()
		}
		for _, v := range c.changed.settle {
			s.applySettled(v, at)
		}
		for i := range c.changed.states {
			r.replace(&c.changed.states[i], at, each)
		}
		for _, v := range c.changed.plans {
			s.applyPlan(v)
		}
		for _, number := range c.changed.remove {
			s.applyRemoved(number, at)
		}
		for _, v := range c.changed.undo {
			s.applyUndone(v)
		}
		for _, v := range c.changed.owed {
			s.applyOwed(v, at)
		}
	}
}

// enter puts a message into the index, instead of what was known of it.
func (r *recovery) enter(e slot) {
	r.s.index.forget(e.number)
	r.s.index.enter(e)
	r.lastID = max(r.lastID, e.number)
}

// replace takes the state of a message from a record. Of a message whose text
// nobody knows there is nothing left to deliver.
func (r *recovery) replace(v *state, at place, metaLen int64) {
	s := r.s
	e := s.index.table.edit(v.id)
	switch {
	case e == nil && v.file:
		r.enter(newSlot(&v.stored, at, 0, metaLen))
	case e == nil || int(e.rcpts) != len(v.envelope.Recipients) || e.is(slotFile) != v.file:
		return
	default:
		old := *e
		r.enter(old)
	}
	list := v.applied
	applied := map[int]bool{}
	for _, o := range list {
		applied[o.Index] = true
	}
	for _, i := range v.done {
		if !applied[i] {
			list = append(list, Outcome{Index: i})
		}
	}
	s.applySettled(settled{v.id, list}, at)
	s.applyState(v, at, metaLen)
	e = s.index.table.edit(v.id)
	e.set(slotHeld, v.schedule.held)
}

// examine looks at the deliveries that no checkpoint has covered. In the same
// boot the system still has every byte, so they count, whatever their reader
// did since; but they are written again, because the process before may have
// been told of an error that nobody is told twice. After another boot only
// those count whose file is there and whole; the other recipients are to be
// served again.
func (s *Spool) examine() error {
	trusted := 0
	var doubtful []*debt
	for _, d := range s.debts {
		switch {
		case d.gone:
		case s.boot != "" && d.boot == s.boot:
			trusted++
			d.doubt = true
			s.meet(d.outcome.Applied)
		default:
			doubtful = append(doubtful, d)
		}
	}
	lost, err := s.lost(doubtful)
	if err != nil {
		return err
	}
	if err := s.undo(lost); err != nil {
		return err
	}
	if trusted > 0 {
		return nil
	}
	for _, d := range s.debts {
		if !d.gone {
			s.index.acquit(d)
			s.over(s.index.table.find(d.number))
		}
	}
	s.debts, s.covered = nil, s.here()
	return nil
}

// lost are those deliveries whose file is not there or not whole: indices of
// recipients by message.
func (s *Spool) lost(list []*debt) (map[uint64][]int, error) {
	if len(list) == 0 {
		return nil, nil
	}
	whole, err := s.mail().Whole(context.Background(), applied(list))
	if err != nil {
		return nil, fmt.Errorf("look at deliveries: %w", err)
	}
	lost := map[uint64][]int{}
	for i, d := range list {
		if !whole[i] {
			lost[d.number] = append(lost[d.number], d.outcome.Index)
		}
	}
	return lost, nil
}

// undo records that recipients are open again.
func (s *Spool) undo(lost map[uint64][]int) error {
	for number, indices := range lost {
		v := undone{number, indices}
		r := changed{undo: []undone{v}}
		if _, _, err := s.put(recordChange, r.append(nil), nil); err != nil {
			return err
		}
		s.applyUndone(v)
	}
	return nil
}

// missFiles drops messages whose text should have a file that is not there.
func (s *Spool) missFiles(there map[uint64]bool) error {
	var lost []uint64
	for _, l := range s.index.table.leaves {
		for i := range l.n {
			e := &l.slots[i]
			if e.is(slotFile) && !there[e.number] && s.index.open(e) > 0 {
				lost = append(lost, e.number)
			}
		}
	}
	for _, number := range lost {
		sender := "unknown sender"
		if _, st, err := s.look(number); err == nil {
			sender = "<" + st.envelope.Sender + ">"
		}
		s.log.Warningf("%s: message from %s is lost: its text in %s is missing", formatID(number), sender, s.bodyName(number))
		if err := s.drop(number); err != nil {
			return err
		}
	}
	return nil
}
