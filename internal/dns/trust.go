package dns

import (
	"fmt"
	"net/netip"
)

// Trust says whose AD bit is believed: which name servers are known to have
// validated what they say, and are reached by a way on which nobody can change
// it (RFC 4035, 4.9.3).
type Trust uint8

// Degrees of trust, for dns_trust_ad.
const (
	TrustLoopback Trust = iota // a server on this machine
	TrustAll                   // every server: the way to it is protected otherwise
	TrustNone                  // nobody: nothing is Secure
)

// ParseTrust reads the value of dns_trust_ad: loopback, all or none.
func ParseTrust(text string) (Trust, error) {
	switch text {
	case "loopback":
		return TrustLoopback, nil
	case "all":
		return TrustAll, nil
	case "none":
		return TrustNone, nil
	}
	return TrustNone, fmt.Errorf("%q is none of loopback, all, none", text)
}

// of reports whether a server is believed.
func (t Trust) of(server netip.Addr) bool {
	return t == TrustAll || t == TrustLoopback && server.Unmap().IsLoopback()
}
