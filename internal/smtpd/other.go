package smtpd

import (
	"context"
	"strings"

	"postern/internal/smtp"
)

// rset handles RSET (RFC 5321, 4.1.1.5).
func (ss *session) rset(ctx context.Context, args string) (outcome, error) {
	if args != "" {
		ss.slowReply(ctx, smtp.R(501, "5.5.4", "Syntax: RSET"))
		return bad, nil
	}
	ss.abort()
	ss.slowReply(ctx, ok)
	return good, nil
}

// noop handles NOOP; an argument does no harm (RFC 5321, 4.1.1.9).
func (ss *session) noop(ctx context.Context, _ string) (outcome, error) {
	ss.slowReply(ctx, ok)
	return good, nil
}

// vrfy handles VRFY: it tells the syntax of an address, and what the policy
// says, but not whether there is a mailbox (RFC 5321, 3.5.3 and 7.3).
func (ss *session) vrfy(ctx context.Context, args string) (outcome, error) {
	c := ss.config()
	if c.DisableVrfy {
		ss.slowReply(ctx, smtp.R(502, "5.5.1", "VRFY command is disabled"))
		return bad, nil
	}
	if rest, found := cutSuffixFold(args, " SMTPUTF8"); found && c.SMTPUTF8 {
		args = rest
	}
	if args == "" {
		syntax := "Syntax: VRFY address"
		if c.SMTPUTF8 {
			syntax += " [SMTPUTF8]"
		}
		ss.slowReply(ctx, smtp.R(501, "5.5.4", syntax))
		return bad, nil
	}
	path, rest, err := smtp.ParsePath("", args, false)
	if err != nil || rest != "" || path.Address.IsNull() {
		ss.logSyntax(args)
		ss.slowReply(ctx, badRecipient)
		return bad, nil
	}
	t := &Transaction{Client: &ss.client, Config: c}
	if ss.refused(ctx, ss.profile.Policy.Vrfy(ctx, t, path.Address), &Recipient{Path: path}) {
		return bad, nil
	}
	ss.slowReply(ctx, smtp.R(252, "2.0.0", args))
	return good, nil
}

// help handles HELP (RFC 5321, 4.1.1.8).
func (ss *session) help(ctx context.Context, _ string) (outcome, error) {
	text := "Commands: HELO EHLO MAIL RCPT DATA RSET NOOP VRFY"
	if ss.config().offersTLS() {
		text += " STARTTLS"
	}
	ss.slowReply(ctx, smtp.R(214, "2.0.0", text+" HELP QUIT"))
	return good, nil
}

// quit handles QUIT; an argument does no harm.
func (ss *session) quit(ctx context.Context, _ string) (outcome, error) {
	ss.slowReply(ctx, smtp.R(221, "2.0.0", "Bye"))
	return good, ss.leave(smtp.Reply{})
}

// unauthorized handles XCLIENT and XFORWARD, for which no client is authorised.
func (ss *session) unauthorized(ctx context.Context, _ string) (outcome, error) {
	ss.slowReply(ctx, smtp.R(550, "5.7.0", "Error: insufficient authorization"))
	return bad, nil
}

// auth handles AUTH, which is not offered.
func (ss *session) auth(ctx context.Context, _ string) (outcome, error) {
	ss.slowReply(ctx, smtp.R(503, "5.5.1", "Error: authentication not enabled"))
	return bad, nil
}

// bdat handles BDAT (RFC 3030), which is not offered. The chunk that follows must
// not be taken for commands, so the connection ends, as in Postfix: 521.
func (ss *session) bdat(ctx context.Context, _ string) (outcome, error) {
	ss.slowReply(ctx, smtp.R(521, "5.5.1", "Error: command not implemented"))
	return bad, nil
}

// cutSuffixFold is strings.CutSuffix without regard to the case of ASCII letters.
func cutSuffixFold(s, suffix string) (string, bool) {
	n := len(s) - len(suffix)
	if n < 0 || !strings.EqualFold(s[n:], suffix) {
		return s, false
	}
	return s[:n], true
}
