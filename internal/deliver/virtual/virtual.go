// Package virtual is the agent that stores mail for virtual mailbox domains, as
// virtual(8) of Postfix does: every recipient has a Maildir or an mbox below
// virtual_mailbox_base, owned by the user and group of virtual_uid_maps and
// virtual_gid_maps.
//
// For each recipient, one after the other: the mailbox is asked of the Resolver
// (virtual_mailbox_maps and the rest are its business), the header lines are
// made,
//
//	Return-Path: <sender@client.example>
//	X-Original-To: info@example.org
//	Delivered-To: john@example.org
//
// and the message is written by package mailbox. Results read as those of
// Postfix, with the relay "virtual":
//
//	sent      2.0.0  delivered to maildir
//	sent      2.0.0  delivered to mailbox
//	deferred  4.2.0  maildir delivery failed: create maildir file /var/vmail/...: Permission denied
//	bounced   5.2.2  delivery failed to mailbox /var/vmail/john: error writing message: File too large
//	bounced   5.1.1  unknown user: "nobody@example.org"
//
// Recipients whose table fails are deferred. Two recipients of one message that
// share a mailbox get a copy each.
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
	for i := range r.Recipients {
		statuses[i] = a.one(ctx, r.Message, text, &r.Recipients[i])
	}
	return statuses
}

func (a *Agent) one(ctx context.Context, m *spool.Message, text Text, to *deliver.Recipient) deliver.Status {
	if ctx.Err() != nil {
		return deferred("4.3.2", "delivery was interrupted")
	}
	box, err := a.o.Resolver.VirtualMailbox(ctx, address.Split(to.Address), nil)
	if err != nil {
		return a.unresolved(ctx, to, err)
	}
	original := ""
	if a.o.OriginalRecipient {
		original = to.Original
	}
	receipt, err := a.o.Store.Deliver(ctx, box, &mailbox.Message{
		ID:      m.ID,
		Index:   to.Index,
		Arrival: m.Envelope.Arrival,
		Sender:  m.Envelope.Sender,
		Header:  mailbox.Header(m.Envelope.Sender, original, to.Address),
		Body:    text,
		Attempt: to.Attempt,
	})
	if err != nil {
		return failed(&box, err)
	}
	status := deliver.Status{Kind: deliver.Sent, DSN: "2.0.0", Relay: relay, Applied: receipt.Applied}
	status.Reason = "delivered to maildir"
	if box.Format == route.Mbox {
		status.Reason = "delivered to mailbox"
	}
	return status
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
