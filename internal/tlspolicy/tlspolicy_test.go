package tlspolicy

import (
	"context"
	"crypto/x509"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/dane"
	"postern/internal/dns"
	"postern/internal/dns/dnstest"
	"postern/internal/table"
	"postern/internal/table/compose"
	"postern/internal/tlsconf"
)

// options are the defaults of main.cf at a level.
func options(level tlsconf.Level) Options {
	return Options{
		Level:         level,
		Opportunistic: Strength{Protocols: ">=TLSv1", Ciphers: "medium"},
		Mandatory:     Strength{Protocols: ">=TLSv1.2", Ciphers: "medium"},
		Verify:        []string{"hostname"}, Secure: []string{"nexthop", "dot-nexthop"}, Digest: "sha256",
		Roots: x509.NewCertPool(),
		DANE:  DANE{Missing: "dane configured with dnssec lookups disabled", Digests: []uint8{dane.MatchingSHA512, dane.MatchingSHA256}, InsecureMX: tlsconf.Dane},
	}
}

func policies(t *testing.T, o Options) *Policies {
	t.Helper()
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// maps are policy tables with these rows, "key=value".
func maps(t *testing.T, rows ...string) *table.Maps {
	t.Helper()
	o := &table.Opener{Types: map[string]table.Constructor{"inline": compose.Inline, "fail": compose.Fail}}
	text := "inline:{ {x=none}"
	for _, r := range rows {
		text += " {" + r + "}"
	}
	m, err := o.Maps(t.Context(), text+" }", table.Use{Fold: true, Parameter: "smtp_tls_policy_maps"})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestKeys(t *testing.T) {
	for _, test := range []struct{ nextHop, want string }{
		{"a.example.test", "a.example.test .example.test .test"},
		{"localhost", "localhost"},
		{"[mx.test]:587", "[mx.test]:587"},
		{"[mx.test]", "[mx.test]"},
		{"example.test:587", "example.test:587"},
		{"192.0.2.1", "192.0.2.1"},
		{"/run/lmtp", "/run/lmtp"},
		{"private/dovecot-lmtp", "private/dovecot-lmtp"},
		{"", ""},
	} {
		var got []string
		for k := range keys(test.nextHop) {
			got = append(got, k.Text)
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("keys(%q) = %q, want %q", test.nextHop, got, test.want)
		}
	}
}

func TestParseEntry(t *testing.T) {
	for _, test := range []struct {
		text string
		want entry
		err  string
	}{
		{text: "none", want: entry{level: tlsconf.None}},
		{text: "none match=x", want: entry{level: tlsconf.None}},
		{text: "MAY", want: entry{level: tlsconf.May}},
		{text: "encrypt protocols=>=TLSv1.2 ciphers=high exclude=3DES, exclude=aRSA", want: entry{level: tlsconf.Encrypt,
			protocols: ">=TLSv1.2", ciphers: "high", exclude: []string{"3DES", "aRSA"}}},
		{text: "encrypt protocols=TLSv1.2:TLSv1.3", want: entry{level: tlsconf.Encrypt, protocols: "TLSv1.2:TLSv1.3"}},
		{text: "secure match=a.test:.b.test match=nexthop servername=hostname", want: entry{level: tlsconf.Secure,
			match: []string{"a.test", ".b.test", "nexthop"}, serverName: "hostname"}},
		{text: "verify tafile=/a tafile=/b", want: entry{level: tlsconf.Verify, anchors: []string{"/a", "/b"}}},
		{text: "fingerprint match=AA:BB|CC:DD match=EE", want: entry{level: tlsconf.Fingerprint, match: []string{"AA:BB", "CC:DD", "EE"}}},
		{text: "secure match=a.test policy_type=sts { policy_string = version: STSv1 } policy_domain=x policy_ttl=60 mx_host_pattern=a",
			want: entry{level: tlsconf.Secure, match: []string{"a.test"}, sts: true}},
		{text: "may connection_reuse=yes", want: entry{level: tlsconf.May}},
		{text: "dane-only", want: entry{level: tlsconf.DaneOnly}},
		{text: "", err: "empty policy"},
		{text: "secured", err: `invalid security level "secured"`},
		{text: "may match=x", err: `attribute "match" is invalid at security level "may"`},
		{text: "dane match=x", err: `attribute "match" is invalid`},
		{text: "encrypt tafile=/a", err: `attribute "tafile" is invalid at security level "encrypt"`},
		{text: "encrypt ciphers=best", err: `unknown cipher grade "best"`},
		{text: "encrypt exclude=kRSA:ECDHE:AES:CHACHA20", err: "leaves no cipher"},
		{text: "encrypt protocols=TLSv9", err: `unknown protocol "TLSv9"`},
		{text: "encrypt ciphers=high ciphers=high", err: `attribute "ciphers" is specified multiple times`},
		{text: "encrypt servername=a servername=b", err: "multiple times"},
		{text: "encrypt ciphers", err: `malformed attribute "ciphers"`},
		{text: "encrypt ciphers=", err: "malformed attribute"},
		{text: "encrypt =high", err: "malformed attribute"},
		{text: "encrypt cipher=high", err: `unknown attribute "cipher"`},
		{text: "encrypt connection_reuse=perhaps", err: "neither yes nor no"},
		{text: "secure match=a::b", err: "empty item"},
		{text: "encrypt policy_type=sts", err: "goes with level secure"},
	} {
		got, err := parseEntry(test.text)
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("parseEntry(%q): error %v, want %q", test.text, err, test.err)
			}
			continue
		}
		if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(entry{})); err != nil || diff != "" {
			t.Errorf("parseEntry(%q): %v %s", test.text, err, diff)
		}
	}
}

