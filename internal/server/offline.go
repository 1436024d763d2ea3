package server

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"postern/internal/config"
	"postern/internal/control"
	"postern/internal/control/mailq"
	"postern/internal/maillog"
	"postern/internal/queue"
	"postern/internal/route"
	"postern/internal/spool"
)

// SpoolDirectory is the spool of a configuration.
func SpoolDirectory(v *config.Settings) string { return filepath.Join(spoolDirectory(v), "spool") }

// spoolOptions reads the parameters of the spool.
func spoolOptions(v *config.Settings) spool.Options {
	return spool.Options{
		InlineLimit: v.Int64("spool_inline_limit"), SegmentSize: v.Int64("spool_segment_size"),
		QueueMinFree: queueMinFree(v), MailboxSync: v.String("mailbox_sync"),
	}
}

// Offline is the queue while no server runs: it can be looked at and put in
// order, and nothing is delivered.
type Offline struct {
	settings *config.Settings
	log      *maillog.Log
	spool    *spool.Spool // nil: let go of
	queue    *queue.Queue
}

// OpenOffline opens the spool of a configuration for a command, which keeps the
// log. It does not make a spool that is not there: then the error is
// fs.ErrNotExist. Another command that holds it is waited for. spool.ErrLocked: it
// would not end, or a server runs, or begins or ends to.
func OpenOffline(v *config.Settings, log *maillog.Log) (*Offline, error) {
	o := &Offline{settings: v, log: log}
	if err := o.open(context.Background()); err != nil {
		return nil, err
	}
	return o, nil
}

// open takes the spool.
func (o *Offline) open(ctx context.Context) (err error) {
	dir := SpoolDirectory(o.settings)
	if _, err := os.Stat(filepath.Join(dir, "format")); err != nil {
		return err
	}
	options := spoolOptions(o.settings)
	options.Command, options.Log = true, o.log.Program("spool")
	if o.spool, err = openPatiently(ctx, dir, options, spoolPatience, o.log.Program("spool")); err != nil {
		return err
	}
	o.queue = queue.New(queue.Options{
		Store: o.spool, Route: noRoute,
		Transport:  func(string) (queue.Transport, bool) { return queue.Transport{}, false },
		Submit:     func(context.Context, queue.Submission) (spool.New, error) { return spool.New{}, errDown },
		Log:        func(program string) queue.Logger { return o.log.Program(program) },
		Parameters: queueParameters(o.settings),
	})
	return nil
}

var errDown = errors.New("the mail system is down")

func noRoute(context.Context, string, string) (queue.Routed, error) {
	return queue.Routed{}, &route.DeliveryError{DSN: "4.3.0", Reason: "the mail system is down", Temporary: true, Err: errDown}
}

// Handle carries out the queue's commands. One that only looks has let go of the
// spool when its answer is passed on, so that nobody who reads it slowly keeps a
// server from starting; the next command takes the spool again.
func (o *Offline) Handle(ctx context.Context, r control.Request, out control.Stream) control.Response {
	if o.spool == nil {
		if err := o.open(ctx); err != nil {
			return control.Fail(control.Refused, err)
		}
	}
	h := mailq.Handler{Queue: o.queue, Maildrop: drop(MaildropDirectory(o.settings)), Stopped: true, Log: o.log.Program("postsuper")}
	if r.Command == "queue.apply" {
		return h.Handle(ctx, r, out)
	}
	c := &collected{out: out}
	resp := h.Handle(ctx, r, c)
	closed := o.Close()
	if err := errors.Join(c.tell(), c.close(), closed); err != nil && resp.Error == "" {
		return control.Fail("", err)
	}
	return resp
}

// Close releases the spool.
func (o *Offline) Close() error {
	if o.spool == nil {
		return nil
	}
	sp := o.spool
	o.spool, o.queue = nil, nil
	return sp.Close()
}
