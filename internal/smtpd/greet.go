package smtpd

import (
	"context"
	"strconv"

	"postern/internal/smtp"
)

// open does what comes before the first command: limits, TLS in wrapper mode,
// the policy, the greeting (RFC 5321, 3.1).
func (ss *session) open(ctx context.Context) error {
	c := ss.config()
	if ss.tooMany() {
		return ss.leave(smtp.R(421, "4.7.0", c.Hostname+" Error: too many connections from "+ss.client.AddrText()))
	}
	if c.WrapperMode {
		if err := ss.handshake(ctx); err != nil {
			return err
		}
	}
	v := ss.profile.Policy.Connect(ctx, &ss.client)
	ss.connectEffects = v.Effects
	if ss.refused(ctx, v, nil) {
		ss.denied = true
		if ss.hangup {
			return ss.leave(smtp.Reply{})
		}
		return nil
	}
	if c.ForbidUnauthPipe && ss.outOfStep() {
		return ss.leave(outOfStep)
	}
	ss.reply(smtp.R(220, "", c.Banner))
	return nil
}

// tooMany reports whether the client has more sessions than it may have
// (smtpd_client_connection_count_limit).
func (ss *session) tooMany() bool {
	c := ss.config()
	n := ss.server.sessionsOf(ss)
	if c.ClientLimit <= 0 || n <= c.ClientLimit || !ss.client.Addr.IsValid() {
		return false
	}
	if ss.profile.Exempt != nil && ss.profile.Exempt(&ss.client) {
		return false
	}
	ss.log.Warningf("Connection concurrency limit exceeded: %d from %s for service %s", n, &ss.client, c.Service)
	return true
}

func (ss *session) helo(ctx context.Context, args string) (outcome, error) {
	if args == "" {
		ss.slowReply(ctx, smtp.R(501, "", "Syntax: HELO hostname"))
		return bad, nil
	}
	if !ss.introduce(ctx, args) {
		return bad, nil
	}
	ss.client.ESMTP = false
	ss.slowReply(ctx, smtp.R(250, "", ss.config().Hostname))
	return good, nil
}

func (ss *session) ehlo(ctx context.Context, args string) (outcome, error) {
	if args == "" {
		ss.slowReply(ctx, smtp.R(501, "", "Syntax: EHLO hostname"))
		return bad, nil
	}
	if !ss.introduce(ctx, args) {
		return bad, nil
	}
	ss.client.ESMTP = true
	c := ss.config()
	ss.slowReply(ctx, c.extensions(ss.client.TLS != nil, ss.profile.Flush != nil).Reply(c.Hostname))
	return good, nil
}

// introduce takes the name of a client. As RFC 5321, 4.1.4 has it, an open
// transaction ends.
func (ss *session) introduce(ctx context.Context, name string) bool {
	ss.abort()
	ss.client.Helo, ss.client.ESMTP = printable(name), false
	v := ss.profile.Policy.Helo(ctx, &ss.client)
	ss.heloEffects = v.Effects
	if ss.refused(ctx, v, nil) {
		ss.client.Helo, ss.state = "", stateStart
		return false
	}
	ss.state = stateReady
	return true
}

// sizeLine announces the size limit (RFC 1870, 3); without a number when there
// is none.
func sizeLine(limit int64) string {
	if limit <= 0 {
		return "SIZE"
	}
	return "SIZE " + strconv.FormatInt(limit, 10)
}
