package names

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/check/inventory"
	"postern/internal/dns"
	"postern/internal/dns/dnstest"
	"postern/internal/explain"
	"postern/internal/finding"
	"postern/internal/setup"
)

const head = `compatibility_level = 3.6
myhostname = mail.example.org
mydestination = localhost
alias_maps =
inet_interfaces = 127.0.0.1
virtual_alias_domains =
`

// sound are the records of a host and of the domain example.org that lack nothing.
const sound = `
mail.example.org. 300 IN A 192.0.2.10
10.2.0.192.in-addr.arpa. 300 IN PTR mail.example.org.
example.org. 300 IN MX 10 mail.example.org.
example.org. 300 IN TXT "v=spf1 mx -all"
_dmarc.example.org. 300 IN TXT "v=DMARC1; p=none"
`

func open(t *testing.T, main string) *inventory.Inventory {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.cf"), []byte(head+main), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := setup.Open(t.Context(), dir, setup.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return inventory.New(s)
}

func examine(t *testing.T, r Room, i *inventory.Inventory) []finding.Finding {
	t.Helper()
	var list finding.List
	r.Examine(t.Context(), i, func(f finding.Finding) { list.Add(f.RelativeTo(i.Setup.Dir)) })
	return list.Sorted()
}

func follow(t *testing.T, r Room, i *inventory.Inventory, addr string) []finding.Finding {
	t.Helper()
	x := explain.Explainer{Dir: i.Setup.Dir, Settings: i.Setup.Settings, Router: i.Setup.Router, Policy: i.Setup.Policy}
	e, err := x.Explain(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	var list finding.List
	r.Address(t.Context(), i, &e, func(f finding.Finding) { list.Add(f.RelativeTo(i.Setup.Dir)) })
	return list.Sorted()
}

// want compares findings with "CODE severity place", and looks at their form.
func want(t *testing.T, what string, got []finding.Finding, expected ...string) {
	t.Helper()
	brief := []string{}
	for _, f := range got {
		if f.Message == "" || f.Fix == "" || len(f.At) == 0 || strings.Contains(f.Message+f.Fix, "%!") {
			t.Errorf("%s: incomplete finding %+v", what, f)
			continue
		}
		brief = append(brief, fmt.Sprintf("%s %s %s", f.Code, f.Severity, f.At[0]))
	}
	if !slices.Equal(brief, expected) && len(brief)+len(expected) > 0 {
		t.Errorf("%s: got %q, want %q", what, brief, expected)
		for _, f := range got {
			t.Logf("  %s", f.Message)
		}
	}
}

func TestExamine(t *testing.T) {
	const mailboxes = "virtual_mailbox_domains = example.org\n"
	for _, c := range []struct {
		name, main, zone string
		want             []string
		message          string
	}{
		{name: "sound", main: mailboxes, zone: sound},
		{name: "MX elsewhere", main: mailboxes + "virtual_alias_domains = example.com\n", want: []string{"VD105 warning main.cf:8"},
			zone: sound + "example.com. 300 IN MX 10 mx.other.example.\nmx.other.example. 300 IN A 203.0.113.5\n", message: "mx.other.example (203.0.113.5)"},
		{name: "one MX of two is here", main: "virtual_mailbox_domains = example.org\n", zone: sound + "example.org. 300 IN MX 5 mx.other.example.\n"},
		{name: "MX is another name of this host", main: mailboxes,
			zone: strings.Replace(sound, "MX 10 mail.example.org.", "MX 10 mx.example.org.", 1) + "mx.example.org. 300 IN A 192.0.2.10\n"},
		{name: "MX is a name of mydestination", main: mailboxes + "mydestination = localhost, mx.example.org\n",
			zone: strings.Replace(sound, "MX 10 mail.example.org.", "MX 10 mx.example.org.", 1) + "mx.example.org. 300 IN A 203.0.113.7\n"},
		{name: "MX is behind a proxy", main: mailboxes + "proxy_interfaces = 203.0.113.9\n",
			zone: strings.Replace(sound, "MX 10 mail.example.org.", "MX 10 mx.example.org.", 1) + "mx.example.org. 300 IN A 203.0.113.9\n"},
		{name: "MX that cannot be looked up", main: mailboxes, zone: strings.Replace(sound, "MX 10 mail.example.org.", "MX 10 mx.servfail.test.", 1)},
		{name: "null MX", main: mailboxes, zone: strings.Replace(sound, "MX 10 mail.example.org.", "MX 0 .", 1), want: []string{"VD105 warning main.cf:7"}, message: "takes no mail"},
		{name: "sent on by a rule", main: mailboxes + "transport_maps = inline:{example.org=smtp:[192.0.2.9]}\n",
			zone: strings.Replace(sound, "MX 10 mail.example.org.", "MX 10 mx.other.example.", 1)},
		{name: "sent on, records of others", main: mailboxes + "virtual_transport = smtp:[192.0.2.9]\n",
			zone: "mail.example.org. 300 IN A 10.0.0.1\nexample.org. 300 IN MX 10 mx.other.example.\nmx.other.example. 300 IN A 203.0.113.5\n"},
		{name: "gateway in front of a server", main: mailboxes + "virtual_transport = smtp:[192.0.2.9]\n",
			zone: strings.Replace(sound, "v=spf1", "v=spf10", 1), want: []string{"VD508 warning main.cf:7"}, message: "example.org has no SPF record"},
		{name: "domain unknown to the DNS", main: mailboxes + "mydestination = localhost, $myhostname, localhost.$mydomain, host.local\n",
			zone: "mail.example.org. 300 IN A 192.0.2.10\n10.2.0.192.in-addr.arpa. 300 IN PTR mail.example.org.\n",
			want: []string{"VD508 warning main.cf:7"}, message: "example.org has no MX, no SPF, no DMARC record"},
		{name: "no DMARC, other texts", main: mailboxes, zone: strings.Replace(sound, "v=DMARC1;", "v=DMARC10;", 1),
			want: []string{"VD508 warning main.cf:7"}, message: "example.org has no DMARC record"},
		{name: "domains of one line", main: "virtual_mailbox_domains = example.org a.example b.example\n", zone: sound,
			want: []string{"VD508 warning main.cf:7"}, message: "a.example has no MX, no SPF, no DMARC record, b.example has"},
		{name: "DMARC of the organisation", main: "virtual_mailbox_domains = sub.example.org\n",
			zone: sound + "sub.example.org. 300 IN MX 10 mail.example.org.\nsub.example.org. 300 IN TXT \"v=spf1 -all\"\n"},
		{name: "a server that fails", main: "virtual_mailbox_domains = a.servfail.test\n", zone: sound},
		{name: "no address of this host", main: "", zone: "other.example. 300 IN A 192.0.2.1\n", want: []string{"VD507 warning main.cf:2"}, message: "that name has no address"},
		{name: "no reverse name", main: "", zone: "mail.example.org. 300 IN A 192.0.2.10\n", want: []string{"VD507 warning main.cf:2"}, message: "192.0.2.10 has no reverse name"},
		{name: "another reverse name", main: "", zone: strings.Replace(sound, "PTR mail.", "PTR www.", 1), want: []string{"VD507 warning main.cf:2"}, message: "is www.example.org"},
		{name: "private address", main: "", zone: "mail.example.org. 300 IN A 10.0.0.1\n"},
		{name: "name for EHLO", main: "smtp_helo_name = out.example.org\n", zone: sound, want: []string{"VD507 warning main.cf:7"}, message: "out.example.org"},
		{name: "host without a domain", main: "myhostname = mail\n", zone: sound},
		{name: "relay domain, backup MX", main: "relay_domains = example.com\n", zone: sound + "example.com. 300 IN MX 10 mx.other.example.\nexample.com. 300 IN MX 20 mail.example.org.\nmx.other.example. 300 IN A 203.0.113.5\n"},
		{name: "relay domain, best MX", main: "relay_domains = example.com\n", zone: sound + "example.com. 300 IN MX 10 mail.example.org.\n", want: []string{"VD104 error main.cf:7"}, message: "loops back to myself"},
		{name: "best MX by address", main: "relay_domains = example.com\nproxy_interfaces = 203.0.113.9\n", zone: sound + "example.com. 300 IN MX 10 mx.example.com.\nmx.example.com. 300 IN A 203.0.113.9\n", want: []string{"VD104 error main.cf:7"}},
		{name: "relay domain without MX", main: "relay_domains = example.com\n", zone: sound + "example.com. 300 IN A 192.0.2.10\n", want: []string{"VD104 error main.cf:7"}},
		{name: "relay domain with a route", main: "relay_domains = example.com\ntransport_maps = inline:{example.com=smtp:[192.0.2.9]}\n", zone: sound + "example.com. 300 IN MX 10 mail.example.org.\n"},
		{name: "relayhost in brackets", main: "relay_domains = example.com\nrelayhost = [192.0.2.9]\n", zone: sound + "example.com. 300 IN MX 10 mail.example.org.\n"},
		{name: "relayhost that is this host", main: "relay_domains = example.com\nrelayhost = out.example.com\n", zone: sound + "out.example.com. 300 IN MX 10 mail.example.org.\n", want: []string{"VD104 error main.cf:7"}, message: "out.example.com"},
		{name: "best_mx_transport", main: "relay_domains = example.com\nbest_mx_transport = local\n", zone: sound + "example.com. 300 IN MX 10 mail.example.org.\n"},
		{name: "forwarded to a domain that is not listed", main: mailboxes + "virtual_alias_maps = inline:{{info@example.org = jack@example.com, jill@example.com}}\n",
			zone: sound + "example.com. 300 IN MX 10 mail.example.org.\n", want: []string{"VD104 error main.cf:8"}, message: "info@example.org is forwarded to jack@example.com"},
		{name: "forwarded outside", main: mailboxes + "virtual_alias_maps = inline:{{info@example.org = jack@example.com}}\n",
			zone: sound + "example.com. 300 IN MX 10 mx.other.example.\nmx.other.example. 300 IN A 203.0.113.5\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := dnstest.Start(t, c.zone)
			got := examine(t, Room{}, open(t, c.main+"dns_servers = "+server.Addr+"\n"))
			want(t, c.name, got, c.want...)
			if len(got) > 0 && !strings.Contains(got[0].Message, c.message) {
				t.Errorf("message %q, want %q in it", got[0].Message, c.message)
			}
		})
	}
}

