// Package virtual is the agent that stores mail for virtual mailbox domains, as
// virtual(8) of Postfix does: every recipient has a Maildir or an mbox below
// virtual_mailbox_base, owned by the user and group of virtual_uid_maps and
// virtual_gid_maps.
//
// The mailbox of each recipient is asked of the Resolver (virtual_mailbox_maps
// and the rest are its business), the header lines are made,
//
//	Return-Path: <sender@client.example>
//	X-Original-To: info@example.org
//	Delivered-To: john@example.org
//
// and the message is written by package mailbox, one recipient after the other.
// Results read as those of Postfix, with the relay "virtual":
//
//	sent      2.0.0  delivered to maildir
//	sent      2.0.0  delivered to mailbox
//	deferred  4.2.0  maildir delivery failed: create maildir file /var/vmail/...: Permission denied
//	bounced   5.2.2  delivery failed to mailbox /var/vmail/john: error writing message: File too large
//	bounced   5.1.1  unknown user: "nobody@example.org"
//
// Recipients whose table fails are deferred. Two recipients of one message that
// share a mailbox get a copy each. A probe says "delivers to maildir" or
// "delivers to mailbox", and touches nothing.
//
// Not here: aliases, .forward files, commands, and a check of Delivered-To
// against loops. Postfix's virtual(8) has none of them either.
//
// It imports address, deliver, mailbox, route and spool.
package virtual

import (
	"context"
	"errors"

	"postern/internal/address"
	"postern/internal/deliver"
	"postern/internal/deliver/mailbox"
	"postern/internal/route"
	"postern/internal/spool"
)

// relay is what the log says after relay=.
const relay = "virtual"

// Resolver finds mailboxes; *route.Router is one.
type Resolver interface {
	// VirtualMailbox says where mail for addr is stored. A *route.DeliveryError
	// says why there is no place; any other error defers the recipient. The
	// trace is nil here.
	VirtualMailbox(ctx context.Context, addr address.Address, tr *route.Trace) (route.Mailbox, error)
}

var _ Resolver = (*route.Router)(nil)

// Text is the text of a message while it is read.
type Text interface {
	mailbox.Body
	Close() error
}

// Logger takes what an administrator should see besides the result.
type Logger interface {
	Infof(format string, args ...any)
	Warningf(format string, args ...any)
}

// Options make an Agent. All but Log and Open are required.
type Options struct {
	Resolver Resolver
	Store    mailbox.Deliverer
	// OriginalRecipient writes X-Original-To (enable_original_recipient).
	OriginalRecipient bool
	Log               Logger                             // nil: nothing is logged
	Open              func(*spool.Message) (Text, error) // nil: spool.Message.Open
}

// Agent delivers to virtual mailboxes. It is safe for concurrent use.
type Agent struct{ o Options }

var _ deliver.Agent = (*Agent)(nil)

// New returns an Agent.
func New(o Options) *Agent {
	if o.Open == nil {
		o.Open = func(m *spool.Message) (Text, error) { return m.Open() }
	}
	return &Agent{o}
}

// Deliver stores the message once for each recipient. When ctx ends, the
// recipients not yet begun are deferred.
func (a *Agent) Deliver(ctx context.Context, r *deliver.Request) []deliver.Status {
	statuses := make([]deliver.Status, len(r.Recipients))
	text, err := a.o.Open(r.Message)
	if err != nil {
		a.warningf("%s: %v", r.Message.ID, err)
		for i := range statuses {
			statuses[i] = deferred("4.3.0", "message text is not readable")
		}
		return statuses
	}
	defer text.Close()
	// Mailboxes are looked up first and written together: where that is done by
	// another process, it is asked once.
	list := make([]mailbox.Delivery, 0, len(r.Recipients))
	index := make([]int, 0, len(r.Recipients))
	for i := range r.Recipients {
		box, status, ok := a.find(ctx, r, &r.Recipients[i])
		if !ok {
			statuses[i] = status
			continue
		}
		list = append(list, mailbox.Delivery{Box: box, Message: a.message(r.Message, text, &r.Recipients[i])})
		index = append(index, i)
	}
	for n, o := range mailbox.DeliverAll(ctx, a.o.Store, list) {
		statuses[index[n]] = result(&list[n].Box, &o)
	}
	return statuses
}

// find looks a mailbox up. ok is false when the recipient has its status without
// any delivery.
func (a *Agent) find(ctx context.Context, r *deliver.Request, to *deliver.Recipient) (box route.Mailbox, status deliver.Status, ok bool) {
	if ctx.Err() != nil {
		return box, deferred("4.3.2", "delivery was interrupted"), false
	}
	box, err := a.o.Resolver.VirtualMailbox(ctx, address.Split(to.Address), nil)
	switch {
	case err != nil:
		return box, a.unresolved(ctx, to, err), false
	case r.Probe:
		return box, sent("delivers to " + kind(&box)), false
	}
	return box, status, true
}

func (a *Agent) message(m *spool.Message, text Text, to *deliver.Recipient) *mailbox.Message {
	original := ""
	if a.o.OriginalRecipient {
		original = to.Original
	}
	return &mailbox.Message{
		ID:      m.ID,
		Index:   to.Index,
		Arrival: m.Envelope.Arrival,
		Sender:  m.Envelope.Sender,
		Header:  mailbox.Header(m.Envelope.Sender, original, to.Address),
		Body:    text,
		Attempt: to.Attempt,
	}
}

// result is the status of a delivery.
func result(box *route.Mailbox, o *mailbox.Outcome) deliver.Status {
	if o.Err != nil {
		return failed(box, o.Err)
	}
	status := sent("delivered to " + kind(box))
	status.Applied = o.Receipt.Applied
	return status
}

func sent(reason string) deliver.Status {
	return deliver.Status{Kind: deliver.Sent, DSN: "2.0.0", Reason: reason, Relay: relay}
}

func kind(box *route.Mailbox) string {
	if box.Format == route.Mbox {
		return "mailbox"
	}
	return "maildir"
}

// unresolved is the status of a recipient without a mailbox.
func (a *Agent) unresolved(ctx context.Context, to *deliver.Recipient, err error) deliver.Status {
	var known *route.DeliveryError
	switch {
	case errors.As(err, &known):
		status := deferred(known.DSN, known.Reason)
		if !known.Temporary {
			status.Kind = deliver.Bounced
		}
		return status
	case ctx.Err() != nil:
		return deferred("4.3.2", "delivery was interrupted")
	}
	a.warningf("recipient %s: %v", address.Split(to.Address), err)
	return deferred("4.3.5", "mail system configuration error")
}

// failed is the status of a recipient whose mailbox did not take the message.
func failed(box *route.Mailbox, err error) deliver.Status {
	var known *mailbox.Error
	if !errors.As(err, &known) {
		return deferred("4.3.2", "delivery was interrupted")
	}
	reason := "maildir delivery failed: " + known.Reason
	if box.Format == route.Mbox {
		reason = "delivery failed to mailbox " + box.Path + ": " + known.Reason
	}
	status := deferred(known.DSN, reason)
	if !known.Temporary {
		status.Kind = deliver.Bounced
	}
	return status
}

func deferred(dsn, reason string) deliver.Status {
	return deliver.Status{Kind: deliver.Deferred, DSN: dsn, Reason: reason, Relay: relay}
}

func (a *Agent) warningf(format string, args ...any) {
	if a.o.Log != nil {
		a.o.Log.Warningf(format, args...)
	}
}
