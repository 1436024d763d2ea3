package queue

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"postern/internal/address"
	"postern/internal/bounce"
	"postern/internal/deliver"
	"postern/internal/spool"
)

// notice is a notification that is ready to be committed.
type notice struct {
	name  string // for the log, "sender non-delivery"
	fresh spool.New
}

// notify makes the notifications a ledger calls for. Recipients whose sender
// cannot be told of their end now are deferred with their reason.
func (q *Queue) notify(ctx context.Context, l *ledger, p *Parameters) {
	if len(l.bounced) > 0 && !q.attempt(l, func() error { return q.tellFailures(ctx, l, p) }) {
		l.deferred = append(l.deferred, l.bounced...)
		l.bounced = nil
	}
	if (len(l.told) > 0 || len(l.probed) > 0 || l.item.reports()) &&
		!q.attempt(l, func() error { return q.tellResults(ctx, l, p) }) {
		l.deferred = append(l.deferred, l.probed...)
		l.probed = nil
	}
	if len(l.deferred) > 0 {
		q.tellDelay(ctx, l, p)
	}
}

// attempt makes notices, all of them or none.
func (q *Queue) attempt(l *ledger, tell func() error) bool {
	before := len(l.notices)
	err := tell()
	if err == nil {
		return true
	}
	q.logs.qmgr.Warningf("%s: no notification can be made: %v", l.item.message.ID, err)
	for _, n := range l.notices[before:] {
		abort([]spool.New{n.fresh})
	}
	l.notices = l.notices[:before]
	return false
}

// reports reports whether the pass is to be followed by a report of every
// result: it is the first of a message that asks for one (sendmail -v).
func (it *item) reports() bool { return it.message.Envelope.Report && it.attempts == 0 }

// isTold reports whether the sender wants to hear of a recipient that was sent
// (RFC 3461, 5.2): he asked, and no other server will tell him, or he was warned
// of a delay (confirm_delay_cleared).
func (q *Queue) isTold(it *item, v *verdict) bool {
	notify := it.message.Envelope.Recipients[v.index].Notify
	switch {
	case it.message.Envelope.Sender == "" || it.message.Envelope.Bounce:
		return false
	case it.reports():
		return true
	case notify&spool.NotifySuccess != 0:
		return v.status.Reach != deliver.Passed
	}
	return it.warned && notify&spool.NotifyNever == 0 && q.settings().ConfirmDelayCleared
}

// tellResults tells the sender of success, of what delivery would come to, or
// of every result, whatever he asked for.
func (q *Queue) tellResults(ctx context.Context, l *ledger, p *Parameters) error {
	e := &l.item.message.Envelope
	if e.Bounce || e.Sender == "" || p.isDoubleBounce(e.Sender) {
		return nil
	}
	kind, verdicts := bounce.Success, l.told
	if l.item.verify() || l.item.reports() {
		kind = bounce.Verify
		verdicts = slices.Concat(l.told, l.probed, l.bounced, l.deferred)
		slices.SortStableFunc(verdicts, func(a, b verdict) int { return a.index - b.index })
	}
	r := q.report(l, p, kind, verdicts, all)
	if len(r.Recipients) == 0 {
		return nil
	}
	for i := range r.Recipients {
		r.Recipients[i].Action = action(l.item, verdicts[i].status)
		r.Recipients[i].Relay = verdicts[i].status.Relay
	}
	r.To = e.Sender
	return q.submitReport(ctx, l, p, r, "sender delivery status")
}

// action is the word of RFC 3464, 2.3.3, for a status; for one that was asked
// for only, Postfix's.
func action(it *item, s *deliver.Status) string {
	switch {
	case it.verify() && s.Kind == deliver.Sent:
		return "deliverable"
	case it.verify():
		return "undeliverable"
	case s.Kind == deliver.Bounced:
		return "failed"
	case s.Kind == deliver.Deferred:
		return "delayed"
	}
	return [...]string{"delivered", "relayed", "relayed", "expanded"}[s.Reach]
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

// isDoubleBounce reports whether a sender is that of our own notices. At myorigin
// it is where rewriting completes the bare double_bounce_sender.
func (p *Parameters) isDoubleBounce(sender string) bool {
	from, own := address.Split(sender), address.Split(p.DoubleBounceSender)
	return from.Local != "" && (from.Equal(own) || from.Equal(address.Address{Local: own.Local, Domain: p.Origin}))
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
		SizeLimit: p.BounceSizeLimit, Now: q.options.Now(), Threaded: p.Threaded,
	}
	if q.options.Templates != nil {
		r.Templates = q.options.Templates()
	}
	for _, v := range verdicts {
		rcpt := &m.Envelope.Recipients[v.index]
		if !wants(rcpt.Notify) {
			continue
		}
		r.Recipients = append(r.Recipients, bounce.Recipient{
			Address: cmp.Or(v.address, rcpt.Address), Original: rcpt.Original, ORCPT: rcpt.ORCPT,
			Status: v.status.DSN, Reason: v.status.Reason,
			RemoteMTA: v.status.RemoteMTA, Diagnostic: v.status.Diagnostic, Output: v.status.Output,
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
		Recipients: []spool.Recipient{{Address: r.To, Original: r.To, Notify: spool.NotifyNever}},
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
