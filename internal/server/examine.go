package server

import (
	"context"
	"fmt"
	"os"

	"postern/internal/helper"
	"postern/internal/maillog"
	"postern/internal/privsep"
)

// Examine is asked what would misdeliver mail under a configuration, before a server
// starts with it and before a reload puts it in force. The lines are logged as
// errors. An error refuses the configuration. It must end in a few seconds: mail is
// taken meanwhile by the configuration in force, and by none at the start.
//
// It runs where the rights to look at everything are: in the helper process if there
// is one (Supervise), else in the server (Run).
type Examine func(ctx context.Context) (lines []string, err error)

// examine asks Options.Examine, and logs.
func (s *Server) examine(ctx context.Context) error {
	if s.o.Examine == nil || s.helper != nil {
		return nil
	}
	lines, err := s.o.Examine(ctx)
	for _, line := range lines {
		s.main.Errorf("%s", line)
	}
	return err
}

// examined is a policy that is only given for a configuration that was examined. The
// lines go to the mail log, which is opened for the moment: it belongs to the server.
func (o Options) examined(ctx context.Context, owner privsep.Identity, as privsep.Runner, policy func() (*helper.Policy, error)) func() (*helper.Policy, error) {
	if o.Examine == nil {
		return policy
	}
	return func() (*helper.Policy, error) {
		p, err := policy()
		if err != nil {
			return nil, err
		}
		lines, err := o.Examine(ctx)
		if lerr := o.logLines(lines, as, owner); lerr != nil && err == nil {
			fmt.Fprintf(os.Stderr, "postern: %v\n", lerr)
		}
		return p, err
	}
}

// logLines writes errors into the mail log of the server.
func (o Options) logLines(lines []string, as privsep.Runner, owner privsep.Identity) error {
	if len(lines) == 0 {
		return nil
	}
	v, err := LoadSettings(o.Dir)
	if err != nil {
		return err
	}
	options := logOptions(v, o.LogToTTY)
	options.OpenFile = func(name string) (*os.File, error) { return helper.OpenLog(as, owner, name) }
	log, err := maillog.Open(options)
	if err != nil {
		return err
	}
	program := log.Program("postern")
	for _, line := range lines {
		program.Errorf("%s", line)
	}
	return log.Close()
}
