package spool

import (
	"errors"
	"fmt"
	"slices"
	"sort"
)

// postponed makes the state of a message as it will be after p and what the
// same change settles. Earlier deferrals are read from the log, unless p
// replaces them all. false: there is nothing left to postpone.
func (s *Spool) postponed(p *Postponement, settle []settled) (view, state, bool, error) {
	m := p.Message
	s.mu.Lock()
	v, ok := s.view(m.Number)
	s.mu.Unlock()
	if !ok {
		return view{}, state{}, false, nil
	}
	after := v.after(settle)
	list := after.merge(nil, p.Deferrals)
	if v.slot.is(slotTried) && len(list) < after.open {
		now, old, err := s.look(m.Number)
		switch {
		case errors.Is(err, ErrGone):
			return view{}, state{}, false, nil
		case errors.Is(err, ErrDamaged):
			s.log.Warningf("%v; its earlier deferrals are forgotten", err)
		case err != nil:
			return view{}, state{}, false, fmt.Errorf("spool: %w", err)
		default:
			v, after = now, now.after(settle)
			list = after.merge(old.schedule.deferrals, p.Deferrals)
		}
	}
	if after.open == 0 {
		return view{}, state{}, false, nil
	}
	st := after.state(stored{id: m.Number, size: m.Size, crc: m.CRC, file: v.slot.is(slotFile), envelope: m.Envelope})
	st.schedule = schedule{deferrals: list, next: wall(p.Next), attempts: p.Attempts, warned: p.Warned, held: v.slot.is(slotHeld)}
	return v, st, true, nil
}

// after is the view as it will be when settle is applied.
func (v *view) after(settle []settled) view {
	a := *v
	a.done, a.applied = slices.Clone(v.done), slices.Clone(v.applied)
	for _, x := range settle {
		if x.id != v.slot.number {
			continue
		}
		for _, o := range x.outcomes {
			if a.done[o.Index] {
				continue
			}
			a.done[o.Index] = true
			a.open--
			if o.Applied != nil {
				a.applied = append(a.applied, o)
			}
		}
	}
	return a
}

// merge returns the deferrals of open recipients by ascending index: those of
// newer, and of old where newer says nothing.
func (v *view) merge(old, newer []Deferral) []Deferral {
	var list []Deferral
	for _, part := range [...][]Deferral{old, newer} {
		for _, d := range part {
			if d.Index >= len(v.done) || v.done[d.Index] {
				continue
			}
			i := sort.Search(len(list), func(i int) bool { return list[i].Index >= d.Index })
			if i < len(list) && list[i].Index == d.Index {
				list[i] = d
			} else {
				list = slices.Insert(list, i, d)
			}
		}
	}
	return list
}

// state is the message as a record tells it, but for its deferrals.
func (v *view) state(m stored) state {
	st := state{stored: m, applied: v.applied}
	for i, done := range v.done {
		if done {
			st.done = append(st.done, i)
		}
	}
	w := v.slot.waiting()
	st.schedule.next, st.schedule.held = w.Next, w.Held
	return st
}

// forgetReasons makes a schedule as small as it can be.
func (v *schedule) forgetReasons() {
	v.deferrals = slices.Clone(v.deferrals)
	for i := range v.deferrals {
		v.deferrals[i].Reason = ""
	}
}
