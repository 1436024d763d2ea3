package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/internal/access"
	"postern/internal/bounce"
	"postern/internal/config"
	"postern/internal/dns"
	"postern/internal/intake"
	"postern/internal/smtp"
	"postern/internal/smtpd"
	"postern/internal/table"
	"postern/internal/tlsconf"
)

// newService makes the listener address and the profile of one smtpd service.
func (s *Server) newService(ctx context.Context, g *generation, o *table.Opener, m config.Service) (*service, error) {
	settings, err := g.settings.ForService(m)
	if err != nil {
		return nil, err
	}
	sv := &service{name: m.Name, network: "tcp", settings: settings, maxProc: m.MaxProc, at: m.At}
	if m.Type == "unix" {
		sv.network, sv.address = "unix", filepath.Join(spoolDirectory(settings), m.Name)
	} else if sv.address, err = listenAddress(m.Name); err != nil {
		return nil, err
	}
	sv.profile, err = s.newProfile(ctx, g, o, sv)
	return sv, err
}

// listenAddress reads the name of an inet service: "smtp", "2525",
// "127.0.0.1:smtp", "[::1]:25".
func listenAddress(name string) (string, error) {
	host, port := "", name
	if i := strings.LastIndexByte(name, ':'); i >= 0 {
		host, port = strings.Trim(name[:i], "[]"), name[i+1:]
	}
	n, err := net.LookupPort("tcp", port)
	if err != nil {
		return "", fmt.Errorf("unknown service name %q", port)
	}
	return net.JoinHostPort(host, strconv.Itoa(n)), nil
}

func (s *Server) newProfile(ctx context.Context, g *generation, o *table.Opener, sv *service) (*smtpd.Profile, error) {
	settings := sv.settings
	log := s.log.Named(settings.String("syslog_name"), "smtpd")
	rules, err := access.New(ctx, access.Options{Settings: settings, Opener: o, Router: g.router, Own: g.own, Log: log})
	if err != nil {
		return nil, err
	}
	cfg, err := s.sessionConfig(sv)
	if err != nil {
		return nil, err
	}
	p := &smtpd.Profile{Config: cfg, Policy: &policy{g, rules}}
	p.Intake = &inlet{g, s.newIntake(g, settings), s.queue.Pressure, settings.Duration("in_flow_delay"), s.noteRoom}
	if cfg.NotifyClasses = noticesOf(settings); len(cfg.NotifyClasses) > 0 {
		p.Notice = func(ctx context.Context, n smtpd.Notice) { s.noteSession(ctx, settings, n) }
	}
	p.Flush = func(ctx context.Context, domain string) (bool, error) { return s.flushSite(ctx, g.flush, domain) }
	if settings.Bool("smtpd_peername_lookup") {
		p.PeerName = func(ctx context.Context, addr netip.Addr) smtpd.PeerName { return peerName(ctx, g.native, addr, log) }
	}
	p.Exempt = clientList(ctx, o, settings, "smtpd_client_event_limit_exceptions", log)
	p.BareNewlineOK = clientList(ctx, o, settings, "smtpd_forbid_bare_newline_exclusions", log)
	s.counted(p)
	return p, nil
}

// peerNameTime bounds the wait for the name of a client; then it is unknown.
const peerNameTime = 10 * time.Second

func peerName(ctx context.Context, r dns.Resolver, addr netip.Addr, log access.Logger) smtpd.PeerName {
	ctx, cancel := context.WithTimeout(ctx, peerNameTime)
	defer cancel()
	p := dns.PeerName(ctx, r, addr)
	if p.Warning != "" {
		log.Warningf("%s", p.Warning)
	}
	return smtpd.PeerName{Name: p.Name, Reverse: p.Reverse, Temporary: p.Status == dns.PeerTemporary}
}