func FuzzParseEntry(f *testing.F) {
	f.Add("secure match=a.test:.b.test servername=hostname policy_type=sts")
	f.Add("fingerprint match=AA|BB { policy_string = a b }")
	f.Add("encrypt protocols=!SSLv2 exclude=aNULL ciphers=high")
	f.Fuzz(func(t *testing.T, text string) {
		e, err := parseEntry(text)
		if err != nil {
			return
		}
		if e.sts && e.level != tlsconf.Secure {
			t.Errorf("%q: an STS policy at level %s", text, e.level)
		}
		p := &Policies{options(tlsconf.May)}
		if _, err := p.client(e, tlsconf.Encrypt).Config(); err != nil && e.exclude == nil {
			t.Errorf("%q is taken and then refused: %v", text, err)
		}
	})
}

// show is a decision in a line.
func show(d *decision, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	s := d.Level.String()
	if d.half {
		s += " half"
	}
	if d.Host != "" {
		s += " sni=" + d.Host
	}
	if len(d.Names) > 0 {
		s += " names=" + strings.Join(d.Names, ",")
	}
	return s
}

func decide(p *Policies, nextHop string, h Host) string {
	e, err := p.entry(context.Background(), nextHop)
	if err != nil {
		return "error: " + err.Error()
	}
	return show(p.decide(context.Background(), e, h))
}