func TestAddress(t *testing.T) {
	server := dnstest.Start(t, sound+`
example.com. 300 IN MX 10 mx.other.example.
mx.other.example. 300 IN A 203.0.113.5
example.net. 300 IN MX 10 mail.example.org.
`)
	i := open(t, `virtual_mailbox_domains = example.org example.com
virtual_mailbox_maps = static:x/
virtual_alias_maps = inline:{{info@example.org = jack@example.net}, {sales@example.org = jack@example.com}}
dns_servers = `+server.Addr+"\n")
	want(t, "sound", follow(t, Room{}, i, "john@example.org"))
	want(t, "its MX is elsewhere", follow(t, Room{}, i, "jack@example.com"), "VD105 warning main.cf:7")
	want(t, "its target's MX is elsewhere", follow(t, Room{}, i, "sales@example.org"), "VD105 warning main.cf:7")
	want(t, "asked", follow(t, Room{}, i, "jack@example.net"), "VD104 error main.cf:7")
	want(t, "forwarded", follow(t, Room{}, i, "info@example.org"), "VD104 error main.cf:9")
	want(t, "foreign", follow(t, Room{}, i, "a@elsewhere.example"))
	for _, f := range follow(t, Room{}, i, "jack@example.net") {
		if len(f.At) != 1 {
			t.Errorf("%s has the places %v", f.Code, f.At)
		}
	}
}

