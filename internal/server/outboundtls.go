package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"postern/internal/config"
	"postern/internal/dane"
	"postern/internal/deliver/smtp"
	"postern/internal/dns"
	"postern/internal/smtpc"
	"postern/internal/table"
	"postern/internal/tlsconf"
	"postern/internal/tlspolicy"
)

// clientTLS reads the TLS parameters of smtp(8) or lmtp(8) and makes what the
// agent asks for every host; nil when there is no TLS anywhere.
func clientTLS(g *generation, v *config.Settings, prefix string, log smtp.Logger) (func(context.Context, string, smtp.Host) (smtpc.TLS, error), error) {
	o, err := tlsOptions(g, v, prefix, log)
	if err != nil {
		return nil, err
	}
	o.Maps = outboundMaps(g, v, prefix+"tls_policy_maps", log)
	if o.Level == tlsconf.None && o.Maps.Empty() {
		return nil, nil
	}
	warnSTS(v, prefix, o.Maps, log)
	if o.DANE, err = daneOptions(g, v, prefix); err != nil {
		return nil, err
	}
	if o.DANE.Resolver == nil && (o.Level == tlsconf.Dane || o.Level == tlsconf.DaneOnly) {
		log.Warningf("%v: %stls_security_level = %s: %s", v.Value(prefix+"tls_security_level").At, prefix, o.Level, o.DANE.Missing)
	}
	policies, err := tlspolicy.New(o)
	if err != nil {
		return nil, fmt.Errorf("%v: %stls_security_level: %w", v.Value(prefix+"tls_security_level").At, prefix, err)
	}
	return func(ctx context.Context, nextHop string, h smtp.Host) (smtpc.TLS, error) {
		t, err := policies.For(ctx, nextHop, tlspolicy.Host{Domain: h.Domain, Name: h.Name, Port: h.Port, MX: h.MX, Secure: h.Secure})
		if e, ok := errors.AsType[*tlspolicy.Error](err); ok {
			err = &smtp.PolicyError{DSN: "4.7.5", Reason: e.Reason, Err: e.Err}
		}
		runtime.KeepAlive(g) // the tables are open as long as its router is there
		return t, err
	}, nil
}

// outboundMaps opens the tables of a parameter. One that cannot be opened is
// logged, and fails when it is asked.
func outboundMaps(g *generation, v *config.Settings, parameter string, log smtp.Logger) *table.Maps {
	value := v.Value(parameter)
	maps, err := g.tables.Maps(context.Background(), value.Text, table.Use{Parameter: parameter, At: value.At, Fold: true})
	if err != nil {
		log.Warningf("%v: %s: %v", value.At, parameter, err)
	}
	return maps
}

// warnSTS says that MTA-STS policies cannot be met when nobody is trusted.
func warnSTS(v *config.Settings, prefix string, maps *table.Maps, log smtp.Logger) {
	if v.String(prefix+"tls_CAfile") != "" || v.String(prefix+"tls_CApath") != "" || v.Bool("tls_append_default_CA") {
		return
	}
	for _, t := range maps.Tables {
		if strings.HasPrefix(t.Name(), "mta-sts:") {
			log.Warningf("%v: %stls_policy_maps = %s needs authorities to trust, or mail to domains with a policy waits: set %[2]stls_CAfile, or tls_append_default_CA = yes",
				v.Value(prefix+"tls_policy_maps").At, prefix, t.Name())
		}
	}
}

// clientLevel is PREFIXtls_security_level, or what the older parameters say.
func clientLevel(v *config.Settings, prefix string) (tlsconf.Level, error) {
	switch name := v.String(prefix + "tls_security_level"); {
	case name != "":
		level, err := tlsconf.ParseLevel(name)
		if err != nil {
			return level, fmt.Errorf("%v: %stls_security_level: %w", v.Value(prefix+"tls_security_level").At, prefix, err)
		}
		return level, nil
	case v.Bool(prefix+"enforce_tls") && v.Bool(prefix+"tls_enforce_peername"):
		return tlsconf.Verify, nil
	case v.Bool(prefix + "enforce_tls"):
		return tlsconf.Encrypt, nil
	case v.Bool(prefix + "use_tls"):
		return tlsconf.May, nil
	}
	return tlsconf.None, nil
}

