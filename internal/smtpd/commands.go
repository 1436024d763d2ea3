package smtpd

import (
	"context"
	"strings"

	"postern/internal/smtp"
)

// command is a row of the command table.
type command struct {
	name string
	// run handles the command. Its error ends the session: errQuit, or the
	// error of the connection.
	run func(ss *session, ctx context.Context, args string) (outcome, error)
	// misplaced holds the reply for each state in which the command is out of
	// order. Where it is zero, the command is in order.
	misplaced [stateCount]smtp.Reply
	early     bool // allowed before STARTTLS when TLS is required
	last      bool // must be the last of a pipelined group (RFC 2920, 3.1)
	junk      bool // counts against smtpd_junk_command_limit
}

// Replies to commands out of order.
var (
	nestedMail   = smtp.R(503, "5.5.1", "Error: nested MAIL command")
	needMail     = smtp.R(503, "5.5.1", "Error: need MAIL command")
	needRcpt     = smtp.R(503, "5.5.1", "Error: need RCPT command")
	noRecipients = smtp.R(554, "5.5.1", "Error: no valid recipients")
)

// commands is the table, in the order of commandNames.
var commands = [len(commandNames)]command{
	{name: "HELO", run: (*session).helo, early: true, last: true, junk: true},
	{name: "EHLO", run: (*session).ehlo, early: true, last: true, junk: true},
	{name: "XCLIENT", run: (*session).unauthorized, early: true},
	{name: "XFORWARD", run: (*session).unauthorized},
	{name: "STARTTLS", run: (*session).startTLS, early: true},
	{name: "AUTH", run: (*session).auth},
	{name: "MAIL", run: (*session).mail, misplaced: [...]smtp.Reply{stateMail: nestedMail, stateRcpt: nestedMail}},
	{name: "RCPT", run: (*session).rcpt, misplaced: [...]smtp.Reply{stateStart: needMail, stateReady: needMail, stateRcpt: {}}},
	{name: "DATA", run: (*session).data, last: true, misplaced: [...]smtp.Reply{
		stateStart: needRcpt, stateReady: needRcpt, stateMail: noRecipients, stateRcpt: {}}},
	{name: "BDAT", run: (*session).bdat},
	{name: "RSET", run: (*session).rset, junk: true},
	{name: "NOOP", run: (*session).noop, early: true, last: true, junk: true},
	{name: "VRFY", run: (*session).vrfy, last: true, junk: true},
	{name: "ETRN", run: (*session).etrn, junk: true},
	{name: "HELP", run: (*session).help, early: true, junk: true},
	{name: "QUIT", run: (*session).quit, early: true},
}

// Replies of the dispatcher.
var (
	badSyntax     = smtp.R(500, "5.5.2", "Error: bad syntax")
	badUTF8       = smtp.R(500, "5.5.2", "Error: bad UTF-8 syntax")
	unrecognized  = smtp.R(500, "5.5.2", "Error: command not recognized")
	needTLS       = smtp.R(530, "5.7.0", "Must issue a STARTTLS command first")
	outOfStep     = smtp.R(554, "5.5.0", "Error: SMTP protocol synchronization")
	breakingRules = smtp.R(221, "2.7.0", "Error: I can break rules, too. Goodbye.")
	ok            = smtp.R(250, "2.0.0", "Ok")
)

// find returns the row of a verb, or unknownCommand.
func (ss *session) find(verb string) int {
	for i := range commands {
		if commands[i].name == verb && !(verb == "HELP" && ss.config().PostfixCommands) {
			return i
		}
	}
	return unknownCommand
}

// unknownCommand is the place of unknown commands among the counters.
const unknownCommand = len(commandNames)

// dispatch runs one command line. Its error ends the session.
func (ss *session) dispatch(ctx context.Context, line string) error {
	verb, args := smtp.SplitCommand(line)
	if verb == "" {
		ss.fail(ctx, badSyntax)
		return nil
	}
	c := ss.config()
	if c.NoopCommands[verb] {
		ss.slowReply(ctx, ok)
		ss.countJunk()
		return nil
	}
	i := ss.find(verb)
	ss.counts.total[i]++
	if i == unknownCommand {
		ss.where = "UNKNOWN"
		if looksLikeHeader(verb) || c.forbidden(firstWord(line)) {
			ss.log.Warningf("non-SMTP command from %s: %s", &ss.client, printable(clip(line, 100)))
			return ss.leave(breakingRules)
		}
	}
	switch {
	case ss.denied && verb != "QUIT":
		ss.fail(ctx, smtp.R(503, "5.7.0", "Error: access denied for "+ss.client.String()))
		return nil
	case i == unknownCommand:
		ss.fail(ctx, unrecognized)
		return nil
	case c.TLSLevel == TLSEncrypt && ss.client.TLS == nil && !commands[i].early:
		ss.fail(ctx, needTLS)
		return nil
	}
	return ss.execute(ctx, i, args)
}

// execute runs the command of a row.
func (ss *session) execute(ctx context.Context, i int, args string) error {
	cmd := &commands[i]
	ss.where = cmd.name
	if (cmd.last || !ss.client.ESMTP) && ss.outOfStep() {
		return ss.leave(outOfStep)
	}
	result := bad
	if misplaced := cmd.misplaced[ss.state]; !misplaced.IsZero() {
		ss.slowReply(ctx, misplaced)
	} else {
		var err error
		if result, err = cmd.run(ss, ctx, args); err != nil {
			if result == good {
				ss.counts.good[i]++
			}
			return err
		}
	}
	if result == good {
		ss.counts.good[i]++
	} else {
		ss.errors++
	}
	if cmd.junk {
		ss.countJunk()
	}
	return nil
}

// countJunk counts a command that does nothing for mail; beyond the limit it is
// an error.
func (ss *session) countJunk() {
	limit := ss.config().JunkCommandLimit
	if limit > 0 && ss.junk > limit {
		ss.errors++
	}
	ss.junk++
}

// outOfStep reports whether the client must be stopped for it has sent more
// without waiting for the reply where it has to wait: after a command that
// ends a group, after any command before EHLO, before the greeting.
func (ss *session) outOfStep() bool {
	if len(ss.in.Buffered()) == 0 {
		if ss.client.TLS != nil || !pending(ss.raw) {
			return false
		}
		_ = ss.in.More() // for the log; an error shows at the next read
	}
	if !ss.piping {
		ss.piping = true
		ss.log.Infof("improper command pipelining after %s from %s: %s", ss.where, &ss.client, escape(ss.in.Buffered()))
	}
	return ss.config().ForbidUnauthPipe
}

// looksLikeHeader reports whether a verb is the name of a header field and a
// colon: an HTTP client or a sender that lost its step.
func looksLikeHeader(verb string) bool {
	return strings.IndexByte(verb, ':') > 0
}

// firstWord is the verb as the client wrote it.
func firstWord(line string) string {
	word, _, _ := strings.Cut(strings.TrimLeft(line, " \t\v\f\r\n"), " ")
	return word
}
