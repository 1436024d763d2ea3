package access_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"postern/internal/access"
	"postern/internal/route"
	"postern/internal/route/routetest"
)

func TestConfigurationErrors(t *testing.T) {
	tests := []struct{ name, main, want string }{
		{"unknown name", "smtpd_recipient_restrictions = reject_everybody", `main.cf:16: unknown smtpd restriction: "reject_everybody" (in smtpd_recipient_restrictions)`},
		{"missing argument", "smtpd_recipient_restrictions = check_client_access", "main.cf:16: check_client_access needs an argument"},
		{"table in the data list", "smtpd_data_restrictions = inline:{a=b}", "main.cf:16: inline:{a=b} needs check_client_access or the like in front of it"},
		{"undefined class", "smtpd_restriction_classes = a", "main.cf:16: smtpd_restriction_classes: a is not defined"},
		{"unknown name in a class", "smtpd_restriction_classes = a\na = nonsense", `main.cf:17: unknown smtpd restriction: "nonsense"`},
		{"open relay", "smtpd_relay_restrictions = permit", "specify at least one working instance of: reject_unauth_destination, defer_unauth_destination, reject, defer, defer_if_permit or check_relay_domains"},
		{"open relay, empty", "smtpd_relay_restrictions =", "specify at least one working instance of"},
		{"open relay, only a warning", "smtpd_relay_restrictions = warn_if_reject reject_unauth_destination", "specify at least one working instance of"},
		{"open relay, class of itself", "smtpd_restriction_classes = a\na = a, a\nsmtpd_relay_restrictions = a", "specify at least one working instance of"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := routetest.New(t, classes+tt.main)
			_, err := newPolicy(w)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v lacks %q", err, tt.want)
			}
		})
	}
}

func TestNoOpenRelay(t *testing.T) {
	for _, main := range []string{
		"smtpd_relay_restrictions =\nsmtpd_recipient_restrictions = reject_unauth_destination",
		"smtpd_relay_restrictions = defer_unauth_destination",
		"smtpd_relay_restrictions = permit_mynetworks, reject",
		"smtpd_relay_restrictions = defer",
		"smtpd_relay_restrictions = defer_if_permit",
		"smtpd_relay_restrictions = check_relay_domains",
		"smtpd_restriction_classes = a b\na = permit_mynetworks, b\nb = reject_unauth_destination\nsmtpd_relay_restrictions = a",
	} {
		if _, err := newPolicy(routetest.New(t, classes+main)); err != nil {
			t.Errorf("%s: %v", main, err)
		}
	}
}

// TestAbsent: restrictions that are not evaluated are passed over, and said.
func TestAbsent(t *testing.T) {
	w := newWorld(t, "smtpd_recipient_restrictions = reject_rbl_client zen.example, check_policy_service { unix:p, timeout=1s }, reject_unknown_sender_domain, reject_unknown_client")
	if got := w.rcpt(request("one@mbox.test")); got != "ok" {
		t.Error(got)
	}
	for _, want := range []string{
		"main.cf:16: reject_rbl_client zen.example is not evaluated", "check_policy_service", "reject_unknown_sender_domain is not evaluated",
		"reject_unknown_client_hostname is not evaluated",
	} {
		if !strings.Contains(w.Log.Lines(), want) {
			t.Errorf("log %q lacks %q", w.Log.Lines(), want)
		}
	}
}

// TestWorkedExamples are replies at RCPT with the default relay restrictions.
func TestWorkedExamples(t *testing.T) {
	w := routetest.New(t, `
mydestination = localhost, local.example.test
virtual_alias_domains = alias.test
virtual_mailbox_domains = mbox.test, mbox2.test
relay_domains = relay.test
relay_recipient_maps = inline:{in@relay.test=x}
recipient_delimiter = +
compatibility = postfix
compatibility_level = 3.6
virtual_alias_maps = inline:{
	one@alias.test=one@mbox.test, {multi@alias.test=one@mbox.test, two@mbox.test}, @mbox2.test=catch@mbox.test,
	real2@mbox2.test=real2@mbox2.test, chain@alias.test=one@alias.test, loopa@alias.test=loopb@alias.test,
	loopb@alias.test=loopa@alias.test, {copy@mbox.test=copy@mbox.test, out@elsewhere.test}, unk@alias.test=nosuch@mbox.test,
	unq@alias.test=one, self@alias.test=self@alias.test, @dommap.test=@mbox.test, postmaster=one@mbox.test}
virtual_mailbox_maps = inline:{one@mbox.test=one/, two@mbox.test=two/, catch@mbox.test=catch/, copy@mbox.test=copy/,
	real@mbox2.test=real/, real2@mbox2.test=real2/}
`)
	p, err := newPolicy(w)
	if err != nil {
		t.Fatal(err)
	}
	const denied = "454 4.7.1 <%s>: Relay access denied"
	const unknown = "550 5.1.1 <%s>: Recipient address rejected: User unknown in "
	for _, tt := range []struct{ rcpt, want string }{
		{"one@alias.test", "ok"}, {"ONE@ALIAS.TEST", "ok"}, {"one+x@alias.test", "ok"}, {"chain@alias.test", "ok"},
		{"multi@alias.test", "ok"},
		{"nosuch@alias.test", unknown + "virtual alias table"}, {"nosuch@mbox.test", unknown + "virtual mailbox table"},
		{"real@mbox2.test", "ok"}, {"real2@mbox2.test", "ok"}, {"any+foo@mbox2.test", "ok"}, {"copy@mbox.test", "ok"},
		{"unk@alias.test", "ok"}, {"self@alias.test", "ok"}, {"unq@alias.test", "ok"},
		{"user@dommap.test", denied}, {"loopa@alias.test", "ok"}, {"postmaster", "ok"},
		{"x@relay.test", unknown + "relay recipient table"}, {"in@relay.test", "ok"},
		{"x%other.test@local.example.test", denied}, {"user@127.0.0.1", "501 5.1.3 Bad recipient address syntax"},
		{"-x@mbox.test", "501 5.1.3 Bad recipient address syntax"}, {"out@other.test", denied},
	} {
		want := strings.ReplaceAll(tt.want, "%s", tt.rcpt)
		if got := answer(p.Rcpt(context.Background(), request(tt.rcpt), nil)); got != want {
			t.Errorf("RCPT %s: %s, want %s", tt.rcpt, got, want)
		}
	}
}

func TestTracePassesThrough(t *testing.T) {
	w := newWorld(t, "smtpd_recipient_restrictions = check_recipient_access inline:{x@y.test=OK}")
	tr := &route.Trace{}
	w.policy.Rcpt(context.Background(), request("one@mbox.test"), tr)
	var seen []string
	for _, s := range tr.Steps {
		if s.Op == "lookup" {
			seen = append(seen, fmt.Sprint(s.Parameter, " ", s.Key))
		}
	}
	text := strings.Join(seen, "\n")
	for _, want := range []string{"check_recipient_access one@mbox.test", "virtual_alias_maps one@mbox.test", "virtual_mailbox_maps one@mbox.test"} {
		if !strings.Contains(text, want) {
			t.Errorf("steps lack %q:\n%s", want, text)
		}
	}
}

func TestPassedOver(t *testing.T) {
	for name, want := range map[string]bool{
		"reject_unverified_recipient": true, "reject_unauth_destination": false, "no_such_thing": false, "reject_maps_rbl": true,
	} {
		if got := access.PassedOver(name); got != want {
			t.Errorf("PassedOver(%s) = %v, want %v", name, got, want)
		}
	}
}
