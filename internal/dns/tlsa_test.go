package dns_test

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/dns"
	"postern/internal/dns/dnstest"
)

// Names below insecure.test have no AD bit.
const tlsaZone = `
$TTL 300
test.                        IN SOA ns.test. root.test. 1 2 3 4 60
mx.test.                     IN A 192.0.2.1
mx.test.                     IN AAAA 2001:db8::1
_25._tcp.mx.test.            IN TLSA 3 1 1 aabb
_25._tcp.mx.test.            IN TLSA 2 0 1 ccdd
none.test.                   IN A 192.0.2.2
mx.insecure.test.            IN A 192.0.2.3
_25._tcp.mx.insecure.test.   IN TLSA 3 1 1 aabb
to-insecure-tlsa.test.       IN A 192.0.2.4
_25._tcp.to-insecure-tlsa.test. IN CNAME _25._tcp.mx.insecure.test.
to-tlsa.test.                IN A 192.0.2.4
_25._tcp.to-tlsa.test.       IN CNAME _25._tcp.mx.test.
alias.test.                  IN CNAME mx.test.
_25._tcp.alias.test.         IN TLSA 3 0 1 0001
own.test.                    IN CNAME none.test.
_25._tcp.own.test.           IN TLSA 3 0 1 0002
half.test.                   IN CNAME mx.insecure.test.
_25._tcp.half.test.          IN TLSA 3 0 1 0003
in.insecure.test.            IN CNAME mx.test.
mx.notlsa.test.              IN A 192.0.2.5
gone.servfail.test.          IN A 192.0.2.6
`

func TestLookupTLSA(t *testing.T) {
	for _, test := range []struct {
		host  string
		force bool
		want  string // base and data of the records, or the class of the error
	}{
		{"mx.test", false, "mx.test aabb ccdd"},
		{"MX.test.", false, "MX.test aabb ccdd"},
		{"none.test", false, "none"},
		{"missing.test", false, "none"},
		{"mx.insecure.test", false, "none"},
		{"mx.insecure.test", true, "none"}, // the records themselves are not validated
		{"to-tlsa.test", false, "to-tlsa.test aabb ccdd"},
		{"to-insecure-tlsa.test", false, "none"},
		{"alias.test", false, "mx.test aabb ccdd"}, // the end of the chain comes first
		{"own.test", false, "own.test 0002"},
		{"half.test", false, "half.test 0003"}, // only the alias is validated
		{"in.insecure.test", false, "none"},
		{"192.0.2.1", false, "none"},
		{"2001:db8::1", false, "none"},
		{"not a name", false, "none"},
		{"mx.notlsa.test", false, "temporary"},
		{"gone.servfail.test", false, "temporary"},
	} {
		c, _ := client(t, tlsaZone, nil)
		set, err := c.LookupTLSA(context.Background(), test.host, 25, test.force)
		got := set.Base
		for _, r := range set.Records {
			got += " " + hexOf(r.Data)
		}
		switch {
		case dns.IsNotFound(err):
			got = "none"
		case err != nil:
			got = "temporary"
		}
		if got != test.want {
			t.Errorf("LookupTLSA(%q, %v) = %q, %v; want %q", test.host, test.force, got, err, test.want)
		}
	}
}

func hexOf(data []byte) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for _, c := range data {
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	return b.String()
}

// Where there is no DNSSEC, nobody is bothered with TLSA questions.
func TestTLSAIsNotAskedForWithoutDNSSEC(t *testing.T) {
	for _, force := range []bool{false, true} {
		c, s := client(t, tlsaZone, nil)
		_, _ = c.LookupTLSA(context.Background(), "mx.insecure.test", 25, force)
		if asked := slices.Contains(s.Asked(), "_25._tcp.mx.insecure.test TLSA"); asked != force {
			t.Errorf("force %v: asked %v", force, s.Asked())
		}
	}
}

