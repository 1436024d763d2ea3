package smtpd

import (
	"context"
	"net/netip"
	"strings"

	"postern/internal/smtp"
)

// etrn handles ETRN (RFC 1985): a host asks for what is queued for its domain. As
// in Postfix, "@domain" and "#domain" are the domain.
func (ss *session) etrn(ctx context.Context, args string) (outcome, error) {
	var refusal smtp.Reply
	domain := args
	if domain != "" && (domain[0] == '@' || domain[0] == '#') {
		domain = domain[1:]
	}
	switch {
	case ss.config().HeloRequired && ss.client.Helo == "":
		refusal = smtp.R(503, "", "Error: send HELO/EHLO first")
	case ss.tx != nil:
		refusal = smtp.R(503, "", "Error: MAIL transaction in progress")
	case args == "" || strings.ContainsAny(args, " \t"):
		refusal = smtp.R(500, "", "Syntax: ETRN domain")
	case !isDomain(domain):
		refusal = smtp.R(501, "", "Error: invalid parameter syntax")
	}
	if !refusal.IsZero() {
		ss.slowReply(ctx, refusal)
		return bad, nil
	}
	if ss.refused(ctx, ss.profile.Policy.Etrn(ctx, &ss.client, domain), nil) {
		return bad, nil
	}
	var eligible bool
	var err error
	if ss.profile.Flush != nil {
		eligible, err = ss.profile.Flush(ctx, domain)
	}
	switch {
	case err != nil:
		ss.log.Warningf("ETRN %s: %v", printable(domain), err)
		ss.slowReply(ctx, smtp.R(458, "", "Unable to queue messages"))
	case !eligible:
		ss.log.Warningf("reject: ETRN %s... from %s", printable(clip(domain, 100)), &ss.client)
		ss.slowReply(ctx, smtp.R(459, "", "<"+domain+">: service unavailable"))
	default:
		ss.slowReply(ctx, smtp.R(250, "", "Queuing started"))
		return good, nil
	}
	return bad, nil
}

// isDomain reports whether text is a host name, as DNS and those who use it have
// them, or an address literal (RFC 5321, 4.1.3). Digits and dots alone are no name.
func isDomain(text string) bool {
	if inner, ok := strings.CutPrefix(text, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		inner, six := strings.CutPrefix(strings.ToLower(inner), "ipv6:")
		addr, err := netip.ParseAddr(inner)
		return ok && err == nil && addr.Is6() == six && addr.Zone() == ""
	}
	if text == "" || len(text) > 255 || strings.Trim(text, "0123456789.") == "" {
		return false
	}
	for label := range strings.SplitSeq(text, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i]; !isAlphanumeric(c) && c != '-' && c != '_' && c < 0x80 {
				return false
			}
		}
	}
	return true
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' || c >= 0x80
}
