package access

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"postern/internal/address"
	"postern/internal/config"
	"postern/internal/nearest"
	"postern/internal/route"
	"postern/internal/smtp"
	"postern/internal/table"
)

// builtin are the restrictions without an argument.
var builtin = map[string]func(ctx context.Context, e *evaluation) decision{
	"permit":                        func(context.Context, *evaluation) decision { return permit },
	"reject":                        rejectAll,
	"defer":                         deferAll,
	"permit_mynetworks":             permitMynetworks,
	"permit_inet_interfaces":        permitInetInterfaces,
	"permit_sasl_authenticated":     permitAuthenticated,
	"permit_auth_destination":       permitAuthDestination,
	"reject_unauth_destination":     rejectUnauthDestination,
	"check_relay_domains":           rejectUnauthDestination,
	"defer_unauth_destination":      deferUnauthDestination,
	"reject_unlisted_recipient":     rejectUnlistedRecipient,
	"reject_unlisted_sender":        rejectUnlistedSender,
	"reject_non_fqdn_sender":        rejectNonFQDNSender,
	"reject_non_fqdn_recipient":     rejectNonFQDNRecipient,
	"reject_non_fqdn_helo_hostname": rejectNonFQDNHelo,
	"reject_invalid_helo_hostname":  rejectInvalidHelo,
	"reject_multi_recipient_bounce": rejectMultiRecipientBounce,
	"reject_plaintext_session":      rejectPlaintext,
	"defer_if_permit": func(_ context.Context, e *evaluation) decision {
		e.deferIfPermit(e.reject(450, "4.7.0", "defer_if_permit requested").reply)
		return dunno
	},
	"defer_if_reject": func(_ context.Context, e *evaluation) decision {
		e.deferIfReject(e.reject(450, "4.7.0", "defer_if_reject requested").reply)
		return dunno
	},
	// smtpd refuses unauthorised pipelining for every command before any list
	// is asked (smtpd_forbid_unauth_pipelining).
	"reject_unauth_pipelining": func(context.Context, *evaluation) decision { return dunno },
}

// renamed are the old names of restrictions.
var renamed = map[string]string{
	"reject_invalid_hostname":  "reject_invalid_helo_hostname",
	"reject_non_fqdn_hostname": "reject_non_fqdn_helo_hostname",
	"reject_unknown_hostname":  "reject_unknown_helo_hostname",
	"reject_unknown_client":    "reject_unknown_client_hostname",
	"reject_unknown_address":   "reject_unknown_sender_domain",
	"reject_maps_rbl":          "reject_rbl_client",
}

// newName is the name by which the manual knows a restriction today.
func newName(name string) string {
	if to, ok := renamed[name]; ok {
		return to
	}
	return name
}

// absent are restrictions of Postfix that Postern does not evaluate: they ask
// DNS, a policy server or certificates. They are passed over, with a warning
// when the configuration is loaded. The value says whether one takes an
// argument.
var absent = map[string]bool{
	"permit_mx_backup": false, "permit_tls_clientcerts": false, "permit_tls_all_clientcerts": false,
	"reject_unknown_sender_domain": false, "reject_unknown_recipient_domain": false,
	"reject_unknown_helo_hostname": false, "reject_unknown_client_hostname": false,
	"reject_unknown_reverse_client_hostname": false, "reject_unknown_forward_client_hostname": false,
	"reject_sender_login_mismatch": false, "reject_authenticated_sender_login_mismatch": false,
	"reject_unauthenticated_sender_login_mismatch": false, "reject_known_sender_login_mismatch": false,
	"reject_unverified_recipient": false, "reject_unverified_sender": false, "permit_naked_ip_address": false,
	"reject_rbl_client": true, "reject_rhsbl_client": true, "reject_rhsbl_helo": true, "reject_rhsbl_sender": true,
	"reject_rhsbl_recipient": true, "reject_rhsbl_reverse_client": true, "permit_dnswl_client": true, "permit_rhswl_client": true,
	"check_policy_service": true, "check_sasl_access": true, "check_ccert_access": true,
	"check_reverse_client_hostname_access": true,
	"check_client_a_access":                true, "check_client_mx_access": true, "check_client_ns_access": true,
	"check_helo_a_access": true, "check_helo_mx_access": true, "check_helo_ns_access": true,
	"check_sender_a_access": true, "check_sender_mx_access": true, "check_sender_ns_access": true,
	"check_recipient_a_access": true, "check_recipient_mx_access": true, "check_recipient_ns_access": true,
	"sleep": true,
}

// PassedOver reports whether a restriction of Postfix has no effect here.
func PassedOver(name string) bool {
	_, absent := absent[newName(name)]
	return absent
}

