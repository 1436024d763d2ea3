package route_test

import (
	"context"
	"testing"

	"postern/internal/address"
	"postern/internal/route/routetest"
)

// verdict is the reply to a recipient, "ok" when it is good.
func verdict(t *testing.T, w *routetest.World, text string) string {
	t.Helper()
	v := w.Router.CheckRecipient(context.Background(), address.Address{}, parse(t, text), nil)
	if v.Reply.IsZero() {
		return "ok"
	}
	return v.Reply.String()
}

const recipients = `
virtual_alias_domains = alias.test
virtual_mailbox_domains = mbox.test
relay_domains = relay.test
recipient_delimiter = +
compatibility = postfix
compatibility_level = 3.6
local_recipient_maps = inline:{john=x, jane@localhost=x}
virtual_mailbox_maps = inline:{one@mbox.test=one/, a@catch.test=x}
virtual_alias_maps = inline:{
	one@alias.test=one@mbox.test, lost@mbox.test=nobody@alias.test, @other.test=x@y.test, fred=john@localhost,
	john+list@localhost=x@y.test}
relay_recipient_maps = inline:{in@relay.test=x, @all.relay.test=x}
recipient_canonical_maps = inline:{canon@mbox.test=one@mbox.test}
canonical_maps = inline:{both@mbox.test=one@mbox.test}
`

func TestCheckRecipient(t *testing.T) {
	const unknown = "550 5.1.1 <%>: Recipient address rejected: User unknown in "
	tests := []struct{ name, main, in, want string }{
		{"local user", "", "john@localhost", "ok"},
		{"local user in another local domain", "", "john@local.example.test", "ok"},
		{"local user with extension", "", "john+x@localhost", "ok"},
		{"local user, full key", "", "jane@localhost", "ok"},
		{"full key in another local domain", "", "jane@local.example.test", unknown + "local recipient table"},
		{"unknown local user", "", "nobody@localhost", unknown + "local recipient table"},
		{"postmaster", "", "PostMaster@localhost", "ok"},
		{"mailer-daemon", "", "mailer-daemon@localhost", "ok"},
		{"double bounce", "", "double-bounce@localhost", "ok"},
		{"postmaster of a mailbox domain", "", "postmaster@mbox.test", unknown + "virtual mailbox table"},
		{"no local table", "local_recipient_maps =", "nobody@localhost", "ok"},
		{"local code", "unknown_local_recipient_reject_code = 450", "nobody@localhost", "450 4.1.1 <%>: Recipient address rejected: User unknown in local recipient table"},

		{"alias", "", "one@alias.test", "ok"},
		{"alias with extension", "", "one+x@alias.test", "ok"},
		{"alias in capitals", "", "ONE@ALIAS.test", "ok"},
		{"no alias", "", "Two@alias.test", unknown + "virtual alias table"},
		{"alias code", "unknown_virtual_alias_reject_code = 450", "two@alias.test", "450 4.1.1 <%>: Recipient address rejected: User unknown in virtual alias table"},
		{"alias in a mailbox domain, target not looked at", "", "lost@mbox.test", "ok"},
		{"alias of a local name", "", "fred@localhost", "ok"},
		{"alias name in a mailbox domain", "", "fred@mbox.test", unknown + "virtual mailbox table"},

		{"mailbox", "", "one@mbox.test", "ok"},
		{"mailbox with extension", "", "one+x@mbox.test", "ok"},
		{"no mailbox", "", "two@mbox.test", unknown + "virtual mailbox table"},
		{"mailbox, no delimiter", "recipient_delimiter =", "one+x@mbox.test", unknown + "virtual mailbox table"},
		{"no mailbox table", "virtual_mailbox_maps =", "two@mbox.test", "ok"},
		{"mailbox code", "unknown_virtual_mailbox_reject_code = 450", "two@mbox.test", "450 4.1.1 <%>: Recipient address rejected: User unknown in virtual mailbox table"},
		{"table name not shown", "show_user_unknown_table_name = no", "two@mbox.test", "550 5.1.1 <%>: Recipient address rejected: User unknown"},
		{"mailbox catch-all", "virtual_mailbox_maps = inline:{@mbox.test=all/}", "two@mbox.test", "ok"},

		{"relay recipient", "", "in@relay.test", "ok"},
		{"relay recipient by domain", "", "any@all.relay.test", "ok"},
		{"no relay recipient", "", "x@relay.test", unknown + "relay recipient table"},
		{"no relay table", "relay_recipient_maps =", "x@relay.test", "ok"},
		{"relay code", "unknown_relay_recipient_reject_code = 451", "x@relay.test", "451 4.1.1 <%>: Recipient address rejected: User unknown in relay recipient table"},

		{"default class", "", "x@elsewhere.test", "ok"},
		{"recipient canonical", "", "canon@mbox.test", "ok"},
		{"canonical", "", "both+x@mbox.test", "ok"},

		{"relocated", "relocated_maps = inline:{ {x@mbox.test=x@new.test} }", "X@mbox.test", "550 5.1.6 <%>: Recipient address rejected: User has moved to x@new.test"},
		{"an alias hides a relocation", "relocated_maps = inline:{ {lost@mbox.test=x@new.test} }", "lost@mbox.test", "ok"},
		{"relocated in an alias domain", "relocated_maps = inline:{ {x@alias.test=y} }\nunknown_virtual_alias_reject_code = 552", "x@alias.test", "552 5.1.6 <%>: Recipient address rejected: User has moved to y"},
		{"transport error with code", "transport_maps = inline:{ {x@relay.test=error:5.9.9 closed} }", "x@relay.test", "550 5.9.9 <%>: Recipient address rejected: closed"},
		{"transport error", "transport_maps = inline:{ {x@relay.test=error:closed} }", "x@relay.test", "550 5.1.1 <%>: Recipient address rejected: closed"},
		{"transport error, class of the code", "transport_maps = inline:{ {x@relay.test=error:4.1.10 closed} }", "x@relay.test", "550 5.1.0 <%>: Recipient address rejected: closed"},
		{"transport error, a sender's code", "transport_maps = inline:{ {x@relay.test=error:5.1.7 closed} }", "x@relay.test", "550 5.1.3 <%>: Recipient address rejected: closed"},
		{"transport retry", "transport_maps = inline:{ {x@relay.test=retry:4.9.9 later} }", "x@relay.test", "450 4.9.9 <%>: Recipient address rejected: later"},
		{"transport retry, class of the code", "transport_maps = inline:{ {x@relay.test=retry:5.2.2 later} }", "x@relay.test", "450 4.2.2 <%>: Recipient address rejected: later"},
		{"transport retry without code", "transport_maps = inline:{ {x@relay.test=retry:later} }", "x@relay.test", "450 4.1.1 <%>: Recipient address rejected: later"},

		{"syntax", "", "x@127.0.0.1", "501 5.1.3 Bad recipient address syntax"},
		{"quoted", "", `"no one"@mbox.test`, "550 5.1.1 <no one@mbox.test>: Recipient address rejected: User unknown in virtual mailbox table"},
		{"given form is shown", "", "@a.test:Two@mbox.test.", "550 5.1.1 <Two@mbox.test.>: Recipient address rejected: User unknown in virtual mailbox table"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := routetest.New(t, recipients+tt.main)
			if got, want := verdict(t, w, tt.in), shown(tt.want, tt.in); got != want {
				t.Errorf("CheckRecipient(%q)\n got %s\nwant %s", tt.in, got, want)
			}
		})
	}
}

