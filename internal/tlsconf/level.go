package tlsconf

import (
	"fmt"
	"strings"
)

// Level is how much TLS a client wants (postconf smtp_tls_security_level).
type Level uint8

// Levels, in the order of Postfix: from Encrypt on, mail does not go out in
// clear. What Dane and DaneOnly come to for a host depends on its TLSA records.
const (
	None        Level = iota // in clear
	May                      // if the server has it, whoever it is
	Encrypt                  // required, whoever it is
	Dane                     // the certificate is one that TLSA records name; without such records like May
	DaneOnly                 // the same; without such records there is no delivery
	Fingerprint              // required, and the certificate or its key is a known one
	Verify                   // required, and the certificate names the server
	Secure                   // required, and the certificate names the next hop
)

var levels = [...]string{"none", "may", "encrypt", "dane", "dane-only", "fingerprint", "verify", "secure"}

// ParseLevel reads a security level, in any case. "" is None.
func ParseLevel(name string) (Level, error) {
	if name == "" {
		return None, nil
	}
	for i, l := range levels {
		if strings.EqualFold(l, name) {
			return Level(i), nil
		}
	}
	return None, fmt.Errorf("unknown TLS security level %q", name)
}

// String is the name of the level.
func (l Level) String() string { return levels[l] }

// Required reports whether mail must not go out without TLS. For Dane that is
// so once TLSA records were found.
func (l Level) Required() bool { return l >= Encrypt }
