// Package explain says where an address goes and why: the class of its domain,
// what a client is told at RCPT, every lookup on the way, and the final
// recipients with transport, next hop or mailbox.
//
// It asks the same route.Router and access.Policy as the running server, with a
// trace attached; there is no second implementation to disagree with the first.
//
// An Explanation is made in this order, which is also that of its steps:
//
//	class       all four domain lists are asked, also those that lose
//	reply       the policy is asked as for a client from outside without AUTH
//	expansion   canonical mapping, aliases, copies: as at the end of the message
//	recipients  transport and next hop of each, and what its agent would do
//	judgement   what the findings, once they are there, come to for a recipient
//
// When the reply is a refusal, the steps are those of the reply and there are no
// recipients. Otherwise they are those of the expansion and the recipients, in
// which nearly every question of the reply comes up again; the rows that do not (of
// access tables, of tables that say who exists) stand before them.
//
// Print writes it for people, the JSON form is that of the explain command.
//
// Limits: what milters, policy servers and other hosts would say is not known. A
// message that an alias sends on is followed, up to a depth of 10.
//
// It imports access, address, config, finding, origin, route, smtp and
// golang.org/x/net/idna.
package explain

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"postern/internal/access"
	"postern/internal/address"
	"postern/internal/config"
	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/route"
	"postern/internal/smtp"
)

// Explanation is the answer for one address, in the JSON form of the command.
type Explanation struct {
	Address     string      `json:"address"`
	Normalized  string      `json:"normalized"`
	Extension   string      `json:"extension,omitempty"` // with its delimiter
	Class       string      `json:"class"`
	ClassReason ClassReason `json:"class_reason"`
	Reply       Reply       `json:"reply"`
	// Actions are what access tables do to the message: "HOLD", "DISCARD", "BCC a@b.example".
	Actions []string `json:"actions,omitempty"`
	// After is what the client is told at the end of a message that was accepted at
	// RCPT, when it is refused then; nil: it is accepted.
	After      *Reply            `json:"after,omitempty"`
	Steps      []route.Step      `json:"steps"`
	Omitted    int               `json:"steps_omitted,omitempty"` // steps that go on in the same way
	Recipients []Recipient       `json:"recipients"`
	Findings   []finding.Finding `json:"findings"`

	atRcpt int // so many of the steps were asked at RCPT, and not again
}

// ClassReason is the list that decided the class, and lists of lower
// precedence that match as well.
type ClassReason struct {
	Parameter string     `json:"parameter"`
	Table     string     `json:"table,omitempty"`
	Key       string     `json:"key,omitempty"`
	At        *origin.At `json:"at,omitempty"`
	Also      []Also     `json:"also"`
	Lists     []List     `json:"lists,omitempty"`
}

// Also is a list that matches but lost.
type Also struct {
	Class     string    `json:"class"`
	Parameter string    `json:"parameter"`
	At        origin.At `json:"at"`
}

// List is what one domain list says, in the order in which they are asked.
type List struct {
	Parameter string     `json:"parameter"`
	Listed    bool       `json:"listed"`
	Table     string     `json:"table,omitempty"`
	Key       string     `json:"key,omitempty"`
	At        *origin.At `json:"at,omitempty"`
	Error     string     `json:"error,omitempty"`
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
	Cause     string   `json:"cause,omitempty"` // what is behind a reply that does not tell

	TransportBy string     `json:"transport_by,omitempty"` // the parameter that chose it
	TransportAt *origin.At `json:"transport_at,omitempty"`
	NextHopBy   string     `json:"nexthop_by,omitempty"` // the parameter; "": the domain itself
	Format      string     `json:"format,omitempty"`     // of the mailbox: "maildir" or "mbox"
	UID         *int       `json:"uid,omitempty"`        // owner of what is written
	GID         *int       `json:"gid,omitempty"`
	UIDAt       *origin.At `json:"uid_at,omitempty"`
	GIDAt       *origin.At `json:"gid_at,omitempty"`

	from, to int // its steps
}

// Explainer explains addresses under one configuration. It is safe for concurrent
// use.
type Explainer struct {
	Dir      string // configuration directory; places below it are shown relative to it
	Settings *config.Settings
	Router   *route.Router
	Policy   *access.Policy
	Sender   address.Address  // envelope sender of the imagined message
	Clock    func() time.Time // measures the lookups; nil: nothing is measured
}

// outside is a client that no mynetworks lists (RFC 5737).
var outside = netip.MustParseAddr("203.0.113.1")

// Explain explains one address as a client would give it at RCPT.
func (x *Explainer) Explain(ctx context.Context, text string) (Explanation, error) {
	tr := &route.Trace{Clock: x.Clock}
	e := x.answer(ctx, text, tr)
	e.Steps = tr.Steps
	e.withoutGrowth()
	x.number(e.Steps)
	return e.finish(x.Dir), nil
}

// Fate is Explain for those who only want to know what becomes of the address: reply
// and recipients. There are no steps and no reasons.
func (x *Explainer) Fate(ctx context.Context, text string) Explanation {
	return x.answer(ctx, text, nil)
}

