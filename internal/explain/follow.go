package explain

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"postern/internal/access"
	"postern/internal/address"
	"postern/internal/config"
	"postern/internal/route"
	"postern/internal/smtp"
)

// follow follows an accepted address to its mailboxes.
func (x *Explainer) follow(ctx context.Context, e *Explanation, request *access.Request, actions []access.Action, tr *route.Trace) {
	for _, stage := range []func(context.Context, *access.Request) access.Verdict{x.Policy.Data, x.Policy.EndOfData} {
		v := stage(ctx, request)
		if !v.Reply.IsZero() {
			e.refusedLater(toReply(x.soften(v.Reply)))
			return
		}
		actions = append(actions, v.Actions...)
	}
	for _, a := range actions {
		e.Actions = append(e.Actions, strings.TrimSpace(a.Verb+" "+a.Text))
	}
	if slices.ContainsFunc(actions, func(a access.Action) bool { return a.Verb == "DISCARD" }) {
		return
	}
	sender, list, err := x.expand(ctx, request.Recipient, actions, tr)
	if err != nil {
		var ee *route.ExpansionError
		reply, text := Reply{451, "4.3.0", "Error: queue file write error"}, err.Error()
		if errors.As(err, &ee) {
			reply, text = toReply(ee.Reply), ee.Reply.String()+" at the end of the message: "+ee.Text
		}
		e.refusedLater(reply)
		tr.Failed("expand", "virtual_alias_maps", request.Recipient.Internal(), text)
		return
	}
	w := &walk{x: x, sender: sender, tr: tr}
	for _, r := range list {
		from := tr.Len()
		for _, one := range w.final(ctx, r) {
			one.from, one.to = from, tr.Len()
			e.Recipients = append(e.Recipients, one)
			from = tr.Len()
		}
	}
}

func (e *Explanation) refusedLater(r Reply) { e.After = &r }

// expand works out sender and recipients as at the end of the message: see
// package intake.
func (x *Explainer) expand(ctx context.Context, given address.Address, actions []access.Action, tr *route.Trace) (address.Address, []route.Recipient, error) {
	if _, _, err := x.Router.Classify(ctx, x.Router.Rewrite(given).Domain, tr); err != nil {
		return x.Sender, nil, err
	}
	all := []route.Recipient{{Address: given, Original: given.Internal()}}
	for _, a := range actions {
		if a.Verb == "BCC" {
			to := address.Split(a.Text)
			all = append(all, route.Recipient{Address: to, Original: to.Internal()})
		}
	}
	if slices.Contains(x.Settings.List("receive_override_options"), "no_address_mappings") {
		return x.Router.Rewrite(x.Sender), x.redirect(x.Router.Complete(all), actions), nil
	}
	sender, err := x.Router.Sender(ctx, x.Sender, tr)
	if err != nil {
		return sender, nil, err
	}
	list, err := x.Router.ExpandWithSender(ctx, sender, all, tr)
	return sender, x.redirect(list, actions), err
}

// redirect is the access action REDIRECT: one recipient in the place of all.
func (x *Explainer) redirect(list []route.Recipient, actions []access.Action) []route.Recipient {
	for _, a := range slices.Backward(actions) {
		if a.Verb == "REDIRECT" && len(list) > 0 {
			one := list[0]
			one.Address = x.Router.Rewrite(address.Split(a.Text))
			return []route.Recipient{one}
		}
	}
	return list
}

// walk follows the recipients of one message to what the agents do.
type walk struct {
	x      *Explainer
	sender address.Address
	tr     *route.Trace
	passed []string // local recipients on the way here, folded: what Delivered-To lines say
}

