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
	spool *spool.Spool
	queue *queue.Queue
	log   *maillog.Log
}

// OpenOffline opens the spool of a configuration for a command, which keeps the
// log. It does not make a spool that is not there: then the error is
// fs.ErrNotExist. spool.ErrLocked: a server runs, or begins or ends to.
func OpenOffline(v *config.Settings, log *maillog.Log) (*Offline, error) {
	dir := SpoolDirectory(v)
	if _, err := os.Stat(filepath.Join(dir, "format")); err != nil {
		return nil, err
	}
	options := spoolOptions(v)
	options.Log = log.Program("spool")
	sp, err := spool.Open(dir, options)
	if err != nil {
		return nil, err
	}
	o := &Offline{spool: sp, log: log}
	o.queue = queue.New(queue.Options{
		Store: sp, Route: noRoute,
		Transport:  func(string) (queue.Transport, bool) { return queue.Transport{}, false },
		Submit:     func(context.Context, queue.Submission) (spool.New, error) { return spool.New{}, errDown },
		Log:        func(program string) queue.Logger { return log.Program(program) },
		Parameters: queueParameters(v),
	})
	return o, nil
}

var errDown = errors.New("the mail system is down")

func noRoute(context.Context, string, string) (queue.Routed, error) {
	return queue.Routed{}, &route.DeliveryError{DSN: "4.3.0", Reason: "the mail system is down", Temporary: true, Err: errDown}
}

// Handle carries out the queue's commands.
func (o *Offline) Handle(ctx context.Context, r control.Request, out control.Stream) control.Response {
	h := mailq.Handler{Queue: o.queue, Stopped: true, Log: o.log.Program("postsuper")}
	return h.Handle(ctx, r, out)
}

// Close releases the spool.
func (o *Offline) Close() error { return o.spool.Close() }
