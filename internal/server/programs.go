package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"postern/internal/address"
	"postern/internal/config"
	"postern/internal/deliver"
	"postern/internal/deliver/command"
	"postern/internal/deliver/local"
	"postern/internal/deliver/pipe"
	"postern/internal/maillog"
	"postern/internal/privsep"
)

// newLocal makes an agent for system users.
func (s *Server) newLocal(g *generation, v *config.Settings, m config.Service, log *maillog.Program) (deliver.Agent, error) {
	store, err := s.mailboxes(v, log, m.Name, "mailbox_size_limit", "mailbox_delivery_lock")
	if err != nil {
		return nil, err
	}
	o := local.Options{Resolver: g.router, Store: store, OriginalRecipient: v.Bool("enable_original_recipient"),
		Runner: s.commands(), Environment: environment(v), Filter: v.String("command_expansion_filter"),
		Shell: v.String("local_command_shell"), Directory: v.String("queue_directory"), CommandLimit: v.Duration("command_time_limit"), Plain: plainTargets(v),
		Agent: func(transport string) (deliver.Agent, bool) {
			t, ok := g.agents[transport]
			return t.Agent, ok
		},
		Log: log}
	if old := s.current.Load(); old != nil {
		o.Earlier, _ = old.agents[m.Name].Agent.(*local.Agent)
	}
	return local.New(o), nil
}

// plainTargets are those that prepend_delivered_header leaves out.
func plainTargets(v *config.Settings) local.Places {
	plain := local.Commands | local.Files | local.Forwards
	for _, word := range v.List("prepend_delivered_header") {
		switch strings.ToLower(word) {
		case "command":
			plain &^= local.Commands
		case "file":
			plain &^= local.Files
		case "forward":
			plain &^= local.Forwards
		}
	}
	return plain
}

// environment is that of all commands. The commands of ours among them find the
// configuration as Postfix's do.
func environment(v *config.Settings) []string {
	return command.Environment(v.List("export_environment"), func(name string) (string, bool) {
		if name == "MAIL_CONFIG" {
			return v.Dir(), true
		}
		return os.LookupEnv(name)
	})
}

// newPipe makes the agent of a pipe service. One whose attributes are wrong
// defers its mail; it does not keep the server from starting, for a master.cf
// may have services that nobody uses.
func (s *Server) newPipe(g *generation, v *config.Settings, m config.Service, log *maillog.Program) deliver.Agent {
	attributes, err := pipe.Parse(m.Args)
	if err != nil {
		s.main.Warningf("%v: service %s: %v", m.At, m.Name, err)
	}
	limit := v.Duration("command_time_limit")
	if own := v.Duration(m.Name + "_time_limit"); own > 0 {
		limit = own
	}
	return pipe.New(pipe.Options{
		Service: m.Name, At: m.At.String(), Attributes: attributes, Fault: err,
		Identity: func(context.Context) (privsep.Identity, error) {
			return pipeIdentity(attributes.User, attributes.Group, v.String("mail_owner"), v.String("setgid_group"))
		},
		Runner: s.commands(), Environment: environment(v), Directory: v.String("queue_directory"), Limit: limit,
		Delimiter: address.Delimiter{Set: v.String("recipient_delimiter"), DoubleBounce: v.String("double_bounce_sender"),
			OwnerRequest: v.Bool("owner_request_special")},
		OriginalRecipient: v.Bool("enable_original_recipient"), Log: log,
	})
}

// pipeIdentity is who the program of a pipe service runs as: neither root nor
// the mail system itself (pipe(8), user=).
func pipeIdentity(name, group, owner, setgid string) (privsep.Identity, error) {
	id, err := privsep.LookupUser(name)
	if err != nil && !errors.Is(err, privsep.ErrRoot) {
		return id, fmt.Errorf("unknown username: %s", name)
	}
	id.Groups = nil // as pipe(8): the one group and no other
	if group != "" {
		if id.GID, err = privsep.LookupGroup(group); err != nil {
			return id, fmt.Errorf("unknown group: %s", group)
		}
	}
	switch {
	case id.UID == 0:
		return id, errors.New("user= command-line attribute specifies root privileges")
	case id.GID == 0:
		return id, errors.New("user= command-line attribute specifies privileged group id 0")
	}
	if mail, err := privsep.LookupUser(owner); err == nil {
		switch {
		case id.UID == mail.UID:
			return id, fmt.Errorf("user= command-line attribute specifies mail system owner %s", owner)
		case id.GID == mail.GID:
			return id, fmt.Errorf("user= command-line attribute specifies mail system owner %s group id %d", owner, id.GID)
		}
	}
	if gid, err := privsep.LookupGroup(setgid); err == nil && id.GID == gid {
		return id, fmt.Errorf("user= command-line attribute specifies mail system %s group id %d", setgid, gid)
	}
	return id, nil
}
