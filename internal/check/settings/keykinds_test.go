package settings

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/check/inventory"
	"postern/internal/finding"
	"postern/internal/setup"
	"postern/internal/tlsconf/tlstest"
)

// Certificates of kinds that the server does not have, and two of one kind, which
// Postfix does not take.
func TestKindsOfKeys(t *testing.T) {
	const chain, cert, ec = "smtpd_tls_chain_files = ", "smtpd_tls_cert_file = ", "smtpd_tls_eccert_file = "
	ed448 := strings.NewReplacer("{}", "{dir}/ed448.pem")
	const unknown, left = ": keys of the kind Ed448 cannot be used here", "a certificate is left out, and the others are used: "
	const off = "Postfix takes one of each kind, and would switch TLS off"
	for _, tt := range []struct {
		name, main string
		severity   finding.Severity // "": nothing is to be said
		says       []string
	}{
		{"none is unknown", chain + "{dir}/all.pem {dir}/empty.pem", "", nil},
		{"last", chain + "{dir}/all.pem {}", finding.Warning, []string{left + "smtpd_tls_chain_files: {}" + unknown}},
		{"first", chain + "{} {dir}/all.pem", finding.Warning, []string{left}},
		{"alone", chain + "{}", finding.Error, []string{"the certificate cannot be used: smtpd_tls_chain_files: {}" + unknown}},
		{"a pair", cert + "{dir}/all.pem\n" + ec + "{}", finding.Warning, []string{left + "smtpd_tls_eccert_file: {}" + unknown}},
		{"the only pair", ec + "{}", finding.Error, []string{"the certificate cannot be used: smtpd_tls_eccert_file: {}" + unknown}},
		{"a pair beside one that is gone", cert + "{dir}/gone.pem\n" + ec + "{}", finding.Error, []string{"no such file", "cannot be used: smtpd_tls_eccert_file"}},
		{"two", chain + "{dir}/all.pem {dir}/again.pem", finding.Warning,
			[]string{"smtpd_tls_chain_files has two certificates with ECDSA keys, in {dir}/all.pem and in {dir}/again.pem: " + off}},
		{"the same twice", chain + "{dir}/all.pem,{dir}/all.pem", finding.Warning, []string{"both in {dir}/all.pem: " + off}},
		{"two in one file", chain + "{dir}/two.pem", finding.Warning, []string{"both in {dir}/two.pem: " + off}},
		{"two and one is unknown", chain + "{dir}/all.pem {dir}/brainpool.pem", finding.Warning,
			[]string{left + "smtpd_tls_chain_files: {dir}/brainpool.pem: keys of the kind ECDSA brainpoolP256r1", "ECDSA keys, in {dir}/all.pem and in {dir}/brainpool.pem: " + off}},
		{"two and one is for another name", chain + "{dir}/all.pem {dir}/other.pem", finding.Warning,
			[]string{"(smtpd_tls_chain_files) is for www.example.net and does not cover", off}},
		{"two pairs with keys beside them", cert + "{dir}/all.pem\n" + ec + "{dir}/again.pem", finding.Warning,
			[]string{"smtpd_tls_cert_file and smtpd_tls_eccert_file both name a certificate with a key of the kind ECDSA: " + off}},
		{"two pairs with keys of their own", cert + "{dir}/all.pem\n" + ec + "{dir}/again.pem\nsmtpd_tls_eckey_file = {dir}/again.key", finding.Warning,
			[]string{"Postfix takes one of each kind, and uses only the one of smtpd_tls_eccert_file"}},
		{"one pair named twice", cert + "{dir}/all.pem\n" + ec + "{dir}/all.pem\nsmtpd_tls_eckey_file = {dir}/all.key", "", nil},
		{"a client", "smtp_tls_chain_files = {dir}/all.pem {dir}/all.pem\n-- master.cf --\nrelay unix - - n - - smtp", finding.Warning, []string{"smtp_tls_chain_files has two", off}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := build(t, ed448.Replace("-- main.cf --\n"+tt.main+"\n"))
			keyFiles(t, dir)
			list := certificateFindings(t, dir)
			var text string
			severity := finding.Severity("")
			for _, f := range list {
				text += f.Message + "\n"
				if severity != finding.Error {
					severity = f.Severity
				}
			}
			if severity != tt.severity {
				t.Errorf("severity %q, want %q", severity, tt.severity)
			}
			for _, want := range tt.says {
				if want = strings.ReplaceAll(ed448.Replace(want), "{dir}", dir); !strings.Contains(text, want) {
					t.Errorf("%q lacks %q", text, want)
				}
			}
		})
	}
}

// keyFiles writes the files that TestKindsOfKeys names.
func keyFiles(t *testing.T, dir string) {
	t.Helper()
	pair := func(name string) (key, cert []byte) {
		certify(t, dir, name, 90)
		key, _ = os.ReadFile(filepath.Join(dir, "key.pem"))
		cert, _ = os.ReadFile(filepath.Join(dir, "cert.pem"))
		return key, cert
	}
	key, cert := pair("mail.example.net")
	againKey, again := pair("mail.example.net")
	otherKey, other := pair("www.example.net")
	for name, text := range map[string][]byte{
		"all.pem": slices.Concat(key, cert), "all.key": key, "again.pem": slices.Concat(againKey, again), "again.key": againKey, "other.pem": slices.Concat(otherKey, other),
		"two.pem": slices.Concat(key, cert, againKey, again), "empty.pem": nil, "ed448.pem": tlstest.Unknown(t, "ed448"), "brainpool.pem": tlstest.Unknown(t, "brainpool"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// certificateFindings are those of VD509.
func certificateFindings(t *testing.T, dir string) []finding.Finding {
	t.Helper()
	s, err := setup.Open(t.Context(), dir, setup.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var list finding.List
	x := newExamination(inventory.New(s), func(f finding.Finding) {
		if f.Code == "VD509" {
			list.Add(f)
		}
	})
	x.now = func() time.Time { return today }
	x.run(t.Context())
	return list.Sorted()
}
