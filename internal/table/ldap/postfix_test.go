package ldap_test

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/table"
)

// people adds the entries that the comparison with Postfix looks at.
func people(t *testing.T, s *slapd) (base string) {
	base = s.branch(t)
	add := func(cn string, pairs ...string) {
		s.add(t, "cn="+cn+","+base, append([]string{"objectClass", "post", "cn", cn}, pairs...)...)
	}
	add("john", "mail", "john@a.b.example", "maildrop", "john@c.example", "description", "first")
	add("jane", "mail", "jane@a.b.example", "mail", "shared@example.test", "maildrop", "jane@c.example", "maildrop", "jane2@c.example", "maildrop", "plain")
	add("joe", "mail", "shared@example.test", "mail", "joe@a.b.example", "maildrop", "joe@c.example", "description", "second")
	add("none", "mail", "none@example.test")
	add("odd", "postKey", "(odd)*\\key", "postKey", "o'neil", "postKey", " blank ", "postKey", "100%", "postKey", "j\u00f6hn@ex\u00e4mple.test", "maildrop", "odd")
	add("empty", "postKey", "empty", "postValue", "")
	add("mixed", "postKey", "mixed", "postValue", "user@x.example", "postValue", "bare", "postValue", "open@", "postValue", "@dom", "postValue", "a@b@c")
	add("star", "postKey", "star", "postValue", "v")
	john, jane := "cn=john,"+base, "cn=jane,"+base
	add("team", "mail", "team@example.test", "postDN", john, "postDN", jane, "postDN", "cn=nobody,"+base, "postValue", "extra")
	add("nested", "mail", "nested@example.test", "postDN", "cn=team,"+base, "maildrop", "nested-drop")
	add("circle", "mail", "circle@example.test", "postDN", "cn=circle,"+base)
	add("both", "mail", "both@example.test", "maildrop", "first", "postValue", "terminal", "postDN", john)
	add("both2", "mail", "both@example.test", "maildrop", "second", "postDN", jane)
	url := func(cn, rest string) {
		add(cn, "mail", cn+"@example.test", "postURL", "ldap:///"+rest)
	}
	url("url", base+"??sub?(description=*)")
	url("urlattr", base+"?maildrop?one?(mail=shared@example.test)")
	url("urlnone", base+"?postKey,cn?sub?(mail=shared@example.test)")
	url("urlbare", john)
	url("urlbase", john+"?maildrop")
	url("urlscope", base+"?maildrop??(description=*)")
	url("urlempty", base+"?maildrop?sub")
	url("urlgone", "cn=gone,"+base+"??sub?(description=*)")
	url("urlbad", base+"?maildrop?deep?(description=*)")
	url("urlspace", base+"?maildrop?sub?(%26(description=*)%20(cn=john))")
	url("urloption", base+"?maildrop;lang-de,MAIL?sub?(description=*)")
	return base
}

const (
	byMail = "query_filter = (mail=%s)\n"
	byKey  = "query_filter = (postKey=%s)\nresult_attribute = postValue\n"
	groups = byMail + "special_result_attribute = postDN, postURL\n"
)

// sticky are the answers of Postfix, which forgets at the next entry neither
// that one had a terminal attribute nor that one had a special one.
var sticky = map[string]string{
	groups + "terminal_result_attribute = postValue" + "both@example.test":                                   "terminal",
	groups + "terminal_result_attribute = description\nleaf_result_attribute = mail" + "shared@example.test": "second",
}

var keys = strings.Split("john@a.b.example,John@A.B.Example,jane@a.b.example,shared@example.test,none@example.test,john,@a.b.example,john@,john@example,"+
	"a@b@a.b.example,@,*,(odd)*\\key,o'neil, blank ,blank,100%,jöhn@exämple.test,\xff\xfe,empty,mixed,star,s*,team@example.test,nested@example.test,"+
	"circle@example.test,both@example.test,url@example.test,urlattr@example.test,urlnone@example.test,urlbare@example.test,urlbase@example.test,"+
	"urlscope@example.test,urlempty@example.test,urlgone@example.test,urlbad@example.test,urlspace@example.test,urloption@example.test,"+
	"joe@a.b.example,x=y@example.test,b1,a+b#c;d<e>f\"g\\h,user@a..example,user@.a.b.example", ",")