// clientList makes a test for the clients that a list parameter names. What
// cannot be used of it is logged; a search that comes to it names nobody.
func clientList(ctx context.Context, o *table.Opener, s *config.Settings, parameter string, log access.Logger) func(*smtpd.Client) bool {
	v := s.Value(parameter)
	l, err := o.List(ctx, v.Text, table.AddressList, false, table.Use{Parameter: parameter, At: v.At, Fold: true})
	if err != nil {
		log.Warningf("%v: %s: %v", v.At, parameter, err)
	}
	return func(c *smtpd.Client) bool {
		_, err := l.MatchClient(context.Background(), c.Name, c.AddrText(), nil)
		return err == nil
	}
}

func (s *Server) newIntake(g *generation, settings *config.Settings) *intake.Intake {
	name := settings.String("syslog_name")
	return intake.New(intake.Options{
		Settings: settings, Router: g.router, Store: s.spool, Added: func(m *spoolMessage) { s.queue.Add(m) },
		Templates: g.notices,
		Log:       s.log.Named(name, "cleanup"), PickupLog: s.log.Named(name, "pickup"), BounceLog: s.log.Named(name, "bounce"),
	})
}

// templates reads the words of notifications (bounce_template_file). What is wrong
// with them is logged, and built-in ones are used.
func (s *Server) templates(v *config.Settings) *bounce.Templates {
	t, errs := bounce.LoadTemplates(v, s.openFile)
	log := s.log.Named(v.String("syslog_name"), "bounce")
	for _, err := range errs {
		log.Warningf("%v", err)
	}
	return t
}

// sessionConfig reads the parameters of smtpd and the certificates.
func (s *Server) sessionConfig(sv *service) (*smtpd.Config, error) {
	cfg, err := SessionConfig(sv.settings, sv.name)
	if err != nil {
		return nil, err
	}
	cfg.WrapperMode, cfg.LogTLS = sv.settings.Bool("smtpd_tls_wrappermode"), logsTLS(sv.settings, "smtpd_")
	cfg.TLSLevel, cfg.TLS, err = s.serverTLS(sv.settings)
	return cfg, err
}

// logsTLS tells whether smtp_tls_loglevel, lmtp_ or smtpd_, wants a line for every
// encrypted connection. Levels above the first show no more here.
func logsTLS(v *config.Settings, prefix string) bool {
	return !slices.Contains([]string{"", "0", "none", "disabled"}, v.String(prefix+"tls_loglevel"))
}

// SessionConfig reads the parameters of smtpd for a service, without TLS.
func SessionConfig(v *config.Settings, service string) (*smtpd.Config, error) {
	bare, err := smtp.ParseBareNewline(v.String("smtpd_forbid_bare_newline"))
	if err != nil {
		return nil, fmt.Errorf("%v: smtpd_forbid_bare_newline: %w", v.Value("smtpd_forbid_bare_newline").At, err)
	}
	cfg := &smtpd.Config{
		Hostname: v.String("myhostname"), Banner: v.String("smtpd_banner"), Service: service,
		MessageSizeLimit: v.Int64("message_size_limit"), LineLengthLimit: v.Int("line_length_limit"),
		HeloRequired: v.Bool("smtpd_helo_required"), DisableVrfy: v.Bool("disable_vrfy_command"),
		StrictRFC821: v.Bool("strict_rfc821_envelopes"), SMTPUTF8: v.Bool("smtputf8_enable"),
		SoftBounce: v.Bool("soft_bounce"), PostfixCommands: v.String("compatibility") == "postfix",
		Timeout: v.Duration("smtpd_timeout"), StartTLSTimeout: v.Duration("smtpd_starttls_timeout"),
		SoftErrorLimit: v.Int("smtpd_soft_error_limit"), HardErrorLimit: v.Int("smtpd_hard_error_limit"),
		ErrorSleepTime: v.Duration("smtpd_error_sleep_time"), JunkCommandLimit: v.Int("smtpd_junk_command_limit"),
		RecipientLimit: v.Int("smtpd_recipient_limit"), OvershootLimit: v.Int("smtpd_recipient_overshoot_limit"),
		ClientLimit:       v.Int("smtpd_client_connection_count_limit"),
		ForbidBareNewline: bare, BareNewlineRejectCode: v.Int("smtpd_forbid_bare_newline_reject_code"),
		ForbidUnauthPipe:    v.Bool("smtpd_forbid_unauth_pipelining"),
		KeepStrayCR:         !v.Bool("cleanup_replace_stray_cr_lf"),
		DiscardEhloKeywords: upperSet(v.List("smtpd_discard_ehlo_keywords")),
		NoopCommands:        upperSet(v.List("smtpd_noop_commands")),
	}
	cfg.ForbiddenCommand = forbiddenCommands(v.List("smtpd_forbidden_commands"))
	return cfg, nil
}

