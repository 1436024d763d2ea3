package queue

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"postern/internal/spool"
)

// ErrNotFound is the error for a queue id that nothing waits under.
var ErrNotFound = errors.New("no such message in the queue")

// Entry is a message in the queue, as mailq shows it.
type Entry struct {
	ID       string
	State    State
	Sender   string // internal form
	Size     int64
	Arrival  time.Time
	Attempts int       // tries that ended with something deferred
	Next     time.Time // of the next try; zero unless deferred
	// Expired is set when its lifetime was ended by order: it is returned after
	// the next try that fails (postsuper -e).
	Expired    bool
	Warned     bool // the sender was told of the delay
	Done       int  // recipients that are done with
	Recipients []EntryRecipient
}

// EntryRecipient is a recipient that is not done with.
type EntryRecipient struct {
	Address  string // internal form
	Original string
	Status   string // enhanced code of the last try; "" when there was none
	Reason   string
}

// List yields the messages that f chooses, oldest first. They are read one at a
// time, so it may take long, and shows each as it is when its turn comes. A
// message that cannot be read is yielded with its ID, its State and an error;
// the end of ctx is yielded as the last error.
func (q *Queue) List(ctx context.Context, f Filter) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		m := f.compile(q.options.Now())
		for w := range q.candidates(&m) {
			if err := ctx.Err(); err != nil {
				yield(Entry{}, err)
				return
			}
			state := q.state(w)
			if !m.takes(state) {
				continue
			}
			e, err := q.read(w, state)
			if errors.Is(err, ErrNotFound) || err == nil && !m.matches(&e) {
				continue
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// Show returns the message with that queue id, or ErrNotFound.
func (q *Queue) Show(id string) (Entry, error) {
	number, ok := spool.ParseID(id)
	if !ok {
		return Entry{}, fmt.Errorf("%q: %w", id, ErrNotFound)
	}
	w, ok := q.options.Store.Peek(number)
	if !ok {
		return Entry{}, fmt.Errorf("%s: %w", id, ErrNotFound)
	}
	return q.read(w, q.state(w))
}

// Message returns a message with its whole state, for postcat, or ErrNotFound.
func (q *Queue) Message(id string) (spool.Pending, error) {
	number, ok := spool.ParseID(id)
	if !ok {
		return spool.Pending{}, fmt.Errorf("%q: %w", id, ErrNotFound)
	}
	return q.load(number)
}

// load reads a message from the store.
func (q *Queue) load(number uint64) (spool.Pending, error) {
	p, err := q.options.Store.Load(number)
	if errors.Is(err, spool.ErrGone) {
		err = fmt.Errorf("%s: %w", spool.FormatID(number), ErrNotFound)
	}
	return p, err
}

// read describes a message. What cannot be read has an ID and a State at least.
func (q *Queue) read(w spool.Waiting, state State) (Entry, error) {
	p, err := q.load(w.Number)
	if err != nil {
		return Entry{ID: spool.FormatID(w.Number), State: state}, err
	}
	return newEntry(&p, state), nil
}

// newEntry describes a message that was read.
func newEntry(p *spool.Pending, state State) Entry {
	m := p.Message
	e := Entry{
		ID: m.ID, State: state, Sender: m.Envelope.Sender, Size: m.Size, Arrival: m.Envelope.Arrival,
		Attempts: p.Attempts, Expired: isExpired(p.Next), Warned: p.Warned,
	}
	if state == Deferred && !e.Expired {
		e.Next = p.Next
	}
	deferrals := p.Deferrals
	for i, r := range m.Envelope.Recipients {
		if i < len(p.Done) && p.Done[i] {
			e.Done++
			continue
		}
		to := EntryRecipient{Address: r.Address, Original: r.Original}
		for len(deferrals) > 0 && deferrals[0].Index < i {
			deferrals = deferrals[1:]
		}
		if len(deferrals) > 0 && deferrals[0].Index == i {
			to.Status, to.Reason = deferrals[0].Status, deferrals[0].Reason
		}
		e.Recipients = append(e.Recipients, to)
	}
	return e
}
