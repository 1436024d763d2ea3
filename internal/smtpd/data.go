package smtpd

import (
	"context"
	"errors"
	"strconv"

	"postern/internal/smtp"
)

// Replies of DATA and of the end of the text.
var (
	goAhead    = smtp.R(354, "", "End data with <CR><LF>.<CR><LF>")
	tooBig     = smtp.R(552, "5.3.4", "Error: message file too big")
	writeError = smtp.R(451, "4.3.0", "Error: queue file write error")
)

// errTooBig is the end of a text beyond message_size_limit.
var errTooBig = errors.New("message size limit exceeded")

// data handles DATA and the text behind it (RFC 5321, 4.1.1.4).
func (ss *session) data(ctx context.Context, args string) (outcome, error) {
	if args != "" {
		ss.slowReply(ctx, smtp.R(501, "5.5.4", "Syntax: DATA"))
		return bad, nil
	}
	if ss.refused(ctx, ss.profile.Policy.Data(ctx, ss.tx), nil) {
		return bad, nil
	}
	ss.body.Start(ss.tx)
	ss.slowReply(ctx, goAhead)
	if err := ss.flush(); err != nil {
		return bad, err
	}
	d, err := ss.receive()
	if err != nil {
		ss.where = "DATA (" + strconv.FormatInt(d.Size, 10) + " bytes)"
		return bad, err
	}
	ss.where = "END-OF-MESSAGE"
	ss.tx.Size = d.Size
	return ss.finish(ctx, d), nil
}

// receive reads the text into the body. Every read has to come within
// smtpd_timeout.
func (ss *session) receive() (smtp.Data, error) {
	c := ss.config()
	ss.read(ss.server.lendText())
	ss.deadline.perRead = c.timeout()
	defer func() { ss.deadline.perRead = 0 }()
	policy := smtp.DataPolicy{BareNewline: ss.bareNewline(), ReplaceCR: !c.KeepStrayCR}
	return ss.in.ReadData(&limitedBody{body: ss.body, limit: c.MessageSizeLimit}, policy)
}

// finish accepts or refuses a message whose text is in, and ends the
// transaction.
func (ss *session) finish(ctx context.Context, d smtp.Data) outcome {
	switch {
	case d.BareLF && ss.bareNewline() == smtp.BareNewlineReject:
		ss.reject(ctx, ss.bareNewlineReply(), nil)
		ss.abort()
		return bad
	case errors.Is(d.WriteErr, errTooBig):
		ss.log.Warningf("%s: queue file size limit exceeded", ss.tx.QueueID)
		ss.reject(ctx, tooBig, nil)
		ss.abort()
		return bad
	case d.WriteErr == nil && ss.refused(ctx, ss.profile.Policy.EndOfData(ctx, ss.tx), nil):
		ss.abort()
		return bad
	}
	reply := ss.body.Commit(ctx, ss.tx)
	if d.WriteErr != nil && (reply.IsZero() || reply.Positive()) {
		reply = writeError
	}
	if reply.IsZero() {
		reply = smtp.R(250, "2.0.0", "Ok: queued as "+ss.tx.QueueID)
	}
	if !reply.Positive() {
		ss.reject(ctx, reply, nil)
		ss.endTransaction()
		return bad
	}
	ss.endTransaction()
	ss.slowReply(ctx, reply)
	ss.errors, ss.junk = 0, 0
	return good
}

// limitedBody fails when the text is longer than the limit; 0 is no limit.
type limitedBody struct {
	body  Body
	limit int64
	size  int64
}

func (l *limitedBody) Write(p []byte) (int, error) {
	l.size += int64(len(p))
	if l.limit > 0 && l.size > l.limit {
		return 0, errTooBig
	}
	return l.body.Write(p)
}

// bareNewline is the policy for the client.
func (ss *session) bareNewline() smtp.BareNewline {
	if ss.profile.BareNewlineOK != nil && ss.profile.BareNewlineOK(&ss.client) {
		return smtp.BareNewlineAllow
	}
	return ss.config().ForbidBareNewline
}

func (ss *session) bareNewlineReply() smtp.Reply {
	c := ss.config()
	enhanced := "5.5.2"
	if c.bareNewlineCode() < 500 {
		enhanced = "4.5.2"
	}
	return smtp.R(c.bareNewlineCode(), enhanced, c.Hostname+" Error: bare <LF> received")
}
