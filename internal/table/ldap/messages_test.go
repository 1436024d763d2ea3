package ldap_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/table"
	"postern/internal/table/ldap"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// wrong are configurations, and a key for those that are only found out when one
// is asked for. "base" stands for lines that are right.
var wrong = []struct{ name, cf, key string }{
	{name: "missing file"},
	{name: "no search_base", cf: "server_host = 127.0.0.1\nquery_filter = (mail=%s)\n"},
	{name: "empty search_base", cf: "server_host = 127.0.0.1\nsearch_base =\n"},
	{name: "unknown key", cf: "base\nquery_filtre = (mail=%s)\nbind_password = x\n"},
	{name: "password twice", cf: "base\nbind_pw = secret1\nbind_pw = secret2\n"},
	{name: "no equals sign", cf: "base\nscope sub\n"},
	{name: "scope", cf: "base\nscope = subtree\n"},
	{name: "open parenthesis", cf: "base\nquery_filter = (&(mail=%s)(objectClass=post)\n"},
	{name: "parenthesis too many", cf: "base\nquery_filter = (mail=%s))\n"},
	{name: "letter in the filter", cf: "base\nquery_filter = (mail=%m)\n"},
	{name: "letter before =", cf: "base\nquery_filter = (%u=x)\n"},
	{name: "filter without a letter", cf: "base\nquery_filter = (mail=john)\n"},
	{name: "letter in search_base", cf: "base\nsearch_base = dc=%x\n"},
	{name: "letter in result_format", cf: "base\nresult_filter = %x\n"},
	{name: "server_host", cf: "base\nserver_host = ldap1.example.test http://ldap.example.test\n"},
	{name: "port", cf: "base\nserver_host = ldap.example.test:ldap\n"},
	{name: "server_port", cf: "base\nserver_port = ldap\n"},
	{name: "empty server_host", cf: "base\nserver_host =\n"},
	{name: "timeout", cf: "base\ntimeout = 0\n"},
	{name: "bind", cf: "base\nbind = maybe\n"},
	{name: "sasl_mechs", cf: "base\nbind = sasl\nsasl_mechs = GSSAPI\n"},
	{name: "sasl_authz_id", cf: "base\nbind = sasl\nsasl_authz_id = u:x\n"},
	{name: "start_tls", cf: "base\nstart_tls = 1\n"},
	{name: "recursion_limit", cf: "base\nrecursion_limit = 0\n"},
	{name: "dereference", cf: "base\ndereference = 4\n"},
	{name: "without effect", cf: "base\nversion = 2\ncache = yes\ncache_size = 100\ndebuglevel = 0\ntls_cipher_suite = HIGH\n"},
	{name: "CA file", cf: "base\nstart_tls = yes\ntls_ca_cert_file = {dir}/none.pem\n"},
	{name: "CA file without certificate", cf: "base\nstart_tls = yes\ntls_ca_cert_file = {dir}/t.cf\n"},
	{name: "CA directory", cf: "base\nstart_tls = yes\ntls_ca_cert_dir = {dir}\n"},
	{name: "certificate without key", cf: "base\nstart_tls = yes\ntls_cert = {slapd}/cert.pem\n"},
	{name: "certificate", cf: "base\nstart_tls = yes\ntls_cert = {dir}/none.pem\ntls_key = {slapd}/key.pem\n"},

	{name: "unreachable", cf: "base\nserver_host = 127.0.0.1:1, ldapi://%2Fnone\n", key: "k"},
	{name: "wrong bind_pw", cf: "base\nbind_dn = " + rootDN + "\nbind_pw = wrong\n", key: "k"},
	{name: "bind_dn without bind_pw", cf: "base\nbind_dn = " + rootDN + "\n", key: "k"},
	{name: "bind_dn is no name", cf: "base\nbind_dn = postfix\nbind_pw = x\n", key: "k"},
	{name: "external over TCP", cf: "base\nbind = sasl\n", key: "k"},
	{name: "unknown CA", cf: "base\nserver_host = ldaps://{tls}\ntls_require_cert = yes\n", key: "k"},
	{name: "unknown CA, start_tls", cf: "base\nstart_tls = yes\ntls_require_cert = yes\n", key: "k"},
	{name: "wrong search_base", cf: "base\nsearch_base = dc=nowhere\n", key: "k"},
	{name: "search_base is no name", cf: "base\nsearch_base = nowhere\n", key: "k"},
	{name: "expansion_limit", cf: "base\nexpansion_limit = 1\nsize_limit = 0\n", key: "two"},
	{name: "size_limit", cf: "base\nsize_limit = 1\n", key: "two"},
	{name: "size_limit by default", cf: "base\nexpansion_limit = 1\n", key: "two"},
	{name: "malformed URL", cf: "base\nspecial_result_attribute = postURL\n", key: "u"},
	{name: "no name in the entry", cf: "base\nspecial_result_attribute = postURL\n", key: "d"},
}

// TestMessages compares what is said of wrong configurations with
// testdata/messages.
func TestMessages(t *testing.T) {
	s := directory(t)
	base := s.branch(t)
	s.add(t, "cn=two,"+base, "objectClass", "post", "postKey", "two", "postValue", "1", "postValue", "2")
	s.add(t, "cn=k,"+base, "objectClass", "post", "postKey", "k", "postKey", "two", "postValue", "v")
	s.add(t, "cn=u,"+base, "objectClass", "post", "postKey", "u", "postURL", "ldap:///x?y?z", "postURL", "ldap:///"+base+"?a??(b")
	s.add(t, "cn=d,"+base, "objectClass", "post", "postKey", "d", "postURL", "no name")
	right := "server_host = " + s.address + "\nsearch_base = " + base + "\nquery_filter = (postKey=%s)\nresult_attribute = postValue\n"
	var out strings.Builder
	for _, tt := range wrong {
		dir := t.TempDir()
		cf := strings.NewReplacer("{dir}", dir, "{slapd}", s.dir, "{tls}", s.tlsAddress).Replace(strings.Replace(tt.cf, "base\n", right, 1))
		if tt.cf != "" {
			if err := os.WriteFile(dir+"/t.cf", []byte(cf), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		log := new(recorder)
		tab, err := ldap.Open(t.Context(), &table.Opener{Log: log}, dir+"/t.cf", table.Use{})
		fmt.Fprintf(&out, "== %s\n%s", tt.name, tt.cf)
		if err == nil && tt.key != "" {
			_, err = tab.Lookup(t.Context(), tt.key)
		}
		if tab != nil {
			tab.Close()
		}
		said := ""
		for _, line := range log.take() {
			said += "warning: " + line + "\n"
		}
		if err != nil {
			said += "error: " + err.Error() + "\n"
		}
		out.WriteString(strings.NewReplacer(dir+"/", "", dir, "DIR", s.dir, "SLAPD", s.address, "ADDRESS", s.tlsAddress, "TLS", base, "BASE").Replace("-> " + strings.ReplaceAll(strings.TrimSuffix(said, "\n"), "\n", "\n-> ") + "\n\n"))
	}
	golden(t, "testdata/messages", out.String())
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update accepts it)\n%s", file, diff)
	}
}
