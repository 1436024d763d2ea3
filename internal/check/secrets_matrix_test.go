package check

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"postern/internal/check/inventory"
	"postern/internal/explain"
	"postern/internal/table/builtin"
	"postern/internal/table/index"
)

// hunter is the secret of these tests, in a mistake: of a password and of a key.
const hunter = "u:Hunter2Secret"

// key64 is how the content of a file of keys begins, in base64.
var key64 = "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCk" + strings.Repeat("Hunter2Secret/aB+", 60) + "=="

// said is all that check and explain say of a directory, in both forms, each in small
// letters: a key is folded, and so may a secret be that was taken for one.
func said(t *testing.T, dir string) string {
	t.Helper()
	s := reopen(t, dir)
	r := Run(context.Background(), s, Options{})
	var out bytes.Buffer
	for _, f := range r.Findings {
		f.Print(&out, false)
	}
	e := explain.Explanation{Address: "a@b.test"}
	Address(context.Background(), inventory.New(s), &e, Options{})
	for _, v := range []any{r, e} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(text)
	}
	return strings.ToLower(out.String())
}

// silent fails when a secret is said, and when one of the words that are wanted is not.
func silent(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, secret := range []string{"hunter2", "2secret", "ls0tls1crud"} {
		if i := strings.Index(text, secret); i >= 0 {
			t.Errorf("a secret is said: ...%s...", text[max(0, i-150):min(len(text), i+40)])
		}
	}
	for _, word := range want {
		if !strings.Contains(text, word) {
			t.Errorf("%s is not said: %s", word, text)
		}
	}
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(text, "{dir}", dir)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

var secretParameters = []string{"smtp_sasl_password_maps", "tls_server_sni_maps"}

// TestSecretsInFiles goes through types of tables and mistakes in their lines.
func TestSecretsInFiles(t *testing.T) {
	keyed := []struct{ text, want string }{
		{"a.test x\nmail.isp.test §\nmail.isp.test §", `mail.isp.test ...`},
		{"a.test x\n[mail.isp.test]:587:§", `"line":2`},
		{"a.test x\nmail.isp.test:§", `"line":2`},
		{"a.test x\nmail.isp.test=§", `"line":2`},
		{"a.test x\nmail.isp.test,§", `"line":2`},
		{"[mail.isp.test]:587\nS", `[mail.isp.test]:587`},
		{" §\na.test x", `"line":1`},
		{"a.test x\nmail.isp.test: §", `mail.isp.test`},
		{"a.test x\n\"mail.isp.test §", `"line":2`},
		{"a.test x\nmail.isp.test\u00a0§", `"line":2`},
		{"a.test x\nmai\u00a0l.isp.test §", `"line":2`},
		{"a.test x\n\"Mail isp.test\" §", `"line":2`},
		{"a.test x\nmail.isp.test\xff §", `"line":2`},
		{"a.test x\nS mail.isp.test\nS mail.isp.test", `"line":3`},
	}
	rules := []struct{ text, want string }{
		{"/(/ §", `/(/`}, {"/^mail §", `/^mail`}, {"/^mail/§", `/^mail/`}, {"/(a)/ $(§)", `/(a)/`}, {"/a/ §$9", `/a/`},
		{"if /(/ §", `"line":1`}, {"mail.isp.test §", `mail.isp.test`}, {"!/a/ §$1", `!/a/`}, {"/a/qq §", `/a/qq`},
		{"§", `"line":1`}, {"/a/", `/a/`},
	}
	networks := []struct{ text, want string }{
		{"192.0.2.0/33 §", `192.0.2.0/33`}, {"mail.isp.test §", `mail.isp.test`}, {"192.0.2.0§", `"line":1`}, {"192.0.2.1/24 §", `192.0.2.1/24`},
		{"[192.0.2.0 §", `192.0.2.0`}, {"192.0.2.0/8:§ x", `"line":1`}, {"if §", `"line":1`},
	}
	for _, parameter := range secretParameters {
		secret := hunter
		if parameter == "tls_server_sni_maps" {
			secret = key64
		}
		for typ, list := range map[string][]struct{ text, want string }{
			"texthash": keyed, "hash": keyed, "lmdb": keyed, "regexp": rules, "pcre": rules, "cidr": networks,
		} {
			for n, tt := range list {
				t.Run(fmt.Sprintf("%s/%s/%d", parameter, typ, n), func(t *testing.T) {
					t.Parallel()
					dir := t.TempDir()
					write(t, dir, map[string]string{
						"main.cf": parameter + " = " + typ + ":{dir}/rows\nmydestination = localhost\n",
						"rows":    strings.ReplaceAll(tt.text, "§", secret) + "\n",
					})
					text := said(t, dir)
					if tt.want == `[mail.isp.test]:587` && parameter == "tls_server_sni_maps" {
						tt.want = `"line":2`
					}
					silent(t, text, `"file":"rows"`, tt.want)
					if t.Failed() {
						t.Logf("the text is %.60q", tt.text)
					}
				})
			}
		}
	}
}

// TestSecretsInOldIndexes: a row that only the index has.
func TestSecretsInOldIndexes(t *testing.T) {
	for _, parameter := range secretParameters {
		dir := t.TempDir()
		write(t, dir, map[string]string{
			"main.cf": parameter + " = cdb:{dir}/rows\nmydestination = localhost\n",
			"rows":    "mail.isp.test " + hunter + "\n[other.test]:587 " + hunter + "\nsmtp.isp.test joe@isp.test:Hunter2\n",
		})
		indexed(t, dir)
		write(t, dir, map[string]string{"rows": "[other.test]:587 u:Hunter2SecretNew\n"})
		silent(t, said(t, dir), "vd302", "mail.isp.test ...", "[other.test]:587 ...", "smtp.isp.test ...", `"file":"rows.cdb"`)
	}
}

// indexed builds the index of the text rows, and makes it old.
func indexed(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, "rows")
	b := &index.Builder{Format: builtin.Formats()["cdb"], Path: path, Fold: true}
	if err := b.Rebuild(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path+".cdb", time.Unix(1e9, 0), time.Unix(1e9, 0)); err != nil {
		t.Fatal(err)
	}
}

