package explain

import (
	"cmp"
	"context"
	"slices"

	"postern/internal/address"
	"postern/internal/route"
)

// maxForwards bounds how far messages that local aliases send on are followed.
const maxForwards = 10

// local follows aliases(5) of a local recipient. What becomes of the whole is what
// package deliver/local says: while one target waits, nothing is sent on.
func (w *walk) local(ctx context.Context, out Recipient, a address.Address) []Recipient {
	if w.been(a) {
		out.Reply = w.bounce("5.4.6", "mail forwarding loop for "+a.String())
		return []Recipient{out}
	}
	targets, err := w.x.Router.LocalTargets(ctx, a, w.tr)
	switch {
	case err != nil:
		w.undelivered(&out, err)
		return []Recipient{out}
	case len(targets) == 0:
		out.Reply = Reply{450, "4.3.5", "mail system configuration error: no target is left (an empty alias?)"}
		return []Recipient{out}
	}
	var all []Recipient
	var forwards []route.LocalTarget
	waits := false
	for _, t := range targets {
		if t.Kind == route.LocalForward {
			forwards = append(forwards, t)
			continue
		}
		one := w.target(ctx, out, t)
		waits = waits || one.Reply.Code >= 400 && one.Reply.Code < 500
		all = append(all, one)
	}
	via := append(out.Via[:len(out.Via):len(out.Via)], out.Address)
	if waits {
		return append(all, unsent(forwards, via, Reply{450, "4.3.0", "is sent on when the other members of the alias have their mail"})...)
	}
	return append(all, w.forwarded(ctx, forwards, via)...)
}

// unsent are the members that get no message, and why.
func unsent(forwards []route.LocalTarget, via []string, why Reply) []Recipient {
	var all []Recipient
	for _, t := range forwards {
		for _, to := range t.Forward {
			all = append(all, Recipient{Address: to, Via: via, Class: route.Default.String(), Reply: why})
		}
	}
	return all
}

// been reports whether the message was here before, in the form that a Delivered-To
// line of it shows.
func (w *walk) been(a address.Address) bool {
	return slices.Contains(w.passed, address.Fold(a.Internal()))
}

// target is one target that is no forward.
func (w *walk) target(ctx context.Context, out Recipient, t route.LocalTarget) Recipient {
	if member := address.Split(t.Recipient); w.been(member) {
		out.Reply = w.bounce("5.4.6", "mail forwarding loop for "+member.String())
		return out
	}
	switch t.Kind {
	case route.LocalMailbox:
		out.into(t.Mailbox)
	case route.LocalCommand:
		out.Reply = Reply{250, "2.0.0", "delivers to command: " + t.Command.Line}
	case route.LocalTransport:
		w.handOver(ctx, &out, t)
	case route.LocalDiscard:
		out.Reply = Reply{250, "2.0.0", t.Reason}
	case route.LocalBounce:
		if member := cmp.Or(t.DeliveredTo, out.Address); member != out.Address {
			out.Address, out.Via = member, append(out.Via[:len(out.Via):len(out.Via)], out.Address)
		}
		out.Reply = w.bounce(cmp.Or(t.DSN, "5.0.0"), t.Reason)
	default:
		out.Reply = Reply{450, cmp.Or(t.DSN, "4.0.0"), t.Reason}
	}
	return out
}

// handOver is mailbox_transport and fallback_transport.
func (w *walk) handOver(ctx context.Context, out *Recipient, t route.LocalTarget) {
	out.Transport, out.NextHop = t.Transport, cmp.Or(t.NextHop, out.NextHop)
	out.TransportBy, out.NextHopBy, out.TransportAt = "", "", nil
	to := address.Split(cmp.Or(t.Recipient, out.Address))
	switch w.x.program(t.Transport) {
	case "":
		out.Reply = Reply{450, "4.3.0", "mail transport unavailable"}
	case "error":
		out.Reply = w.returned(route.Resolution{Transport: t.Transport, NextHop: out.NextHop})
	case "discard":
		out.Reply = Reply{250, "2.0.0", "accepted and dropped"}
	case "virtual":
		w.virtual(ctx, out, to)
	default:
		out.Reply = Reply{250, "2.0.0", "to " + out.Transport + ", next hop " + out.NextHop}
	}
}

// forwarded says where the new messages go that members of an alias get. When the
// recipients of one cannot be worked out, all of them wait.
func (w *walk) forwarded(ctx context.Context, forwards []route.LocalTarget, via []string) []Recipient {
	if len(w.passed) >= maxForwards {
		return unsent(forwards, via, Reply{250, "2.0.0", "is sent on, which is not followed any further"})
	}
	messages := make([][]route.Recipient, len(forwards))
	for i, t := range forwards {
		var given []route.Recipient
		for _, to := range t.Forward {
			given = append(given, route.Recipient{Address: address.Split(to)})
		}
		var err error
		if messages[i], err = w.x.Router.Expand(ctx, given, w.tr.Apart()); err != nil {
			return unsent(forwards, via, Reply{450, "4.3.0", err.Error()})
		}
	}
	var all []Recipient
	for i, t := range forwards {
		// The steps of its lookups are those of another message.
		next := &walk{x: w.x, sender: w.sender, tr: w.tr.Apart(),
			passed: append(w.passed[:len(w.passed):len(w.passed)], address.Fold(t.DeliveredTo))}
		if t.Sender != "" {
			next.sender = address.Split(t.Sender)
		}
		for _, r := range messages[i] {
			r.Via = append(via[:len(via):len(via)], r.Via...)
			all = append(all, next.final(ctx, r)...)
		}
	}
	return all
}
