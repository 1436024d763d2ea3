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

// TestOwnParameters: a parameter of one's own has a secret for its name, or because one of
// passwords refers to it, be it through another or in one service.
func TestOwnParameters(t *testing.T) {
	const login = "relay_login = u:Hunter2Secret\nrelay_login = u:Hunter2SecretNew\n"
	for _, tt := range []struct{ name, main, master, want string }{
		{"direct", login + "smtp_sasl_password_maps = static:$relay_login\n", "", "relay_login = ..."},
		{"in braces", login + "smtp_sasl_password_maps = static:${relay_login?{$relay_login}}\n", "", "relay_login = ..."},
		{"through another", login + "relay_table = static:$relay_login\nsmtp_sasl_password_maps = $relay_table\n", "", "relay_login = ..."},
		{"in a circle", login + "smtp_sasl_password_maps = static:$a_login\na_login = ${b_login?$relay_login}\nb_login =\n", "", "relay_login = ..."},
		{"of a service", login, "out unix - - n - - smtp -o smtp_sasl_password_maps=static:$relay_login\n", "relay_login = ..."},
		{"of a password", login + "x_password = $relay_login\nvirtual_alias_maps = mysql:x\n", "", "relay_login = ..."},
		{"by its name", "smtp_pass = Hunter2Secret\nisp_passphrase = Hunter2Secret\n", "", "smtp_pass=..."},
		{"by its name, twice", "relay_secret = Hunter2Secret\nrelay_secret = Hunter2SecretNew\n", "", "relay_secret = ..."},
		{"a type and a directory", "indexed = texthash:/a/\nindexed = texthash:{dir}/\nsmtp_sasl_password_maps = ${indexed}main.cf\n", "", "indexed = texthash:/a/"},
		{"a directory", "sasl_dir = /etc/old\nsasl_dir = {dir}\nsmtp_sasl_password_maps = texthash:$sasl_dir/main.cf\n", "", "sasl_dir = /etc/old"},
		{"a type by its name", "smtp_sasl_password_maps = texthash:/a/b\nsmtp_sasl_password_maps = $default_database_type:$config_directory/sasl\n", "", "smtp_sasl_password_maps = $default_database_type:$config_directory/sasl"},
		{"in front of a file", "indexed = texthash:{dir}/\nsmtp_sasl_password_maps = texthash:/a/b\nsmtp_sasl_password_maps = ${indexed}sasl\n", "", "smtp_sasl_password_maps = ${indexed}sasl"},
		{"a secret in front of a file", login + "smtp_sasl_password_maps = texthash:/a/b\nsmtp_sasl_password_maps = ${relay_login}sasl\n", "", "smtp_sasl_password_maps = ..."},
		{"a setting in the line before", "maps = {dir}\n  virtual_alias_domains = a.test\nsmtp_sasl_password_maps = $maps\n", "", "virtual_alias_domains"},
		{"of Postfix", "mail_name = a\nmail_name = b\nsmtp_sasl_password_maps = static:$mail_name\n", "", "mail_name = b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, map[string]string{"main.cf": "mydestination = localhost\n" + tt.main, "master.cf": tt.master})
			silent(t, said(t, dir), tt.want)
		})
	}
}

// TestKeysLikeLogins: a key is shown though the login behind it is at the same host.
func TestKeysLikeLogins(t *testing.T) {
	for _, tt := range []struct{ rows, want string }{
		{"[smtp.isp.test]:587 joe@isp.test:Hunter2\n[smtp.isp.test]:587 joe@isp.test:Hunter2\n", `the key "[smtp.isp.test]:587" twice`},
		{"Smtp.Isp.test:587 joe@isp.test:Hunter2\nSMTP.isp.test:587 joe@isp.test:Hunter2\n", `the key "smtp.isp.test:587" twice`},
		{"[localhost]:587 joe@localhost:Hunter2\n[localhost]:587 joe@localhost:Hunter2\n", `the key "[localhost]:587" twice`},
		{"localhost joe@localhost:Hunter2\nlocalhost joe@localhost:Hunter2\n", `the key "localhost" twice`},
		{"joe@isp.test joe@isp.test:Hunter2\njoe@isp.test joe@isp.test:Hunter2\n", `the key "joe@isp.test" twice`},
		{"Ömail.isp.test joe@ömail.isp.test:Hunter2\nömail.isp.test joe@ömail.isp.test:Hunter2\n", `the key "ömail.isp.test" twice`},
		{"smtp.isp\u00a0.test joe@isp.test:Hunter2\n", `write the key as smtp.isp.test`},
	} {
		dir := t.TempDir()
		write(t, dir, map[string]string{"main.cf": "mydestination = localhost\nsmtp_sasl_password_maps = texthash:{dir}/rows\n", "rows": tt.rows})
		text := strings.ReplaceAll(said(t, dir), `\"`, `"`)
		silent(t, text, tt.want)
		if n := strings.Count(tt.rows, "\n"); strings.Contains(text, "... ...") || n > 1 && !strings.Contains(text, strings.ToLower(strings.Fields(tt.rows)[0]+` ...`)) {
			t.Errorf("the key is hidden at its place: %s", text)
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
