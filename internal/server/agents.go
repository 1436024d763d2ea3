package server

import (
	"fmt"
	"net/netip"
	"time"

	"postern/internal/config"
	"postern/internal/deliver"
	"postern/internal/deliver/discard"
	"postern/internal/deliver/errored"
	"postern/internal/deliver/local"
	"postern/internal/deliver/mailbox"
	"postern/internal/deliver/smtp"
	"postern/internal/deliver/virtual"
	"postern/internal/queue"
	"postern/internal/smtpc"
	"postern/internal/spool"
	"postern/internal/tlsconf"
)

// newAgents makes the delivery agents of master.cf. A service that runs a
// program we do not have is left out: mail for it is deferred.
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
		store, err := s.mailboxes(v, log, "virtual_mailbox_limit", "virtual_mailbox_lock")
		if err != nil {
			return nil, err
		}
		return virtual.New(virtual.Options{Resolver: g.router, Store: store,
			OriginalRecipient: v.Bool("enable_original_recipient"), Log: log}), nil
	case "local":
		store, err := s.mailboxes(v, log, "mailbox_size_limit", "mailbox_delivery_lock")
		if err != nil {
			return nil, err
		}
		o := local.Options{Resolver: g.router, Store: store,
			OriginalRecipient: v.Bool("enable_original_recipient"), Log: log}
		if old := s.current.Load(); old != nil {
			o.Earlier, _ = old.agents[m.Name].Agent.(*local.Agent)
		}
		return local.New(o), nil
	case "smtp", "lmtp":
		o, err := smtpOptions(g, v, m.Command == "lmtp")
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
func (s *Server) mailboxes(v *config.Settings, log mailbox.Logger, limit, locks string) (*mailbox.Store, error) {
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
		Log: log,
	}
	if s.syncEach || v.String("mailbox_sync") == "each" {
		o.Mode = func(string) spool.Mode { return spool.Each }
	}
	return mailbox.New(o), nil
}

// smtpOptions reads the parameters of smtp(8) or lmtp(8); the latter have the
// prefix lmtp_.
func smtpOptions(g *generation, v *config.Settings, lmtp bool) (smtp.Options, error) {
	prefix := "smtp_"
	if lmtp {
		prefix = "lmtp_"
	}
	own := map[netip.Addr]bool{}
	for _, a := range g.own {
		own[a] = true
	}
	timeout := func(name string) time.Duration { return v.Duration(prefix + name + "_timeout") }
	o := smtp.Options{
		LMTP: lmtp, Hostname: v.String("myhostname"), QueueDirectory: v.String("queue_directory"),
		Relayhost: v.String("relayhost"), Resolver: g.resolver, Native: g.native, HostLookup: v.List(prefix + "host_lookup"),
		NoMX:      v.String(prefix+"dns_support_level") == "disabled" || v.Bool("disable_dns_lookups"),
		DeferNoMX: v.Bool(prefix + "defer_if_no_mx_address_found"),
		Prefer:    v.String(prefix + "address_preference"), Randomize: v.Bool(prefix + "randomize_addresses"),
		MaxAddress: v.Int(prefix + "mx_address_limit"), MaxSessions: v.Int(prefix + "mx_session_limit"),
		Own:            func(a netip.Addr) bool { return own[a.Unmap()] },
		ConnectTimeout: timeout("connect"), GreetingRetries: v.Bool(prefix + "skip_5xx_greeting"),
		CacheTime: v.Duration(prefix + "connection_cache_time_limit"), CacheLife: v.Duration(prefix + "connection_reuse_time_limit"),
		CacheUses: v.Int(prefix + "connection_reuse_count_limit"),
		Session: smtpc.Options{
			LMTP: lmtp, Hello: v.String(map[bool]string{false: "smtp_helo_name", true: "lmtp_lhlo_name"}[lmtp]),
			LineLimit: v.Int(prefix + "line_length_limit"),
			WaitQuit:  !v.Bool(prefix + "skip_quit_response"),
			Timeouts: smtpc.Timeouts{
				StartTLS: timeout("starttls"), Mail: timeout("mail"), Rcpt: timeout("rcpt"),
				DataInit: timeout("data_init"), DataXfer: timeout("data_xfer"), DataDone: timeout("data_done"),
				Rset: timeout("rset"), Quit: timeout("quit"),
			},
		},
	}
	if lmtp {
		o.Session.Timeouts.Helo, o.Port = timeout("lhlo"), v.String("lmtp_tcp_port")
		o.Session.Discard = v.List("lmtp_discard_lhlo_keywords")
	} else {
		o.Session.Timeouts.Helo, o.Port = timeout("helo"), v.String("smtp_tcp_port")
		o.Session.Discard, o.Fallback = v.List("smtp_discard_ehlo_keywords"), v.List("smtp_fallback_relay")
	}
	for name, to := range map[string]*netip.Addr{"bind_address": &o.Bind4, "bind_address6": &o.Bind6} {
		if text := v.String(prefix + name); text != "" {
			a, err := netip.ParseAddr(text)
			if err != nil {
				return o, fmt.Errorf("%v: %s%s: %w", v.Value(prefix+name).At, prefix, name, err)
			}
			*to = a
		}
	}
	var err error
	o.TLS, err = clientTLS(v, prefix)
	return o, err
}

// clientTLS reads PREFIXtls_security_level for every next hop.
func clientTLS(v *config.Settings, prefix string) (func(string, string) (smtpc.TLS, error), error) {
	name := v.String(prefix + "tls_security_level")
	if name == "" {
		name = "none"
		if v.Bool(prefix + "use_tls") {
			name = "may"
		}
		if v.Bool(prefix + "enforce_tls") {
			name = "encrypt"
		}
	}
	level, err := tlsconf.ParseLevel(name)
	if err != nil {
		return nil, fmt.Errorf("%v: %stls_security_level: %w", v.Value(prefix+"tls_security_level").At, prefix, err)
	}
	if level == tlsconf.None {
		return nil, nil
	}
	c := tlsconf.Client{
		Level: level, Protocols: v.String(prefix + "tls_protocols"),
		Ciphers: v.String(prefix + "tls_ciphers"), Exclude: v.String(prefix + "tls_exclude_ciphers"),
	}
	c.Roots, err = tlsconf.Roots(v.String(prefix+"tls_CAfile"), v.String(prefix+"tls_CApath"), v.Bool("tls_append_default_CA"))
	if err != nil {
		return nil, err
	}
	if level.Required() {
		c.Protocols, c.Ciphers = v.String(prefix+"tls_mandatory_protocols"), v.String(prefix+"tls_mandatory_ciphers")
	}
	if _, err := c.Config(); err != nil {
		return nil, err
	}
	return func(domain, host string) (smtpc.TLS, error) {
		c := c
		c.Host, c.Names = host, []string{host}
		if level == tlsconf.Secure {
			c.Names = []string{domain, "." + domain}
		}
		t, err := c.Config()
		return smtpc.TLS{Config: t, Required: level.Required(), Wrapper: v.Bool(prefix + "tls_wrappermode")}, err
	}, nil
}