func TestTrust(t *testing.T) {
	for _, test := range []struct {
		trust dns.Trust
		want  bool
	}{{dns.TrustLoopback, true}, {dns.TrustAll, true}, {dns.TrustNone, false}} {
		now := time.Now()
		c, s := client(t, zone, func(o *dns.Options) { o.Trust, o.Now = test.trust, func() time.Time { return now } })
		for range 2 { // the second answer comes from the cache
			list, err := c.LookupMX(context.Background(), "example.test")
			if err != nil || list[0].Secure != test.want {
				t.Errorf("trust %d: %v, %v; want secure %v", test.trust, list, err, test.want)
			}
		}
		if n := len(s.Asked()); n != 1 {
			t.Errorf("asked %d times", n)
		}
	}
	for text, want := range map[string]dns.Trust{"loopback": dns.TrustLoopback, "all": dns.TrustAll, "none": dns.TrustNone} {
		if got, err := dns.ParseTrust(text); got != want || err != nil {
			t.Errorf("ParseTrust(%q) = %v, %v", text, got, err)
		}
	}
	if got, err := dns.ParseTrust("some"); err == nil || got != dns.TrustNone {
		t.Errorf("ParseTrust(some) = %v, %v", got, err)
	}
}

func TestInsecureMX(t *testing.T) {
	c, _ := client(t, "insecure.test. 300 IN MX 10 mx.test.\nalias.test. 300 IN CNAME insecure.test.\n", nil)
	for _, domain := range []string{"insecure.test", "alias.test"} {
		list, err := c.LookupMX(context.Background(), domain)
		if err != nil || list[0].Secure {
			t.Errorf("LookupMX(%q) = %v, %v; want one that is not secure", domain, list, err)
		}
	}
}

func TestLookupTXT(t *testing.T) {
	c, _ := client(t, `
$TTL 300
test.        IN SOA ns.test. root.test. 1 2 3 4 60
a.test.      IN TXT "v=STSv1; id=1;"
two.test.    IN TXT "one " "text"
two.test.    IN TXT "another"
odd.test.    IN TXT "a\"b\\c\000\255;"
addr.test.   IN A 192.0.2.1
`, nil)
	for _, test := range []struct {
		name  string
		want  []string
		class dns.Class
	}{
		{"a.test", []string{"v=STSv1; id=1;"}, 0},
		{"two.test", []string{"one text", "another"}, 0},
		{"odd.test", []string{"a\"b\\c\x00\xff;"}, 0},
		{"addr.test", nil, dns.NoData},
		{"missing.test", nil, dns.NotFound},
		{"x.servfail.test", nil, dns.Temporary},
		{"a..b", nil, dns.Malformed},
	} {
		got, err := c.LookupTXT(context.Background(), test.name)
		slices.Sort(got)
		slices.Sort(test.want)
		if diff := cmp.Diff(test.want, got); diff != "" || (err != nil) != (test.want == nil) || err != nil && dns.ClassOf(err) != test.class {
			t.Errorf("LookupTXT(%q): %v %s", test.name, err, diff)
		}
	}
}

// The maps of dnstest answer as a Client does.
func TestMapTLSA(t *testing.T) {
	m := &dnstest.Map{Host: map[string][]string{"mx.test": {"192.0.2.1"}}, Fail: map[string]bool{"_25._tcp.ill.test": true},
		TLSA: map[string][]dns.TLSA{"_25._tcp.mx.test": {{Usage: 3}}}, TXT: map[string][]string{"t.test": {"x"}}}
	if set, err := m.LookupTLSA(t.Context(), "mx.test", 25, false); err != nil || set.Base != "mx.test" || len(set.Records) != 1 {
		t.Errorf("mx.test: %v, %v", set, err)
	}
	if _, err := m.LookupTLSA(t.Context(), "mx.test", 26, false); !dns.IsNotFound(err) {
		t.Errorf("port 26: %v", err)
	}
	if _, err := m.LookupTLSA(t.Context(), "ill.test", 25, false); err == nil || dns.IsNotFound(err) {
		t.Errorf("ill.test: %v", err)
	}
	if list, err := m.LookupTXT(t.Context(), "t.test"); err != nil || len(list) != 1 {
		t.Errorf("t.test: %v, %v", list, err)
	}
	if _, err := m.LookupHost(t.Context(), netip.MustParseAddr("192.0.2.1").String()); err != nil {
		t.Error(err)
	}
}
