// Package intake makes a spooled message of an accepted one, as cleanup(8)
// does: it puts the Received header in front, counts hops, drops headers that
// a message must not bring along, works out the final recipients, and hands
// all of it to the spool in one durable step.
//
// A Letter is one message on its way in:
//
//	letter, reply := in.Begin(size)   // the queue id exists from here on
//	letter.Start(source, ...)         // DATA: writes the Received header
//	letter.Write(text)                // LF line ends
//	reply = letter.Commit(ctx, envelope)   // 250 only after it is durable
//
// A message on hold (access action HOLD) goes into the spool, and nobody is told of
// it. Where aliases take the place of a recipient that asked for a report of
// success, the report "expanded" is made here, and stored in the same step.
//
// Header fields are never rewritten or re-encoded; those of mail submitted on
// the command line are completed (Date, Message-Id, From).
//
// It imports address, access, bounce, config, header, maildrop, route, smtp and spool.
package intake

import (
	"context"
	"errors"
	"time"

	"postern/internal/access"
	"postern/internal/address"
	"postern/internal/bounce"
	"postern/internal/config"
	"postern/internal/route"
	"postern/internal/smtp"
	"postern/internal/spool"
)

// Store is what intake needs of the spool.
type Store interface {
	Create(sizeHint int64) (*spool.Draft, error)
	Commit(ctx context.Context, c spool.Change) ([]*spool.Message, error)
	// Room is spool.ErrFull while no message of ordinary size would be taken.
	Room() error
	Err() error
}

// Logger takes the lines of one program.
type Logger interface {
	Infof(format string, args ...any)
	Warningf(format string, args ...any)
}

// Options are what an Intake is made of.
type Options struct {
	Settings  *config.Settings
	Router    *route.Router
	Store     Store
	Added     func(*spool.Message) // told of every message that is durable and not on hold
	Templates *bounce.Templates    // of reports of success; nil: the built-in ones
	Log       Logger               // of the program "cleanup"
	PickupLog Logger               // of the program "pickup"
	BounceLog Logger               // of the program "bounce"
	Now       func() time.Time     // nil: time.Now
}

// Intake takes messages in under one configuration. It is immutable and safe
// for concurrent use.
type Intake struct {
	router      *route.Router
	store       Store
	added       func(*spool.Message)
	templates   *bounce.Templates
	log         Logger
	pickupLog   Logger
	bounceLog   Logger
	now         func() time.Time
	hostname    string
	myorigin    string
	software    string
	hops        int
	headerSize  int
	drop        map[string]bool // message_drop_headers, lower case
	undisclosed string          // undisclosed_recipients_header
	alwaysAdd   bool            // always_add_missing_headers
	noMapping   bool            // receive_override_options = no_address_mappings
	threaded    bool            // enable_threaded_bounces
}

// New makes an Intake.
func New(o Options) *Intake {
	s := o.Settings
	in := &Intake{
		router: o.Router, store: o.Store, added: o.Added, log: o.Log, pickupLog: o.PickupLog,
		bounceLog: o.BounceLog, templates: o.Templates, threaded: s.Bool("enable_threaded_bounces"), now: o.Now,
		hostname: s.String("myhostname"), myorigin: s.String("myorigin"), software: s.String("mail_name"),
		hops: s.Int("hopcount_limit"), headerSize: s.Int("header_size_limit"), drop: map[string]bool{},
		undisclosed: s.String("undisclosed_recipients_header"), alwaysAdd: s.Bool("always_add_missing_headers"),
	}
	if in.now == nil {
		in.now = time.Now
	}
	for _, name := range s.List("message_drop_headers") {
		in.drop[address.Fold(name)] = true
	}
	for _, w := range s.List("receive_override_options") {
		in.noMapping = in.noMapping || w == "no_address_mappings"
	}
	return in
}

// Envelope is what the client said around the message.
type Envelope struct {
	Sender     address.Address // as given
	Recipients []route.Recipient
	Params     smtp.MailParams
	Actions    []access.Action // of access tables: DISCARD, HOLD, REDIRECT, BCC
	// Verify asks for a report of what delivery would come to, Report for one of
	// what it came to (sendmail -bv, -v).
	Verify, Report bool
}

// Replies of the end of a message, in Postfix's words.
var (
	replyIll       = smtp.R(451, "4.3.0", "Error: queue file write error")
	replyHops      = smtp.R(554, "5.4.0", "Error: too many hops")
	replyNoRcpt    = smtp.R(550, "5.1.0", "Error: no recipients specified")
	replyNoSpace   = smtp.R(452, "4.3.1", "Insufficient system storage")
	replyTemporary = smtp.R(451, "4.3.0", "Temporary lookup failure")
)

// largeSize is a SIZE for which Room looks at the file system itself.
const largeSize = 1 << 20

// Room says whether a message of that size would be taken now: the zero reply, 452
// when the file system is full, 451 when the spool is ill. size is what the client
// announced (RFC 1870), 0 when it did not.
func (in *Intake) Room(size int64) smtp.Reply {
	if err := in.store.Err(); err != nil {
		return replyIll
	}
	err := in.store.Room()
	if err == nil && size > largeSize {
		var d *spool.Draft
		if d, err = in.store.Create(size); err == nil {
			d.Abort()
		}
	}
	if err != nil {
		in.log.Warningf("no message is taken: %v", err)
		return storeReply(err)
	}
	return smtp.Reply{}
}

// Begin opens a letter and gives it its queue id. sizeHint is what the client
// announced (RFC 1870), 0 when it did not. The reply is zero on success, 452
// when the file system is full, 451 when the spool is ill.
func (in *Intake) Begin(sizeHint int64) (*Letter, smtp.Reply) {
	if err := in.store.Err(); err != nil {
		return nil, replyIll
	}
	d, err := in.store.Create(sizeHint)
	if err != nil {
		in.log.Warningf("cannot open a queue file: %v", err)
		return nil, storeReply(err)
	}
	return &Letter{in: in, draft: d}, smtp.Reply{}
}

// storeReply is what the client hears of a spool that refuses.
func storeReply(err error) smtp.Reply {
	if errors.Is(err, spool.ErrFull) {
		return replyNoSpace
	}
	return replyIll
}

func spoolRecipients(list []route.Recipient) []spool.Recipient {
	out := make([]spool.Recipient, len(list))
	for i, r := range list {
		out[i] = spool.Recipient{Address: r.Address.Internal(), Original: r.Original, ORCPT: r.ORCPT, Notify: spool.Notify(r.Notify)}
	}
	return out
}
