package local

import (
	"cmp"
	"context"
	"slices"

	"postern/internal/deliver"
	"postern/internal/deliver/command"
	"postern/internal/deliver/mailbox"
	"postern/internal/privsep"
	"postern/internal/route"
)

// outputLimit is how much of a command's output is kept for the log and the
// report.
const outputLimit = 4096

// command gives the message to a program.
func (d *delivery) command(ctx context.Context, t *route.LocalTarget) deliver.Status {
	c, o := &t.Command, &d.agent.o
	if d.request.Probe {
		return status(deliver.Sent, "2.0.0", "delivers to command: "+c.Line)
	}
	if o.Runner == nil {
		return status(deliver.Deferred, "4.3.0", "delivery to commands is not available: "+c.Line)
	}
	env := slices.Concat(o.Environment, d.environment(t))
	result, err := command.Feed(ctx, o.Runner, command.Spec{
		As: privsep.Identity{UID: c.UID, GID: c.GID}, Argv: command.Argv(c.Line, o.Shell, o.Environment), Env: env,
		Dir: cmp.Or(c.Dir, o.Directory), Limit: o.CommandLimit, Output: outputLimit,
	}, command.Input{
		Head: append(mailbox.FromLine(d.sender(t), o.Now()), d.header(t, Commands)...),
		Text: d.text,
	})
	done := command.Status(c.Line, result, err)
	done.Relay = relay
	if done.Kind == deliver.Sent {
		done.Reason = "delivered to command: " + c.Line
	}
	return done
}

// environment tells a command about its message. What comes from outside is
// censored, and so is the rest.
func (d *delivery) environment(t *route.LocalTarget) []string {
	c := &t.Command
	var env []string
	for _, v := range [...]struct {
		name, value string
		always      bool
	}{
		{"HOME", c.Home, false},
		{"LOGNAME", c.User, true},
		{"USER", c.User, true},
		{"SENDER", d.sender(t), true},
		{"RECIPIENT", t.Recipient, true},
		{"LOCAL", c.Local, true},
		{"SHELL", c.Shell, false},
		{"DOMAIN", c.Domain, false},
		{"EXTENSION", c.Extension, false},
		{"ORIGINAL_RECIPIENT", d.to.Original, false},
	} {
		if v.always || v.value != "" {
			env = append(env, v.name+"="+command.Censor(v.value, d.agent.o.Filter))
		}
	}
	return env
}
