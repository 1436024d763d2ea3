package helper

import (
	"context"
	"fmt"
	"io"

	"postern/internal/deliver/mailbox"
	"postern/internal/route"
)

// Store stores messages in mailboxes by way of the helper. It is safe for
// concurrent use.
type Store struct {
	c       *Client
	options []byte
}

var (
	_ mailbox.Deliverer = (*Store)(nil)
	_ mailbox.Batcher   = (*Store)(nil)
)

// Store returns the Deliverer whose work is done in the helper.
func (c *Client) Store(o StoreOptions) *Store { return &Store{c, o.append(nil)} }

// Deliver implements mailbox.Deliverer.
func (s *Store) Deliver(ctx context.Context, box route.Mailbox, m *mailbox.Message) (mailbox.Receipt, error) {
	one := [1]mailbox.Delivery{{Box: box, Message: m}}
	var out [1]mailbox.Outcome
	s.together(ctx, one[:], out[:])
	return out[0].Receipt, out[0].Err
}

// DeliverAll implements mailbox.Batcher.
func (s *Store) DeliverAll(ctx context.Context, list []mailbox.Delivery) []mailbox.Outcome {
	out := make([]mailbox.Outcome, len(list))
	for from := 0; from < len(list); {
		to := from + portion(list[from:])
		s.together(ctx, list[from:to], out[from:to])
		from = to
	}
	return out
}

// maxPortion bounds what one request says besides the text. A single delivery
// may be larger.
const maxPortion = 128 << 10

// portion is how many deliveries of a list fit in a request: one at least.
func portion(list []mailbox.Delivery) int {
	size := 0
	for i := range list {
		box, m := &list[i].Box, list[i].Message
		size += len(box.Path) + len(box.Base) + len(box.User) + len(m.ID) + len(m.Sender) + len(m.Header) + 64
		if i > 0 && size > maxPortion || i == maxList {
			return i
		}
	}
	return len(list)
}

// together has deliveries of one text carried out in one request, with those of
// others where that does no harm.
func (s *Store) together(ctx context.Context, list []mailbox.Delivery, out []mailbox.Outcome) {
	if err := ctx.Err(); err != nil {
		fail(out, err)
		return
	}
	p := &parcel{list: list, out: out}
	if f := s.ferry(p); f != nil {
		f.carry(p)
		return
	}
	if err := s.request(ctx, []*parcel{p}); err != nil {
		fail(out, unserved(ctx, err))
	}
}

func fail(out []mailbox.Outcome, err error) {
	for i := range out {
		out[i] = mailbox.Outcome{Err: err}
	}
}

// unserved is the error of a delivery that was not answered. Whether it was made
// is not known: it counts as tried.
func unserved(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &mailbox.Error{DSN: "4.3.0", Reason: err.Error(), Temporary: true, Err: err}
}

// request makes one request of parcels, which get their outcomes. After an error
// nobody has one.
func (s *Store) request(ctx context.Context, load []*parcel) error {
	r, b, err := s.c.begin(askDeliver)
	if err != nil {
		return err
	}
	if !patient(load) {
		ctx = context.WithoutCancel(ctx) // a Maildir waits for nobody
	}
	b = appendBytes(b, s.options)
	for _, p := range load {
		if b, err = appendParcel(b, p); err != nil {
			s.c.release(r.l, true)
			return err
		}
	}
	r.text = load[0].list[0].Message.Body
	f, err := r.exchange(ctx, b, nil)
	if err == nil {
		for _, p := range load {
			for i := range p.out {
				p.out[i].Receipt, p.out[i].Err = f.receipt()
			}
		}
	}
	return r.done(f, err)
}

// patient reports whether a delivery may wait for a lock.
func patient(load []*parcel) bool {
	for _, p := range load {
		for i := range p.list {
			if p.list[i].Box.Format == route.Mbox {
				return true
			}
		}
	}
	return false
}

// appendText ends a request with a text that is small; a large one is asked for
// in pieces.
func appendText(b []byte, text mailbox.Body) ([]byte, error) {
	size := text.Size()
	b = appendUint(b, uint64(size))
	if size > maxInline {
		return appendUint(b, 0), nil
	}
	b = appendUint(b, uint64(size))
	at := len(b)
	b = grow(b, int(size))
	if n, err := text.ReadAt(b[at:], 0); n < int(size) {
		if err == nil || err == io.EOF {
			return b, fmt.Errorf("message text ends early")
		}
		return b, fmt.Errorf("message text: %w", err)
	}
	return b, nil
}

// grow makes a slice n bytes longer.
func grow(b []byte, n int) []byte {
	if need := len(b) + n; need > cap(b) {
		b = append(make([]byte, 0, need+need/4), b...)
	}
	return b[:len(b)+n]
}
