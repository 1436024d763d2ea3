package mailbox

import (
	"context"

	"postern/internal/route"
)

// Delivery is a message for one mailbox.
type Delivery struct {
	Box     route.Mailbox
	Message *Message
}

// Outcome is what became of a Delivery; see Deliverer.
type Outcome struct {
	Receipt Receipt
	Err     error
}

// Batcher is a Deliverer that makes several deliveries in one call, one after the
// other. It pays where each call costs a way to another process, or a change of
// identity.
type Batcher interface {
	// DeliverAll carries out deliveries and returns an Outcome for each, by index.
	DeliverAll(ctx context.Context, list []Delivery) []Outcome
}

// DeliverAll carries out deliveries, together where the Deliverer can. The client
// of the helper process asks that all of them share their Body.
func DeliverAll(ctx context.Context, d Deliverer, list []Delivery) []Outcome {
	if b, ok := d.(Batcher); ok {
		return b.DeliverAll(ctx, list)
	}
	out := make([]Outcome, len(list))
	for i := range list {
		out[i].Receipt, out[i].Err = d.Deliver(ctx, list[i].Box, list[i].Message)
	}
	return out
}
