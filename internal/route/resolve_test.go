package route_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"postern/internal/address"
	"postern/internal/route"
	"postern/internal/route/routetest"
)

// parse reads the external form of an address.
func parse(t *testing.T, text string) address.Address {
	t.Helper()
	a, err := address.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// resolve resolves an address as smtpd does and shows the result on one line:
// "class address transport:nexthop", with "routed" at the end.
func resolve(t *testing.T, r *route.Router, text, sender string) string {
	t.Helper()
	res, err := r.Resolve(context.Background(), r.Rewrite(parse(t, text)), r.Rewrite(address.Split(sender)), nil)
	var syntax *route.SyntaxError
	var failure *route.Failure
	switch {
	case errors.As(err, &syntax):
		return "syntax error"
	case errors.As(err, &failure):
		return "failure of " + failure.Parameter
	case err != nil:
		return "unexpected error: " + err.Error()
	}
	line := res.Class.String() + " " + res.Address.Internal() + " " + res.Transport + ":" + res.NextHop
	if res.Routed {
		line += " routed"
	}
	return line
}

const classes = `
virtual_alias_domains = alias.test
virtual_mailbox_domains = mbox.test
relay_domains = relay.test
recipient_delimiter = +
`

func TestResolve(t *testing.T) {
	tests := []struct {
		name, main, in, want string
	}{
		{"local", "", "john@local.example.test", "local john@local.example.test local:mx.example.test"},
		{"domain without regard to case", "", "john@LOCAL.example.TEST", "local john@LOCAL.example.TEST local:mx.example.test"},
		{"alias", "", "x@alias.test", "virtual-alias x@alias.test error:5.1.1 User unknown in virtual alias table"},
		{"mailbox", "", "x@mbox.test", "virtual-mailbox x@mbox.test virtual:mbox.test"},
		{"relay", "", "x@relay.test", "relay x@relay.test relay:relay.test"},
		{"subdomain of a relay domain", "", "x@a.b.relay.test", "relay x@a.b.relay.test relay:a.b.relay.test"},
		{"subdomain of the others", "", "x@sub.mbox.test", "default x@sub.mbox.test smtp:sub.mbox.test"},
		{"default", "", "x@other.test", "default x@other.test smtp:other.test"},
		{"parent domains switched off", "parent_domain_matches_subdomains =", "x@a.relay.test", "default x@a.relay.test smtp:a.relay.test"},

		{"no domain", "", "john", "default john@mx.example.test smtp:mx.example.test"},
		{"no domain, local myorigin", "myorigin = localhost", "john", "local john@localhost local:mx.example.test"},
		{"one dot at the end", "", "john@mbox.test.", "virtual-mailbox john@mbox.test virtual:mbox.test"},
		{"two dots at the end", "", "john@mbox.test..", "syntax error"},
		{"source route", "", "@a.test,@b.test:john@mbox.test", "virtual-mailbox john@mbox.test virtual:mbox.test"},
		{"source route ends elsewhere", "", "@mbox.test:john@other.test", "default john@other.test smtp:other.test"},

		{"local domains nest", "", "john@mbox.test@localhost", "virtual-mailbox john@mbox.test virtual:mbox.test"},
		{"and nest", "", "john@localhost@local.example.test@localhost", "local john@localhost local:mx.example.test"},
		{"other domains do not", "", "john@localhost@alias.test", "virtual-alias john@localhost@alias.test error:5.1.1 User unknown in virtual alias table routed"},
		{"percent at a local domain", "", "john%other.test@localhost", "default john@other.test smtp:other.test"},
		{"last percent counts", "", "a%b.test%other.test@localhost", "default a%b.test@other.test smtp:other.test routed"},
		{"percent at another domain", "", "john%other.test@mbox.test", "virtual-mailbox john%other.test@mbox.test virtual:mbox.test routed"},
		{"percent without a domain", "", "john%other.test", "default john@other.test smtp:other.test"},
		{"percent hack off", "allow_percent_hack = no", "john%other.test@localhost", "local john%other.test@localhost local:mx.example.test routed"},
		{"bang at a local domain", "", "other.test!john@localhost", "default john@other.test smtp:other.test"},
		{"first bang counts", "", "a.test!b.test!john@localhost", "default b.test!john@a.test smtp:a.test routed"},
		{"bang at another domain", "", "other.test!john@mbox.test", "virtual-mailbox other.test!john@mbox.test virtual:mbox.test routed"},
		{"bang off", "swap_bangpath = no", "other.test!john@localhost", "local other.test!john@localhost local:mx.example.test routed"},
		{"at in quotes", "", `"john@other.test"@localhost`, "default john@other.test smtp:other.test"},
		{"percent in quotes", "", `"a b%other.test"@localhost`, "default a b@other.test smtp:other.test"},
		{"bang in quotes", "", `"other.test!a b"@localhost`, "default a b@other.test smtp:other.test"},
		{"quotes are not looked into", "resolve_dequoted_address = no", `"a b%other.test"@localhost`, "local a b%other.test@localhost local:mx.example.test routed"},
		{"blank in quotes", "", `"a b"@mbox.test`, "virtual-mailbox a b@mbox.test virtual:mbox.test"},

		{"null", "", "", "default MAILER-DAEMON@mx.example.test smtp:mx.example.test"},
		{"null, other recipient", "empty_address_recipient = who@mbox.test", "", "virtual-mailbox who@mbox.test virtual:mbox.test"},
		{"lone at", "", "@", "default MAILER-DAEMON@mx.example.test smtp:mx.example.test"},
		{"empty local part at a local domain", "", "@localhost", "local MAILER-DAEMON@localhost local:mx.example.test"},
		{"empty domain", "", "john@", "syntax error"},
		{"empty domain allowed", "resolve_null_domain = yes", "john@", "default john@mx.example.test smtp:mx.example.test"},
		{"empty domain behind an address", "", "john@mbox.test@", "virtual-mailbox john@mbox.test virtual:mbox.test"},

		{"literal of ours", "", "john@[192.0.2.10]", "local john@[192.0.2.10] local:mx.example.test"},
		{"IPv6 literal of ours", "", "john@[IPv6:2001:db8:0::10]", "local john@[IPv6:2001:db8:0::10] local:mx.example.test"},
		{"literal of a proxy", "proxy_interfaces = 198.51.100.7", "john@[198.51.100.7]", "local john@[198.51.100.7] local:mx.example.test"},
		{"all interfaces", "inet_interfaces = all", "john@[192.0.2.10]", "local john@[192.0.2.10] local:mx.example.test"},
		{"loopback only", "inet_interfaces = loopback-only", "john@[192.0.2.10]", "default john@[192.0.2.10] smtp:[192.0.2.10]"},
		{"loopback only, loopback", "inet_interfaces = loopback-only", "john@[127.0.0.1]", "local john@[127.0.0.1] local:mx.example.test"},
		{"literal of others", "", "john@[198.51.100.7]", "default john@[198.51.100.7] smtp:[198.51.100.7]"},
		{"bad literal", "", "john@[1.2.3]", "syntax error"},
		{"literal with a name", "", "john@[mbox.test]", "syntax error"},
		{"IPv6 literal without its tag", "", "john@[2001:db8::10]", "syntax error"},
		{"IPv4 with the tag of IPv6", "", "john@[IPv6:192.0.2.10]", "syntax error"},
		{"bare address", "", "john@127.0.0.1", "syntax error"},
		{"bare address allowed", "resolve_numeric_domain = yes", "john@127.0.0.1", "local john@[127.0.0.1] local:mx.example.test"},
		{"digits and dots", "resolve_numeric_domain = yes", "john@1.2.3", "syntax error"},

		{"minus in front", "", "-x@mbox.test", "syntax error"},
		{"minus in front, nested", "", "-x%mbox.test@localhost", "syntax error"},
		{"minus allowed", "allow_min_user = yes", "-x@mbox.test", "virtual-mailbox -x@mbox.test virtual:mbox.test"},
		{"label of 63", "", "x@" + strings.Repeat("a", 63) + ".test", "default x@" + strings.Repeat("a", 63) + ".test smtp:" + strings.Repeat("a", 63) + ".test"},
		{"label of 64", "", "x@" + strings.Repeat("a", 64) + ".test", "syntax error"},
		{"empty label", "", "x@a..test", "syntax error"},
		{"leading dot", "", "x@.test", "syntax error"},
		{"hyphen at the end", "", "x@a-.test", "syntax error"},
		{"underscore", "", "x@a_b.test", "default x@a_b.test smtp:a_b.test"},
		{"one label", "", "x@host", "default x@host smtp:host"},
		{"one label completed", "append_dot_mydomain = yes", "x@host", "default x@host.example.test smtp:host.example.test"},
		{"bad character", "", "x@a*b.test", "syntax error"},
		{"internationalised", "", "jörg@bücher.test", "default jörg@bücher.test smtp:bücher.test"},
		{"bad UTF-8", "", "j\xf6rg@other.test", "syntax error"},

		{"local before alias", "mydestination = alias.test", "x@alias.test", "local x@alias.test local:mx.example.test"},
		{"local before mailbox", "mydestination = mbox.test", "x@mbox.test", "local x@mbox.test local:mx.example.test"},
		{"local before relay", "mydestination = relay.test", "x@relay.test", "local x@relay.test local:mx.example.test"},
		{"alias before mailbox", "virtual_alias_domains = mbox.test", "x@mbox.test", "virtual-alias x@mbox.test error:5.1.1 User unknown in virtual alias table"},
		{"alias before relay", "virtual_alias_domains = relay.test", "x@relay.test", "virtual-alias x@relay.test error:5.1.1 User unknown in virtual alias table"},
		{"mailbox before relay", "relay_domains = mbox.test", "x@mbox.test", "virtual-mailbox x@mbox.test virtual:mbox.test"},

		{"alias domain by an alias row", "virtual_alias_domains = $virtual_alias_maps\nvirtual_alias_maps = inline:{row.test=any, @star.test=x@y.test}", "x@row.test", "virtual-alias x@row.test error:5.1.1 User unknown in virtual alias table"},
		{"a catch-all makes no alias domain", "virtual_alias_domains = $virtual_alias_maps\nvirtual_alias_maps = inline:{row.test=any, @star.test=x@y.test}", "x@star.test", "default x@star.test smtp:star.test"},
		{"table name not shown", "show_user_unknown_table_name = no", "x@alias.test", "virtual-alias x@alias.test error:5.1.1 User unknown"},

		{"mydestination fails", "mydestination = fail:x", "x@mbox.test", "failure of mydestination"},
		{"alias domains fail, local", "virtual_alias_domains = fail:x", "x@localhost", "local x@localhost local:mx.example.test"},
		{"alias domains fail, others", "virtual_alias_domains = fail:x", "x@mbox.test", "failure of virtual_alias_domains"},
		{"mailbox domains fail, alias", "virtual_mailbox_domains = fail:x", "x@alias.test", "virtual-alias x@alias.test error:5.1.1 User unknown in virtual alias table"},
		{"mailbox domains fail, others", "virtual_mailbox_domains = fail:x", "x@relay.test", "failure of virtual_mailbox_domains"},
		{"relay domains fail, mailbox", "relay_domains = fail:x", "x@mbox.test", "virtual-mailbox x@mbox.test virtual:mbox.test"},
		{"relay domains fail, others", "relay_domains = fail:x", "x@other.test", "failure of relay_domains"},
		{"an item before the failing one", "mydestination = localhost, fail:x", "x@localhost", "local x@localhost local:mx.example.test"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := routetest.New(t, classes+tt.main)
			if got := resolve(t, w.Router, tt.in, ""); got != tt.want {
				t.Errorf("Resolve(%q)\n got %s\nwant %s", tt.in, got, tt.want)
			}
		})
	}
}

