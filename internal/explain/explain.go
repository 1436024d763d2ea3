// Package explain says where an address goes and why: the class of its domain,
// what a client is told at RCPT, every lookup on the way, and the final
// recipients with transport, next hop or mailbox.
//
// It asks the same route.Router and access.Policy as the running server, with a
// trace attached; there is no second implementation to disagree with the first.
//
// It imports access, address, origin, route and smtp.
package explain

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"strings"

	"postern/internal/access"
	"postern/internal/address"
	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/route"
	"postern/internal/smtp"
)

// Explanation is the answer for one address, in the JSON form of the command.
type Explanation struct {
	Address     string            `json:"address"`
	Normalized  string            `json:"normalized"`
	Class       string            `json:"class"`
	ClassReason ClassReason       `json:"class_reason"`
	Reply       Reply             `json:"reply"`
	Steps       []route.Step      `json:"steps"`
	Recipients  []Recipient       `json:"recipients"`
	Findings    []finding.Finding `json:"findings"`
}

// ClassReason is the list that decided the class, and lists of lower
// precedence that match as well.
type ClassReason struct {
	Parameter string     `json:"parameter"`
	Table     string     `json:"table,omitempty"`
	Key       string     `json:"key,omitempty"`
	At        *origin.At `json:"at,omitempty"`
	Also      []Also     `json:"also"`
}

// Also is a list that matches but lost.
type Also struct {
	Class     string    `json:"class"`
	Parameter string    `json:"parameter"`
	At        origin.At `json:"at"`
}

// Reply is an SMTP reply, or the verdict at delivery in the same form.
type Reply struct {
	Code     int    `json:"code"`
	Enhanced string `json:"enhanced"`
	Text     string `json:"text"`
}

// Recipient is a final recipient.
type Recipient struct {
	Address   string   `json:"address"`
	Via       []string `json:"via"`
	Class     string   `json:"class"`
	Transport string   `json:"transport"`
	NextHop   string   `json:"nexthop"`
	Mailbox   string   `json:"mailbox"`
	Reply     Reply    `json:"reply"`
}

// Explainer explains addresses under one configuration.
type Explainer struct {
	Dir    string // configuration directory; places below it are shown relative to it
	Router *route.Router
	Policy *access.Policy
	Sender address.Address // envelope sender of the imagined message
	// Local asks as for mail from this host: whether a client may relay does not
	// matter, only whether the recipient exists.
	Local bool
}

// outside is a client that no mynetworks lists (RFC 5737).
var outside = netip.MustParseAddr("203.0.113.1")

// Explain explains one address as a client would give it at RCPT.
func (x *Explainer) Explain(ctx context.Context, text string) (Explanation, error) {
	given, err := address.Parse(strings.Trim(text, "<>"))
	if err != nil || given.IsNull() {
		e := Explanation{Address: text, Class: route.Default.String(), Reply: Reply{501, "5.1.3", "Bad recipient address syntax"}}
		return e.finish(x.Dir), nil
	}
	tr := &route.Trace{}
	e := Explanation{Address: text}
	rewritten := x.Router.Rewrite(given)
	e.Normalized = address.Fold(rewritten.String())
	x.class(ctx, &e, rewritten)

	e.Reply = Reply{250, "2.1.5", "Ok"}
	if r := x.verdict(ctx, given, tr); !r.IsZero() {
		e.Reply = toReply(r)
	}
	if e.Reply.Code < 300 {
		tr = &route.Trace{} // what follows asks everything again, in the order of delivery
		x.recipients(ctx, &e, given, tr)
	}
	e.Steps = tr.Steps
	return e.finish(x.Dir), nil
}

// verdict is what a client is told at RCPT.
func (x *Explainer) verdict(ctx context.Context, given address.Address, tr *route.Trace) smtp.Reply {
	if x.Local {
		return x.Router.CheckRecipient(ctx, x.Sender, given, tr).Reply
	}
	return x.Policy.Rcpt(ctx, &access.Request{
		Where: "RCPT", ClientName: "unknown", ClientAddr: outside, Helo: "client.example",
		Sender: x.Sender, HasSender: true, SMTPUTF8: true, Recipient: given, HasRcpt: true,
	}, tr).Reply
}

