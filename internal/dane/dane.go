// Package dane checks the certificate of a mail server against its TLSA records
// (DANE: RFC 6698, updated by RFC 7671, for SMTP by RFC 7672).
//
// A TLSA record says, in a zone that DNSSEC signs, which certificate or key a
// server has. It replaces the public authorities:
//
//	_25._tcp.mx.example.test. IN TLSA 3 1 1 8CB0FC6C527506A053F4F14C8464BEBBD6DEDE2738D11468DD953D7D6A3021F1
//	                                  | | |
//	usage: 3 DANE-EE, 2 DANE-TA ------+ | +-- matching type: 0 all octets, 1 SHA-256, 2 SHA-512
//	selector: 0 certificate, 1 public key
//
// Usage 3 names the certificate of the server itself: names in it and its dates
// do not count (RFC 7672, 3.1.1). Usage 2 names an authority in the chain that
// the server shows, or, with matching type 0, one that it need not show: the
// certificate must be good in every other way and have one of the names
// (RFC 7672, 3.1.2 and 3.2). Usages 0 and 1 ask for public authorities besides
// and mean nothing for SMTP (RFC 7672, 3.1.3): such records are unusable.
//
// # Which records count
//
// Usable leaves out the records that cannot be used: other usages, selectors and
// matching types, data of the wrong length, certificates and keys that cannot be
// read. Of several digests of one usage and selector only the one that
// tls_dane_digests names first counts, so that a broken one does no harm
// (RFC 7671, 9). When records exist and none is usable, the connection must be
// encrypted and cannot be verified (RFC 7672, 2.2).
//
// # Limits
//
// DNS is not asked here: see dns.TLSAResolver, and tlspolicy for what is done
// when there are no records. Certificates are never checked for revocation.
//
// It imports dns and tlsconf.
package dane

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"postern/internal/dns"
)

// Values of the fields of a record (RFC 7218).
const (
	UsageTA = 2 // DANE-TA: an authority of the domain's choice
	UsageEE = 3 // DANE-EE: the server's certificate

	SelectorCert = 0 // the certificate
	SelectorKey  = 1 // its SubjectPublicKeyInfo

	MatchingFull   = 0 // the octets themselves
	MatchingSHA256 = 1
	MatchingSHA512 = 2
)

// digest is a matching type with a digest.
type digest struct {
	name     string // in tls_dane_digests
	matching uint8
	size     int
}

var digests = [...]digest{
	{"sha256", MatchingSHA256, sha256.Size},
	{"sha512", MatchingSHA512, sha512.Size},
}

// ParseDigests reads tls_dane_digests, the digests from best to worst. Those that
// are not listed are not used. It gives the matching types in that order.
func ParseDigests(list []string) ([]uint8, error) {
	var out []uint8
	for _, name := range list {
		i := slices.IndexFunc(digests[:], func(d digest) bool { return strings.EqualFold(d.name, name) })
		if i < 0 {
			return nil, fmt.Errorf("unknown digest %q: sha512 and sha256 are known", name)
		}
		if !slices.Contains(out, digests[i].matching) {
			out = append(out, digests[i].matching)
		}
	}
	return out, nil
}

// Usable returns the records that can be used to verify a server, of every
// usage and selector those of the best digest and those without (RFC 7671, 9).
// order are the matching types of ParseDigests. An empty result means that no
// connection can be verified.
func Usable(records []dns.TLSA, order []uint8) []dns.TLSA {
	type kind struct{ usage, selector uint8 }
	best := map[kind]int{} // index in order
	var valid []dns.TLSA
	for _, r := range records {
		if !valuable(r) {
			continue
		}
		valid = append(valid, r)
		k, i := kind{r.Usage, r.Selector}, slices.Index(order, r.MatchingType)
		if old, ok := best[k]; i >= 0 && (!ok || i < old) {
			best[k] = i
		}
	}
	return slices.DeleteFunc(valid, func(r dns.TLSA) bool {
		if r.MatchingType == MatchingFull {
			return false
		}
		i, ok := best[kind{r.Usage, r.Selector}]
		return !ok || order[i] != r.MatchingType
	})
}

// valuable reports whether a record means something by itself.
func valuable(r dns.TLSA) bool {
	if r.Usage != UsageTA && r.Usage != UsageEE || r.Selector > SelectorKey {
		return false
	}
	if r.MatchingType != MatchingFull {
		return slices.ContainsFunc(digests[:], func(d digest) bool { return d.matching == r.MatchingType && d.size == len(r.Data) })
	}
	var err error
	if r.Selector == SelectorCert {
		_, err = x509.ParseCertificate(r.Data)
	} else {
		_, err = x509.ParsePKIXPublicKey(r.Data)
	}
	return err == nil
}
