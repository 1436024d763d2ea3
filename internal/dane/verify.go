package dane

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"time"

	"postern/internal/dns"
	"postern/internal/tlsconf"
)

// Verifier checks the certificates that a server shows.
type Verifier struct {
	Records []dns.TLSA // as Usable returned them
	// Names are the reference identifiers of usage 2: the TLSA base domain, the
	// next hop, and what that is an alias of (RFC 7672, 3.2).
	Names []string
	Match tlsconf.Matching // how names are compared
	Now   func() time.Time // nil: time.Now
}

var errMismatch = errors.New("no TLSA record matches the certificates of the server")

// Verify is for tls.Config.VerifyConnection. An error is a
// *tls.CertificateVerificationError.
func (v *Verifier) Verify(state tls.ConnectionState) error {
	if err := v.verify(state.PeerCertificates); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
	}
	return nil
}

func (v *Verifier) verify(chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return errors.New("no certificate")
	}
	for _, r := range v.Records {
		if r.Usage == UsageEE && matches(r, chain[0]) {
			return nil
		}
	}
	anchors := v.anchors(chain)
	if len(anchors) == 0 {
		return errMismatch
	}
	options := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool()}
	if v.Now != nil {
		options.CurrentTime = v.Now()
	}
	for _, c := range anchors {
		options.Roots.AddCert(c)
	}
	for _, c := range chain[1:] {
		options.Intermediates.AddCert(c)
	}
	if _, err := chain[0].Verify(options); err != nil {
		return err
	}
	return v.Match.Verify(chain[0], v.Names)
}

// anchors are the certificates that the records of usage 2 make trusted: those
// of the chain behind the server's own that match one, those that the records
// hold, and those that a key in a record has signed (RFC 7671, 5.2).
func (v *Verifier) anchors(chain []*x509.Certificate) []*x509.Certificate {
	var list []*x509.Certificate
	for _, r := range v.Records {
		if r.Usage != UsageTA {
			continue
		}
		for _, c := range chain[1:] {
			if matches(r, c) {
				list = append(list, c)
			}
		}
		if r.MatchingType != MatchingFull {
			continue
		}
		if r.Selector == SelectorCert {
			if c, err := x509.ParseCertificate(r.Data); err == nil {
				list = append(list, c)
			}
			continue
		}
		list = append(list, tlsconf.SignedBy(r.Data, chain)...)
	}
	return list
}

// matches compares a certificate with a record.
func matches(r dns.TLSA, c *x509.Certificate) bool {
	octets := c.Raw
	if r.Selector == SelectorKey {
		octets = c.RawSubjectPublicKeyInfo
	}
	switch r.MatchingType {
	case MatchingFull:
	case MatchingSHA256:
		sum := sha256.Sum256(octets)
		octets = sum[:]
	case MatchingSHA512:
		sum := sha512.Sum512(octets)
		octets = sum[:]
	default:
		return false
	}
	return bytes.Equal(octets, r.Data)
}
