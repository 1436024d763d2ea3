package settings

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"postern/internal/check/inventory"
	"postern/internal/finding"
	"postern/internal/setup"
	"postern/internal/table/cdb"
	"postern/internal/table/index"
)

// sound is a configuration of which nothing is to be said.
const sound = `compatibility_level = 3.6
myhostname = mail.example.net
mydestination = localhost
alias_maps =
local_recipient_maps =
inet_interfaces = all
`

// mainLines is how many lines of main.cf are those of sound.
const mainLines = 6

func at(line int) string { return fmt.Sprintf("main.cf:%d", mainLines+line) }

// build writes the files of an archive into a directory; {dir} stands for it, and
// main.cf goes on from sound.
func build(t *testing.T, archive string) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range txtar.Parse([]byte(archive)).Files {
		text := strings.ReplaceAll(string(f.Data), "{dir}", dir)
		if f.Name == "main.cf" {
			text = sound + text
		}
		if err := os.WriteFile(filepath.Join(dir, f.Name), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// examine returns the findings for a directory, one line each: code, severity, first
// place, near misses.
func examine(t *testing.T, dir string) []string {
	t.Helper()
	s, err := setup.Open(t.Context(), dir, setup.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var list finding.List
	x := newExamination(inventory.New(s), func(f finding.Finding) { list.Add(f.RelativeTo(dir)) })
	x.now = func() time.Time { return today }
	x.run(t.Context())
	lines := []string{}
	for _, f := range list.Sorted() {
		if f.Message == "" || f.Fix == "" || strings.Contains(f.Message+f.Fix+fmt.Sprint(f.At), "s3cret") {
			t.Errorf("finding %+v lacks words, or shows a password", f)
		}
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", f.Code, f.Severity, f.At[0], strings.Join(f.Near, " "))))
	}
	slices.Sort(lines)
	return lines
}

type test struct {
	name, archive string
	want          []string
}

func run(t *testing.T, tests []test) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.want == nil {
				tt.want = []string{}
			}
			if diff := cmp.Diff(tt.want, examine(t, build(t, tt.archive))); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWritten(t *testing.T) {
	run(t, []test{
		{"sound", "-- main.cf --\n", nil},
		{"twice", "-- main.cf --\nrelay_domains = a.test\nrelay_domains = b.test\n", []string{"VD310 warning " + at(2)}},
		{"twice the same", "-- main.cf --\nrelay_domains = a.test\nrelay_domains = a.test\n", nil},
		{"three times", "-- main.cf --\nrelay_domains = a.test\nrelay_domains = b.test\nrelay_domains = a.test\n", []string{"VD310 warning " + at(3)}},
		{"comment behind a name", "-- main.cf --\nrelayhost = # none\nmyorigin = a.test # us\nvirtual_transport = lmtp:unix:x # dovecot\n",
			[]string{"VD310 error " + at(1), "VD310 error " + at(2), "VD310 error " + at(3)}},
		{"text with a '#'", "-- main.cf --\ndefault_transport = error:5.7.1 see ticket #7\n", nil},
		{"no '='", "-- main.cf --\nvirtual_alias_domains a.test\n", []string{"VD310 error " + at(1)}},
		{"password twice", "-- main.cf --\nx_password = s3cret\nx_password = s3cret2\nvirtual_alias_maps = mysql:x\n", []string{"VD310 warning " + at(2)}},
		{"misspelt", "-- main.cf --\nvirtual_alias_map = x\n", []string{"VD310 warning " + at(1) + " virtual_alias_maps"}},
		{"misspelt and used", "-- main.cf --\nvirtual_alias_map =\nvirtual_alias_maps = $virtual_alias_map\n", nil},
		{"nothing near", "-- main.cf --\nquite_another_thing = x\n", nil},
		{"comment hides a domain", "-- main.cf --\nrelay_domains = a.test # the first\n  b.test\n", []string{"VD310 error " + at(1)}},
		{"comment hides nothing", "-- main.cf --\nrelay_domains = a.test # the first\n", []string{"VD310 warning " + at(1)}},
		{"comment in tables", "-- main.cf --\nvirtual_alias_maps = inline:{a=b} # aliases\n", []string{"VD310 error " + at(1)}},
		{"swallowed", "-- main.cf --\nmessage_size_limit = 10240000\nvirtual_alias_maps =\n  bounce_size_limit = 1000\n", []string{"VD310 warning " + at(2)}},
		{"swallowed domains", "-- main.cf --\nvirtual_alias_maps =\n  relay_domains = a.test\n", []string{"VD310 error " + at(1)}},
		{"bad number", "-- main.cf --\nmessage_size_limit = 10M\n", []string{"VD310 error " + at(1)}},
		{"bad word", "-- main.cf --\nsmtpd_delay_reject = true\n", []string{"VD310 error " + at(1)}},
		{"bad restriction", "-- main.cf --\nsmtpd_relay_restrictions = reject_unauth_destinatoin\n",
			[]string{"VD310 error " + at(1) + " reject_unauth_destination"}},
		{"bad restriction as Postfix", "-- main.cf --\ncompatibility = postfix\nsmtpd_helo_restrictions = rejct\n",
			[]string{"VD310 error " + at(2) + " reject"}},
		{"blanks around =", "-- main.cf --\n-- master.cf --\nsmtp inet n - n - - smtpd\nsubmission inet n - n - - smtpd -o smtpd_sasl_auth_enable = yes\n",
			[]string{"VD310 error master.cf:2"}},
		{"blank behind =", "-- main.cf --\n-- master.cf --\nsmtp inet n - n - - smtpd -o smtpd_helo_required= yes\n", []string{"VD310 error master.cf:1"}},
		{"value of -o", "-- main.cf --\n-- master.cf --\nsmtp inet n - n - - smtpd -o smtpd_helo_required=perhaps\n", []string{"VD310 error master.cf:1"}},
		{"fields of a service", "-- main.cf --\n-- master.cf --\nsmtp inet n - n - smtpd\n", []string{"VD310 error master.cf:1"}},
		{"program", "-- main.cf --\n-- master.cf --\nsmtp inet n - n - - smptd\n", []string{"VD310 warning master.cf:1 smtpd"}},
		{"service twice", "-- main.cf --\n-- master.cf --\nsmtp inet n - n - - smtpd\nsmtp inet n - n - - smtpd -v\n", []string{"VD310 warning master.cf:2"}},
	})
}

func TestNotes(t *testing.T) {
	dir := build(t, "-- main.cf --\nquite_another_thing = x\nvirtual_alias_map = y\nsmtpd_milters = inet:127.0.0.1:1\n")
	s, err := setup.Open(t.Context(), dir, setup.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	want := []string{at(1) + ": unused parameter: quite_another_thing=x",
		at(3) + ": smtpd_milters has no effect in this version: mail is handled as if it were not set"}
	if diff := cmp.Diff(want, Notes(s)); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
}

func TestLimits(t *testing.T) {
	const virtual = "-- main.cf --\nvirtual_mailbox_domains = example.test\nvirtual_mailbox_base = /v\n"
	run(t, []test{
		{"smaller", virtual + "mailbox_size_limit = 0\nmessage_size_limit = 60000000\n", []string{"VD404 error " + at(4)}},
		{"without end", virtual + "mailbox_size_limit = 0\nmessage_size_limit = 0\n", []string{"VD404 error " + at(4)}},
		{"no limit", virtual + "mailbox_size_limit = 0\nvirtual_mailbox_limit = 0\nmessage_size_limit = 60000000\n", nil},
		{"of the service", virtual + "mailbox_size_limit = 0\nmessage_size_limit = 60000000\n-- master.cf --\nvirtual unix - n n - - virtual -o virtual_mailbox_limit=0\n", nil},
		{"not used", virtual + "virtual_transport = lmtp:unix:x\nmailbox_size_limit = 0\nmessage_size_limit = 60000000\n", nil},
		{"by transport", virtual + "virtual_transport = lmtp:unix:x\ntransport_maps = inline:{example.test=virtual:}\nmailbox_size_limit = 0\nmessage_size_limit = 60000000\n", []string{"VD404 error " + at(6)}},
		{"local", "-- main.cf --\nmailbox_size_limit = 1000\n", []string{"VD404 error " + at(1)}},
		{"no local domain", "-- main.cf --\nmydestination =\nmailbox_size_limit = 1000\n", []string{"VD310 warning " + at(1)}},
	})
}

// TestFixes holds that fixes name what cures.
func TestFixes(t *testing.T) {
	const virtual = "virtual_mailbox_domains = example.test\nvirtual_mailbox_base = /v\nmailbox_size_limit = 0\nmessage_size_limit = 0\n"
	for _, tt := range []struct{ archive, code, want string }{
		{"-- main.cf --\n" + virtual, "VD404", "message_size_limit = 10240000"},
		{"-- main.cf --\n" + virtual + "virtual_mailbox_limit = 5000\n", "VD404", "message_size_limit = 5000"},
		{"-- main.cf --\nmynetworks = static:all\n", "VD510", "mynetworks = 127.0.0.0/8"},
		{"-- main.cf --\nsmtpd_tls_auth_only = yes\nsmtpd_tls_cert_file = /x\n-- master.cf --\nsubmission inet n - n - - smtpd -o smtpd_sasl_auth_enable=yes -o smtpd_tls_security_level=none\n",
			"VD503", `instead of "-o smtpd_tls_security_level=none"`},
		{"-- main.cf --\nsmtpd_tls_auth_only = yes\nsmtpd_tls_cert_file = /x\n-- master.cf --\nsubmission inet n - n - - smtpd -o smtpd_sasl_auth_enable=yes -o smtpd_tls_cert_file=\n",
			"VD503", `remove "-o smtpd_tls_cert_file="`},
	} {
		s, err := setup.Open(t.Context(), build(t, tt.archive), setup.Options{})
		if err != nil {
			t.Fatal(err)
		}
		found := false
		newExamination(inventory.New(s), func(f finding.Finding) {
			found = found || f.Code == tt.code && strings.Contains(f.Fix, tt.want)
		}).run(t.Context())
		if !found {
			t.Errorf("no finding %s says how to fix it: %s\n%s", tt.code, tt.want, tt.archive)
		}
		_ = s.Close()
	}
}

func TestLogin(t *testing.T) {
	const head = "-- main.cf --\n"
	run(t, []test{
		{"no AUTH", head + "-- master.cf --\nsmtp inet n - n - - smtpd\nsubmission inet n - n - - smtpd\n", []string{"VD503 warning master.cf:2"}},
		{"no AUTH on 587", head + "-- master.cf --\n0.0.0.0:587 inet n - n - - smtpd\n", []string{"VD503 warning master.cf:1"}},
		{"AUTH", head + "-- master.cf --\nsubmission inet n - n - - smtpd -o smtpd_sasl_auth_enable=yes\n", nil},
		{"only under TLS that is off", head + "smtpd_sasl_auth_enable = yes\nsmtpd_tls_auth_only = yes\n", []string{"VD503 warning " + at(2)}},
		{"logins elsewhere", head + "smtpd_sasl_auth_enable = yes\nsmtpd_tls_auth_only = yes\nsmtpd_tls_eccert_file = {dir}/gone\n", []string{"VD509 error " + at(3)}},
		{"submission without TLS", head + "smtpd_tls_eccert_file = {dir}/gone\n-- master.cf --\nsubmissions inet n - n - - smtpd -o smtpd_sasl_auth_enable=yes -o smtpd_tls_auth_only=yes\n",
			[]string{"VD503 warning master.cf:1", "VD509 error " + at(1)}},
		{"only under TLS without certificate", head + "smtpd_sasl_auth_enable = yes\nsmtpd_tls_auth_only = yes\nsmtpd_tls_security_level = may\n", []string{"VD503 warning " + at(2)}},
		{"TLS taken away", head + "smtpd_tls_auth_only = yes\nsmtpd_tls_security_level = may\nsmtpd_tls_eccert_file = {dir}/gone\n-- master.cf --\nsubmission inet n - n - - smtpd -o smtpd_sasl_auth_enable=yes -o smtpd_tls_security_level=none\n",
			[]string{"VD503 warning master.cf:1", "VD509 error " + at(3)}},
		{"certificate taken away", head + "smtpd_tls_auth_only = yes\nsmtpd_tls_security_level = may\nsmtpd_tls_eccert_file = {dir}/gone\n-- master.cf --\nsubmission inet n - n - - smtpd -o smtpd_sasl_auth_enable=yes -o smtpd_tls_eccert_file=\n",
			[]string{"VD503 warning master.cf:1", "VD509 error " + at(3)}},
		{"no certificate where TLS is required", head + "-- master.cf --\nsubmission inet n - n - - smtpd -o smtpd_sasl_auth_enable=yes -o smtpd_tls_security_level=encrypt\n",
			[]string{"VD503 warning master.cf:1"}},
	})
}

func TestNetworks(t *testing.T) {
	const head = "-- main.cf --\n"
	run(t, []test{
		{"usual", head + "mynetworks = 127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128 192.168.0.0/16 10.1.2.0/24 192.0.2.0/24\n", nil},
		{"internet", head + "mynetworks = 127.0.0.0/8, 0.0.0.0/0\n", []string{"VD510 error " + at(1)}},
		{"internet of IPv6", head + "mynetworks = [::]/0\n", []string{"VD510 error " + at(1)}},
		{"half of the internet", head + "mynetworks = 0.0.0.0/1 128.0.0.0/1\n", []string{"VD510 error " + at(1)}},
		{"private", head + "mynetworks = 172.17.0.0/16\n", []string{"VD510 warning " + at(1)}},
		{"wide", head + "mynetworks = 10.0.0.0/8\n", []string{"VD510 warning " + at(1)}},
		{"not these", head + "mynetworks = !10.0.0.0/8, 127.0.0.0/8\n", nil},
		{"file", head + "mynetworks = {dir}/nets\n-- nets --\n127.0.0.0/8\n0.0.0.0/0\n", []string{"VD510 error nets:2"}},
		{"cidr", head + "mynetworks = cidr:{dir}/nets\n-- nets --\n127.0.0.0/8 OK\n10.0.0.0/8 OK\n", []string{"VD510 warning nets:2"}},
		{"everybody", head + "mynetworks = static:all\n", []string{"VD510 error " + at(1)}},
		{"everybody by a pattern of a file", head + "mynetworks = 203.0.113.0/24 {dir}/nets\n-- nets --\n127.0.0.0/8\nregexp:{dir}/r\n-- r --\n/./ OK\n", []string{"VD510 error nets:2"}},
		{"nobody before everybody", head + "mynetworks = !0.0.0.0/2 !64.0.0.0/2 !128.0.0.0/1 static:all\n", nil},
		{"some by a table", head + "mynetworks = inline:{203.0.113.7=x}\n", nil},
		{"of a service", head + "mynetworks = 127.0.0.0/8\n-- master.cf --\nsmtp inet n - n - - smtpd\n2525 inet n - n - - smtpd -o mynetworks=0.0.0.0/0\n",
			[]string{"VD510 error master.cf:2"}},
		{"of a private service", head + "mynetworks = 127.0.0.0/8\n-- master.cf --\n127.0.0.1:10026 inet n - n - - smtpd -o mynetworks=0.0.0.0/0\n", nil},
	})
}

func TestRelay(t *testing.T) {
	const head = "-- main.cf --\nmynetworks = 127.0.0.0/8\n"
	run(t, []test{
		{"usual", head + "smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination\n", nil},
		{"in recipient restrictions", head + "smtpd_relay_restrictions =\nsmtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination\n", nil},
		{"nothing at all", head + "smtpd_relay_restrictions = permit_mynetworks\n", []string{"VD510 error " + at(2)}},
		{"permit first", head + "smtpd_relay_restrictions = permit, reject_unauth_destination\n", []string{"VD510 error " + at(2)}},
		{"table of clients", head + "smtpd_relay_restrictions = check_client_access cidr:{dir}/c, reject_unauth_destination\n-- c --\n0.0.0.0/0 OK\n", []string{"VD510 error " + at(2)}},
		{"some clients", head + "smtpd_relay_restrictions = check_client_access cidr:{dir}/c, reject_unauth_destination\n-- c --\n203.0.113.0/24 OK\n", nil},
		{"sender", head + "relay_domains = example.test\nsmtpd_relay_restrictions = check_sender_access inline:{example.test=OK}, reject_unauth_destination\n",
			[]string{"VD510 error " + at(3)}},
		{"service", head + "-- master.cf --\nsmtp inet n - n - - smtpd\n2525 inet n - n - - smtpd -o { smtpd_relay_restrictions = permit, reject }\n", []string{"VD510 error master.cf:2"}},
		{"behind a filter", head + "-- master.cf --\n127.0.0.1:10025 inet n - n - - smtpd -o smtpd_relay_restrictions= -o smtpd_recipient_restrictions=permit,reject\n", nil},
		{"behind postscreen", head + "-- master.cf --\nsmtp inet n - n - 1 postscreen\nsmtpd pass - - n - - smtpd -o { smtpd_relay_restrictions = permit, reject }\n", []string{"VD510 error master.cf:2"}},
		{"every domain to relay for", head + "relay_domains = static:ALL\n", []string{"VD510 error " + at(2)}},
		{"every domain by a pattern", head + "relay_domains = a.test, regexp:{dir}/r\n-- r --\n/./ x\n", []string{"VD510 error r:1"}},
		{"every domain of some clients", head + "relay_domains = static:ALL\nsmtpd_relay_restrictions = permit_mynetworks, reject\n", nil},
		{"every subdomain", head + "relay_domains = regexp:{dir}/r\n-- r --\n/\\.a\\.test$/ x\n", nil},
		{"every domain of a null client", head + "relay_domains = static:ALL\n-- master.cf --\n127.0.0.1:25 inet n - n - - smtpd\n", nil},
		{"loopback only", head + "inet_interfaces = loopback-only\nsmtpd_relay_restrictions = permit, reject\n", []string{"VD310 warning " + at(2)}},
	})
}

func TestOwners(t *testing.T) {
	const head = "-- main.cf --\nvirtual_mailbox_domains = example.test\nvirtual_mailbox_maps = inline:{joe@example.test=joe/, jim@example.test=jim/}\nvirtual_mailbox_base = /v\nsmtpd_sasl_auth_enable = yes\n"
	const rule = "smtpd_sender_restrictions = reject_sender_login_mismatch\n"
	run(t, []test{
		{"sound", head + rule + "smtpd_sender_login_maps = texthash:{dir}/o\n-- o --\njoe@example.test joe@example.test\njim@example.test Jim@example.test, joe@example.test\n", nil},
		{"another", head + rule + "smtpd_sender_login_maps = texthash:{dir}/o\n-- o --\njoe@example.test joe@example.test\njim@example.test joe@example.test\n", []string{"VD501 warning o:2"}},
		{"nobody", head + rule + "smtpd_sender_login_maps = texthash:{dir}/o\n-- o --\njoe@example.test joe@example.test\n", []string{"VD501 warning " + at(6)}},
		{"nobody where that is allowed", head + "smtpd_sender_restrictions = reject_known_sender_login_mismatch\nsmtpd_sender_login_maps = texthash:{dir}/o\n-- o --\njoe@example.test joe@example.test\n", nil},
		{"by domain", head + rule + "smtpd_sender_login_maps = texthash:{dir}/o\n-- o --\n@example.test joe@example.test\n", []string{"VD501 warning o:1"}},
		{"no rule", head + "smtpd_sender_login_maps = texthash:{dir}/o\n-- o --\njoe@example.test x\n", nil},
		{"short names", head + rule + "smtpd_sender_login_maps = texthash:{dir}/o\n-- o --\njoe@example.test joe\njim@example.test jim\n", nil},
		{"in a class", head + "smtpd_restriction_classes = own\nown = reject_authenticated_sender_login_mismatch\nsmtpd_sender_restrictions = own\n" +
			"smtpd_sender_login_maps = inline:{joe@example.test=x@y.test}\n", []string{"VD501 warning " + at(8)}},
		{"of a service", head + "smtpd_sender_login_maps = inline:{joe@example.test=joe@example.test, jim@example.test=x@y.test}\n-- master.cf --\n" +
			"submission inet n - n - - smtpd -o { smtpd_sender_restrictions = reject_sender_login_mismatch }\n", []string{"VD501 warning " + at(5)}},
	})
}

// today is when certificates are judged.
var today = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// certify writes a certificate for a name that ends after some days, and its key.
func certify(t *testing.T, dir, name string, days int) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: today.Add(-100 * 24 * time.Hour), NotAfter: today.Add(time.Duration(days) * 24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "cert.pem"), "CERTIFICATE", der)
	write(t, filepath.Join(dir, "key.pem"), "PRIVATE KEY", keyDER)
}

func write(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCertificates(t *testing.T) {
	const files = "-- main.cf --\nsmtpd_tls_security_level = may\nsmtpd_tls_cert_file = {dir}/cert.pem\nsmtpd_tls_key_file = {dir}/key.pem\n"
	spoil := func(dir, name string) { os.WriteFile(filepath.Join(dir, name), []byte("spoilt\n"), 0o600) }
	tests := []struct {
		name, archive, subject string
		days                   int
		change                 func(dir string)
		want                   []string
	}{
		{"good", files, "mail.example.net", 90, nil, []string{}},
		{"wildcard", files, "*.example.net", 90, nil, []string{}},
		{"expired", files, "mail.example.net", -1, nil, []string{"VD509 error " + at(2)}},
		{"soon", files, "mail.example.net", 10, nil, []string{"VD509 warning " + at(2)}},
		{"another name", files, "www.example.net", 90, nil, []string{"VD509 warning " + at(2)}},
		{"another name and expired", files, "www.example.net", -1, nil, []string{"VD509 error " + at(2)}},
		{"no file", files, "mail.example.net", 90, func(dir string) { os.Remove(filepath.Join(dir, "cert.pem")) }, []string{"VD509 error " + at(2)}},
		{"no key", files, "mail.example.net", 90, func(dir string) { os.Remove(filepath.Join(dir, "key.pem")) }, []string{"VD509 error " + at(2)}},
		{"spoilt", files, "mail.example.net", 90, func(dir string) { spoil(dir, "cert.pem") }, []string{"VD509 error " + at(2)}},
		{"another key", files, "mail.example.net", 90, func(dir string) {
			cert, _ := os.ReadFile(filepath.Join(dir, "cert.pem"))
			certify(t, dir, "mail.example.net", 90)
			os.WriteFile(filepath.Join(dir, "cert.pem"), cert, 0o600)
		}, []string{"VD509 error " + at(2)}},
		{"chain", "-- main.cf --\nsmtpd_tls_security_level = may\nsmtpd_tls_chain_files = {dir}/chain.pem\n", "mail.example.net", -1, func(dir string) {
			key, _ := os.ReadFile(filepath.Join(dir, "key.pem"))
			cert, _ := os.ReadFile(filepath.Join(dir, "cert.pem"))
			os.WriteFile(filepath.Join(dir, "chain.pem"), append(key, cert...), 0o600)
		}, []string{"VD509 error " + at(2)}},
		{"key in a file of its own", "-- main.cf --\nsmtpd_tls_chain_files = {dir}/key.pem, {dir}/cert.pem\n", "mail.example.net", 90, nil, []string{}},
		{"key in a file of its own, soon", "-- main.cf --\nsmtpd_tls_chain_files = {dir}/key.pem, {dir}/cert.pem\n", "mail.example.net", 5, nil, []string{"VD509 warning " + at(1)}},
		{"key at the end", "-- main.cf --\nsmtpd_tls_chain_files = {dir}/key.pem, {dir}/cert.pem {dir}/key.pem\n", "mail.example.net", 90, nil, []string{"VD509 error " + at(1)}},
		{"of a service", "-- main.cf --\n-- master.cf --\nsmtp inet n - n - - smtpd\n2525 inet n - n - - smtpd -o smtpd_tls_security_level=may -o smtpd_tls_cert_file={dir}/cert.pem -o smtpd_tls_key_file={dir}/key.pem\n",
			"mail.example.net", -1, nil, []string{"VD509 error master.cf:2"}},
		{"without TLS", "-- main.cf --\nsmtpd_tls_security_level = none\nsmtpd_tls_cert_file = {dir}/cert.pem\nsmtpd_tls_key_file = {dir}/key.pem\n", "mail.example.net", -1, nil, []string{"VD509 error " + at(2)}},
		{"without TLS, spoilt", "-- main.cf --\nsmtpd_tls_cert_file = {dir}/cert.pem\nsmtpd_tls_key_file = {dir}/key.pem\n", "mail.example.net", 90,
			func(dir string) { spoil(dir, "cert.pem") }, []string{"VD509 error " + at(1)}},
		{"TLS on one port", "-- main.cf --\nsmtpd_tls_cert_file = {dir}/cert.pem\nsmtpd_tls_key_file = {dir}/key.pem\n-- master.cf --\nsmtp inet n - n - - smtpd\n" +
			"2525 inet n - n - - smtpd -o smtpd_tls_wrappermode=yes\n", "mail.example.net", -1, nil, []string{"VD509 error " + at(1)}},
		{"of a client", "-- main.cf --\nsmtp_tls_cert_file = {dir}/cert.pem\nsmtp_tls_key_file = {dir}/key.pem\n", "another.example.net", -1, nil, []string{"VD509 error " + at(1)}},
		{"for a name", "-- main.cf --\nsmtpd_tls_security_level = may\ntls_server_sni_maps = texthash:{dir}/sni\n-- sni --\nmx.example.test {dir}/key.pem {dir}/cert.pem\nmail.example.net {dir}/key.pem {dir}/cert.pem\n",
			"mail.example.net", 90, nil, []string{"VD509 warning sni:1"}},
		{"for a name, gone", "-- main.cf --\nsmtpd_tls_security_level = may\ntls_server_sni_maps = texthash:{dir}/sni\n-- sni --\nmail.example.net {dir}/gone.pem\n", "mail.example.net", 90, nil, []string{"VD509 error sni:1"}},
	}
	for _, tt := range tests {
		t.Run(strings.ReplaceAll(tt.name, ",", ""), func(t *testing.T) {
			dir := build(t, tt.archive)
			certify(t, dir, tt.subject, tt.days)
			if tt.change != nil {
				tt.change(dir)
			}
			if diff := cmp.Diff(tt.want, examine(t, dir)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// TestPrivateKeyInRow holds that a row whose value is the content of its files is never
// shown, and is blamed at its line.
func TestPrivateKeyInRow(t *testing.T) {
	const line = "mail.example.net {dir}/key.pem {dir}/cert.pem\n"
	for _, tt := range []struct{ name, later, place string }{{"text", line, "sni:1"}, {"no row", "other.test /x\n", "sni.cdb"}, {"no text", "", "sni.cdb"}} {
		t.Run(tt.name, func(t *testing.T) {
			dir := build(t, "-- main.cf --\ntls_server_sni_maps = cdb:{dir}/sni\n-- sni --\n"+line)
			certify(t, dir, "mail.example.net", -1)
			secret := buildWithContent(t, dir, strings.ReplaceAll(tt.later, "{dir}", dir))
			s, err := setup.Open(t.Context(), dir, setup.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			var list []finding.Finding
			x := newExamination(inventory.New(s), func(f finding.Finding) { list = append(list, f.RelativeTo(dir)) })
			x.now = func() time.Time { return today }
			x.run(t.Context())
			if len(list) != 1 || list[0].Code != "VD509" || list[0].At[0].String() != tt.place || !strings.Contains(list[0].Message, "for mail.example.net (tls_server_sni_maps) expired on") {
				t.Errorf("findings %+v, want one at %s", list, tt.place)
			}
			if strings.Contains(fmt.Sprintf("%+v", list), secret) {
				t.Errorf("the private key is shown: %+v", list)
			}
		})
	}
}

// buildWithContent builds the index of sni as postmap -F does, gives the text what it has
// later, and returns the beginning of a value of the index.
func buildWithContent(t *testing.T, dir, later string) string {
	t.Helper()
	path := filepath.Join(dir, "sni")
	if err := (&index.Builder{Format: cdb.Format(), Name: "cdb:" + path, Path: path, Fold: true, Files: true}).Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if later != "" {
		before := time.Now().Add(-time.Hour)
		if err := errors.Join(os.WriteFile(path, []byte(later), 0o600), os.Chtimes(path, before, before)); err != nil {
			t.Fatal(err)
		}
	}
	key, err := os.ReadFile(filepath.Join(dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(key)[:60]
}

// TestPrivateKeyOfAnother holds that a key that only root may read is no fault to
// others.
func TestPrivateKeyOfAnother(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read everything")
	}
	dir := build(t, "-- main.cf --\nsmtpd_use_tls = yes\nsmtpd_tls_cert_file = {dir}/cert.pem\nsmtpd_tls_key_file = {dir}/key.pem\n")
	certify(t, dir, "mail.example.net", 10)
	if err := os.Chmod(filepath.Join(dir, "key.pem"), 0); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"VD509 warning " + at(2)}, examine(t, dir)); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}
