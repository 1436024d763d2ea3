package smtp

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"postern/internal/deliver"
	"postern/internal/dns"
	"postern/internal/dns/dnstest"
)

func TestResolveFailures(t *testing.T) {
	names := &dnstest.Map{
		MX: map[string][]dns.MX{
			"null.test": {{Host: ""}}, "deadmx.test": {{Host: "gone.test", Preference: 5}}, "tempmx.test": {{Host: "gone.test", Preference: 5}, {Host: "fail.test", Preference: 6}},
			"loop.test": {{Host: "mx.test", Preference: 5}, {Host: "other.test", Preference: 5}}, "named.test": {{Host: "ME.test", Preference: 5}},
			"onlymx.test": {{Host: "deadmx.test"}},
		},
		Host: map[string][]string{"mx.test": {"192.0.2.9"}, "other.test": {"192.0.2.10"}, "me.test": {"192.0.2.11"}},
		Fail: map[string]bool{"fail.test": true, "failing.test": true},
	}
	for _, test := range []struct {
		hop    string
		change func(*Options)
		want   string
	}{
		{"missing.test", nil, "bounced dsn=5.4.4 relay=none (Host or domain name not found. Name service error for name=missing.test type=MX: Host not found)"},
		{"failing.test", nil, "deferred dsn=4.4.3 relay=none (Host or domain name not found. Name service error for name=failing.test type=MX: Host not found, try again) destination"},
		{"null.test", nil, "bounced dsn=5.1.0 relay=none (Domain null.test does not accept mail (nullMX))"},
		{"deadmx.test", nil, "bounced dsn=5.4.4 relay=none (Host or domain name not found. Name service error for name=gone.test type=A: Host not found)"},
		{"deadmx.test", func(o *Options) { o.DeferNoMX = true }, "deferred dsn=4.4.4 relay=none (Host or domain name not found. Name service error for name=gone.test type=A: Host not found)"},
		{"onlymx.test", nil, "bounced dsn=5.4.4 relay=none (Host or domain name not found. Name service error for name=deadmx.test type=A: Host found but no data record of requested type)"},
		{"tempmx.test", nil, "deferred dsn=4.4.3 relay=none (Host or domain name not found. Name service error for name=fail.test type=A: Host not found, try again) destination"},
		{"[missing.test]", nil, "bounced dsn=5.4.4 relay=none (Host or domain name not found. Name service error for name=missing.test type=A: Host not found)"},
		{"missing.test", func(o *Options) { o.NoMX = true }, "bounced dsn=5.4.4 relay=none (Host or domain name not found. Name service error for name=missing.test type=A: Host not found)"},
		{"[missing.test]", func(o *Options) { o.Relayhost = "[missing.test]" }, "deferred dsn=4.3.5 relay=none (Host or domain name not found. Name service error for name=missing.test type=A: Host not found) destination"},
		{"missing.test", func(o *Options) { o.Fallback = []string{"[gone.test]"} }, "deferred dsn=4.3.5 relay=none (Host or domain name not found. Name service error for name=gone.test type=A: Host not found) destination"},
		{"loop.test", nil, "bounced dsn=5.4.6 relay=none (mail for loop.test loops back to myself)"},
		{"named.test", nil, "bounced dsn=5.4.6 relay=none (mail for named.test loops back to myself)"},
		{"[192.0.2.9]", nil, "bounced dsn=5.4.6 relay=none (mail for 192.0.2.9 loops back to myself)"},
		{"[x", nil, `deferred dsn=4.3.5 relay=none (bad next hop "[x": missing ]) destination`},
		{"", nil, `deferred dsn=4.3.5 relay=none (bad next hop "": no destination) destination`},
		{"a.test:nosuchservice", nil, `deferred dsn=4.3.5 relay=none (bad next hop "a.test:nosuchservice": unknown service "nosuchservice") destination`},
	} {
		a, _ := newAgent(t, func(o *Options) {
			o.Resolver = names
			o.Own = func(a netip.Addr) bool { return a == netip.MustParseAddr("192.0.2.9") }
			if test.change != nil {
				test.change(o)
			}
		})
		if got := show(a.Deliver(context.Background(), request(test.hop, "a@test"))[0]); got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", test.hop, got, test.want)
		}
	}
}

