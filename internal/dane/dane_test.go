package dane_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/dane"
	"postern/internal/dns"
	"postern/internal/tlsconf/tlstest"
)

// order is the default of tls_dane_digests.
var order = []uint8{dane.MatchingSHA512, dane.MatchingSHA256}

// record makes a TLSA record for a certificate.
func record(usage, selector, matching uint8, c *x509.Certificate) dns.TLSA {
	octets := c.Raw
	if selector == dane.SelectorKey {
		octets = c.RawSubjectPublicKeyInfo
	}
	switch matching {
	case dane.MatchingSHA256:
		sum := sha256.Sum256(octets)
		octets = sum[:]
	case dane.MatchingSHA512:
		sum := sha512.Sum512(octets)
		octets = sum[:]
	}
	return dns.TLSA{Usage: usage, Selector: selector, MatchingType: matching, Data: octets}
}

func TestVerify(t *testing.T) {
	root, other := tlstest.New(t), tlstest.New(t)
	sub := root.Sub(t)
	leaf, old := sub.Leaf(t, false, "mx.example.test"), sub.Leaf(t, true, "mx.example.test")
	foreign := other.Leaf(t, false, "mx.example.test")
	wild := sub.Leaf(t, false, "*.example.test")
	certs := func(list ...*x509.Certificate) []*x509.Certificate { return list }
	full := certs(leaf, sub.Cert, root.Cert)
	mx := []string{"mx.example.test", "example.test"}
	const mismatch = "no TLSA record matches"
	for _, test := range []struct {
		name    string
		records []dns.TLSA
		chain   []*x509.Certificate
		names   []string
		want    string // part of the error
	}{
		{"3 1 1", []dns.TLSA{record(3, 1, 1, leaf)}, full, mx, ""},
		{"3 0 1", []dns.TLSA{record(3, 0, 1, leaf)}, full, mx, ""},
		{"3 1 2", []dns.TLSA{record(3, 1, 2, leaf)}, full, mx, ""},
		{"3 0 0", []dns.TLSA{record(3, 0, 0, leaf)}, full, mx, ""},
		{"3 1 0", []dns.TLSA{record(3, 1, 0, leaf)}, full, mx, ""},
		{"3: names do not count", []dns.TLSA{record(3, 1, 1, leaf)}, certs(leaf), []string{"other.test"}, ""},
		{"3: dates do not count", []dns.TLSA{record(3, 1, 1, old)}, certs(old), mx, ""},
		{"3: another key", []dns.TLSA{record(3, 1, 1, foreign)}, full, mx, mismatch},
		{"3: an authority is not the server", []dns.TLSA{record(3, 1, 1, root.Cert)}, full, mx, mismatch},
		{"3: a second record matches", []dns.TLSA{record(3, 1, 1, foreign), record(3, 1, 1, leaf)}, full, mx, ""},
		{"no certificates", []dns.TLSA{record(3, 1, 1, leaf)}, nil, mx, "no certificate"},
		{"2 0 1 root", []dns.TLSA{record(2, 0, 1, root.Cert)}, full, mx, ""},
		{"2 1 1 sub", []dns.TLSA{record(2, 1, 1, sub.Cert)}, full, mx, ""},
		{"2 1 2 sub, no root shown", []dns.TLSA{record(2, 1, 2, sub.Cert)}, certs(leaf, sub.Cert), mx, ""},
		{"2: next hop", []dns.TLSA{record(2, 0, 1, root.Cert)}, full, []string{"x.test", "mx.example.test"}, ""},
		{"2: wildcard", []dns.TLSA{record(2, 0, 1, root.Cert)}, certs(wild, sub.Cert, root.Cert), mx, ""},
		{"2: wildcard is no parent", []dns.TLSA{record(2, 0, 1, root.Cert)}, certs(wild, sub.Cert, root.Cert), []string{"example.test"}, "none of the names"},
		{"2: names count", []dns.TLSA{record(2, 0, 1, root.Cert)}, full, []string{"other.test"}, "none of the names"},
		{"2: dates count", []dns.TLSA{record(2, 0, 1, root.Cert)}, certs(old, sub.Cert, root.Cert), mx, "expired"},
		{"2: not shown", []dns.TLSA{record(2, 0, 1, root.Cert)}, certs(leaf, sub.Cert), mx, mismatch},
		{"2 0 0: need not be shown", []dns.TLSA{record(2, 0, 0, root.Cert)}, certs(leaf, sub.Cert), mx, ""},
		{"2 1 0: need not be shown", []dns.TLSA{record(2, 1, 0, root.Cert)}, certs(leaf, sub.Cert), mx, ""},
		{"2 1 0: signed the server's own", []dns.TLSA{record(2, 1, 0, sub.Cert)}, certs(leaf), mx, ""},
		{"2 1 0: has signed nothing", []dns.TLSA{record(2, 1, 0, other.Cert)}, certs(leaf, sub.Cert), mx, mismatch},
		{"2: the server's own certificate is no authority", []dns.TLSA{record(2, 0, 1, leaf)}, full, mx, mismatch},
		{"2: an authority that is only shown", []dns.TLSA{record(2, 0, 1, root.Cert)}, certs(foreign, sub.Cert, root.Cert), mx, "unknown authority"},
		{"2 fails and 3 matches", []dns.TLSA{record(2, 0, 1, other.Cert), record(3, 1, 1, leaf)}, full, mx, ""},
		{"no records", nil, full, mx, mismatch},
	} {
		v := &dane.Verifier{Records: test.records, Names: test.names}
		err := v.Verify(tls.ConnectionState{PeerCertificates: test.chain})
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
		if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok != (err != nil) {
			t.Errorf("%s: %T is of the wrong class", test.name, err)
		}
		if got := dane.Usable(test.records, order); len(got) != len(test.records) {
			t.Errorf("%s: the records of the test are not usable: %v", test.name, got)
		}
	}
}

