package spool

import (
	"errors"
	"io/fs"
	"os"
	"slices"
)

// content is a decoded record. Of news (and keep) only those count whose text
// is whole.
type content struct {
	changed *changed
	keep    *kept
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
		var v kept
		v, err = decodeKept(rec.meta)
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
	off := rec.off + headSize + int64(len(rec.meta))
	switch {
	case c.mark != nil:
		s.boot = c.mark.boot
		r.lastID = max(r.lastID, c.mark.ids)
	case c.keep != nil:
		r.applyKeep(seg, at, off, rec, c)
	case c.changed != nil:
		for i, v := range c.changed.news {
			if c.texts[i] {
				e := r.enter(v)
				e.lodge(seg, off, recordLength(v.inline())+int64(len(rec.meta))/int64(len(c.changed.news)))
			}
			off += v.inline()
		}
		for _, v := range c.changed.settle {
			s.applySettled(v, at)
		}
		for _, v := range c.changed.defers {
			if e := s.index[v.id]; e != nil {
				e.postpone(v)
			}
		}
		for _, v := range c.changed.undo {
			s.applyUndone(v)
		}
	}
}

// enter makes the entry of a message.
func (r *recovery) enter(v stored) *entry {
	e := r.s.newEntry(v)
	r.s.index[v.id] = e
	r.lastID = max(r.lastID, v.id)
	return e
}

// applyKeep replaces what is known of a message. When its text is damaged,
// what an earlier record holds of it may still be whole, and stays.
func (r *recovery) applyKeep(seg *segment, at place, off int64, rec *record, c content) {
	s := r.s
	if !c.texts[0] {
		return
	}
	if old := s.index[c.keep.id]; old != nil {
		s.debts = slices.DeleteFunc(s.debts, func(d *debt) bool { return d.entry == old })
		if old.open == 0 {
			s.finished--
		}
		old.leave()
	}
	e := r.enter(c.keep.stored)
	e.lodge(seg, off, rec.head.length())
	v := settled{id: e.id}
	for _, i := range c.keep.done {
		if !slices.ContainsFunc(c.keep.applied, func(o Outcome) bool { return o.Index == i }) {
			v.outcomes = append(v.outcomes, Outcome{Index: i})
		}
	}
	v.outcomes = append(v.outcomes, c.keep.applied...)
	e.postpone(c.keep.schedule)
	s.applySettled(v, at)
}

// applyUndone opens recipients again.
func (s *Spool) applyUndone(v undone) {
	e := s.index[v.id]
	if e == nil {
		return
	}
	if e.open == 0 {
		s.finished--
	}
	for _, i := range v.indices {
		e.reopen(i)
	}
	s.debts = slices.DeleteFunc(s.debts, func(d *debt) bool {
		drop := d.entry == e && slices.Contains(v.indices, d.outcome.Index)
		if drop {
			e.debts--
		}
		return drop
	})
	if e.open == 0 {
		s.finished++
	}
}

// examine looks at the deliveries that no checkpoint has covered. In the same
// boot the system still has every byte, so they count, whatever their reader
// did since. After another boot only those count whose file is there and
// whole; the other recipients are to be served again. It also sorts out
// messages whose text has gone.
func (s *Spool) examine() error {
	files := newMailfiles(s.fs)
	lost := map[uint64][]int{}
	trusted := 0
	for _, d := range s.debts {
		a := d.outcome.Applied
		switch {
		case s.boot != "" && d.boot == s.boot:
			trusted++
			s.meet(a)
		case !files.whole(a):
			lost[d.entry.id] = append(lost[d.entry.id], d.outcome.Index)
		}
	}
	for id, indices := range lost {
		v := undone{id, indices}
		r := changed{undo: []undone{v}}
		if _, _, _, err := s.put(recordChange, r.append(nil), nil); err != nil {
			return err
		}
		s.applyUndone(v)
	}
	if trusted == 0 {
		for _, d := range s.debts {
			if d.entry.debts--; d.entry.debts == 0 && d.entry.open == 0 {
				s.strike(d.entry)
			}
		}
		s.debts, s.covered = nil, s.here()
	}
	return s.missFiles()
}

// missFiles drops messages whose text should have a file but has none of the
// right size.
func (s *Spool) missFiles() error {
	for _, e := range s.index {
		if !e.file {
			continue
		}
		size := int64(-1)
		f, err := s.fs.Open(s.bodyName(e.id), os.O_RDONLY)
		if err == nil {
			size, err = f.Size()
			f.Close()
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if size == e.message.Size {
			continue
		}
		s.log.Warningf("%s: message from <%s> is lost: its text in %s is missing or cut short",
			e.message.ID, e.message.Envelope.Sender, s.bodyName(e.id))
		if err := s.drop(e); err != nil {
			return err
		}
	}
	return nil
}
