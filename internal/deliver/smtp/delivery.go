package smtp

import (
	"context"
	"slices"
	"strings"
	"time"

	"postern/internal/deliver"
	"postern/internal/smtpc"
	"postern/internal/spool"
)

// Deliver implements deliver.Agent.
func (a *Agent) Deliver(ctx context.Context, r *deliver.Request) []deliver.Status {
	d := &delivery{a: a, r: r, status: make([]deliver.Status, len(r.Recipients)), left: make([]int, len(r.Recipients))}
	for i := range d.left {
		d.left[i] = i
		d.status[i] = deliver.Status{Kind: deliver.Deferred, DSN: "4.3.2", Reason: "delivery was interrupted", Relay: "none"}
	}
	d.run(ctx)
	return d.status
}

// delivery is a request on its way.
type delivery struct {
	a        *Agent
	r        *deliver.Request
	status   []deliver.Status
	left     []int  // recipients that may be tried again; their status is that of the last try
	tried    string // address that had its chance over a connection of the pool
	soft     bool   // those that are left were deferred somewhere: a name that is not found does not bounce them
	sessions int    // connections to servers of the destination that is tried now
}

// run tries what there is to try, in order, until no recipient is left.
func (d *delivery) run(ctx context.Context) {
	a, start := d.a, d.a.o.Now()
	if s := a.pool.take(d.key()); s != nil {
		d.transact(ctx, s)
	}
	if len(d.left) == 0 {
		return
	}
	list, err := parseNextHop(d.r.NextHop, a.o.Port, !a.o.LMTP)
	if err != nil {
		a.o.Log.Warningf("%s: %v", d.r.Message.ID, err)
		d.note(&deliver.Status{Kind: deliver.Deferred, DSN: "4.3.5", Reason: printable(err.Error()), Relay: "none", Destination: true})
		return
	}
	ours := len(list)
	if strings.EqualFold(d.r.NextHop, a.o.Relayhost) {
		ours = 0
	}
	for i, dest := range append(list, a.fallback...) {
		targets, none := a.resolve(ctx, dest)
		if none != nil {
			if i >= ours {
				a.configured(none)
			}
			if none.Kind == deliver.Deferred || !d.soft {
				d.note(none)
			}
			continue
		}
		if d.try(ctx, targets, start); len(d.left) == 0 || ctx.Err() != nil {
			return
		}
	}
	if a.o.BestMX != nil && d.status[d.left[0]].DSN == loopDSN && d.status[d.left[0]].Relay == "none" {
		d.passOn(ctx)
	}
}

// passOn gives those that are left, because we are the best mail exchanger of
// their domain, to another agent (best_mx_transport).
func (d *delivery) passOn(ctx context.Context) {
	r := *d.r
	r.Recipients = make([]deliver.Recipient, len(d.left))
	for n, i := range d.left {
		r.Recipients[n] = d.r.Recipients[i]
	}
	statuses := d.a.o.BestMX(ctx, &r)
	for n, i := range d.left[:min(len(d.left), len(statuses))] {
		d.status[i] = statuses[n]
	}
	d.left = nil
}

// key is what a connection must have in common with the request to be used for
// it: the next hop, and the sender where that decides who we are.
func (d *delivery) key() poolKey {
	k := poolKey{nextHop: d.r.NextHop}
	if d.a.o.BySender {
		k.sender = d.r.Message.Envelope.Sender
	}
	return k
}

// configured turns the lookup failure of a next hop that main.cf names for all
// mail into one that does not send everything back: the mistake is ours.
func (a *Agent) configured(s *deliver.Status) {
	if s.Kind == deliver.Bounced {
		a.o.Log.Warningf("relayhost or fallback relay configuration problem: %s", s.Reason)
		s.Kind, s.DSN, s.Destination = deliver.Deferred, "4.3.5", true
	}
}

// try goes through the addresses of one destination.
func (d *delivery) try(ctx context.Context, targets []target, start time.Time) {
	a := d.a
	d.sessions = 0
	for _, t := range targets {
		if len(d.left) == 0 || ctx.Err() != nil || d.sessions > 0 && d.sessions == a.o.MaxSessions {
			return
		}
		if t.address == d.tried { // over the connection that was at hand
			d.sessions++
			continue
		}
		if d.sessions > 0 {
			a.o.Log.Infof("%s: %s", d.r.Message.ID, d.status[d.left[0]].Reason)
		}
		s, none := d.connect(ctx, t, start)
		if none != nil {
			none.Setup = a.o.Now().Sub(start)
			a.o.Log.Infof("%s", none.Reason)
			d.fail(none)
			continue
		}
		d.transact(ctx, s)
	}
}

// note gives all recipients that are left a status; they stay left.
func (d *delivery) note(s *deliver.Status) {
	d.soft = d.soft || s.Kind == deliver.Deferred
	for _, i := range d.left {
		d.status[i] = *s
	}
}

