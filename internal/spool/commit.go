package spool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Commit makes a change. With New it returns the messages, in the order of
// c.New, once everything would survive a power cut: then the client may be
// told 250. Callers at the same time share one sync. Without New, and without
// c.Sync, it returns when the change would survive the end of the process; the
// sync follows within milliseconds.
//
// After an error nothing new is in the spool and nothing was acknowledged; the
// drafts are still to be aborted. ErrFull undoes the settlements of a change
// with New; those of other changes, and postponements, count in this process
// and are written when there is space. With Err not nil, what is on the disk is
// seen at the next Open, as after a power cut. ctx is looked at only in the
// beginning: what has been placed in the log cannot be called back.
func (s *Spool) Commit(ctx context.Context, c Change) ([]*Message, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(c.New) > 0 && s.j.starved() {
		return nil, fmt.Errorf("spool: %w", ErrFull)
	}
	if err := s.check(&c); err != nil {
		return nil, err
	}
	if err := s.secureDrafts(c.New); err != nil {
		return nil, s.refuse(err)
	}
	s.watch(&c)
	p, err := s.record(&c)
	if err != nil {
		return nil, err
	}
	if len(c.New) == 0 && !c.Sync {
		nudge(s.lazy)
		return nil, s.j.waitWritten(p.tick)
	}
	err = s.j.waitSynced(p.tick)
	if err != nil {
		s.revoke(&p)
	}
	s.unpin(&p)
	if err != nil {
		return nil, err
	}
	return p.messages, nil
}

// placed is a change that stands in the log and in the index, and may not be
// durable yet.
type placed struct {
	tick     int64
	messages []*Message // that are new
	settled  []undone   // what it settled beside them, to be taken back together
}

// refuse classes an error of writing a text. A failed sync of a file says
// nothing of the log, and the sender keeps the message.
func (s *Spool) refuse(err error) error {
	if errors.Is(err, ErrFull) || errors.Is(err, ErrClosed) {
		return err
	}
	return fmt.Errorf("spool: write the text of a message: %w", err)
}

// check refuses what a caller could do wrong, before anything happens.
func (s *Spool) check(c *Change) error {
	for i, n := range c.New {
		twice := slices.ContainsFunc(c.New[:i], func(o New) bool { return o.Draft == n.Draft })
		if n.Draft == nil || n.Draft.spool != s || twice {
			return fmt.Errorf("spool: not a draft of this spool, or one given twice")
		}
		if len(n.Envelope.Recipients) == 0 {
			return fmt.Errorf("spool: %s: a message without recipients", n.Draft.ID())
		}
	}
	for _, v := range c.Settle {
		for _, o := range v.Outcomes {
			if err := s.owns(v.Message, o.Index); err != nil {
				return err
			}
		}
	}
	for _, v := range c.Defer {
		if err := s.owns(v.Message, 0); err != nil {
			return err
		}
		for _, d := range v.Deferrals {
			if err := s.owns(v.Message, d.Index); err != nil {
				return err
			}
		}
	}
	return nil
}

// owns reports whether m is a message of this spool with a recipient index.
func (s *Spool) owns(m *Message, index int) error {
	if m == nil || m.body == nil || m.body.spool != s {
		return fmt.Errorf("spool: not a message of this spool")
	}
	if index < 0 || index >= len(m.Envelope.Recipients) {
		return fmt.Errorf("spool: %s: no recipient %d", m.ID, index)
	}
	return nil
}

// record places the change in the log and applies it to the index.
func (s *Spool) record(c *Change) (placed, error) {
	r, blobs := s.encode(c)
	meta := r.append(nil)
	if s.tooLarge(meta, blobs) {
		if err := s.spill(c); err != nil {
			return placed{}, s.refuse(err)
		}
		r, blobs = s.encode(c)
		meta = r.append(nil)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return placed{}, ErrClosed
	}
	at, seg, tick, err := s.put(recordChange, meta, blobs)
	if err != nil {
		return placed{}, err
	}
	p := placed{tick: tick}
	if len(c.New) > 0 {
		p.settled = s.pin(r.settle)
	}
	p.messages = s.apply(c, &r, at, seg, tick, int64(len(meta)))
	return p, nil
}

