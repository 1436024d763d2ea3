package tlspolicy

import (
	"context"
	"fmt"
	"strings"

	"postern/internal/dane"
	"postern/internal/dns"
	"postern/internal/tlsconf"
)

// dane applies the levels dane and dane-only to a host (RFC 7672, 2.2).
func (p *Policies) dane(ctx context.Context, e entry, host Host) (*decision, error) {
	o := p.o.DANE
	switch {
	case host.Port == 0:
		return nil, fmt.Errorf("the security level %s is invalid for delivery to a socket", e.level)
	case o.Resolver == nil && e.level == tlsconf.DaneOnly:
		return nil, fmt.Errorf("security level %s: %s", e.level, o.Missing)
	case o.Resolver == nil:
		return p.without(e, host, tlsconf.May, o.Missing)
	case host.MX && !host.Secure && (e.level == tlsconf.DaneOnly || o.InsecureMX <= tlsconf.May):
		return p.without(e, host, tlsconf.May, "non DNSSEC destination")
	}
	set, err := o.Resolver.LookupTLSA(ctx, host.Name, host.Port, o.InsecureHost)
	switch {
	case dns.IsNotFound(err):
		return p.without(e, host, tlsconf.May, "no TLSA records found")
	case err != nil:
		return nil, &Error{fmt.Sprintf("TLSA lookup error for %s:%d", host.Name, host.Port), err}
	}
	records := dane.Usable(set.Records, o.Digests)
	switch {
	case len(records) == 0:
		return p.without(e, host, tlsconf.Encrypt, "TLSA records unusable")
	case host.MX && !host.Secure && o.InsecureMX == tlsconf.Encrypt:
		return p.without(e, host, tlsconf.Encrypt, "non DNSSEC destination")
	}
	v := &dane.Verifier{Records: records, Names: []string{set.Base}, Match: p.o.Match}
	if host.Domain != "" && !strings.EqualFold(host.Domain, set.Base) {
		v.Names = append(v.Names, host.Domain)
	}
	c := p.client(e, tlsconf.Dane)
	c.Level, c.Host, c.Check = e.level, set.Base, v.Verify
	return &decision{Client: c, half: host.MX && !host.Secure}, nil
}

// without is the decision for a host that cannot be verified by DANE: a lower
// level, or with dane-only that it must not be used.
func (p *Policies) without(e entry, host Host, level tlsconf.Level, reason string) (*decision, error) {
	if e.level == tlsconf.DaneOnly {
		return nil, &Error{Reason: reason}
	}
	c := p.client(e, level)
	c.Host = p.serverName(e, host)
	return &decision{Client: c}, nil
}

// sts applies a policy of RFC 8461 to a host. Where the level of main.cf is DANE
// and the host has records that can be used, it is these that count.
func (p *Policies) sts(ctx context.Context, e entry, host Host) (*decision, error) {
	if p.o.Level == tlsconf.Dane || p.o.Level == tlsconf.DaneOnly {
		d, err := p.dane(ctx, entry{level: tlsconf.Dane}, host)
		if err != nil || d.Level == tlsconf.Dane {
			return d, err
		}
	}
	if !permits(e.match, host.Name) {
		return nil, &Error{Reason: fmt.Sprintf("host %s is not a mail exchanger in the MTA-STS policy of %s", host.Name, host.Domain)}
	}
	c := p.client(e, tlsconf.Secure)
	c.Host, c.Names = host.Name, []string{host.Name}
	return &decision{Client: c}, nil
}

// permits reports whether a host fits one of the MX patterns: a name, or one
// with a dot in front, which stands for one more label (RFC 8461, 4.1).
func permits(patterns []string, host string) bool {
	_, parent, _ := strings.Cut(host, ".")
	for _, p := range patterns {
		if strings.EqualFold(p, host) || strings.EqualFold(p, "."+parent) && parent != "" {
			return true
		}
	}
	return false
}
