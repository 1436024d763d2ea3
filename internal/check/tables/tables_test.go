package tables

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	_ "modernc.org/sqlite"
	"pgregory.net/rapid"

	"postern/internal/address"
	"postern/internal/check/inventory"
	"postern/internal/explain"
	"postern/internal/finding"
	"postern/internal/setup"
	"postern/internal/table/builtin"
	"postern/internal/table/index"
)

// sound is a configuration of which nothing is to be said.
const sound = `compatibility_level = 3.6
myhostname = mail.example.net
mydestination = localhost
alias_maps =
local_recipient_maps =
mynetworks = 127.0.0.0/8
`

// house is a configuration directory.
type house struct {
	t     *testing.T
	dir   string
	setup *setup.Setup
}

// build writes the files of an archive; {dir} stands for the directory, and main.cf
// goes on from sound. mail.sql becomes the database mail.db.
func build(t *testing.T, archive string) *house {
	t.Helper()
	h := &house{t: t, dir: t.TempDir()}
	for _, f := range txtar.Parse([]byte(archive)).Files {
		text := strings.ReplaceAll(string(f.Data), "{dir}", h.dir)
		switch f.Name {
		case "main.cf":
			text = sound + text
		case "mail.sql":
			h.database(text)
			continue
		}
		if err := os.WriteFile(filepath.Join(h.dir, f.Name), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// database makes mail.db.
func (h *house) database(statements string) {
	h.t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(h.dir, "mail.db"))
	if err != nil {
		h.t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(h.t.Context(), statements); err != nil {
		h.t.Fatal(err)
	}
}

// postmap builds the index of a text, and makes both of the same age.
func (h *house) postmap(typ, name string) {
	h.t.Helper()
	path := filepath.Join(h.dir, name)
	b := &index.Builder{Format: builtin.Formats()[typ], Path: path, Fold: true}
	if err := b.Rebuild(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
}

// open opens it.
func (h *house) open() *setup.Setup {
	h.t.Helper()
	if h.setup == nil {
		s, err := setup.Open(h.t.Context(), h.dir, setup.Options{})
		if err != nil {
			h.t.Fatal(err)
		}
		h.t.Cleanup(func() { s.Close() })
		h.setup = s
	}
	return h.setup
}

// examine returns the findings of Examine, one line each: code, severity, first
// place, near misses.
func (h *house) examine() []string {
	h.t.Helper()
	return h.lines(func(report finding.Report) { Examine(h.t.Context(), inventory.New(h.open()), report) })
}

// address returns those of Address.
func (h *house) address(to string) []string {
	h.t.Helper()
	s := h.open()
	e, err := (&explain.Explainer{Dir: h.dir, Settings: s.Settings, Router: s.Router, Policy: s.Policy, Sender: address.Split("someone@elsewhere.test")}).Explain(h.t.Context(), to)
	if err != nil {
		h.t.Fatal(err)
	}
	return h.lines(func(report finding.Report) { Address(h.t.Context(), inventory.New(s), &e, report) })
}

func (h *house) lines(run func(finding.Report)) []string {
	lines := []string{}
	run(func(f finding.Finding) {
		f = f.RelativeTo(h.dir)
		if f.Message == "" || f.Fix == "" || strings.Contains(f.Message+f.Fix+fmt.Sprint(f.At), "s3cret") {
			h.t.Errorf("finding %+v lacks words, or shows a password", f)
		}
		place := "?"
		if len(f.At) > 0 {
			place = strings.ReplaceAll(f.At[0].String(), h.dir+"/", "")
		}
		line := strings.TrimRight(fmt.Sprintf("%s %s %s %s", f.Code, f.Severity, place, strings.Join(f.Near, " ")), " ")
		lines = append(lines, strings.ReplaceAll(line, h.dir+"/", ""))
	})
	slices.Sort(lines)
	return lines
}

// mainLines is how many lines of main.cf are those of sound.
const mainLines = 6

func at(line int) string { return fmt.Sprintf("main.cf:%d", mainLines+line) }

func TestExamine(t *testing.T) {
	tests := []struct {
		name, archive string
		want          []string
	}{
		{"sound text", "-- main.cf --\nvirtual_alias_maps = texthash:{dir}/v\nvirtual_alias_domains = example.test\n-- v --\ninfo@example.test john@example.test\n", nil},
		{"no file at all", "-- main.cf --\nvirtual_alias_maps = lmdb:{dir}/virtual\n-- virtuals --\na b\n",
			[]string{"VD301 error virtual.lmdb virtuals"}},
		{"a type that is not there", "-- main.cf --\nvirtual_alias_maps = sqllite:{dir}/v.cf\n", []string{"VD304 error " + at(1) + " sqlite"}},
		{"no type", "-- main.cf --\nvirtual_alias_maps = {dir}/virtual\n-- virtual --\na b\n",
			[]string{"VD304 error " + at(1) + " hash:virtual texthash:virtual"}},
		{"no type of a .cf file", "-- main.cf --\nvirtual_alias_maps = {dir}/v.cf\n",
			[]string{"VD304 error " + at(1) + " mysql:v.cf pgsql:v.cf sqlite:v.cf"}},
		{"comment in a list of tables", "-- main.cf --\nvirtual_alias_maps = texthash:{dir}/v # aliases\n-- v --\na@b.test c@d.test\n", nil},
		{"text that is not there", "-- main.cf --\nvirtual_alias_maps = texthash:{dir}/virtuel\n-- virtual --\na@b.test c@d.test\n",
			[]string{"VD307 error " + at(1) + " virtual"}},
		{"domain file that is not there", "-- main.cf --\nvirtual_alias_domains = {dir}/domain\n-- domains --\nexample.test\n",
			[]string{"VD307 error " + at(1) + " domains"}},
		{"fails always", "-- main.cf --\nvirtual_alias_maps = fail:x\n", []string{"VD307 error " + at(1)}},
		{"empty base", "-- main.cf --\nvirtual_mailbox_domains = example.test\nvirtual_mailbox_maps = texthash:{dir}/m\n-- m --\na@example.test a/\n",
			[]string{"VD305 error default of virtual_mailbox_base"}},
		{"base of the service", "-- main.cf --\nvirtual_mailbox_domains = example.test\nvirtual_mailbox_maps = texthash:{dir}/m\n-- m --\na@example.test a/\n" +
			"-- master.cf --\nvirtual unix - n n - - virtual -o virtual_mailbox_base=/var/vmail\n", nil},
		{"unapproved", "-- main.cf --\nvirtual_alias_maps = proxy:texthash:{dir}/v\nproxy_read_maps = texthash:{dir}/v\n-- v --\na@b.test c@d.test\n",
			[]string{"VD511 warning " + at(1)}},
		{"approved", "-- main.cf --\nvirtual_alias_maps = proxy:texthash:{dir}/v\n-- v --\na@b.test c@d.test\n", nil},
		{"relative name", "-- main.cf --\nvirtual_alias_maps = sqlite:v.cf\n-- v.cf --\ndbpath = {dir}/mail.db\nquery = SELECT a FROM t WHERE k='%s'\n-- mail.sql --\nCREATE TABLE t (k TEXT, a TEXT);\n",
			[]string{"VD305 warning " + at(1) + " sqlite:v.cf v.cf"}},
		{"relative name as Postfix", "-- main.cf --\ncompatibility = postfix\nvirtual_alias_maps = sqlite:v.cf\n-- v.cf --\ndbpath = {dir}/mail.db\nquery = SELECT a FROM t WHERE k='%s'\n-- mail.sql --\nCREATE TABLE t (k TEXT, a TEXT);\n",
			[]string{"VD305 error " + at(2) + " sqlite:v.cf v.cf"}},
		{"relative name of nothing", "-- main.cf --\nvirtual_alias_maps = mysql:alias.cf\n-- aliases.cf --\ndbname = x\n",
			[]string{"VD305 error " + at(1) + " mysql:aliases.cf aliases.cf"}},
		{"parameters in main.cf", "-- main.cf --\nvirtual_alias_maps = sqlite:va\nva_dbpath = {dir}/mail.db\nva_query = SELECT a FROM t WHERE k='%s'\n-- mail.sql --\nCREATE TABLE t (k TEXT, a TEXT);\n", nil},
		{"missing and misspelt parameter", "-- main.cf --\nvirtual_alias_maps = mysql:{dir}/v.cf\n-- v.cf --\nhosts = 127.0.0.1:1\ndatabase = mail\npassword = s3cret\nquery = SELECT a FROM t WHERE k='%s'\n",
			[]string{"VD305 error " + at(1) + " dbname", "VD305 warning v.cf:2 dbname"}},
		{"empty parameter", "-- main.cf --\nvirtual_alias_maps = sqlite:{dir}/v.cf\n-- v.cf --\ndbpath =\nquery = SELECT a FROM t WHERE k='%s'\n",
			[]string{"VD305 error v.cf:1"}},
		{"server away", "-- main.cf --\nvirtual_alias_maps = pgsql:{dir}/v.cf\n-- v.cf --\nhosts = 127.0.0.1:1\nuser = u\npassword = s3cret\ndbname = mail\nquery = SELECT a FROM t WHERE k='%s'\n",
			[]string{"VD306 error v.cf:1"}},
		{"missing table", "-- main.cf --\nvirtual_alias_maps = sqlite:{dir}/v.cf\n-- v.cf --\ndbpath = {dir}/mail.db\nquery = SELECT a FROM gone WHERE k='%s'\n-- mail.sql --\nCREATE TABLE t (k TEXT, a TEXT);\n",
			[]string{"VD307 error v.cf:2"}},
		{"unquoted", "-- main.cf --\nvirtual_alias_maps = sqlite:{dir}/v.cf\n-- v.cf --\ndbpath = {dir}/mail.db\nquery = SELECT a FROM t WHERE k=%s\n-- mail.sql --\nCREATE TABLE t (k TEXT, a TEXT);\n",
			[]string{"VD308 warning v.cf:2"}},
		{"double quotes", "-- main.cf --\nvirtual_alias_maps = sqlite:{dir}/v.cf\n-- v.cf --\ndbpath = {dir}/mail.db\nquery = SELECT a FROM t WHERE k=\"%s\"\n-- mail.sql --\nCREATE TABLE t (k TEXT, a TEXT);\n",
			[]string{"VD308 warning v.cf:2"}},
		{"empty text for nobody", "-- main.cf --\nvirtual_alias_maps = sqlite:{dir}/v.cf\n-- v.cf --\ndbpath = {dir}/mail.db\nquery = SELECT coalesce((SELECT a FROM t WHERE k='%s'), '')\n-- mail.sql --\nCREATE TABLE t (k TEXT, a TEXT);\n",
			[]string{"VD308 warning v.cf:2"}},
		{"empty row", "-- main.cf --\nvirtual_alias_maps = sqlite:{dir}/v.cf\n-- v.cf --\ndbpath = {dir}/mail.db\nquery = SELECT a FROM t WHERE k='%s'\n" +
			"-- mail.sql --\nCREATE TABLE t (k TEXT, a TEXT);\nINSERT INTO t VALUES ('a@example.test', '');\n",
			[]string{`VD308 warning sqlite:v.cf "a@example.test"`}},
		{"empty rule", "-- main.cf --\nvirtual_alias_maps = regexp:{dir}/v\n-- v --\n/^a@/ b@example.test\n/^c@/\n", []string{"VD308 error v:2"}},
		{"several rows", "-- main.cf --\nvirtual_mailbox_base = /var/vmail\nvirtual_mailbox_domains = example.test\nvirtual_mailbox_maps = sqlite:{dir}/v.cf\n-- v.cf --\ndbpath = {dir}/mail.db\nquery = SELECT a FROM t WHERE k='%s'\n" +
			"-- mail.sql --\nCREATE TABLE t (k TEXT, a TEXT);\nINSERT INTO t VALUES ('a@example.test', 'a/'), ('a@example.test', 'b/');\n",
			[]string{`VD308 error sqlite:v.cf "a@example.test"`}},
		{"several rows of an alias", "-- main.cf --\nvirtual_alias_maps = sqlite:{dir}/v.cf\n-- v.cf --\ndbpath = {dir}/mail.db\nquery = SELECT a FROM t WHERE k='%s'\n" +
			"-- mail.sql --\nCREATE TABLE t (k TEXT, a TEXT);\nINSERT INTO t VALUES ('a@example.test', 'a@b.test'), ('a@example.test', 'b@b.test');\n", nil},
		{"twice", "-- main.cf --\nvirtual_alias_maps = texthash:{dir}/v\n-- v --\na@b.test c@d.test\nb@b.test c@d.test\nA@b.test e@d.test\n",
			[]string{"VD308 error v:3"}},
		{"no value", "-- main.cf --\nvirtual_alias_maps = texthash:{dir}/v\n-- v --\na@b.test c@d.test\nb@b.test\n", []string{"VD308 error v:2"}},
		{"colon behind the key", "-- main.cf --\nvirtual_alias_maps = texthash:{dir}/v\n-- v --\na@b.test: c@d.test\n", []string{"VD309 error v:1 a@b.test"}},
		{"capitals", "-- main.cf --\nvirtual_alias_maps = sqlite:{dir}/v.cf\n-- v.cf --\ndbpath = {dir}/mail.db\nquery = SELECT a FROM t WHERE k='%s'\n" +
			"-- mail.sql --\nCREATE TABLE t (k TEXT, a TEXT);\nINSERT INTO t VALUES ('A@example.test', 'a@b.test'), ('b@example.test', 'a@b.test');\n",
			[]string{`VD309 error sqlite:v.cf "A@example.test" A@example.test`}},
		{"capitals that do not matter", "-- main.cf --\nvirtual_alias_maps = sqlite:{dir}/v.cf\n-- v.cf --\ndbpath = {dir}/mail.db\nquery = SELECT a FROM t WHERE k='%s'\n" +
			"-- mail.sql --\nCREATE TABLE t (k TEXT COLLATE NOCASE, a TEXT);\nINSERT INTO t VALUES ('A@example.test', 'a@b.test');\n", nil},
		{"blanks", "-- main.cf --\nvirtual_alias_maps = sqlite:{dir}/v.cf\n-- v.cf --\ndbpath = {dir}/mail.db\nquery = SELECT a FROM t WHERE k='%s'\n" +
			"-- mail.sql --\nCREATE TABLE t (k TEXT, a TEXT);\nINSERT INTO t VALUES ('a@example.test ', 'a@b.test'), ('b@example.test' || char(13), 'b@b.test'), ('c@example.test' || char(160), 'c@b.test');\n",
			[]string{`VD309 error sqlite:v.cf "a@example.test " a@example.test`, "VD309 error sqlite:v.cf \"b@example.test\\r\" b@example.test\r",
				"VD309 error sqlite:v.cf \"c@example.test\\u00a0\" c@example.test\u00a0"}},
		{"no-break space in a text", "-- main.cf --\nvirtual_alias_maps = texthash:{dir}/v\n-- v --\na@example.test\u00a0 c@d.test\n",
			[]string{"VD309 error v:1 a@example.test\u00a0"}},
		{"U-label", "-- main.cf --\nvirtual_alias_domains = müller.test\nvirtual_alias_maps = texthash:{dir}/v\n-- v --\na@müller.test c@d.test\n",
			[]string{"VD309 error " + at(1) + " xn--mller-kva.test", "VD309 error v:1 a@xn--mller-kva.test a@müller.test"}},
		{"both forms", "-- main.cf --\nvirtual_alias_domains = müller.test, xn--mller-kva.test\nvirtual_alias_maps = texthash:{dir}/v\n-- v --\na@müller.test c@d.test\na@xn--mller-kva.test c@d.test\n", nil},
		{"dot and address in a domain list", "-- main.cf --\nvirtual_alias_domains = {dir}/d\n-- d --\nexample.test.\ninfo@example.org\n",
			[]string{"VD309 error d:1 example.test", "VD309 error d:2 example.org"}},
		{"forms of addresses", "-- main.cf --\nvirtual_alias_domains = example.test\nvirtual_alias_maps = texthash:{dir}/v\n-- v --\n" +
			"a@example.test. c@d.test\nb@example.test c@d.test\n<c@example.test> c@d.test\nd@example.test, c@d.test\ne@example,test c@d.test\n\"f@example.test\" c@d.test\ng@@example.test c@d.test\n",
			[]string{"VD309 error v:1 a@example.test.", "VD309 error v:3 <c@example.test>", "VD309 error v:4 d@example.test, e@example,test", `VD309 error v:6 "f@example.test"`, "VD309 error v:7 g@@example.test"}},
		{"forms of domains", "-- main.cf --\nvirtual_alias_domains = texthash:{dir}/d\n-- d --\na.test. x\nb.test x\n*.c.test x\n@d.test x\nhttp://e.test x\n",
			[]string{"VD309 error d:1 a.test.", "VD309 error d:3 *.c.test", "VD309 error d:4 @d.test", "VD309 error d:5 http://e.test"}},
		{"forms of words", "-- main.cf --\nvirtual_alias_domains = a.test; b.test, @c.test\n", []string{"VD309 error " + at(1) + " a.test c.test"}},
		{"forms that others have", "-- main.cf --\ntransport_maps = texthash:{dir}/t\nsmtp_tls_policy_maps = texthash:{dir}/p\n-- t --\n* smtp:\n.a.test smtp:\n-- p --\n[mx.a.test]:25 may\n", nil},
		{"ALL of PostfixAdmin", "-- main.cf --\nvirtual_mailbox_base = /var/vmail\nvirtual_mailbox_domains = sqlite:{dir}/d.cf\n-- d.cf --\ndbpath = {dir}/mail.db\nquery = SELECT domain FROM domain WHERE domain='%s' AND active='1'\n" +
			"-- mail.sql --\nCREATE TABLE domain (domain TEXT, active TEXT);\nINSERT INTO domain VALUES ('ALL', '1'), ('a.test', '1');\n", nil},
		{"twin rows of two forms", "-- main.cf --\nvirtual_alias_domains = müller.test, xn--mller-kva.test\nvirtual_alias_maps = texthash:{dir}/v\n-- v --\na@müller.test b@müller.test, c@d.test\na@xn--mller-kva.test c@d.test, b@xn--mller-kva.test\n", nil},
		{"twin rows that differ", "-- main.cf --\nvirtual_alias_domains = müller.test, xn--mller-kva.test\nvirtual_alias_maps = texthash:{dir}/v\n-- v --\na@müller.test b@müller.test\na@xn--mller-kva.test c@d.test\n",
			[]string{"VD309 error v:1 a@xn--mller-kva.test a@müller.test"}},
		{"rules that are left out", "-- main.cf --\nvirtual_alias_maps = pcre:{dir}/p\nheader_checks = regexp:{dir}/h\n-- p --\n/^(a@b/ c@d.test\n/^b@b/ $1@d.test\n/^c@b/ c@d.test\n-- h --\n/(/ REJECT\n",
			[]string{"VD309 error p:1", "VD309 error p:2", "VD309 warning h:1"}},
		{"blank value", "-- main.cf --\nvirtual_alias_maps = sqlite:{dir}/v.cf\n-- v.cf --\ndbpath = {dir}/mail.db\nquery = SELECT a FROM t WHERE k='%s'\n" +
			"-- mail.sql --\nCREATE TABLE t (k TEXT, a TEXT);\nINSERT INTO t VALUES ('a@example.test', ' ');\n", []string{`VD308 error sqlite:v.cf "a@example.test"`}},
		{"no database", "-- main.cf --\nvirtual_alias_maps = sqlite:{dir}/v.cf\n-- v.cf --\nquery = SELECT a FROM t WHERE k='%s'\ndbpath = {dir}/v.cf\n", []string{"VD307 error v.cf:2"}},
		{"member of a unionmap", "-- main.cf --\nvirtual_alias_maps = unionmap:{pcree:/x, static:a}\n", []string{"VD304 error " + at(1) + " pcre"}},
		{"row of a unionmap", "-- main.cf --\nvirtual_alias_maps = unionmap:{texthash:{dir}/v, texthash:{dir}/w}\n-- v --\na@example.test. c@d.test\n-- w --\nb@example.test c@d.test\n",
			[]string{"VD309 error v:1 a@example.test."}},
		{"quotes", "-- main.cf --\nvirtual_alias_maps = \"texthash:{dir}/v\"\n", []string{"VD304 error " + at(1) + " texthash:v"}},
		{"setting in a list of tables", "-- main.cf --\nvirtual_alias_maps =\n mynetworks_style = host\n", []string{"VD304 error " + at(1)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.want == nil {
				tt.want = []string{}
			}
			if diff := cmp.Diff(tt.want, build(t, tt.archive).examine()); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// TestWords holds what findings say where that depends on the kind of table.
func TestWords(t *testing.T) {
	const alias = "-- main.cf --\nvirtual_alias_domains = example.test\nvirtual_alias_maps = "
	tests := []struct{ name, archive, message, fix string }{
		{"memcache", alias + "memcache:{dir}/v.cf\n-- v.cf --\nmemcache = inet:127.0.0.1:1\n", "connection refused", "start the server, or correct memcache in {dir}/v.cf"},
		{"ldap", alias + "ldap:{dir}/v.cf\n-- v.cf --\nserver_host = ldap://127.0.0.1:1\nsearch_base = dc=x\n", "connection refused", "start the server, or correct server_host, bind, bind_dn and bind_pw in {dir}/v.cf"},
		{"socketmap", alias + "socketmap:unix:{dir}/gone:x\n", "", "start the server of socketmap:unix:{dir}/gone:x, or take it out of virtual_alias_maps"},
		{"no database file", alias + "sqlite:{dir}/v.cf\n-- v.cf --\ndbpath = {dir}/gone.db\nquery = SELECT 1\n", "gone.db", "create the file, or correct dbpath in {dir}/v.cf"},
		{"no database", alias + "sqlite:{dir}/v.cf\n-- v.cf --\ndbpath = {dir}/v.cf\nquery = SELECT 1 FROM x\n", "file is not a database", "correct dbpath in {dir}/v.cf"},
		{"no text", alias + "texthash:{dir}/gone\n", "gone", "create the file, or correct its name in virtual_alias_maps"},
		{"quotes", alias + "\"texthash:{dir}/v\"\n", "there is no table type", "write texthash:{dir}/v without quotes, which are part of the name here"},
		{"comment", alias + "static:a # x\n", "", ""},
		{"invisible blank", alias + "texthash:{dir}/v\n-- v --\na@example.test\u00a0 c@d.test\n", "as it has an invisible blank", "write the key as a@example.test"},
		{"wildcard", "-- main.cf --\nvirtual_alias_domains = texthash:{dir}/v\n-- v --\n*.example.test x\n", "no wildcard here", "write example.test, and each of its subdomains as a row of its own"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := build(t, tt.archive)
			var found []finding.Finding
			Examine(t.Context(), inventory.New(h.open()), func(f finding.Finding) { found = append(found, f) })
			if tt.fix == "" && len(found) == 0 {
				return
			}
			if len(found) != 1 || !strings.Contains(found[0].Message, tt.message) || found[0].Fix != strings.ReplaceAll(tt.fix, "{dir}", h.dir) {
				t.Errorf("findings %+v, want one of %q with the cure %q", found, tt.message, tt.fix)
			}
		})
	}
}

// TestIndexes looks at indexes beside their text.
func TestIndexes(t *testing.T) {
	const archive = "-- main.cf --\nvirtual_alias_maps = lmdb:{dir}/v\n-- v --\na@b.test c@d.test\nb@b.test c@d.test\n"
	old, late := time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	age := func(h *house, name string, when time.Time) {
		if err := os.Chtimes(filepath.Join(h.dir, name), when, when); err != nil {
			h.t.Fatal(err)
		}
	}
	write := func(h *house, text string) {
		if err := os.WriteFile(filepath.Join(h.dir, "v"), []byte(text), 0o640); err != nil {
			h.t.Fatal(err)
		}
	}
	tests := []struct {
		name   string
		change func(h *house)
		want   []string
	}{
		{"as it should be", func(h *house) { age(h, "v", old) }, []string{}},
		{"no index", func(h *house) { os.Remove(filepath.Join(h.dir, "v.lmdb")) }, []string{"VD301 warning v.lmdb"}},
		{"another index", func(h *house) {
			os.Remove(filepath.Join(h.dir, "v.lmdb"))
			h.postmap("cdb", "v")
		}, []string{"VD301 warning v.lmdb"}},
		{"no text", func(h *house) { os.Remove(filepath.Join(h.dir, "v")) }, []string{}},
		{"touched", func(h *house) { age(h, "v.lmdb", old) }, []string{"VD302 info v.lmdb"}},
		{"added", func(h *house) {
			write(h, "a@b.test c@d.test\nb@b.test c@d.test\nc@b.test c@d.test\n")
			age(h, "v.lmdb", old)
		}, []string{"VD302 warning v:3"}},
		{"changed", func(h *house) { write(h, "a@b.test c@d.test\nb@b.test x@d.test\n"); age(h, "v.lmdb", old) }, []string{"VD302 warning v:2"}},
		{"removed", func(h *house) { write(h, "a@b.test c@d.test\n"); age(h, "v.lmdb", old) }, []string{"VD302 warning v.lmdb"}},
		{"open to all", func(h *house) {
			age(h, "v", late)
			os.Chmod(filepath.Join(h.dir, "v.lmdb"), 0o666)
		}, []string{"VD515 warning v.lmdb"}},
		{"as Postfix", func(h *house) {
			age(h, "v.lmdb", old)
			write(h, "a@b.test c@d.test\n")
			main, _ := os.ReadFile(filepath.Join(h.dir, "main.cf"))
			os.WriteFile(filepath.Join(h.dir, "main.cf"), append(main, "table_autocompile = no\n"...), 0o640)
		}, []string{"VD302 error v.lmdb"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := build(t, archive)
			h.postmap("lmdb", "v")
			tt.change(h)
			if diff := cmp.Diff(tt.want, h.examine()); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// TestBerkeley names the tables of the old types once.
func TestBerkeley(t *testing.T) {
	h := build(t, "-- main.cf --\nvirtual_alias_maps = hash:{dir}/v, btree:{dir}/w\n-- v --\na@b.test c@d.test\n-- w --\nb@b.test c@d.test\n")
	h.postmap("hash", "v")
	h.postmap("btree", "w")
	if diff := cmp.Diff([]string{"VD303 info " + at(1)}, h.examine()); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

// TestUnfolded finds rows of an index that was built without folding.
func TestUnfolded(t *testing.T) {
	h := build(t, "-- main.cf --\nvirtual_alias_maps = lmdb:{dir}/v\n-- v --\nA@b.test c@d.test\n")
	b := &index.Builder{Format: builtin.Formats()["lmdb"], Path: filepath.Join(h.dir, "v")}
	if err := b.Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := h.examine()
	if len(got) != 1 || !strings.HasPrefix(got[0], "VD309 error ") || !strings.HasSuffix(got[0], " A@b.test") {
		t.Errorf("findings %q", got)
	}
}

// TestReadablePassword wants .cf files closed that have a password.
func TestReadablePassword(t *testing.T) {
	h := build(t, "-- main.cf --\nvirtual_alias_maps = pgsql:{dir}/v.cf\n-- v.cf --\nhosts = 127.0.0.1:1\nuser = u\npassword = s3cret\ndbname = mail\nquery = SELECT a FROM t WHERE k='%s'\n")
	if err := os.Chmod(filepath.Join(h.dir, "v.cf"), 0o644); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"VD306 error v.cf:1", "VD515 warning v.cf:3"}, h.examine()); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

// TestReadableURI is the same for a password in the URI of a server.
func TestReadableURI(t *testing.T) {
	h := build(t, "-- main.cf --\nvirtual_alias_maps = pgsql:{dir}/v.cf\n-- v.cf --\nhosts = postgresql://u:s3cret@127.0.0.1:1/mail\nquery = SELECT a FROM t WHERE k='%s'\n")
	if err := os.Chmod(filepath.Join(h.dir, "v.cf"), 0o644); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"VD306 error v.cf:1", "VD515 warning v.cf:1"}, h.examine()); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

// TestUnusableItems has words of lists that fail.
func TestUnusableItems(t *testing.T) {
	for _, c := range []struct{ list, want, fix string }{
		{"mynetworks = 127.0.0.0/8 ::1/128", "VD307 error " + at(1) + " [::1]/128", "write [::1]/128 in mynetworks"},
		{"mynetworks = ::1", "VD307 error " + at(1) + " [::1]", "write [::1] in mynetworks"},
		{"mynetworks = fd00::1/8", "VD307 error " + at(1) + " [fd00::]/8", "write [fd00::]/8 in mynetworks"},
		{"mynetworks = ::/0", "VD307 error " + at(1) + " [::1]/128", "which is this host"},
		{"mynetworks = 2001:db8::/200", "VD307 error " + at(1) + " [2001:db8::]", "write [2001:db8::] in mynetworks"},
		{"mynetworks = 10.0.0.1/8", "VD307 error " + at(1) + " 10.0.0.0/8 10.0.0.1", "write 10.0.0.1 in mynetworks for the one host, or 10.0.0.0/8"},
		{"mynetworks = [fd00::1]/8", "VD307 error " + at(1) + " [fd00::]/8 [fd00::1]", "write [fd00::1] in mynetworks for the one host, or [fd00::]/8"},
		{"mynetworks = 10.0.0.0/40", "VD307 error " + at(1), "write an address or a network in the place of 10.0.0.0/40"},
		{"virtual_alias_domains = :x", "VD307 error " + at(1), "write type:name in virtual_alias_domains"},
		{"virtual_alias_domains = a.test !", "VD307 error " + at(1), "in virtual_alias_domains, or take it out"},
		{"mynetworks = [::1]/128 127.0.0.0/8", "", ""},
	} {
		h := build(t, "-- main.cf --\n"+c.list+"\n")
		var fixes []string
		got := h.lines(func(report finding.Report) {
			Examine(t.Context(), inventory.New(h.open()), func(f finding.Finding) { fixes = append(fixes, f.Fix); report(f) })
		})
		if strings.Join(got, ", ") != c.want || !strings.Contains(strings.Join(fixes, ", "), c.fix) {
			t.Errorf("%s: got %q, fix %q, want %q, %q", c.list, got, fixes, c.want, c.fix)
		}
	}
}

// TestOneCauseOfNoIndex holds that a missing index is not a failing lookup as well.
func TestOneCauseOfNoIndex(t *testing.T) {
	h := build(t, "-- main.cf --\ncompatibility = postfix\nvirtual_alias_domains = hash:{dir}/v\nvirtual_alias_maps = proxy:hash:{dir}/v\n-- v --\na@example.test c@d.test\nexample.test x\n")
	if diff := cmp.Diff([]string{"VD301 error v.db", "VD303 info " + at(2)}, h.examine()); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"VD301 error v.db"}, h.address("a@example.test")); diff != "" {
		t.Errorf("findings for an address (-want +got):\n%s", diff)
	}
}

func TestAddress(t *testing.T) {
	const base = "virtual_alias_domains = example.test\n"
	const db = "-- v.cf --\ndbpath = {dir}/mail.db\nquery = SELECT a FROM t WHERE k='%s'\n"
	tests := []struct {
		name, archive, to string
		want              []string
	}{
		{"twice", "-- main.cf --\n" + base + "virtual_alias_maps = texthash:{dir}/v\n-- v --\na@example.test c@d.test\na@example.test e@d.test\n",
			"a@example.test", []string{"VD308 error v:2"}},
		{"twice but not this one", "-- main.cf --\n" + base + "virtual_alias_maps = texthash:{dir}/v\n-- v --\na@example.test c@d.test\na@example.test e@d.test\nb@example.test e@d.test\n",
			"b@example.test", []string{}},
		{"capitals", "-- main.cf --\n" + base + "virtual_alias_maps = sqlite:{dir}/v.cf\n" + db +
			"-- mail.sql --\nCREATE TABLE t (k TEXT, a TEXT);\nINSERT INTO t VALUES ('Joe@example.test', 'a@b.test'), ('Jim@example.test', 'a@b.test');\n",
			"joe@example.test", []string{`VD309 error sqlite:v.cf "Joe@example.test" Joe@example.test`}},
		{"failing", "-- main.cf --\n" + base + "virtual_alias_maps = sqlite:{dir}/v.cf\n" + db + "-- mail.sql --\nCREATE TABLE other (k TEXT);\n",
			"a@example.test", []string{"VD307 error v.cf:2"}},
		{"unknown type", "-- main.cf --\n" + base + "virtual_alias_maps = hahs:{dir}/v\n", "a@example.test", []string{"VD304 error " + at(2) + " hash"}},
		{"no file of a list", "-- main.cf --\nvirtual_alias_domains = {dir}/domains\n", "a@example.test", []string{"VD307 error " + at(1)}},
		{"no type", "-- main.cf --\n" + base + "virtual_alias_maps = {dir}/v\n", "a@example.test", []string{"VD304 error " + at(2) + " hash:v texthash:v"}},
		{"no value", "-- main.cf --\n" + base + "virtual_alias_maps = texthash:{dir}/v\n-- v --\nb@example.test a@b.test\na@example.test\n",
			"a@example.test", []string{"VD308 error v:2"}},
		{"member of a unionmap", "-- main.cf --\n" + base + "virtual_alias_maps = unionmap:{texthash:{dir}/v, pcree:/x}\n-- v --\na@example.test c@d.test\n",
			"a@example.test", []string{"VD304 error " + at(2) + " pcre"}},
		{"a unionmap that is written wrong", "-- main.cf --\n" + base + "virtual_alias_maps = unionmap:{static:a, b}\n", "a@example.test", []string{"VD307 error " + at(2)}},
		{"pipemap with a member that is gone", "-- main.cf --\n" + base + "virtual_alias_maps = pipemap:{static:a@example.test, texthash:{dir}/gone}\n", "a@example.test", []string{"VD307 error " + at(2)}},
		{"table of a restriction", "-- main.cf --\n" + base + "virtual_alias_maps = static:c@d.test\nsmtpd_recipient_restrictions = check_client_access texthash:{dir}/gone\n",
			"a@example.test", []string{"VD307 error " + at(3)}},
		{"table of mynetworks", "-- main.cf --\n" + base + "virtual_alias_maps = static:c@d.test\nmynetworks = cidrr:/n\n", "a@example.test", []string{"VD304 error " + at(3) + " cidr"}},
		{"file of mynetworks", "-- main.cf --\n" + base + "virtual_alias_maps = static:c@d.test\nmynetworks = {dir}/nets\n-- net --\n10.0.0.1\n", "a@example.test", []string{"VD307 error " + at(3) + " net"}},
		{"a failing table that is not asked", "-- main.cf --\n" + base + "virtual_alias_maps = static:c@d.test\nsmtpd_end_of_data_restrictions = check_client_access texthash:{dir}/gone\n", "a@example.test", []string{}},
		{"word of a list", "-- main.cf --\nvirtual_alias_domains = müller.test, other.test.\n", "a@xn--mller-kva.test", []string{"VD309 error " + at(1) + " xn--mller-kva.test"}},
		{"word of a list for another", "-- main.cf --\nvirtual_alias_domains = müller.test, other.test.\n", "a@example.test", []string{}},
		{"word of a list beside one that matches", "-- main.cf --\nvirtual_alias_domains = example.test, example.test.\nvirtual_alias_maps = static:c@d.test\n", "a@example.test", []string{}},
		{"form of a key", "-- main.cf --\n" + base + "virtual_alias_maps = texthash:{dir}/v\n-- v --\n<a@example.test> c@d.test\nb@example.test. c@d.test\n",
			"a@example.test", []string{"VD309 error v:1 <a@example.test>"}},
		{"empty value", "-- main.cf --\n" + base + "virtual_alias_maps = inline:{ a@example.test= }\n", "a@example.test", []string{"VD308 error " + at(2)}},
		{"empty value of another", "-- main.cf --\n" + base + "virtual_alias_maps = inline:{ a@example.test= }\n", "b@example.test", []string{}},
		{"empty rule", "-- main.cf --\n" + base + "virtual_alias_maps = pcre:{dir}/p\n-- p --\n/^b@example/ c@d.test\n/^a@example/\n", "a@example.test", []string{"VD308 error p:2"}},
		{"empty rule for another", "-- main.cf --\n" + base + "virtual_alias_maps = pcre:{dir}/p\n-- p --\n/^b@example/ c@d.test\n/^a@example/\n", "b@example.test", []string{}},
		{"rule that is left out", "-- main.cf --\n" + base + "virtual_alias_maps = pcre:{dir}/p\n-- p --\n/^(a@example\\.test$/ c@d.test\n/^(b@example\\.test$/ c@d.test\n", "a@example.test", []string{"VD309 error p:1"}},
		{"empty row that is skipped", "-- main.cf --\n" + base + "virtual_alias_maps = sqlite:{dir}/v.cf\n" + db + "-- mail.sql --\nCREATE TABLE t (k TEXT, a TEXT);\nINSERT INTO t VALUES ('a@example.test', ''), ('b@example.test', '');\n",
			"a@example.test", []string{`VD308 warning sqlite:v.cf "a@example.test"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, build(t, tt.archive).address(tt.to)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOddity(t *testing.T) {
	tests := []struct {
		kind             kind
		key, why, wanted string
	}{
		{ofAddresses, "john@example.test", "", "john@example.test"},
		{ofAddresses, `"two words"@example.test`, "", `"two words"@example.test`},
		{ofAddresses, "two words@example.test", "", "two words@example.test"},
		{ofAddresses, "jürgen@example.test", "", "jürgen@example.test"},
		{ofAddresses, "John@Example.test", capitals, "john@example.test"},
		{ofAddresses, " john@example.test", blanks, "john@example.test"},
		{ofAddresses, "john @example.test", blanks, "john@example.test"},
		{ofAddresses, "john@ example.test", blanks, "john@example.test"},
		{ofAddresses, "john@example.test\r", broken, "john@example.test"},
		{ofAddresses, "john\u200b@example.test", nbsp, "john@example.test"},
		{ofAddresses, "\ufeffjohn@example.test", nbsp, "john@example.test"},
		{ofAddresses, "john@müller.test", unicodes, "john@xn--mller-kva.test"},
		{ofAddresses, "@MÜLLER.test", unicodes, "@xn--mller-kva.test"},
		{ofAddresses, "", "", ""},
		{ofAddresses, "john@example.test.", dot, "john@example.test"},
		{ofAddresses, "<john@example.test>", brackets, "john@example.test"},
		{ofAddresses, "<John@example.test>", capitals, "john@example.test"},
		{ofAddresses, "john@example.test,", separator, "john@example.test"},
		{ofAddresses, "john@example,test", separator, "john@example.test"},
		{ofAddresses, "john@example.test;", separator, "john@example.test"},
		{ofAddresses, `"john@example.test"`, quotes, "john@example.test"},
		{ofAddresses, `"a@b"@example.test`, "", `"a@b"@example.test`},
		{ofAddresses, "john@@example.test", twoAts, "john@example.test"},
		{ofAddresses, "mailto:john@example.test", mailto, "john@example.test"},
		{ofAddresses, "john.", "", "john."},
		{ofAddresses, "*@example.test", "", "*@example.test"},
		{ofAddresses, "john@[192.0.2.1]", "", "john@[192.0.2.1]"},
		{ofDomains, "example.test", "", "example.test"},
		{ofDomains, ".example.test", "", ".example.test"},
		{ofDomains, "Example.test", capitals, "example.test"},
		{ofDomains, "ALL", "", "all"},
		{ofDomains, "localhost", "", "localhost"},
		{ofDomains, "example.test.", dot, "example.test"},
		{ofDomains, "*.example.test", wildcard, "example.test"},
		{ofDomains, "@example.test", atSign, "example.test"},
		{ofDomains, "https://example.test/", scheme, "example.test"},
		{ofDomains, "example.test;", separator, "example.test"},
		{ofDomains, "", "", ""},
		{others, "[mail.example.test]:587", "", "[mail.example.test]:587"},
		{others, "John@example.test", capitals, "john@example.test"},
		{others, "192.0.2.", "", "192.0.2."},
		{others, "*", "", "*"},
	}
	for _, tt := range tests {
		if why, wanted := oddity(tt.key, tt.kind), intended(tt.key, tt.kind); why != tt.why || wanted != tt.wanted {
			t.Errorf("%q: %q, intended %q; want %q, %q", tt.key, why, wanted, tt.why, tt.wanted)
		}
	}
}

// TestMeantTwice holds that meant changes nothing twice, and intended nothing in a
// key of which nothing is to be said.
func TestMeantTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.StringOf(rapid.RuneFrom([]rune("aBz09.-_@@,;<>*:/\" \t\r\x00\u00a0\u00fc\u00dc\u200b\ufeff\ufffd"))).Draw(t, "key")
		once := meant(key)
		if again := meant(once); again != once {
			t.Errorf("%q was meant as %q, and that as %q", key, once, again)
		}
		for _, k := range []kind{others, ofAddresses, ofDomains} {
			if isPlain(key) && oddity(key, k) == "" && misshapen(key, k) == "" && intended(key, k) != key {
				t.Errorf("%q is plain, and was intended as %q", key, intended(key, k))
			}
		}
	})
}

// TestTime holds that an examination ends with its context.
func TestTime(t *testing.T) {
	h := build(t, "-- main.cf --\nvirtual_alias_maps = texthash:{dir}/v\n-- v --\na@b.test c@d.test\n")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	Examine(ctx, inventory.New(h.open()), func(f finding.Finding) { t.Errorf("finding %+v of an examination that has ended", f) })
}
