package queue

import (
	"context"
	"io"
	"iter"
	"time"

	"postern/internal/deliver"
	"postern/internal/spool"
)

// Logger takes the log lines of one program name.
type Logger interface {
	Infof(format string, args ...any)
	Warningf(format string, args ...any)
}

// Store is what the queue needs of the spool.
type Store interface {
	// Commit writes a change, all of it or nothing, and returns the new
	// messages in the order of Change.New.
	Commit(ctx context.Context, c spool.Change) ([]*spool.Message, error)
	// Pending yields the messages that were not done with at start.
	Pending() iter.Seq[spool.Pending]
	// Err is not nil when the store cannot be trusted any more.
	Err() error
}

var _ Store = (*spool.Spool)(nil)

// Routed is where a recipient goes.
type Routed struct {
	Transport string // master.cf service name
	NextHop   string
	Address   string // the recipient as resolved, internal form; "": unchanged
}

// Transport is a delivery agent and its limits.
type Transport struct {
	Agent   deliver.Agent
	Program string // name for the log, "virtual" or "relay/smtp"
	// Processes bounds the deliveries of the transport (master.cf maxproc,
	// default_process_limit). 0: no bound.
	Processes int
	// InitialConcurrency is the first window of a destination
	// (initial_destination_concurrency); less than 1 is 1.
	InitialConcurrency int
	// DestinationConcurrency bounds the deliveries to a destination
	// (default_destination_concurrency_limit). 0: no bound.
	DestinationConcurrency int
	// DestinationRecipients bounds the recipients of a delivery
	// (default_destination_recipient_limit). 0: no bound.
	DestinationRecipients int
	// FailedCohorts is how many windows have to fail before a destination is
	// dead (default_destination_concurrency_failed_cohort_limit). 0: never.
	FailedCohorts int
}

// Submission is a message made here, a notification or a forward, that is to
// go through alias expansion as mail from outside does.
type Submission struct {
	// Envelope has the recipients as they stand, before expansion, and Arrival
	// not set. With Envelope.Bounce the text is a notification, which lacks a
	// Date and a Message-Id.
	Envelope spool.Envelope
	Text     io.WriterTo // without a Received field for the new message
	Size     int64       // octets Text is going to write
}

// Options are what a queue needs of its surroundings. Store, Route, Transport
// and Submit have to be there.
type Options struct {
	Store Store
	// Route says where a recipient goes. A *route.DeliveryError is the fate of
	// the recipient; any other error defers it.
	Route func(ctx context.Context, sender, recipient string) (Routed, error)
	// Transport returns the transport of a master.cf service name. It is
	// called once a name and again at a reload, and must not block.
	Transport func(name string) (Transport, bool)
	// Submit expands the recipients of s, writes its text with the fields it
	// lacks to a draft, and returns the message ready to be committed. The
	// queue commits it or aborts its draft.
	Submit func(ctx context.Context, s Submission) (spool.New, error)
	// Log returns the logger of a program name; nil: no log.
	Log func(program string) Logger
	// Now is the clock; nil: time.Now.
	Now        func() time.Time
	Parameters Parameters
}

// Parameters are the settings of the queue itself, named as in main.cf.
type Parameters struct {
	ActiveLimit     int           // qmgr_message_active_limit; 0: 20000
	MinimalBackoff  time.Duration // minimal_backoff_time
	MaximalBackoff  time.Duration // maximal_backoff_time
	MaximalLifetime time.Duration // maximal_queue_lifetime; 0: one try
	BounceLifetime  time.Duration // bounce_queue_lifetime; 0: one try
	DelayWarning    time.Duration // delay_warning_time; 0: no warning
	SoftBounce      bool          // soft_bounce: failures are deferred instead

	Hostname        string // myhostname
	Origin          string // myorigin
	BounceSizeLimit int64  // bounce_size_limit
	// DoubleBounceSender is the complete sender of notices to the postmaster
	// (double_bounce_sender at myorigin); mail from it never causes another.
	DoubleBounceSender string
	// Recipients of notices to the postmaster, in internal form; "" where
	// notify_classes does not name the class.
	BounceNotice       string // class bounce (bounce_notice_recipient)
	DoubleBounceNotice string // class 2bounce (2bounce_notice_recipient)
	DelayNotice        string // class delay (delay_notice_recipient)
}

// activeLimit is ActiveLimit with its default.
func (p *Parameters) activeLimit() int {
	if p.ActiveLimit <= 0 {
		return 20000
	}
	return p.ActiveLimit
}

// lifetime is how old mail from sender may grow.
func (p *Parameters) lifetime(sender string) time.Duration {
	if sender == "" {
		return p.BounceLifetime
	}
	return p.MaximalLifetime
}

// backoff is the time to the next try of a message of that age.
func (p *Parameters) backoff(age time.Duration) time.Duration {
	return max(p.MinimalBackoff, min(age, p.MaximalBackoff))
}