func TestVerifyLooksAtTheClock(t *testing.T) {
	ca := tlstest.New(t)
	v := &dane.Verifier{Records: []dns.TLSA{record(2, 0, 1, ca.Cert)}, Names: []string{"mx.test"},
		Now: func() time.Time { return time.Now().AddDate(1, 0, 0) }}
	state := tls.ConnectionState{PeerCertificates: []*x509.Certificate{ca.Leaf(t, false, "mx.test"), ca.Cert}}
	if err := v.Verify(state); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("a year later: %v", err)
	}
}

func TestUsable(t *testing.T) {
	ca := tlstest.New(t)
	short := func(usage, selector, matching uint8, n int) dns.TLSA {
		return dns.TLSA{Usage: usage, Selector: selector, MatchingType: matching, Data: make([]byte, n)}
	}
	show := func(list []dns.TLSA) string {
		var b strings.Builder
		for _, r := range list {
			fmt.Fprintf(&b, "%d %d %d/", r.Usage, r.Selector, r.MatchingType)
		}
		return b.String()
	}
	for _, test := range []struct {
		records []dns.TLSA
		order   []uint8
		want    string
	}{
		{nil, order, ""},
		{[]dns.TLSA{short(0, 0, 1, 32), short(1, 0, 1, 32), short(4, 0, 1, 32), short(255, 0, 1, 32)}, order, ""},
		{[]dns.TLSA{short(3, 2, 1, 32), short(3, 255, 1, 32), short(3, 0, 3, 32)}, order, ""},
		{[]dns.TLSA{short(3, 1, 1, 31), short(3, 1, 2, 32), short(3, 1, 1, 0)}, order, ""},
		{[]dns.TLSA{short(3, 1, 0, 32), short(2, 0, 0, 0)}, order, ""}, // no key, no certificate
		{[]dns.TLSA{short(3, 1, 1, 32), short(3, 1, 2, 64)}, order, "3 1 2/"},
		{[]dns.TLSA{short(3, 1, 1, 32), short(3, 1, 2, 64)}, []uint8{1, 2}, "3 1 1/"},
		{[]dns.TLSA{short(3, 1, 1, 32), short(3, 1, 2, 64)}, []uint8{1}, "3 1 1/"},
		{[]dns.TLSA{short(3, 1, 2, 64)}, []uint8{1}, ""},
		{[]dns.TLSA{short(3, 1, 1, 32), short(3, 0, 2, 64), short(2, 1, 2, 64)}, order, "3 1 1/3 0 2/2 1 2/"},
		{[]dns.TLSA{short(3, 1, 1, 32), short(3, 1, 1, 32)}, order, "3 1 1/3 1 1/"},
		{[]dns.TLSA{record(3, 0, 0, ca.Cert), short(3, 0, 1, 32), short(3, 0, 2, 64)}, order, "3 0 0/3 0 2/"},
		{[]dns.TLSA{record(2, 1, 0, ca.Cert)}, nil, "2 1 0/"},
	} {
		if got := show(dane.Usable(test.records, test.order)); got != test.want {
			t.Errorf("Usable(%s, %v) = %s, want %s", show(test.records), test.order, got, test.want)
		}
	}
}

func TestParseDigests(t *testing.T) {
	for _, test := range []struct {
		list []string
		want []uint8
		err  string
	}{
		{[]string{"sha512", "sha256"}, []uint8{2, 1}, ""},
		{[]string{"SHA256", "sha256"}, []uint8{1}, ""},
		{nil, nil, ""},
		{[]string{"sha512", "md5"}, nil, `unknown digest "md5"`},
	} {
		got, err := dane.ParseDigests(test.list)
		if diff := cmp.Diff(test.want, got); diff != "" || (err != nil) != (test.err != "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("ParseDigests(%q) = %v, %v; want %v, %q", test.list, got, err, test.want, test.err)
		}
	}
}

// FuzzUsable gives any record to a server that has none of it: it is never
// verified, unless the record is what the certificate is.
func FuzzUsable(f *testing.F) {
	ca := tlstest.New(f)
	leaf := ca.Leaf(f, false, "mx.test")
	f.Add(uint8(3), uint8(1), uint8(1), make([]byte, 32))
	f.Add(uint8(2), uint8(0), uint8(0), ca.Cert.Raw)
	f.Add(uint8(2), uint8(1), uint8(0), ca.Cert.RawSubjectPublicKeyInfo)
	f.Add(uint8(3), uint8(0), uint8(0), leaf.Raw)
	f.Add(uint8(3), uint8(0), uint8(2), []byte("short"))
	state := tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf, ca.Cert}}
	f.Fuzz(func(t *testing.T, usage, selector, matching uint8, data []byte) {
		r := dns.TLSA{Usage: usage, Selector: selector, MatchingType: matching, Data: data}
		v := &dane.Verifier{Records: dane.Usable([]dns.TLSA{r}, order), Names: []string{"mx.test"}}
		good := false
		for _, c := range state.PeerCertificates {
			if selector <= 1 && matching <= 2 && bytes.Equal(record(usage, selector, matching, c).Data, data) {
				good = true
			}
		}
		if err := v.Verify(state); err == nil && !good {
			t.Errorf("%d %d %d %x verifies a server that it does not describe", usage, selector, matching, data)
		}
	})
}
