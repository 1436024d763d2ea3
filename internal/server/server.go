// Package server wires all parts into the running mail server, owns every
// goroutine, and carries out reload and shutdown.
//
// One reading of the configuration makes a generation: settings, tables,
// router, the profile of each smtpd service and the delivery agents. Sessions
// take the newest generation at the start of each transaction, the queue at
// each delivery; a reload makes a new one aside and swaps a pointer. A
// configuration that is broken is refused in words and the old one stays.
//
// Started by root, the server is two processes (package helper): Supervise is
// the one that stays root, Run the one that serves, as mail_owner and confined.
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
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/address"
	"postern/internal/config"
	"postern/internal/helper"
	"postern/internal/maildrop"
	"postern/internal/maillog"
	"postern/internal/metrics"
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
	// HelperFD is the control socket of the helper process that has started this
	// one (see Supervise); 0: there is none.
	HelperFD int
	// Examine looks at a configuration before it counts; nil: nobody looks.
	Examine Examine
}

// Server is the running mail server.
type Server struct {
	o        Options
	log      *maillog.Log
	main     *maillog.Program
	hostname string
	spool    *spool.Spool
	queue    *queue.Queue
	metrics  *metrics.Metrics
	runner   privsep.Runner
	helper   *helper.Client // nil: everything is done in this process
	syncEach bool           // the spool was opened with mailbox_sync = each, and covers no deliveries until a restart
	current  atomic.Pointer[generation]
	started  time.Time
	initial  *config.Settings // at the start, of which some stay in force
	stop     context.CancelFunc

	shortage  shortage // of space
	told      sparing  // of sessions that went wrong
	listening *listeners
	reloading sync.Mutex
}

// Run reads the configuration, recovers the spool, listens and serves until
// ctx ends. Errors before the first connection are returned with file and line;
// after that only the loss of all listeners is one.
func Run(ctx context.Context, o Options) error {
	s := &Server{o: o, started: time.Now(), runner: privsep.New(), metrics: metrics.New(Version)}
	ctx, end := s.attach(ctx)
	err := s.start(ctx)
	return errors.Join(err, end())
}

// start is Run with the helper attached.
func (s *Server) start(ctx context.Context) error {
	settings, err := s.load()
	if err != nil {
		return err
	}
	s.initial = settings
	if s.hostname, err = os.Hostname(); err != nil {
		s.hostname = settings.String("myhostname")
	}
	if s.log, err = s.openLog(settings); err != nil {
		return fmt.Errorf("%v: %w", settings.Value("maillog_file").At, err)
	}
	defer s.log.Close()
	s.main = s.log.Program("postern")
	defer s.sayHelperGone()
	s.warn(settings)
	if err := s.examine(ctx); err != nil {
		return err
	}
	if err := s.confine(settings); err != nil {
		return err
	}
	if err := s.openSpool(ctx, settings); err != nil {
		return err
	}
	err = s.serve(ctx, settings)
	if cerr := s.spool.Close(); cerr != nil {
		err = errors.Join(err, fmt.Errorf("close the spool: %w", cerr))
	}
	return err
}

func (s *Server) openLog(v *config.Settings) (*maillog.Log, error) {
	o := logOptions(v, s.o.LogToTTY)
	if s.helper != nil {
		o.OpenFile = s.helper.OpenLog
	}
	return maillog.Open(o)
}

// logOptions say where the mail log goes; toTTY: to standard error.
func logOptions(v *config.Settings, toTTY bool) maillog.Options {
	o := maillog.Options{Name: v.String("syslog_name"), Facility: v.String("syslog_facility"), File: v.String("maillog_file"),
		Hostname: strings.SplitN(v.String("myhostname"), ".", 2)[0]}
	if toTTY {
		o.File, o.Socket = "", "/nonexistent"
	}
	return o
}

// warn logs what is odd in a configuration that works.
func (s *Server) warn(settings *config.Settings) {
	for _, p := range settings.Warnings() {
		s.main.Warningf("%s", p.String())
	}
	s.warnOfFeedback(settings)
}

// makeDirectory makes a directory that everybody may enter, and those above it,
// whatever the file mode mask. One that is there stays as it is.
func makeDirectory(dir string) error {
	err := os.Mkdir(dir, 0o755)
	if errors.Is(err, os.ErrNotExist) {
		if err := makeDirectory(filepath.Dir(dir)); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o755)
	}
	switch {
	case errors.Is(err, os.ErrExist):
		return nil
	case err != nil:
		return err
	}
	return os.Chmod(dir, 0o755)
}

