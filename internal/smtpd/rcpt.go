package smtpd

import (
	"context"

	"postern/internal/smtp"
)

// badRecipient is the reply to what is no address of a recipient.
var badRecipient = smtp.R(501, "5.1.3", "Bad recipient address syntax")

// rcpt handles RCPT TO:<recipient> (RFC 5321, 4.1.1.3).
func (ss *session) rcpt(ctx context.Context, args string) (outcome, error) {
	c := ss.config()
	path, text, err := smtp.ParsePath("TO:", args, c.StrictRFC821)
	if err == nil && path.Address.IsNull() {
		err = smtp.ErrBadPath
	}
	if err != nil {
		ss.badPath(ctx, path, err, "TO:", badRecipient)
		return bad, nil
	}
	params, refusal := smtp.ParseRcptParams(text, c.allowed())
	if refusal.IsZero() && c.DiscardEhloKeywords["DSN"] && (params.Notify != 0 || params.ORCPT != "") {
		refusal = dsnDisabled
	}
	if !refusal.IsZero() {
		ss.slowReply(ctx, refusal)
		return bad, nil
	}
	if c.RecipientLimit > 0 && len(ss.tx.Recipients) >= c.RecipientLimit {
		return ss.overshoot(ctx), nil
	}
	r := Recipient{Path: path, Params: params}
	if !ss.acceptsRecipient(ctx, &r) {
		ss.tx.Rejected++
		return bad, nil
	}
	ss.tx.Recipients = append(ss.tx.Recipients, r)
	ss.state = stateRcpt
	ss.slowReply(ctx, smtp.R(250, "2.1.5", "Ok"))
	return good, nil
}

// overshoot refuses a recipient beyond smtpd_recipient_limit. Honest clients send
// the rest in another transaction (RFC 5321, 4.5.3.1.10), so the first
// smtpd_recipient_overshoot_limit of them are no errors.
func (ss *session) overshoot(ctx context.Context) outcome {
	ss.slowReply(ctx, smtp.R(452, "4.5.3", "Error: too many recipients"))
	ss.overshot++
	if ss.overshot <= ss.config().OvershootLimit {
		return good
	}
	return bad
}

// acceptsRecipient asks the policy, and begins the message with the first
// recipient that passes (smtpd_delay_open_until_valid_rcpt).
func (ss *session) acceptsRecipient(ctx context.Context, r *Recipient) bool {
	if ss.refused(ctx, ss.profile.Policy.Rcpt(ctx, ss.tx, r), r) {
		return false
	}
	if ss.body != nil {
		return true
	}
	body, refusal := ss.profile.Intake.Begin(ctx, ss.tx)
	if !refusal.IsZero() {
		ss.reject(ctx, refusal, r)
		return false
	}
	ss.body, ss.tx.QueueID = body, body.QueueID()
	ss.log.Infof("%s: client=%s", ss.tx.QueueID, &ss.client)
	return true
}
