package access_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"postern/internal/access"
	"postern/internal/address"
	"postern/internal/route/routetest"
)

// classes are the domains of the tests; every recipient of them exists.
const classes = `
virtual_mailbox_domains = mbox.test
virtual_mailbox_maps = inline:{one@mbox.test=x, two@mbox.test=x, bob@mbox.test=x}
virtual_alias_domains = alias.test
virtual_alias_maps = inline:{one@alias.test=one@mbox.test}
relay_domains = relay.test
recipient_delimiter = +
compatibility_level = 3.6
`

// world is a policy with what it was made of.
type world struct {
	*routetest.World
	policy *access.Policy
}

func newWorld(t testing.TB, main string) *world {
	t.Helper()
	w := routetest.New(t, classes+main)
	p, err := newPolicy(w)
	if err != nil {
		t.Fatal(err)
	}
	return &world{w, p}
}

func newPolicy(w *routetest.World) (*access.Policy, error) {
	return access.New(context.Background(), access.Options{
		Settings: w.Settings, Opener: w.Opener, Router: w.Router, Log: w.Log,
		Own: []netip.Addr{netip.MustParseAddr("192.0.2.10")},
	})
}

// request is a recipient of a client from outside.
func request(rcpt string) *access.Request {
	return &access.Request{
		Where: "RCPT", ClientName: "client.example", ClientAddr: netip.MustParseAddr("203.0.113.9"),
		Helo: "helo.example", Sender: address.Split("ann@sender.test"), HasSender: true,
		Recipient: address.Split(rcpt), HasRcpt: true,
	}
}

// answer shows a verdict on one line, "ok" when it permits.
func answer(v access.Verdict) string {
	if v.Hangup {
		return "hangup"
	}
	if v.Reply.IsZero() {
		return "ok"
	}
	return v.Reply.String()
}

func (w *world) rcpt(r *access.Request) string {
	return answer(w.policy.Rcpt(context.Background(), r, nil))
}

// rejected is the refusal of recipient one@mbox.test.
func rejected(code, text string) string {
	return code + " <one@mbox.test>: Recipient address rejected: " + text
}

func TestRelayControl(t *testing.T) {
	const denied = "454 4.7.1 <%s>: Relay access denied"
	tests := []struct{ name, main, in, want string }{
		{"mailbox", "", "one@mbox.test", "ok"},
		{"unknown mailbox", "", "who@mbox.test", "550 5.1.1 <who@mbox.test>: Recipient address rejected: User unknown in virtual mailbox table"},
		{"default denial", "", "x@other.test", denied},
		{"permanent denial", "smtpd_relay_restrictions = reject_unauth_destination", "x@other.test", "554 5.7.1 <%s>: Relay access denied"},
		{"another code", "relay_domains_reject_code = 551", "x@other.test", "451 4.7.1 <%s>: Relay access denied"},
		{"old name", "smtpd_relay_restrictions = check_relay_domains", "x@other.test", "554 5.7.1 <%s>: Relay access denied"},
		{"percent", "", "x%other.test@localhost", denied},
		{"percent at a mailbox domain", "", "x%other.test@mbox.test", denied},
		{"bang", "", "other.test!x@mbox.test", denied},
		{"two ats", "", "x@other.test@localhost", denied},
		{"untrusted routing", "allow_untrusted_routing = yes\nvirtual_mailbox_maps =", "x%other.test@mbox.test", "ok"},
		{"bad syntax", "", "x@127.0.0.1", "501 5.1.3 Bad recipient address syntax"},
		{"bad syntax before the lists", "smtpd_client_restrictions = reject", "x@127.0.0.1", "501 5.1.3 Bad recipient address syntax"},
		{"a list fails", "relay_domains = fail:x", "x@other.test", "451 4.3.0 <%s>: Temporary lookup failure"},
		{"permit_auth_destination", "smtpd_relay_restrictions = permit_auth_destination, reject", "one@mbox.test", "ok"},
		{"permit_auth_destination, foreign", "smtpd_relay_restrictions = permit_auth_destination, reject", "x@other.test", "554 5.7.1 <%s>: Recipient address rejected: Access denied"},
		{"permit_auth_destination, a list fails", "relay_domains = fail:x\nsmtpd_relay_restrictions = permit_auth_destination, reject", "x@other.test", "451 4.3.0 <%s>: Temporary lookup failure"},
		{"postmaster", "smtpd_client_restrictions = reject", "PostMaster", "ok"},
		{"postmaster with a domain", "smtpd_client_restrictions = reject", "postmaster@mbox.test", "554 5.7.1 <client.example[203.0.113.9]>: Client host rejected: Access denied"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := strings.ReplaceAll(tt.want, "%s", tt.in)
			if got := newWorld(t, tt.main).rcpt(request(tt.in)); got != want {
				t.Errorf("RCPT %s\n got %s\nwant %s", tt.in, got, want)
			}
		})
	}
}

