package mailq

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"

	"postern/internal/control"
	"postern/internal/queue"
	"postern/internal/spool"
)

// StateMaildrop is the State of mail that the sendmail command has left and that
// the server has not taken in.
const StateMaildrop = "maildrop"

// Maildrop is where such mail lies.
type Maildrop interface {
	// IDs lists what is there, oldest first.
	IDs() ([]string, error)
	// Open reads one. It is queue.ErrNotFound when nothing has that id, or the
	// server has just taken it in.
	Open(id string) (*Submitted, error)
	// Remove deletes one; queue.ErrNotFound as with Open.
	Remove(id string) error
}

// Submitted is a message of a Maildrop. The caller closes it.
type Submitted struct {
	Envelope spool.Envelope
	Size     int64
	Text     io.Reader
	io.Closer
}

// entry is the message as the queue's commands show it.
func (s *Submitted) entry(id string) Entry {
	e := Entry{ID: id, State: StateMaildrop, Sender: s.Envelope.Sender, Size: s.Size, Arrival: s.Envelope.Arrival,
		Recipients: make([]Recipient, 0, len(s.Envelope.Recipients))}
	for _, r := range s.Envelope.Recipients {
		e.Recipients = append(e.Recipients, Recipient{Address: r.Address})
	}
	return e
}

// dropped is the message with that id in the maildrop.
func (h *Handler) dropped(id string) (*Submitted, error) {
	if h.Maildrop == nil {
		return nil, fmt.Errorf("%s: %w", id, queue.ErrNotFound)
	}
	return h.Maildrop.Open(id)
}

// chosen yields the messages of the maildrop that f chooses. What cannot be read
// is yielded with an Error, unless it would have to be read to tell.
func (h *Handler) chosen(ctx context.Context, f *Filter) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if h.Maildrop == nil || len(f.States) > 0 && !slices.Contains(f.States, StateMaildrop) {
			return
		}
		ids, err := h.Maildrop.IDs()
		if err != nil {
			yield(Entry{}, err)
			return
		}
		wanted := f.ids()
		matches := f.conditions().Matcher(time.Now())
		for _, id := range ids {
			switch {
			case ctx.Err() != nil:
				yield(Entry{}, ctx.Err())
				return
			case wanted != nil && !wanted[id]:
				continue
			}
			e, err := h.droppedEntry(id)
			if errors.Is(err, queue.ErrNotFound) || err == nil && !matches(e.queue()) || err != nil && !f.readsNothing() {
				continue
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// droppedEntry describes a message of the maildrop. With an error it has an ID, a
// State and the Error.
func (h *Handler) droppedEntry(id string) (Entry, error) {
	s, err := h.dropped(id)
	if err != nil {
		return Entry{ID: id, State: StateMaildrop, Error: err.Error()}, err
	}
	defer s.Close()
	return s.entry(id), nil
}

// deleteDropped deletes what f chooses from the maildrop, and tells each id when
// tell is not nil. What the server takes in meanwhile does not count.
func (h *Handler) deleteDropped(ctx context.Context, f *Filter, tell func(id string) error) (count int, err error) {
	for e, err := range h.chosen(ctx, f) {
		if err == nil {
			err = h.Maildrop.Remove(e.ID)
		}
		if errors.Is(err, queue.ErrNotFound) {
			continue
		}
		if err != nil {
			return count, err
		}
		count++
		if h.Log != nil {
			h.Log.Infof("%s: %s", e.ID, Word("delete"))
		}
		if tell == nil {
			continue
		}
		if err := tell(e.ID); err != nil {
			return count, err
		}
	}
	return count, nil
}

// whyDropped is why a message is still in the maildrop.
func (h *Handler) whyDropped(id string) (Why, error) {
	e, err := h.droppedEntry(id)
	w := Why{Entry: e}
	switch {
	case errors.Is(err, queue.ErrNotFound):
		return w, err
	case err != nil:
		w.Sentence = "what the sendmail command left here cannot be read"
		w.Reason, w.Advice = e.Error, "The server sets it aside when it comes to it, and logs why."
	case h.Stopped:
		w.Sentence = "it was submitted on this machine, and waits for the server to be started"
		w.Advice = "postfix start has it taken in; postern queue delete " + id + " removes it."
	default:
		w.Sentence = "it was submitted on this machine, and the server is about to take it in"
		w.Advice = "When it stays here, the log of pickup says why; postern queue delete " + id + " removes it."
	}
	return w, nil
}

// sendDropped answers queue.message for a message of the maildrop.
func (h *Handler) sendDropped(id string, out control.Stream) control.Response {
	s, err := h.dropped(id)
	if err != nil {
		return failure(err)
	}
	defer s.Close()
	if err := out.Item(Message{s.entry(id), s.Envelope, make([]bool, len(s.Envelope.Recipients))}); err != nil {
		return control.Fail("", err)
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{parts{out}}, s.Text, make([]byte, partSize)); err != nil {
		return control.Fail("", err)
	}
	return control.Response{}
}