func TestFailureIsLogged(t *testing.T) {
	w := routetest.New(t, "relay_domains = fail:reason")
	_, err := w.Router.Resolve(context.Background(), address.Split("x@other.test"), address.Address{}, nil)
	var f *route.Failure
	if !errors.As(err, &f) || f.Address != "other.test" || f.Parameter != "relay_domains" || f.Config {
		t.Fatalf("Resolve = %#v", err)
	}
	if want := `warning: relay_domains lookup failure for "other.test": `; !strings.Contains(w.Log.Lines(), want) {
		t.Errorf("log %q lacks %q", w.Log.Lines(), want)
	}
}

func TestListed(t *testing.T) {
	w := routetest.New(t, `mydestination = d.test
virtual_alias_domains = fail:x
virtual_mailbox_domains = d.test
relay_domains = texthash:{dir}/relay
-- relay --
d.test yes
`)
	var got []string
	for _, why := range w.Router.Listed(context.Background(), "D.test") {
		got = append(got, why.Class.String()+" "+why.Parameter+" "+why.At.RelativeTo(w.Dir).String())
	}
	want := "local mydestination main.cf:8; virtual-mailbox virtual_mailbox_domains main.cf:10; relay relay_domains relay:1"
	if text := strings.Join(got, "; "); text != want {
		t.Errorf("Listed = %s, want %s", text, want)
	}
}