func TestWhoMayRelay(t *testing.T) {
	const in, denied = "x@other.test", "454 4.7.1 <x@other.test>: Relay access denied"
	from := func(ip string) *access.Request {
		r := request(in)
		r.ClientAddr = netip.MustParseAddr(ip)
		return r
	}
	login := request(in)
	login.SASLUser = "ann"
	named := request(in)
	named.ClientName = "mail.friend.test"
	tests := []struct {
		name, main string
		req        *access.Request
		want       string
	}{
		{"mynetworks", "", from("127.0.0.1"), "ok"},
		{"mynetworks, network", "mynetworks = 203.0.113.0/24", request(in), "ok"},
		{"mynetworks, IPv6", "mynetworks = [2001:db8::]/32", from("2001:db8::1"), "ok"},
		{"mynetworks, mapped address", "", from("::ffff:127.0.0.1"), "ok"},
		{"mynetworks, exception", "mynetworks = !203.0.113.9, 203.0.113.0/24", request(in), denied},
		{"mynetworks, name", "mynetworks = friend.test", named, "ok"},
		{"outside", "", request(in), denied},
		{"mynetworks fails", "mynetworks = fail:x", request(in), "451 4.3.0 <x@other.test>: Temporary lookup failure"},
		{"logged in", "", login, "ok"},
		{"interface of ours", "smtpd_relay_restrictions = permit_inet_interfaces, defer_unauth_destination", from("192.0.2.10"), "ok"},
		{"not an interface of ours", "smtpd_relay_restrictions = permit_inet_interfaces, defer_unauth_destination", request(in), denied},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := newWorld(t, tt.main).rcpt(tt.req); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestRestrictions asks each restriction about one@mbox.test, in the recipient
// list unless main says otherwise.
func TestRestrictions(t *testing.T) {
	tests := []struct {
		name, main string
		change     func(*access.Request)
		want       string
	}{
		{"permit", "smtpd_recipient_restrictions = permit, reject", nil, "ok"},
		{"reject", "smtpd_recipient_restrictions = reject", nil, rejected("554 5.7.1", "Access denied")},
		{"reject in capitals", "smtpd_recipient_restrictions = REJECT", nil, rejected("554 5.7.1", "Access denied")},
		{"reject, code", "smtpd_recipient_restrictions = reject\nreject_code = 521", nil, rejected("521 5.7.1", "Access denied")},
		{"defer", "smtpd_recipient_restrictions = defer", nil, rejected("450 4.3.2", "Try again later")},
		{"defer, code", "smtpd_recipient_restrictions = defer\ndefer_code = 451", nil, rejected("451 4.3.2", "Try again later")},
		{"client list", "smtpd_client_restrictions = reject", nil, "554 5.7.1 <client.example[203.0.113.9]>: Client host rejected: Access denied"},
		{"helo list", "smtpd_helo_restrictions = reject", nil, "554 5.7.1 <helo.example>: Helo command rejected: Access denied"},
		{"sender list", "smtpd_sender_restrictions = reject", nil, "554 5.7.1 <ann@sender.test>: Sender address rejected: Access denied"},
		{"relay list", "smtpd_relay_restrictions = reject", nil, rejected("554 5.7.1", "Access denied")},
		{"permit ends its own list only", "smtpd_client_restrictions = permit\nsmtpd_recipient_restrictions = reject", nil, rejected("554 5.7.1", "Access denied")},
		{"relay before recipient", "smtpd_relay_restrictions = reject\nsmtpd_recipient_restrictions = defer", nil, rejected("554 5.7.1", "Access denied")},
		{"recipient before relay", "smtpd_relay_before_recipient_restrictions = no\nsmtpd_relay_restrictions = reject\nsmtpd_recipient_restrictions = defer", nil, rejected("450 4.3.2", "Try again later")},
		{"braces", "smtpd_recipient_restrictions = { reject_unlisted_recipient, reject }", nil, rejected("554 5.7.1", "Access denied")},

		{"non-fqdn sender", "smtpd_sender_restrictions = reject_non_fqdn_sender", sender("ann@host"), "504 5.5.2 <ann@host>: Sender address rejected: need fully-qualified address"},
		{"sender without domain", "smtpd_sender_restrictions = reject_non_fqdn_sender", sender("ann"), "504 5.5.2 <ann>: Sender address rejected: need fully-qualified address"},
		{"fqdn sender", "smtpd_sender_restrictions = reject_non_fqdn_sender", nil, "ok"},
		{"null sender", "smtpd_sender_restrictions = reject_non_fqdn_sender", sender(""), "ok"},
		{"literal sender", "smtpd_sender_restrictions = reject_non_fqdn_sender", sender("ann@[192.0.2.1]"), "ok"},
		{"non-fqdn code", "smtpd_sender_restrictions = reject_non_fqdn_sender\nnon_fqdn_reject_code = 450", sender("ann"), "450 4.5.2 <ann>: Sender address rejected: need fully-qualified address"},
		{"non-fqdn recipient", "smtpd_recipient_restrictions = reject_non_fqdn_recipient\nmydestination = host", recipient("john@host"), "504 5.5.2 <john@host>: Recipient address rejected: need fully-qualified address"},
		{"fqdn recipient", "smtpd_recipient_restrictions = reject_non_fqdn_recipient", nil, "ok"},

		{"invalid helo", "smtpd_helo_restrictions = reject_invalid_helo_hostname", helo("a..b"), "501 5.5.2 <a..b>: Helo command rejected: Invalid name"},
		{"invalid helo, old name", "smtpd_helo_restrictions = reject_invalid_hostname", helo("a b"), "501 5.5.2 <a b>: Helo command rejected: Invalid name"},
		{"invalid helo literal", "smtpd_helo_restrictions = reject_invalid_helo_hostname", helo("[1.2.3]"), "501 5.5.2 <[1.2.3]>: Helo command rejected: invalid ip address"},
		{"helo literal", "smtpd_helo_restrictions = reject_invalid_helo_hostname", helo("[203.0.113.9]"), "ok"},
		{"helo address", "smtpd_helo_restrictions = reject_invalid_helo_hostname", helo("203.0.113.9"), "ok"},
		{"no helo", "smtpd_helo_restrictions = reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname", helo(""), "ok"},
		{"short helo", "smtpd_helo_restrictions = reject_invalid_helo_hostname", helo("pc"), "ok"},
		{"non-fqdn helo", "smtpd_helo_restrictions = reject_non_fqdn_helo_hostname", helo("pc"), "504 5.5.2 <pc>: Helo command rejected: need fully-qualified hostname"},
		{"non-fqdn helo, old name", "smtpd_helo_restrictions = reject_non_fqdn_hostname", helo("pc"), "504 5.5.2 <pc>: Helo command rejected: need fully-qualified hostname"},
		{"fqdn helo", "smtpd_helo_restrictions = reject_non_fqdn_helo_hostname", helo("pc.test."), "ok"},

		{"unlisted recipient, early", "smtpd_recipient_restrictions = reject_unlisted_recipient, reject", recipient("who@mbox.test"), "550 5.1.1 <who@mbox.test>: Recipient address rejected: User unknown in virtual mailbox table"},
		{"unlisted recipient, off", "smtpd_reject_unlisted_recipient = no", recipient("who@mbox.test"), "ok"},
		{"unlisted recipient, overridden", "receive_override_options = no_unknown_recipient_checks", recipient("who@mbox.test"), "ok"},
		{"unlisted recipient, from our network", "mynetworks = 203.0.113.9", recipient("who@mbox.test"), "550 5.1.1 <who@mbox.test>: Recipient address rejected: User unknown in virtual mailbox table"},
		{"unlisted sender", "smtpd_sender_restrictions = reject_unlisted_sender", sender("who@mbox.test"), "550 5.1.0 <who@mbox.test>: Sender address rejected: User unknown in virtual mailbox table"},
		{"unlisted sender, parameter", "smtpd_reject_unlisted_sender = yes", sender("who@alias.test"), "550 5.1.7 <who@alias.test>: Sender address rejected: User unknown in virtual alias table"},
		{"unlisted sender before relay control", "smtpd_reject_unlisted_sender = yes", both("who@mbox.test", "x@other.test"), "550 5.1.0 <who@mbox.test>: Sender address rejected: User unknown in virtual mailbox table"},
		{"listed sender", "smtpd_reject_unlisted_sender = yes", sender("two@mbox.test"), "ok"},
		{"foreign sender", "smtpd_reject_unlisted_sender = yes", nil, "ok"},
		{"null sender is listed", "smtpd_reject_unlisted_sender = yes", sender(""), "ok"},

		{"bounce to one", "smtpd_recipient_restrictions = reject_multi_recipient_bounce", sender(""), "ok"},
		{"bounce to two", "smtpd_recipient_restrictions = reject_multi_recipient_bounce", func(r *access.Request) { sender("")(r); r.Recipients = 1 }, rejected("550 5.5.3", "Multi-recipient bounce")},
		{"mail to two", "smtpd_recipient_restrictions = reject_multi_recipient_bounce", func(r *access.Request) { r.Recipients = 1 }, "ok"},
		{"plain text", "smtpd_recipient_restrictions = reject_plaintext_session", nil, "450 4.7.1 Session encryption is required"},
		{"plain text, code", "plaintext_reject_code = 530\nsmtpd_recipient_restrictions = reject_plaintext_session", nil, "530 5.7.1 Session encryption is required"},
		{"encrypted", "smtpd_recipient_restrictions = reject_plaintext_session", func(r *access.Request) { r.TLS = true }, "ok"},
		{"pipelining is smtpd's", "smtpd_recipient_restrictions = reject_unauth_pipelining", nil, "ok"},

		{"defer_if_permit", "smtpd_recipient_restrictions = defer_if_permit", nil, rejected("450 4.7.0", "defer_if_permit requested")},
		{"defer_if_permit in an early list", "smtpd_helo_restrictions = defer_if_permit", nil, "450 4.7.0 <helo.example>: Helo command rejected: defer_if_permit requested"},
		{"defer_if_permit, permit", "smtpd_recipient_restrictions = defer_if_permit, permit", nil, rejected("450 4.7.0", "defer_if_permit requested")},
		{"defer_if_permit, reject", "smtpd_recipient_restrictions = defer_if_permit, reject", nil, rejected("554 5.7.1", "Access denied")},
		{"the first defer_if_permit counts", "smtpd_client_restrictions = defer_if_permit\nsmtpd_recipient_restrictions = defer_if_permit", nil, "450 4.7.0 <client.example[203.0.113.9]>: Client host rejected: defer_if_permit requested"},
		{"defer_if_permit before the recipient is looked up", "smtpd_recipient_restrictions = defer_if_permit", recipient("who@mbox.test"), "450 4.7.0 <who@mbox.test>: Recipient address rejected: defer_if_permit requested"},
		{"defer_if_reject", "smtpd_recipient_restrictions = defer_if_reject, reject", nil, rejected("450 4.7.0", "defer_if_reject requested")},
		{"defer_if_reject, permit", "smtpd_recipient_restrictions = defer_if_reject", nil, "ok"},
		{"defer_if_reject, a deferral", "smtpd_recipient_restrictions = defer_if_reject, defer", nil, rejected("450 4.3.2", "Try again later")},
		{"defer_if_reject and an unknown recipient", "smtpd_recipient_restrictions = defer_if_reject", recipient("who@mbox.test"), "450 4.7.0 <who@mbox.test>: Recipient address rejected: defer_if_reject requested"},

		{"class", "smtpd_restriction_classes = strict\nstrict = reject\nsmtpd_recipient_restrictions = strict", nil, rejected("554 5.7.1", "Access denied")},
		{"class in capitals", "smtpd_restriction_classes = Strict\nStrict = reject\nsmtpd_recipient_restrictions = STRICT", nil, rejected("554 5.7.1", "Access denied")},
		{"class goes on", "smtpd_restriction_classes = a\na = reject_non_fqdn_sender\nsmtpd_recipient_restrictions = a, reject", nil, rejected("554 5.7.1", "Access denied")},
		{"class permits", "smtpd_restriction_classes = a\na = permit\nsmtpd_recipient_restrictions = a, reject", nil, "ok"},
		{"class in a class", "smtpd_restriction_classes = a b\na = b\nb = reject\nsmtpd_recipient_restrictions = a", nil, rejected("554 5.7.1", "Access denied")},
		{"class in itself", "smtpd_restriction_classes = a\na = a\nsmtpd_recipient_restrictions = a", nil, "451 4.3.5 Server configuration error"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := request("one@mbox.test")
			if tt.change != nil {
				tt.change(r)
			}
			if got := newWorld(t, tt.main).rcpt(r); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func sender(text string) func(*access.Request) {
	return func(r *access.Request) { r.Sender = address.Split(text) }
}

func recipient(text string) func(*access.Request) {
	return func(r *access.Request) { r.Recipient = address.Split(text) }
}

func both(from, to string) func(*access.Request) {
	return func(r *access.Request) { sender(from)(r); recipient(to)(r) }
}

func helo(text string) func(*access.Request) {
	return func(r *access.Request) { r.Helo = text }
}

func TestWarnIfReject(t *testing.T) {
	tests := []struct{ list, want, note string }{
		{"warn_if_reject reject", "ok", "reject_warning " + rejected("554 5.7.1", "Access denied")},
		{"warn_if_reject reject, defer", rejected("450 4.3.2", "Try again later"), "reject_warning " + rejected("554 5.7.1", "Access denied")},
		{"warn_if_reject permit, reject", "ok", ""},
		{"warn_if_reject check_recipient_access inline:{ {one@mbox.test=DEFER_IF_PERMIT hm} }", "ok", "reject_warning " + rejected("450 4.7.1", "hm")},
		{"warn_if_reject defer_if_reject, reject", rejected("450 4.7.0", "defer_if_reject requested"), ""},
		{"warn_if_reject check_recipient_access inline:{ {one@mbox.test=reject} }", "ok", "reject_warning " + rejected("554 5.7.1", "Access denied")},
		{"check_recipient_access inline:{ {one@mbox.test=warn_if_reject reject, defer} }", rejected("450 4.3.2", "Try again later"), "reject_warning " + rejected("554 5.7.1", "Access denied")},
		{"reject_unlisted_sender, warn_if_reject", "ok", ""},
	}
	for _, tt := range tests {
		w := newWorld(t, "smtpd_recipient_restrictions = "+tt.list)
		v := w.policy.Rcpt(context.Background(), request("one@mbox.test"), nil)
		if got := answer(v); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.list, got, tt.want)
		}
		if got := notes(v); got != tt.note {
			t.Errorf("%s: notes %q, want %q", tt.list, got, tt.note)
		}
	}
}

func notes(v access.Verdict) string {
	var out []string
	for _, n := range v.Notes {
		out = append(out, n.Action+" "+n.Text)
	}
	return strings.Join(out, "; ")
}

// TestStages: which list is asked at which command.
func TestStages(t *testing.T) {
	const main = `smtpd_client_restrictions = check_client_access inline:{ {203.0.113.9=REJECT c} }
smtpd_helo_restrictions = check_helo_access inline:{ {helo.example=REJECT h} }
smtpd_sender_restrictions = check_sender_access inline:{ {sender.test=REJECT s} }
smtpd_data_restrictions = reject
smtpd_end_of_data_restrictions = defer
`
	ctx := context.Background()
	r := request("one@mbox.test")
	const client = "554 5.7.1 <client.example[203.0.113.9]>: Client host rejected: c"
	for _, tt := range []struct{ main, connect, helo, mail, rcpt string }{
		{main, "ok", "ok", "ok", client},
		{main + "smtpd_delay_reject = no", client, "554 5.7.1 <helo.example>: Helo command rejected: h", "554 5.7.1 <ann@sender.test>: Sender address rejected: s", "ok"},
	} {
		w := newWorld(t, tt.main)
		for _, stage := range []struct{ name, got, want string }{
			{"connect", answer(w.policy.Connect(ctx, r)), tt.connect},
			{"helo", answer(w.policy.Helo(ctx, r)), tt.helo},
			{"mail", answer(w.policy.Mail(ctx, r)), tt.mail},
			{"rcpt", w.rcpt(r), tt.rcpt},
			{"data", answer(w.policy.Data(ctx, r)), "554 5.7.1 <DATA>: Data command rejected: Access denied"},
			{"end", answer(w.policy.EndOfData(ctx, r)), "450 4.3.2 <END-OF-MESSAGE>: End-of-data rejected: Try again later"},
		} {
			if stage.got != stage.want {
				t.Errorf("%s: got %s, want %s", stage.name, stage.got, stage.want)
			}
		}
	}
}

func TestSenderSyntax(t *testing.T) {
	w := newWorld(t, "")
	for in, want := range map[string]string{
		"ann@sender.test": "ok", "": "ok", "ann": "ok", "ann@127.0.0.1": "501 5.1.7 Bad sender address syntax",
		"-x@sender.test": "501 5.1.7 Bad sender address syntax", "ann@a..test": "501 5.1.7 Bad sender address syntax",
	} {
		r := request("one@mbox.test")
		r.Sender, r.HasRcpt = address.Split(in), false
		if got := answer(w.policy.Mail(context.Background(), r)); got != want {
			t.Errorf("MAIL FROM:<%s>: %s, want %s", in, got, want)
		}
	}
}

// TestUnlistedSenderWithoutDelay: it is refused at MAIL.
func TestUnlistedSenderWithoutDelay(t *testing.T) {
	w := newWorld(t, "smtpd_delay_reject = no\nsmtpd_reject_unlisted_sender = yes")
	r := request("one@mbox.test")
	r.Sender = address.Split("who@mbox.test")
	want := "550 5.1.0 <who@mbox.test>: Sender address rejected: User unknown in virtual mailbox table"
	if got := answer(w.policy.Mail(context.Background(), r)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
