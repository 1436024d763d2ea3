package smtpd

import (
	"context"
	"strings"

	"postern/internal/smtp"
)

// queueID is the id of the open message, or NOQUEUE.
func (ss *session) queueID() string {
	if ss.tx == nil || ss.tx.QueueID == "" {
		return "NOQUEUE"
	}
	return ss.tx.QueueID
}

// logAction writes a line about what was decided on a command. r is the
// recipient it is about; nil: that of the message, when it has only one.
func (ss *session) logAction(action, where, text string, r *Recipient) {
	var b strings.Builder
	if ss.tx != nil {
		if r == nil && len(ss.tx.Recipients) == 1 {
			r = &ss.tx.Recipients[0]
		}
		b.WriteString(" from=<" + printable(ss.tx.Sender.Address.String()) + ">")
		if r != nil {
			b.WriteString(" to=<" + printable(r.Path.Address.String()) + ">")
		}
	}
	b.WriteString(" proto=" + ss.client.Proto())
	if ss.client.Helo != "" {
		b.WriteString(" helo=<" + ss.client.Helo + ">")
	}
	ss.log.Infof("%s: %s: %s from %s: %s;%s", ss.queueID(), action, where, &ss.client, printable(text), b.String())
}

// refused acts on a verdict: it notes the effects, writes the log lines, and
// replies when the command is refused. r is the recipient it is about, or nil.
func (ss *session) refused(ctx context.Context, v Verdict, r *Recipient) bool {
	if ss.tx != nil {
		ss.tx.Effects = append(ss.tx.Effects, v.Effects...)
	}
	for _, n := range v.Notes {
		ss.logAction(n.Action, ss.where, n.Text, r)
	}
	switch {
	case v.Hangup:
		ss.logAction("hangup", ss.where, "connection closed", r)
		ss.hangup = true
	case v.Reply.IsZero():
		return false
	default:
		ss.refusing = true
		ss.reject(ctx, v.Reply, r)
		ss.refusing = false
	}
	return true
}

// reject logs a refusal and replies with it.
func (ss *session) reject(ctx context.Context, reply smtp.Reply, r *Recipient) {
	ss.logAction("reject", ss.where, reply.String(), r)
	ss.slowReply(ctx, reply)
}