func TestClassifyWhy(t *testing.T) {
	w := routetest.New(t, `relay_domains = texthash:{dir}/relay
-- relay --
# comment
d.test yes
`)
	ctx := context.Background()
	class, why, err := w.Router.Classify(ctx, "sub.d.test", nil)
	if err != nil || class != route.Relay {
		t.Fatalf("Classify = %v, %v", class, err)
	}
	if why.Parameter != "relay_domains" || why.Key != "d.test" || why.At.RelativeTo(w.Dir).String() != "relay:2" ||
		why.Table != "texthash:"+w.Dir+"/relay" {
		t.Errorf("why = %+v", why)
	}
	_, why, err = w.Router.Classify(ctx, "localhost", nil)
	if err != nil || why.Table != "" || why.Key != "localhost" || why.At.Parameter != "mydestination" {
		t.Errorf("localhost: why = %+v, %v", why, err)
	}
	class, why, err = w.Router.Classify(ctx, "nowhere.test", nil)
	if err != nil || class != route.Default || why.Parameter != "" || !why.At.IsZero() {
		t.Errorf("nowhere.test: %v, why = %+v, %v", class, why, err)
	}
}

func TestNullTransport(t *testing.T) {
	for _, parameter := range []string{"local_transport", "virtual_transport", "relay_transport", "default_transport"} {
		err := routetest.Error(t, parameter+" = :next")
		if !strings.Contains(err.Error(), "main.cf:8: parameter "+parameter+": null transport is not allowed") {
			t.Errorf("%s: error %q", parameter, err)
		}
	}
}

