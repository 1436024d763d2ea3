package check

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/finding"
	"postern/internal/origin"
)

// TestNoPasswords holds that nothing that is said of a configuration has a password of
// it, wherever that is written.
func TestNoPasswords(t *testing.T) {
	const pw = "S3cret"
	s := open(t, "")
	files := map[string]string{
		"v.cf": "hosts = postgresql://u:S3cret@127.0.0.1:1/d\nquery = SELECT a FROM t WHERE k='%s'\n",
		"sasl": "Relay.test u:S3cret\nRelay.test u:S3cret2\n",
		"main.cf": "mydestination = localhost\nfoo_password = S3cret\nx_hosts = postgresql://127.0.0.1:1/d?user=u&password=S3cret\nx_query = SELECT 1\n" +
			"virtual_alias_domains = a.test\nvirtual_alias_maps = pgsql:{dir}/v.cf, pgsql:x\n" +
			"smtp_sasl_password_maps = inline:{h=u:S3cret} unionmap:{static:S3cret} texthash:{dir}/sasl nosuch:table\n",
		"master.cf": "smtp inet n - n - - smtpd\nout unix - - n - - smtp -o smtp_sasl_password_maps=inline:{k=u:S3cret},nosuch:other\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(strings.ReplaceAll(text, "{dir}", s.Dir)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r := Run(context.Background(), reopen(t, s.Dir), Options{})
	out, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if i := strings.Index(string(out), pw); i >= 0 {
		t.Errorf("a password is shown: ...%s", out[max(0, i-200):i+len(pw)])
	}
	for _, want := range []string{"VD306", "VD308", "VD515", "nosuch:...", "inline:{...}", "foo_password=..."} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%s is not in %s", want, out)
		}
	}
}

func TestSecretsOfRows(t *testing.T) {
	row := map[string]string{"username": "joe", "Password": "S3cret", "passwd": ""}
	f := secrets{}.finding(finding.Finding{Near: []string{"ldap://u:S3cret@h"}, At: []origin.At{{Table: "sqlite:x.cf", Row: row}}})
	got := f.At[0].Row
	if got["username"] != "joe" || got["Password"] != "..." || got["passwd"] != "" || f.Near[0] != "ldap://u:...@h" {
		t.Errorf("row %v, near %q", got, f.Near)
	}
	if row["Password"] != "S3cret" {
		t.Error("the row itself was changed")
	}
}

// TestSecretsOfIndexes: the index of tls_server_sni_maps has private keys in it.
func TestSecretsOfIndexes(t *testing.T) {
	s := open(t, "tls_server_sni_maps = hash:/etc/sni\nsmtp_sasl_password_maps = lmdb:/etc/sasl\n")
	hide := secretsOf(s.Opener, s.Settings)
	for _, file := range []string{"/etc/sni", "/etc/sni.db", "/etc/sasl.lmdb"} {
		f := hide.finding(finding.Finding{At: []origin.At{{File: file, Text: "mail.example.test\tS3cret"}}})
		if got := f.At[0].Text; got != "mail.example.test ..." {
			t.Errorf("%s: %q", file, got)
		}
	}
}