// tables are the restrictions that look something up in an access(5) table.
var tables = map[string]func(c *compiler, m *table.Maps) func(context.Context, *evaluation) decision{
	"check_client_access":    checkClient,
	"check_helo_access":      checkHelo,
	"check_sender_access":    checkSender,
	"check_recipient_access": checkRecipient,
	"check_etrn_access":      checkEtrn,
}

func takesArgument(name string) bool {
	_, lookup := tables[name]
	return lookup || absent[name]
}

// bind finds the function of a restriction.
func (c *compiler) bind(ctx context.Context, r *restriction) error {
	r.name = newName(r.name)
	if check, ok := builtin[r.name]; ok {
		r.check = check
		return nil
	}
	if makeCheck, ok := tables[r.name]; ok {
		m, err := c.o.Opener.Maps(ctx, r.arg, table.Use{Parameter: r.name, At: r.at, Fold: true})
		if err != nil {
			c.o.Log.Warningf("%s: %v", r.name, err)
		}
		r.check = makeCheck(c, m)
		return nil
	}
	if _, ok := absent[r.name]; ok {
		c.o.Log.Warningf("%v: %s is not evaluated by this version and passed over", r.at, strings.TrimSpace(r.name+" "+r.arg))
		r.check = func(context.Context, *evaluation) decision { return dunno }
		return nil
	}
	for _, name := range c.classNames {
		if strings.EqualFold(name, r.name) {
			r.check = func(ctx context.Context, e *evaluation) decision { return e.nested(ctx, strings.ToLower(name)) }
			return nil
		}
	}
	return &config.Fault{At: r.at, Err: &UnknownRestriction{r.name, nearRestrictions(r.name, c.classNames)}}
}

// UnknownRestriction is the error of a word that is no restriction.
type UnknownRestriction struct {
	Name string
	Near []string // what may have been meant, best first
}

func (e *UnknownRestriction) Error() string {
	return fmt.Sprintf("unknown smtpd restriction: %q", e.Name)
}

// nearRestrictions are the restrictions that differ from a word in few letters.
func nearRestrictions(word string, classes []string) []string {
	known := append(slices.Collect(maps.Keys(builtin)), classes...)
	known = append(known, slices.Collect(maps.Keys(absent))...)
	known = append(known, slices.Collect(maps.Keys(tables))...)
	near := nearest.Words(word, slices.Values(known), 1+len(word)/8)
	return near[:min(3, len(near))]
}

func rejectAll(_ context.Context, e *evaluation) decision {
	return e.reject(e.p.codes["reject_code"], "5.7.1", "Access denied")
}

func deferAll(_ context.Context, e *evaluation) decision {
	return e.reject(e.p.codes["defer_code"], "4.3.2", "Try again later")
}

func permitMynetworks(ctx context.Context, e *evaluation) decision {
	_, err := e.p.mynetworks.MatchClient(ctx, e.req.ClientName, e.req.ClientAddr.String(), nil)
	switch {
	case err == nil:
		return permit
	case errors.Is(err, table.ErrNotFound):
		return dunno
	}
	e.p.log.Warningf("mynetworks: %v", err)
	name, _ := e.subject()
	return decision{reply: smtp.R(451, "4.3.0", "<"+name+">: Temporary lookup failure")}
}

func permitInetInterfaces(_ context.Context, e *evaluation) decision {
	if e.p.own[e.req.ClientAddr.Unmap()] {
		return permit
	}
	return dunno
}

func permitAuthenticated(_ context.Context, e *evaluation) decision {
	if e.req.SASLUser != "" {
		return permit
	}
	return dunno
}

func permitAuthDestination(ctx context.Context, e *evaluation) decision {
	ok, d := e.authorized(ctx)
	if ok {
		return permit
	}
	return d
}

func rejectUnauthDestination(ctx context.Context, e *evaluation) decision {
	return e.relay(ctx, e.p.codes["relay_domains_reject_code"], "5.7.1")
}

func deferUnauthDestination(ctx context.Context, e *evaluation) decision {
	return e.relay(ctx, e.p.codes["relay_domains_reject_code"]-100, "4.7.1")
}

// relay refuses recipients that are not ours. RFC 5321, 3.6.2.
func (e *evaluation) relay(ctx context.Context, code int, dsn string) decision {
	ok, d := e.authorized(ctx)
	if ok || !e.req.HasRcpt {
		return dunno
	}
	if d.reply.IsZero() {
		d.reply = smtp.R(code, dsn, "<"+e.req.Recipient.Internal()+">: Relay access denied")
	}
	return d
}

