package dns_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/dns"
	"postern/internal/dns/dnstest"
)

const zone = `
$TTL 300
test.                 IN SOA ns.test. root.test. 1 2 3 4 60
example.test.         IN MX 20 mx2.example.test.
example.test.         IN MX 10 mx1.example.test.
example.test.         IN MX 10 bad\032name.test.
example.test.         IN MX 30 .
null.test.            IN MX 0 .
bad.test.             IN MX 0 -.test.
mx1.example.test.     IN A 192.0.2.1
mx1.example.test.     IN AAAA 2001:db8::1
mx2.example.test.     IN A 192.0.2.2
alias.test.           IN CNAME other.test.
other.test.           IN CNAME mx2.example.test.
xn--bcher-kva.test.   IN A 192.0.2.3
half.servfail.test.   IN A 192.0.2.4
1.2.0.192.in-addr.arpa. IN PTR mx1.example.test.
2.2.0.192.in-addr.arpa. IN PTR forged.test.
3.2.0.192.in-addr.arpa. IN PTR 10.20.30.40.
4.2.0.192.in-addr.arpa. IN PTR gone.test.
5.2.0.192.in-addr.arpa. IN PTR x.servfail.test.
6.2.0.192.in-addr.arpa. IN PTR a\.b@c.test.
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. IN PTR mx1.example.test.
forged.test.          IN A 192.0.2.99
`

func client(t *testing.T, zone string, change func(*dns.Options)) (*dns.Client, *dnstest.Server) {
	t.Helper()
	s := dnstest.Start(t, zone)
	o := dns.Options{Servers: []string{s.Addr}, ResolvConf: filepath.Join(t.TempDir(), "none"), Timeout: 5 * time.Second, Attempts: 1}
	if change != nil {
		change(&o)
	}
	c, err := dns.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

func TestLookupMX(t *testing.T) {
	c, _ := client(t, zone, nil)
	for _, test := range []struct {
		domain string
		want   []dns.MX
		class  dns.Class
	}{
		{"example.test", []dns.MX{{Host: "mx1.example.test", Preference: 10, Secure: true}, {Host: "mx2.example.test", Preference: 20, Secure: true}}, 0},
		{"EXAMPLE.test.", []dns.MX{{Host: "mx1.example.test", Preference: 10, Secure: true}, {Host: "mx2.example.test", Preference: 20, Secure: true}}, 0},
		{"null.test", []dns.MX{{Secure: true}}, 0},
		{"bad.test", nil, dns.Malformed},
		{"mx2.example.test", nil, dns.NoData},
		{"missing.test", nil, dns.NotFound},
		{"x.servfail.test", nil, dns.Temporary},
		{"not a name", nil, dns.Malformed},
		{"", nil, dns.Malformed},
		{strings.Repeat("a", 64) + ".test", nil, dns.Malformed},
	} {
		got, err := c.LookupMX(context.Background(), test.domain)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("LookupMX(%q): %s", test.domain, diff)
		}
		if (err == nil) != (test.want != nil) || err != nil && dns.ClassOf(err) != test.class {
			t.Errorf("LookupMX(%q): error %v, want class %v", test.domain, err, test.class)
		}
	}
	if null, _ := c.LookupMX(context.Background(), "null.test"); !dns.IsNullMX(null) {
		t.Errorf("IsNullMX(%v) = false", null)
	}
}