func TestDecide(t *testing.T) {
	mx := Host{Domain: "example.test", Name: "mx.example.test", Port: 25, MX: true}
	sum := strings.Repeat("AA:", 31) + "AA"
	rows := maps(t, "none.test=none", ".below.test=encrypt", "[mx.test]:587=verify servername=nexthop", "bad.test=secured",
		"match.test=secure match=a.test:nexthop:.c.test", "print.test=fingerprint match="+sum, "badprint.test=fingerprint match=AA",
		"noprint.test=fingerprint", "tafile.test=verify tafile=/no/such/file", "/run/lmtp=encrypt",
		"sts.test=secure match=mx.example.test:.wild.test servername=hostname policy_type=sts")
	for _, test := range []struct {
		nextHop string
		level   tlsconf.Level
		host    Host
		want    string
	}{
		{"example.test", tlsconf.None, mx, "none"},
		{"example.test", tlsconf.May, mx, "may"},
		{"example.test", tlsconf.Verify, mx, "verify names=mx.example.test"},
		{"example.test", tlsconf.Secure, mx, "secure names=example.test,.example.test"},
		{"none.test", tlsconf.Secure, mx, "none"},
		{"a.below.test", tlsconf.May, mx, "encrypt"},
		{"below.test", tlsconf.May, mx, "may"},
		{"[MX.test]:587", tlsconf.May, Host{Domain: "mx.test", Name: "mx.test", Port: 587}, "verify sni=mx.test names=mx.test"},
		{"[mx.test]", tlsconf.May, Host{Domain: "mx.test", Name: "mx.test", Port: 25}, "may"},
		{"match.test", tlsconf.May, mx, "secure names=a.test,example.test,.c.test"},
		{"print.test", tlsconf.May, mx, "fingerprint"},
		{"badprint.test", tlsconf.May, mx, `error: "AA" is not a sha256 fingerprint: 32 pairs of hexadecimal digits`},
		{"noprint.test", tlsconf.May, mx, "error: configured at fingerprint security level, but with no fingerprints to match"},
		{"tafile.test", tlsconf.May, mx, "error: tafile: /no/such/file: no such file or directory"},
		{"unix:/run/lmtp", tlsconf.None, Host{Name: "us.test"}, "encrypt"},
		{"example.test", tlsconf.Secure, Host{Name: "us.test"}, "secure"},
		{"example.test", tlsconf.Dane, Host{Name: "us.test"}, "error: the security level dane is invalid for delivery to a socket"},
		{"example.test", tlsconf.Dane, mx, "may"},
		{"example.test", tlsconf.DaneOnly, mx, "error: security level dane-only: dane configured with dnssec lookups disabled"},
		{"sts.test", tlsconf.May, mx, "secure sni=mx.example.test names=mx.example.test"},
		{"sts.test", tlsconf.May, Host{Domain: "sts.test", Name: "a.wild.test", Port: 25}, "secure sni=a.wild.test names=a.wild.test"},
		{"sts.test", tlsconf.May, Host{Domain: "sts.test", Name: "a.b.wild.test"}, "error: host a.b.wild.test is not a mail exchanger in the MTA-STS policy of sts.test"},
		{"sts.test", tlsconf.May, Host{Domain: "sts.test", Name: "wild.test"}, "error: host wild.test is not a mail exchanger in the MTA-STS policy of sts.test"},
		{"sts.test", tlsconf.Dane, mx, "secure sni=mx.example.test names=mx.example.test"},
	} {
		o := options(test.level)
		o.Maps = rows
		if got := decide(policies(t, o), test.nextHop, test.host); got != test.want {
			t.Errorf("%s at level %s for %+v: %s, want %s", test.nextHop, test.level, test.host, got, test.want)
		}
	}
	o := options(tlsconf.May)
	o.Maps = rows
	got := decide(policies(t, o), "bad.test", mx)
	if !strings.Contains(got, "smtp_tls_policy_maps, inline:") || !strings.HasSuffix(got, `entry "bad.test": invalid security level "secured"`) {
		t.Errorf("a bad entry: %s", got)
	}
}

func TestServerName(t *testing.T) {
	h := Host{Domain: "example.test", Name: "mx.test", Port: 25}
	for name, want := range map[string]string{"": "may", "hostname": "may sni=mx.test", "Nexthop": "may sni=example.test", "other.test": "may sni=other.test"} {
		o := options(tlsconf.May)
		o.ServerName = name
		if got := decide(policies(t, o), "example.test", h); got != want {
			t.Errorf("servername %q: %s, want %s", name, got, want)
		}
	}
}

func TestFailingTable(t *testing.T) {
	o := options(tlsconf.May)
	opener := &table.Opener{Types: map[string]table.Constructor{"fail": compose.Fail}}
	o.Maps, _ = opener.Maps(t.Context(), "fail:x", table.Use{})
	_, err := policies(t, o).For(t.Context(), "example.test", Host{Name: "mx.test", Port: 25})
	if _, ok := errors.AsType[*table.Error](err); !ok {
		t.Errorf("For with a failing table: %v", err)
	}
}