// TestSecretsInDatabases: of a row the key is shown, of a query no text in it.
func TestSecretsInDatabases(t *testing.T) {
	for _, parameter := range secretParameters {
		for query, want := range map[string]string{
			"SELECT c FROM t WHERE k = '%s'":                              `mail.isp.test`,
			"SELECT c FROMM t WHERE k = '%s' OR 'u:Hunter2Secret' = ''":   `"line":2`,
			"SELECT 'u:Hunter2Secret' FROM t WHERE k = %s":                `"line":2`,
			"SELECT c || ':u:Hunter2Secret' AS p FROM t WHERE k = '%s' )": `"line":2`,
		} {
			dir := t.TempDir()
			write(t, dir, map[string]string{
				"main.cf": parameter + " = sqlite:{dir}/rows.cf\nmydestination = localhost\n",
				"rows.cf": "dbpath = {dir}/rows\nquery = " + query + "\npasword = u:Hunter2Secret\n",
			})
			db, err := sql.Open("sqlite", filepath.Join(dir, "rows"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.Exec("CREATE TABLE t (k TEXT, c TEXT, hint TEXT); INSERT INTO t VALUES ('Mail.isp.test', ?, 'Hunter2'), ('[Mail.isp.test]:587 ', ?, ''), ('e.test', '', '')", hunter, key64); err != nil {
				t.Fatal(err)
			}
			db.Close()
			silent(t, said(t, dir), parameter, want)
		}
	}
}

// TestSecretsInParameters: rows that are written in main.cf or master.cf, on purpose or not.
func TestSecretsInParameters(t *testing.T) {
	values := []string{
		"mail.isp.test §", "foo:§", "mail.isp.test:§", "§", "Hunter2Secret", "mail.isp.test Hunter2Secret", "§,§", "[mail.isp.test]:587=§", "mail.isp.test /Hunter2Secret",
		"inline:{ mail.isp.test=§", "inline:{Mail.isp.test=§, Mail.isp.test = §}", "inline:{{Mail.isp.test = § x}}", "inline:mail.isp.test=§", "inline:§", "inlin:{a=§}",
		"static:§", "statc:§", "static:{§}", "static §", "proxy:static:§", "proxy:foo:§", "debug:static:§", "debug:{static:§}", "debug:foo:§",
		"unionmap:{static:§", "unionmap:{static:§,inline:{A=§}}", "pipemap:{inline:{a=§},nosuch:§}", "unionmap:§", "randmap:{§}", "randmap:{§", "randmap:§",
		"pcre:{{/(/ §}}", "pcre:{/(/ §}", "regexp:{{/a §}}", "cidr:{{192.0.2.0/33 §}}", "texthash:{mail.isp.test §}", "texthash:mail.isp.test=§", "hash:§",
		"# §", "texthash:{dir}/none §", "tekshash:{dir}/none,§", "/§", "§ {dir}/none", "'static:§'", `"§"`, "a = §", "a, b = §",
	}
	for _, parameter := range append(secretParameters, "lmtp_sasl_password_maps", "smtp_sasl_pasword_maps") {
		for n, value := range values {
			for form := range 3 { // as it is, and in two other ways, others for each value
				if form > 0 && !slices.Contains(secretParameters, parameter) {
					break
				}
				if form > 0 {
					form = 1 + (2*n+form)%(len(secretForms)-1)
				}
				t.Run(fmt.Sprintf("%s/%d/%s", parameter, n, secretForms[form].name), func(t *testing.T) {
					t.Parallel()
					secret := hunter
					if parameter == "tls_server_sni_maps" {
						secret = key64
					}
					dir := t.TempDir()
					text := strings.NewReplacer("PARAMETER", parameter, "VALUE", strings.ReplaceAll(value, "§", secret)).Replace(secretForms[form].text)
					files := map[string]string{"main.cf": "", "master.cf": ""}
					files[secretForms[form].file] = text
					files["main.cf"] += "mydestination = localhost\n"
					write(t, dir, files)
					silent(t, said(t, dir))
					if t.Failed() {
						t.Logf("the value is %s", value)
					}
				})
			}
		}
	}
}

// secretForms are ways to give a parameter a value.
var secretForms = []struct{ name, file, text string }{
	{"plain", "main.cf", "PARAMETER = VALUE\n"},
	{"twice", "main.cf", "PARAMETER = VALUE\nPARAMETER = static:VALUE\nPARAMETER = texthash:{dir}/none\n"},
	{"below", "main.cf", "PARAMETER =\n  VALUE\n"},
	{"indirect", "main.cf", "relay = VALUE\nPARAMETER = $relay\n"},
	{"misspelt", "main.cf", "xPARAMETERs = VALUE\n"},
	{"braces", "master.cf", "out unix - - n - - smtp\n  -o { PARAMETER = VALUE }\n  -o syslog_name=x\n"},
	{"option", "master.cf", "out unix - - n - - smtp -o PARAMETER=VALUE -o syslog_name=x\n"},
	{"blanks", "master.cf", "out unix - - n - - smtp -o PARAMETER = VALUE -o syslog_name=x\n"},
}

// TestPlainNamesStay: what is no secret is shown as it is written.
func TestPlainNamesStay(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"main.cf": "smtp_sasl_password_maps = tekshash:{dir}/rows, unionmap:{hash:{dir}/a, texthash:{dir}/rows}\nvirtual_alias_domains = a.test\nvirtual_alias_maps = texthash:{dir}/aliases\nmydestination = localhost\n",
		"rows":    "mail.isp.test table:rows\nmail.isp.test table:rows\n",
		"aliases": "x@a.test\ny@a.test rows:table\ny@a.test z@b.test\n",
	})
	silent(t, said(t, dir), "near texthash", "tekshash:"+strings.ToLower(dir)+"/rows", "unionmap:{hash:"+strings.ToLower(dir)+"/a, texthash:", "y@a.test rows:table", "mail.isp.test ...")
}

