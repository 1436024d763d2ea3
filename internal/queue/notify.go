package queue

import (
	"cmp"
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"postern/internal/address"
	"postern/internal/bounce"
	"postern/internal/spool"
)

// notice is a notification that is ready to be committed.
type notice struct {
	name  string // for the log, "sender non-delivery"
	fresh spool.New
}

// notify makes the notifications a ledger calls for. Bounced recipients whose
// sender cannot be told now are deferred with their reason.
func (q *Queue) notify(ctx context.Context, l *ledger, p *Parameters) {
	if len(l.bounced) > 0 {
		if err := q.tellFailures(ctx, l, p); err != nil {
			q.logs.qmgr.Warningf("%s: no notification can be made: %v", l.item.message.ID, err)
			abort(l.fresh()[l.forwardCount():])
			l.notices = nil
			l.deferred = append(l.deferred, l.bounced...)
			l.bounced = nil
		}
	}
	if len(l.deferred) > 0 {
		q.tellDelay(ctx, l, p)
	}
}

func (l *ledger) forwardCount() int {
	n := 0
	for i := range l.forwards {
		n += len(l.forwards[i].fresh)
	}
	return n
}

// tellFailures tells the sender and the postmaster of the bounced recipients.
// A message from nobody is told to nobody but the postmaster, and one from the
// double-bounce sender not even to him: a notification never causes another.
func (q *Queue) tellFailures(ctx context.Context, l *ledger, p *Parameters) error {
	e := &l.item.message.Envelope
	if e.Bounce || e.Sender == "" {
		if p.DoubleBounceNotice == "" || p.isDoubleBounce(e.Sender) {
			return nil
		}
		r := q.report(l, p, bounce.Failure, l.bounced, all)
		r.To, r.Postmaster = p.DoubleBounceNotice, true
		return q.submitReport(ctx, l, p, r, "postmaster non-delivery")
	}
	if r := q.report(l, p, bounce.Failure, l.bounced, wantsFailure); len(r.Recipients) > 0 {
		r.To = e.Sender
		if err := q.submitReport(ctx, l, p, r, "sender non-delivery"); err != nil {
			return err
		}
	}
	if p.BounceNotice == "" || p.isDoubleBounce(e.Sender) {
		return nil
	}
	r := q.report(l, p, bounce.Failure, l.bounced, all)
	r.To, r.Postmaster = p.BounceNotice, true
	return q.submitReport(ctx, l, p, r, "postmaster non-delivery")
}

// tellDelay warns the sender, once, of what is late. A warning that cannot be
// made is made another time.
func (q *Queue) tellDelay(ctx context.Context, l *ledger, p *Parameters) {
	e := &l.item.message.Envelope
	age := q.options.Now().Sub(e.Arrival)
	if p.DelayWarning <= 0 || age < p.DelayWarning || l.item.warned || e.Bounce || e.Sender == "" {
		return
	}
	for _, to := range []struct {
		address, name string
		postmaster    bool
		wants         func(spool.Notify) bool
	}{
		{e.Sender, "sender delay", false, wantsDelay},
		{p.DelayNotice, "postmaster delay", true, all},
	} {
		r := q.report(l, p, bounce.Delay, l.deferred, to.wants)
		if to.address == "" || len(r.Recipients) == 0 {
			continue
		}
		r.To, r.Postmaster = to.address, to.postmaster
		r.RetryUntil = e.Arrival.Add(p.lifetime(e.Sender))
		if err := q.submitReport(ctx, l, p, r, to.name); err != nil {
			q.logs.qmgr.Warningf("%s: no delay warning can be made: %v", l.item.message.ID, err)
			return
		}
		l.warned = true
	}
}

// isDoubleBounce reports whether a sender is that of our own notices.
func (p *Parameters) isDoubleBounce(sender string) bool {
	return sender != "" && address.Fold(sender) == address.Fold(p.DoubleBounceSender)
}

// Who wants to hear of what (RFC 3461, 4.1).
func all(spool.Notify) bool            { return true }
func wantsFailure(n spool.Notify) bool { return n == 0 || n&spool.NotifyFailure != 0 }
func wantsDelay(n spool.Notify) bool   { return n == 0 || n&spool.NotifyDelay != 0 }

// report describes the recipients in verdicts who want to be heard of.
func (q *Queue) report(l *ledger, p *Parameters, kind bounce.Kind, verdicts []verdict, wants func(spool.Notify) bool) *bounce.Report {
	m := l.item.message
	r := &bounce.Report{
		Kind: kind, Hostname: p.Hostname, Origin: p.Origin, ID: m.ID, Original: m.Envelope,
		SizeLimit: p.BounceSizeLimit, Now: q.options.Now(),
	}
	for _, v := range verdicts {
		rcpt := &m.Envelope.Recipients[v.index]
		if !wants(rcpt.Notify) {
			continue
		}
		r.Recipients = append(r.Recipients, bounce.Recipient{
			Address: cmp.Or(v.address, rcpt.Address), Original: rcpt.Original, ORCPT: rcpt.ORCPT,
			Status: v.status.DSN, Reason: v.status.Reason,
			RemoteMTA: v.status.RemoteMTA, Diagnostic: v.status.Diagnostic,
		})
	}
	return r
}

