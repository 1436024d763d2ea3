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
// drafts are still to be aborted. Of a change with New, ErrFull undoes the
// settlements and removals too, and postponements and plans stand. Of one
// without, ErrFull says that nothing has happened, unless it is an
// ErrUnwritten: then all of it has, for everybody who asks this process, and it
// is written as soon as there is space. Giving it again is not needed, and does
// no harm. With Err not nil, what is on the disk is seen at the next Open, as
// after a power cut. ErrGone: of a message that the change settles, for new ones
// in its place, nothing is left. ctx is looked at only in the beginning: what has
// been placed in the log cannot be called back.
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
	if len(c.New) == 0 {
		return nil, s.await(&c, p.tick)
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

// await returns when a change without New is as safe as it was asked to be.
func (s *Spool) await(c *Change, tick int64) (err error) {
	if c.Sync {
		err = s.j.waitSynced(tick)
	} else {
		nudge(s.lazy)
		err = s.j.waitWritten(tick)
	}
	if errors.Is(err, ErrFull) {
		return fmt.Errorf("%w: %w", ErrUnwritten, err)
	}
	return err
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
	for i, v := range c.Defer {
		if err := s.owns(v.Message, 0); err != nil {
			return err
		}
		for _, d := range v.Deferrals {
			if err := s.owns(v.Message, d.Index); err != nil {
				return err
			}
		}
		if slices.ContainsFunc(c.Defer[:i], func(o Postponement) bool { return o.Message.Number == v.Message.Number }) {
			return fmt.Errorf("spool: %s: postponed twice in one change", v.Message.ID)
		}
	}
	return nil
}

// owns reports whether m is a message of this spool with a recipient index.
func (s *Spool) owns(m *Message, index int) error {
	if m == nil || m.spool != s {
		return fmt.Errorf("spool: not a message of this spool")
	}
	if index < 0 || index >= len(m.Envelope.Recipients) {
		return fmt.Errorf("spool: %s: no recipient %d", m.ID, index)
	}
	return nil
}

// record places the change in the log and applies it to the index. The states
// of postponed messages are made before the lock is taken, and made again when
// something else has changed them by then.
func (s *Spool) record(c *Change) (placed, error) {
	for {
		r, views, err := s.encode(c)
		if err != nil {
			return placed{}, err
		}
		meta, err := s.fit(c, &r)
		if err != nil {
			return placed{}, err
		}
		p, ok, err := s.place(c, &r, views, meta)
		if ok || err != nil {
			return p, err
		}
	}
}

// place is the part of record under the lock; false: it has to be done again.
func (s *Spool) place(c *Change, r *changed, views []view, meta []byte) (placed, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return placed{}, false, ErrClosed
	}
	for i := range views {
		if !s.current(&views[i]) {
			return placed{}, false, nil
		}
	}
	if id, ok := s.outlived(c); !ok {
		return placed{}, false, fmt.Errorf("spool: %s: %w", id, ErrGone)
	}
	at, tick, err := s.put(recordChange, meta, inlineTexts(c))
	if err != nil {
		return placed{}, false, err
	}
	p := placed{tick: tick}
	if len(c.New) > 0 {
		p.settled = s.pin(r)
	}
	p.messages = s.apply(c, r, at, int64(len(meta)))
	return p, true, nil
}

// outlived returns a message that is done with, although new ones are to take the
// place of recipients of it; true: there is none. The caller holds mu.
func (s *Spool) outlived(c *Change) (id string, ok bool) {
	if len(c.New) == 0 {
		return "", true
	}
	for _, v := range c.Settle {
		if e := s.index.table.find(v.Message.Number); e == nil || s.index.open(e) == 0 {
			return v.Message.ID, false
		}
	}
	return "", true
}

// encode turns a change into the content of its record. views are what it says
// of the messages that are postponed.
func (s *Spool) encode(c *Change) (r changed, views []view, err error) {
	for _, n := range c.New {
		d := n.Draft
		r.news = append(r.news, stored{id: d.id, size: d.size, crc: d.crc, file: d.file != nil, envelope: n.Envelope})
		if n.Held {
			r.plans = append(r.plans, planned{id: d.id, held: true})
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
		r.settle = append(r.settle, settled{v.Message.Number, list})
	}
	for i := range c.Defer {
		v, st, ok, err := s.postponed(&c.Defer[i], r.settle)
		if err != nil {
			return r, nil, err
		}
		if ok {
			r.states, views = append(r.states, st), append(views, v)
		}
	}
	for _, v := range c.Plan {
		r.plans = append(r.plans, planned{v.Number, wall(v.Next), v.Held})
	}
	r.remove = c.Remove
	return r, views, nil
}

// wall drops the monotonic reading, which means nothing to another process.
func wall(t time.Time) time.Time { return t.Round(0) }

// inlineTexts are the texts that go to the log.
func inlineTexts(c *Change) (blobs [][]byte) {
	for _, n := range c.New {
		if n.Draft.file == nil {
			blobs = append(blobs, n.Draft.buf)
		}
	}
	return blobs
}

// fit returns the meta of the record. A change that is too large for the log
// has its texts moved into files, and then its reasons left out.
func (s *Spool) fit(c *Change, r *changed) ([]byte, error) {
	meta := r.append(nil)
	if s.tooLarge(meta, inlineTexts(c)) && len(c.New) > 0 {
		if err := s.spill(c); err != nil {
			return nil, s.refuse(err)
		}
		for i, n := range c.New {
			r.news[i].file = n.Draft.file != nil
		}
		meta = r.append(nil)
	}
	if s.tooLarge(meta, inlineTexts(c)) && len(r.states) > 0 {
		for i := range r.states {
			r.states[i].schedule.forgetReasons()
		}
		meta = r.append(nil)
	}
	return meta, nil
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

// revoke takes a change back whose record found no space: it may be written
// yet, and so it is followed by one that settles what was new and opens what
// was settled. If there is no place for that one, it comes before all else that
// finds a place; after a crash before that, the change stands as a whole.
func (s *Spool) revoke(p *placed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := changed{undo: p.settled}
	for _, m := range p.messages {
		r.remove = append(r.remove, m.Number)
	}
	s.revoked = append(s.revoked, r)
	_ = s.placeRevoked() // or later
	for _, number := range r.remove {
		s.applyRemoved(number, place{})
	}
	for _, u := range r.undo {
		s.applyUndone(u)
	}
}