func TestLookupHost(t *testing.T) {
	for _, test := range []struct {
		host     string
		no4, no6 bool
		want     string
		class    dns.Class
	}{
		{host: "mx1.example.test", want: "192.0.2.1 2001:db8::1"},
		{host: "mx1.example.test", no6: true, want: "192.0.2.1"},
		{host: "mx1.example.test", no4: true, want: "2001:db8::1"},
		{host: "mx2.example.test", want: "192.0.2.2"},
		{host: "mx2.example.test", no4: true, class: dns.NoData},
		{host: "alias.test", want: "192.0.2.2"},
		{host: "bücher.test", want: "192.0.2.3"},
		{host: "missing.test", class: dns.NotFound},
		{host: "example.test", class: dns.NoData},
		{host: "half.servfail.test", class: dns.Temporary},
		{host: "localhost", want: "127.0.0.1 ::1"},
		{host: "LOCALHOST.", no6: true, want: "127.0.0.1"},
		{host: "192.0.2.77", want: "192.0.2.77"},
		{host: "a..b", class: dns.Malformed},
	} {
		c, _ := client(t, zone, func(o *dns.Options) { o.NoIPv4, o.NoIPv6 = test.no4, test.no6 })
		addrs, err := c.LookupHost(context.Background(), test.host)
		if got := join(addrs); got != test.want {
			t.Errorf("LookupHost(%q) (no4=%v, no6=%v) = %q, want %q", test.host, test.no4, test.no6, got, test.want)
		}
		if (err == nil) != (test.want != "") || err != nil && dns.ClassOf(err) != test.class {
			t.Errorf("LookupHost(%q): error %v, want class %v", test.host, err, test.class)
		}
	}
}

func join(addrs []netip.Addr) string {
	var words []string
	for _, a := range addrs {
		words = append(words, a.String())
	}
	return strings.Join(words, " ")
}

func TestCutAnswerIsAskedAgainOverTCP(t *testing.T) {
	var b strings.Builder
	for i := range 60 {
		fmt.Fprintf(&b, "many.big.test. 300 IN A 192.0.2.%d\n", i+1)
	}
	c, s := client(t, b.String(), func(o *dns.Options) { o.NoIPv6 = true })
	addrs, err := c.LookupHost(context.Background(), "many.big.test")
	if err != nil || len(addrs) != 60 {
		t.Fatalf("got %d addresses, %v; want 60", len(addrs), err)
	}
	if asked := s.Asked(); len(asked) != 2 {
		t.Errorf("asked %q, want once by UDP and once by TCP", asked)
	}
}

func TestSilentServerIsTemporary(t *testing.T) {
	c, _ := client(t, zone, func(o *dns.Options) { o.Timeout = 20 * time.Millisecond })
	_, err := c.LookupMX(context.Background(), "x.silent.test")
	if dns.ClassOf(err) != dns.Temporary || err == nil {
		t.Fatalf("error %v, want a temporary one", err)
	}
}

func TestLookupEndsWithItsContext(t *testing.T) {
	c, s := client(t, zone, func(o *dns.Options) { o.Timeout = time.Hour })
	ctx, cancel := context.WithCancel(context.Background())
	s.OnQuestion(func(string) { cancel() })
	if _, err := c.LookupMX(ctx, "y.silent.test"); !errors.Is(err, context.Canceled) || dns.ClassOf(err) != dns.Temporary {
		t.Errorf("error %v, want a temporary one that wraps context.Canceled", err)
	}
	if _, err := c.LookupMX(ctx, "example.test"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want one that wraps context.Canceled", err)
	}
}

func TestNextServerIsAsked(t *testing.T) {
	s := dnstest.Start(t, zone)
	// A port where nobody listens: refused at once, on the loopback interface.
	c, err := dns.New(dns.Options{Servers: []string{"127.0.0.1:1", s.Addr}, Timeout: time.Second, Attempts: 1, NoIPv6: true})
	if err != nil {
		t.Fatal(err)
	}
	if addrs, err := c.LookupHost(context.Background(), "mx2.example.test"); err != nil || join(addrs) != "192.0.2.2" {
		t.Errorf("got %v, %v", addrs, err)
	}
}

