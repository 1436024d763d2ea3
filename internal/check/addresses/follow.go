package addresses

import (
	"context"
	"errors"
	"strings"

	"postern/internal/address"
	"postern/internal/origin"
	"postern/internal/route"
)

// maxForwards bounds the messages that local aliases make of one.
const maxForwards = 50

// hop is one row on the way: an alias, a canonical mapping, a list of aliases(5).
type hop struct {
	parameter string
	table     string
	key       string   // that was found
	from      string   // the address that was looked up, internal form
	raw       string   // what the row says
	to        []string // the addresses that it leads to, folded
	at        []origin.At
	prev      *hop // the row that led here, nil: the address was given
}

// end is where a path comes to an end.
type end struct {
	address   address.Address
	by        *hop   // the last row on the way, nil: the address was given
	sender    string // the address that this row was asked for
	class     route.Class
	res       route.Resolution
	refusal   string // why mail for it bounces or waits; "": it does not
	permanent bool
	err       error // it could not be resolved
}

// path is where an address leads.
type path struct {
	given address.Address // completed
	hops  []*hop
	ends  []end
	loop  []*hop // the rows that lead back to themselves, or beyond a limit
	limit string // which limit; "": a circle
	grown string // what the loop makes of its first address; "": the same again
	// failed: a table could not answer, and nothing can be said.
	failed bool

	messages int
	onTheWay []forwarder
}

// forwarder is a local recipient that sent the message on, and the row that led to it.
type forwarder struct {
	name string
	by   *hop
}

// follow follows an address that is complete to its ends.
func (g *graph) follow(ctx context.Context, a address.Address) *path {
	p := &path{given: a}
	g.expand(ctx, p, a, nil)
	return p
}

// expand follows one message; by is the row that sent it on.
func (g *graph) expand(ctx context.Context, p *path, a address.Address, by *hop) {
	if p.messages++; p.messages > maxForwards {
		return
	}
	given, tr := []route.Recipient{{Address: a, Original: a.Internal()}}, &route.Trace{}
	list, err := g.shallow.Expand(ctx, given, tr)
	hops := hopsOf(tr, by)
	if isNesting(err) {
		if p.loop, p.grown = endless(hops); p.loop != nil {
			p.hops = append(p.hops, hops...)
			return
		}
		tr = &route.Trace{}
		list, err = g.router.Expand(ctx, given, tr)
		hops = hopsOf(tr, by)
	}
	p.hops = append(p.hops, hops...)
	p.loop = append(p.loop, endlessRewriting(hops)...)
	if err != nil {
		var e *route.ExpansionError
		if !errors.As(err, &e) || e.Err != nil {
			p.failed = true
			return
		}
		p.loop, p.limit = circle(hops, e)
		return
	}
	for _, r := range list {
		last := by
		sender := a.Internal()
		if by != nil {
			sender = by.from
		}
		if n := len(r.Via); n > 0 {
			sender = r.Via[n-1]
			last = find(hops, "virtual_alias_maps", sender)
		} else if n := len(hops); n > 0 && isCanonical(hops[n-1].parameter) {
			last, sender = hops[n-1], hops[n-1].from
		}
		g.arrive(ctx, p, r.Address, last, sender)
	}
}

// arrive looks at a final address of an expansion. A local one may be sent on.
func (g *graph) arrive(ctx context.Context, p *path, a address.Address, by *hop, sender string) {
	e := end{address: a, by: by, sender: sender}
	e.res, e.refusal, e.permanent, e.err = g.router.Final(ctx, a, nil)
	var f *route.Failure
	if errors.As(e.err, &f) {
		p.failed = true
		return
	}
	e.class = e.res.Class
	if e.err == nil && e.refusal == "" && e.class == route.Local && e.res.Transport == "local" {
		g.local(ctx, p, e)
		return
	}
	p.ends = append(p.ends, e)
}

