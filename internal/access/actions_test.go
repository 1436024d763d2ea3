package access_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"postern/internal/access"
	"postern/internal/address"
)

// TestActions are the results of access(5), each found by one@mbox.test in
// check_recipient_access.
func TestActions(t *testing.T) {
	const misconfigured = "451 4.3.5 Server configuration error"
	tests := []struct{ value, want, effect string }{
		{"OK", "ok", ""},
		{"ok", "ok", ""},
		{"RELAY", "ok", ""},
		{"550", "ok", ""},
		{"1", "ok", ""},
		{"DUNNO", "END", ""},
		{"REJECT", rejected("554 5.7.1", "Access denied"), ""},
		{"reject", rejected("554 5.7.1", "Access denied"), ""},
		{"REJECT go away", rejected("554 5.7.1", "go away"), ""},
		{"REJECT  go  away ", rejected("554 5.7.1", "go  away"), ""},
		{"REJECT\tgo away", rejected("554 5.7.1", "go away"), ""},
		{"REJECT 5.1.8 go", rejected("554 5.1.2", "go"), ""},
		{"REJECT 5.1.8", rejected("554 5.1.2", "Access denied"), ""},
		{"REJECT 4.5.6 go", rejected("554 5.5.6", "go"), ""},
		{"REJECT 5.7.9999 go", rejected("554 5.7.1", "5.7.9999 go"), ""},
		{"DEFER", rejected("450 4.7.1", "Access denied"), ""},
		{"DEFER 4.2.2 later", rejected("450 4.2.2", "later"), ""},
		{"450 text", rejected("450 4.7.1", "text"), ""},
		{"550 text", rejected("550 5.7.1", "text"), ""},
		{"599 5.1.8 dns", rejected("599 5.1.2", "dns"), ""},
		{"421 busy", rejected("421 4.7.1", "busy"), ""},
		{"250 fine", misconfigured, ""},
		{"600 text", misconfigured, ""},
		{"40 text", misconfigured, ""},
		{"5500 text", misconfigured, ""},
		{"DEFER_IF_PERMIT", "END", ""},
		{"DEFER_IF_PERMIT 5.1.8 dd", "END", ""},
		{"DEFER_IF_REJECT", "END", ""},
		{"DEFER_IF_REJECT 4.2.1 hm", "END", ""},
		{"HANGUP", "hangup", ""},
		{"INFO hello", "END", "info hello"},
		{"WARN hello", "END", "warn hello"},
		{"DISCARD", "ok", "DISCARD"},
		{"DISCARD why", "ok", "DISCARD why"},
		{"REDIRECT a@b.test", "END", "REDIRECT a@b.test"},
		{"REDIRECT nobody", "END", ""},
		{"REDIRECT", "END", ""},
		{"BCC a@b.test", "END", "BCC a@b.test"},
		{"BCC nobody", "END", ""},
		{"PREPEND X-A: b c", "END", "PREPEND X-A: b c"},
		{"PREPEND nothing", "END", ""},
		{"PREPEND", "END", ""},
		{"PREPEND : x", "END", ""},
		{"HOLD", "END", "HOLD"},
		{"hold why", "END", "HOLD why"},
		{"FILTER smtp:[x]", misconfigured, ""},

		{"permit", "ok", ""},
		{"permit_mynetworks, reject", rejected("554 5.7.1", "Access denied"), ""},
		{"reject_unauth_destination, permit", "ok", ""},
		{"reject_invalid_hostname, reject", rejected("554 5.7.1", "Access denied"), ""},
		{"defer_if_permit", "END", ""},
		{"reject_unlisted_recipient", "END", ""},
		{"strict", rejected("554 5.7.1", "from the class"), ""},
		{"STRICT", rejected("554 5.7.1", "from the class"), ""},
		{"permit_mynetworks, lax", "END", ""},
		{"endless", misconfigured, ""},
		{"foo bar", misconfigured, ""},
		{"permit_mynetworks, foo", misconfigured, ""},
		{"check_recipient_access hash:/x", misconfigured, ""},
		{"reject_rbl_client zen.example", misconfigured, ""},
	}
	for _, tt := range tests {
		t.Run(tt.value, func(t *testing.T) {
			w := newWorld(t, `smtpd_restriction_classes = strict lax endless
strict = check_recipient_access inline:{ {one@mbox.test=REJECT from the class} }
lax = reject_non_fqdn_sender
endless = check_recipient_access inline:{ {one@mbox.test=endless} }
smtpd_recipient_restrictions = check_recipient_access inline:{ {one@mbox.test=`+tt.value+`} },
	check_recipient_access inline:{ {one@mbox.test=451 4.0.0 END} }
`)
			want := tt.want
			if want == "END" {
				want = rejected("451 4.0.0", "END")
			}
			v := w.policy.Rcpt(context.Background(), request("one@mbox.test"), nil)
			if got := answer(v); got != want {
				t.Errorf("got  %s\nwant %s\nlog %s", got, want, w.Log.Lines())
			}
			if got := effects(v); got != tt.effect {
				t.Errorf("effects %q, want %q", got, tt.effect)
			}
		})
	}
}

