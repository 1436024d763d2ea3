// Package local is the agent for mail of system users, as local(8) of Postfix
// does it: user@localdomain goes to the user's mailbox, or wherever aliases(5)
// and the user's .forward file send it. Which targets a recipient has is for the
// Resolver to say; this package carries them out:
//
//	mailbox    written as the user, by package mailbox: /var/mail/USER or home_mailbox
//	file       the same, for /file/name and ~/file/name of a list
//	command    run by package command: |command of a list, or mailbox_command
//	forward    a new message to the addresses, with "Delivered-To: RECIPIENT" in front
//	transport  handed to another agent (mailbox_transport, fallback_transport)
//	discard    taken and dropped
//	bounce     refused for good
//	defer      tried again later
//
// Before anything else the header of the message is searched for a Delivered-To
// line with the recipient's own address, and before each delivery for one with
// the address of the list member that it is for. When there is one, the message
// has been here before, and bounces: 5.4.6 mail forwarding loop for ADDRESS.
//
// # Commands
//
// A command reads the message from its standard input:
//
//	From sender@client.example  Mon Jun  3 14:05:09 2024
//	Return-Path: <sender@client.example>
//	X-Original-To: team@example.com
//	Delivered-To: john@example.com
//	(the message)
//
// It runs with the rights of the user whose .forward file or mailbox it is, of
// the owner of the alias or :include: file, and where that is root with those of
// default_privs. Its environment is PATH, what export_environment names, and
// HOME, SHELL, LOGNAME, USER, LOCAL, DOMAIN, EXTENSION, SENDER, RECIPIENT and
// ORIGINAL_RECIPIENT, in which characters that command_expansion_filter does not
// list are '_'. CLIENT_* and SASL_* of Postfix are not kept with a message. When
// there are shell meta characters in a command, /bin/sh runs it
// (local_command_shell: that one in any case). Its exit status means what package
// command says.
//
// # Several targets
//
// A recipient has one status, whatever its targets came to. In this order:
//
//   - a target that is deferred defers the recipient; nothing is forwarded yet
//   - a target that is refused bounces the recipient; the others keep what they
//     got, and the forwards are sent
//   - otherwise the recipient is sent
//
// When a deferred recipient is tried again, targets that took the message are
// left out. That is remembered in memory, for a bounded number of recipients.
// After a restart a mailbox knows the message; a command, or a transport, may
// get it a second time. So may the only command of a recipient, when the server
// dies between the end of the command and its record.
//
// # Probes
//
// A probe says what would be done, "delivers to maildir", "delivers to command:
// CMD", "forwards to fred@remote.example", and does nothing of it, but for what
// another transport does with a probe.
//
// # Root
//
// Nothing is written or run with the rights of root. Mail for the user root
// waits, with a reason that says so, until root is an alias of somebody.
//
// # Results
//
// A mailbox or file that cannot be where it is said to be is refused for good:
// no right to write, no such directory, no regular file. Locks that others hold
// and troubles of this machine (no descriptors, memory or room, a disk that fails
// or is read-only) defer.
//
// Texts read as those of Postfix, with the relay "local": delivered to
// mailbox, delivered to maildir, delivered to file: F, delivered to command: CMD,
// forwarded; cannot update mailbox F for user U. REASON; maildir delivery failed:
// REASON.
//
// Not here: reading aliases, :include: and .forward files (package route), and
// notification of users who are logged in (biff).
//
// It imports address, command, deliver, header, mailbox, privsep, route and spool.
package local

import (
	"context"
	"errors"
	"time"

	"postern/internal/address"
	"postern/internal/deliver"
	"postern/internal/deliver/command"
	"postern/internal/deliver/mailbox"
	"postern/internal/header"
	"postern/internal/route"
	"postern/internal/spool"
)

// relay is what the log says after relay=.
const relay = "local"

// headerLimit bounds the part of a message that is searched for Delivered-To.
// Those lines are put in front, so a loop shows near the start.
const headerLimit = 1 << 20

// Resolver finds targets; *route.Router is one.
type Resolver interface {
	// LocalTargets says what to do for addr. A *route.DeliveryError says why
	// there is nothing to do; any other error defers the recipient. The trace is
	// nil here.
	LocalTargets(ctx context.Context, addr address.Address, tr *route.Trace) ([]route.LocalTarget, error)
}

var _ Resolver = (*route.Router)(nil)

// Text is the text of a message while it is read.
type Text interface {
	mailbox.Body
	Close() error
}

// Logger takes what an administrator should see besides the result.
type Logger interface {
	Infof(format string, args ...any)
	Warningf(format string, args ...any)
}

// Places are kinds of targets.
type Places uint8

// Kinds of targets, as prepend_delivered_header names them.
const (
	Commands Places = 1 << iota
	Files           // mailboxes of users too
	Forwards
)

