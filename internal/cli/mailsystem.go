package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"postern/internal/config"
	"postern/internal/control"
	"postern/internal/control/mailq"
	"postern/internal/maillog"
	"postern/internal/server"
	"postern/internal/spool"
)

// mailSystem is the queue as a command reaches it: by the server's socket, by
// the public one, or, while no server runs, in the spool itself.
type mailSystem struct {
	settings *config.Settings
	public   bool                             // the public socket will do for users who may not use the other one
	direct   bool                             // the spool is opened when no server runs
	warn     func(format string, args ...any) // is told of that; may be nil
	offline  *server.Offline
	log      *maillog.Log
	restore  func() error // gives back the rights that the process had
}

// findMailSystem reads where the queue of a configuration directory is. A broken
// main.cf does not keep anybody from reaching the server that runs on the old one.
func findMailSystem(dir string) (*mailSystem, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	settings, err := server.LoadSettings(abs)
	if settings == nil {
		return nil, err
	}
	return &mailSystem{settings: settings}, nil
}

// stream gives a command about the queue and passes its items to sink. No server
// and no way around it: control.ErrNoServer. A user who may not: fs.ErrPermission,
// or a *control.Error with the code Denied.
func (m *mailSystem) stream(ctx context.Context, command string, data any, sink control.Sink, args ...string) (control.Response, error) {
	r, err := mailq.Request(command, data, args...)
	if err != nil {
		return control.Response{}, err
	}
	if m.offline != nil {
		return control.Handler(m.offline.Handle).Stream(ctx, r, sink)
	}
	resp, err := control.Socket(server.ControlSocket(m.settings)).Stream(ctx, r, sink)
	if m.public && errors.Is(err, fs.ErrPermission) {
		resp, err = control.Socket(server.PublicSocket(m.settings)).Stream(ctx, r, sink)
	}
	if !errors.Is(err, control.ErrNoServer) || !m.direct {
		return resp, err
	}
	if m.warn != nil {
		m.warn("Mail system is down -- accessing queue directly (%v)", err)
	}
	held := new(spool.LockedError)
	switch err := m.open(); {
	case errors.Is(err, fs.ErrNotExist):
		return control.Handler(emptyQueue).Stream(ctx, r, sink)
	case errors.As(err, &held) && !held.Brief():
		return control.Response{}, fmt.Errorf("%w: the server is just starting or stopping, try again", err)
	case err != nil:
		return control.Response{}, err
	}
	return control.Handler(m.offline.Handle).Stream(ctx, r, sink)
}

// open opens the spool with the rights of its owner, so that the server finds
// nothing there that belongs to root.
func (m *mailSystem) open() error {
	info, err := os.Stat(filepath.Join(server.SpoolDirectory(m.settings), "format"))
	if err != nil {
		return err
	}
	m.log = commandLog(m.settings) // with the rights that it needs
	owner := info.Sys().(*syscall.Stat_t)
	if os.Geteuid() == 0 && owner.Uid != 0 {
		if m.restore, err = become(int(owner.Uid), int(owner.Gid)); err != nil {
			return err
		}
	}
	m.offline, err = server.OpenOffline(m.settings, m.log)
	return err
}

// close lets go of the spool, if it was opened.
func (m *mailSystem) close() error {
	var errs []error
	if m.offline != nil {
		errs = append(errs, m.offline.Close())
	}
	if m.log != nil {
		errs = append(errs, m.log.Close())
	}
	if m.restore != nil {
		errs = append(errs, m.restore())
	}
	return errors.Join(errs...)
}

// commandLog is the log of a command that is not the server. Where this user may
// not write to it, nothing is logged.
func commandLog(v *config.Settings) *maillog.Log {
	o := maillog.Options{Name: v.String("syslog_name"), Facility: v.String("syslog_facility"),
		File: v.String("maillog_file"), Stderr: io.Discard}
	o.Hostname, _, _ = strings.Cut(v.String("myhostname"), ".")
	log, err := maillog.Open(o)
	if err != nil {
		o.File, o.Socket = "", "/nonexistent"
		log, _ = maillog.Open(o) // without a file nothing can fail
	}
	return log
}

// emptyQueue answers for a spool that was never made.
func emptyQueue(_ context.Context, r control.Request, _ control.Stream) control.Response {
	switch r.Command {
	case "queue.list":
		return control.Response{}
	case "queue.apply":
		return mailq.Answer(mailq.Done{})
	}
	return control.Fail(control.NotFound, errors.New("no such message in the queue"))
}

// list shows the messages that a filter chooses.
func (m *mailSystem) list(ctx context.Context, f mailq.Filter, show func(*mailq.Entry) error) error {
	_, err := m.stream(ctx, "queue.list", f, control.Sink{Item: func(raw json.RawMessage) error {
		var e mailq.Entry
		if err := json.Unmarshal(raw, &e); err != nil {
			return err
		}
		return show(&e)
	}})
	return err
}

// apply does something to messages and returns to how many.
func (m *mailSystem) apply(ctx context.Context, o mailq.Order, sink control.Sink) (int, error) {
	resp, err := m.stream(ctx, "queue.apply", o, sink)
	var done mailq.Done
	if len(resp.Data) > 0 {
		if err := json.Unmarshal(resp.Data, &done); err != nil {
			return 0, err
		}
	}
	return done.Count, err
}