// fail is note, and the end when the status is a final one.
func (d *delivery) fail(s *deliver.Status) {
	d.note(s)
	if s.Kind == deliver.Bounced {
		d.left = nil
	}
}

// transact sends the message to the recipients that are left, and leaves those
// that may be tried elsewhere. When a session that was kept turns out to be dead
// the same address is not passed over for that.
func (d *delivery) transact(ctx context.Context, s *session) {
	defer d.a.pool.release(d.key(), s)
	text, err := d.prepare(s)
	if err != nil {
		d.a.o.Log.Warningf("%s: %v", d.r.Message.ID, err)
		d.note(&deliver.Status{Kind: deliver.Deferred, DSN: "4.3.0", Reason: "queue file read error", Relay: "none"})
		d.left = nil
		return
	}
	defer text.Close()
	if len(d.left) == 0 {
		return
	}
	outcomes := s.client.Send(ctx, d.transaction(text))
	if s.kept && (s.client.Usable() || !slices.ContainsFunc(outcomes, unheard)) {
		d.tried = s.target.address
	}
	d.record(s, outcomes)
}

// unheard reports whether a server closed the connection, or said that it does,
// before the recipient had its turn.
func unheard(o smtpc.Outcome) bool {
	if o.Phase >= smtpc.Body {
		return false
	}
	return o.Err != nil && o.Err.Kind == smtpc.Lost || o.Err == nil && o.Reply.Code == 421
}

// transaction is the request in the terms of the client.
func (d *delivery) transaction(text *text) *smtpc.Transaction {
	m := d.r.Message
	e := &m.Envelope
	tx := &smtpc.Transaction{
		Sender:     e.Sender,
		Recipients: make([]smtpc.Recipient, len(d.left)),
		Body:       text,
		Size:       text.size,
		EightBit:   text.eightBit,
		SMTPUTF8:   e.SMTPUTF8 || hasUTF8(e.Sender),
		EnvID:      e.EnvID,
		Ret:        e.Ret,
		Probe:      d.r.Probe,
	}
	for n, i := range d.left {
		r := d.r.Recipients[i]
		to := &tx.Recipients[n]
		to.Address = r.Address
		tx.SMTPUTF8 = tx.SMTPUTF8 || hasUTF8(r.Address)
		if r.Index < len(e.Recipients) {
			to.Notify = notify(e.Recipients[r.Index].Notify)
			to.ORCPT = e.Recipients[r.Index].ORCPT
		}
		if to.ORCPT == "" && r.Original != "" {
			to.ORCPT = originalRecipient(r.Original)
		}
	}
	return tx
}

// record gives each recipient that was left the status of its outcome.
func (d *delivery) record(s *session, outcomes []smtpc.Outcome) {
	var left []int
	for n, i := range d.left {
		o := outcomes[n]
		var status *deliver.Status
		again := false
		if o.Err == nil {
			status = answered(s.target, o, d.r.Probe)
			status.Reach = d.a.reach(s)
			again = status.Kind == deliver.Deferred
		} else {
			status = d.a.failed(s.target, o.Err)
			again = elsewhere(o.Err)
			status.Destination = again && o.Err.Phase <= smtpc.Mail
			if o.Err.Kind == smtpc.Unreadable {
				d.a.o.Log.Warningf("%s: %v", d.r.Message.ID, o.Err)
			}
		}
		status.Setup, status.ConnUse = s.setup, s.client.Uses()
		d.status[i] = *status
		if again {
			left = append(left, i)
		}
	}
	d.left = left
	d.soft = d.soft || len(left) > 0
}

// reach is how far the mail got that the server of a session took (RFC 3461,
// 5.2.1 and 5.2.2; lmtp_assume_final).
func (a *Agent) reach(s *session) deliver.Reach {
	switch {
	case s.client.Extensions().DSN:
		return deliver.Passed
	case a.o.LMTP && a.o.AssumeFinal:
		return deliver.Delivered
	}
	return deliver.Relayed
}

// elsewhere reports whether another address may do better. Behind the final dot
// it must not be tried: the server may have the message.
func elsewhere(e *smtpc.Error) bool {
	switch e.Kind {
	case smtpc.Lost, smtpc.TimedOut, smtpc.Malformed:
		return e.Phase != smtpc.EndOfData
	}
	return false
}

// notify writes the NOTIFY parameter (RFC 3461, 4.1).
func notify(n spool.Notify) string {
	if n&spool.NotifyNever != 0 {
		return "NEVER"
	}
	var words []string
	for _, w := range []struct {
		bit  spool.Notify
		word string
	}{{spool.NotifySuccess, "SUCCESS"}, {spool.NotifyFailure, "FAILURE"}, {spool.NotifyDelay, "DELAY"}} {
		if n&w.bit != 0 {
			words = append(words, w.word)
		}
	}
	return strings.Join(words, ",")
}

// originalRecipient is the ORCPT of a recipient whose sender gave none.
func originalRecipient(addr string) string {
	if hasUTF8(addr) {
		return "utf-8;" + addr
	}
	return "rfc822;" + addr
}