// pin keeps messages that are about to be settled from being struck off, and
// tells what will have been settled. The caller holds mu.
func (s *Spool) pin(list []settled) []undone {
	var pinned []undone
	for _, v := range list {
		e := s.index[v.id]
		if e == nil {
			continue
		}
		u := undone{id: v.id}
		for _, o := range v.outcomes {
			if !e.done[o.Index] {
				u.indices = append(u.indices, o.Index)
			}
		}
		e.pins++
		pinned = append(pinned, u)
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
		e := s.index[u.id]
		e.pins--
		s.over(e)
	}
}

func (s *Spool) tooLarge(meta []byte, blobs [][]byte) bool {
	n := int64(len(meta))
	for _, b := range blobs {
		n += int64(len(b))
	}
	return n > s.j.size/2
}

// spill moves the texts of a change that is too large for the log into files.
func (s *Spool) spill(c *Change) error {
	for _, n := range c.New {
		if n.Draft.file == nil && n.Draft.size > 0 {
			if err := n.Draft.drain(); err != nil {
				return err
			}
		}
	}
	return s.secureDrafts(c.New)
}

// encode turns a change into the content of its record.
func (s *Spool) encode(c *Change) (r changed, blobs [][]byte) {
	for _, n := range c.New {
		d := n.Draft
		r.news = append(r.news, stored{id: d.id, size: d.size, crc: d.crc, file: d.file != nil, envelope: n.Envelope})
		if d.file == nil {
			blobs = append(blobs, d.buf)
		}
	}
	for _, v := range c.Settle {
		list := v.Outcomes
		if s.opt.MailboxSync == "each" {
			list = slices.Clone(list)
			for i := range list {
				list[i].Applied = nil
			}
		}
		r.settle = append(r.settle, settled{v.Message.body.id, list})
	}
	for _, v := range c.Defer {
		r.defers = append(r.defers, postponed{v.Message.body.id, v.Deferrals, wall(v.Next), v.Attempts, v.Warned})
	}
	return r, blobs
}

// wall drops the monotonic reading, which means nothing to another process.
func wall(t time.Time) time.Time { return t.Round(0) }

// apply does to the index what the record r at place at says. The caller
// holds mu.
func (s *Spool) apply(c *Change, r *changed, at place, seg *segment, tick, metaLen int64) []*Message {
	messages := make([]*Message, len(c.New))
	off := at.off + headSize + metaLen
	for i, n := range c.New {
		v := &r.news[i]
		e := s.newEntry(*v)
		s.index[e.id] = e
		e.lodge(seg, off, recordLength(v.inline())+metaLen/int64(len(c.New)))
		e.tick = tick
		off += v.inline()
		if !v.file {
			s.cache(e, n.Draft.buf)
		} else if err := n.Draft.file.Close(); err != nil {
			s.log.Warningf("%s: close the text's file: %v", e.message.ID, err)
		}
		n.Draft.done, n.Draft.buf, n.Draft.file = true, nil, nil
		messages[i] = &e.message
	}
	for _, v := range r.settle {
		s.applySettled(v, at)
	}
	for _, v := range r.defers {
		if e := s.index[v.id]; e != nil {
			e.postpone(v)
			s.uncache(e)
		}
	}
	return messages
}

// applySettled marks recipients as done; a message that is done with
// altogether, and owes nothing, ends here.
func (s *Spool) applySettled(v settled, at place) {
	e := s.index[v.id]
	if e == nil || e.open == 0 {
		return
	}
	for _, o := range v.outcomes {
		if e.settle(o.Index) && o.Applied != nil && !at.before(s.covered) {
			s.debts = append(s.debts, &debt{e, o, at, s.boot})
			e.debts++
		}
	}
	if e.open > 0 {
		return
	}
	s.finished++
	s.uncache(e)
	s.over(e)
}

// revoke takes a change back whose record found no space: it may be written
// yet, and so it is followed by one that settles what was new and opens what
// was settled. If there is no place for that one, the change stands.
func (s *Spool) revoke(p *placed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := changed{undo: p.settled}
	for _, m := range p.messages {
		r.settle = append(r.settle, m.body.whole())
	}
	at, _, _, err := s.put(recordChange, r.append(nil), nil)
	if err != nil {
		return
	}
	for _, v := range r.settle {
		s.applySettled(v, at)
	}
	for _, u := range r.undo {
		s.applyUndone(u)
	}
}