// Options make an Agent. Resolver and Store are required.
type Options struct {
	Resolver Resolver
	Store    mailbox.Deliverer
	// Runner runs commands; nil: mail for them waits.
	Runner command.Runner
	// Environment of commands besides what the package comment lists.
	Environment  []string
	Filter       string        // command_expansion_filter; "" lets all pass
	Shell        string        // local_command_shell
	Directory    string        // where commands run without command_execution_directory
	CommandLimit time.Duration // command_time_limit; 0: none
	// Plain are the targets without a Delivered-To line: those that
	// prepend_delivered_header leaves out.
	Plain Places
	// OriginalRecipient writes X-Original-To (enable_original_recipient).
	OriginalRecipient bool
	// Agent finds the agent of another transport (mailbox_transport); nil:
	// there is no other.
	Agent func(transport string) (deliver.Agent, bool)
	Log   Logger                             // nil: nothing is logged
	Open  func(*spool.Message) (Text, error) // nil: spool.Message.Open
	Now   func() time.Time                   // for the From line of commands; nil: time.Now
	// Earlier is the agent of the configuration before this one; what it
	// remembers of recipients is known here too. nil: there was none.
	Earlier *Agent
}

// Agent delivers to system users. It is safe for concurrent use.
type Agent struct {
	o    Options
	done *parts
}

var _ deliver.Agent = (*Agent)(nil)

// New returns an Agent.
func New(o Options) *Agent {
	if o.Open == nil {
		o.Open = func(m *spool.Message) (Text, error) { return m.Open() }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	a := &Agent{o: o, done: new(parts)}
	if o.Earlier != nil {
		a.done, a.o.Earlier = o.Earlier.done, nil
	}
	return a
}

// Deliver carries out the targets of each recipient. When ctx ends, what is not
// done is deferred.
func (a *Agent) Deliver(ctx context.Context, r *deliver.Request) []deliver.Status {
	statuses := make([]deliver.Status, len(r.Recipients))
	text, err := a.o.Open(r.Message)
	var fields []byte
	if err == nil {
		defer text.Close()
		fields, err = header.Read(text, headerLimit)
	}
	if err != nil {
		a.warningf("%s: %v", r.Message.ID, err)
		for i := range statuses {
			statuses[i] = status(deliver.Deferred, "4.3.0", "message text is not readable")
		}
		return statuses
	}
	visited := header.Values(fields, "Delivered-To")
	for i := range r.Recipients {
		d := delivery{agent: a, request: r, message: r.Message, text: text, to: &r.Recipients[i], visited: visited}
		statuses[i] = d.run(ctx)
	}
	return statuses
}

// delivery is the work for one recipient.
type delivery struct {
	agent   *Agent
	request *deliver.Request
	message *spool.Message
	text    Text
	to      *deliver.Recipient
	visited []string // addresses in the message's Delivered-To lines
}

func (d *delivery) run(ctx context.Context) deliver.Status {
	if ctx.Err() != nil {
		return interrupted()
	}
	addr := address.Split(d.to.Address)
	if d.been(addr) {
		return loop(addr)
	}
	targets, err := d.agent.o.Resolver.LocalTargets(ctx, addr, nil)
	if err != nil {
		return d.unresolved(ctx, addr, err)
	}
	if len(targets) == 0 {
		d.agent.warningf("recipient %s: no target is left (an empty alias?)", addr)
		return status(deliver.Deferred, "4.3.5", "mail system configuration error")
	}
	return d.all(ctx, targets)
}

func loop(addr address.Address) deliver.Status {
	return status(deliver.Bounced, "5.4.6", "mail forwarding loop for "+addr.String())
}

// been reports whether a Delivered-To line shows addr, in either spelling.
func (d *delivery) been(addr address.Address) bool {
	if len(d.visited) == 0 {
		return false
	}
	internal, external := address.Fold(addr.Internal()), address.Fold(addr.String())
	for _, v := range d.visited {
		if v = address.Fold(v); v == internal || v == external {
			return true
		}
	}
	return false
}

func (d *delivery) unresolved(ctx context.Context, addr address.Address, err error) deliver.Status {
	var known *route.DeliveryError
	switch {
	case errors.As(err, &known) && known.Temporary:
		return status(deliver.Deferred, known.DSN, known.Reason)
	case known != nil:
		return status(deliver.Bounced, known.DSN, known.Reason)
	case ctx.Err() != nil:
		return interrupted()
	}
	d.agent.warningf("recipient %s: %v", addr, err)
	return status(deliver.Deferred, "4.3.5", "mail system configuration error")
}

func status(kind deliver.Kind, dsn, reason string) deliver.Status {
	return deliver.Status{Kind: kind, DSN: dsn, Reason: reason, Relay: relay}
}

func interrupted() deliver.Status {
	return status(deliver.Deferred, "4.3.2", "delivery was interrupted")
}

func (a *Agent) warningf(format string, args ...any) {
	if a.o.Log != nil {
		a.o.Log.Warningf(format, args...)
	}
}