// shown puts an address in place of % into a reply.
func shown(reply, in string) string {
	for i := range len(reply) {
		if reply[i] == '%' {
			return reply[:i] + in + reply[i+1:]
		}
	}
	return reply
}

// TestFailingTables says which failure hits whom at RCPT.
func TestFailingTables(t *testing.T) {
	const (
		temporary = "451 4.3.0 <%>: Temporary lookup failure"
		alias     = "ok"
	)
	who := []string{"john@localhost", "none@alias.test", "two@mbox.test", "x@relay.test", "x@elsewhere.test"}
	local, aliasDomain, mailbox, relay, other := 0, 1, 2, 3, 4
	tests := []struct {
		name, main string
		hit        []int
	}{
		{"mydestination", "mydestination = fail:x", []int{local, aliasDomain, mailbox, relay, other}},
		{"virtual_alias_domains", "virtual_alias_domains = fail:x", []int{aliasDomain, mailbox, relay, other}},
		{"virtual_mailbox_domains", "virtual_mailbox_domains = fail:x", []int{mailbox, relay, other}},
		{"relay_domains", "relay_domains = fail:x", []int{relay, other}},
		{"virtual_alias_maps", "virtual_alias_maps = fail:x", []int{local, aliasDomain, mailbox, relay, other}},
		{"canonical_maps", "canonical_maps = fail:x", []int{local, aliasDomain, mailbox, relay, other}},
		{"recipient_canonical_maps", "recipient_canonical_maps = fail:x", []int{local, aliasDomain, mailbox, relay, other}},
		{"sender_canonical_maps", "sender_canonical_maps = fail:x", nil},
		{"virtual_mailbox_maps", "virtual_mailbox_maps = fail:x", []int{mailbox}},
		{"local_recipient_maps", "local_recipient_maps = fail:x", []int{local}},
		{"relay_recipient_maps", "relay_recipient_maps = fail:x", []int{relay}},
		{"transport_maps", "transport_maps = fail:x", []int{local, mailbox, relay, other}},
		{"relocated_maps", "relocated_maps = fail:x", []int{local, aliasDomain, mailbox, relay, other}},
		{"virtual_uid_maps", "virtual_uid_maps = fail:x", nil},
		{"missing file", "virtual_mailbox_maps = texthash:{dir}/none", []int{mailbox}},
		{"unknown type", "virtual_alias_maps = nosuch:x", []int{local, aliasDomain, mailbox, relay, other}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := routetest.New(t, recipients+tt.main)
			hit := map[int]bool{}
			for _, i := range tt.hit {
				hit[i] = true
			}
			for i, in := range who {
				got := verdict(t, w, in)
				if failed := got == shown(temporary, in); failed != hit[i] {
					t.Errorf("%s: %s, want failing = %v", in, got, hit[i])
				}
			}
		})
	}
	t.Run("an alias that matches first", func(t *testing.T) {
		w := routetest.New(t, recipients+"virtual_mailbox_maps = fail:x")
		if got := verdict(t, w, "lost@mbox.test"); got != alias {
			t.Error(got)
		}
	})
	t.Run("a row in a table before the failing one", func(t *testing.T) {
		w := routetest.New(t, recipients+"virtual_alias_maps = inline:{a@alias.test=x@y.test}, fail:x")
		if got := verdict(t, w, "a@alias.test"); got != "ok" {
			t.Error(got)
		}
	})
	t.Run("a row behind it", func(t *testing.T) {
		w := routetest.New(t, recipients+"virtual_alias_maps = fail:x, inline:{a@alias.test=x@y.test}")
		if got := verdict(t, w, "a@alias.test"); got != shown(temporary, "a@alias.test") {
			t.Error(got)
		}
	})
	t.Run("an empty result", func(t *testing.T) {
		w := routetest.New(t, recipients+"virtual_mailbox_maps = inline:{two@mbox.test=}")
		if got := verdict(t, w, "two@mbox.test"); got != "451 4.3.5 Server configuration error" {
			t.Error(got)
		}
	})
}