// local follows aliases(5) and .forward files of a local recipient.
func (g *graph) local(ctx context.Context, p *path, e end) {
	a := e.res.Address
	me := address.Fold(a.Internal())
	for _, f := range p.onTheWay {
		if f.name == me { // the message has Delivered-To: of this recipient already
			p.loop = back(e.by, f.by)
			return
		}
	}
	tr := &route.Trace{}
	targets, err := g.router.LocalTargets(ctx, a, tr)
	hops := hopsOf(tr, e.by)
	p.hops = append(p.hops, hops...)
	if err != nil {
		g.localFailure(p, e, hops, a, err)
		return
	}
	p.onTheWay = append(p.onTheWay, forwarder{me, e.by})
	defer func() { p.onTheWay = p.onTheWay[:len(p.onTheWay)-1] }()
	for _, t := range targets {
		switch t.Kind {
		case route.LocalForward:
			for _, to := range t.Forward {
				g.expand(ctx, p, g.router.Rewrite(address.Split(to)), naming(hops, to, e.by))
			}
		case route.LocalBounce:
			failed := address.Split(t.DeliveredTo)
			g.localFailure(p, e, hops, failed, &route.DeliveryError{DSN: t.DSN, Reason: t.Reason})
		default:
			p.ends = append(p.ends, e)
		}
	}
}

// localFailure notes that a local recipient, or a member of its alias, is nobody, or
// that its aliases are a circle. What is refused for other reasons, or waits, is the
// business of those who look at mailboxes.
func (g *graph) localFailure(p *path, e end, hops []*hop, failed address.Address, err error) {
	var d *route.DeliveryError
	if !errors.As(err, &d) || d.Temporary {
		return
	}
	if d.Member != "" {
		failed = address.Split(d.Member)
	}
	switch {
	case d.DSN == "5.4.6":
		if p.loop = cycle(hops); p.loop == nil {
			p.loop = hops
		}
	case d.DSN == "5.1.1" || d.DSN == "5.1.3":
		e.refusal, e.permanent = d.Reason, true
		if by := naming(hops, failed.Internal(), nil); by != nil {
			e.address, e.by, e.sender = failed, by, by.from
		}
		p.ends = append(p.ends, e)
	}
}

// hopsOf are the rows that a trace has followed, from the row by on.
func hopsOf(tr *route.Trace, by *hop) []*hop {
	var hops []*hop
	var last *route.Step
	makers := map[string]*hop{}
	for i := range tr.Steps {
		s := &tr.Steps[i]
		switch {
		case s.Op == "lookup" && s.Result != nil:
			last = s
		case (s.Op == "expand" || s.Op == "rewrite") && s.Error == "" && s.Result != nil:
			h := hopOf(s, last)
			if h.prev = makers[address.Fold(h.from)]; h.prev == nil {
				h.prev = by
			}
			for _, to := range h.to {
				if makers[to] == nil && to != address.Fold(h.from) {
					makers[to] = h
				}
			}
			hops = append(hops, h)
		}
	}
	return hops
}

// hopOf is the hop of a step; asked is the lookup before it.
func hopOf(s, asked *route.Step) *hop {
	h := &hop{parameter: s.Parameter, from: s.Key, raw: *s.Result}
	switch {
	case asked != nil && asked.Parameter == s.Parameter:
		h.table, h.key, h.raw, h.at = asked.Table, asked.Key, *asked.Result, places(*asked)
	case s.At != nil:
		h.at = []origin.At{*s.At}
	}
	targets, _ := address.ParseList(*s.Result) // what is wrong with it, the resolver has said
	for _, t := range targets {
		if s.Parameter == "alias_maps" {
			t.Domain = "" // names of local users
		}
		h.to = append(h.to, address.Fold(t.Internal()))
	}
	return h
}

// places are all places of an answer.
func places(s route.Step) []origin.At {
	if s.At == nil {
		return nil
	}
	return append([]origin.At{*s.At}, s.Also...)
}

// find is the last hop from an address.
func find(hops []*hop, parameter, from string) *hop {
	for i := len(hops) - 1; i >= 0; i-- {
		if hops[i].parameter == parameter && address.Fold(hops[i].from) == address.Fold(from) {
			return hops[i]
		}
	}
	return nil
}

// naming is the last hop whose row names an address, or its local part; else the last
// one that names a file with members; else the last one.
func naming(hops []*hop, member string, otherwise *hop) *hop {
	local := address.Fold(address.Split(member).Local)
	for _, text := range []string{local, ":include:", ""} {
		for i := len(hops) - 1; i >= 0; i-- {
			if strings.Contains(address.Fold(hops[i].raw), text) {
				return hops[i]
			}
		}
	}
	return otherwise
}

func isCanonical(parameter string) bool {
	return parameter == "canonical_maps" || parameter == "recipient_canonical_maps"
}