// FuzzSecrets: whatever a line is, of a password behind its key nothing is left, neither
// at its place nor in words that quote it.
func FuzzSecrets(f *testing.F) {
	for _, seed := range []string{"Hunter2Secret", "a:b:c,d=e{f}", "/x.y/z", "-o p = v", "smtp_sasl_password_maps = static:", "'x'", "\xff\x00", "$(1)"} {
		f.Add(seed, seed+" x")
	}
	f.Fuzz(func(t *testing.T, secret, line string) {
		if len(line)+len(secret) > 200 {
			return
		}
		s := secrets{}
		s.assigned(line)
		literals(line)
		shown, _, words := shownLine(line)
		newMask(words, nil).text(line + shown)
		if secret = visible(secret); len(secret) < certain || strings.ContainsAny(secret, ",={}/") || !strings.ContainsFunc(secret, isLetter) {
			return
		}
		secret = "#" + secret // which no word of the messages has
		shown, _, words = shownLine("mail.isp.test joe:" + secret)
		message := newMask(words, nil).text("line 3 (joe:" + secret + ") has " + secret)
		if strings.Contains(shown+message, secret) {
			t.Errorf("%q: %q, %q", secret, shown, message)
		}
	})
}

// TestMask: whole words, cut ones, and those of other letters.
func TestMask(t *testing.T) {
	m := newMask(append(partsOf("joe:S3cretWord"), partsOf("abc, joe@host.test:x, a.host.test1")...), []string{"/etc/abc", "a.host.test"})
	for text, want := range map[string]string{
		"x joe:S3cretWord y": "x ... y", "(s3cretword)": "(...)", `"S3cretWo..." cut`: `"..." cut`, "abc d": "... d", "abcd": "abcd", "/etc/abc abc": "/etc/abc ...",
		"A.host.test": "A.host.test", "a.host.test1": "...", "b.host.test": "b....", "nothing": "nothing", "ä abc": "ä ...",
	} {
		if got := m.text(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if parts := partsOf("/etc/ssl/mail.key, /etc/ssl/mail.crt"); slices.ContainsFunc(parts, func(p string) bool { return strings.HasPrefix(p, "/etc/ssl/mail.k") && !strings.Contains(p, ",") }) {
		t.Errorf("names of files are no secret: %q", parts)
	}
}
