package smtpd

import (
	"strings"
	"testing"
)

// TestIsDomain: what Postfix takes as the domain of ETRN.
func TestIsDomain(t *testing.T) {
	long := strings.Repeat("a", 63)
	for text, want := range map[string]bool{
		"foo": true, "relay.example": true, "fo_o.example": true, "_foo.example": true, "a-b.example": true, "1.example": true,
		"bücher.example": true, long + ".b": true,
		"[192.0.2.1]": true, "[IPv6:::1]": true, "[ipv6:2001:db8::1]": true,
		"": false, "-foo": false, "foo-": false, "-foo.bar": false, ".foo": false, "foo.": false, "foo..bar": false, "*foo": false,
		"+relay.example": false, "@relay.example": false, "<relay.example>": false, "a" + long + ".b": false,
		"123": false, "1.2": false, "192.0.2.1": false,
		"[": false, "[]": false, "[::1]": false, "[IPv6:192.0.2.1]": false, "[IPv6:fe80::1%lo]": false, "[192.0.2.1": false, "[relay.example]": false,
	} {
		if got := isDomain(text); got != want {
			t.Errorf("isDomain(%q) = %t, want %t", text, got, want)
		}
	}
}