func TestDane(t *testing.T) {
	good := dns.TLSA{Usage: 3, Selector: 1, MatchingType: 1, Data: make([]byte, 32)}
	resolver := &dnstest.Map{
		TLSA: map[string][]dns.TLSA{"_25._tcp.mx.test": {good}, "_587._tcp.mx.test": {good}, "_25._tcp.odd.test": {{Usage: 1}}},
		Fail: map[string]bool{"_25._tcp.ill.test": true},
	}
	host := func(name string, mx, secure bool) Host {
		return Host{Domain: "example.test", Name: name, Port: 25, MX: mx, Secure: secure}
	}
	for _, test := range []struct {
		host           Host
		policy         tlsconf.Level // smtp_tls_dane_insecure_mx_policy
		dane, daneOnly string
	}{
		{host("mx.test", true, true), tlsconf.Dane, "dane sni=mx.test", "dane-only sni=mx.test"},
		{host("mx.test", false, false), tlsconf.Dane, "dane sni=mx.test", "dane-only sni=mx.test"},
		{host("none.test", true, true), tlsconf.Dane, "may", "error: no TLSA records found"},
		{host("odd.test", true, true), tlsconf.Dane, "encrypt", "error: TLSA records unusable"},
		{host("ill.test", true, true), tlsconf.Dane, "error: TLSA lookup error for ill.test:25: ", "error: TLSA lookup error for ill.test:25: "},
		{host("mx.test", true, false), tlsconf.Dane, "dane half sni=mx.test", "error: non DNSSEC destination"},
		{host("mx.test", true, false), tlsconf.Encrypt, "encrypt", "error: non DNSSEC destination"},
		{host("mx.test", true, false), tlsconf.May, "may", "error: non DNSSEC destination"},
		{host("none.test", true, false), tlsconf.Encrypt, "may", "error: non DNSSEC destination"},
		{host("ill.test", true, false), tlsconf.May, "may", "error: non DNSSEC destination"},
	} {
		for level, want := range map[tlsconf.Level]string{tlsconf.Dane: test.dane, tlsconf.DaneOnly: test.daneOnly} {
			o := options(level)
			o.DANE.Resolver, o.DANE.InsecureMX = resolver, test.policy
			got := decide(policies(t, o), "example.test", test.host)
			if got != want && !(strings.HasSuffix(want, ": ") && strings.HasPrefix(got, want)) {
				t.Errorf("%s, %+v, insecure MX %s: %s, want %s", level, test.host, test.policy, got, want)
			}
		}
	}
	// With MTA-STS: records that can be used come first, a lookup that fails defers.
	for name, want := range map[string]string{
		"mx.test": "dane sni=mx.test", "none.test": "secure sni=none.test names=none.test",
		"odd.test": "secure sni=odd.test names=odd.test", "ill.test": "error: TLSA lookup error for ill.test:25: ",
	} {
		o := options(tlsconf.Dane)
		o.DANE.Resolver = resolver
		o.Maps = maps(t, "example.test=secure match=none.test:odd.test policy_type=sts")
		got := decide(policies(t, o), "example.test", host(name, true, true))
		if got != want && !(strings.HasSuffix(want, ": ") && strings.HasPrefix(got, want)) {
			t.Errorf("STS and DANE for %s: %s, want %s", name, got, want)
		}
	}
}

func TestErrorClass(t *testing.T) {
	o := options(tlsconf.DaneOnly)
	o.DANE.Resolver = &dnstest.Map{}
	_, err := policies(t, o).For(t.Context(), "example.test", Host{Name: "mx.test", Port: 25})
	if e, ok := errors.AsType[*Error](err); !ok || e.Reason != "no TLSA records found" || errors.Unwrap(e) != nil {
		t.Errorf("For = %v, want an *Error", err)
	}
	cause := errors.New("cause")
	if e := (&Error{"reason", cause}); e.Error() != "reason: cause" || !errors.Is(e, cause) {
		t.Errorf("Error() = %q", e.Error())
	}
}

func TestNewRefuses(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"smtp_tls_protocols":        func(o *Options) { o.Mandatory.Protocols = "x" },
		"smtp_tls_ciphers":          func(o *Options) { o.Opportunistic.Ciphers = "x" },
		"no fingerprints to match":  func(o *Options) { o.Level = tlsconf.Fingerprint },
		`unknown digest "crc"`:      func(o *Options) { o.Level, o.Digest, o.Fingerprints = tlsconf.Fingerprint, "crc", []string{"00"} },
		"is not a md5 fingerprint:": func(o *Options) { o.Level, o.Digest, o.Fingerprints = tlsconf.Fingerprint, "md5", []string{"00"} },
	} {
		o := options(tlsconf.May)
		change(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New: %v, want %q", err, want)
		}
	}
	o := options(tlsconf.May)
	o.Wrapper = true
	_, err := policies(t, o).For(t.Context(), "example.test", Host{Name: "mx.test", Port: 465})
	if err == nil || !strings.Contains(err.Error(), "tls_wrappermode requires security level encrypt") {
		t.Errorf("wrapper mode at level may: %v", err)
	}
	o.Level = tlsconf.Encrypt
	if got, err := policies(t, o).For(t.Context(), "example.test", Host{Name: "mx.test", Port: 465}); err != nil || !got.Wrapper || !got.Required || got.Level != "encrypt" {
		t.Errorf("wrapper mode at level encrypt: %+v, %v", got, err)
	}
}
