package server

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"runtime"

	"postern/internal/bounce"
	"postern/internal/config"
	"postern/internal/dns"
	"postern/internal/intake"
	"postern/internal/queue"
	"postern/internal/route"
	"postern/internal/setup"
	"postern/internal/smtpd"
	"postern/internal/table"
)

// generation is everything that one reading of the configuration made. It is
// immutable; a reload makes a new one and the old one goes when its last
// session has let go of it.
type generation struct {
	settings *config.Settings
	router   *route.Router
	tables   *table.Opener // open as long as the router is held
	own      []netip.Addr
	resolver dns.Resolver
	native   *dns.Native
	services []*service
	agents   map[string]queue.Transport // by master.cf service name
	flush    fastFlush                  // domains that may ask for their mail
	notices  *bounce.Templates          // words of notifications
	intake   *intake.Intake             // for mail that comes by no network
}

// service is one smtpd line of master.cf.
type service struct {
	name     string // of the log lines: "smtp", "submission"
	network  string // tcp or unix
	address  string
	maxProc  int
	at       originAt         // the line of master.cf
	settings *config.Settings // with the -o overrides
	profile  *smtpd.Profile
}

// LoadSettings reads the configuration directory for a command or the server.
func LoadSettings(dir string) (*config.Settings, error) {
	return config.Load(dir, config.Options{})
}

// spoolDirectory is where everything of Postern lies below queue_directory; a
// Postfix that uses the same directory is not disturbed.
func spoolDirectory(s *config.Settings) string {
	return filepath.Join(s.String("queue_directory"), "postern")
}

// MaildropDirectory is where the sendmail command puts mail.
func MaildropDirectory(s *config.Settings) string {
	return filepath.Join(spoolDirectory(s), "maildrop")
}

// FindControlSocket finds the socket of the server of a configuration
// directory. It works with a main.cf that has errors elsewhere.
func FindControlSocket(dir string) (string, error) {
	s, err := LoadSettings(dir)
	if s == nil {
		return "", err
	}
	return ControlSocket(s), nil
}

// ControlSocket is the socket of the running server.
func ControlSocket(s *config.Settings) string { return s.String("control_socket") }

// generate reads the configuration and makes all parts of it. An error leaves
// nothing open.
func (s *Server) generate(ctx context.Context, settings *config.Settings) (*generation, error) {
	opener := setup.NewOpener(settings, tableLog{s.log.Program("postern"), s.metrics})
	if s.helper != nil {
		opener.Helper = s.helper.OpenFile
	}
	g, err := s.assemble(ctx, settings, opener)
	if err != nil {
		opener.Close()
		return nil, err
	}
	// Whoever may still ask a table, an agent that delivers or a session, holds
	// the router.
	runtime.AddCleanup(g.router, func(o *table.Opener) { o.Close() }, opener)
	return g, nil
}

func (s *Server) assemble(ctx context.Context, settings *config.Settings, opener *table.Opener) (*generation, error) {
	g := &generation{settings: settings, tables: opener, own: setup.HostAddresses()}
	var err error
	client, err := newResolver(settings)
	if err != nil {
		return nil, err
	}
	g.resolver, g.native = client, dns.NewNative(client, "")
	o := route.Options{Settings: settings, Opener: opener, Files: s.files(), Log: s.log.Program("trivial-rewrite")}
	if s.helper != nil {
		o.IsMaildir = s.helper.IsMaildir
	}
	if g.router, err = setup.NewRouter(ctx, o); err != nil {
		return nil, err
	}
	g.flush = newFastFlush(ctx, opener, settings, s.log.Program("flush"))
	g.notices = s.templates(settings)
	g.intake = s.newIntake(g, settings)
	for _, m := range settings.Services() {
		if m.Command != "smtpd" || m.Type != "inet" && m.Type != "unix" {
			continue
		}
		sv, err := s.newService(ctx, g, opener, m)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", m.At, err)
		}
		g.services = append(g.services, sv)
	}
	if len(g.services) == 0 {
		return nil, fmt.Errorf("%s: no smtpd service: nothing would listen", filepath.Join(settings.Dir(), "master.cf"))
	}
	g.agents, err = s.newAgents(g)
	return g, err
}

func newResolver(s *config.Settings) (*dns.Client, error) {
	o := dns.Options{Servers: s.List("dns_servers")}
	v4, v6 := protocols(s)
	o.NoIPv4, o.NoIPv6 = !v4, !v6
	var err error
	if o.Trust, err = dns.ParseTrust(s.String("dns_trust_ad")); err != nil {
		return nil, fmt.Errorf("%v: dns_trust_ad: %w", s.Value("dns_trust_ad").At, err)
	}
	c, err := dns.New(o)
	if err != nil {
		return nil, fmt.Errorf("%v: dns_servers: %w", s.Value("dns_servers").At, err)
	}
	return c, nil
}

// protocols reads inet_protocols.
func protocols(s *config.Settings) (v4, v6 bool) {
	for _, w := range s.List("inet_protocols") {
		switch w {
		case "all":
			v4, v6 = true, true
		case "ipv4":
			v4 = true
		case "ipv6":
			v6 = true
		}
	}
	return v4, v6
}