func toReply(r smtp.Reply) Reply {
	return Reply{r.Code, r.Enhanced, strings.ReplaceAll(r.Text, "\n", " ")}
}

// class fills in the class of the address as given. When a list of higher
// precedence fails, the class is that of the lists that work: the reply tells of
// the failure.
func (x *Explainer) class(ctx context.Context, e *Explanation, a address.Address) {
	class, why, err := x.Router.Classify(ctx, a.Domain, nil)
	listed := x.Router.Listed(ctx, a.Domain)
	if err != nil && len(listed) > 0 {
		class, why = listed[0].Class, listed[0]
	}
	e.Class = class.String()
	e.ClassReason = ClassReason{Parameter: why.Parameter, Table: why.Table, Key: why.Key}
	if !why.At.IsZero() {
		e.ClassReason.At = &why.At
	}
	for _, w := range listed {
		if w.Class > class {
			e.ClassReason.Also = append(e.ClassReason.Also, Also{w.Class.String(), w.Parameter, w.At})
		}
	}
}

// recipients follows the address to its mailboxes.
func (x *Explainer) recipients(ctx context.Context, e *Explanation, given address.Address, tr *route.Trace) {
	if _, _, err := x.Router.Classify(ctx, x.Router.Rewrite(given).Domain, tr); err != nil {
		return
	}
	list, err := x.Router.ExpandWithSender(ctx, x.Sender, []route.Recipient{{Address: given, Original: given.Internal()}}, tr)
	if err != nil {
		var ee *route.ExpansionError
		text := err.Error()
		if errors.As(err, &ee) {
			text = ee.Reply.String() + " at the end of the message: " + ee.Text
		}
		tr.Steps = append(tr.Steps, route.Step{Op: "expand", Parameter: "virtual_alias_maps", Key: given.Internal(), Error: text})
		return
	}
	for _, r := range list {
		e.Recipients = append(e.Recipients, x.final(ctx, r, tr)...)
	}
}

// final says how one final recipient leaves. A local alias may make several
// of one.
func (x *Explainer) final(ctx context.Context, r route.Recipient, tr *route.Trace) []Recipient {
	out := Recipient{Address: r.Address.Internal(), Via: r.Via}
	res, err := x.Router.Resolve(ctx, r.Address, x.Sender, tr)
	if err != nil {
		out.Class = route.Default.String()
		out.Reply = toReply(route.FailureReply(r.Address, "Recipient address", err))
		return []Recipient{out}
	}
	out.Class, out.Transport, out.NextHop = res.Class.String(), res.Transport, res.NextHop
	out.Reply = Reply{250, "2.0.0", "to " + res.Transport + ", next hop " + res.NextHop}
	switch res.Transport {
	case "error":
		dsn, text := smtp.SplitEnhanced(res.NextHop, "5.0.0")
		out.Reply = Reply{550, dsn, text}
	case "retry":
		dsn, text := smtp.SplitEnhanced(res.NextHop, "4.0.0")
		out.Reply = Reply{450, dsn, text}
	case "discard":
		out.Reply.Text = "accepted and dropped"
	case "virtual":
		x.virtual(ctx, &out, res.Address, tr)
	case "local":
		return x.local(ctx, out, res.Address, tr)
	}
	return []Recipient{out}
}

func (x *Explainer) virtual(ctx context.Context, out *Recipient, a address.Address, tr *route.Trace) {
	box, err := x.Router.VirtualMailbox(ctx, a, tr)
	if err != nil {
		out.Reply = deliveryReply(err)
		return
	}
	out.Mailbox, out.Reply.Text = box.Display(), delivers(box)
}

func delivers(b route.Mailbox) string {
	switch {
	case b.Format == route.Maildir:
		return "delivers to maildir"
	case b.File:
		return "delivers to file: " + b.Path
	}
	return "delivers to mailbox"
}

