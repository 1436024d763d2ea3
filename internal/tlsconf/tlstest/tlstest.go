// Package tlstest gives tests a certificate authority of their own.
//
// It imports only the standard library.
package tlstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"embed"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"
)

// CA is a certificate authority.
type CA struct {
	PEM  []byte // its certificate
	Cert *x509.Certificate
	Pool *x509.CertPool

	key *ecdsa.PrivateKey
}

// New makes an authority.
func New(t testing.TB) *CA {
	t.Helper()
	return newCA(t, nil)
}

// Sub makes an authority that is certified by this one.
func (ca *CA) Sub(t testing.TB) *CA {
	t.Helper()
	return newCA(t, ca)
}

// newCA makes an authority below another one, or a root.
func newCA(t testing.TB, parent *CA) *CA {
	t.Helper()
	ca := &CA{key: newKey(t), Pool: x509.NewCertPool()}
	template := template("Test CA")
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	if parent == nil {
		parent = &CA{Cert: template, key: ca.key}
	} else {
		template.Subject.CommonName = "Test Sub CA"
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent.Cert, ca.key.Public(), parent.key)
	if err != nil {
		t.Fatal(err)
	}
	if ca.Cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	ca.PEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	ca.Pool.AddCert(ca.Cert)
	return ca
}

// Leaf makes a certificate as Issue does, for looking at it. old is one that has
// expired.
func (ca *CA) Leaf(t testing.TB, old bool, names ...string) *x509.Certificate {
	t.Helper()
	der, _ := ca.issue(t, old, names)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// Issue makes a certificate for host names and addresses, and its key, as PEM.
func (ca *CA) Issue(t testing.TB, names ...string) (cert, key []byte) {
	t.Helper()
	der, k := ca.issue(t, false, names)
	kder, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kder})
}

func (ca *CA) issue(t testing.TB, old bool, names []string) (der []byte, k *ecdsa.PrivateKey) {
	t.Helper()
	template := template(names[0])
	if old {
		template.NotAfter = time.Now().Add(-time.Minute)
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	k = newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, ca.Cert, k.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	return der, k
}

// files are made by openssl(1), which knows more kinds of keys than Go.
//
//go:embed testdata/*.pem
var files embed.FS

// Unknown is a key, and a certificate for mail.test, of a kind that crypto/tls cannot
// use: ed448, rsa-pss, dsa, brainpool, brainpool-explicit (the curve is written out) or
// secp256k1 (not in PKCS #8).
func Unknown(t testing.TB, kind string) []byte {
	t.Helper()
	text, err := files.ReadFile("testdata/" + kind + ".pem")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Config is the configuration of a server with a certificate for the names.
func (ca *CA) Config(t testing.TB, names ...string) *tls.Config {
	t.Helper()
	pair, err := tls.X509KeyPair(ca.Issue(t, names...))
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func template(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
}
