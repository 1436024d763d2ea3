package queue

import (
	"cmp"
	"slices"
	"time"
)

// Entry is a message in the queue, as mailq shows it.
type Entry struct {
	ID         string
	State      State
	Sender     string // internal form
	Size       int64
	Arrival    time.Time
	Attempts   int       // tries that ended with something deferred
	Next       time.Time // of the next try; zero unless deferred
	Recipients []EntryRecipient
}

// EntryRecipient is a recipient that is not done with.
type EntryRecipient struct {
	Address  string // internal form
	Original string
	Status   string // enhanced code of the last try; "" when there was none
	Reason   string
}

// List returns all messages in the queue, oldest first.
func (q *Queue) List() []Entry {
	q.mu.Lock()
	entries := make([]Entry, 0, len(q.items))
	for _, it := range q.items {
		entries = append(entries, it.entry())
	}
	q.mu.Unlock()
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(a.Arrival.Compare(b.Arrival), cmp.Compare(a.ID, b.ID))
	})
	return entries
}

// entry describes the item; the lock is held.
func (it *item) entry() Entry {
	m := it.message
	e := Entry{
		ID: m.ID, State: it.state, Sender: m.Envelope.Sender, Size: m.Size,
		Arrival: m.Envelope.Arrival, Attempts: it.attempts,
	}
	if it.state == Deferred {
		e.Next = it.next
	}
	place := make(map[int]int, len(it.done)) // of a recipient in e.Recipients
	for i, r := range m.Envelope.Recipients {
		if !it.done[i] {
			place[i] = len(e.Recipients)
			e.Recipients = append(e.Recipients, EntryRecipient{Address: r.Address, Original: r.Original})
		}
	}
	for _, d := range it.deferrals {
		if i, ok := place[d.Index]; ok {
			e.Recipients[i].Status, e.Recipients[i].Reason = d.Status, d.Reason
		}
	}
	return e
}
