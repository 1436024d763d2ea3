package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
)

// idle messages at the begin of a session are looked at no more, so that they
// keep their segments while later ones are given back.
const idle = 4

// session puts messages in and works on them and on earlier ones, until the
// power goes.
func (w *world) session(s *Spool, v simView, rng *rand.Rand, n int, mine []*Message) {
	for i := range n {
		m, ok := w.put(s, rng, i)
		if !ok {
			return
		}
		if m != nil && i >= idle {
			mine = append(mine, m)
		}
		for range 1 + rng.IntN(4) {
			if len(mine) == 0 {
				break
			}
			k := len(mine) - 1 - min(rng.IntN(len(mine)), rng.IntN(len(mine)))
			if rng.IntN(4) == 0 { // as the queue gets it after a while
				p, err := s.Load(mine[k].Number)
				if errors.Is(err, ErrGone) {
					mine = slices.Delete(mine, k, k+1)
					continue
				}
				if err != nil {
					return
				}
				mine[k] = p.Message
			}
			if !w.work(s, v, rng, mine[k]) {
				return
			}
		}
		if rng.IntN(10) == 0 && s.Checkpoint(context.Background()) != nil && s.Err() != nil {
			return
		}
	}
}

// put makes a new message; false: the spool is ill.
func (w *world) put(s *Spool, rng *rand.Rand, i int) (*Message, bool) {
	text := bytes.Repeat([]byte(fmt.Sprintf("line %d of %d\n", rng.Uint32(), i)), 1+rng.IntN(60))
	switch {
	case i < idle:
		text = bytes.Repeat(text, 1+1500/len(text))
	case rng.IntN(8) == 0:
		text = bytes.Repeat(text, 1+(4<<10)/len(text)) // a file of its own
	}
	e := testEnvelope(i)
	n := 1 + rng.IntN(3)
	if rng.IntN(16) == 0 {
		n = 20
	}
	for k := range n {
		e.Recipients = append(e.Recipients, Recipient{Address: fmt.Sprintf("%c@x.test", 'a'+k)})
	}
	d, err := s.Create(0)
	if err != nil {
		return nil, s.Err() == nil
	}
	defer d.Abort()
	if _, err := d.Write(text); err != nil {
		return nil, s.Err() == nil
	}
	held := rng.IntN(8) == 0
	c := w.next(d.ID(), func(c *chapter) { c.done, c.held = make([]bool, n), held })
	list, err := s.Commit(context.Background(), Change{New: []New{{Draft: d, Envelope: e, Held: held}}})
	if err != nil {
		return nil, s.Err() == nil
	}
	w.mu.Lock()
	w.acked[d.ID()], w.rcpts[d.ID()] = text, n
	w.mu.Unlock()
	w.ack(c, true)
	return list[0], true
}

// work does something to a message: delivers some recipients, postpones the
// rest, plans, or removes it.
func (w *world) work(s *Spool, v simView, rng *rand.Rand, m *Message) bool {
	c := Change{Sync: rng.IntN(2) == 0}
	var err error
	tell := w.next(m.ID, func(h *chapter) {
		switch rng.IntN(12) {
		case 0:
			c.Remove = []uint64{m.Number}
			for i := range h.done {
				w.remote[fmt.Sprintf("%s/%d", m.ID, i)] = true
				h.done[i] = true
			}
		case 1, 2:
			h.held, h.next = rng.IntN(2) == 0, 1+rng.Int64N(1<<40)
			c.Plan = []Plan{{Number: m.Number, Next: timeOf(h.next), Held: h.held}}
		default:
			err = w.attempt(v, rng, m, h, &c)
		}
	})
	if err == nil {
		_, err = s.Commit(context.Background(), c)
	}
	if err == nil {
		w.ack(tell, c.Sync)
	}
	return err == nil
}

// attempt is a delivery attempt: each open recipient is delivered, sent
// elsewhere, tried again, or not looked at. The caller holds mu.
func (w *world) attempt(v simView, rng *rand.Rand, m *Message, h *chapter, c *Change) error {
	var list []Outcome
	var later []Deferral
	for i := range h.done {
		if h.done[i] {
			continue
		}
		key := fmt.Sprintf("%s/%d", m.ID, i)
		switch rng.IntN(5) {
		case 0:
		case 1:
			w.remote[key] = true
			list = append(list, Outcome{Index: i})
		case 2:
			later = append(later, Deferral{i, "4.4.1", fmt.Sprintf("try %d", rng.Uint32())})
		default:
			a, err := deliver(v, m, i)
			if err != nil {
				return err
			}
			w.applied[key] = true
			list = append(list, Outcome{i, a})
		}
	}
	for _, o := range list {
		h.done[o.Index] = true
		delete(h.deferrals, o.Index)
	}
	if len(list) > 0 {
		c.Settle = []Settlement{{m, list}}
	}
	if len(later) > 0 && slices.Contains(h.done, false) {
		for _, d := range later {
			h.deferrals[d.Index] = d.Reason
		}
		h.attempts++
		h.next = 1 + rng.Int64N(1<<40)
		c.Defer = []Postponement{{Message: m, Deferrals: later, Attempts: h.attempts, Next: timeOf(h.next)}}
	}
	return nil
}
