package tlsconf

import (
	"crypto/x509"
	"fmt"
	"net/netip"
	"strings"
)

// Matching says how the names of a certificate are compared. Only its
// subjectAltName counts, never the subject (RFC 9525, 2).
type Matching struct {
	// MultipleLabels lets "*.example.test" in a certificate stand for
	// "a.b.example.test" too (tls_wildcard_matches_multiple_labels).
	MultipleLabels bool
}

// Verify fails unless the certificate has one of the names. A name is that of a
// host, an IP address, or ".example.test" for every name below example.test.
func (m Matching) Verify(leaf *x509.Certificate, names []string) error {
	for _, name := range names {
		if m.matches(leaf, name) {
			return nil
		}
	}
	return fmt.Errorf("the certificate has none of the names %q", names)
}

// matches reports whether a certificate has a name.
func (m Matching) matches(leaf *x509.Certificate, name string) bool {
	if ip, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return leaf.VerifyHostname(ip.String()) == nil
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	for _, san := range leaf.DNSNames {
		if m.is(strings.ToLower(strings.TrimSuffix(san, ".")), name) {
			return true
		}
	}
	return false
}

// is compares a name of a certificate with the one that is asked for, both in
// lower case. A wildcard is a whole first label, with two labels or more behind
// it.
func (m Matching) is(san, name string) bool {
	if name == "" || name == "." {
		return false
	}
	if name[0] == '.' {
		return len(san) > len(name) && strings.HasSuffix(san, name)
	}
	below, wildcard := strings.CutPrefix(san, "*.")
	if !wildcard {
		return san == name
	}
	first, rest, _ := strings.Cut(name, ".")
	if first == "" || !strings.Contains(below, ".") {
		return false
	}
	return rest == below || m.MultipleLabels && strings.HasSuffix(rest, "."+below)
}