func TestNobodyIsAskedUnwanted(t *testing.T) {
	server := dnstest.Start(t, sound)
	i := open(t, "virtual_mailbox_domains = example.com\n")
	client, err := dns.New(dns.Options{Servers: []string{server.Addr}})
	if err != nil {
		t.Fatal(err)
	}
	want(t, "without dns_servers", examine(t, Room{Resolver: client}, i))
	want(t, "one address", follow(t, Room{Resolver: client}, i, "a@example.com"))
	if asked := server.Asked(); len(asked) > 0 {
		t.Errorf("asked %q", asked)
	}
	want(t, "with --dns", examine(t, Room{Resolver: client, Always: true}, i), "VD508 warning main.cf:7")
	want(t, "servers that are no addresses", examine(t, Room{}, open(t, "virtual_mailbox_domains = example.com\ndns_servers = no-address\n")))
}

func TestManyDomains(t *testing.T) {
	zone := &dnstest.Map{Host: map[string][]string{"mail.example.org": {"10.0.0.1"}}, TXT: map[string][]string{}}
	var main strings.Builder
	main.WriteString("virtual_mailbox_domains =")
	for n := range MaxDomains + 5 {
		name := fmt.Sprintf("d%d.example", n)
		fmt.Fprintf(&main, "\n    %s", name)
		zone.TXT[name] = []string{"v=spf1 -all"}
	}
	got := examine(t, Room{Always: true, Resolver: zone}, open(t, main.String()+"\n"))
	want(t, "many domains", got, "VD508 warning main.cf:7")
	if len(got) == 1 && !strings.Contains(got[0].Message, "first 1000 of 1005 domains") {
		t.Errorf("message %q", got[0].Message)
	}
}