// TestActionNotes: the log says what an action did, in Postfix's words.
func TestActionNotes(t *testing.T) {
	for value, want := range map[string]string{
		"HOLD":              "hold: <one@mbox.test>: Recipient address triggers HOLD action",
		"HOLD some reason":  "hold: <one@mbox.test>: Recipient address some reason",
		"DISCARD":           "discard: <one@mbox.test>: Recipient address triggers DISCARD action",
		"DISCARD a reason":  "discard: <one@mbox.test>: Recipient address a reason",
		"REDIRECT a@b.test": "redirect: <one@mbox.test>: Recipient address triggers REDIRECT a@b.test",
		"BCC a@b.test":      "bcc: <one@mbox.test>: Recipient address triggers BCC a@b.test",
	} {
		w := newWorld(t, "smtpd_recipient_restrictions = check_recipient_access inline:{ {one@mbox.test="+value+"} }, reject\n")
		v := w.policy.Rcpt(context.Background(), request("one@mbox.test"), nil)
		if len(v.Notes) != 1 || v.Notes[0].Action+": "+v.Notes[0].Text != want {
			t.Errorf("%s: notes %q, want %q", value, v.Notes, want)
		}
	}
}

// TestEtrn: the lists of client and HELO are asked before that of the command.
func TestEtrn(t *testing.T) {
	const main = `smtpd_etrn_restrictions = check_etrn_access inline:{ {relay.test=REJECT no way}, {sub.relay.test=OK},
	{late.test=DEFER}, {held.test=HOLD} }, permit_mynetworks, reject
smtpd_helo_restrictions = check_helo_access inline:{ {bad.test=REJECT bad helo} }
relay_domains = relay.test
`
	for _, tt := range []struct{ client, helo, domain, extra, want string }{
		{"192.0.2.1", "x.test", "relay.test", "", "554 5.7.1 <relay.test>: Etrn command rejected: no way"},
		{"192.0.2.1", "x.test", "other.relay.test", "", "554 5.7.1 <other.relay.test>: Etrn command rejected: no way"},
		{"192.0.2.1", "x.test", "sub.relay.test", "", "ok"},
		{"192.0.2.1", "x.test", "late.test", "", "450 4.7.1 <late.test>: Etrn command rejected: Access denied"},
		{"192.0.2.1", "x.test", "other.test", "", "554 5.7.1 <other.test>: Etrn command rejected: Access denied"},
		{"127.0.0.1", "x.test", "other.test", "", "ok"},
		{"127.0.0.1", "x.test", "held.test", "", "ok"},
		{"192.0.2.1", "bad.test", "sub.relay.test", "", "554 5.7.1 <bad.test>: Helo command rejected: bad helo"},
		{"192.0.2.1", "bad.test", "sub.relay.test", "smtpd_delay_reject = no\n", "ok"},
	} {
		w := newWorld(t, main+"mynetworks = 127.0.0.0/8\n"+tt.extra)
		v := w.policy.Etrn(context.Background(), &access.Request{
			Where: "ETRN", ClientName: "unknown", ClientAddr: netip.MustParseAddr(tt.client), Helo: tt.helo, Domain: tt.domain,
		})
		if got := answer(v); got != tt.want || len(v.Actions) > 0 {
			t.Errorf("ETRN %s by %s (%s): %s %v, want %s", tt.domain, tt.client, tt.helo, got, v.Actions, tt.want)
		}
	}
}

