package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"postern/internal/config"
	"postern/internal/control"
	"postern/internal/control/mailq"
	"postern/internal/metrics"
	"postern/internal/table"
)

// Limits of the public socket, to which everybody on this machine may connect.
const (
	publicClients = 32
	publicPerUser = 8
	publicRequest = 64 << 10
)

// doors are the sockets by which the server is looked at and told what to do.
type doors struct {
	control, public net.Listener
	metrics         net.Listener // nil: metrics_listen is empty
}

// PublicSocket is the socket for looking at the queue and flushing it.
func PublicSocket(v *config.Settings) string {
	return filepath.Join(spoolDirectory(v), "public")
}

// openDoors listens for commands and for readers of the metrics.
func (s *Server) openDoors(v *config.Settings) (*doors, error) {
	var d doors
	var err error
	if d.control, err = s.listenControl(v); err != nil {
		return nil, fmt.Errorf("control_socket: %w", err)
	}
	if d.public, err = control.Listen(PublicSocket(v), 0o666); err != nil {
		return nil, errors.Join(fmt.Errorf("public socket: %w", err), d.control.Close())
	}
	if spec := v.String("metrics_listen"); spec != "" {
		if d.metrics, err = metrics.Listen(spec); err != nil {
			err = fmt.Errorf("%v: metrics_listen: %w", v.Value("metrics_listen").At, listenHint(err))
			return nil, errors.Join(err, d.control.Close(), d.public.Close())
		}
		s.watch()
	}
	return &d, nil
}

// serve answers until ctx ends, and returns when the last answer is given.
func (d *doors) serve(ctx context.Context, s *Server) error {
	all := control.Server{Handle: func(request context.Context, r control.Request, out control.Stream) control.Response {
		return s.command(ctx, request, r, out)
	}}
	public := control.Server{Handle: s.publicCommand, Clients: publicClients, PerUser: publicPerUser, MaxRequest: publicRequest}
	var wg sync.WaitGroup
	var errs [3]error
	wg.Go(func() { errs[0] = all.Serve(ctx, d.control) })
	wg.Go(func() { errs[1] = public.Serve(ctx, d.public) })
	if d.metrics != nil {
		wg.Go(func() { errs[2] = s.metrics.Serve(ctx, d.metrics) })
	}
	wg.Wait()
	return errors.Join(errs[:]...)
}

// Status is the Data of the answer to "status".
type Status struct {
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	Version string    `json:"version"`
}

// command carries out what came by the control socket. What it starts lives as
// long as the server, what it shows as long as the request.
func (s *Server) command(ctx, request context.Context, r control.Request, out control.Stream) control.Response {
	switch r.Command {
	case "reload":
		return s.reload(ctx)
	case "stop":
		s.stop()
		return control.Response{Text: "the server is stopping"}
	case "status":
		return s.status()
	case "flush":
		r.Command = "queue.flush"
	}
	if strings.HasPrefix(r.Command, "queue.") {
		return s.mailq().Handle(request, r, out)
	}
	return control.Fail(control.Usage, fmt.Errorf("unknown command %s", r.Command))
}

func (s *Server) mailq() *mailq.Handler {
	return &mailq.Handler{
		Queue:    s.queue,
		Maildrop: drop(MaildropDirectory(s.current.Load().settings)),
		Log:      s.log.Program("postsuper"),
		FlushSite: func(ctx context.Context, domain string) (bool, error) {
			return s.flushSite(ctx, s.current.Load().flush, domain)
		},
	}
}

func (s *Server) status() control.Response {
	since := s.started.Format(time.RFC3339)
	resp := mailq.Answer(Status{os.Getpid(), s.started, Version})
	resp.Text = fmt.Sprintf("running, process id %d, since %s", os.Getpid(), since)
	return resp
}

// reload reads the configuration again and tells what is odd about it, tables
// that cannot be opened included.
func (s *Server) reload(ctx context.Context) control.Response {
	var mu sync.Mutex
	var told []string
	dir := s.current.Load().settings.Dir() + "/"
	stop := s.log.Tap(func(severity, text string) {
		// What sessions have to say meanwhile is not about the configuration.
		if severity == "warning" && strings.Contains(text, dir) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, text)
		}
	})
	err := s.Reload(ctx)
	stop()
	mu.Lock()
	defer mu.Unlock()
	if err != nil {
		return control.Response{Error: err.Error(), Warnings: told}
	}
	return control.Response{Text: "configuration reloaded", Warnings: told}
}

// publicCommand carries out what came by the public socket: what postqueue lets
// everybody do whom authorized_mailq_users and authorized_flush_users name.
func (s *Server) publicCommand(ctx context.Context, r control.Request, out control.Stream) control.Response {
	var parameter, verb string
	switch r.Command {
	case "queue.list":
		parameter, verb = "authorized_mailq_users", "view"
	case "queue.flush", "queue.flush-message":
		parameter, verb = "authorized_flush_users", "flush"
	default:
		return control.Fail(control.Denied, fmt.Errorf("%s: only for the user of the server, and root", r.Command))
	}
	name, err := s.authorized(ctx, parameter, r.Peer)
	switch {
	case errors.Is(err, table.ErrNotFound):
		return control.Response{Code: control.Denied, Error: fmt.Sprintf("User %s(%d) is not allowed to %s the mail queue", name, r.Peer.UID, verb)}
	case err != nil:
		return control.Fail("", err)
	}
	return s.mailq().Handle(ctx, r, out)
}

// authorized asks whether a list of users names the peer; if not, the error is
// table.ErrNotFound. root, the user of the server and mail_owner always may. A
// user id without a name is "unknown" (postconf authorized_mailq_users).
func (s *Server) authorized(ctx context.Context, parameter string, p control.Peer) (name string, err error) {
	g := s.current.Load()
	uid := strconv.FormatUint(uint64(p.UID), 10)
	name = "unknown"
	if u, err := user.LookupId(uid); err == nil {
		name = u.Username
	}
	if p.UID == 0 || int(p.UID) == os.Geteuid() || name == g.settings.String("mail_owner") {
		return name, nil
	}
	v := g.settings.Value(parameter)
	list, err := g.tables.List(ctx, v.Text, table.StringList, false, table.Use{Parameter: parameter, At: v.At})
	if err != nil {
		s.main.Warningf("%v: %s: %v", v.At, parameter, err)
	}
	_, err = list.Match(ctx, name, nil)
	return name, err
}