func TestRowsOfWhichTheSameIsSaid(t *testing.T) {
	zone := &dnstest.Map{Host: map[string][]string{"mail.example.org": {"10.0.0.1"}}, TXT: map[string][]string{"c.example": {"v=spf1 -all"}}}
	i := open(t, "virtual_mailbox_domains = inline:{a.example=x},\n inline:{b.example=x}\n")
	want(t, "on one line", examine(t, Room{Always: true, Resolver: zone}, i), "VD508 warning main.cf:7")
	if err := os.WriteFile(filepath.Join(i.Setup.Dir, "domains"), []byte("a.example x\nb.example x\nc.example x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	rows := open(t, "virtual_mailbox_domains = texthash:"+i.Setup.Dir+"/domains\n")
	got := examine(t, Room{Always: true, Resolver: zone}, rows)
	if len(got) != 2 || len(got[0].At) != 2 || len(got[1].At) != 1 {
		t.Errorf("findings of rows: %+v", got)
	}
}

func TestServersThatDoNotAnswer(t *testing.T) {
	server := dnstest.Start(t, sound)
	client, err := dns.New(dns.Options{Servers: []string{server.Addr}, Timeout: 20 * time.Millisecond, Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	i := open(t, "myhostname = mail.silent.test\nvirtual_mailbox_domains = example.com\n")
	var told []string
	want(t, "silent", examine(t, Room{Always: true, Resolver: client, Unanswered: func(servers string) { told = append(told, servers) }}, i))
	want(t, "silent, and nobody wants to know", examine(t, Room{Always: true, Resolver: client}, i))
	if !slices.Equal(told, []string{"the servers of /etc/resolv.conf"}) {
		t.Errorf("told of %q", told)
	}
	for _, q := range server.Asked() {
		if !strings.HasPrefix(q, "mail.silent.test ") {
			t.Errorf("asked for %q", q)
		}
	}
}

func TestEndedContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	i := open(t, "virtual_mailbox_domains = example.com\n")
	Room{Always: true, Resolver: &dnstest.Map{}}.Examine(ctx, i, func(f finding.Finding) { t.Errorf("found %+v", f) })
}

func TestExchanged(t *testing.T) {
	for text, want := range map[string]string{
		"example.org": "example.org", "Example.ORG.": "example.org", "example.org:25": "example.org", "example.org:smtp": "example.org",
		"example.org, other.example": "example.org",
		"[example.org]":              "", "example.org:587": "", "192.0.2.1": "", "::1": "", "unix:private/lmtp": "", "inet:example.org": "", "": "", "localhost": "",
	} {
		if got, ok := exchanged(text); got != want && ok || ok != (want != "") {
			t.Errorf("exchanged(%q) = %q, %v, want %q", text, got, ok, want)
		}
	}
}

func TestPublic(t *testing.T) {
	for name, want := range map[string]bool{
		"example.org": true, "a.b.example": true, "localhost": false, "localhost.example.org": false, "host.local": false, "[192.0.2.1]": false,
		"mail.localdomain": false, "": false, ".]": false, "local.example": true,
	} {
		if got := public(name); got != want {
			t.Errorf("public(%q) = %v", name, got)
		}
	}
}

func FuzzExchanged(f *testing.F) {
	for _, s := range []string{"example.org", "[a]:25", "a:b:c", ",", ".]", "unix:x", "a.b:25"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if name, ok := exchanged(text); ok && (name == "" || strings.ContainsAny(name, "[]/ ,")) {
			t.Errorf("exchanged(%q) = %q", text, name)
		}
	})
}