func TestValidHostname(t *testing.T) {
	good := []string{"a", "a.test", "a-b.test", "1.test", "_x.test", "A.TEST", "bücher.test", strings.Repeat("a.", 127) + "a"}
	bad := []string{"", ".", "a.", ".a", "-a", "a-", "a..b", "1.2.3.4", "12", "a b", "a/b", "a\x00", "\xff.test", strings.Repeat("a.", 128) + "a"}
	for _, name := range good {
		if !route.ValidHostname(name) {
			t.Errorf("ValidHostname(%q) = false", name)
		}
	}
	for _, name := range bad {
		if route.ValidHostname(name) {
			t.Errorf("ValidHostname(%q) = true", name)
		}
	}
}

func TestValidLiteral(t *testing.T) {
	for text, want := range map[string]bool{
		"[192.0.2.1]": true, "[IPv6:2001:db8::1]": true, "[ipv6:::1]": true,
		"192.0.2.1": false, "192.0.2.1]": false, "[192.0.2.1": false, "[]": false, "[": false, "": false,
		"[2001:db8::1]": false, "[IPv6:fe80::1%eth0]": false, "[IPv6:]": false, "[192.0.2]": false,
	} {
		if got := route.ValidLiteral(text); got != want {
			t.Errorf("ValidLiteral(%q) = %v", text, got)
		}
	}
}

func TestCheckSyntax(t *testing.T) {
	w := routetest.New(t, classes)
	broken := routetest.New(t, "mydestination = fail:x")
	for in, want := range map[string]bool{
		"":                    true,
		"john@mbox.test":      true,
		"john":                true,
		"john%other.test":     true,
		"john@127.0.0.1":      false,
		"john@":               false,
		"-x@other.test":       false,
		"-x%other.test":       false,
		"x@a..test":           false,
		"x@[1.2.3]":           false,
		"-x@b.test@localhost": false,
		"x%a..test@localhost": false,
	} {
		var syntax *route.SyntaxError
		err := w.Router.CheckSyntax(context.Background(), parse(t, in))
		if (err == nil) != want || err != nil && !errors.As(err, &syntax) {
			t.Errorf("CheckSyntax(%q) = %v", in, err)
		}
	}
	if err := broken.Router.CheckSyntax(context.Background(), address.Split("a%b@c.test")); err != nil {
		t.Errorf("with a failing list: %v", err)
	}
}

func FuzzResolve(f *testing.F) {
	for _, s := range []string{"john@mbox.test", "a%b!c@localhost", "@a:b@localhost", `"a b%c"@localhost`, "x@y@", "@", "[", "x@[1.2.3.4]"} {
		f.Add(s)
	}
	w := routetest.New(f, classes+"append_dot_mydomain = yes\n")
	f.Fuzz(func(t *testing.T, text string) {
		a := address.Split(text)
		res, err := w.Router.Resolve(context.Background(), w.Router.Rewrite(a), address.Address{}, nil)
		var syntax *route.SyntaxError
		if errors.As(err, &syntax) {
			return
		}
		if err != nil {
			t.Fatalf("Resolve(%q): %v", text, err) // no table can fail here
		}
		if res.Address.Domain == "" || res.Transport == "" || res.Class == route.Local && res.Address.Local == "" {
			t.Errorf("Resolve(%q) = %+v", text, res)
		}
	})
}
