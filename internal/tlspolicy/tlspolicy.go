// Package tlspolicy decides how the connection to another mail server is secured:
// how much TLS it must have, and what makes the server's certificate good.
//
// # Where the level comes from
//
// The first entry of smtp_tls_policy_maps counts, else smtp_tls_security_level.
// The tables are asked for the next hop as it is written in main.cf or the
// transport table; one that is a plain domain is followed by its parents:
//
//	mail.example.test   mail.example.test, then .example.test, then .test
//	[mx.test]:587       [mx.test]:587 only
//
// An entry is a level and its attributes (postconf smtp_tls_policy_maps):
//
//	example.test   secure match=mx.example.test:.example.net servername=hostname
//	[mx.test]:587  encrypt protocols=>=TLSv1.2 ciphers=high
//	bank.test      fingerprint match=3D:95:...|EC:3B:...
//
// match is separated by colons (fingerprints by "|"); its words may be hostname,
// nexthop and dot-nexthop besides names. It and tafile, exclude may be given
// several times. connection_reuse, and the attributes policy_* and
// mx_host_pattern of newer versions, are understood and have no effect, but for
// policy_type=sts.
//
// An entry that cannot be understood, and a table that fails, defer the mail: an
// error may not lower the security.
//
// # Levels
//
//	none         no TLS
//	may          TLS if the server offers it, whoever it is
//	encrypt      TLS, whoever it is
//	fingerprint  the certificate or its key has a known digest
//	verify       the certificate names the server (smtp_tls_verify_cert_match)
//	secure       the certificate names the next hop (smtp_tls_secure_cert_match)
//	dane         TLSA records name the certificate, where there are any (RFC 7672)
//	dane-only    the same, and without them there is no delivery
//
// dane becomes, for one host,
//
//	may       when its MX records, or its addresses, are not validated by DNSSEC, or
//	          it has no TLSA records
//	encrypt   when it has some and none of them can be used
//	defer     when nobody can say whether it has some
//
// and dane-only defers in the first two cases as well. What MX records that are
// not validated come to says smtp_tls_dane_insecure_mx_policy. DANE needs
// smtp_dns_support_level = dnssec; see dns for whose answers are validated.
//
// # MTA-STS
//
// An entry with policy_type=sts, as tables of type mta-sts: have them, is a policy
// of RFC 8461: match holds the MX patterns, a host that fits none of them is not
// used, and the certificate must have the name of the host. Where the level of
// main.cf is dane or dane-only, a host with TLSA records is verified by these
// (RFC 8461, 2: a policy must not override a failing DANE validation).
//
// It imports dane, dns, smtpc, syntax, table and tlsconf.
package tlspolicy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"postern/internal/dns"
	"postern/internal/smtpc"
	"postern/internal/table"
	"postern/internal/tlsconf"
)

// Options are the TLS parameters of an agent. In the names of parameters, smtp_
// stands for lmtp_ too.
type Options struct {
	Level tlsconf.Level // smtp_tls_security_level
	Maps  *table.Maps   // smtp_tls_policy_maps; nil: none

	Opportunistic Strength // smtp_tls_protocols, smtp_tls_ciphers, smtp_tls_exclude_ciphers
	Mandatory     Strength // smtp_tls_mandatory_protocols and the like, for encrypt and above

	Verify       []string // smtp_tls_verify_cert_match
	Secure       []string // smtp_tls_secure_cert_match
	Fingerprints []string // smtp_tls_fingerprint_cert_match
	Digest       string   // smtp_tls_fingerprint_digest
	Match        tlsconf.Matching
	Roots        *x509.CertPool   // of smtp_tls_CAfile and smtp_tls_CApath; nil: those of the system
	Anchors      *tlsconf.Anchors // smtp_tls_trust_anchor_file; nil: none
	Files        tlsconf.Files    // reads what tafile= names; nil: the process does
	ServerName   string           // smtp_tls_servername
	Wrapper      bool             // smtp_tls_wrappermode
	Certificate  func(*tls.CertificateRequestInfo) (*tls.Certificate, error)
	Cache        tls.ClientSessionCache

	DANE DANE
}

// Strength are lists of protocols and ciphers, as in main.cf.
type Strength struct {
	Protocols, Ciphers, Exclude string
}

// DANE are the parameters of the levels dane and dane-only.
type DANE struct {
	// Resolver finds the TLSA records. nil: Missing says why there is none.
	Resolver dns.TLSAResolver
	Missing  string  // "dane configured with dnssec lookups disabled"
	Digests  []uint8 // tls_dane_digests, see dane.ParseDigests
	// InsecureMX is the level where the MX records are not validated: May, Encrypt
	// or Dane (smtp_tls_dane_insecure_mx_policy).
	InsecureMX tlsconf.Level
	// InsecureHost looks for TLSA records where the addresses are not validated
	// (smtp_tls_force_insecure_host_tlsa_lookup).
	InsecureHost bool
}

// Host is a server that mail is about to be sent to.
type Host struct {
	Domain string // of the next hop, without brackets and port; "" for a socket
	Name   string // as in the MX record, or in the next hop; may be an IP address
	Port   uint16 // 0 for a socket
	MX     bool   // Name comes from MX records of Domain
	Secure bool   // these records are validated
}

// Error says that a host must not be used as things are: mail for it is deferred
// with 4.7.5. Any other error of Policies.For is a mistake in our own
// configuration, or a table that fails.
type Error struct {
	Reason string // for the log and the report
	Err    error  // cause, may be nil
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Reason
	}
	return e.Reason + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Policies are the TLS policies of an agent. They are safe for concurrent use.
type Policies struct{ o Options }