// local follows aliases(5) of a local recipient.
func (x *Explainer) local(ctx context.Context, out Recipient, a address.Address, tr *route.Trace) []Recipient {
	targets, err := x.Router.LocalTargets(ctx, a, tr)
	if err != nil {
		out.Reply = deliveryReply(err)
		return []Recipient{out}
	}
	var all []Recipient
	via := append(out.Via[:len(out.Via):len(out.Via)], out.Address)
	for _, t := range targets {
		one := out
		switch t.Kind {
		case route.LocalMailbox:
			one.Mailbox, one.Reply.Text = t.Mailbox.Display(), delivers(t.Mailbox)
		case route.LocalCommand:
			one.Reply.Text = "delivers to command: " + t.Command.Line
		case route.LocalTransport:
			one.Transport, one.NextHop = t.Transport, cmp.Or(t.NextHop, out.NextHop)
			one.Reply.Text = "to " + one.Transport + ", next hop " + one.NextHop
		case route.LocalForward:
			for _, f := range t.Forward {
				all = append(all, x.forwarded(ctx, f, via)...)
			}
			continue
		case route.LocalDiscard:
			one.Reply.Text = t.Reason
		case route.LocalBounce:
			one.Reply = Reply{550, t.DSN, t.Reason}
		case route.LocalDefer:
			one.Reply = Reply{450, t.DSN, t.Reason}
		}
		all = append(all, one)
	}
	return all
}

// forwarded says where an alias member outside the mailbox goes: one step, for
// what it leads to is another message.
func (x *Explainer) forwarded(ctx context.Context, to string, via []string) []Recipient {
	list, err := x.Router.Expand(ctx, []route.Recipient{{Address: address.Split(to)}}, nil)
	if err != nil {
		return []Recipient{{Address: to, Via: via, Class: route.Default.String(), Reply: Reply{451, "4.6.0", err.Error()}}}
	}
	var all []Recipient
	for _, r := range list {
		one := Recipient{Address: r.Address.Internal(), Via: via}
		res, err := x.Router.Resolve(ctx, r.Address, x.Sender, nil)
		if err != nil {
			one.Class, one.Reply = route.Default.String(), toReply(route.FailureReply(r.Address, "Recipient address", err))
			all = append(all, one)
			continue
		}
		one.Class, one.Transport, one.NextHop = res.Class.String(), res.Transport, res.NextHop
		one.Reply = Reply{250, "2.0.0", "forwarded to " + res.Transport + ", next hop " + res.NextHop}
		if res.Transport == "virtual" {
			x.virtual(ctx, &one, res.Address, nil)
		}
		all = append(all, one)
	}
	return all
}

// deliveryReply puts the fate of a recipient into the form of a reply.
func deliveryReply(err error) Reply {
	var d *route.DeliveryError
	if !errors.As(err, &d) {
		return Reply{450, "4.3.0", err.Error()}
	}
	if d.Temporary {
		return Reply{450, d.DSN, d.Reason}
	}
	return Reply{550, d.DSN, d.Reason}
}

// finish fills empty lists, which JSON consumers expect to be there, and shows
// places relative to the configuration directory.
func (e Explanation) finish(dir string) Explanation {
	if e.Steps == nil {
		e.Steps = []route.Step{}
	}
	if e.Recipients == nil {
		e.Recipients = []Recipient{}
	}
	if e.ClassReason.Also == nil {
		e.ClassReason.Also = []Also{}
	}
	if e.Findings == nil {
		e.Findings = []finding.Finding{}
	}
	relative := func(at *origin.At) {
		if at != nil {
			*at = at.RelativeTo(dir)
		}
	}
	relative(e.ClassReason.At)
	for i := range e.ClassReason.Also {
		relative(&e.ClassReason.Also[i].At)
	}
	for i := range e.Steps {
		if at := e.Steps[i].At; at != nil {
			c := at.RelativeTo(dir)
			e.Steps[i].At = &c
		}
		also := make([]origin.At, 0, len(e.Steps[i].Also))
		for _, at := range e.Steps[i].Also {
			also = append(also, at.RelativeTo(dir))
		}
		e.Steps[i].Also = also
	}
	for i := range e.Recipients {
		if e.Recipients[i].Via == nil {
			e.Recipients[i].Via = []string{}
		}
	}
	return e
}

// ExitStatus is the exit status of the explain command for this answer: 0 for
// 2xx, 1 for 5xx, 2 for 4xx.
func (e Explanation) ExitStatus() int {
	switch {
	case e.Reply.Code < 400:
		return 0
	case e.Reply.Code < 500:
		return 2
	}
	return 1
}
