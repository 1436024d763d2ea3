package integration

import (
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"testing"

	"postern/internal/dns/dnstest"
	"postern/internal/tlsconf/tlstest"
)

// TestDane sends to a Postfix whose certificate only a TLSA record makes good, and
// nothing any more when the record names another one.
func TestDane(t *testing.T) {
	for name, test := range map[string]struct {
		certificate bool // the record is that of the certificate
		want        string
	}{
		"good":  {true, `dsn=2\.0\.0, status=sent`},
		"wrong": {false, `dsn=4\.7\.5, status=deferred \(Server certificate not verified\)`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "")
			ca := tlstest.New(t)
			cert, key := ca.Issue(t, "mx.remote.example")
			w.write("etc/cert.pem", string(cert))
			w.write("etc/key.pem", string(key))
			w.receiver("smtpd_tls_security_level = may\nsmtpd_tls_cert_file = {dir}/etc/cert.pem\nsmtpd_tls_key_file = {dir}/etc/key.pem\n")
			block, _ := pem.Decode(cert)
			sum := sha256.Sum256(block.Bytes)
			if !test.certificate {
				sum[0]++
			}
			names := dnstest.Start(t, fmt.Sprintf(`$TTL 60
remote.example.                IN MX 10 mx.remote.example.
mx.remote.example.             IN A 127.0.0.1
_%s._tcp.mx.remote.example. IN TLSA 3 0 1 %x
`, w.port2, sum))
			w.main("mynetworks = 127.0.0.0/8\nsmtp_tcp_port = {port2}\nsmtp_dns_support_level = dnssec\ndns_servers = " + names.Addr +
				"\nsmtp_tls_security_level = dane-only\nsmtp_tls_loglevel = 1\n")
			w.start()
			w.send("me@here.example", "ann@remote.example")
			w.logged(`to=<ann@remote\.example>, .*` + test.want)
			if test.certificate {
				w.logged(`Verified TLS connection established to mx\.remote\.example\[127\.0\.0\.1\]:` + w.port2)
			}
		})
	}
}
