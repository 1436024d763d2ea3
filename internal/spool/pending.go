package spool

import (
	"errors"
	"fmt"
	"iter"
)

// view is what the index says of a message at one moment.
type view struct {
	slot    slot
	version uint64 // of its work
	done    []bool
	open    int
	applied []Outcome
}

// view looks a message up; false: it is done with. The caller holds mu.
func (s *Spool) view(number uint64) (view, bool) {
	e := s.index.table.find(number)
	if e == nil || s.index.open(e) == 0 {
		return view{}, false
	}
	v := view{slot: *e, done: make([]bool, e.rcpts), open: s.index.open(e), applied: s.index.owed(number)}
	for i := range v.done {
		v.done[i] = s.index.done(e, i)
	}
	if w := s.index.works[number]; w != nil {
		v.version = w.version
	}
	return v, true
}

// current reports whether the index still says the same. The caller holds mu.
func (s *Spool) current(v *view) bool {
	e := s.index.table.find(v.slot.number)
	if e == nil || *e != v.slot {
		return false
	}
	w := s.index.works[v.slot.number]
	return w == nil && v.version == 0 || w != nil && w.version == v.version
}

// look returns what the index and the log say of a message. ErrGone: it is
// done with.
func (s *Spool) look(number uint64) (view, state, error) {
	s.mu.Lock()
	v, ok := s.view(number)
	var seg *segment
	if ok {
		seg = s.hold(v.slot.state.gen)
	}
	s.mu.Unlock()
	if !ok {
		return view{}, state{}, fmt.Errorf("%s: %w", formatID(number), ErrGone)
	}
	if seg == nil {
		return v, state{}, fmt.Errorf("%s: %w: no segment %d", formatID(number), ErrDamaged, v.slot.state.gen)
	}
	defer s.letGo(seg)
	st, err := s.readState(seg, v.slot.state, number)
	if err == nil && len(st.envelope.Recipients) != len(v.done) {
		err = fmt.Errorf("%w: %d recipients of %d", ErrDamaged, len(st.envelope.Recipients), len(v.done))
	}
	if err != nil {
		return v, state{}, fmt.Errorf("%s: %w", formatID(number), err)
	}
	return v, st, nil
}

// Load reads a pending message and its state from the log. ErrGone: it is done
// with. ErrDamaged: the record is not what was written.
func (s *Spool) Load(number uint64) (Pending, error) {
	v, st, err := s.look(number)
	if err != nil {
		return Pending{}, err
	}
	w := v.slot.waiting()
	return Pending{
		Message:   s.message(&st.stored),
		Done:      v.done,
		Deferrals: v.merge(nil, st.schedule.deferrals),
		Attempts:  st.schedule.attempts,
		Next:      w.Next,
		Warned:    st.schedule.warned,
		Held:      w.Held,
	}, nil
}

func (s *Spool) message(v *stored) *Message {
	return &Message{Number: v.id, ID: formatID(v.id), Envelope: v.envelope, Size: v.size, CRC: v.crc, spool: s}
}

// Peek is what the index knows of one message; false: it is done with.
func (s *Spool) Peek(number uint64) (Waiting, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.index.table.find(number)
	if e == nil || s.index.open(e) == 0 {
		return Waiting{}, false
	}
	return e.waiting(), true
}

// Waiting tells all messages with open recipients by ascending number, from
// memory. Of those that come or end while the sequence is read, some are in it.
func (s *Spool) Waiting() iter.Seq[Waiting] {
	return func(yield func(Waiting) bool) {
		slots := make([]slot, 4*blockSlots)
		var list []Waiting
		for last, more := uint64(0), true; more; {
			list, last, more = s.waitingAfter(last, slots, list[:0])
			for _, w := range list {
				if !yield(w) {
					return
				}
			}
		}
	}
}

// waitingAfter appends the next messages with open recipients to list. last is
// where to go on, if there is more.
func (s *Spool) waitingAfter(number uint64, slots []slot, list []Waiting) (_ []Waiting, last uint64, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	slots = slots[:s.index.table.after(number, slots)]
	for i := range slots {
		if s.index.open(&slots[i]) > 0 {
			list = append(list, slots[i].waiting())
		}
	}
	if len(slots) == 0 {
		return list, number, false
	}
	return list, slots[len(slots)-1].number, true
}

// Pending is Waiting with each message loaded. One that cannot be read is left
// out, and a warning says so.
func (s *Spool) Pending() iter.Seq[Pending] {
	return func(yield func(Pending) bool) {
		for w := range s.Waiting() {
			p, err := s.Load(w.Number)
			if errors.Is(err, ErrGone) {
				continue
			}
			if err != nil {
				s.log.Warningf("%v", err)
				continue
			}
			if !yield(p) {
				return
			}
		}
	}
}
