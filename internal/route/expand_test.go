package route_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"postern/internal/address"
	"postern/internal/route"
	"postern/internal/route/routetest"
)

// given makes recipients as smtpd does.
func given(t *testing.T, texts ...string) []route.Recipient {
	t.Helper()
	var out []route.Recipient
	for _, text := range texts {
		a := parse(t, text)
		out = append(out, route.Recipient{Address: a, Original: a.Internal()})
	}
	return out
}

// addresses shows recipients, or the error of an expansion.
func addresses(list []route.Recipient, err error) string {
	var e *route.ExpansionError
	switch {
	case errors.As(err, &e):
		return e.Reply.String()
	case err != nil:
		return "unexpected error: " + err.Error()
	}
	var out []string
	for _, r := range list {
		out = append(out, r.Address.Internal())
	}
	return strings.Join(out, " ")
}

func expand(t *testing.T, w *routetest.World, texts ...string) string {
	t.Helper()
	return addresses(w.Router.Expand(context.Background(), given(t, texts...), nil))
}

// appendixB is the configuration of the worked examples.
const appendixB = `
mydestination = localhost, local.example.test
virtual_alias_domains = alias.test
virtual_mailbox_domains = mbox.test, mbox2.test
relay_domains = relay.test
relay_recipient_maps = inline:{in@relay.test=x}
recipient_delimiter = +
compatibility = postfix
compatibility_level = 3.6
virtual_mailbox_base = /var/mail
virtual_uid_maps = static:5000
virtual_gid_maps = static:5000
virtual_alias_maps = texthash:{dir}/aliases
virtual_mailbox_maps = texthash:{dir}/boxes
-- aliases --
one@alias.test    one@mbox.test
multi@alias.test  one@mbox.test, two@mbox.test
@mbox2.test       catch@mbox.test
real2@mbox2.test  real2@mbox2.test
chain@alias.test  one@alias.test
loopa@alias.test  loopb@alias.test
loopb@alias.test  loopa@alias.test
copy@mbox.test    copy@mbox.test, out@elsewhere.test
unk@alias.test    nosuch@mbox.test
unq@alias.test    one
self@alias.test   self@alias.test
@dommap.test      @mbox.test
postmaster        one@mbox.test
-- boxes --
one@mbox.test     one/
two@mbox.test     two/
catch@mbox.test   catch/
copy@mbox.test    copy/
real@mbox2.test   real/
real2@mbox2.test  real2/
`

func TestWorkedExamples(t *testing.T) {
	w := routetest.New(t, appendixB)
	const loop = "451 4.6.0 Alias expansion error"
	tests := []struct{ rcpt, to, fate string }{
		{"one@alias.test", "one@mbox.test", "/var/mail/one"},
		{"ONE@ALIAS.TEST", "one@mbox.test", "/var/mail/one"},
		{"one+x@alias.test", "one+x@mbox.test", "/var/mail/one"},
		{"chain@alias.test", "one@mbox.test", "/var/mail/one"},
		{"multi@alias.test", "one@mbox.test two@mbox.test", "/var/mail/one /var/mail/two"},
		{"nosuch@alias.test", "nosuch@alias.test", "error:5.1.1 User unknown in virtual alias table"},
		{"nosuch@mbox.test", "nosuch@mbox.test", `5.1.1 unknown user: "nosuch@mbox.test"`},
		{"real@mbox2.test", "catch@mbox.test", "/var/mail/catch"},
		{"real2@mbox2.test", "real2@mbox2.test", "/var/mail/real2"},
		{"any+foo@mbox2.test", "catch@mbox.test", "/var/mail/catch"},
		{"copy@mbox.test", "copy@mbox.test out@elsewhere.test", "/var/mail/copy smtp:elsewhere.test"},
		{"unk@alias.test", "nosuch@mbox.test", `5.1.1 unknown user: "nosuch@mbox.test"`},
		{"self@alias.test", "self@alias.test", "error:5.1.1 User unknown in virtual alias table"},
		{"unq@alias.test", "one@mx.example.test", "smtp:mx.example.test"},
		{"user@dommap.test", "user@mbox.test", `5.1.1 unknown user: "user@mbox.test"`},
		{"one@dommap.test", "one@mbox.test", "/var/mail/one"},
		{"loopa@alias.test", loop, ""},
		{"postmaster", "one@mbox.test", "/var/mail/one"},
		{"postmaster@localhost", "one@mbox.test", "/var/mail/one"},
		{"postmaster@mbox.test", "postmaster@mbox.test", `5.1.1 unknown user: "postmaster@mbox.test"`},
	}
	for _, tt := range tests {
		t.Run(tt.rcpt, func(t *testing.T) {
			list, err := w.Router.Expand(context.Background(), given(t, tt.rcpt), nil)
			if got := addresses(list, err); got != tt.to {
				t.Errorf("Expand(%s) = %s, want %s", tt.rcpt, got, tt.to)
			}
			var fates []string
			for _, r := range list {
				fates = append(fates, fate(t, w.Router, r.Address))
				if r.Original != tt.rcpt {
					t.Errorf("original %q", r.Original)
				}
			}
			if got := strings.Join(fates, " "); got != tt.fate {
				t.Errorf("%s ends as %s, want %s", tt.rcpt, got, tt.fate)
			}
		})
	}
}

