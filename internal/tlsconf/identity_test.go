package tlsconf_test

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"postern/internal/table"
	"postern/internal/table/tabletest"
	"postern/internal/tlsconf"
	"postern/internal/tlsconf/tlstest"
)

func TestMatching(t *testing.T) {
	ca := tlstest.New(t)
	leaf := ca.Leaf(t, false, "mx.example.test", "*.wild.test", "*.test", "192.0.2.1", "UPPER.test")
	for _, test := range []struct {
		name       string
		one, multi bool // without and with MultipleLabels
	}{
		{"mx.example.test", true, true},
		{"MX.Example.Test.", true, true},
		{"upper.test", true, true},
		{"example.test", false, false},
		{".example.test", true, true},
		{".mx.example.test", false, false},
		{"a.wild.test", true, true},
		{"a.b.wild.test", false, true},
		{"wild.test", false, false},
		{".wild.test", true, true},
		{"any.test", false, false}, // *.test: too much
		{"192.0.2.1", true, true},
		{"[192.0.2.1]", true, true},
		{"192.0.2.2", false, false},
		{"", false, false},
		{".", false, false},
	} {
		for multi, want := range map[bool]bool{false: test.one, true: test.multi} {
			err := tlsconf.Matching{MultipleLabels: multi}.Verify(leaf, []string{"x.invalid", test.name})
			if (err == nil) != want {
				t.Errorf("Matching{%v}.Verify(%q) = %v, want match %v", multi, test.name, err, want)
			}
		}
	}
	if err := (tlsconf.Matching{}).Verify(leaf, nil); err == nil {
		t.Error("no names match")
	}
}

func TestFingerprints(t *testing.T) {
	leaf := tlstest.New(t).Leaf(t, false, "mx.test")
	state := tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}
	cert := sha256.Sum256(leaf.Raw)
	key := sha1.Sum(leaf.RawSubjectPublicKeyInfo)
	colons := strings.ReplaceAll(fmt.Sprintf("% X", cert[:]), " ", ":")
	for _, test := range []struct {
		digest string
		list   []string
		want   string // part of an error
	}{
		{"sha256", []string{colons}, ""},
		{"SHA256", []string{fmt.Sprintf("%x", cert)}, ""},
		{"sha1", []string{strings.Repeat("00:", 19) + "00", fmt.Sprintf("%x", key)}, ""},
		{"md5", []string{strings.Repeat("00", 16)}, "are not known"},
		{"sha512", []string{strings.Repeat("00", 64)}, "are not known"},
		{"sha256", []string{"xx"}, "is not a sha256 fingerprint: 32 pairs"},
		{"sha256", []string{fmt.Sprintf("%x", key)}, "is not a sha256 fingerprint"},
		{"sha256", []string{""}, "is not a sha256 fingerprint"},
		{"crc32", nil, `unknown digest "crc32"`},
	} {
		f, err := tlsconf.ParseFingerprints(test.digest, test.list)
		if err == nil {
			err = f.Verify(state)
			if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok != (err != nil) {
				t.Errorf("%s: %T is of the wrong class", test.digest, err)
			}
		}
		if !hasError(err, test.want) {
			t.Errorf("%s %q: %v, want %q", test.digest, test.list, err, test.want)
		}
	}
	f, err := tlsconf.ParseFingerprints("sha256", []string{colons})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Verify(tls.ConnectionState{}); !hasError(err, "no certificate") {
		t.Errorf("without a certificate: %v", err)
	}
}