func TestCheckSender(t *testing.T) {
	tests := []struct{ main, in, want string }{
		{"", "", "ok"},
		{"", "one@mbox.test", "ok"},
		{"", "x@elsewhere.test", "ok"},
		{"", "two@mbox.test", "550 5.1.0 <two@mbox.test>: Sender address rejected: User unknown in virtual mailbox table"},
		{"", "none@alias.test", "550 5.1.7 <none@alias.test>: Sender address rejected: User unknown in virtual alias table"},
		{"", "nobody@localhost", "550 5.1.0 <nobody@localhost>: Sender address rejected: User unknown in local recipient table"},
		{"", "canon@mbox.test", "ok"},
		{"sender_canonical_maps = inline:{two@mbox.test=x}", "two@mbox.test", "ok"},
		{"smtpd_reject_unlisted_target = yes", "lost@mbox.test", "ok"}, // that is about recipients
		{"relocated_maps = inline:{ {two@mbox.test=there} }", "two@mbox.test", "550 5.1.7 <two@mbox.test>: Sender address rejected: User has moved to there"},
		{"transport_maps = inline:{ {elsewhere.test=error:gone} }", "x@elsewhere.test", "550 5.1.0 <x@elsewhere.test>: Sender address rejected: gone"},
		{"transport_maps = inline:{ {elsewhere.test=error:5.1.8 gone} }", "x@elsewhere.test", "550 5.1.8 <x@elsewhere.test>: Sender address rejected: gone"},
		{"transport_maps = inline:{ {elsewhere.test=retry:later} }", "x@elsewhere.test", "450 4.1.0 <x@elsewhere.test>: Sender address rejected: later"},
		{"", "x@127.0.0.1", "501 5.1.7 Bad sender address syntax"},
		{"virtual_alias_maps = fail:x", "x@elsewhere.test", "451 4.3.0 <x@elsewhere.test>: Temporary lookup failure"},
		{"sender_canonical_maps = fail:x", "x@elsewhere.test", "451 4.3.0 <x@elsewhere.test>: Temporary lookup failure"},
	}
	for _, tt := range tests {
		w := routetest.New(t, recipients+tt.main)
		v := w.Router.CheckSender(context.Background(), parse(t, tt.in), nil)
		got := "ok"
		if !v.Reply.IsZero() {
			got = v.Reply.String()
		}
		if got != tt.want {
			t.Errorf("%s: CheckSender(%q) = %s, want %s", tt.main, tt.in, got, tt.want)
		}
	}
}

