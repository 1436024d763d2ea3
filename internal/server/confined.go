package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"postern/internal/config"
	"postern/internal/control"
	"postern/internal/deliver/command"
	"postern/internal/deliver/mailbox"
	"postern/internal/helper"
	"postern/internal/privsep"
	"postern/internal/spool"
)

// attach connects the server to the helper process that has started it. The
// context ends with the helper; end says whether it did, when all is over.
func (s *Server) attach(ctx context.Context) (_ context.Context, end func() error) {
	if s.o.HelperFD == 0 {
		return ctx, func() error { return nil }
	}
	s.helper = helper.NewClient(s.o.HelperFD)
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	ctx, cancel := context.WithCancel(ctx)
	gone := make(chan error, 1)
	go func() {
		gone <- s.helper.Serve(serving)
		cancel()
	}()
	return ctx, func() error {
		err := s.helper.Present() // its death may have been the signal to stop
		stop()
		cancel()
		<-gone
		return err
	}
}

// sayHelperGone puts the end of the helper, which cannot do it any more, into the
// mail log.
func (s *Server) sayHelperGone() {
	if s.helper == nil {
		return
	}
	if errors.Is(s.helper.Present(), helper.ErrGone) {
		s.main.Fatalf("%v", helper.ErrGone)
	}
}

// load reads the configuration, with the helper's rights where the own are not
// enough.
func (s *Server) load() (*config.Settings, error) {
	return config.Load(s.o.Dir, config.Options{Open: s.openFile})
}

// openFile opens a file that the configuration names.
func (s *Server) openFile(name string) (*os.File, error) {
	f, err := os.Open(name)
	if s.helper == nil || !errors.Is(err, fs.ErrPermission) {
		return f, err
	}
	if other, herr := s.helper.OpenFile(filepath.Clean(name)); herr == nil {
		return other, nil
	}
	return nil, err
}

func (s *Server) readFile(name string) ([]byte, error) {
	f, err := s.openFile(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

func (s *Server) statFile(name string) (os.FileInfo, error) {
	info, err := os.Stat(name)
	if s.helper == nil || !errors.Is(err, fs.ErrPermission) {
		return info, err
	}
	f, err := s.openFile(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Stat()
}

// confine gives up what a server that was taken over could misuse.
func (s *Server) confine(v *config.Settings) error {
	if s.helper == nil {
		return nil
	}
	s.helper.Logs("", s.main)
	level, err := privsep.Confine(writable(v)...)
	if err != nil {
		return fmt.Errorf("give up rights: %w", err)
	}
	s.main.Infof("running as uid %d gid %d; %s", os.Getuid(), os.Getgid(), level)
	return nil
}

// writable are the directories in which the server makes files: its own, and
// those of sockets that the configuration puts elsewhere.
func writable(v *config.Settings) []string {
	dirs := []string{spoolDirectory(v)}
	for _, name := range []string{"control_socket", "metrics_listen"} {
		path := strings.TrimPrefix(v.String(name), "unix:")
		if dir := filepath.Dir(path); filepath.IsAbs(path) && !slices.Contains(dirs, dir) && dir != "/" {
			dirs = append(dirs, dir)
		}
	}
	return slices.DeleteFunc(dirs, func(dir string) bool {
		info, err := os.Stat(dir)
		return err != nil || !info.IsDir()
	})
}

// listenControl makes the control socket, by the helper where the server may not.
func (s *Server) listenControl(v *config.Settings) (net.Listener, error) {
	l, err := control.Listen(ControlSocket(v), 0o600)
	if s.helper == nil || !errors.Is(err, fs.ErrPermission) {
		return l, err
	}
	return s.helper.Listen("unix", ControlSocket(v))
}

// deliverer is who writes into mailboxes with these options: this process, or the
// helper. name tells the logs of agents apart.
func (s *Server) deliverer(o mailbox.Options, each bool, name string) mailbox.Deliverer {
	if s.helper == nil {
		if each {
			o.Mode = func(string) spool.Mode { return spool.Each }
		}
		return mailbox.New(o)
	}
	s.helper.Logs(name, o.Log)
	return s.helper.Store(helper.StoreOptions{Hostname: o.Hostname, Limit: o.Limit, Locks: o.Locks, Timing: o.Timing,
		StrictOwner: o.StrictOwner, SyncEach: each, Log: name})
}

// commands is who runs programs as somebody.
func (s *Server) commands() command.Runner {
	if s.helper == nil {
		return command.Direct{As: s.runner}
	}
	return s.helper
}

// files is who reads files as somebody.
func (s *Server) files() privsep.FileReader {
	if s.helper == nil {
		return privsep.NewFiles()
	}
	return s.helper
}
