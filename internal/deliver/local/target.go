package local

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"postern/internal/address"
	"postern/internal/deliver"
	"postern/internal/deliver/mailbox"
	"postern/internal/route"
)

// all carries out the targets and makes one status of what they came to.
func (d *delivery) all(ctx context.Context, targets []route.LocalTarget) deliver.Status {
	key := partKey{d.message.ID, d.to.Index}
	var results []deliver.Status
	var forwards []deliver.Forward
	for i := range targets {
		t := &targets[i]
		if t.Kind == route.LocalForward && !d.request.Probe {
			forwards = append(forwards, d.forward(t))
			continue
		}
		if earlier, ok := d.agent.done.get(key, targetName(t)); ok {
			results = append(results, earlier)
			continue
		}
		result := d.one(ctx, t, len(targets) > 1)
		if result.Kind == deliver.Sent && len(targets) > 1 {
			d.agent.done.put(key, targetName(t), result)
		}
		results = append(results, result)
	}
	whole := combine(results, forwards)
	// A bounce may become a deferral (soft_bounce), and so may a forward that
	// cannot be put into the queue.
	if whole.Kind == deliver.Sent && len(forwards) == 0 {
		d.agent.done.forget(key)
	}
	return whole
}

// one carries out a target that is no forward. A part of several is made durable
// at once, for there is one place for a receipt in a Status.
func (d *delivery) one(ctx context.Context, t *route.LocalTarget, part bool) deliver.Status {
	if ctx.Err() != nil {
		return interrupted()
	}
	if member := address.Split(t.Recipient); d.been(member) {
		return loop(member)
	}
	switch t.Kind {
	case route.LocalMailbox:
		return d.store(ctx, t, part)
	case route.LocalCommand:
		return d.command(ctx, t)
	case route.LocalTransport:
		return d.handOver(ctx, t)
	case route.LocalForward: // of a probe
		return status(deliver.Sent, "2.0.0", "forwards to "+strings.Join(t.Forward, ", "))
	case route.LocalDiscard:
		return status(deliver.Sent, dsnOr(t.DSN, "2.0.0"), t.Reason)
	case route.LocalBounce:
		bounced := status(deliver.Bounced, dsnOr(t.DSN, "5.0.0"), t.Reason)
		bounced.Recipient = t.DeliveredTo
		return bounced
	default: // LocalDefer; a kind that is not known must not lose mail
		return status(deliver.Deferred, dsnOr(t.DSN, "4.0.0"), t.Reason)
	}
}

func dsnOr(dsn, otherwise string) string {
	if dsn == "" {
		return otherwise
	}
	return dsn
}

// combine makes one status of several, see the package comment.
func combine(results []deliver.Status, forwards []deliver.Forward) deliver.Status {
	for _, kind := range [...]deliver.Kind{deliver.Deferred, deliver.Bounced} {
		i := slices.IndexFunc(results, func(s deliver.Status) bool { return s.Kind == kind })
		if i < 0 {
			continue
		}
		whole := results[i]
		if kind == deliver.Bounced {
			whole.Forwards = forwards
		}
		return whole
	}
	if len(results) == 0 {
		whole := status(deliver.Sent, "2.0.0", "forwarded")
		whole.Forwards, whole.Reach = forwards, deliver.Expanded
		return whole
	}
	whole := results[0]
	var reasons []string
	for _, r := range results {
		if !slices.Contains(reasons, r.Reason) {
			reasons = append(reasons, r.Reason)
		}
	}
	whole.Reason = strings.Join(reasons, "; ")
	whole.Forwards = forwards
	return whole
}

// sender is the envelope sender, or the owner of the alias that led here.
func (d *delivery) sender(t *route.LocalTarget) string {
	if t.Sender != "" {
		return t.Sender
	}
	return d.message.Envelope.Sender
}

// forward is a new message. Where the alias has an owner, nothing in it reminds
// of the recipient but the Delivered-To line.
func (d *delivery) forward(t *route.LocalTarget) deliver.Forward {
	original := d.to.Original
	if t.Sender != "" {
		original = ""
	}
	f := deliver.Forward{Sender: d.sender(t), Recipients: t.Forward, Original: original}
	if d.agent.o.Plain&Forwards == 0 {
		f.Prepend = mailbox.DeliveredTo(address.Fold(d.deliveredTo(t)))
	}
	return f
}