// configs are the tables that are compared, with defaults for server_host and
// search_base.
var configs = []string{
	"query_filter = mail=%s\n",
	"query_filter = (& (objectClass=post)\n  (| (mail=%s) (postKey=%s) ) (!(cn=joe)))\n",
	byMail + "result_attribute = mail, maildrop, cn",
	byMail + "result_attribute = CN MAILDROP",
	byMail + "result_attribute =",
	byMail + "result_format = <%s|%u|%%|%S|%U>",
	byMail + "result_format = %d/%D/%1/%2",
	byMail + "result_filter = [%s]",
	byMail + "domain = example.test !a.b.example",
	byMail + "expansion_limit = 1",
	byMail + "expansion_limit = 2",
	byMail + "size_limit = 1",
	byMail + "expansion_limit = 1\nsize_limit = 0",
	"query_filter = (mail=%u@%d)\nresult_format = %u",
	"query_filter = (cn=%u)\nresult_attribute = cn",
	"query_filter = (cn=%1)\nresult_attribute = cn",
	"query_filter = (mail=%3@*)\nresult_attribute = cn",
	"query_filter = (&(cn=*)(mail=*%u*))\nresult_attribute = cn",
	"query_filter = (description=first)\n",
	"query_filter = (description>=%u)\n",
	"query_filter = (mail:caseIgnoreIA5Match:=%s)\n",
	"query_filter = (cn:dn:=%s)\nresult_attribute = cn",
	"query_filter = (cn=\\6aohn)\nresult_format = %s %u",
	"query_filter = (&(mail=%s)(description=%%))\n",
	byKey, byKey + "result_format = %d", byKey + "result_format = %u", byKey + "result_format = %s@%u",
	groups,
	groups + "result_attribute = mail",
	groups + "result_attribute = postValue\nleaf_result_attribute = maildrop",
	groups + "result_attribute = \nleaf_result_attribute = maildrop cn",
	groups + "terminal_result_attribute = postValue",
	groups + "terminal_result_attribute = description\nleaf_result_attribute = mail",
	groups + "recursion_limit = 1", groups + "recursion_limit = 2", groups + "expansion_limit = 3", groups + "size_limit = 1",
	"query_filter = (objectClass=post)\nscope = base\nsearch_base = cn=%u,{base}\n",
	"query_filter = (objectClass=post)\nscope = base\nsearch_base = cn=%s,{base}\nresult_attribute = cn\n",
	"query_filter = (objectClass=organizationalUnit)\nscope = base\nsearch_base = ou=%s,dc=example,dc=test\nresult_attribute = ou\n",
	byMail + "search_base = ou=nowhere,dc=example,dc=test\n",
	byMail + "search_base = x%%y\n",
	byMail + "scope = one\n", byMail + "scope = base\n", byMail + "scope = subtree\n", byMail + "dereference = 3\n", byMail + "dereference = 9\n",
	byMail + "bind = no\n", byMail + "bind = yes\nbind_dn = " + rootDN + "\nbind_pw = " + rootPW,
	byMail + "bind = no\nsearch_base = ou=hidden,dc=example,dc=test\n",
	byMail + "bind_dn = " + rootDN + "\nbind_pw = wrong\n",
	byMail + "server_host = 127.0.0.1:1 ldap://{address}\n",
	byMail + "server_host = 127.0.0.1:1\n",
	byMail + "server_host = ldapi://{socket}\n",
	byMail + "server_host = ldapi://{socket}\nbind = sasl\nsasl_mechs = EXTERNAL\n",
	byMail + "server_host = ldaps://{tls}\n",
	byMail + "server_host = ldaps://{tls}\ntls_require_cert = yes\ntls_ca_cert_file = {dir}/cert.pem\n",
	byMail + "server_host = ldaps://{tls}\ntls_require_cert = yes\n",
	byMail + "start_tls = yes\n",
	byMail + "start_tls = yes\ntls_require_cert = yes\ntls_ca_cert_file = {dir}/cert.pem\n",
}

