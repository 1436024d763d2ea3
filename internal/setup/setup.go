// Package setup opens a configuration directory for those who ask what it does:
// the settings, the tables, the router that decides where an address goes and the
// policy that decides what a client is told. The server makes its generations of
// the same parts; explain, check and plan look at them without serving.
//
// Nothing is written and nothing is listened on.
//
// It imports access, config, privsep, route, syntax, table and table/builtin.
package setup

import (
	"context"
	"errors"

	"io/fs"
	"os"
	"path/filepath"
	"time"

	"postern/internal/access"
	"postern/internal/config"
	"postern/internal/route"
	"postern/internal/table"
)

// Options say how a configuration is to be opened. The zero Options are those of
// the server.
type Options struct {
	Overrides []config.Override // settings that count more than main.cf
	// Types changes the map of table types that Postern has before it is used; nil:
	// they stay as they are.
	Types func(map[string]table.Constructor)
	// Replace opens another file in the place of a named one, both absolute: main.cf,
	// master.cf, what tables and lists are read from, and :include: lists.
	Replace map[string]string
	// Wait is how long a server has for the answer of a table; one that was too late
	// once is not asked again. 0: as long as it takes.
	Wait time.Duration
	Log  table.Logger // nil: nothing is said
}

// Postfix is the override of --postfix: answers are those of Postfix where
// Postern's defaults differ.
var postfix = config.Override{Name: "compatibility", Value: "postfix"}

// WithPostfix returns the options with the defaults of Postfix.
func (o Options) WithPostfix() Options {
	o.Overrides = append(o.Overrides[:len(o.Overrides):len(o.Overrides)], postfix)
	return o
}

// Setup is a configuration that was opened. It is safe for concurrent use.
type Setup struct {
	Dir      string // absolute
	Settings *config.Settings
	Service  *config.Settings // those of the first smtpd service of master.cf, with its -o options
	Opener   *table.Opener
	// Router and Policy are nil when they cannot be made: Fault says why.
	Router *route.Router
	Policy *access.Policy
	// Fault joins what a server would refuse to start with, nil if nothing. The
	// parts that could be made are there.
	Fault error
}

// NoConfiguration is the error of a directory without main.cf.
type NoConfiguration struct{ Dir string }

func (e *NoConfiguration) Error() string { return "no main.cf in " + e.Dir }

// Open reads a configuration directory. The error is that of a directory in which
// nothing can be examined: no main.cf (*NoConfiguration), or one that cannot be
// read. All else that is wrong is in Setup.Fault, in Settings.Warnings, or in
// tables that fail.
func Open(ctx context.Context, dir string, o Options) (*Setup, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(abs, "main.cf")); errors.Is(err, fs.ErrNotExist) {
		return nil, &NoConfiguration{abs}
	}
	s := &Setup{Dir: abs}
	drafts := table.NewDrafts(o.Replace)
	s.Settings, s.Fault = config.Load(abs, config.Options{Overrides: o.Overrides, Open: func(name string) (*os.File, error) {
		return os.Open(drafts.File(name))
	}})
	if s.Settings == nil {
		return nil, s.Fault
	}
	s.Opener = NewOpener(s.Settings, o.Log)
	s.Opener.Locate = true
	s.Opener.Replace = drafts
	if o.Types != nil {
		o.Types(s.Opener.Types)
	}
	if o.Wait > 0 {
		hurry(s.Opener.Types, o.Wait)
	}
	s.Service = smtpdService(s.Settings)
	log := o.Log
	if log == nil {
		log = silent{}
	}
	if err := s.decide(ctx, log); err != nil {
		s.Fault = errors.Join(s.Fault, err)
	}
	return s, nil
}

// decide makes the router and the policy.
func (s *Setup) decide(ctx context.Context, log table.Logger) error {
	router, err := NewRouter(ctx, route.Options{Settings: s.Settings, Opener: s.Opener, Files: files(s.Opener.Replace), Log: log})
	if err != nil {
		return err
	}
	s.Router = router
	s.Policy, err = access.New(ctx, access.Options{Settings: s.Service, Opener: s.Opener, Router: router, Own: HostAddresses(), Log: log})
	return err
}

// Close closes the tables.
func (s *Setup) Close() error { return s.Opener.Close() }

// smtpdService are the settings of the first SMTP service, or those of main.cf.
func smtpdService(s *config.Settings) *config.Settings {
	for _, m := range s.Services() {
		if m.Command == "smtpd" && m.Type == "inet" {
			if service, err := s.ForService(m); err == nil {
				return service
			}
			break
		}
	}
	return s
}

// silent is the log of those who do not want one.
type silent struct{}

func (silent) Infof(string, ...any)    {}
func (silent) Warningf(string, ...any) {}