// TestPendingActions are those that wait for the outcome.
func TestPendingActions(t *testing.T) {
	tests := []struct{ value, then, want string }{
		{"DEFER_IF_PERMIT", "", rejected("450 4.7.1", "Service unavailable")},
		{"defer_if_permit", "", rejected("450 4.7.1", "Service unavailable")},
		{"DEFER_IF_PERMIT 5.1.8 dd", "", rejected("450 4.1.2", "dd")},
		{"DEFER_IF_PERMIT dd", "permit", rejected("450 4.7.1", "dd")},
		{"DEFER_IF_PERMIT dd", "reject", rejected("554 5.7.1", "Access denied")},
		{"DEFER_IF_REJECT", "", "ok"},
		{"DEFER_IF_REJECT", "reject", rejected("450 4.7.1", "Service unavailable")},
		{"DEFER_IF_REJECT 4.2.1 hm", "reject", rejected("450 4.2.1", "hm")},
		{"DEFER_IF_REJECT hm", "defer", rejected("450 4.3.2", "Try again later")},
	}
	for _, tt := range tests {
		w := newWorld(t, "smtpd_recipient_restrictions = check_recipient_access inline:{ {one@mbox.test="+tt.value+"} }, "+tt.then)
		if got := w.rcpt(request("one@mbox.test")); got != tt.want {
			t.Errorf("%s, %s: got %s, want %s", tt.value, tt.then, got, tt.want)
		}
	}
}

// effects are the actions, and the notes but those that only repeat an action.
func effects(v access.Verdict) string {
	var out []string
	for _, a := range v.Actions {
		out = append(out, strings.TrimSpace(a.Verb+" "+a.Text))
	}
	for _, n := range v.Notes {
		if n.Action == "info" || n.Action == "warn" {
			out = append(out, n.Action+" "+strings.TrimPrefix(n.Text, "<one@mbox.test>: Recipient address "))
		}
	}
	return strings.Join(out, "; ")
}

