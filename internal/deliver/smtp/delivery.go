package smtp

import (
	"context"
	"errors"
	"io"
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
	a      *Agent
	r      *deliver.Request
	status []deliver.Status
	left   []int  // recipients that may be tried again; their status is that of the last try
	tried  string // address that had its chance over a connection of the pool
	soft   bool   // those that are left were deferred somewhere: a name that is not found does not bounce them
}

// run tries what there is to try, in order, until no recipient is left.
func (d *delivery) run(ctx context.Context) {
	a, start := d.a, d.a.o.Now()
	if s := a.pool.take(d.r.NextHop); s != nil {
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
	a, sessions := d.a, 0
	for _, t := range targets {
		if len(d.left) == 0 || ctx.Err() != nil || sessions > 0 && sessions == a.o.MaxSessions {
			return
		}
		if t.address == d.tried { // over the connection that was at hand
			sessions++
			continue
		}
		if sessions > 0 {
			a.o.Log.Infof("%s: %s", d.r.Message.ID, d.status[d.left[0]].Reason)
		}
		s, none := a.connect(ctx, t, start)
		if none != nil {
			none.Setup = a.o.Now().Sub(start)
			a.o.Log.Infof("%s", none.Reason)
			d.fail(none)
			continue
		}
		sessions++
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
// that may be tried elsewhere. A session that was kept and turns out to be dead
// leaves everything as it was.
func (d *delivery) transact(ctx context.Context, s *session) {
	defer d.a.pool.release(d.r.NextHop, s)
	m := d.r.Message
	body, err := m.Open()
	if err != nil {
		d.a.o.Log.Warningf("%s: %v", m.ID, err)
		d.note(&deliver.Status{Kind: deliver.Deferred, DSN: "4.3.0", Reason: "queue file read error", Relay: "none"})
		d.left = nil
		return
	}
	defer body.Close()
	if m.Envelope.SMTPUTF8 && !s.client.Extensions().SMTPUTF8 && d.needsUTF8(body) {
		d.fail(&deliver.Status{
			Kind: deliver.Bounced, DSN: "5.6.7", Relay: s.target.relay, Setup: s.setup,
			Reason: "SMTPUTF8 is required, but was not offered by host " + s.target.label,
		})
		return
	}
	outcomes := s.client.Send(ctx, d.transaction(body))
	if s.kept && stale(s, outcomes) {
		return
	}
	if s.kept {
		d.tried = s.target.address
	}
	d.record(s, outcomes)
}

// stale reports whether a session was dead before the transaction began: the
// server had closed it, or wanted to, as the answer to MAIL.
func stale(s *session, outcomes []smtpc.Outcome) bool {
	if s.client.Usable() {
		return false
	}
	for _, o := range outcomes {
		if o.Phase != smtpc.Mail && o.Phase != smtpc.Rset {
			return false
		}
		if o.Err != nil && o.Err.Kind != smtpc.Lost || o.Err == nil && o.Reply.Code != 421 {
			return false
		}
	}
	return true
}

// transaction is the request in the terms of the client.
func (d *delivery) transaction(body spool.Body) *smtpc.Transaction {
	m := d.r.Message
	e := &m.Envelope
	tx := &smtpc.Transaction{
		Sender:     e.Sender,
		Recipients: make([]smtpc.Recipient, len(d.left)),
		Body:       body,
		Size:       m.Size,
		EightBit:   e.EightBit,
		SMTPUTF8:   e.SMTPUTF8,
		EnvID:      e.EnvID,
		Ret:        e.Ret,
	}
	for n, i := range d.left {
		r := d.r.Recipients[i]
		to := &tx.Recipients[n]
		to.Address = r.Address
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
			status = answered(s.target, o)
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

// needsUTF8 reports whether the message cannot do without SMTPUTF8: an address
// or a header has octets beyond ASCII (RFC 6531, 3.2).
func (d *delivery) needsUTF8(body io.WriterTo) bool {
	if hasUTF8(d.r.Message.Envelope.Sender) {
		return true
	}
	for _, i := range d.left {
		if hasUTF8(d.r.Recipients[i].Address) {
			return true
		}
	}
	h := &headerScan{empty: true}
	if _, err := body.WriteTo(h); err != nil && !errors.Is(err, errHeaderEnd) {
		return true
	}
	return h.utf8
}

func hasUTF8(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return true
		}
	}
	return false
}

// errHeaderEnd stops the writer of a text behind its headers.
var errHeaderEnd = errors.New("end of headers")

// headerScan looks for octets beyond ASCII in the headers of a text that is
// written to it.
type headerScan struct {
	utf8  bool
	empty bool // the line has no octet yet
}

func (h *headerScan) Write(p []byte) (int, error) {
	for i, c := range p {
		switch {
		case c >= 0x80:
			h.utf8 = true
			return i, errHeaderEnd
		case c == '\n' && h.empty:
			return i, errHeaderEnd
		}
		h.empty = c == '\n'
	}
	return len(p), nil
}
