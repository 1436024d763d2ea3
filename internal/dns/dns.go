// Package dns asks the Domain Name System what a mail server wants to know: the
// mail exchangers of a domain, the addresses of a host, the name of an address,
// the TLSA records of a server and the text of a name.
//
// Client asks the servers of dns_servers, or those of /etc/resolv.conf, over
// UDP with EDNS0 and over TCP when an answer was cut (RFC 7766), and keeps
// answers for their time to live. Native looks into /etc/hosts first and
// applies the search list, as the C library does (smtp_host_lookup = native).
// PeerName gives the verified name of a client (smtpd_peername_lookup).
//
// An answer is either data or an *Error with a class: the name does not exist,
// it exists without such data, the reply makes no sense, or nobody can say at
// the moment. Only the last one is a reason to try again later.
//
//	mx, err := client.LookupMX(ctx, "example.test")
//	if dns.IsNotFound(err) { ... bounce ... }
//
// Bounds: a lookup asks at most Attempts times each server, each for at most
// Timeout; a chain of aliases has at most 10 links; the cache has a fixed number
// of entries. Names in answers are checked to be host names, for whoever owns a
// zone can put anything there.
//
// # DNSSEC
//
// Signatures are not checked here. A server that may be trusted to have checked
// them (dns_trust_ad; without it, one on this machine) is asked to say so, and an
// answer with its AD bit is Secure; the answer of any other server never is.
// For DANE nothing else counts: see LookupTLSA.
//
// It imports golang.org/x/net/idna and github.com/miekg/dns.
package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// Resolver is what users of this package need of a Client or a Native, or of
// the maps of dnstest. Names are given and returned without a final dot; names
// with U-labels are asked in their A-label form. Errors are *Error.
type Resolver interface {
	// LookupMX returns the mail exchangers of a domain, best preference first.
	// It never returns an empty list without an error. See IsNullMX.
	LookupMX(ctx context.Context, domain string) ([]MX, error)
	// LookupHost returns the addresses of a host, of the families in use
	// (inet_protocols). An IP address in text form is its own answer.
	LookupHost(ctx context.Context, host string) ([]netip.Addr, error)
	// LookupPTR returns the names of an address, unverified: see PeerName.
	LookupPTR(ctx context.Context, addr netip.Addr) ([]string, error)
}

// MX is one mail exchanger (RFC 5321, 5.1).
type MX struct {
	Host       string // "" in a null MX
	Preference uint16
	Secure     bool // the records of the domain are validated (DNSSEC)
}

// IsNullMX reports whether the list says that a domain accepts no mail: one
// exchanger, the root (RFC 7505, 3).
func IsNullMX(list []MX) bool { return len(list) == 1 && list[0].Host == "" }

// Class says what kind of "no" an Error is.
type Class uint8

// Classes. The zero value is the careful one.
const (
	Temporary Class = iota // no answer, or a server that cannot answer
	NotFound               // the name does not exist (NXDOMAIN)
	NoData                 // the name exists and has no data of the type
	Malformed              // the name, or what the reply says, is not a host name
)

// String is the text that belongs behind "Name service error for ...: ".
func (c Class) String() string {
	switch c {
	case NotFound:
		return "Host not found"
	case NoData:
		return "Host found but no data record of requested type"
	case Malformed:
		return "Malformed or unexpected name server reply"
	default:
		return "Host not found, try again"
	}
}

// Error is a lookup without a result.
type Error struct {
	Name  string // as asked
	Type  string // "MX", "A", "AAAA", "PTR", "TLSA", "TXT", "CNAME"
	Class Class
	Err   error // cause, may be nil
}

func (e *Error) Error() string {
	text := fmt.Sprintf("name service error for name=%s type=%s: %s", e.Name, e.Type, strings.ToLower(e.Class.String()))
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// ClassOf returns the class of a lookup error; any other error is Temporary.
func ClassOf(err error) Class {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Class
	}
	return Temporary
}

// IsNotFound reports whether err says that the name has no such data, now and
// for good. It is false for nil and for temporary trouble.
func IsNotFound(err error) bool { return err != nil && ClassOf(err) != Temporary }

// ascii returns the form in which a name is asked: A-labels, without the final
// dot (RFC 5890). ok is false when it is no name at all.
func ascii(name string) (string, bool) {
	name = strings.TrimSuffix(name, ".")
	for i := 0; i < len(name); i++ {
		if name[i] >= 0x80 {
			a, err := idna.Lookup.ToASCII(name)
			return a, err == nil && validHost(a)
		}
	}
	return name, validHost(name)
}

// validHost reports whether a name may be that of a host: RFC 1123, 2.1, with
// the underscore that is in use. It has no final dot.
func validHost(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	label := 0
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case c == '.':
			if label == 0 || name[i-1] == '-' {
				return false
			}
			label = 0
			continue
		case c == '-' && label == 0:
			return false
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
		if label++; label > 63 {
			return false
		}
	}
	return label > 0 && name[len(name)-1] != '-'
}

// numeric reports whether a name has digits and dots only, so that it could be
// mistaken for an address.
func numeric(name string) bool {
	return strings.Trim(name, "0123456789.") == ""
}