// tlsOptions reads what does not depend on tables and the DNS.
func tlsOptions(g *generation, v *config.Settings, prefix string, log tlsconf.Logger) (tlspolicy.Options, error) {
	text := func(name string) string { return v.String(prefix + "tls_" + name) }
	o := tlspolicy.Options{
		Opportunistic: tlspolicy.Strength{Protocols: text("protocols"), Ciphers: text("ciphers"), Exclude: text("exclude_ciphers")},
		Mandatory: tlspolicy.Strength{Protocols: text("mandatory_protocols"), Ciphers: text("mandatory_ciphers"),
			Exclude: text("mandatory_exclude_ciphers")},
		Verify: names(text("verify_cert_match")), Secure: names(text("secure_cert_match")),
		Fingerprints: v.List(prefix + "tls_fingerprint_cert_match"), Digest: text("fingerprint_digest"),
		Match:      tlsconf.Matching{MultipleLabels: v.Bool("tls_wildcard_matches_multiple_labels")},
		Files:      g.tables,
		ServerName: text("servername"), Wrapper: v.Bool(prefix + "tls_wrappermode"),
	}
	var err error
	if o.Level, err = clientLevel(v, prefix); err != nil {
		return o, err
	}
	if o.Roots, err = tlsconf.Roots(g.tables, prefix, text("CAfile"), text("CApath"), v.Bool("tls_append_default_CA")); err != nil {
		return o, err
	}
	if file := text("trust_anchor_file"); file != "" {
		if o.Anchors, err = tlsconf.ReadAnchors(g.tables, prefix+"tls_trust_anchor_file", file); err != nil {
			return o, err
		}
	}
	if text("session_cache_database") != "" {
		o.Cache = tls.NewLRUClientSessionCache(sessionCacheSize)
	}
	o.Certificate, err = clientCertificate(g, v, prefix, log)
	return o, err
}

// sessionCacheSize is how many TLS sessions with servers are kept in memory.
const sessionCacheSize = 1000

// names reads a list of names to match, which colons may separate too.
func names(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(" \t\r\n,:", r) })
}

// clientCertificate reads our own certificate; nil when there is none.
func clientCertificate(g *generation, v *config.Settings, prefix string, log tlsconf.Logger) (func(*tls.CertificateRequestInfo) (*tls.Certificate, error), error) {
	c := tlsconf.Server{ChainFiles: v.List(prefix + "tls_chain_files"), ChainName: prefix + "tls_chain_files", Log: log,
		Stat: g.tables.Stat, ReadFile: g.tables.ReadFile}
	for _, kind := range []string{"", "ec", "d"} {
		cert, key := prefix+"tls_"+kind+"cert_file", prefix+"tls_"+kind+"key_file"
		c.Pairs = append(c.Pairs, tlsconf.Pair{Parameter: cert, Cert: v.String(cert), Key: v.String(key)})
	}
	choose, err := c.ClientCertificate()
	if errors.Is(err, tlsconf.ErrNoCertificates) {
		return nil, nil
	}
	return choose, err
}

// daneOptions reads the parameters of DANE. Postfix does it with DNSSEC lookups
// only, and with hosts that are looked up in the DNS.
func daneOptions(g *generation, v *config.Settings, prefix string) (tlspolicy.DANE, error) {
	o := tlspolicy.DANE{Missing: "dane configured with dnssec lookups disabled",
		InsecureMX: tlsconf.May, InsecureHost: v.Bool(prefix + "tls_force_insecure_host_tlsa_lookup")}
	lookup := v.List(prefix + "host_lookup")
	if v.String(prefix+"dns_support_level") == "dnssec" && (len(lookup) == 0 || slices.Contains(lookup, "dns")) {
		o.Resolver, _ = g.resolver.(dns.TLSAResolver)
	}
	var err error
	if o.Digests, err = dane.ParseDigests(v.List("tls_dane_digests")); err != nil {
		return o, fmt.Errorf("%v: tls_dane_digests: %w", v.Value("tls_dane_digests").At, err)
	}
	if prefix != "smtp_" {
		return o, nil
	}
	o.InsecureMX, err = tlsconf.ParseLevel(v.String("smtp_tls_dane_insecure_mx_policy"))
	if err == nil && o.InsecureMX > tlsconf.Dane {
		err = fmt.Errorf("%q is none of may, encrypt, dane", v.String("smtp_tls_dane_insecure_mx_policy"))
	}
	if err != nil {
		return o, fmt.Errorf("%v: smtp_tls_dane_insecure_mx_policy: %w", v.Value("smtp_tls_dane_insecure_mx_policy").At, err)
	}
	return o, nil
}
