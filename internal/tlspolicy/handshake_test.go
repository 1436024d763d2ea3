package tlspolicy

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"postern/internal/dns"
	"postern/internal/dns/dnstest"
	"postern/internal/smtpc"
	"postern/internal/tlsconf"
	"postern/internal/tlsconf/tlstest"
)

// handshake connects with a policy and says what became of it.
func handshake(t *testing.T, server *tls.Config, policy smtpc.TLS) (smtpc.Trust, error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		s := tls.Server(conn, server)
		if s.Handshake() == nil {
			_, _ = s.Read(make([]byte, 1)) // until the client goes
		}
	}()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := tls.Client(a, policy.Config)
	err = c.HandshakeContext(t.Context())
	trust := smtpc.Anonymous
	if err == nil {
		trust = policy.Trust(c.ConnectionState())
	}
	a.Close()
	<-done
	return trust, err
}

// Each level against real servers: who gets through, and how far it is trusted.
func TestHandshake(t *testing.T) {
	ca, stranger := tlstest.New(t), tlstest.New(t)
	good, foreign := ca.Config(t, "mx.example.test"), stranger.Config(t, "mx.example.test")
	other := ca.Config(t, "other.test")
	leaf, err := x509.ParseCertificate(foreign.Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	resolver := &dnstest.Map{TLSA: map[string][]dns.TLSA{"_25._tcp.mx.example.test": {{Usage: 3, Selector: 1, MatchingType: 1, Data: sum[:]}}}}
	const refused = "refused"
	for _, test := range []struct {
		level                tlsconf.Level
		good, foreign, other string
	}{
		{tlsconf.May, "Trusted", "Untrusted", "Trusted"},
		{tlsconf.Encrypt, "Trusted", "Untrusted", "Trusted"},
		{tlsconf.Verify, "Verified", refused, refused},
		{tlsconf.Secure, "Verified", refused, refused},
		{tlsconf.Fingerprint, refused, "Verified", refused},
		{tlsconf.Dane, refused, "Verified", refused},
	} {
		o := options(test.level)
		o.Roots, o.DANE.Resolver, o.Fingerprints = ca.Pool, resolver, []string{fmt.Sprintf("%X", sum)}
		policy, err := policies(t, o).For(t.Context(), "example.test", Host{Domain: "example.test", Name: "mx.example.test", Port: 25, MX: true, Secure: true})
		if err != nil {
			t.Fatal(err)
		}
		for want, server := range map[string]*tls.Config{"good " + test.good: good, "foreign " + test.foreign: foreign, "other " + test.other: other} {
			trust, err := handshake(t, server, policy)
			got := trust.String()
			if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
				got = refused
			} else if err != nil {
				got = err.Error()
			}
			if _, want, _ := strings.Cut(want, " "); got != want {
				t.Errorf("%s: %s, want %s", test.level, got, want)
			}
		}
	}
	o := options(tlsconf.Dane)
	o.DANE.Resolver = resolver
	policy, err := policies(t, o).For(t.Context(), "example.test", Host{Name: "mx.example.test", Port: 25, MX: true})
	if err != nil {
		t.Fatal(err)
	}
	if trust, err := handshake(t, foreign, policy); trust != smtpc.Trusted || err != nil {
		t.Errorf("DANE with insecure MX records: %s, %v; want Trusted", trust, err)
	}
}

// Mandatory parameters hold from encrypt on, and at dane when there are records.
func TestStrength(t *testing.T) {
	for level, want := range map[tlsconf.Level]uint16{tlsconf.May: tls.VersionTLS10, tlsconf.Encrypt: tls.VersionTLS12, tlsconf.Secure: tls.VersionTLS12} {
		got, err := policies(t, options(level)).For(t.Context(), "example.test", Host{Domain: "example.test", Name: "mx.test", Port: 25})
		if err != nil || got.Config.MinVersion != want {
			t.Errorf("%s: at least %s, %v; want %s", level, tls.VersionName(got.Config.MinVersion), err, tls.VersionName(want))
		}
	}
}