// TestRejectUnlistedTarget: an alias that leads nowhere is refused at RCPT.
func TestRejectUnlistedTarget(t *testing.T) {
	const world = `
virtual_alias_domains = alias.test
virtual_mailbox_domains = mbox.test
virtual_mailbox_maps = inline:{one@mbox.test=one/}
recipient_delimiter = +
virtual_alias_maps = inline:{
	good@alias.test=one@mbox.test, lost@alias.test=two@mbox.test, {some@alias.test=two@mbox.test one@mbox.test},
	{none@alias.test=two@mbox.test three@mbox.test}, out@alias.test=x@elsewhere.test, chain@alias.test=lost@alias.test,
	self@alias.test=self@alias.test, user@alias.test=nobody@localhost, loop@alias.test=loop2@alias.test,
	loop2@alias.test=loop@alias.test, syntax@alias.test=x@127.0.0.1, {half@alias.test=x@127.0.0.1 one@mbox.test},
	ext@alias.test=one+e@mbox.test, held@alias.test=x@held.test, postmaster@alias.test=postmaster@localhost}
transport_maps = inline:{ {held.test=retry:later} }
`
	const refused = "550 5.1.1 <%>: Recipient address rejected: User unknown in "
	tests := []struct{ main, in, want string }{
		{"", "good@alias.test", "ok"},
		{"", "lost@alias.test", refused + "virtual mailbox table"},
		{"smtpd_reject_unlisted_target = no", "lost@alias.test", "ok"},
		{"compatibility = postfix\ncompatibility_level = 3.6", "lost@alias.test", "ok"},
		{"", "some@alias.test", "ok"},
		{"", "none@alias.test", refused + "virtual mailbox table"},
		{"", "out@alias.test", "ok"},
		{"", "chain@alias.test", refused + "virtual mailbox table"},
		{"", "self@alias.test", refused + "virtual alias table"},
		{"", "user@alias.test", refused + "local recipient table"},
		{"", "loop@alias.test", "451 4.6.0 <%>: Alias expansion error"},
		{"", "syntax@alias.test", "550 5.1.3 <%>: Recipient address rejected: bad address syntax"},
		{"", "half@alias.test", "ok"},
		{"", "ext+ra@alias.test", "ok"},
		{"", "held@alias.test", "ok"},
		{"", "postmaster@alias.test", "ok"},
		{"recipient_bcc_maps = static:copy@elsewhere.test", "lost@alias.test", refused + "virtual mailbox table"},
		{"always_bcc = copy@elsewhere.test", "lost@alias.test", refused + "virtual mailbox table"},
		{"virtual_mailbox_maps = fail:x", "good@alias.test", "451 4.3.0 <%>: Temporary lookup failure"},
		{"relocated_maps = inline:{ {one@mbox.test=there} }", "good@alias.test", "550 5.1.1 <%>: Recipient address rejected: User has moved to there"},
		{"virtual_mailbox_maps =", "lost@alias.test", "ok"},
	}
	for _, tt := range tests {
		w := routetest.New(t, world+tt.main)
		if got, want := verdict(t, w, tt.in), shown(tt.want, tt.in); got != want {
			t.Errorf("%s: CheckRecipient(%q) = %s, want %s", tt.main, tt.in, got, want)
		}
	}
}

func TestAuthorized(t *testing.T) {
	tests := []struct {
		main, in string
		want     bool
		fails    bool
	}{
		{"", "john@localhost", true, false},
		{"", "x@alias.test", true, false},
		{"", "nobody@mbox.test", true, false},
		{"", "x@relay.test", true, false},
		{"", "x@elsewhere.test", false, false},
		{"", "x%elsewhere.test@mbox.test", false, false},
		{"", "elsewhere.test!x@mbox.test", false, false},
		{"", "x@elsewhere.test@localhost", false, false},
		{"", "x@mbox.test@localhost", true, false},
		{"allow_untrusted_routing = yes", "x%elsewhere.test@mbox.test", true, false},
		{"allow_percent_hack = no", "x%elsewhere.test@mbox.test", false, false},
		{"", "x@127.0.0.1", false, true},
		{"relay_domains = fail:x", "x@elsewhere.test", false, true},
		{"transport_maps = fail:x", "x@mbox.test", false, true},
	}
	for _, tt := range tests {
		w := routetest.New(t, recipients+tt.main)
		res, err := w.Router.ResolveGiven(context.Background(), address.Address{}, parse(t, tt.in), nil)
		got := err == nil && w.Router.Authorized(&res)
		if got != tt.want || (err != nil) != tt.fails {
			t.Errorf("%s: Authorized(%q) = %v, %v", tt.main, tt.in, got, err)
		}
	}
}

func TestCheckRecipientOfTheNullAddress(t *testing.T) {
	w := routetest.New(t, "mydestination = mx.example.test")
	if v := w.Router.CheckRecipient(context.Background(), address.Address{}, address.Address{}, nil); !v.Reply.IsZero() {
		t.Errorf("reply %s", v.Reply) // it is MAILER-DAEMON
	}
}
