package route_test

import (
	"context"
	"testing"

	"postern/internal/address"
	"postern/internal/route"
	"postern/internal/route/routetest"
)

// TestReasons: a resolution says which parameter chose transport and next hop.
func TestReasons(t *testing.T) {
	const base = `
virtual_alias_domains = alias.test
virtual_mailbox_domains = mbox.test
relay_domains = relay.test
transport_maps = inline:{ {a.test=smtp:[hop.test]} {b.test=smtp:} {c.test=:[hop.test]} {d.test=:} }
relocated_maps = inline:{gone@e.test=new@f.test}
sender_dependent_default_transport_maps = inline:{ann@s.test=slow:[slow.test]}
`
	for _, tt := range []struct{ main, sender, to, transport, nexthop string }{
		{"", "", "john@localhost", "local_transport", "local_transport"}, // local:$myhostname
		{"", "", "x@alias.test", "", ""},
		{"", "", "x@mbox.test", "virtual_transport", ""},
		{"virtual_transport = lmtp:unix:box", "", "x@mbox.test", "virtual_transport", "virtual_transport"},
		{"", "", "x@relay.test", "relay_transport", ""},
		{"relayhost = [out.test]", "", "x@relay.test", "relay_transport", "relayhost"},
		{"relayhost = [out.test]", "", "x@z.test", "default_transport", "relayhost"},
		{"sender_dependent_relayhost_maps = inline:{ann@t.test=[t.test]}", "ann@t.test", "x@z.test", "default_transport", "sender_dependent_relayhost_maps"},
		{"", "ann@s.test", "x@z.test", "sender_dependent_default_transport_maps", "sender_dependent_default_transport_maps"},
		{"", "", "x@a.test", "transport_maps", "transport_maps"},
		{"", "", "x@b.test", "transport_maps", ""},
		{"", "", "x@c.test", "default_transport", "transport_maps"},
		{"", "", "x@d.test", "default_transport", ""},
		{"", "", "gone@e.test", "relocated_maps", "relocated_maps"},
	} {
		w := routetest.New(t, base+tt.main)
		res, err := w.Router.Resolve(context.Background(), address.Split(tt.to), address.Split(tt.sender), nil)
		if err != nil || res.TransportBy != tt.transport || res.NextHopBy != tt.nexthop {
			t.Errorf("%s %s: by %q and %q, %v; want %q and %q", tt.main, tt.to, res.TransportBy, res.NextHopBy, err, tt.transport, tt.nexthop)
		}
	}
}

// TestLists: every list answers for itself, also those that lose or fail.
func TestLists(t *testing.T) {
	w := routetest.New(t, "mydestination = two.test\nvirtual_alias_domains = fail:x\nvirtual_mailbox_domains = two.test")
	got := w.Router.Lists(context.Background(), "two.test")
	if len(got) != 4 || !got[0].Listed || got[1].Err == nil || got[1].Listed || !got[2].Listed || got[3].Listed || got[3].Err != nil {
		t.Errorf("%+v", got)
	}
	if all := w.Router.Listed(context.Background(), "two.test"); len(all) != 2 || all[1].Class != route.VirtualMailbox {
		t.Errorf("listed %+v", all)
	}
}

// TestRefusedResult: the row whose result is too long is among the steps.
func TestRefusedResult(t *testing.T) {
	w := routetest.New(t, "virtual_alias_maps = inline:{a@b.test=123456789@c.test}\nvirtual_alias_address_length_limit = 10")
	tr := &route.Trace{}
	_, err := w.Router.Expand(context.Background(), []route.Recipient{{Address: address.Split("a@b.test")}}, tr)
	last := tr.Steps[tr.Len()-1]
	if err == nil || last.Op != "expand" || last.Result == nil || *last.Result != "123456789@c.test" || last.At == nil {
		t.Errorf("%v, last step %+v", err, last)
	}
}

// TestNoTrace: all that a trace can do, nothing does too.
func TestNoTrace(t *testing.T) {
	var none *route.Trace
	none.Keep(func(route.Step) bool { return true })
	none.Failed("expand", "p", "k", "why")
	if none.Len() != 0 || none.Place("p") != nil || none.Apart() != nil {
		t.Error("nil is something")
	}
	some := &route.Trace{}
	some.Failed("expand", "p", "k", "why")
	if some.Len() != 1 || some.Steps[0].Error != "why" || some.Place("p") != nil || some.Apart() == nil {
		t.Errorf("%+v", some.Steps)
	}
	if some.Keep(func(route.Step) bool { return false }); some.Len() != 0 {
		t.Errorf("kept %+v", some.Steps)
	}
}
