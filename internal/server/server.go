// Package server wires all parts into the running mail server, owns every
// goroutine, and carries out reload and shutdown.
//
// One reading of the configuration makes a generation: settings, tables,
// router, the profile of each smtpd service and the delivery agents. Sessions
// take the newest generation at the start of each transaction, the queue at
// each delivery; a reload makes a new one aside and swaps a pointer. A
// configuration that is broken is refused in words and the old one stays.
//
// At shutdown listeners close first, open transactions are finished, deliveries
// end, and the spool is closed last. Nothing that was acknowledged depends on
// an orderly end.
//
// It imports all parts but check and cli.
package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/address"
	"postern/internal/config"
	"postern/internal/control"
	"postern/internal/maildrop"
	"postern/internal/maillog"
	"postern/internal/origin"
	"postern/internal/privsep"
	"postern/internal/queue"
	"postern/internal/route"
	"postern/internal/spool"
)

// Names of other packages that signatures here use.
type (
	originAt     = origin.At
	spoolMessage = spool.Message
)

// Version is the program's version, for the log and the version command.
const Version = "0.1.0"

// Options are what a server is told on its command line.
type Options struct {
	Dir      string           // configuration directory
	Ready    func([]string)   // called once with the addresses that are listened on; may be nil
	LogToTTY bool             // log to standard error, whatever maillog_file says
	Reload   <-chan os.Signal // each value reloads (SIGHUP); may be nil
}

// Server is the running mail server.
type Server struct {
	o        Options
	log      *maillog.Log
	main     *maillog.Program
	hostname string
	spool    *spool.Spool
	queue    *queue.Queue
	runner   privsep.Runner
	syncEach bool // the spool was opened with mailbox_sync = each, and covers no deliveries until a restart
	current  atomic.Pointer[generation]
	started  time.Time
	stop     context.CancelFunc

	listening *listeners
	reloading sync.Mutex
}

// Run reads the configuration, recovers the spool, listens and serves until
// ctx ends. Errors before the first connection are returned with file and line;
// after that only the loss of all listeners is one.
func Run(ctx context.Context, o Options) error {
	settings, err := LoadSettings(o.Dir)
	if err != nil {
		return err
	}
	s := &Server{o: o, started: time.Now(), runner: privsep.New()}
	if s.hostname, err = os.Hostname(); err != nil {
		s.hostname = settings.String("myhostname")
	}
	if s.log, err = openLog(settings, o.LogToTTY); err != nil {
		return fmt.Errorf("%v: %w", settings.Value("maillog_file").At, err)
	}
	defer s.log.Close()
	s.main = s.log.Program("postern")
	s.warn(settings)
	if err := s.openSpool(settings); err != nil {
		return err
	}
	err = s.serve(ctx, settings)
	if cerr := s.spool.Close(); cerr != nil {
		err = errors.Join(err, fmt.Errorf("close the spool: %w", cerr))
	}
	return err
}

func openLog(s *config.Settings, tty bool) (*maillog.Log, error) {
	o := maillog.Options{Name: s.String("syslog_name"), Facility: s.String("syslog_facility"), File: s.String("maillog_file"),
		Hostname: strings.SplitN(s.String("myhostname"), ".", 2)[0]}
	if tty {
		o.File, o.Socket = "", "/nonexistent"
	}
	return maillog.Open(o)
}

// warn logs what is odd in a configuration that works.
func (s *Server) warn(settings *config.Settings) {
	for _, p := range settings.Warnings() {
		s.main.Warningf("%s", p.String())
	}
}

func (s *Server) openSpool(v *config.Settings) error {
	dir := spoolDirectory(v)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("queue_directory: %w", err)
	}
	if err := maildrop.Make(MaildropDirectory(v)); err != nil {
		return fmt.Errorf("queue_directory: %w", err)
	}
	o := spool.Options{
		InlineLimit: v.Int64("spool_inline_limit"), SegmentSize: v.Int64("spool_segment_size"),
		QueueMinFree: queueMinFree(v), MailboxSync: v.String("mailbox_sync"), Log: s.log.Program("spool"),
	}
	sp, err := spool.Open(dir+"/spool", o)
	if err != nil {
		if errors.Is(err, spool.ErrLocked) {
			return fmt.Errorf("%w: another server runs on this queue_directory", err)
		}
		return err
	}
	s.spool, s.syncEach = sp, o.MailboxSync == "each"
	for _, name := range []string{"virtual_mailbox_base", "mail_spool_directory"} {
		base := v.String(name)
		if base == "" || v.String("mailbox_sync") == "each" {
			continue
		}
		if err := sp.Cover(base); err != nil && !errors.Is(err, os.ErrNotExist) {
			s.main.Warningf("%v: %s: %v", v.Value(name).At, name, err)
		}
	}
	return nil
}

// queueMinFree is queue_minfree, at least 1.5 times the largest message, as
// smtpd(8) wants it.
func queueMinFree(v *config.Settings) int64 {
	return max(v.Int64("queue_minfree"), v.Int64("message_size_limit")*3/2)
}