func (s *Server) openSpool(ctx context.Context, v *config.Settings) error {
	dir := spoolDirectory(v)
	if err := makeDirectory(dir); err != nil {
		return fmt.Errorf("queue_directory: %w", err)
	}
	if s.helper == nil && os.Geteuid() == 0 {
		if err := mayTakeOver(v, dir); err != nil {
			return fmt.Errorf("%v: queue_directory: %w", v.Value("queue_directory").At, err)
		}
	}
	if err := maildrop.Make(MaildropDirectory(v)); err != nil {
		return fmt.Errorf("queue_directory: %w", err)
	}
	o := spoolOptions(v)
	o.Log, o.Observe = s.log.Program("spool"), s.metrics.Spooled
	if s.helper != nil {
		o.FS, o.Mail = s.helper.MailFS(dir, spool.OS()), s.helper.Mail()
	}
	sp, err := openPatiently(ctx, dir+"/spool", o, spoolPatience, s.main)
	if held := new(spool.LockedError); errors.As(err, &held) && !held.Brief() {
		return fmt.Errorf("%w: another server runs on this queue_directory", err)
	}
	if err != nil {
		return err
	}
	s.spool, s.syncEach = sp, o.MailboxSync == "each"
	for _, name := range []string{"virtual_mailbox_base", "mail_spool_directory"} {
		base := v.String(name)
		if base == "" || v.String("mailbox_sync") == "each" {
			continue
		}
		// Where the helper refuses to go, nothing is delivered either.
		if err := sp.Cover(base); err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, helper.ErrRefused) {
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
	defer floorHeap()()
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
	d, err := s.openDoors(settings)
	if err != nil {
		s.listening.close()
		return err
	}
	return s.run(ctx, d, g)
}

// run starts the parts and waits for their end, in the order that loses
// nothing: sessions first, then pickup, then deliveries.
func (s *Server) run(ctx context.Context, d *doors, g *generation) error {
	deliveries, endDeliveries := context.WithCancel(context.WithoutCancel(ctx))
	defer endDeliveries()
	var inputs, outputs sync.WaitGroup
	var queueErr, controlErr error
	outputs.Go(func() { queueErr = s.queue.Run(deliveries) })
	inputs.Go(func() { controlErr = d.serve(ctx, s) })
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
	g, err := s.next(ctx)
	if err != nil {
		s.main.Errorf("reload refused, the old configuration stays: %v", err)
		return err
	}
	settings := g.settings
	s.warn(settings)
	s.restartNeeded(settings)
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

// next makes the next generation and listens for it. The helper opens what is in
// the new configuration meanwhile, and goes by it when all of it was accepted.
func (s *Server) next(ctx context.Context) (*generation, error) {
	if s.helper == nil {
		return s.listenNext(ctx)
	}
	if err := s.helper.Refresh(); err != nil {
		return nil, err
	}
	g, err := s.listenNext(ctx)
	if err != nil {
		return nil, errors.Join(err, s.helper.Abort())
	}
	return g, s.helper.Commit()
}

func (s *Server) listenNext(ctx context.Context) (*generation, error) {
	settings, err := s.load()
	if err != nil {
		return nil, err
	}
	if err := s.examine(ctx); err != nil {
		return nil, err
	}
	g, err := s.generate(ctx, settings)
	if err != nil {
		return nil, err
	}
	return g, s.listening.apply(ctx, g)
}

// restartParameters only count when the server starts.
var restartParameters = []string{"queue_directory", "control_socket", "metrics_listen", "maillog_file", "syslog_name", "syslog_facility",
	"spool_inline_limit", "spool_segment_size", "mailbox_sync"}

func (s *Server) restartNeeded(after *config.Settings) {
	for _, name := range restartParameters {
		if s.initial.String(name) != after.String(name) {
			s.main.Warningf("%v: %s has changed: restart the server to use the new value", after.Value(name).At, name)
		}
	}
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
	if discarded(s.current.Load().settings, &res) {
		return queue.Routed{Transport: "discard", NextHop: "undeliverable postmaster notification discarded"}, nil
	}
	return queue.Routed{Transport: res.Transport, NextHop: res.NextHop, Address: res.Address.Internal()}, nil
}