func TestServers(t *testing.T) {
	if _, err := dns.New(dns.Options{Servers: []string{"ns.example.test"}}); err == nil || !strings.Contains(err.Error(), `dns_servers: "ns.example.test" is not an IP address`) {
		t.Errorf("error %v", err)
	}
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	s := dnstest.Start(t, zone)
	if err := os.WriteFile(conf, []byte("nameserver 127.0.0.1\nnameserver ::1\noptions timeout:1 attempts:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, servers := range [][]string{nil, {s.Addr}, {"127.0.0.1"}, {"::1"}, {"[::1]"}, {"[::1]:53"}} {
		if _, err := dns.New(dns.Options{Servers: servers, ResolvConf: conf}); err != nil {
			t.Errorf("New(%q): %v", servers, err)
		}
	}
}

func TestAnswersAreKept(t *testing.T) {
	now := time.Unix(1e9, 0)
	c, s := client(t, zone, func(o *dns.Options) { o.NoIPv6, o.Now = true, func() time.Time { return now } })
	ask := func(host string, want int) {
		t.Helper()
		_, _ = c.LookupHost(context.Background(), host)
		if got := len(s.Asked()); got != want {
			t.Errorf("after %q the server was asked %d times, want %d", host, got, want)
		}
	}
	ask("mx1.example.test", 1)
	ask("MX1.example.test", 1)
	ask("missing.test", 2)
	ask("missing.test", 2)
	now = now.Add(61 * time.Second) // the SOA says 60 for a "no"
	ask("missing.test", 3)
	ask("mx1.example.test", 3)
	now = now.Add(240 * time.Second)
	ask("mx1.example.test", 4)
	ask("x.servfail.test", 5)
	ask("x.servfail.test", 6)
}

func TestCacheIsBounded(t *testing.T) {
	c, s := client(t, "a.test. 300 IN A 192.0.2.1\nb.test. 300 IN A 192.0.2.1\nc.test. 300 IN A 192.0.2.1\n",
		func(o *dns.Options) { o.NoIPv6, o.CacheSize = true, 1 })
	for range 3 {
		for _, host := range []string{"a.test", "b.test", "c.test"} {
			if _, err := c.LookupHost(context.Background(), host); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := len(s.Asked()); got != 9 {
		t.Errorf("asked %d times, want 9: one entry cannot hold three names", got)
	}
}

func TestLookupPTR(t *testing.T) {
	c, s := client(t, zone, nil)
	for _, test := range []struct {
		addr, want string
		class      dns.Class
	}{
		{"192.0.2.1", "mx1.example.test", 0},
		{"::ffff:192.0.2.1", "mx1.example.test", 0},
		{"2001:db8::1", "mx1.example.test", 0},
		{"192.0.2.200", "", dns.NotFound},
		{"192.0.2.6", "", dns.Malformed},
		{"127.0.0.2", "", dns.NotFound},
		{"::1", "", dns.NotFound},
	} {
		names, err := c.LookupPTR(context.Background(), netip.MustParseAddr(test.addr))
		if got := strings.Join(names, " "); got != test.want || err != nil && dns.ClassOf(err) != test.class {
			t.Errorf("LookupPTR(%s) = %q, %v; want %q", test.addr, got, err, test.want)
		}
	}
	for _, q := range s.Asked() {
		if strings.Contains(q, "127.in-addr") {
			t.Errorf("asked %q: the loopback zone is local", q)
		}
	}
}

func TestPeerName(t *testing.T) {
	c, _ := client(t, zone, nil)
	for _, test := range []struct {
		addr string
		want dns.Peer
	}{
		{"192.0.2.1", dns.Peer{Name: "mx1.example.test", Reverse: "mx1.example.test"}},
		{"::ffff:192.0.2.1", dns.Peer{Name: "mx1.example.test", Reverse: "mx1.example.test"}},
		{"192.0.2.2", dns.Peer{Name: "unknown", Status: dns.PeerForged, Reverse: "forged.test",
			Warning: "hostname forged.test does not resolve to address 192.0.2.2"}},
		{"192.0.2.3", dns.Peer{Name: "unknown", Status: dns.PeerNotFound, Reverse: "unknown", ReverseStatus: dns.PeerNotFound,
			Warning: "numeric hostname: 10.20.30.40"}},
		{"192.0.2.4", dns.Peer{Name: "unknown", Status: dns.PeerNotFound, Reverse: "gone.test",
			Warning: "hostname gone.test does not resolve to address 192.0.2.4: Host not found"}},
		{"192.0.2.5", dns.Peer{Name: "unknown", Status: dns.PeerTemporary, Reverse: "x.servfail.test",
			Warning: "hostname x.servfail.test does not resolve to address 192.0.2.5: Host not found, try again"}},
		{"192.0.2.7", dns.Peer{Name: "unknown", Status: dns.PeerNotFound, Reverse: "unknown", ReverseStatus: dns.PeerNotFound}},
	} {
		got := dns.PeerName(context.Background(), c, netip.MustParseAddr(test.addr))
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("PeerName(%s): %s", test.addr, diff)
		}
	}
	failing := &dnstest.Map{Fail: map[string]bool{"192.0.2.1": true}}
	want := dns.Peer{Name: "unknown", Status: dns.PeerTemporary, Reverse: "unknown", ReverseStatus: dns.PeerTemporary}
	if got := dns.PeerName(context.Background(), failing, netip.MustParseAddr("192.0.2.1")); got != want {
		t.Errorf("PeerName with a failing PTR lookup: %+v, want %+v", got, want)
	}
}

func TestNative(t *testing.T) {
	dir := t.TempDir()
	conf, hosts := filepath.Join(dir, "resolv.conf"), filepath.Join(dir, "hosts")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(conf, "search example.test\n")
	write(hosts, "127.0.0.1 localhost # loop\n192.0.2.50\tMail.test mail\n::1 localhost\nx y\n192.0.2.51 bad/name\n192.0.2.1 first.test second.test")
	c, s := client(t, zone, func(o *dns.Options) { o.ResolvConf, o.NoIPv6 = conf, true })
	n := dns.NewNative(c, hosts)
	for _, test := range []struct{ host, want string }{
		{"mail", "192.0.2.50"},
		{"MAIL.TEST.", "192.0.2.50"},
		{"localhost", "127.0.0.1"},
		{"mx2", "192.0.2.2"}, // search list
		{"mx2.example.test", "192.0.2.2"},
		{"missing", ""},
	} {
		addrs, err := n.LookupHost(context.Background(), test.host)
		if got := join(addrs); got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("LookupHost(%q) = %q, %v; want %q", test.host, got, err, test.want)
		}
	}
	for addr, want := range map[string]string{"192.0.2.1": "first.test second.test", "127.0.0.1": "localhost", "127.0.0.9": "", "2001:db8::1": "mx1.example.test"} {
		names, _ := n.LookupPTR(context.Background(), netip.MustParseAddr(addr))
		if got := strings.Join(names, " "); got != want {
			t.Errorf("LookupPTR(%s) = %q, want %q", addr, got, want)
		}
	}
	if list, err := n.LookupMX(context.Background(), "example.test"); err != nil || len(list) != 2 {
		t.Errorf("LookupMX = %v, %v", list, err)
	}
	for _, q := range s.Asked() {
		if strings.HasPrefix(q, "mail") || strings.HasPrefix(q, "localhost") {
			t.Errorf("asked %q, which the hosts file answers", q)
		}
	}
	if addrs, err := dns.NewNative(c, filepath.Join(dir, "missing")).LookupHost(context.Background(), "mx2"); err != nil || len(addrs) != 1 {
		t.Errorf("without a hosts file: %v, %v", addrs, err)
	}
}

func TestErrorText(t *testing.T) {
	e := &dns.Error{Name: "x.test", Type: "MX", Class: dns.NotFound, Err: errors.New("cause")}
	if got, want := e.Error(), "name service error for name=x.test type=MX: host not found: cause"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	if dns.IsNotFound(nil) || dns.IsNotFound(errors.New("other")) || !dns.IsNotFound(e) {
		t.Error("IsNotFound is wrong")
	}
}
