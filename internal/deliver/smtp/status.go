package smtp

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"postern/internal/deliver"
	wire "postern/internal/smtp"
	"postern/internal/smtpc"
)

// loopDSN is the code of mail that would come back to us.
const loopDSN = "5.4.6"

// answered is the status of a recipient on which the server had the last word.
func answered(t target, o smtpc.Outcome, probe bool) *deliver.Status {
	text := replyText(o.Reply)
	s := &deliver.Status{Relay: t.relay, RemoteMTA: t.name, Diagnostic: text, DSN: replyDSN(o.Reply)}
	switch {
	case o.Delivered(), probe && o.Phase == smtpc.Rcpt && o.Reply.Code/100 == 2:
		s.Kind, s.Reason = deliver.Sent, text
		return s
	case o.Reply.Temporary():
		s.Kind = deliver.Deferred
	case o.Reply.Permanent():
		s.Kind = deliver.Bounced
	default: // a yes where only a no makes sense
		s.Kind, s.DSN = deliver.Bounced, "5.5.0"
		s.Reason = fmt.Sprintf("Protocol error: host %s said: %s (in reply to %s)", t.label, text, o.Phase)
		return s
	}
	s.Reason = fmt.Sprintf("host %s said: %s (in reply to %s)", t.label, text, o.Phase)
	return s
}

// replyDSN is the enhanced code of a reply, or the general one of its class.
func replyDSN(r wire.Reply) string {
	class := byte('0' + r.Code/100)
	if r.Enhanced != "" && r.Enhanced[0] == class {
		return r.Enhanced
	}
	return string(class) + ".0.0"
}

// failed is the status of a conversation that came to no answer.
func (a *Agent) failed(t target, e *smtpc.Error) *deliver.Status {
	s := &deliver.Status{Kind: deliver.Deferred, Relay: t.relay}
	switch e.Kind {
	case smtpc.Refused:
		a.refused(s, t, e)
	case smtpc.TimedOut:
		s.DSN, s.Reason = "4.4.2", fmt.Sprintf("conversation with %s timed out while %s", t.label, e.Phase.Activity())
	case smtpc.Malformed:
		s.DSN, s.Reason = "4.5.0", fmt.Sprintf("protocol error of %s while %s: %v", t.label, e.Phase.Activity(), e.Err)
	case smtpc.Canceled:
		s.DSN, s.Reason = "4.3.2", fmt.Sprintf("delivery was interrupted while %s", e.Phase.Activity())
	case smtpc.TLSNotOffered:
		s.DSN, s.Reason = "4.7.4", "TLS is required, but was not offered by host "+t.label
	case smtpc.TLSRefused:
		s.DSN, s.Reason = "4.7.4", fmt.Sprintf("TLS is required, but host %s refused to start TLS: %s", t.label, replyText(e.Reply))
		s.RemoteMTA, s.Diagnostic = t.name, replyText(e.Reply)
	case smtpc.TLSHandshake:
		s.DSN, s.Reason = "4.7.5", "Cannot start TLS: handshake failure"
	case smtpc.TLSUnverified:
		s.DSN, s.Reason = "4.7.5", "Server certificate not verified"
	case smtpc.AuthUnable:
		s.DSN, s.Reason = "4.7.0", fmt.Sprintf("SASL authentication failed; cannot authenticate to server %s: %v", t.label, e.Err)
	case smtpc.AuthRefused:
		a.authRefused(s, t, e.Reply)
	case smtpc.TooBig:
		s.Kind, s.DSN = deliver.Bounced, "5.3.4"
		s.Reason = fmt.Sprintf("message size %d exceeds size limit %d of server %s", e.Size, e.Limit, t.label)
	case smtpc.BadAddress:
		s.Kind, s.DSN, s.Reason = deliver.Bounced, "5.1.3", "bad address syntax"
		if e.Phase == smtpc.Mail {
			s.DSN, s.Reason = "5.1.7", "bad sender address syntax"
		}
	case smtpc.Unreadable:
		s.DSN, s.Reason = "4.3.0", "queue file read error"
	default:
		s.DSN, s.Reason = "4.4.2", fmt.Sprintf("lost connection with %s while %s", t.label, e.Phase.Activity())
	}
	s.Reason = printable(s.Reason)
	return s
}

// refused fills in the status of a server that does not want to talk. A 5xx
// greeting is temporary where smtp_skip_5xx_greeting says so.
func (a *Agent) refused(s *deliver.Status, t target, e *smtpc.Error) {
	text := replyText(e.Reply)
	s.DSN, s.RemoteMTA, s.Diagnostic = replyDSN(e.Reply), t.name, text
	s.Reason = fmt.Sprintf("host %s refused to talk to me: %s", t.label, text)
	switch {
	case e.Reply.Permanent() && e.Phase == smtpc.Greeting && a.o.GreetingRetries:
		s.DSN = "4" + s.DSN[1:]
	case e.Reply.Permanent():
		s.Kind = deliver.Bounced
	case !e.Reply.Temporary():
		s.DSN = "4.5.0"
	}
}

// authRefused fills in the status of a server that does not take our
// credentials (RFC 4954, 6). That is mended here or there, so the mail waits,
// unless smtp_sasl_auth_soft_bounce says no.
func (a *Agent) authRefused(s *deliver.Status, t target, r wire.Reply) {
	text := replyText(r)
	s.DSN, s.RemoteMTA, s.Diagnostic = replyDSN(r), t.name, text
	s.Reason = fmt.Sprintf("SASL authentication failed; server %s said: %s", t.label, text)
	switch {
	case r.Permanent() && a.o.AuthBounces:
		s.Kind = deliver.Bounced
	case !r.Temporary():
		s.DSN = "4" + s.DSN[1:]
	}
}

// maxReplyText bounds what is kept of a reply: it ends up in logs, in the spool
// and in reports.
const maxReplyText = 1000

// replyText is a reply as it is shown to people: all its lines with their codes,
// on one line.
func replyText(r wire.Reply) string {
	text := printable(strings.ReplaceAll(r.Raw, "\n", " "))
	if len(text) > maxReplyText {
		text = strings.ToValidUTF8(text[:maxReplyText], "") + "..."
	}
	return text
}

// printable makes text of other servers fit for logs and reports: control
// characters become '?', and so do octets that are not UTF-8.
func printable(text string) string {
	control := func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 }
	if utf8.ValidString(text) && !strings.ContainsFunc(text, control) {
		return text
	}
	return strings.Map(func(r rune) rune {
		if control(r) || r == utf8.RuneError {
			return '?'
		}
		return r
	}, text)
}
