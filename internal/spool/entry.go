package spool

import (
	"slices"
	"sort"
)

// entry is a message in the index: where its text is and what became of its
// recipients. It is guarded by Spool.mu, but for message, which never changes.
type entry struct {
	spool   *Spool
	id      uint64
	message Message

	seg    *segment // that holds its newest full record
	off    int64    // of the text in seg, when it is inline
	weight int64    // bytes of seg that are needed because of it
	tick   int64    // when this is written, the text can be read from seg
	file   bool     // the text has a file of its own
	text   []byte   // the text while it is cached
	gone   bool     // struck off the index

	done  []bool
	open  int // recipients not done
	debts int // deliveries that no checkpoint has covered
	pins  int // changes that settled something and may yet be undone

	schedule postponed // its deferrals: open recipients, ascending indices
}

// debt is a delivery that is durable only after a checkpoint.
type debt struct {
	entry   *entry
	outcome Outcome
	at      place // of the record that told it
	boot    string
}

func (s *Spool) newEntry(v stored) *entry {
	e := &entry{spool: s, id: v.id, file: v.file,
		done: make([]bool, len(v.envelope.Recipients)), open: len(v.envelope.Recipients)}
	e.message = Message{Number: v.id, ID: formatID(v.id), Envelope: v.envelope, Size: v.size, CRC: v.crc, body: e}
	e.schedule.id = v.id
	return e
}

// stored is the entry as a record tells it.
func (e *entry) stored() stored {
	return stored{id: e.id, size: e.message.Size, crc: e.message.CRC, file: e.file, envelope: e.message.Envelope}
}

// lodge places the entry's record in seg.
func (e *entry) lodge(seg *segment, off, weight int64) {
	e.leave()
	e.seg, e.off, e.weight = seg, off, weight
	seg.live += weight
	seg.members = append(seg.members, e.id)
}

// leave gives up the entry's place.
func (e *entry) leave() {
	if e.seg != nil {
		e.seg.live -= e.weight
		e.seg = nil
	}
}

// settle marks a recipient as done. Done already, or out of range: false.
func (e *entry) settle(index int) bool {
	if index < 0 || index >= len(e.done) || e.done[index] {
		return false
	}
	e.done[index] = true
	e.open--
	e.schedule.deferrals = slices.DeleteFunc(e.schedule.deferrals, func(d Deferral) bool { return d.Index == index })
	return true
}

// whole settles all recipients.
func (e *entry) whole() settled {
	v := settled{id: e.id}
	for i := range e.done {
		v.outcomes = append(v.outcomes, Outcome{Index: i})
	}
	return v
}

// reopen takes back a settle.
func (e *entry) reopen(index int) {
	if index >= 0 && index < len(e.done) && e.done[index] {
		e.done[index] = false
		e.open++
	}
}

// postpone merges newer deferrals and replaces the rest of the schedule.
func (e *entry) postpone(p postponed) {
	list := e.schedule.deferrals
	for _, d := range p.deferrals {
		if d.Index < 0 || d.Index >= len(e.done) || e.done[d.Index] {
			continue
		}
		i := sort.Search(len(list), func(i int) bool { return list[i].Index >= d.Index })
		if i < len(list) && list[i].Index == d.Index {
			list[i] = d
		} else {
			list = slices.Insert(list, i, d)
		}
	}
	p.deferrals = list
	e.schedule = p
}

// pending is a copy of the entry's state.
func (e *entry) pending() Pending {
	return Pending{
		Message:   &e.message,
		Done:      slices.Clone(e.done),
		Deferrals: slices.Clone(e.schedule.deferrals),
		Attempts:  e.schedule.attempts,
		Next:      e.schedule.next,
		Warned:    e.schedule.warned,
	}
}

// kept is the entry's whole state as a record tells it.
func (e *entry) kept(debts []*debt) kept {
	k := kept{stored: e.stored(), schedule: e.schedule}
	for i, done := range e.done {
		if done {
			k.done = append(k.done, i)
		}
	}
	for _, d := range debts {
		if d.entry == e {
			k.applied = append(k.applied, d.outcome)
		}
	}
	return k
}
