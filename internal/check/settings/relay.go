package settings

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"

	"postern/internal/access"
	"postern/internal/address"
	"postern/internal/config"
	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/route"
	"postern/internal/setup"
)

// strangers are addresses that no configuration has a reason to trust all of (RFC
// 5737, RFC 3849, and two of the internet).
var strangers = []netip.Addr{netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("198.51.100.77"),
	netip.MustParseAddr("8.8.4.4"), netip.MustParseAddr("93.184.216.34")}

// foreign is a domain that nobody hosts (RFC 6761).
const foreign = "open-relay-probe.invalid"

// maxSenders is how many hosted domains are tried as the domain of a sender.
const maxSenders = 20

// relay reports services that take mail from anybody to anywhere (VD510), whatever
// makes them: it asks the server's own policy.
func (x *examination) relay(ctx context.Context) {
	if x.Setup.Router == nil {
		return
	}
	class, why, err := x.Setup.Router.Classify(ctx, foreign, nil)
	if err != nil || class != route.Default && class != route.Relay {
		return // not foreign here, or there is no telling
	}
	for _, m := range x.servers() {
		policy, err := access.New(ctx, access.Options{Settings: m.settings, Opener: x.Setup.Opener, Router: x.Setup.Router,
			Own: setup.HostAddresses(), Log: silent{}, Strict: true})
		if err != nil {
			x.unusable(m, err)
		} else if m.private() || x.torn[m.settings.Value("smtpd_relay_restrictions").At.String()] || x.open[written(m.settings.Value("mynetworks"))] {
			continue
		} else if class == route.Default {
			x.ask(ctx, m, policy)
		} else if x.allLet(ctx, policy, "someone@elsewhere.invalid") {
			x.everyDomain(why)
			return
		}
	}
}

// everyDomain reports a list of domains to relay for that has a foreign one.
func (x *examination) everyDomain(why route.Why) {
	at := []origin.At{why.At}
	if list := x.settings.Value("relay_domains").At; list.String() != why.At.String() {
		at = append(at, list)
	}
	x.report(finding.Finding{Code: "VD510", Severity: finding.Error, At: at,
		Message: fmt.Sprintf("relay_domains has every domain, as %s answers for any name: any client may send mail to everywhere, which is an open relay", cmp.Or(why.Table, why.Key)),
		Fix:     "write in relay_domains only the domains whose mail this host hands on, or nothing: relay_domains ="})
}

// unusable reports lists that cannot be compiled.
func (x *examination) unusable(m service, err error) {
	for _, f := range config.Faults(err) {
		if !errors.Is(f, access.ErrRelayControl) {
			x.report(refused(f))
			continue
		}
		if x.torn[f.At.String()] {
			continue
		}
		x.report(finding.Finding{Code: "VD510", Severity: finding.Error, At: []origin.At{f.At},
			Message: fmt.Sprintf("nothing in the lists of the service %s keeps foreign mail out: it would be an open relay, and Postfix refuses to start it", m.Name),
			Fix:     "smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination"})
	}
}

// ask asks a policy for strangers, first with a foreign sender and then with one of
// each domain that is hosted here.
func (x *examination) ask(ctx context.Context, m service, policy *access.Policy) {
	at := x.relayPlaces(m)
	if x.allLet(ctx, policy, "someone@elsewhere.invalid") {
		x.report(finding.Finding{Code: "VD510", Severity: finding.Error, At: at,
			Message: fmt.Sprintf("the service %s is an open relay: it takes mail from any client for any domain", m.Name),
			Fix:     "smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination"})
		return
	}
	for n, d := range x.Domains(ctx) {
		if n == maxSenders {
			return
		}
		if sender := "postmaster@" + d.Name; x.allLet(ctx, policy, sender) {
			x.report(finding.Finding{Code: "VD510", Severity: finding.Error, At: at,
				Message: fmt.Sprintf("the service %s is an open relay: it takes mail from any client for any domain when the sender claims to be %s, which anybody can do", m.Name, sender),
				Fix:     "put reject_unauth_destination in front of the restriction that permits by sender"})
			return
		}
	}
}

// relayPlaces are the lists that decide, the one that somebody wrote first.
func (x *examination) relayPlaces(m service) []origin.At {
	relay, rcpt := m.settings.Value("smtpd_relay_restrictions").At, m.settings.Value("smtpd_recipient_restrictions").At
	switch {
	case isDefault(rcpt):
		return []origin.At{relay}
	case isDefault(relay):
		return []origin.At{rcpt, relay}
	}
	return []origin.At{relay, rcpt}
}

// allLet reports whether every stranger may send from that sender to a foreign
// recipient.
func (x *examination) allLet(ctx context.Context, policy *access.Policy, sender string) bool {
	for _, client := range strangers {
		verdict := policy.Rcpt(ctx, &access.Request{Where: "RCPT", ClientName: "unknown", ClientAddr: client, Helo: "client.elsewhere.invalid",
			Sender: address.Split(sender), HasSender: true, Recipient: address.Split("someone@" + foreign), HasRcpt: true}, nil)
		if !verdict.Reply.IsZero() && verdict.Reply.Code >= 300 {
			return false
		}
	}
	return true
}

// silent is a log that nobody reads.
type silent struct{}

func (silent) Infof(string, ...any)    {}
func (silent) Warningf(string, ...any) {}