// submitReport composes a report and adds it to the notices of the ledger.
func (q *Queue) submitReport(ctx context.Context, l *ledger, p *Parameters, r *bounce.Report, name string) error {
	var original bounce.Body = strings.NewReader("")
	body, err := l.item.message.Open()
	switch {
	case err == nil:
		defer body.Close()
		original = body
	case errors.Is(err, spool.ErrGone) || errors.Is(err, spool.ErrDamaged):
		// The sender is told all the same: the text will not come back.
		q.logs.qmgr.Warningf("%s: the notification goes without the text: %v", r.ID, err)
	default:
		return err
	}
	n, err := r.Compose(original)
	if err != nil {
		return err
	}
	e := spool.Envelope{
		Recipients: []spool.Recipient{{Address: r.To, Notify: spool.NotifyNever}},
		Bounce:     true, EightBit: n.EightBit, SMTPUTF8: n.SMTPUTF8,
	}
	if r.Postmaster {
		e.Sender = p.DoubleBounceSender
	}
	fresh, err := q.options.Submit(context.WithoutCancel(ctx), Submission{Envelope: e, Text: n, Size: n.Size()})
	if err == nil {
		l.notices = append(l.notices, notice{name, fresh})
	}
	return err
}

// submitForwards makes the new messages that take the place of recipients.
// Where that fails, the recipient is deferred.
func (q *Queue) submitForwards(ctx context.Context, l *ledger) {
	made := l.forwards[:0]
	for _, f := range l.forwards {
		err := q.submitForward(ctx, l.item, &f)
		if err != nil {
			abort(f.fresh)
			q.logs.qmgr.Warningf("%s: cannot forward: %v", l.item.message.ID, err)
			status := deferral("4.3.0", "cannot forward: mail system error")
			q.logDelivery(f.log, l.item, f.recipient, &status, status.Kind.String(), f.began)
			l.deferred = append(l.deferred, verdict{f.index, status, f.address})
			continue
		}
		made = append(made, f)
	}
	l.forwards = made
}

// submitPartial makes the forwards of recipients that bounced in part. Where
// that fails, the recipient is deferred with its reason.
func (q *Queue) submitPartial(ctx context.Context, l *ledger) {
	bounced := l.bounced[:0]
	for _, v := range l.bounced {
		f := forwarded{verdict: v}
		if err := q.submitForward(ctx, l.item, &f); err != nil {
			abort(f.fresh)
			q.logs.qmgr.Warningf("%s: cannot forward: %v", l.item.message.ID, err)
			l.deferred = append(l.deferred, v)
			continue
		}
		bounced = append(bounced, v)
		if len(f.fresh) > 0 {
			l.forwards = append(l.forwards, f)
		}
	}
	l.bounced = bounced
}

// submitForward makes the new messages of one recipient, if it has any.
func (q *Queue) submitForward(ctx context.Context, it *item, f *forwarded) error {
	if len(f.status.Forwards) == 0 {
		return nil
	}
	body, err := it.message.Open()
	if err != nil {
		return err
	}
	defer body.Close()
	original := &it.message.Envelope.Recipients[f.index]
	for _, forward := range f.status.Forwards {
		e := it.message.Envelope
		e.Sender, e.Arrival, e.Recipients = forward.Sender, time.Time{}, nil
		for _, addr := range forward.Recipients {
			r := spool.Recipient{Address: addr, Original: addr, Notify: original.Notify}
			if forward.Original != "" {
				r.Original, r.ORCPT = forward.Original, original.ORCPT
			}
			e.Recipients = append(e.Recipients, r)
		}
		text := prefixed{forward.Prepend, body}
		fresh, err := q.options.Submit(context.WithoutCancel(ctx), Submission{
			Envelope: e, Text: text, Size: int64(len(forward.Prepend)) + body.Size(),
		})
		if err != nil {
			return err
		}
		f.fresh = append(f.fresh, fresh)
	}
	return nil
}

// prefixed is a text with header fields put in front.
type prefixed struct {
	prefix string
	text   io.WriterTo
}

func (p prefixed) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, p.prefix)
	if err != nil {
		return int64(n), err
	}
	m, err := p.text.WriteTo(w)
	return int64(n) + m, err
}

// forwardText is the reason of a forwarded recipient: what the agent says it
// did besides, and the new queue ids.
func forwardText(reason string, messages []*spool.Message) string {
	var parts []string
	if reason != "" && reason != "forwarded" {
		parts = append(parts, reason)
	}
	for _, m := range messages {
		parts = append(parts, "forwarded as "+m.ID)
	}
	return strings.Join(parts, "; ")
}