// fate is where a final recipient ends: the path of its mailbox, why there is
// none, or transport and next hop.
func fate(t *testing.T, r *route.Router, a address.Address) string {
	t.Helper()
	res, err := r.Resolve(context.Background(), a, address.Address{}, nil)
	if err != nil {
		return err.Error()
	}
	if res.Transport != "virtual" {
		return res.Transport + ":" + res.NextHop
	}
	box, err := r.VirtualMailbox(context.Background(), a, nil)
	if err != nil {
		return err.Error()
	}
	return box.Path
}

func TestExpand(t *testing.T) {
	tests := []struct{ name, main, in, want string }{
		{"no tables", "", "x@a.test", "x@a.test"},
		{"unqualified", "", "x", "x@mx.example.test"},
		{"null", "", "", "MAILER-DAEMON@mx.example.test"},
		{"alias of a foreign address", "virtual_alias_maps = inline:{x@a.test=y@b.test}", "x@a.test", "y@b.test"},
		{"alias of a local user", "virtual_alias_maps = inline:{john=y@b.test}", "john@localhost", "y@b.test"},
		{"list in several forms", "virtual_alias_maps = inline:{ {x@a.test=b@b.test, \"c d\"@c.test, Name <e@e.test> (note) f} }", "x@a.test",
			"b@b.test c d@c.test e@e.test f@mx.example.test"},
		{"command and file are names", "virtual_alias_maps = inline:{ {x@a.test=|cmd, /file} }", "x@a.test", "|cmd@mx.example.test /file@mx.example.test"},
		{"null target", "virtual_alias_maps = inline:{x@a.test=<>}", "x@a.test", ""},
		{"no address", "virtual_alias_maps = inline:{ {x@a.test=,} }", "x@a.test", "451 4.3.0 Error: queue file write error"},
		{"key with quotes", "virtual_alias_maps = inline:{ {\"a b\"@a.test=y@b.test} }", `"a b"@a.test`, "y@b.test"},
		{"key of the internal form is not asked", `virtual_alias_maps = regexp:{{/^a b@a\.test$$/ y@b.test}}`, `"a b"@a.test`, "a b@a.test"},

		{"first table wins", "virtual_alias_maps = inline:{x@a.test=1@b.test}, inline:{x@a.test=2@b.test}", "x@a.test", "1@b.test"},
		{"specific row in a later table wins", "virtual_alias_maps = inline:{@a.test=1@b.test}, inline:{x@a.test=2@b.test}", "x@a.test", "2@b.test"},
		{"identity", "virtual_alias_maps = inline:{x@a.test=X@A.test}", "x@a.test", "X@A.test"},
		{"identity with copy", "virtual_alias_maps = inline:{ {x@a.test=x@a.test y@b.test} }", "x@a.test", "x@a.test y@b.test"},
		{"copy before identity", "virtual_alias_maps = inline:{ {x@a.test=y@b.test x@a.test} }", "x@a.test", "y@b.test x@a.test"},
		{"a loop of one with identity ends", "virtual_alias_maps = inline:{ {a@a.test=b@a.test a@a.test}, b@a.test=a@a.test}", "a@a.test", "a@a.test"},
		{"loop of two", "virtual_alias_maps = inline:{a@a.test=b@a.test, b@a.test=a@a.test}", "a@a.test", "451 4.6.0 Alias expansion error"},
		{"domain loop", "virtual_alias_maps = inline:{@a.test=@b.test, @b.test=@a.test}", "x@a.test", "451 4.6.0 Alias expansion error"},
		{"domain identity", "virtual_alias_maps = inline:{@a.test=@a.test}", "x@a.test", "x@a.test"},
		{"two levels of lists", "virtual_alias_maps = inline:{ {a@a.test=b@a.test c@a.test}, {b@a.test=d@d.test e@e.test} }", "a@a.test", "d@d.test c@a.test e@e.test"},

		{"domain to domain keeps the extension", "recipient_delimiter = +\nvirtual_alias_maps = inline:{@a.test=@b.test}", "x+e@a.test", "x+e@b.test"},
		{"same user, row without extension", "recipient_delimiter = +\nvirtual_alias_maps = inline:{x@a.test=@b.test}", "x+e@a.test", "x+e@b.test"},
		{"same, not propagated", "recipient_delimiter = +\npropagate_unmatched_extensions =\nvirtual_alias_maps = inline:{x@a.test=@b.test}", "x+e@a.test", "x@b.test"},
		{"extension propagated to all", "recipient_delimiter = +\nvirtual_alias_maps = inline:{ {x@a.test=y@b.test z@c.test} }", "x+e@a.test", "y+e@b.test z+e@c.test"},
		{"extension not propagated", "recipient_delimiter = +\npropagate_unmatched_extensions = canonical\nvirtual_alias_maps = inline:{x@a.test=y@b.test}", "x+e@a.test", "y@b.test"},
		{"extension matched", "recipient_delimiter = +\nvirtual_alias_maps = inline:{x+e@a.test=y@b.test, x@a.test=z@b.test}", "x+e@a.test", "y@b.test"},
		{"extension and catch-all", "recipient_delimiter = +\nvirtual_alias_maps = inline:{@a.test=z@b.test}", "x+e@a.test", "z@b.test"},
		{"extension of a bare name", "recipient_delimiter = +\nvirtual_alias_maps = inline:{x=y@b.test}", "x+e@localhost", "y+e@b.test"},
		{"other delimiter", "recipient_delimiter = +-\nvirtual_alias_maps = inline:{x@a.test=y@b.test}", "x-e+f@a.test", "y-e+f@b.test"},
		{"never split", "recipient_delimiter = -\nvirtual_alias_maps = inline:{owner@a.test=y@b.test}", "owner-list@a.test", "owner-list@a.test"},
		{"patterns get the full address", "recipient_delimiter = +\nvirtual_alias_maps = regexp:{ {/^(.*)@a\\.test$$/ $${1}@b.test} }", "x+e@a.test", "x+e@b.test"},

		{"recipient canonical", "recipient_canonical_maps = inline:{x@a.test=y@b.test}", "x@a.test", "y@b.test"},
		{"canonical after it", "recipient_canonical_maps = inline:{x@a.test=y@b.test}\ncanonical_maps = inline:{y@b.test=z@c.test}", "x@a.test", "z@c.test"},
		{"canonical before aliases", "canonical_maps = inline:{x@a.test=y@b.test}\nvirtual_alias_maps = inline:{x@a.test=no@b.test, y@b.test=z@c.test}", "x@a.test", "z@c.test"},
		{"canonical of several takes the first", "canonical_maps = inline:{ {x@a.test=y@b.test z@c.test} }", "x@a.test", "y@b.test"},
		{"canonical, other classes", "canonical_maps = inline:{x@a.test=y@b.test}\ncanonical_classes = envelope_sender", "x@a.test", "x@a.test"},
		{"sender canonical is not for recipients", "sender_canonical_maps = inline:{x@a.test=y@b.test}", "x@a.test", "x@a.test"},
		{"canonical chain of 9", "canonical_maps = " + chain("c", 9), "c1@a.test", "c10@a.test"},
		{"canonical chain stops after 10", "canonical_maps = " + chain("c", 15), "c1@a.test", "c11@a.test"},
		{"canonical extension", "recipient_delimiter = +\ncanonical_maps = inline:{x@a.test=y@b.test}", "x+e@a.test", "y+e@b.test"},
		{"canonical extension off", "recipient_delimiter = +\npropagate_unmatched_extensions = virtual\ncanonical_maps = inline:{x@a.test=y@b.test}", "x+e@a.test", "y@b.test"},
		{"canonical without address", "canonical_maps = inline:{ {x@a.test=,} }", "x@a.test", "451 4.3.0 Error: queue file write error"},

		{"aliases fail", "virtual_alias_maps = fail:x", "x@a.test", "451 4.3.0 Error: queue file write error"},
		{"aliases fail at the second step", "virtual_alias_maps = inline:{x@a.test=y@b.test}, fail:x", "x@a.test", "451 4.3.0 Error: queue file write error"},
		{"canonical fails", "canonical_maps = fail:x", "x@a.test", "451 4.3.0 Error: queue file write error"},
		{"recipient canonical fails", "recipient_canonical_maps = fail:x", "x@a.test", "451 4.3.0 Error: queue file write error"},
		{"an empty result", "virtual_alias_maps = inline:{x@a.test=}", "x@a.test", "451 4.3.0 Error: queue file write error"},
		{"the local domains fail before a bare key", "mydestination = fail:x\nvirtual_alias_maps = inline:{x=y}", "x@a.test", "451 4.3.0 Error: queue file write error"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := routetest.New(t, tt.main)
			if got := expand(t, w, tt.in); got != tt.want {
				t.Errorf("Expand(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

// chain is an inline table of n rows, name1@a.test to name2@a.test and so on.
func chain(name string, n int) string {
	var rows []string
	for i := 1; i <= n; i++ {
		rows = append(rows, fmt.Sprintf("%s%d@a.test=%[1]s%[3]d@a.test", name, i, i+1))
	}
	return "inline:{" + strings.Join(rows, ",") + "}"
}

// list is an inline table that sends l@a.test to n addresses.
func list(n int) string {
	var to []string
	for i := range n {
		to = append(to, fmt.Sprintf("u%d@b.test", i))
	}
	return "inline:{ {l@a.test=" + strings.Join(to, " ") + "} }"
}

// TestExpandLimits counts exactly.
func TestExpandLimits(t *testing.T) {
	const refused = "451 4.6.0 Alias expansion error"
	long := strings.Repeat("x", 20) + "@b.test" // 27 octets
	tests := []struct {
		name, main, in string
		ok             bool
		log            string
	}{
		{"recursion 1, no alias", "virtual_alias_recursion_limit = 1\nvirtual_alias_maps = inline:{x@a.test=y@b.test}", "z@a.test", true, ""},
		{"recursion 1, identity", "virtual_alias_recursion_limit = 1\nvirtual_alias_maps = inline:{x@a.test=x@a.test}", "x@a.test", true, ""},
		{"recursion 1, one hop", "virtual_alias_recursion_limit = 1\nvirtual_alias_maps = inline:{x@a.test=y@b.test}", "x@a.test", false,
			"unreasonable virtual_alias_maps map nesting for x@a.test -- message not accepted, try again later"},
		{"recursion 2, one hop", "virtual_alias_recursion_limit = 2\nvirtual_alias_maps = " + chain("h", 1), "h1@a.test", true, ""},
		{"recursion 2, two hops", "virtual_alias_recursion_limit = 2\nvirtual_alias_maps = " + chain("h", 2), "h1@a.test", false,
			"unreasonable virtual_alias_maps map nesting for h1@a.test"},
		{"recursion 1000, 999 hops", "virtual_alias_maps = " + chain("h", 999), "h1@a.test", true, ""},
		{"recursion 1000, 1000 hops", "virtual_alias_maps = " + chain("h", 1000), "h1@a.test", false, "map nesting"},
		{"expansion 3, three", "virtual_alias_expansion_limit = 3\nvirtual_alias_maps = " + list(3), "l@a.test", true, ""},
		{"expansion 3, four", "virtual_alias_expansion_limit = 3\nvirtual_alias_maps = " + list(4), "l@a.test", false,
			"unreasonable virtual_alias_maps map expansion size for l@a.test -- message not accepted, try again later"},
		{"expansion 1000, 1000", "virtual_alias_maps = " + list(1000), "l@a.test", true, ""},
		{"expansion 1000, 1001", "virtual_alias_maps = " + list(1001), "l@a.test", false, "map expansion size"},
		{"length 27", "virtual_alias_address_length_limit = 27\nvirtual_alias_maps = inline:{x@a.test=" + long + "}", "x@a.test", true, ""},
		{"length 26", "virtual_alias_address_length_limit = 26\nvirtual_alias_maps = inline:{x@a.test=" + long + "}", "x@a.test", false,
			"unreasonable virtual_alias_maps result " + long + "... -- message not accepted"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := routetest.New(t, tt.main)
			_, err := w.Router.Expand(context.Background(), given(t, tt.in), nil)
			if tt.ok {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var e *route.ExpansionError
			if !errors.As(err, &e) || e.Reply.String() != refused || e.Address != tt.in || e.Err != nil {
				t.Fatalf("Expand = %#v", err)
			}
			if !strings.Contains(err.Error(), tt.log) {
				t.Errorf("error %q lacks %q", err, tt.log)
			}
		})
	}
}

func TestExpandTableError(t *testing.T) {
	w := routetest.New(t, "virtual_alias_maps = fail:x")
	_, err := w.Router.Expand(context.Background(), given(t, "x@a.test"), nil)
	var e *route.ExpansionError
	var f *route.Failure
	if !errors.As(err, &e) || e.Err == nil || !errors.As(err, &f) || f.Parameter != "virtual_alias_maps" {
		t.Fatalf("Expand = %#v", err)
	}
	if want := "virtual_alias_maps map lookup problem for x@a.test -- message not accepted, try again later"; err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}

func TestDuplicates(t *testing.T) {
	const maps = "virtual_alias_maps = inline:{a1@a.test=x@b.test, a2@a.test=x@b.test, {both@a.test=x@b.test X@B.test}}\n"
	tests := []struct {
		name, main string
		in         []string
		want       string
	}{
		{"same twice", "", []string{"x@b.test", "x@b.test"}, "x@b.test"},
		{"same in another case", "", []string{"ONE@B.test", "one@b.test"}, "ONE@B.test"},
		{"two aliases of one mailbox", "", []string{"a1@a.test", "a2@a.test"}, "x@b.test x@b.test"},
		{"the same, one copy", "enable_original_recipient = no", []string{"a1@a.test", "a2@a.test"}, "x@b.test"},
		{"alias and mailbox", "", []string{"a1@a.test", "x@b.test"}, "x@b.test x@b.test"},
		{"alias and mailbox, one copy", "enable_original_recipient = no", []string{"a1@a.test", "x@b.test"}, "x@b.test"},
		{"inside one alias", "", []string{"both@a.test"}, "x@b.test"},
		{"limit reached", "duplicate_filter_limit = 1", []string{"x@b.test", "y@b.test", "y@b.test", "x@b.test"}, "x@b.test y@b.test y@b.test"},
		{"no limit", "duplicate_filter_limit = 0", []string{"x@b.test", "y@b.test", "y@b.test"}, "x@b.test y@b.test"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := routetest.New(t, maps+tt.main)
			if got := expand(t, w, tt.in...); got != tt.want {
				t.Errorf("Expand(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
	t.Run("other notify", func(t *testing.T) {
		w := routetest.New(t, maps)
		in := given(t, "x@b.test", "x@b.test")
		in[1].Notify = 2
		if got := addresses(w.Router.Expand(context.Background(), in, nil)); got != "x@b.test x@b.test" {
			t.Errorf("Expand = %q", got)
		}
	})
}

func TestOriginalRecipient(t *testing.T) {
	w := routetest.New(t, `virtual_alias_maps = inline:{ {"a b"=y@b.test} }`)
	list, err := w.Router.Expand(context.Background(), []route.Recipient{
		{Address: address.Split("One"), Original: "One"},
		{Address: address.Split("a b@c.test"), Original: "a b@c.test"},
		{Address: address.Split("two")},
		{Address: address.Split("x@d.test"), Original: "x@d.test", ORCPT: "rfc822;other@e.test", Notify: 6},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range list {
		got = append(got, fmt.Sprintf("%s|%s|%s|%d", r.Address.Internal(), r.Original, r.ORCPT, r.Notify))
	}
	want := []string{
		"One@mx.example.test|One|rfc822;One@mx.example.test|0",
		`a b@c.test|a b@c.test|rfc822;"a b"@c.test|0`,
		"two@mx.example.test||rfc822;two@mx.example.test|0",
		"x@d.test|x@d.test|rfc822;other@e.test|6",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
