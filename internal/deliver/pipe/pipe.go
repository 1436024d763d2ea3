// Package pipe is the agent of the master.cf services that run pipe: it gives
// mail to a program, as pipe(8) of Postfix does.
//
//	archive unix - n n - 10 pipe
//	    flags=DRhu user=vmail argv=/usr/bin/archive -f ${sender} -- ${recipient}
//
// The attributes in front of argv= are, each at most once that counts:
//
//	user=NAME[:GROUP]  whose rights the program has: never those of root
//	flags=LETTERS      see below
//	directory=PATH     where it runs; queue_directory
//	eol=TEXT           line end of what it reads, with escapes as in C; \n
//	null_sender=TEXT   what stands for the null sender; MAILER-DAEMON
//	size=OCTETS        larger messages bounce: 5.2.3 message too large
//
// and the flags:
//
//	B  an empty line at the end         D  a Delivered-To line in front, and a bounce
//	F  a From line in front                for a message that has been here before
//	R  a Return-Path line in front      O  an X-Original-To line in front
//	.  "." in front of a line with "."  h  host names in lower case (arguments)
//	>  ">" in front of "From "          u  local parts in lower case (arguments)
//	X  this is final delivery           q  addresses quoted (arguments)
//
// # Arguments
//
// In the program's arguments $name, ${name} and ${name?text} are replaced, see
// package macro:
//
//	${recipient} ${user} ${extension} ${mailbox} ${domain} ${original_recipient}
//	${sender} ${nexthop} ${size} ${queue_id} ${envid}
//	${client_address} ${client_hostname} ${client_helo} ${client_port} ${client_protocol}
//	${sasl_method} ${sasl_sender} ${sasl_username}
//
// An argument with one of the first line is repeated for each recipient; one
// with a ${user} that is empty is left out. Those of the last two lines are
// empty: they are not kept with a message. No shell looks at anything.
//
// # Results
//
// The program runs once for all recipients of a delivery, which share its fate:
//
//	sent  2.0.0  delivered via NAME service
//	sent  2.0.0  delivered via NAME service (what the program said)
//
// or what package command makes of its exit status, with NAME as the relay. A
// delivery is repeated when the server dies before it is recorded. A service
// whose attributes are wrong defers its mail, 4.3.5, and says where the fault is.
//
// Not here: chroot=.
//
// It imports address, command, deliver, header, macro, mailbox, privsep and spool.
package pipe

import (
	"context"
	"time"

	"postern/internal/address"
	"postern/internal/deliver"
	"postern/internal/deliver/command"
	"postern/internal/deliver/mailbox"
	"postern/internal/header"
	"postern/internal/privsep"
	"postern/internal/spool"
)

// headerLimit bounds the part of a message that is searched for Delivered-To.
const headerLimit = 1 << 20

// outputLimit is how much of the program's output is kept.
const outputLimit = 4096

// Text is the text of a message while it is read.
type Text interface {
	mailbox.Body
	Close() error
}

// Logger takes what an administrator should see besides the result.
type Logger interface {
	Warningf(format string, args ...any)
}

// Options make an Agent. Service, Attributes, Identity and Runner are required.
type Options struct {
	Service    string // name in master.cf
	At         string // its place, "/etc/postfix/master.cf:42"
	Attributes Attributes
	Fault      error // of the attributes: every delivery waits, for this reason
	// Identity says who user= is, at each delivery: users come and go.
	Identity    func(ctx context.Context) (privsep.Identity, error)
	Runner      command.Runner
	Environment []string
	Directory   string        // where there is no directory=
	Limit       time.Duration // NAME_time_limit
	Delimiter   address.Delimiter
	// OriginalRecipient lets flag O write X-Original-To (enable_original_recipient).
	OriginalRecipient bool
	Log               Logger                             // nil: nothing is logged
	Open              func(*spool.Message) (Text, error) // nil: spool.Message.Open
	Now               func() time.Time                   // nil: time.Now
}

// Agent gives mail to a program. It is safe for concurrent use.
type Agent struct{ o Options }

var _ deliver.Agent = (*Agent)(nil)