func TestOrderOfAddresses(t *testing.T) {
	names := &dnstest.Map{
		MX: map[string][]dns.MX{
			"two.test":  {{Host: "a.test", Preference: 10}, {Host: "b.test", Preference: 10}, {Host: "c.test", Preference: 20}},
			"own.test":  {{Host: "a.test", Preference: 10}, {Host: "own.example", Preference: 20}, {Host: "c.test", Preference: 20}, {Host: "b.test", Preference: 30}},
			"part.test": {{Host: "missing.test", Preference: 10}, {Host: "c.test", Preference: 20}},
		},
		Host: map[string][]string{
			"a.test": {"192.0.2.1", "2001:db8::1"}, "b.test": {"192.0.2.2"}, "c.test": {"192.0.2.3"}, "own.example": {"192.0.2.9"},
			"direct.test": {"192.0.2.7"}, "six.test": {"2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4", "192.0.2.1", "192.0.2.2", "192.0.2.3"},
		},
	}
	limited := func(n int) func(*Options) { return func(o *Options) { o.MaxAddress, o.Balance = n, true } }
	native := &dnstest.Map{Host: map[string][]string{"direct.test": {"192.0.2.8"}, "hosts.test": {"192.0.2.88"}}}
	for _, test := range []struct {
		hop    string
		change func(*Options)
		want   string
	}{
		{"two.test", nil, "192.0.2.1:25 [2001:db8::1]:25 192.0.2.2:25 192.0.2.3:25"},
		{"two.test:587", nil, "192.0.2.1:587 [2001:db8::1]:587 192.0.2.2:587 192.0.2.3:587"},
		{"two.test", func(o *Options) { o.Randomize = true }, "192.0.2.2:25 [2001:db8::1]:25 192.0.2.1:25 192.0.2.3:25"},
		{"two.test", func(o *Options) { o.Prefer = "ipv6" }, "[2001:db8::1]:25 192.0.2.1:25 192.0.2.2:25 192.0.2.3:25"},
		{"two.test", func(o *Options) { o.Prefer = "ipv4" }, "192.0.2.1:25 192.0.2.2:25 [2001:db8::1]:25 192.0.2.3:25"},
		{"two.test", func(o *Options) { o.MaxAddress = 2 }, "192.0.2.1:25 [2001:db8::1]:25"},
		{"six.test", limited(4), "[2001:db8::1]:25 [2001:db8::2]:25 192.0.2.1:25 192.0.2.2:25"},
		{"six.test", limited(5), "[2001:db8::1]:25 [2001:db8::2]:25 192.0.2.1:25 192.0.2.2:25 192.0.2.3:25"},
		{"six.test", limited(7), "[2001:db8::1]:25 [2001:db8::2]:25 [2001:db8::3]:25 [2001:db8::4]:25 192.0.2.1:25 192.0.2.2:25 192.0.2.3:25"},
		{"six.test", limited(1), "[2001:db8::1]:25"},
		{"six.test", limited(0), "[2001:db8::1]:25 [2001:db8::2]:25 [2001:db8::3]:25 [2001:db8::4]:25 192.0.2.1:25 192.0.2.2:25 192.0.2.3:25"},
		{"own.test", nil, "192.0.2.1:25 [2001:db8::1]:25"},
		{"own.test:26", nil, "192.0.2.1:26 [2001:db8::1]:26 192.0.2.9:26 192.0.2.3:26 192.0.2.2:26"},
		{"part.test", nil, "192.0.2.3:25"},
		{"direct.test", nil, "192.0.2.7:25"},
		{"[two.test]", nil, ""},
		{"[ipv6:2001:db8::5]", nil, "[2001:db8::5]:25"},
		{"direct.test", func(o *Options) { o.HostLookup = []string{"native", "dns"} }, "192.0.2.8:25"},
		{"[hosts.test]", func(o *Options) { o.HostLookup = []string{"dns", "native"} }, "192.0.2.88:25"},
		{"direct.test", func(o *Options) { o.NoMX = true }, "192.0.2.8:25"},
	} {
		a, _ := newAgent(t, func(o *Options) {
			o.Resolver, o.Native, o.MaxAddress = names, native, 0
			o.Own = func(a netip.Addr) bool { return a == netip.MustParseAddr("192.0.2.9") }
			o.Shuffle = func(n int, swap func(i, j int)) {
				for i := range n / 2 {
					swap(i, n-1-i)
				}
			}
			if test.change != nil {
				test.change(o)
			}
		})
		list, err := parseNextHop(test.hop, a.o.Port, true)
		if err != nil {
			t.Fatal(err)
		}
		targets, _ := a.resolve(context.Background(), list[0])
		var got []string
		for _, target := range targets {
			got = append(got, target.address)
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: %s, want %s", test.hop, strings.Join(got, " "), test.want)
		}
	}
}

func TestBestExchanger(t *testing.T) {
	names := &dnstest.Map{MX: map[string][]dns.MX{"loop.test": {{Host: "me.test", Preference: 5}}}, Host: map[string][]string{"me.test": {"192.0.2.9"}}}
	var passed []string
	a, _ := newAgent(t, func(o *Options) {
		o.Resolver = names
		o.BestMX = func(_ context.Context, r *deliver.Request) []deliver.Status {
			var list []deliver.Status
			for _, to := range r.Recipients {
				passed = append(passed, to.Address)
				list = append(list, deliver.Status{Kind: deliver.Sent, DSN: "2.0.0", Relay: "local", Reason: "delivered to mailbox"})
			}
			return list
		}
	})
	for i, s := range a.Deliver(context.Background(), request("loop.test", "a@loop.test", "b@loop.test")) {
		if show(s) != "sent dsn=2.0.0 relay=local (delivered to mailbox)" {
			t.Errorf("recipient %d: %s", i, show(s))
		}
	}
	if strings.Join(passed, " ") != "a@loop.test b@loop.test" {
		t.Errorf("passed on: %q", passed)
	}
	if s := a.Deliver(context.Background(), request("missing.test", "a@missing.test"))[0]; s.DSN != "5.4.4" {
		t.Errorf("a name that is not found: %s", show(s))
	}
	names.MX["relay.test"] = names.MX["loop.test"]
	a.o.Relayhost = "relay.test"
	if s := a.Deliver(context.Background(), request("relay.test", "a@loop.test"))[0]; show(s) != "deferred dsn=4.3.5 relay=none (mail for relay.test loops back to myself) destination" {
		t.Errorf("the relayhost: %s", show(s))
	}
}
