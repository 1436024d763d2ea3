package local

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/deliver"
	"postern/internal/route"
)

func TestForward(t *testing.T) {
	far := route.LocalTarget{Kind: route.LocalForward, Forward: []string{"fred@remote.example", "two@remote.example"}}
	owned := route.LocalTarget{Kind: route.LocalForward, Forward: []string{"jill@remote.example"}, Sender: "owner-list@local.example"}
	forward := deliver.Forward{
		Sender: "sender@client.example", Recipients: far.Forward, Original: "team",
		Prepend: "Delivered-To: \"the list\"@local.example\n",
	}
	fromOwner := forward
	fromOwner.Sender, fromOwner.Recipients, fromOwner.Original = "owner-list@local.example", owned.Forward, ""
	expanded := status(deliver.Sent, "2.0.0", "forwarded")
	expanded.Reach = deliver.Expanded
	full := route.LocalTarget{Kind: route.LocalDefer, DSN: "4.2.0", Reason: "later"}
	refused := route.LocalTarget{Kind: route.LocalBounce, DSN: "5.7.1", Reason: "mail to command is restricted"}
	dropped := route.LocalTarget{Kind: route.LocalDiscard, Reason: "discarded"}
	with := func(s deliver.Status, forwards ...deliver.Forward) deliver.Status {
		s.Forwards = forwards
		return s
	}
	tests := []struct {
		name    string
		targets []route.LocalTarget
		want    deliver.Status
	}{
		{"alone", []route.LocalTarget{far}, with(expanded, forward)},
		{"two senders", []route.LocalTarget{far, owned}, with(expanded, forward, fromOwner)},
		{"with something else", []route.LocalTarget{far, dropped}, with(status(deliver.Sent, "2.0.0", "discarded"), forward)},
		{"not while something waits", []route.LocalTarget{far, refused, full}, status(deliver.Deferred, "4.2.0", "later")},
		{"though something is refused", []route.LocalTarget{refused, far}, with(status(deliver.Bounced, "5.7.1", "mail to command is restricted"), forward)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := deliverOne(t, newAgent(resolver{targets: tt.targets}, body, nil), "the list@local.example")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
		})
	}
}

// agent answers every recipient with its status and counts them.
type agent struct {
	status deliver.Status
	asked  []deliver.Request
}

func (a *agent) Deliver(_ context.Context, r *deliver.Request) []deliver.Status {
	a.asked = append(a.asked, *r)
	return []deliver.Status{a.status}
}

func TestTransport(t *testing.T) {
	other := &agent{status: deliver.Status{Kind: deliver.Sent, DSN: "2.1.5", Reason: "250 2.1.5 Ok", Relay: "mx[private/lmtp]"}}
	target := route.LocalTarget{Kind: route.LocalTransport, Transport: "lmtp", NextHop: "unix:private/lmtp"}
	a := newAgent(resolver{targets: []route.LocalTarget{target}}, body, func(o *Options) {
		o.Agent = func(name string) (deliver.Agent, bool) { return other, name == "lmtp" }
	})
	if diff := cmp.Diff(other.status, deliverOne(t, a, "team@local.example")); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	r := other.asked[0]
	if r.Transport != "lmtp" || r.NextHop != "unix:private/lmtp" || len(r.Recipients) != 1 || r.Recipients[0].Index != 3 {
		t.Errorf("the other agent was asked %+v", r)
	}
	target.Transport = "nosuch"
	for _, change := range []func(*Options){nil, func(o *Options) {
		o.Agent = func(string) (deliver.Agent, bool) { return nil, false }
	}} {
		got := deliverOne(t, newAgent(resolver{targets: []route.LocalTarget{target}}, body, change), "team@local.example")
		if diff := cmp.Diff(status(deliver.Deferred, "4.3.0", "mail transport unavailable"), got); diff != "" {
			t.Errorf("status (-want +got):\n%s", diff)
		}
	}
}

