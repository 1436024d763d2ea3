package helper

import (
	"context"
	"fmt"
	"io"
	"sync"

	"postern/internal/deliver/mailbox"
	"postern/internal/route"
)

// Store stores messages in mailboxes by way of the helper. It is safe for
// concurrent use.
type Store struct {
	c       *Client
	options []byte
	each    bool // every delivery waits for the disk

	mu      sync.Mutex
	ferries map[string]*ferry // by the base directory of the mailboxes
}

var (
	_ mailbox.Deliverer = (*Store)(nil)
	_ mailbox.Batcher   = (*Store)(nil)
)

// Store returns the Deliverer whose work is done in the helper.
func (c *Client) Store(o StoreOptions) *Store {
	return &Store{c: c, options: o.append(nil), each: o.SyncEach, ferries: map[string]*ferry{}}
}

// Deliver implements mailbox.Deliverer.
func (s *Store) Deliver(ctx context.Context, box route.Mailbox, m *mailbox.Message) (mailbox.Receipt, error) {
	one := [1]mailbox.Delivery{{Box: box, Message: m}}
	var out [1]mailbox.Outcome
	s.together(ctx, one[:], out[:])
	return out[0].Receipt, out[0].Err
}

// DeliverAll implements mailbox.Batcher, for deliveries that share their Body.
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
		size += sizeOf(&list[i])
		if i > 0 && size > maxPortion || i == maxList {
			return i
		}
	}
	return len(list)
}

// sizeOf is more than the octets of a delivery in a request, without the text.
func sizeOf(d *mailbox.Delivery) int {
	box, m := &d.Box, d.Message
	return len(box.Path) + len(box.Base) + len(box.User) + len(m.ID) + len(m.Sender) + len(m.Header) + 64
}

// together has deliveries of one text carried out in one request, with those of
// others where that does no harm.
func (s *Store) together(ctx context.Context, list []mailbox.Delivery, out []mailbox.Outcome) {
	if err := ctx.Err(); err != nil {
		fail(out, err)
		return
	}
	p := &parcel{list: list, out: out}
	if s.shares(p) {
		if f := s.ferry(list[0].Box.Base); f != nil {
			f.carry(p)
			return
		}
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

// shares reports whether a parcel may travel with others: all of it is small, and
// waits neither for a lock nor for a disk.
func (s *Store) shares(p *parcel) bool {
	size := p.text().Size()
	for i := range p.list {
		size += int64(sizeOf(&p.list[i]))
		if s.each || p.list[i].Message.Durable || p.list[i].Box.Format != route.Maildir {
			return false
		}
	}
	p.size = int(size)
	return size <= maxParcel
}

// maxFerries bounds the base directories whose deliveries travel together.
const maxFerries = 64

// ferry returns the ferry for a base directory; nil: deliveries go alone there.
func (s *Store) ferry(base string) *ferry {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.ferries[base]
	if f == nil && len(s.ferries) < maxFerries {
		f = &ferry{cross: s.cross}
		s.ferries[base] = f
	}
	if f != nil && f.alone.Load() {
		return nil
	}
	return f
}

// cross makes a request for many callers.
func (s *Store) cross(load []*parcel) {
	if err := s.request(context.Background(), load); err != nil {
		for _, p := range load {
			fail(p.out, unserved(context.Background(), err))
		}
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
	sent := make([]*parcel, 0, len(load))
	for _, p := range load {
		at := len(b)
		if b, err = appendParcel(b, p); err != nil {
			b = b[:at]
			fail(p.out, unserved(ctx, err))
			continue
		}
		sent = append(sent, p)
	}
	if len(sent) == 0 {
		s.c.release(r.l, true)
		return nil
	}
	r.text = sent[0].text()
	f, err := r.exchange(ctx, b, nil)
	if err == nil {
		for _, p := range sent {
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

// appendParcel is what one caller wants delivered, and the text of it.
func appendParcel(b []byte, p *parcel) ([]byte, error) {
	b = appendUint(b, uint64(len(p.list)))
	for i := range p.list {
		b = appendDelivery(b, &p.list[i])
	}
	return appendText(b, p.text())
}

// appendText adds a text that is small; a large one is asked for in pieces.
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