// New returns an Agent.
func New(o Options) *Agent {
	if o.Open == nil {
		o.Open = func(m *spool.Message) (Text, error) { return m.Open() }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Agent{o}
}

// Deliver runs the program once. All recipients get the same status.
func (a *Agent) Deliver(ctx context.Context, r *deliver.Request) []deliver.Status {
	status := a.deliver(ctx, r)
	status.Relay = a.o.Service
	statuses := make([]deliver.Status, len(r.Recipients))
	for i := range statuses {
		statuses[i] = status
	}
	return statuses
}

func (a *Agent) deliver(ctx context.Context, r *deliver.Request) deliver.Status {
	t := &a.o.Attributes
	if a.o.Fault != nil {
		return a.misconfigured("%v", a.o.Fault)
	}
	if flag := t.single(); flag != 0 && len(r.Recipients) > 1 {
		return a.misconfigured("pipe flag `%c' requires %s_destination_recipient_limit = 1", flag, a.o.Service)
	}
	if t.Size > 0 && r.Message.Size > t.Size {
		return deliver.Status{Kind: deliver.Bounced, DSN: "5.2.3", Reason: "message too large"}
	}
	if r.Probe {
		return deliver.Status{Kind: deliver.Sent, DSN: "2.0.0", Reason: "delivers to command: " + t.Argv[0]}
	}
	id, err := a.o.Identity(ctx)
	if err != nil {
		return a.misconfigured("%v", err)
	}
	text, err := a.o.Open(r.Message)
	if err == nil {
		defer text.Close()
		if t.has('D') {
			loops, failed := been(text, r.Recipients[0].Address)
			if loops {
				return deliver.Status{Kind: deliver.Bounced, DSN: "5.4.6", Reason: "mail forwarding loop for " + r.Recipients[0].Address}
			}
			err = failed
		}
	}
	if err != nil {
		a.warningf("%s: %v", r.Message.ID, err)
		return deliver.Status{Kind: deliver.Deferred, DSN: "4.3.0", Reason: "message text is not readable"}
	}
	return a.run(ctx, r, id, text)
}

func (a *Agent) run(ctx context.Context, r *deliver.Request, id privsep.Identity, text Text) deliver.Status {
	t := &a.o.Attributes
	argv := t.expand(a.macros(r), r.Recipients, a.o.Delimiter)
	dir := t.Directory
	if dir == "" {
		dir = a.o.Directory
	}
	result, err := command.Feed(ctx, a.o.Runner, command.Spec{
		As: id, Argv: argv, Env: a.o.Environment, Dir: dir, Limit: a.o.Limit, Output: outputLimit,
	}, command.Input{
		Head: a.head(r), Text: text, EOL: t.EOL, Dot: t.has('.'), Quote: t.has('>'), Blank: t.has('B'),
	})
	status := command.Status(t.Argv[0], result, err)
	if status.Kind == deliver.Sent {
		status.Reason = "delivered via " + a.o.Service + " service"
		if said := command.Printable(result.Output); said != "" {
			status.Reason += " (" + said + ")"
		}
		if !t.has('X') {
			status.Reach = deliver.Relayed
		}
	}
	return status
}

// head is what flags put in front of the text.
func (a *Agent) head(r *deliver.Request) []byte {
	t := &a.o.Attributes
	sender := t.sender(r.Message.Envelope.Sender)
	var head []byte
	if t.has('F') {
		head = append(head, mailbox.FromLine(sender, a.o.Now())...)
	}
	if t.has('R') {
		head = append(head, mailbox.ReturnPath(sender)...)
	}
	if t.has('O') && a.o.OriginalRecipient && r.Recipients[0].Original != "" {
		head = append(head, mailbox.OriginalTo(r.Recipients[0].Original)...)
	}
	if t.has('D') {
		head = append(head, mailbox.DeliveredTo(r.Recipients[0].Address)...)
	}
	return head
}

// been reports whether the message has a Delivered-To line with the address.
func been(text Text, internal string) (bool, error) {
	fields, err := header.Read(text, headerLimit)
	if err != nil {
		return false, err
	}
	external := address.Fold(address.Split(internal).String())
	internal = address.Fold(internal)
	for _, v := range header.Values(fields, "Delivered-To") {
		if v = address.Fold(v); v == internal || v == external {
			return true, nil
		}
	}
	return false, nil
}

// misconfigured makes the recipients wait until somebody has read the log.
func (a *Agent) misconfigured(format string, args ...any) deliver.Status {
	a.warningf("%s: service %s: "+format, append([]any{a.o.At, a.o.Service}, args...)...)
	return deliver.Status{Kind: deliver.Deferred, DSN: "4.3.5", Reason: "mail system configuration error"}
}

func (a *Agent) warningf(format string, args ...any) {
	if a.o.Log != nil {
		a.o.Log.Warningf(format, args...)
	}
}