// TestPostfix compares with Postfix's own ldap tables.
func TestPostfix(t *testing.T) {
	s := directory(t)
	program := find(t, "postmap")
	if out, _ := exec.Command("postconf", "-m").Output(); !strings.Contains(string(out), "ldap") {
		find(t, "Postfix with ldap tables")
	}
	base := people(t, s)
	var wait sync.WaitGroup
	slots := make(chan struct{}, 40) // most of them sleep
	for _, cf := range configs {
		text := s.complete(cf, base)
		tab := open(t, &table.Opener{}, text, table.Use{Fold: true})
		var good, bad []string
		ours := make(map[string]string)
		for _, key := range keys {
			if ours[key] = ask(t, tab, key); ours[key] == "error" {
				bad = append(bad, key)
			} else {
				good = append(good, key)
			}
		}
		// postmap ends, after a sleep, at the first failure.
		questions := [][]string{good}
		for _, key := range bad[:min(2, len(bad))] {
			questions = append(questions, []string{key})
		}
		dir := configure(t, text)
		for _, keys := range questions {
			wait.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				theirs := postmap(program, dir, keys)
				for _, key := range keys {
					if ours[key] != theirs[key] && sticky[cf+key] != theirs[key] {
						t.Errorf("%s\nLookup(%q) = %q, Postfix says %q", cf, key, ours[key], theirs[key])
					}
				}
			})
		}
	}
	wait.Wait()
}

// complete fills in the places of the server, and the defaults.
func (s *slapd) complete(cf, base string) string {
	text := "version = 3\ntimeout = 5\n" + strings.NewReplacer("{base}", base, "{address}", s.address, "{dir}", s.dir,
		"{tls}", s.tlsAddress, "{socket}", strings.ReplaceAll(s.socket, "/", "%2f")).Replace(cf) + "\n"
	if !strings.Contains(cf, "server_host") {
		text += "server_host = " + s.address + "\n"
	}
	if !strings.Contains(cf, "search_base") {
		text += "search_base = " + base + "\n"
	}
	return text
}

// configure makes a configuration directory for Postfix with t.cf.
func configure(t *testing.T, cf string) (dir string) {
	t.Helper()
	dir = write(t, cf)
	if err := os.WriteFile(dir+"/main.cf", []byte("compatibility_level = 3.6\nmyhostname = host.test\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{dir + "/main.cf", dir + "/t.cf"} {
		// Postfix waits until a file that it reads stands still.
		if err := os.Chtimes(file, time.Time{}, time.Unix(0, 0)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// postmap is what Postfix's command says for each key, in the words of ask. A
// failure is that of all keys.
func postmap(program, dir string, keys []string) map[string]string {
	answers := make(map[string]string)
	cmd := exec.Command(program, "-c", dir, "-q", "-", "ldap:"+dir+"/t.cf")
	cmd.Stdin = strings.NewReader(strings.Join(keys, "\n") + "\n")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, _ := cmd.Output() // status 1: no key was found
	nothing := "-"
	if strings.Contains(stderr.String(), "fatal:") {
		nothing = "error"
	}
	for _, key := range keys {
		answers[key] = nothing
	}
	for _, line := range strings.Split(strings.TrimSuffix(string(out), "\n"), "\n") {
		if key, value, ok := strings.Cut(line, "\t"); ok {
			answers[key] = value
		}
	}
	return answers
}