// final says how one final recipient leaves. A local alias may make several
// of one.
func (w *walk) final(ctx context.Context, r route.Recipient) []Recipient {
	out := Recipient{Address: r.Address.Internal(), Via: r.Via}
	res, err := w.x.Router.Resolve(ctx, r.Address, w.sender, w.tr)
	if err != nil {
		out.Class, out.Cause = route.Default.String(), err.Error()
		out.Reply = w.unresolved(err)
		return []Recipient{out}
	}
	out.Address = res.Address.Internal()
	out.Class, out.Transport, out.NextHop = res.Class.String(), res.Transport, res.NextHop
	out.TransportBy, out.NextHopBy, out.TransportAt = res.TransportBy, res.NextHopBy, placeOf(res.TransportAt)
	if out.TransportAt == nil && out.TransportBy != "" {
		out.TransportAt = placeOf(w.x.Settings.Value(out.TransportBy).At)
	}
	if w.x.noticeSender(res) {
		out.Transport, out.NextHop, out.TransportBy, out.NextHopBy = "discard", "undeliverable postmaster notification discarded", "", ""
	}
	switch w.x.program(out.Transport) {
	case "":
		out.Reply = Reply{450, "4.3.0", "mail transport unavailable"}
	case "error":
		out.Reply = w.returned(res)
	case "discard":
		out.Reply = Reply{250, "2.0.0", "accepted and dropped"}
	case "virtual":
		w.virtual(ctx, &out, res.Address)
	case "local":
		return w.local(ctx, out, res.Address)
	default:
		out.Reply = Reply{250, "2.0.0", "to " + res.Transport + ", next hop " + res.NextHop}
	}
	return []Recipient{out}
}

// noticeSender reports whether mail is for the sender of our own notices
// (double_bounce_sender), and so for nobody: the queue drops it.
func (x *Explainer) noticeSender(res route.Resolution) bool {
	own := address.Split(x.Settings.String("double_bounce_sender"))
	domain := cmp.Or(own.Domain, x.Settings.String("myhostname"))
	return strings.EqualFold(res.Address.Local, own.Local) &&
		(res.Class == route.Local || strings.EqualFold(res.Address.Domain, domain))
}

// unresolved is the fate of a recipient that cannot be resolved from the queue.
func (w *walk) unresolved(err error) Reply {
	var syntax *route.SyntaxError
	if errors.As(err, &syntax) {
		return w.bounce("5.1.3", "bad address syntax")
	}
	return Reply{450, "4.3.0", "address resolver failure"}
}

func (w *walk) bounce(dsn, text string) Reply { return w.x.bounce(dsn, text) }

// bounce is a failure for good, which soft_bounce makes one for now.
func (x *Explainer) bounce(dsn, text string) Reply {
	if x.Settings.Bool("soft_bounce") {
		return Reply{450, "4" + dsn[1:], text}
	}
	return Reply{550, dsn, text}
}

// returned is what the services error and retry say: the text of the next hop.
func (w *walk) returned(res route.Resolution) Reply {
	class := "5"
	if res.Transport == "retry" {
		class = "4"
	}
	dsn, text := smtp.SplitEnhanced(res.NextHop, class+".0.0")
	text = cmp.Or(strings.TrimSpace(text), "Address is undeliverable")
	if class == "4" {
		return Reply{450, class + dsn[1:], text}
	}
	return w.bounce(class+dsn[1:], text)
}

// program is what a transport runs (master.cf), "" when there is no such service.
func (x *Explainer) program(transport string) string {
	services := x.Settings.Services()
	i := slices.IndexFunc(services, func(m config.Service) bool { return m.Name == transport && m.Type == "unix" })
	if i < 0 {
		return ""
	}
	return services[i].Command
}

func (w *walk) virtual(ctx context.Context, out *Recipient, a address.Address) {
	box, err := w.x.Router.VirtualMailbox(ctx, a, w.tr)
	if err != nil {
		w.undelivered(out, err)
		return
	}
	out.into(box)
	out.UIDAt, out.GIDAt = w.tr.Place("virtual_uid_maps"), w.tr.Place("virtual_gid_maps")
}

// into puts the mail into a mailbox.
func (r *Recipient) into(box route.Mailbox) {
	r.Mailbox, r.UID, r.GID = box.Display(), &box.UID, &box.GID
	text := "delivers to mailbox"
	switch r.Format = "mbox"; {
	case box.Format == route.Maildir:
		r.Format, text = "maildir", "delivers to maildir"
	case box.File:
		text = "delivers to file: " + box.Path
	}
	r.Reply = Reply{250, "2.0.0", text}
}

// undelivered puts the fate of a recipient into the form of a reply.
func (w *walk) undelivered(out *Recipient, err error) {
	var d *route.DeliveryError
	switch {
	case !errors.As(err, &d):
		out.Reply = Reply{450, "4.3.0", err.Error()}
		return
	case d.Temporary:
		out.Reply = Reply{450, d.DSN, d.Reason}
	default:
		out.Reply = w.bounce(d.DSN, d.Reason)
	}
	if d.Err != nil {
		out.Cause = d.Err.Error()
	}
}