// handOver lets the agent of another transport deliver.
func (d *delivery) handOver(ctx context.Context, t *route.LocalTarget) deliver.Status {
	var agent deliver.Agent
	ok := false
	if d.agent.o.Agent != nil {
		agent, ok = d.agent.o.Agent(t.Transport)
	}
	if !ok {
		d.agent.warningf("mail transport %s of a local mailbox is not known", t.Transport)
		return status(deliver.Deferred, "4.3.0", "mail transport unavailable")
	}
	to, next := *d.to, t.NextHop
	if t.Recipient != "" {
		to.Address = t.Recipient
	}
	if next == "" {
		next = d.request.NextHop
	}
	return agent.Deliver(ctx, &deliver.Request{
		Message:    d.message,
		Transport:  t.Transport,
		NextHop:    next,
		Recipients: []deliver.Recipient{to},
		Probe:      d.request.Probe,
	})[0]
}

// store writes into a mailbox of a system user.
func (d *delivery) store(ctx context.Context, t *route.LocalTarget, part bool) deliver.Status {
	box := t.Mailbox
	if box.UID == 0 {
		return status(deliver.Deferred, "4.3.5", "cannot update mailbox "+box.Path+" for user "+box.User+
			". mail is not delivered with the rights of root: name a person in the alias for "+box.User)
	}
	if d.request.Probe {
		return status(deliver.Sent, "2.0.0", "delivers to "+place(&box))
	}
	sender := d.sender(t)
	receipt, err := d.agent.o.Store.Deliver(ctx, box, &mailbox.Message{
		ID:      d.message.ID,
		Index:   d.to.Index,
		Arrival: d.message.Envelope.Arrival,
		Sender:  sender,
		Header:  d.header(t, Files),
		Body:    d.text,
		Attempt: d.to.Attempt,
		Durable: part,
	})
	if err != nil {
		return failed(&box, err)
	}
	sent := status(deliver.Sent, "2.0.0", "delivered to "+place(&box))
	sent.Applied = receipt.Applied
	return sent
}

// place is what a mailbox is called in results.
func place(box *route.Mailbox) string {
	switch {
	case box.Format == route.Maildir:
		return "maildir"
	case box.File:
		return "file: " + box.Path
	}
	return "mailbox"
}

// header is what goes in front of the text for a kind of target.
func (d *delivery) header(t *route.LocalTarget, kind Places) []byte {
	original := ""
	if d.agent.o.OriginalRecipient {
		original = d.to.Original
	}
	var to []string
	if d.agent.o.Plain&kind == 0 {
		to = []string{d.deliveredTo(t)}
	}
	return mailbox.Header(d.sender(t), original, to...)
}

// deliveredTo is the address of Delivered-To.
func (d *delivery) deliveredTo(t *route.LocalTarget) string {
	return cmp.Or(t.DeliveredTo, d.to.Address)
}

// wrongPlace are the errors that say that a mailbox cannot be where it is said to
// be. Others are troubles of this machine, or somebody else has the lock.
var wrongPlace = [...]unix.Errno{
	unix.EACCES, unix.EPERM, unix.ENOENT, unix.ENOTDIR, unix.EISDIR, unix.ELOOP, unix.ENAMETOOLONG, unix.ENXIO, unix.ENODEV,
}

// failed is the status of a mailbox that did not take the message. A wrong place
// is refused for good, as local(8) does.
func failed(box *route.Mailbox, err error) deliver.Status {
	var known *mailbox.Error
	if !errors.As(err, &known) {
		return interrupted()
	}
	why := known.Reason
	var errno unix.Errno
	if errors.As(known.Err, &errno) && box.Format == route.Mbox && (errno == unix.EISDIR || errno == unix.ENXIO) {
		why = "cannot open file: " + mailbox.ErrorText(errno)
	}
	reason := "maildir delivery failed: " + why
	switch {
	case box.Format == route.Maildir:
	case box.File:
		reason = "cannot append message to file " + box.Path + ": " + why
	default:
		reason = "cannot update mailbox " + box.Path + " for user " + box.User + ". " + why
	}
	switch {
	case !known.Temporary:
		return status(deliver.Bounced, known.DSN, reason)
	case known.DSN == "4.2.0" && slices.Contains(wrongPlace[:], errno):
		return status(deliver.Bounced, "5.2.0", reason)
	}
	return status(deliver.Deferred, known.DSN, reason)
}

// targetName tells the targets of a recipient apart. A mailbox is the same
// whoever it is for, and a command has its user in it.
func targetName(t *route.LocalTarget) string {
	switch t.Kind {
	case route.LocalMailbox:
		return "mailbox " + t.Mailbox.Path
	case route.LocalCommand:
		return "command " + t.Command.User + " " + t.Command.Line
	}
	return t.Transport + " " + t.NextHop + " " + t.Recipient + " " + t.Reason
}