// New makes Policies. It fails when the parameters that hold without an entry of
// smtp_tls_policy_maps make no sense.
func New(o Options) (*Policies, error) {
	p := &Policies{o}
	if o.Level == tlsconf.None {
		return p, nil
	}
	for _, level := range []tlsconf.Level{tlsconf.May, tlsconf.Encrypt} {
		if _, err := p.client(entry{level: level}, level).Config(); err != nil {
			return nil, err
		}
	}
	if o.Level == tlsconf.Fingerprint {
		if _, err := p.fingerprints(entry{}); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// For says how the connection to a host is to be secured. nextHop is the
// destination as it is written: "example.test", "[mx.example.test]:587", or
// "unix:path". It is called for every connection.
func (p *Policies) For(ctx context.Context, nextHop string, host Host) (smtpc.TLS, error) {
	e, err := p.entry(ctx, nextHop)
	if err != nil {
		return smtpc.TLS{}, err
	}
	d, err := p.decide(ctx, e, host)
	if err != nil {
		return smtpc.TLS{}, err
	}
	if p.o.Wrapper && !d.Level.Required() {
		return smtpc.TLS{}, fmt.Errorf("tls_wrappermode requires security level encrypt or stronger, not %s", d.Level)
	}
	config, err := d.Config()
	if err != nil {
		return smtpc.TLS{}, err
	}
	return smtpc.TLS{Config: config, Required: d.Level.Required(), Wrapper: p.o.Wrapper, Level: d.Level.String(), Trust: d.trust}, nil
}

// decision is what an entry comes to for one host. Its level is dane only when
// there are records to verify with.
type decision struct {
	tlsconf.Client
	half bool // DANE for a host that MX records named which were not validated
}

// trust is how far a server is known whose handshake succeeded.
func (d *decision) trust(state tls.ConnectionState) smtpc.Trust {
	switch {
	case len(state.PeerCertificates) == 0:
		return smtpc.Anonymous
	case d.half:
		return smtpc.Trusted
	case d.Level > tlsconf.Encrypt:
		return smtpc.Verified
	case d.VerifyChain(state) == nil:
		return smtpc.Trusted
	}
	return smtpc.Untrusted
}

// decide applies an entry to a host.
func (p *Policies) decide(ctx context.Context, e entry, host Host) (*decision, error) {
	switch {
	case e.level == tlsconf.Dane || e.level == tlsconf.DaneOnly:
		return p.dane(ctx, e, host)
	case e.sts:
		return p.sts(ctx, e, host)
	case e.level == tlsconf.Fingerprint:
		known, err := p.fingerprints(e)
		if err != nil {
			return nil, err
		}
		c := p.client(e, e.level)
		c.Host, c.Check = p.serverName(e, host), known.Verify
		return &decision{Client: c}, nil
	}
	c := p.client(e, e.level)
	c.Host = p.serverName(e, host)
	if e.level >= tlsconf.Verify {
		match := e.match
		if match == nil {
			match = map[tlsconf.Level][]string{tlsconf.Verify: p.o.Verify, tlsconf.Secure: p.o.Secure}[e.level]
		}
		c.Names = names(match, host)
		var err error
		if c.Anchors, err = p.anchors(e); err != nil {
			return nil, err
		}
	}
	return &decision{Client: c}, nil
}

// client are the parameters for a level that do not depend on the host.
func (p *Policies) client(e entry, level tlsconf.Level) tlsconf.Client {
	s := p.o.Opportunistic
	if level.Required() {
		s = p.o.Mandatory
		s.Exclude = strings.Join([]string{p.o.Opportunistic.Exclude, s.Exclude}, " ")
	}
	if e.protocols != "" {
		s.Protocols = e.protocols
	}
	if e.ciphers != "" {
		s.Ciphers = e.ciphers
	}
	if e.exclude != nil {
		s.Exclude = strings.Join(e.exclude, " ")
	}
	return tlsconf.Client{
		Level: level, Match: p.o.Match, Roots: p.o.Roots, Protocols: s.Protocols, Ciphers: s.Ciphers, Exclude: s.Exclude,
		Cache: p.o.Cache, Certificate: p.o.Certificate,
	}
}

func (p *Policies) fingerprints(e entry) (*tlsconf.Fingerprints, error) {
	list := e.match
	if list == nil {
		list = p.o.Fingerprints
	}
	if len(list) == 0 {
		return nil, errors.New("configured at fingerprint security level, but with no fingerprints to match")
	}
	return tlsconf.ParseFingerprints(p.o.Digest, list)
}

// anchors are the trust anchors of an entry, else those of main.cf; nil: none.
func (p *Policies) anchors(e entry) (*tlsconf.Anchors, error) {
	if e.anchors == nil {
		return p.o.Anchors, nil
	}
	var all *tlsconf.Anchors
	for _, file := range e.anchors {
		a, err := tlsconf.ReadAnchors(p.o.Files, "tafile", file)
		if err != nil {
			return nil, err
		}
		all = all.Join(a)
	}
	return all, nil
}

// serverName is the name for SNI (smtp_tls_servername).
func (p *Policies) serverName(e entry, host Host) string {
	name := p.o.ServerName
	if e.serverName != "" {
		name = e.serverName
	}
	switch strings.ToLower(name) {
	case "hostname":
		return host.Name
	case "nexthop":
		return host.Domain
	}
	return name
}

// names replaces the words hostname, nexthop and dot-nexthop by what they mean.
// A name that a socket does not have is left out.
func names(match []string, host Host) []string {
	var list []string
	for _, word := range match {
		switch strings.ToLower(word) {
		case "hostname":
			word = host.Name
		case "nexthop":
			word = host.Domain
		case "dot-nexthop":
			if word = ""; host.Domain != "" {
				word = "." + host.Domain
			}
		}
		if word != "" {
			list = append(list, word)
		}
	}
	return list
}