// TestTransportOfTwo: an alias of two users whose mail another transport delivers
// gives it both of them, once each.
func TestTransportOfTwo(t *testing.T) {
	other := &agent{status: deliver.Status{Kind: deliver.Sent, DSN: "2.0.0", Reason: "250 Ok"}}
	to := func(name string) route.LocalTarget {
		return route.LocalTarget{Kind: route.LocalTransport, Transport: "lmtp", NextHop: "unix:private/lmtp", Recipient: name + "@local.example"}
	}
	r := resolver{targets: []route.LocalTarget{to("john"), to("jack"), {Kind: route.LocalDefer, DSN: "4.2.0", Reason: "not now"}}}
	a := newAgent(r, body, func(o *Options) { o.Agent = func(string) (deliver.Agent, bool) { return other, true } })
	for range 2 {
		deliverOne(t, a, "team@local.example")
	}
	var got []string
	for _, asked := range other.asked {
		got = append(got, asked.Recipients[0].Address)
	}
	if diff := cmp.Diff([]string{"john@local.example", "jack@local.example"}, got); diff != "" {
		t.Errorf("recipients (-want +got):\n%s", diff)
	}
}

// TestPartsOnce: when one target of several has to wait, the others do not get
// the message again.
func TestPartsOnce(t *testing.T) {
	base := t.TempDir()
	other := &agent{status: deliver.Status{Kind: deliver.Deferred, DSN: "4.4.1", Reason: "connection refused"}}
	r := resolver{targets: []route.LocalTarget{
		box(base, "john", route.Mbox),
		{Kind: route.LocalTransport, Transport: "lmtp"},
		{Kind: route.LocalForward, Forward: []string{"fred@remote.example"}},
	}}
	a := newAgent(r, body, func(o *Options) { o.Agent = func(string) (deliver.Agent, bool) { return other, true } })
	for range 3 {
		if got := deliverOne(t, a, "team@local.example"); got.Kind != deliver.Deferred || len(got.Forwards) != 0 {
			t.Errorf("status is %+v, want deferred without forwards", got)
		}
	}
	other.status = deliver.Status{Kind: deliver.Sent, DSN: "2.0.0", Reason: "250 Ok"}
	got := deliverOne(t, a, "team@local.example")
	if got.Kind != deliver.Sent || got.Reason != "delivered to mailbox; 250 Ok" || len(got.Forwards) != 1 {
		t.Errorf("status is %+v, want sent with the forward", got)
	}
	if n := strings.Count(tree(t, base)["john"], "From sender"); n != 1 {
		t.Errorf("%d copies in the mbox, want 1", n)
	}
	if len(other.asked) != 4 {
		t.Errorf("the other agent was asked %d times, want 4", len(other.asked))
	}
}

// TestPartsAfterReload: a reload does not make the targets forgotten that took
// the message already.
func TestPartsAfterReload(t *testing.T) {
	base := t.TempDir()
	r := resolver{targets: []route.LocalTarget{
		box(base, "john", route.Mbox),
		{Kind: route.LocalDefer, DSN: "4.2.0", Reason: "not now"},
	}}
	var a *Agent
	for range 3 {
		a = newAgent(r, body, func(o *Options) { o.Earlier = a })
		deliverOne(t, a, "team@local.example")
	}
	if n := strings.Count(tree(t, base)["john"], "From sender"); n != 1 {
		t.Errorf("%d copies in the mbox, want 1", n)
	}
}

// TestPartsForgotten: a recipient that is done with is not remembered, and there
// is a bound for the others.
func TestPartsForgotten(t *testing.T) {
	base := t.TempDir()
	r := resolver{targets: []route.LocalTarget{box(base, "john", route.Mbox), box(base, "jack", route.Mbox)}}
	a := newAgent(r, body, nil)
	deliverOne(t, a, "team@local.example")
	if n := len(a.done.done); n != 0 {
		t.Errorf("%d recipients are remembered, want 0", n)
	}
	var p parts
	for i := range maxParts + 10 {
		p.put(partKey{"ID", i}, "mailbox", deliver.Status{})
	}
	if len(p.done) != maxParts {
		t.Errorf("%d recipients are remembered, want %d", len(p.done), maxParts)
	}
}
