package server

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"postern/internal/deliver/smtp"
	"postern/internal/dns"
	"postern/internal/dns/dnstest"
	"postern/internal/setup"
)

// outboundLog keeps what an agent would log.
type outboundLog struct{ strings.Builder }

func (l *outboundLog) Infof(format string, args ...any)    { fmt.Fprintf(l, format+"\n", args...) }
func (l *outboundLog) Warningf(format string, args ...any) { fmt.Fprintf(l, format+"\n", args...) }

// validating is a resolver with TLSA records.
type validating struct {
	dns.Resolver
	dns.TLSAResolver
}

func TestClientTLS(t *testing.T) {
	names := &dnstest.Map{TLSA: map[string][]dns.TLSA{"_25._tcp.mx.test": {{Usage: 3, Selector: 1, MatchingType: 1, Data: make([]byte, 32)}}}}
	for _, test := range []struct {
		mainCF string
		want   string // level and whether it is required, or the error
		log    string
	}{
		{"", "no TLS", ""},
		{"smtp_use_tls = yes\n", "may false", ""},
		{"smtp_enforce_tls = yes\n", "verify true", ""},
		{"smtp_enforce_tls = yes\nsmtp_tls_enforce_peername = no\n", "encrypt true", ""},
		{"smtp_tls_security_level = none\nsmtp_use_tls = yes\n", "no TLS", ""},
		{"smtp_tls_security_level = secure\n", "secure true", ""},
		{"smtp_tls_policy_maps = inline:{ { example.test=encrypt } }\n", "encrypt true", ""},
		{"smtp_tls_policy_maps = inline:{ { example.test=encrypted } }\n", `entry "example.test": invalid security level "encrypted"`, ""},
		{"smtp_tls_security_level = dane\nsmtp_dns_support_level = dnssec\n", "dane true", ""},
		{"smtp_tls_policy_maps = inline:{ { example.test=encrypt } } mta-sts:\n", "encrypt true", "smtp_tls_policy_maps = mta-sts: needs authorities"},
		{"smtp_tls_policy_maps = inline:{ { example.test=encrypt } } mta-sts:\ntls_append_default_CA = yes\n", "encrypt true", ""},
		{"smtp_tls_security_level = dane\n", "may false", "smtp_tls_security_level = dane: dane configured with dnssec lookups disabled"},
		{"smtp_tls_security_level = dane\nsmtp_dns_support_level = dnssec\nsmtp_host_lookup = native\n", "may false", "dnssec lookups disabled"},
		{"smtp_tls_security_level = dane-only\n", "dnssec lookups disabled", "dnssec lookups disabled"},
		{"smtp_tls_security_level = danish\n", `main.cf:2: smtp_tls_security_level: unknown TLS security level "danish"`, ""},
		{"smtp_tls_security_level = fingerprint\n", "main.cf:2: smtp_tls_security_level: configured at fingerprint security level, but with no fingerprints", ""},
		{"smtp_tls_security_level = may\nsmtp_tls_protocols = x\n", "smtp_tls_protocols: ", ""},
		{"smtp_tls_security_level = may\ntls_dane_digests = md5\n", `main.cf:3: tls_dane_digests: unknown digest "md5"`, ""},
		{"smtp_tls_security_level = may\nsmtp_tls_dane_insecure_mx_policy = secure\n", `main.cf:3: smtp_tls_dane_insecure_mx_policy: "secure" is none of`, ""},
		{"smtp_tls_security_level = may\nsmtp_tls_trust_anchor_file = /no/such\n", "smtp_tls_trust_anchor_file: /no/such: no such file", ""},
		{"smtp_tls_security_level = may\nsmtp_tls_cert_file = /no/such\n", "smtp_tls_cert_file: /no/such: no such file", ""},
		{"smtp_tls_security_level = may\nsmtp_tls_CAfile = /no/such\n", "smtp_tls_CAfile: /no/such: no such file", ""},
	} {
		v, log := settingsOf(t, test.mainCF), &outboundLog{}
		g := &generation{settings: v, tables: setup.NewOpener(v, log), resolver: validating{names, names}}
		secure, err := clientTLS(g, v, "smtp_", log)
		got := "no TLS"
		if err == nil && secure != nil {
			policy, perr := secure(t.Context(), "example.test", smtp.Host{Domain: "example.test", Name: "mx.test", Port: 25})
			got, err = fmt.Sprint(policy.Level, " ", policy.Required), perr
		}
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, test.want) {
			t.Errorf("%q: %s, want %s", test.mainCF, got, test.want)
		}
		if !strings.Contains(log.String(), test.log) || (log.Len() > 0) != (test.log != "") {
			t.Errorf("%q: log %q, want %q", test.mainCF, log, test.log)
		}
		g.tables.Close()
	}
}

// What a host must not be used for is told to the agent as its own error.
func TestClientTLSPolicyError(t *testing.T) {
	names := &dnstest.Map{}
	v, log := settingsOf(t, "smtp_tls_security_level = dane-only\nsmtp_dns_support_level = dnssec\n"), &outboundLog{}
	g := &generation{settings: v, tables: setup.NewOpener(v, log), resolver: validating{names, names}}
	secure, err := clientTLS(g, v, "smtp_", log)
	if err != nil {
		t.Fatal(err)
	}
	_, err = secure(t.Context(), "example.test", smtp.Host{Domain: "example.test", Name: "mx.test", Port: 25})
	if e, ok := errors.AsType[*smtp.PolicyError](err); !ok || e.DSN != "4.7.5" || e.Reason != "no TLSA records found" {
		t.Errorf("error %v, want a *smtp.PolicyError", err)
	}
}

func TestClientAuth(t *testing.T) {
	for _, test := range []struct {
		mainCF string
		want   string // user and password for [mx.test] from a@x.test, or the error
	}{
		{"", "nobody"},
		{"smtp_sasl_password_maps = inline:{ { [mx.test]=u:p } }\n", "nobody"},
		{"smtp_sasl_auth_enable = yes\n", "main.cf:2: smtp_sasl_auth_enable is set, but smtp_sasl_password_maps is empty"},
		{"smtp_sasl_auth_enable = yes\nsmtp_sasl_password_maps = inline:{ { [mx.test]=u:p } }\n", "u p false true"},
		{"smtp_sasl_auth_enable = yes\nsmtp_sasl_password_maps = inline:{ { [mx.test]=u:p } { a@x.test=a:1 } }\n" +
			"smtp_sender_dependent_authentication = yes\nsmtp_sasl_auth_soft_bounce = no\n", "a 1 true false"},
		{"smtp_sasl_auth_enable = yes\nsmtp_sasl_password_maps = static:u:p\nsmtp_sasl_tls_security_options = x\n",
			`main.cf:4: smtp_sasl_tls_security_options: unknown SASL security option "x"`},
	} {
		v, log := settingsOf(t, test.mainCF), &outboundLog{}
		g := &generation{settings: v, tables: setup.NewOpener(v, log)}
		var o smtp.Options
		err := clientAuth(g, v, "smtp_", log, &o)
		got := "nobody"
		if err == nil && o.Credentials != nil {
			var user, password string
			user, password, _, err = o.Credentials(t.Context(), "a@x.test", "[mx.test]", "mx.test")
			got = fmt.Sprint(user, " ", password, " ", o.BySender, " ", !o.AuthBounces)
		}
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, test.want) {
			t.Errorf("%q: %s, want %s", test.mainCF, got, test.want)
		}
		g.tables.Close()
	}
}
