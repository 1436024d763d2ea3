package inventory_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"postern/internal/check/inventory"
	"postern/internal/setup"
	"postern/internal/table"
)

// open opens a configuration that is written as a txtar archive; {dir} is its
// directory. mail.sql makes the database mail.db.
func open(t testing.TB, archive string) *inventory.Inventory {
	t.Helper()
	dir := t.TempDir()
	for _, f := range txtar.Parse([]byte(strings.ReplaceAll(archive, "{dir}", dir))).Files {
		if f.Name == "mail.sql" {
			database(t, dir+"/mail.db", string(f.Data))
			continue
		}
		put(t, dir, f.Name, string(f.Data))
	}
	s, err := setup.Open(t.Context(), dir, setup.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return inventory.New(s)
}

// place is where something is written, without the directory.
func place(i *inventory.Inventory, text string) string {
	return strings.ReplaceAll(text, i.Setup.Dir+"/", "")
}

func TestTables(t *testing.T) {
	i := open(t, `
-- main.cf --
mydestination = localhost, !hash:{dir}/not
alias_maps =
virtual_mailbox_domains = example.org /etc/none proxy:sqlite:{dir}/domains.cf
virtual_alias_maps = unionmap:{texthash:{dir}/one, debug:texthash:{dir}/two}
  texthash:{dir}/one
mynetworks = 127.0.0.0/8 [::1]/128 cidr:{{192.0.2.0/24 x}}
smtpd_recipient_restrictions = check_policy_service inet:127.0.0.1:10031, check_recipient_access hsh:{dir}/access, mine
smtpd_restriction_classes = mine
mine = check_sender_access pcre:{dir}/senders
smtpd_milters = unix:/run/milter inet:localhost:8891
virtual_transport = lmtp:unix:private/x
virtual_uid_maps = static:5000
smtp_tls_policy_maps = texthash:{dir}/one # not texthash:{dir}/gone
header_checks = pcre:{dir}/senders
-- master.cf --
submission inet n - n - - smtpd
  -o smtpd_sender_login_maps=texthash:{dir}/two
  -o smtpd_client_restrictions=mine
-- one --
a@example.org b@example.org
-- two --
# nothing
-- senders --
/^a@/ OK
-- not --
-- domains.cf --
dbpath = {dir}/mail.db
query = SELECT 1 FROM domains WHERE name='%s'
-- mail.sql --
CREATE TABLE domains (name TEXT); INSERT INTO domains VALUES ('example.test')
`)
	var got []string
	for _, tab := range i.Tables(t.Context()) {
		var uses []string
		for _, u := range tab.Uses {
			if u.Written() {
				uses = append(uses, fmt.Sprint(u.Parameter, " ", u.Service, u.At.Line, map[bool]string{true: " proxied"}[u.Proxied]))
			}
		}
		state := fmt.Sprint(len(tab.Entries))
		if !tab.Complete {
			state = "unlisted"
		}
		if tab.Err != nil {
			state = "fails"
		}
		got = append(got, place(i, tab.Spec)+" "+state+": "+strings.Join(uses, ", "))
	}
	want := []string{
		"hash:not 0: mydestination 1",
		"sqlite:domains.cf 1: virtual_mailbox_domains 3 proxied",
		"unionmap:{texthash:one, debug:texthash:two} 1: virtual_alias_maps 4",
		"texthash:one 1: virtual_alias_maps 4, smtp_tls_policy_maps 13",
		"debug:texthash:two 0: virtual_alias_maps 4",
		"texthash:two 0: virtual_alias_maps 4, smtpd_sender_login_maps submission1",
		"cidr:{{192.0.2.0/24 x}} unlisted: mynetworks 6",
		"hsh:access fails: smtpd_recipient_restrictions 7",
		"pcre:senders unlisted: mine 9, header_checks 14",
		"static:5000 unlisted: virtual_uid_maps 12",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestTableDetails(t *testing.T) {
	i := open(t, `
-- main.cf --
virtual_alias_maps = texthash:{dir}/virtual regexp:{dir}/patterns sqlite:{dir}/a.cf static:x@example.org
-- virtual --
a@example.org b
A@example.org c
lonely@example.org
-- patterns --
if /x/
/^\/.*@(.*)$/!/y/  x@$1
endif
/a b/i   two words
-- a.cf --
dbpath = {dir}/mail.db
query = SELECT b FROM t WHERE a="%s"
-- mail.sql --
CREATE TABLE t (a TEXT, b TEXT)
`)
	list := i.Of(t.Context(), "virtual_alias_maps")
	var problems []string
	for _, p := range list[0].Problems {
		problems = append(problems, place(i, p.Error()))
	}
	if diff := cmp.Diff([]string{`virtual, line 2: duplicate entry: "A@example.org"`, "virtual, line 3: expected format: key whitespace value -- ignoring this line"}, problems); diff != "" {
		t.Errorf("problems (-want +got)\n%s", diff)
	}
	if rows := list[0].Rows("A@EXAMPLE.org"); len(rows) != 1 || rows[0].Value != "b" || rows[0].At().Line != 1 || list[0].Has("nobody") {
		t.Errorf("rows: %v", rows)
	}
	if !list[0].First(0) || len(list[0].Rows("nobody")) > 0 {
		t.Error("the only row is the first, and nobody has one")
	}
	var rules []string
	for _, tab := range list {
		for _, r := range tab.Rules {
			rules = append(rules, fmt.Sprintf("%s -> %s at %d", r.Pattern, r.Result, r.At.Line))
		}
	}
	if diff := cmp.Diff([]string{`/^\/.*@(.*)$/!/y/ -> x@$1 at 2`, "/a b/i -> two words at 4", " -> x@example.org at 1"}, rules); diff != "" {
		t.Errorf("rules (-want +got)\n%s", diff)
	}
	if q := list[2].Query; q == nil || !slices.Equal(q.Unquoted, []string{`"%s"`}) || q.At.Line != 2 || list[2].Settings.Get("dbpath") == "" {
		t.Errorf("query: %+v", q)
	}
}

func TestDomains(t *testing.T) {
	i := open(t, `
-- main.cf --
myhostname = mail.example.test
mydestination = $myhostname, localhost, Both.example, {dir}/more
virtual_alias_maps = inline:{alias.example=x, info=y, john@alias.example=z}
virtual_mailbox_domains = texthash:{dir}/domains, regexp:{{/^found\.example$$/ 1}} !not.example
virtual_mailbox_maps = texthash:{dir}/boxes
relay_domains = relay.example, .dot.example
-- more --
more.example # not this
-- domains --
both.example 1
Box.example 1
alias.example 1
-- boxes --
a@found.example a/
a@lost.example a/
`)
	var got []string
	for _, d := range i.Domains(t.Context()) {
		text := fmt.Sprintf("%s %v %s %s:%d", d.Name, d.Class, d.Parameter, filepath.Base(d.At.File), d.At.Line)
		for _, l := range d.Losers {
			text += fmt.Sprintf(", not %v %s:%d", l.Class, filepath.Base(l.At.File), l.At.Line)
		}
		if d.Default {
			text += " by default"
		}
		got = append(got, text)
	}
	want := []string{
		"mail.example.test local mydestination main.cf:2",
		"localhost local mydestination main.cf:2",
		"both.example local mydestination main.cf:2, not virtual-mailbox domains:1",
		"more.example local mydestination more:1",
		"alias.example virtual-alias virtual_alias_domains main.cf:0, not virtual-mailbox domains:3 by default",
		"box.example virtual-mailbox virtual_mailbox_domains domains:2",
		"found.example virtual-mailbox virtual_mailbox_domains main.cf:4",
		"relay.example relay relay_domains main.cf:6",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for domain, want := range map[string]string{"BOX.example": "virtual-mailbox", "sub.relay.example": "relay", "lost.example": "default"} {
		if got := i.Class(t.Context(), domain).String(); got != want || i.Hosted(t.Context(), domain) != (want != "default") {
			t.Errorf("Class(%s) = %s, want %s", domain, got, want)
		}
	}
}

// hosting is a configuration with most of what names addresses.
const hosting = `
-- main.cf --
myorigin = example.test
mydestination = localhost example.test
alias_maps = texthash:{dir}/aliases
virtual_alias_domains =
virtual_mailbox_domains = example.org example.com
virtual_mailbox_maps = sqlite:{dir}/boxes.cf
virtual_alias_maps = texthash:{dir}/virtual
smtpd_sender_login_maps = texthash:{dir}/login
-- aliases --
postmaster: root
"two words": root
-- virtual --
info@example.org john@example.org, Jane@example.com, out@example.net, local
@example.com all@example.org
joe joe@example.org
bad@example.net john@example.org
-- login --
jack@example.org john@example.org
-- boxes.cf --
dbpath = {dir}/mail.db
query = SELECT path FROM boxes WHERE email='%s' AND active=1
-- mail.sql --
CREATE TABLE boxes (email TEXT, path TEXT, active INTEGER);
INSERT INTO boxes VALUES ('john@example.org', 'john/', 1), ('Big@Example.org', 'big/', 1), ('old@example.org', 'old/', 0),
 ('jack@example.com', 'jack/', 1), ('jane@example.org', 'jane/', 1), ('all@example.org', 'all/', 1);
`

func TestAddresses(t *testing.T) {
	i := open(t, hosting)
	var got []string
	for a := range i.Addresses(t.Context()) {
		text := a.Text + ":"
		for _, s := range a.From {
			text += " " + s.Parameter + "[" + s.Entry().Key + "]"
			if s.Target {
				text += ">"
			}
		}
		got = append(got, text)
	}
	want := []string{
		"john@example.org: virtual_mailbox_maps[john@example.org] virtual_alias_maps[info@example.org]> virtual_alias_maps[bad@example.net]> smtpd_sender_login_maps[jack@example.org]>",
		"big@example.org: virtual_mailbox_maps[Big@Example.org]",
		"jack@example.com: virtual_mailbox_maps[jack@example.com]",
		"jane@example.org: virtual_mailbox_maps[jane@example.org]",
		"all@example.org: virtual_mailbox_maps[all@example.org] virtual_alias_maps[@example.com]>",
		"info@example.org: virtual_alias_maps[info@example.org]",
		"jane@example.com: virtual_alias_maps[info@example.org]>",
		"local@example.test: virtual_alias_maps[info@example.org]>",
		"joe@example.test: virtual_alias_maps[joe]",
		"joe@example.org: virtual_alias_maps[joe]>",
		"jack@example.org: smtpd_sender_login_maps[jack@example.org]",
		"postmaster@example.test: alias_maps[postmaster]",
		"two words@example.test: alias_maps[two words]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	all := i.CatchAlls(t.Context(), "virtual_alias_maps")
	if len(all) != 1 || all[0].Domain != "example.com" || all[0].Entry().Value != "all@example.org" || all[0].Entry().At().Line != 2 {
		t.Errorf("catch-alls: %+v", all)
	}
	if users := i.Users(t.Context()); !users.Complete || !users.Has("root") {
		t.Error("the system has no user root")
	}
	named := i.Naming(t.Context(), "Jack@example.org")
	if len(named) != 1 || named[0].Parameter != "smtpd_sender_login_maps" {
		t.Errorf("Naming: %+v", named)
	}
}

func TestNear(t *testing.T) {
	i := open(t, hosting)
	for addr, want := range map[string]string{
		"jonh@example.org":     "john@example.org",
		"john@exampel.org":     "john@example.org",
		"john@example.com":     "john@example.org",
		"big@example.org":      "Big@Example.org",
		"old@example.org":      "old@example.org",
		"JACK@Example.COM":     "",
		"jane@example.co":      "jane@example.org",
		"nobodyatall@x.test":   "",
		"john@www.example.org": "john@example.org",
		"exmaple.org":          "example.org",
	} {
		got := strings.Join(i.Near(t.Context(), addr), " ")
		if !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("Near(%s) = %q, want %q", addr, got, want)
		}
	}
	i = open(t, strings.Replace(hosting, "-- main.cf --\n", "-- main.cf --\nrecipient_delimiter = +\n", 1))
	if got := i.Near(t.Context(), "jonh+lists@example.org"); len(got) == 0 || got[0] != "john@example.org" {
		t.Errorf("Near of an extended address = %q", got)
	}
	for domain, want := range map[string]string{"example.or": "example.org", "mail.example.com.": "example.com", "other.test": "", "example.net": "", "lists.example.org": "", "org": ""} {
		if got := strings.Join(i.NearDomain(t.Context(), domain), " "); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("NearDomain(%s) = %q, want %q", domain, got, want)
		}
	}
}

// TestConcurrent has many rooms ask at the same time.
func TestConcurrent(t *testing.T) {
	i := open(t, hosting)
	done := make(chan int)
	for range 8 {
		go func() {
			n := len(i.Tables(t.Context())) + len(i.Domains(t.Context())) + len(i.Near(t.Context(), "jonh@example.org"))
			if _, err := i.Snapshot(t.Context()); err != nil {
				t.Error(err)
			}
			done <- n
		}()
	}
	first := <-done
	for range 7 {
		if n := <-done; n != first {
			t.Errorf("one room sees %d things, another one %d", first, n)
		}
	}
}

// TestDead holds that a dead server is an error of its table, and that nothing waits
// for it again.
func TestDead(t *testing.T) {
	i := open(t, `
-- main.cf --
virtual_mailbox_domains = example.org
virtual_mailbox_maps = pgsql:{dir}/dead.cf
-- dead.cf --
hosts = 127.0.0.1:1
user = u
password = secret
dbname = d
query = SELECT 1 FROM t WHERE k='%s'
`)
	tab := i.Of(t.Context(), "virtual_mailbox_maps")[0]
	var e *table.Error
	if !errors.As(tab.Err, &e) || tab.Complete || strings.Contains(tab.Err.Error(), "secret") || e.At.Line != 1 {
		t.Errorf("Err = %v", tab.Err)
	}
	s, err := i.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	opened, _ := s.Opener.Open(t.Context(), tab.Spec, table.Use{Fold: true})
	if _, err := opened.Lookup(context.Background(), "a@example.org"); !errors.As(err, &e) || e.Table != tab.Spec {
		t.Errorf("Lookup: %v", err)
	}
}

// TestUntouched holds that nothing is written into the directory.
func TestUntouched(t *testing.T) {
	i := open(t, hosting)
	before, err := os.ReadDir(i.Setup.Dir)
	if err != nil {
		t.Fatal(err)
	}
	i.Near(t.Context(), "x@example.org")
	after, err := os.ReadDir(i.Setup.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(before) != len(after) {
		t.Errorf("there were %d files, now there are %d", len(before), len(after))
	}
}
