package dns

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// TLSA is one record of that type (RFC 6698, 2.1), as it is in the DNS: whether
// it can be used is the business of package dane.
type TLSA struct {
	Usage        uint8
	Selector     uint8
	MatchingType uint8
	Data         []byte
}

// TLSASet are the validated TLSA records of a server, at least one.
type TLSASet struct {
	// Base is the TLSA base domain: the name at which the records are, the host
	// or what it is an alias of (RFC 7671, 7). It is the server's name for TLS.
	Base    string
	Records []TLSA
}

// TLSAResolver is the power to look up TLSA records.
type TLSAResolver interface {
	// LookupTLSA returns the TLSA records of the TCP port of a host. Records that
	// are not Secure do not exist.
	//
	// They are not even asked for when the addresses of the host are not Secure,
	// unless insecureHost is set (RFC 7672, 2.2.2;
	// smtp_tls_force_insecure_host_tlsa_lookup): name servers that cannot answer
	// such questions are common where there is no DNSSEC. A host that is an
	// alias is asked for at the end of the chain first when the whole chain is
	// Secure, then at its own name; at its own name only, when just the alias
	// itself is Secure.
	//
	// IsNotFound(err): the host has none. Any other error: nobody can say, and the
	// host must not be used without them.
	LookupTLSA(ctx context.Context, host string, port uint16, insecureHost bool) (TLSASet, error)
}

var _ TLSAResolver = (*Client)(nil)

// LookupTLSA implements TLSAResolver.
func (c *Client) LookupTLSA(ctx context.Context, host string, port uint16, insecureHost bool) (TLSASet, error) {
	bases, err := c.tlsaBases(ctx, host, insecureHost)
	if err != nil {
		return TLSASet{}, err
	}
	for _, base := range bases {
		a, err := c.lookup(ctx, fmt.Sprintf("_%d._tcp.%s", port, base), dns.TypeTLSA)
		if err != nil && !IsNotFound(err) {
			return TLSASet{}, err
		}
		if set := (TLSASet{base, tlsaRecords(a)}); len(set.Records) > 0 {
			return set, nil
		}
	}
	return TLSASet{}, &Error{Name: host, Type: "TLSA", Class: NoData}
}

// tlsaBases are the TLSA base domains to try for a host, in order (RFC 7672,
// 2.2.2 and 2.2.3).
func (c *Client) tlsaBases(ctx context.Context, host string, insecureHost bool) ([]string, error) {
	name, ok := ascii(host)
	if _, err := netip.ParseAddr(host); err == nil || !ok {
		return nil, nil
	}
	owner, secure, err := c.hostOwner(ctx, name)
	if err != nil {
		return nil, err
	}
	alias := !strings.EqualFold(owner, name)
	switch {
	case secure && alias:
		return []string{owner, name}, nil
	case secure || insecureHost:
		return []string{name}, nil
	case !alias:
		return nil, nil
	}
	a, err := c.lookup(ctx, name, dns.TypeCNAME)
	if err != nil && !IsNotFound(err) {
		return nil, err
	}
	if !a.secure {
		return nil, nil
	}
	return []string{name}, nil
}

// hostOwner finds the name that a host is an alias of, or its own, and whether
// all that is said of its addresses is Secure.
func (c *Client) hostOwner(ctx context.Context, name string) (owner string, secure bool, err error) {
	owner, secure = name, true
	found := false
	for _, family := range []struct {
		qtype uint16
		used  bool
	}{{dns.TypeA, c.ipv4}, {dns.TypeAAAA, c.ipv6}} {
		if !family.used {
			continue
		}
		a, lookupErr := c.lookup(ctx, name, family.qtype)
		if lookupErr != nil {
			err = lookupErr
			continue
		}
		owner, found, secure = a.owner, true, secure && a.secure
	}
	if found || IsNotFound(err) {
		return owner, found && secure, nil
	}
	return owner, false, err
}

// tlsaRecords are the records of an answer that is Secure. One whose data
// cannot be read stays, empty: it makes the host one that has TLSA records
// (RFC 7672, 2.2).
func tlsaRecords(a answer) []TLSA {
	if !a.secure {
		return nil
	}
	var list []TLSA
	for _, rr := range a.records {
		r := rr.(*dns.TLSA)
		data, err := hex.DecodeString(r.Certificate)
		if err != nil {
			data = nil
		}
		list = append(list, TLSA{Usage: r.Usage, Selector: r.Selector, MatchingType: r.MatchingType, Data: data})
	}
	return list
}