func TestCodesOfAccessTables(t *testing.T) {
	w := newWorld(t, `access_map_reject_code = 521
access_map_defer_code = 451
smtpd_recipient_restrictions = check_recipient_access inline:{one@mbox.test=REJECT, two@mbox.test=DEFER}
`)
	if got, want := w.rcpt(request("one@mbox.test")), rejected("521 5.7.1", "Access denied"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := w.rcpt(request("two@mbox.test")), "451 4.7.1 <two@mbox.test>: Recipient address rejected: Access denied"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestFitDSN is the repair of x.1.y, as it depends on what is refused.
func TestFitDSN(t *testing.T) {
	client := func(dsn string) string {
		w := newWorld(t, "smtpd_client_restrictions = check_client_access inline:{ {203.0.113.9=REJECT "+dsn+" x} }")
		return w.rcpt(request("one@mbox.test"))[4:9]
	}
	from := func(dsn string) string {
		w := newWorld(t, "smtpd_sender_restrictions = check_sender_access inline:{ {sender.test=REJECT "+dsn+" x} }")
		return w.rcpt(request("one@mbox.test"))[4:9]
	}
	to := func(dsn string) string {
		w := newWorld(t, "smtpd_recipient_restrictions = check_recipient_access inline:{ {mbox.test=REJECT "+dsn+" x} }")
		return w.rcpt(request("one@mbox.test"))[4:9]
	}
	for _, tt := range []struct{ dsn, sender, recipient, client string }{
		{"5.1.0", "5.1.0", "5.1.0", "5.0.0"},
		{"5.1.1", "5.1.7", "5.1.1", "5.0.0"},
		{"5.1.2", "5.1.8", "5.1.2", "5.0.0"},
		{"5.1.3", "5.1.7", "5.1.3", "5.0.0"},
		{"5.1.4", "5.1.7", "5.1.4", "5.0.0"},
		{"5.1.5", "5.1.0", "5.1.5", "5.0.0"},
		{"5.1.6", "5.1.7", "5.1.6", "5.0.0"},
		{"5.1.7", "5.1.7", "5.1.3", "5.0.0"},
		{"5.1.8", "5.1.8", "5.1.2", "5.0.0"},
		{"5.1.9", "5.1.0", "5.1.0", "5.0.0"},
		{"5.1.10", "5.1.0", "5.1.0", "5.0.0"},
		{"4.1.1", "5.1.7", "5.1.1", "5.0.0"},
		{"5.2.1", "5.2.1", "5.2.1", "5.2.1"},
		{"4.7.1", "5.7.1", "5.7.1", "5.7.1"},
	} {
		if got := [3]string{from(tt.dsn), to(tt.dsn), client(tt.dsn)}; got != [3]string{tt.sender, tt.recipient, tt.client} {
			t.Errorf("%s: %v, want %s %s %s", tt.dsn, got, tt.sender, tt.recipient, tt.client)
		}
	}
}

// TestKeys: what is looked up in the four kinds of access tables. The row that
// is found refuses with its own key.
func TestKeys(t *testing.T) {
	named := func(r *access.Request) { r.ClientName = "a.b.client.test" }
	ipv6 := func(r *access.Request) { r.ClientAddr = netip.MustParseAddr("2001:db8:1::5") }
	tests := []struct {
		kind, key string
		change    func(*access.Request)
		found     bool
	}{
		{"client", "203.0.113.9", nil, true},
		{"client", "203.0.113", nil, true},
		{"client", "203.0", nil, true},
		{"client", "203", nil, true},
		{"client", "client.example", nil, true},
		{"client", "example", nil, true},
		{"client", ".example", nil, false},
		{"client", "client.test", named, true},
		{"client", "2001:db8:1::5", ipv6, true},
		{"client", "2001:db8:1", ipv6, true},
		{"client", "2001:db8", ipv6, true},
		{"helo", "helo.example", nil, true},
		{"helo", "example", nil, true},
		{"helo", "203.0.113.9", nil, false},
		{"sender", "ann@sender.test", nil, true},
		{"sender", "sender.test", nil, true},
		{"sender", "test", nil, true},
		{"sender", "ann@", nil, true},
		{"sender", "ann+tag@sender.test", sender("ann+tag@sender.test"), true},
		{"sender", "ann@sender.test", sender("ann+tag@sender.test"), true},
		{"sender", "ann+tag@", sender("ann+tag@sender.test"), true},
		{"sender", "ann@", sender("ann+tag@sender.test"), true},
		{"sender", "ann@sender.test", sender("ANN@Sender.test"), true},
		{"sender", "<>", sender(""), true},
		{"sender", "ann@mx.example.test", sender("ann"), true},
		{"sender", "ann@sender.test", sender("ann%sender.test@localhost"), true},
		{"sender", "localhost", sender("ann%sender.test@localhost"), false},
		{"recipient", "one@mbox.test", nil, true},
		{"recipient", "mbox.test", nil, true},
		{"recipient", "@mbox.test", nil, false},
		{"recipient", "one@mbox.test", recipient("one@mbox.test@localhost"), true},
	}
	for _, tt := range tests {
		w := newWorld(t, "smtpd_recipient_restrictions = check_"+tt.kind+"_access inline:{ {"+tt.key+"=REJECT found} }")
		r := request("one@mbox.test")
		if tt.change != nil {
			tt.change(r)
		}
		if got := strings.HasSuffix(w.rcpt(r), "rejected: found"); got != tt.found {
			t.Errorf("check_%s_access, row %s: found = %v, want %v (%s)", tt.kind, tt.key, got, tt.found, w.rcpt(r))
		}
	}
}

func TestKeysWithDots(t *testing.T) {
	const main = "parent_domain_matches_subdomains =\nsmtpd_recipient_restrictions = check_helo_access inline:{ {%=REJECT found} }"
	for key, found := range map[string]bool{".example": true, "example": false} {
		w := newWorld(t, strings.Replace(main, "%", key, 1))
		if got := strings.HasSuffix(w.rcpt(request("one@mbox.test")), "found"); got != found {
			t.Errorf("row %s: found = %v", key, got)
		}
	}
}

func TestNullSenderKey(t *testing.T) {
	w := newWorld(t, "smtpd_null_access_lookup_key = nobody\nsmtpd_sender_restrictions = check_sender_access inline:{ {nobody=REJECT x} }")
	r := request("one@mbox.test")
	r.Sender = address.Address{}
	if got, want := w.rcpt(r), "554 5.7.1 <>: Sender address rejected: x"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestDunnoEndsTheSearch: shorter keys are not asked after DUNNO.
func TestDunnoEndsTheSearch(t *testing.T) {
	w := newWorld(t, "smtpd_recipient_restrictions = check_recipient_access inline:{one@mbox.test=DUNNO, mbox.test=REJECT}")
	if got := w.rcpt(request("one@mbox.test")); got != "ok" {
		t.Error(got)
	}
}

// TestRoutedRecipient: a row never permits a recipient that wants to be sent on.
func TestRoutedRecipient(t *testing.T) {
	const main = "smtpd_relay_restrictions = check_recipient_access inline:{ mbox.test=OK, other.test=OK }, reject_unauth_destination\nvirtual_mailbox_maps =\n"
	for _, tt := range []struct{ main, in, want string }{
		{"", "x@other.test", "ok"},
		{"", "x%other.test@mbox.test", "554 5.7.1 <x%other.test@mbox.test>: Relay access denied"},
		{"allow_untrusted_routing = yes", "x%other.test@mbox.test", "ok"},
		{"", "x%other.test@localhost", "ok"}, // that is x@other.test
		{"", "x%y.test@other.test", "554 5.7.1 <x%y.test@other.test>: Relay access denied"},
	} {
		if got := newWorld(t, main+tt.main).rcpt(request(tt.in)); got != tt.want {
			t.Errorf("%s %s: got %s, want %s", tt.main, tt.in, got, tt.want)
		}
	}
	t.Run("a sender is not affected", func(t *testing.T) {
		w := newWorld(t, "smtpd_relay_restrictions = check_sender_access inline:{ sender.test=OK }, reject")
		r := request("one@mbox.test")
		r.Sender = address.Split("x%y.test@sender.test")
		if got := w.rcpt(r); got != "ok" {
			t.Error(got)
		}
	})
}

func TestFailingAccessTable(t *testing.T) {
	tests := []struct{ list, want string }{
		{"smtpd_client_restrictions = check_client_access fail:x", "451 4.3.5 <client.example[203.0.113.9]>: Client host rejected: Server configuration error"},
		{"smtpd_client_restrictions = fail:x", "451 4.3.5 <client.example[203.0.113.9]>: Client host rejected: Server configuration error"},
		{"smtpd_helo_restrictions = fail:x", "451 4.3.5 <helo.example>: Helo command rejected: Server configuration error"},
		{"smtpd_sender_restrictions = fail:x", "451 4.3.5 <ann@sender.test>: Sender address rejected: Server configuration error"},
		{"smtpd_recipient_restrictions = fail:x", rejected("451 4.3.5", "Server configuration error")},
		{"smtpd_recipient_restrictions = texthash:{dir}/none", rejected("451 4.3.5", "Server configuration error")},
		{"smtpd_recipient_restrictions = inline:{one@mbox.test=OK}, fail:x", "ok"},
	}
	for _, tt := range tests {
		w := newWorld(t, tt.list)
		if got := w.rcpt(request("one@mbox.test")); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.list, got, tt.want)
		}
	}
}

// TestBareTable: a table without check_*_access is that of its list.
func TestBareTable(t *testing.T) {
	w := newWorld(t, "smtpd_helo_restrictions = inline:{ {helo.example=REJECT h} }")
	if got, want := w.rcpt(request("one@mbox.test")), "554 5.7.1 <helo.example>: Helo command rejected: h"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestAnotherSubject: a restriction named by an access table speaks of what was
// looked up, not of its list.
func TestAnotherSubject(t *testing.T) {
	const client = "<client.example[203.0.113.9]>: Client host rejected: "
	for result, want := range map[string]string{
		"reject":                             "554 5.7.1 " + client + "Access denied",
		"permit_mynetworks, defer":           "450 4.3.2 " + client + "Try again later",
		"permit_mynetworks, defer_if_permit": "450 4.7.0 " + client + "defer_if_permit requested",
		"reject_multi_recipient_bounce":      "ok",
	} {
		w := newWorld(t, "smtpd_data_restrictions = check_client_access inline:{ {203.0.113.9="+result+"} }")
		if got := answer(w.policy.Data(context.Background(), request("one@mbox.test"))); got != want {
			t.Errorf("%s: got %s, want %s", result, got, want)
		}
	}
}

// TestDiscardSparesTheRecipient: nobody asks whether the recipient of a
// discarded message exists, but relay control stays.
func TestDiscardSparesTheRecipient(t *testing.T) {
	w := newWorld(t, "smtpd_recipient_restrictions = check_sender_access inline:{sender.test=DISCARD}")
	if got := w.rcpt(request("who@mbox.test")); got != "ok" {
		t.Error(got)
	}
	if got, want := w.rcpt(request("x@other.test")), "454 4.7.1 <x@other.test>: Relay access denied"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestHangup ends everything at once, whatever stands in front of it.
func TestHangup(t *testing.T) {
	w := newWorld(t, "smtpd_client_restrictions = warn_if_reject check_client_access inline:{203.0.113.9=HANGUP}, reject")
	v := w.policy.Rcpt(context.Background(), request("one@mbox.test"), nil)
	if !v.Hangup {
		t.Errorf("verdict %+v", v)
	}
}

// TestActionsOfSeveralLists are kept in order.
func TestActionsOfSeveralLists(t *testing.T) {
	w := newWorld(t, `smtpd_client_restrictions = check_client_access inline:{ {203.0.113.9=PREPEND X-One: 1} }
smtpd_recipient_restrictions = check_recipient_access inline:{ {mbox.test=BCC a@b.test} }, check_sender_access inline:{ {sender.test=PREPEND X-Two: 2} }
`)
	v := w.policy.Rcpt(context.Background(), request("one@mbox.test"), nil)
	if got, want := effects(v), "PREPEND X-One: 1; BCC a@b.test; PREPEND X-Two: 2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