// forbiddenCommands tests verbs against smtpd_forbidden_commands: words, and
// regexp tables, of which the default "regexp:{{/^[^A-Z]/ Bogus}}" is known.
func forbiddenCommands(list []string) func(string) bool {
	words := upperSet(list)
	bogus := false
	for w := range words {
		bogus = bogus || strings.Contains(w, ":")
	}
	return func(verb string) bool {
		if words[strings.ToUpper(verb)] {
			return true
		}
		return bogus && (verb == "" || verb[0]|0x20 < 'a' || verb[0]|0x20 > 'z')
	}
}

func upperSet(words []string) map[string]bool {
	set := map[string]bool{}
	for _, w := range words {
		set[strings.ToUpper(w)] = true
	}
	return set
}

// serverTLS reads smtpd_tls_security_level and the certificates. TLS without a
// certificate is a warning and TLS is not offered; a certificate that cannot be
// read is an error.
func (s *Server) serverTLS(v *config.Settings) (smtpd.TLSLevel, *tls.Config, error) {
	level := smtpd.TLSNone
	switch name := v.String("smtpd_tls_security_level"); name {
	case "", "none":
		switch {
		case name == "" && v.Bool("smtpd_enforce_tls"):
			level = smtpd.TLSEncrypt
		case name == "" && v.Bool("smtpd_use_tls"), v.Bool("smtpd_tls_wrappermode"):
			level = smtpd.TLSMay
		default:
			return smtpd.TLSNone, nil, nil
		}
	case "may":
		level = smtpd.TLSMay
	case "encrypt":
		level = smtpd.TLSEncrypt
	default:
		return level, nil, fmt.Errorf("%v: smtpd_tls_security_level: unknown level %q", v.Value("smtpd_tls_security_level").At, name)
	}
	log := s.log.Named(v.String("syslog_name"), "smtpd")
	c := tlsconf.Server{
		ChainFiles: v.List("smtpd_tls_chain_files"),
		Protocols:  v.String("smtpd_tls_protocols"), Ciphers: v.String("smtpd_tls_ciphers"),
		Exclude: v.String("smtpd_tls_exclude_ciphers"), Log: log,
		Stat: s.statFile, ReadFile: s.readFile,
	}
	if level == smtpd.TLSEncrypt {
		c.Protocols, c.Ciphers = v.String("smtpd_tls_mandatory_protocols"), v.String("smtpd_tls_mandatory_ciphers")
		c.Exclude += " " + v.String("smtpd_tls_mandatory_exclude_ciphers")
	}
	for _, kind := range []string{"", "ec", "d"} {
		cert, key := "smtpd_tls_"+kind+"cert_file", "smtpd_tls_"+kind+"key_file"
		c.Pairs = append(c.Pairs, tlsconf.Pair{Parameter: cert, Cert: v.String(cert), Key: v.String(key)})
	}
	t, err := c.Config()
	if errors.Is(err, tlsconf.ErrNoCertificates) {
		log.Warningf("%v. TLS won't be enabled (smtpd_tls_cert_file, smtpd_tls_chain_files)", err)
		return level, nil, nil
	}
	return level, t, err
}
