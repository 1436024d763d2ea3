package integration

import (
	"os"
	"strings"
	"testing"

	"postern/internal/tlsconf/tlstest"
)

// authConf is a Dovecot that answers for the passwords of the receiver.
const authConf = `base_dir = {dir}/auth
state_dir = {dir}/auth
log_path = {dir}/auth.log
protocols =
ssl = no
auth_mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256
passdb {
  driver = passwd-file
  args = username_format=%u {dir}/etc/auth-users
}
userdb {
  driver = static
  args = uid={uid} gid={gid} home={dir}
}
service auth {
  unix_listener {dir}/auth.sock {
    mode = 0666
  }
}
`

// loginCF makes the receiver take mail from nobody but those who log in.
const loginCF = `smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {dir}/auth.sock
mynetworks = 127.0.0.9/32
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions = permit_sasl_authenticated, reject
smtpd_tls_security_level = may
smtpd_tls_cert_file = {dir}/etc/cert.pem
smtpd_tls_key_file = {dir}/etc/key.pem
`

// smarthost starts a Postfix that wants passwords, with a certificate for
// remote.example of an authority in etc/ca.pem.
func (w *world) smarthost() {
	w.t.Helper()
	needRoot(w.t)
	program := need(w.t, "dovecot")
	ca := tlstest.New(w.t)
	cert, key := ca.Issue(w.t, "remote.example")
	w.write("etc/ca.pem", string(ca.PEM))
	w.write("etc/cert.pem", string(cert))
	w.write("etc/key.pem", string(key))
	w.write("etc/auth-users", "me@here.example:{plain}secret\n")
	w.write("etc/auth.conf", authConf)
	background(w.t, w.path("auth.out"), program, "-F", "-c", w.path("etc/auth.conf"))
	w.eventually("Dovecot", func() bool { _, err := os.Stat(w.path("auth.sock")); return err == nil })
	w.receiver(loginCF)
}

// loginOutCF logs in to the smarthost.
const loginOutCF = outCF + `smtp_sasl_auth_enable = yes
smtp_sasl_password_maps = inline:{ { [127.0.0.1]:{port2}=me@here.example:secret } }
`

func TestSmarthostLogin(t *testing.T) {
	w := newWorld(t, "")
	w.smarthost()
	for i, test := range []struct{ name, mainCF string }{
		{"PLAIN", "smtp_sasl_security_options =\n"},
		{"LOGIN", "smtp_sasl_security_options =\n"},
		{"CRAM-MD5", ""},
		{"SCRAM-SHA-1", "smtp_sasl_security_options = noactive, mutual_auth\n"},
		{"SCRAM-SHA-256", ""},
	} {
		w.main(loginOutCF + test.mainCF + "smtp_sasl_mechanism_filter = !x, " + test.name + "\n")
		w.start()
		w.send("me@here.example", "ann@remote.example")
		w.arrived("ann", i+1)
		w.stop()
		if log := w.read("postfix/log"); !strings.Contains(log, "sasl_method="+test.name+", sasl_username=me@here.example") {
			t.Errorf("%s: the log of Postfix does not say who logged in:\n%s", test.name, log)
		}
	}
}

// TestSmarthostOverTLS needs a certificate that is good, and sends the password
// only then.
func TestSmarthostOverTLS(t *testing.T) {
	w := newWorld(t, "")
	w.smarthost()
	policy := "smtp_tls_security_level = encrypt\nsmtp_tls_loglevel = 1\nsmtp_sasl_mechanism_filter = plain\n" +
		"smtp_sasl_tls_security_options = noplaintext\nsmtp_sasl_tls_verified_security_options = noanonymous\n" +
		"smtp_tls_policy_maps = inline:{ { [127.0.0.1]:{port2} = secure tafile={dir}/etc/ca.pem match=NAME } }\n"
	w.main(loginOutCF + strings.Replace(policy, "NAME", "remote.example", 1))
	w.start()
	w.send("me@here.example", "ann@remote.example")
	w.arrived("ann", 1)
	w.logged(`Verified TLS connection established to 127\.0\.0\.1\[127\.0\.0\.1\]:` + w.port2 + `: TLSv1\.3 with cipher `)
	w.stop()
	w.main(loginOutCF + strings.Replace(policy, "NAME", "other.example", 1))
	w.start()
	w.send("me@here.example", "bob@remote.example")
	w.logged(`to=<bob@remote\.example>, .*dsn=4\.7\.5, status=deferred \(Server certificate not verified\)`)
}

func TestSmarthostRefusesPassword(t *testing.T) {
	w := newWorld(t, "")
	w.smarthost()
	wrong := strings.Replace(loginOutCF, ":secret", ":wrong", 1)
	w.main(wrong + "smtp_sasl_mechanism_filter = scram-sha-256, cram-md5\n")
	w.start()
	w.send("me@here.example", "ann@remote.example")
	w.logged(`to=<ann@remote\.example>, .*dsn=4\.7\.8, status=deferred \(SASL authentication failed; server 127\.0\.0\.1\[127\.0\.0\.1\] said: 535 5\.7\.8 `)
	w.stop()
	w.main(wrong + "smtp_sasl_mechanism_filter = gssapi\n")
	w.start()
	w.command("flush")
	w.logged(`to=<ann@remote\.example>, .*dsn=4\.7\.0, status=deferred \(SASL authentication failed.*no mechanism available`)
}
