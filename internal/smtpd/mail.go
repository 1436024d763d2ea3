package smtpd

import (
	"context"
	"errors"
	"math"
	"slices"

	"postern/internal/smtp"
)

// dsnDisabled is the reply to parameters of an extension that
// smtpd_discard_ehlo_keywords took away.
var dsnDisabled = smtp.R(501, "5.7.1", "DSN support is disabled")

// mail handles MAIL FROM:<sender> (RFC 5321, 4.1.1.2).
func (ss *session) mail(ctx context.Context, args string) (outcome, error) {
	c := ss.config()
	if c.HeloRequired && ss.client.Helo == "" {
		ss.slowReply(ctx, smtp.R(503, "5.5.1", "Error: send HELO/EHLO first"))
		return bad, nil
	}
	path, text, err := smtp.ParsePath("FROM:", args, c.StrictRFC821)
	if err != nil {
		ss.badPath(ctx, path, err, "FROM:", smtp.R(501, "5.1.7", "Bad sender address syntax"))
		return bad, nil
	}
	params, refusal := smtp.ParseMailParams(text, c.allowed())
	switch {
	case !refusal.IsZero():
	case c.DiscardEhloKeywords["DSN"] && (params.Ret != "" || params.EnvID != ""):
		refusal = dsnDisabled
	case params.Size == math.MaxInt64:
		refusal = smtp.R(552, "5.3.4", "Message size exceeds file system imposed limit")
	}
	if !refusal.IsZero() {
		ss.slowReply(ctx, refusal)
		return bad, nil
	}
	ss.tx = &Transaction{
		Client: &ss.client, Config: c, Sender: path, Params: params,
		Effects: slices.Concat(ss.connectEffects, ss.heloEffects),
	}
	if !ss.acceptsSender(ctx) {
		ss.tx = nil
		return bad, nil
	}
	ss.state = stateMail
	ss.slowReply(ctx, smtp.R(250, "2.1.0", "Ok"))
	return good, nil
}

// acceptsSender checks the announced size, asks the policy, and whether there is
// room for another message.
func (ss *session) acceptsSender(ctx context.Context) bool {
	if limit := ss.config().MessageSizeLimit; limit > 0 && ss.tx.Params.Size > limit {
		ss.reject(ctx, smtp.R(552, "5.3.4", "Message size exceeds fixed limit"), nil)
		return false
	}
	if ss.refused(ctx, ss.profile.Policy.Mail(ctx, ss.tx), nil) {
		return false
	}
	if full := ss.profile.Intake.Room(ctx, ss.tx); !full.IsZero() {
		ss.reject(ctx, full, nil)
		return false
	}
	return true
}

// badPath replies to an argument of MAIL or RCPT that is none, or whose address
// is none.
func (ss *session) badPath(ctx context.Context, p smtp.Path, err error, keyword string, bad smtp.Reply) {
	if errors.Is(err, smtp.ErrNoPath) {
		bad = smtp.R(501, "5.5.4", "Syntax: "+ss.where+" "+keyword+"<address>")
	} else {
		ss.logSyntax(p.Given)
	}
	ss.slowReply(ctx, bad)
}

func (ss *session) logSyntax(given string) {
	ss.log.Warningf("Illegal address syntax from %s in %s command: %s", &ss.client, ss.where, printable(clip(given, 100)))
}
