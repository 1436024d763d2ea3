package mailboxes

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"postern/internal/address"
	"postern/internal/explain"
	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/route"
	"postern/internal/table"
)

// destination is a service of master.cf with a next hop, to which mail goes.
type destination struct {
	service, nextHop string
	program          string // of the service; "": master.cf has no such service
	at               []origin.At
	written          string // the value as written, for messages: "virtual_transport = lmtp:unix:private/lmtp"
	users            []user // whose mail goes there
}

// user is a mailbox that the tables know.
type user struct {
	addr address.Address
	from *table.Entry // the row that knows it
}

// targets gathers destinations, each once.
type targets struct {
	x     *examination
	list  []*destination
	known map[string]*destination
}

// add notes that mail goes to a service and next hop. Services that need neither
// a socket nor a server are left out.
func (t *targets) add(service, nextHop, written string, at []origin.At) *destination {
	program, there := t.x.services[service]
	switch {
	case service == "":
		return nil
	case there && program != "lmtp" && (program != "smtp" || !strings.HasPrefix(nextHop, "unix:")):
		return nil
	case !there:
		nextHop = "" // one finding for the service
	}
	key := service + ":" + nextHop
	d := t.known[key]
	if d == nil {
		d = &destination{service: service, nextHop: nextHop, program: program, at: at, written: written}
		t.known[key] = d
		t.list = append(t.list, d)
		return d
	}
	d.at = withPlace(d.at, at...)
	return d
}

// withPlace adds places to those of a finding, each once, as many as a finding
// names.
func withPlace(list []origin.At, more ...origin.At) []origin.At {
	for _, at := range more {
		same := func(a origin.At) bool { return samePlace(a, at) && a.Parameter == at.Parameter }
		if len(list) < finding.MaxPlaces && !slices.ContainsFunc(list, same) {
			list = append(list, at)
		}
	}
	return list
}

// resolved adds the destination of an address.
func (t *targets) resolved(res *route.Resolution) *destination {
	if res == nil {
		return nil
	}
	written := res.Transport + ":" + res.NextHop
	if res.TransportAt.IsZero() && res.TransportBy != "" {
		written = res.TransportBy + " = " + t.x.i.Setup.Settings.String(res.TransportBy)
	} else if !res.TransportAt.IsZero() {
		written = cmp.Or(res.TransportBy, "transport_maps") + " says " + written
	}
	return t.add(res.Transport, res.NextHop, written, transportPlaces(t.x.i.Setup.Settings, res))
}

// parameter adds the destination that a parameter of local(8) names, and those in
// its table.
func (t *targets) parameter(ctx context.Context, name string) {
	s := t.x.i.Setup.Settings
	if v := s.Value(name); v.Text != "" {
		service, next, _ := strings.Cut(v.Text, ":")
		t.add(service, next, name+" = "+v.Text, oneAt(v.At))
	}
	t.table(ctx, name+"_maps")
}

// table adds the destinations in the rows of a table.
func (t *targets) table(ctx context.Context, parameter string) {
	for _, tab := range t.x.i.Of(ctx, parameter) {
		for _, e := range tab.Entries {
			if service, next, ok := strings.Cut(e.Value, ":"); ok && next != "" {
				t.add(service, next, parameter+" says "+e.Value, oneAt(e.At()))
			}
		}
	}
}

// everywhere are the destinations of all mail that this configuration has a rule
// for: that of its domains, and what tables of transports name.
func (x *examination) everywhere(ctx context.Context) []*destination {
	t := &targets{x: x, known: map[string]*destination{}}
	places, local := newPlaces(x.router), false
	for _, d := range x.i.Domains(ctx) {
		if ctx.Err() != nil {
			return nil
		}
		res := places.of(ctx, address.Address{Local: anyone, Domain: d.Name})
		t.resolved(res)
		local = local || res != nil && x.services[res.Transport] == "local"
	}
	t.table(ctx, "transport_maps")
	if local {
		t.parameter(ctx, "mailbox_transport")
		t.parameter(ctx, "fallback_transport")
	}
	rows(ctx, x.i, func(r row) {
		if d := t.resolved(places.of(ctx, r.addr)); d != nil && !r.all {
			d.users = append(d.users, user{r.addr, r.from})
		}
	})
	return t.list
}

// destinationsOf are those of the final recipients of an explained address.
func (x *examination) destinationsOf(ctx context.Context, e *explain.Explanation) []*destination {
	t := &targets{x: x, known: map[string]*destination{}}
	for _, r := range e.Recipients {
		a := address.Split(r.Address)
		res, err := x.router.Resolve(ctx, a, address.Address{}, nil)
		if err != nil {
			continue
		}
		if res.Transport == r.Transport {
			d, s := t.resolved(&res), mailboxRow(ctx, x.router, a)
			if d != nil && s != nil && res.Class == route.VirtualMailbox {
				d.users = append(d.users, user{a, entryOf(s)})
			}
			continue
		}
		// What local(8) hands on.
		for _, name := range []string{"mailbox_transport", "fallback_transport"} {
			if service, next, _ := strings.Cut(x.i.Setup.Settings.String(name), ":"); service == r.Transport {
				t.add(service, next, name, oneAt(x.i.Setup.Settings.Value(name).At))
			}
		}
	}
	return t.list
}

// entryOf is the row that gave an answer.
func entryOf(s *route.Step) *table.Entry {
	return &table.Entry{Key: s.Key, Value: *s.Result, Places: table.Place(*s.At)}
}

// mailboxRow is the answer of virtual_mailbox_maps for an address, nil when there is
// none.
func mailboxRow(ctx context.Context, r *route.Router, a address.Address) *route.Step {
	tr := &route.Trace{}
	_, _ = r.VirtualMailbox(ctx, a, tr) // only the steps count
	for n, s := range tr.Steps {
		if s.Op == "lookup" && s.Parameter == "virtual_mailbox_maps" && s.Result != nil && s.At != nil {
			return &tr.Steps[n]
		}
	}
	return nil
}

// oneAt is a list of one place.
func oneAt(at origin.At) []origin.At { return []origin.At{at} }
