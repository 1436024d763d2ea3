package queue

import (
	"context"
	"io"
	"iter"
	"time"

	"postern/internal/bounce"
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
	// messages in the order of Change.New. spool.ErrGone: they were to take the
	// place of recipients of a message that is done with.
	Commit(ctx context.Context, c spool.Change) ([]*spool.Message, error)
	// Waiting yields all messages that are not done with, by ascending number.
	Waiting() iter.Seq[spool.Waiting]
	// Peek says what Waiting would; false: the message is done with.
	Peek(number uint64) (spool.Waiting, bool)
	// Load reads a message; spool.ErrGone: it is done with.
	Load(number uint64) (spool.Pending, error)
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
	// PositiveFeedback and NegativeFeedback move the window of a destination
	// (default_destination_concurrency_positive_feedback and _negative_feedback).
	PositiveFeedback, NegativeFeedback Feedback
	// FailedCohorts is how many windows have to fail before a destination is
	// dead (default_destination_concurrency_failed_cohort_limit). 0: never.
	FailedCohorts int
	// DestinationRateDelay is the pause between two deliveries to a destination,
	// which then are made one at a time (default_destination_rate_delay).
	DestinationRateDelay time.Duration
	// RateDelay is the pause between two deliveries of the transport, which then
	// are made one at a time (default_transport_rate_delay).
	RateDelay time.Duration
}

// Submission is a message made here, a notification or a forward, that is to
// go through alias expansion as mail from outside does.
type Submission struct {
	// Envelope has the recipients as they stand, before expansion, and Arrival
	// only when that is not now: of a message that is put in anew. With
	// Envelope.Bounce the text is a notification, which lacks a Date and a
	// Message-Id.
	Envelope spool.Envelope
	Text     io.WriterTo // without a Received field for the new message
	Size     int64       // octets Text is going to write
}

// Options are what a queue needs of its surroundings. Store has to be there,
// and for Run also Route, Transport and Submit.
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
	// Templates are the words of notifications (bounce_template_file); nil, or
	// one that returns nil: the built-in ones.
	Templates func() *bounce.Templates
	// Log returns the logger of a program name; nil: no log.
	Log func(program string) Logger
	// Observe is told what happens; nil: nobody.
	Observe Observer
	// Now is the clock; nil: time.Now.
	Now        func() time.Time
	Parameters Parameters
}

// Parameters are the settings of the queue itself, named as in main.cf.
type Parameters struct {
	ActiveLimit int // qmgr_message_active_limit; 0: 20000
	// RecipientLimit bounds the recipients of active messages, not counting
	// those of messages with up to RecipientMinimum (qmgr_message_recipient_limit,
	// qmgr_message_recipient_minimum; 0: 20000 and 10).
	RecipientLimit   int
	RecipientMinimum int

	MinimalBackoff  time.Duration // minimal_backoff_time
	MaximalBackoff  time.Duration // maximal_backoff_time
	MaximalLifetime time.Duration // maximal_queue_lifetime; 0: one try
	BounceLifetime  time.Duration // bounce_queue_lifetime; 0: one try
	DelayWarning    time.Duration // delay_warning_time; 0: no warning
	// ConfirmDelayCleared has a sender who was warned told of the success too
	// (confirm_delay_cleared).
	ConfirmDelayCleared bool
	TransportRetry      time.Duration // transport_retry_time: how long a transport that failed is left alone
	DeferTransports     []string      // defer_transports: tried only when somebody asks
	SoftBounce          bool          // soft_bounce: failures are deferred instead

	RecipientDelimiter string // recipient_delimiter
	DelayResolution    int    // delay_logging_resolution_limit: decimals of delays=

	Hostname        string // myhostname
	Origin          string // myorigin
	BounceSizeLimit int64  // bounce_size_limit
	Threaded        bool   // enable_threaded_bounces
	// DoubleBounceSender is the complete sender of notices to the postmaster
	// (double_bounce_sender at myhostname). Mail from it, or from the same at
	// myorigin, never causes another.
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

// retryLimit is how many messages may be active that were tried before: a fifth
// of the active queue is for new ones.
func (p *Parameters) retryLimit() int { return p.activeLimit() - p.activeLimit()/5 }

// recipientLimit is RecipientLimit with its default.
func (p *Parameters) recipientLimit() int {
	if p.RecipientLimit <= 0 {
		return 20000
	}
	return p.RecipientLimit
}

// recipientMinimum is RecipientMinimum with its default.
func (p *Parameters) recipientMinimum() int {
	if p.RecipientMinimum <= 0 {
		return 10
	}
	return p.RecipientMinimum
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

// nextTry is when a message is tried again whose pass ends now. It is no later
// than its sender has to be warned of the delay.
func (p *Parameters) nextTry(it *item, now time.Time) time.Time {
	e := &it.message.Envelope
	next := now.Add(p.backoff(now.Sub(e.Arrival)))
	warn := e.Arrival.Add(p.DelayWarning)
	if p.DelayWarning > 0 && !it.warned && e.Sender != "" && warn.After(now) && warn.Before(next) {
		next = warn
		if soonest := now.Add(p.MinimalBackoff); next.Before(soonest) {
			next = soonest
		}
	}
	return next
}
