package server

import (
	"fmt"
	"path/filepath"

	"postern/internal/config"
	"postern/internal/deliver"
	"postern/internal/deliver/discard"
	"postern/internal/deliver/errored"
	"postern/internal/deliver/mailbox"
	"postern/internal/deliver/smtp"
	"postern/internal/deliver/virtual"
	"postern/internal/privsep"
	"postern/internal/queue"
	"postern/internal/route"
)

// newAgents makes the delivery agents of master.cf. A service that runs a
// program of Postfix that does not deliver here is left out: mail for it waits.
func (s *Server) newAgents(g *generation) (map[string]queue.Transport, error) {
	agents := map[string]queue.Transport{}
	for _, m := range g.settings.Services() {
		if m.Type != "unix" {
			continue
		}
		settings, err := g.settings.ForService(m)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", m.At, err)
		}
		agent, err := s.newAgent(g, settings, m)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", m.At, err)
		}
		if agent == nil {
			continue
		}
		agents[m.Name] = queue.Transport{
			Agent: agent, Program: m.Command, Processes: m.MaxProc,
			InitialConcurrency:     settings.TransportInt(m.Name, "initial_destination_concurrency"),
			DestinationConcurrency: settings.TransportInt(m.Name, "destination_concurrency_limit"),
			DestinationRecipients:  settings.TransportInt(m.Name, "destination_recipient_limit"),
			FailedCohorts:          settings.TransportInt(m.Name, "destination_concurrency_failed_cohort_limit"),
		}
	}
	return agents, nil
}

func (s *Server) newAgent(g *generation, v *config.Settings, m config.Service) (deliver.Agent, error) {
	log := s.log.Named(v.String("syslog_name"), m.Command)
	switch m.Command {
	case "virtual":
		store, err := s.mailboxes(v, log, m.Name, "virtual_mailbox_limit", "virtual_mailbox_lock")
		if err != nil {
			return nil, err
		}
		return virtual.New(virtual.Options{Resolver: g.router, Store: store,
			OriginalRecipient: v.Bool("enable_original_recipient"), Log: log}), nil
	case "local":
		return s.newLocal(g, v, m, log)
	case "pipe":
		return s.newPipe(g, v, m, log), nil
	case "smtp", "lmtp":
		o, err := smtpOptions(g, v, m.Command == "lmtp", log)
		if err != nil {
			return nil, err
		}
		o.Log = log
		return smtp.New(o)
	case "error":
		return &errored.Agent{Retry: m.Name == "retry"}, nil
	case "discard":
		return &discard.Agent{}, nil
	}
	return nil, nil
}

// mailboxes makes the writer of mailboxes with the limits of one agent.
func (s *Server) mailboxes(v *config.Settings, log mailbox.Logger, name, limit, locks string) (mailbox.Deliverer, error) {
	parsed, err := mailbox.ParseLocks(v.String(locks))
	if err != nil {
		return nil, fmt.Errorf("%v: %s: %w", v.Value(locks).At, locks, err)
	}
	size, message := v.Int64(limit), v.Int64("message_size_limit")
	switch {
	case size > 0 && message == 0:
		return nil, fmt.Errorf("%v: configuration error: %s is limited but message_size_limit is unlimited", v.Value(limit).At, limit)
	case size > 0 && size < message:
		return nil, fmt.Errorf("%v: configuration error: %s is smaller than message_size_limit", v.Value(limit).At, limit)
	}
	o := mailbox.Options{
		As: s.runner, Hostname: s.hostname, Limit: size, Locks: parsed, StrictOwner: v.Bool("strict_mailbox_ownership"),
		Timing: mailbox.LockTiming{Attempts: v.Int("deliver_lock_attempts"), Delay: v.Duration("deliver_lock_delay"),
			Stale: v.Duration("stale_lock_time")},
		Lend: lends(v), Log: log,
	}
	return s.deliverer(o, s.syncEach || v.String("mailbox_sync") == "each", name), nil
}

// lends says which directories lend their group to the owner of an mbox: that of
// mail_spool_directory, unless the group has rights in the mail system. With a
// helper its policy says so.
func lends(v *config.Settings) func(box *route.Mailbox, gid int) bool {
	dir := filepath.Clean(v.String("mail_spool_directory"))
	refused := map[int]bool{0: true}
	if owner, err := privsep.LookupUser(v.String("mail_owner")); err == nil {
		refused[owner.GID] = true
	}
	if gid, err := privsep.LookupGroup(v.String("setgid_group")); err == nil {
		refused[gid] = true
	}
	return func(box *route.Mailbox, gid int) bool { return box.Base == dir && !refused[gid] }
}