// authorized reports whether the recipient is ours; when that cannot be found
// out, the decision says so.
func (e *evaluation) authorized(ctx context.Context) (bool, decision) {
	if !e.req.HasRcpt {
		return false, dunno
	}
	res, err := e.resolve(ctx)
	if err != nil {
		return false, decision{reply: route.FailureReply(e.req.Recipient, classRecipient, err)}
	}
	return e.p.router.Authorized(res), dunno
}

// resolve resolves the recipient once, however many restrictions ask. A failure is
// not remembered, and a trace is told of every question.
func (e *evaluation) resolve(ctx context.Context) (*route.Resolution, error) {
	if e.resolved != nil && e.trace == nil {
		return e.resolved, nil
	}
	res, err := e.p.router.ResolveGiven(ctx, e.req.Sender, e.req.Recipient, e.trace)
	if err == nil {
		e.resolved = &res
	}
	return &res, err
}

func rejectUnlistedRecipient(ctx context.Context, e *evaluation) decision {
	if !e.req.HasRcpt || e.listed || e.p.unlistedOff {
		return dunno
	}
	e.listed = !e.warning
	res, err := e.resolve(ctx)
	return decision{reply: e.p.router.CheckResolved(ctx, e.req.Recipient, *res, err, e.trace).Reply}
}

func rejectUnlistedSender(ctx context.Context, e *evaluation) decision {
	if !e.req.HasSender || e.senderListed || e.p.unlistedOff {
		return dunno
	}
	e.senderListed = !e.warning
	return decision{reply: e.p.router.CheckSender(ctx, e.req.Sender, e.trace).Reply}
}

// needFQDN refuses an address whose domain has no dot; literals pass.
func (e *evaluation) needFQDN(a address.Address, class string) decision {
	if strings.HasPrefix(a.Domain, "[") || fqdn(a.Domain) {
		return dunno
	}
	return e.rejectAs(a.Internal(), class, e.p.codes["non_fqdn_reject_code"], "5.5.2", "need fully-qualified address")
}

// fqdn reports whether a name is a valid host name with a dot in it.
func fqdn(name string) bool {
	name = strings.TrimSuffix(name, ".")
	return strings.Contains(name, ".") && route.ValidHostname(name)
}

func rejectNonFQDNSender(_ context.Context, e *evaluation) decision {
	if !e.req.HasSender || e.req.Sender.IsNull() {
		return dunno
	}
	return e.needFQDN(e.req.Sender, classSender)
}

func rejectNonFQDNRecipient(_ context.Context, e *evaluation) decision {
	if !e.req.HasRcpt {
		return dunno
	}
	return e.needFQDN(e.req.Recipient, classRecipient)
}

func rejectNonFQDNHelo(ctx context.Context, e *evaluation) decision {
	h := e.req.Helo
	if strings.HasPrefix(h, "[") {
		return rejectInvalidHelo(ctx, e)
	}
	if h == "" || fqdn(h) {
		return dunno
	}
	return e.rejectAs(h, classHelo, e.p.codes["non_fqdn_reject_code"], "5.5.2", "need fully-qualified hostname")
}

func rejectInvalidHelo(_ context.Context, e *evaluation) decision {
	h := e.req.Helo
	switch {
	case h == "":
		return dunno
	case strings.HasPrefix(h, "["):
		if route.ValidLiteral(h) {
			return dunno
		}
		return e.rejectAs(h, classHelo, e.p.codes["invalid_hostname_reject_code"], "5.5.2", "invalid ip address")
	case route.ValidHostname(strings.TrimSuffix(h, ".")), isIP(h):
		return dunno
	}
	return e.rejectAs(h, classHelo, e.p.codes["invalid_hostname_reject_code"], "5.5.2", "Invalid name")
}

func isIP(text string) bool {
	_, err := netip.ParseAddr(text)
	return err == nil
}

func rejectMultiRecipientBounce(_ context.Context, e *evaluation) decision {
	n := e.req.Recipients
	if e.req.Where == "RCPT" {
		n++
	}
	if !e.req.HasSender || !e.req.Sender.IsNull() || n < 2 {
		return dunno
	}
	name, class := e.subject()
	return e.rejectAs(name, class, e.p.codes["multi_recipient_bounce_reject_code"], "5.5.3", "Multi-recipient bounce")
}

func rejectPlaintext(_ context.Context, e *evaluation) decision {
	if e.req.TLS {
		return dunno
	}
	code := e.p.codes["plaintext_reject_code"]
	return decision{reply: smtp.R(code, strconv.Itoa(code/100)+".7.1", "Session encryption is required")}
}