// Anchors may be authorities in between, and bare keys; the roots do not count
// then.
func TestAnchors(t *testing.T) {
	root, other := tlstest.New(t), tlstest.New(t)
	sub := root.Sub(t)
	leaf := sub.Leaf(t, false, "mx.test")
	key := func(ca *tlstest.CA) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: ca.Cert.RawSubjectPublicKeyInfo})
	}
	path := files(t, map[string][]byte{
		"root": root.PEM, "sub": sub.PEM, "other": other.PEM, "subkey": key(sub), "rootkey": key(root), "otherkey": key(other),
		"both": append(key(other), sub.PEM...), "text": []byte("x"),
		"badcert": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}),
		"badkey":  pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")}),
	})
	state := tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf, sub.Cert}}
	for file, want := range map[string]string{
		"root": "", "sub": "", "subkey": "", "rootkey": "", "both": "", "other": "unknown authority", "otherkey": "unknown authority",
		"text": "no certificates or public keys found", "badcert": "malformed", "badkey": "asn1", "gone": "no such file",
	} {
		a, err := tlsconf.ReadAnchors(nil, "tafile", path(file))
		if err != nil && !strings.Contains(err.Error(), "tafile: "+path(file)) {
			t.Errorf("%s: %v does not name parameter and file", file, err)
		}
		if err == nil {
			err = tlsconf.Client{Roots: root.Pool, Anchors: a}.VerifyChain(state)
		}
		if !hasError(err, want) {
			t.Errorf("%s: %v, want %q", file, err, want)
		}
	}
	a, err := tlsconf.ReadAnchors(nil, "tafile", path("other"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := tlsconf.ReadAnchors(nil, "tafile", path("subkey"))
	if err != nil {
		t.Fatal(err)
	}
	var none *tlsconf.Anchors
	if err := (tlsconf.Client{Anchors: none.Join(a).Join(b)}).VerifyChain(state); err != nil {
		t.Errorf("joined: %v", err)
	}
	if err := (tlsconf.Client{Anchors: a}).VerifyChain(state); err == nil {
		t.Error("Join changed what it was called on")
	}
	if list := tlsconf.SignedBy([]byte("no key"), state.PeerCertificates); list != nil {
		t.Errorf("a key that cannot be read has signed %d certificates", len(list))
	}
}

// The server asks for a certificate and gets ours; one that names authorities
// which did not certify it gets it too.
func TestClientCertificate(t *testing.T) {
	ca, stranger := tlstest.New(t), tlstest.New(t)
	cert, key := ca.Issue(t, "client.test")
	path := files(t, map[string][]byte{"cert": cert, "key": key, "chain": append(key, cert...)})
	for name, c := range map[string]tlsconf.Server{
		"pair":  {Pairs: []tlsconf.Pair{{Parameter: "smtp_tls_cert_file", Cert: path("cert"), Key: path("key")}}},
		"chain": {ChainFiles: []string{path("chain")}, ChainName: "smtp_tls_chain_files"},
	} {
		choose, err := c.ClientCertificate()
		if err != nil {
			t.Fatal(err)
		}
		for _, hint := range []*x509.CertPool{nil, ca.Pool, stranger.Pool} {
			server := ca.Config(t, "mx.test")
			server.ClientAuth, server.ClientCAs = tls.RequestClientCert, hint
			shown := 0
			server.VerifyConnection = func(s tls.ConnectionState) error {
				shown = len(s.PeerCertificates)
				return nil
			}
			config, err := tlsconf.Client{Level: tlsconf.Encrypt, Certificate: choose}.Config()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := talk(t, server, config); err != nil || shown != 1 {
				t.Errorf("%s: %v, %d certificates shown", name, err, shown)
			}
		}
		none := &tls.CertificateRequestInfo{Version: tls.VersionTLS12, SignatureSchemes: []tls.SignatureScheme{tls.PSSWithSHA256}}
		if got, err := choose(none); err != nil || len(got.Certificate) != 0 {
			t.Errorf("%s: a server that cannot use it: %v, %v", name, got, err)
		}
	}
	if _, err := (tlsconf.Server{}).ClientCertificate(); !errors.Is(err, tlsconf.ErrNoCertificates) {
		t.Errorf("without files: %v", err)
	}
	_, err := tlsconf.Server{ChainFiles: []string{path("cert")}, ChainName: "smtp_tls_chain_files"}.ClientCertificate()
	if !hasError(err, "smtp_tls_chain_files: "+path("cert")) {
		t.Errorf("a file without a key: %v", err)
	}
}

func TestCheckIsNeeded(t *testing.T) {
	for _, level := range []tlsconf.Level{tlsconf.Dane, tlsconf.DaneOnly, tlsconf.Fingerprint} {
		if _, err := (tlsconf.Client{Level: level}).Config(); !hasError(err, "nothing to check a certificate with at security level "+level.String()) {
			t.Errorf("%s: %v", level, err)
		}
		asked := false
		config, err := tlsconf.Client{Level: level, Check: func(tls.ConnectionState) error { asked = true; return nil }}.Config()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := talk(t, tlstest.New(t).Config(t, "mx.test"), config); err != nil || !asked {
			t.Errorf("%s: %v, asked %v", level, err, asked)
		}
	}
}

// TestClosedAuthorities: files that the process may not read are read by somebody
// who may.
func TestClosedAuthorities(t *testing.T) {
	dir, helper, as := tabletest.Closed(t)
	ca := tlstest.New(t)
	if err := os.WriteFile(dir+"/ca.pem", ca.PEM, 0o600); err != nil {
		t.Fatal(err)
	}
	as(func() {
		opener := &table.Opener{Helper: helper}
		for what, load := range map[string]func(tlsconf.Files) error{
			"smtp_tls_CAfile": func(f tlsconf.Files) error {
				_, err := tlsconf.Roots(f, "smtp_", dir+"/ca.pem", "", false)
				return err
			},
			"smtp_tls_CApath": func(f tlsconf.Files) error {
				pool, err := tlsconf.Roots(f, "smtp_", "", dir, false)
				if err == nil && !pool.Equal(ca.Pool) {
					return errors.New("the authority is not in the pool")
				}
				return err
			},
			"tafile": func(f tlsconf.Files) error {
				_, err := tlsconf.ReadAnchors(f, "tafile", dir+"/ca.pem")
				return err
			},
		} {
			if err := load(opener); err != nil {
				t.Errorf("by the helper: %v", err)
			}
			if err := load(nil); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), what) {
				t.Errorf("without the helper: %v", err)
			}
		}
	})
}