func (s *Server) serve(ctx context.Context, settings *config.Settings) error {
	ctx, s.stop = context.WithCancel(ctx)
	defer s.stop()
	s.queue = queue.New(s.queueOptions(settings))
	g, err := s.generate(ctx, settings)
	if err != nil {
		return err
	}
	s.current.Store(g)
	s.listening = newListeners(s)
	if err := s.listening.apply(ctx, g); err != nil {
		s.listening.close()
		return err
	}
	ctl, err := control.Listen(ControlSocket(settings))
	if err != nil {
		s.listening.close()
		return fmt.Errorf("control_socket: %w", err)
	}
	return s.run(ctx, ctl, g)
}

// run starts the parts and waits for their end, in the order that loses
// nothing: sessions first, then pickup, then deliveries.
func (s *Server) run(ctx context.Context, ctl net.Listener, g *generation) error {
	deliveries, endDeliveries := context.WithCancel(context.WithoutCancel(ctx))
	defer endDeliveries()
	var inputs, outputs sync.WaitGroup
	var queueErr, controlErr error
	outputs.Go(func() { queueErr = s.queue.Run(deliveries) })
	// What a command starts lives as long as the server, not as the request.
	command := func(_ context.Context, r control.Request) control.Response { return s.command(ctx, r) }
	inputs.Go(func() { controlErr = control.Serve(ctx, ctl, command) })
	inputs.Go(func() { s.pickup(ctx, MaildropDirectory(g.settings)) })
	s.main.Infof("daemon started -- version %s, configuration %s", Version, g.settings.Dir())
	if s.o.Ready != nil {
		s.o.Ready(s.listening.addresses())
	}
	s.untilStopped(ctx)
	s.main.Infof("stopping")
	s.listening.close()
	inputs.Wait()
	endDeliveries()
	outputs.Wait()
	return errors.Join(queueErr, controlErr)
}

// untilStopped waits for the end of ctx and reloads when a signal says so.
func (s *Server) untilStopped(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.o.Reload:
			// A refusal is in the log, and the server goes on.
			_ = s.Reload(ctx)
		}
	}
}

// Reload reads the configuration anew. A broken one is returned as an error
// that says where, and the old one stays.
func (s *Server) Reload(ctx context.Context) error {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	if err := s.log.Reopen(); err != nil {
		s.main.Warningf("%v", err)
	}
	settings, err := LoadSettings(s.o.Dir)
	if err != nil {
		s.main.Errorf("reload refused, the old configuration stays: %v", err)
		return err
	}
	g, err := s.generate(ctx, settings)
	if err == nil {
		err = s.listening.apply(ctx, g)
	}
	if err != nil {
		s.main.Errorf("reload refused, the old configuration stays: %v", err)
		return err
	}
	s.warn(settings)
	s.restartNeeded(s.current.Load().settings, settings)
	old := s.current.Swap(g)
	s.queue.Reload(queueParameters(settings))
	for _, t := range old.agents { // idle connections go, deliveries under way are finished
		if c, ok := t.Agent.(interface{ Close() }); ok {
			c.Close()
		}
	}
	s.main.Infof("reload -- version %s, configuration %s", Version, settings.Dir())
	return nil
}

// restartParameters only count when the server starts.
var restartParameters = []string{"queue_directory", "control_socket", "maillog_file", "syslog_name", "syslog_facility",
	"spool_inline_limit", "spool_segment_size", "mailbox_sync"}

func (s *Server) restartNeeded(before, after *config.Settings) {
	for _, name := range restartParameters {
		if before.String(name) != after.String(name) {
			s.main.Warningf("%v: %s has changed: restart the server to use the new value", after.Value(name).At, name)
		}
	}
}

// command carries out what came by the control socket.
func (s *Server) command(ctx context.Context, r control.Request) control.Response {
	switch r.Command {
	case "reload":
		if err := s.Reload(ctx); err != nil {
			return control.Response{Error: err.Error()}
		}
		return control.Response{Text: "configuration reloaded"}
	case "flush":
		s.queue.Flush()
		return control.Response{Text: "deferred mail is tried now"}
	case "stop":
		s.stop()
		return control.Response{Text: "the server is stopping"}
	case "status":
		return control.Response{Text: fmt.Sprintf("running, process id %d, since %s", os.Getpid(), s.started.Format(time.RFC3339))}
	}
	return control.Response{Error: "unknown command " + r.Command}
}

// route says where a recipient of the queue goes.
func (s *Server) route(ctx context.Context, sender, recipient string) (queue.Routed, error) {
	res, err := s.current.Load().router.Resolve(ctx, address.Split(recipient), address.Split(sender), nil)
	var syntax *route.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return queue.Routed{}, &route.DeliveryError{DSN: "5.1.3", Reason: "bad address syntax", Err: err}
	case err != nil:
		return queue.Routed{}, &route.DeliveryError{DSN: "4.3.0", Reason: "address resolver failure", Temporary: true, Err: err}
	}
	if res.Class == route.Local && strings.EqualFold(res.Address.Local, s.current.Load().settings.String("double_bounce_sender")) {
		return queue.Routed{Transport: "discard", NextHop: "undeliverable postmaster notification discarded"}, nil
	}
	return queue.Routed{Transport: res.Transport, NextHop: res.NextHop, Address: res.Address.Internal()}, nil
}