// answer explains an address; without a trace it says no more than its fate.
func (x *Explainer) answer(ctx context.Context, text string, tr *route.Trace) Explanation {
	e := Explanation{Address: text, Class: route.Default.String(), Reply: Reply{501, "5.1.3", "Bad recipient address syntax"}}
	path, rest, err := smtp.ParsePath("TO:", "TO:<"+strings.TrimSuffix(strings.TrimPrefix(text, "<"), ">")+">", false)
	given := path.Address
	if err != nil || rest != "" || given.IsNull() {
		return e
	}
	if tr != nil {
		rewritten := x.Router.Rewrite(given)
		e.Normalized = address.Fold(rewritten.String())
		_, e.Extension = x.Router.Extension(address.Fold(rewritten.Local))
		x.class(ctx, &e, rewritten)
	}
	request := x.request(given)
	verdict := x.Policy.Rcpt(ctx, request, tr)
	e.Reply = Reply{250, "2.1.5", "Ok"}
	if !verdict.Reply.IsZero() {
		e.Reply = toReply(x.soften(verdict.Reply))
	}
	if e.Reply.Code < 300 {
		tr.Keep(ofRcpt) // what follows asks all else again, in the order of delivery
		e.atRcpt = tr.Len()
		x.follow(ctx, &e, request, verdict.Actions, tr)
		e.once(tr)
	}
	return e
}

// number says which of the tables of its parameter each step asked.
func (x *Explainer) number(steps []route.Step) {
	tables := map[string][]string{}
	for i := range steps {
		s := &steps[i]
		if s.Table == "" {
			continue
		}
		names, ok := tables[s.Parameter]
		if !ok {
			names = x.Router.Tables(s.Parameter)
			tables[s.Parameter] = names
		}
		s.Number = slices.Index(names, s.Table) + 1
	}
}

// ofRcpt reports whether a step has decided at RCPT, and what follows may not ask
// again: the row of an access table, or one that says that the recipient exists. Only
// virtual(8) and local(8) ask for that at delivery.
func ofRcpt(s route.Step) bool {
	return s.Op == "lookup" && s.Result != nil && (strings.HasPrefix(s.Parameter, "check_") || ofRecipients(s.Parameter))
}

// ofRecipients reports the parameters whose tables say who exists.
func ofRecipients(parameter string) bool {
	switch parameter {
	case "virtual_mailbox_maps", "relay_recipient_maps", "local_recipient_maps":
		return true
	}
	return false
}

// once takes those steps of RCPT away that came up again.
func (e *Explanation) once(tr *route.Trace) {
	if tr == nil {
		return
	}
	var kept []route.Step
	for n, s := range tr.Steps[:e.atRcpt] {
		same := func(other route.Step) bool {
			return other.Op == s.Op && other.Parameter == s.Parameter && other.Table == s.Table && other.Key == s.Key
		}
		if !slices.ContainsFunc(tr.Steps[e.atRcpt:], same) && !slices.ContainsFunc(tr.Steps[:n], same) {
			kept = append(kept, s)
		}
	}
	gone := e.atRcpt - len(kept)
	tr.Steps = append(kept, tr.Steps[e.atRcpt:]...)
	e.atRcpt = len(kept)
	for i := range e.Recipients {
		e.Recipients[i].from -= gone
		e.Recipients[i].to -= gone
	}
}

// request is RCPT of a client from outside.
func (x *Explainer) request(given address.Address) *access.Request {
	return &access.Request{
		Where: "RCPT", ClientName: "unknown", ClientAddr: outside, Helo: "client.example",
		Sender: x.Sender, HasSender: true, SMTPUTF8: true, Recipient: given, HasRcpt: true,
	}
}

// soften is soft_bounce.
func (x *Explainer) soften(r smtp.Reply) smtp.Reply {
	if x.Settings.Bool("soft_bounce") {
		return r.Soft()
	}
	return r
}

func toReply(r smtp.Reply) Reply {
	return Reply{r.Code, r.Enhanced, strings.ReplaceAll(r.Text, "\n", " ")}
}

// class fills in the class of the address as given. When a list of higher
// precedence fails, the class is that of the lists that work: the reply tells of
// the failure.
func (x *Explainer) class(ctx context.Context, e *Explanation, a address.Address) {
	class, why, err := x.Router.Classify(ctx, a.Domain, nil)
	lists := x.Router.Lists(ctx, a.Domain)
	if i := slices.IndexFunc(lists, func(l route.Listing) bool { return l.Listed }); err != nil && i >= 0 {
		class, why = lists[i].Class, lists[i].Why
	}
	e.Class = class.String()
	reason := &e.ClassReason
	*reason = ClassReason{Parameter: why.Parameter, Table: why.Table, Key: why.Key, At: placeOf(why.At)}
	for _, l := range lists {
		one := List{Parameter: l.Parameter, Listed: l.Listed, Table: l.Why.Table, Key: l.Why.Key, At: placeOf(l.Why.At)}
		if l.Err != nil {
			one.Error = l.Err.Error()
		}
		reason.Lists = append(reason.Lists, one)
		if l.Listed && l.Class > class {
			reason.Also = append(reason.Also, Also{l.Class.String(), l.Parameter, l.Why.At})
		}
	}
}

// placeOf is nil for a place that is not known.
func placeOf(at origin.At) *origin.At {
	if at.IsZero() {
		return nil
	}
	return &at
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
