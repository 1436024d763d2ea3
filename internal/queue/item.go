package queue

import (
	"slices"
	"time"

	"postern/internal/deliver"
	"postern/internal/spool"
)

// State is where in the queue a message is.
type State uint8

// States.
const (
	Incoming State = iota // was never tried, and waits for it
	Active                // being delivered
	Deferred              // sleeps until its next try
	Held                  // on hold: not tried until it is released
)

// String is the queue's name as Postfix's tools say it.
func (s State) String() string {
	return [...]string{"incoming", "active", "deferred", "hold"}[s]
}

// item is a message that is in memory, because it is active or because it is
// new. It is guarded by Queue.mu; the lists of pass belong to whoever ends the
// pass once left is 0.
type item struct {
	number    uint64
	message   *spool.Message // nil while it is being read
	state     State          // Incoming or Active
	done      []bool         // by recipient
	inherited bool           // was in the spool when the queue was made
	attempts  int            // passes that ended with something deferred
	warned    bool           // the sender was told of the delay
	expired   bool           // its lifetime was ended by order
	retry     bool           // counts in Queue.retrying
	weight    int            // recipients that have room in Queue.rooms[size]
	size      size
	given     int64  // time of the order to try it; 0: there was none
	stamp     int64  // its next try when the order was given
	again     *order // is to follow if it is not tried now

	// Orders that were given while it was active.
	held, removed, requeue bool

	pass  pass
	first share // of pass.shares, which is mostly the only one
}

// pass is one try of all recipients that are not done with.
type pass struct {
	began    time.Time
	cursor   int       // recipients before it are routed
	unrouted int       // recipients from cursor on that are not done with
	left     int       // recipients without a recorded result, unrouted ones included
	busy     int       // deliveries under way
	placed   time.Time // when the last portion was put into lanes; zero while one is routed
	paused   bool      // waits for results before more recipients are routed
	halted   bool      // nothing more is begun
	ended    bool      // somebody ends it, or has: nobody else may
	shares   []*share  // what waits in lanes, and some that were taken

	// Recipients by their fate. told are sent ones that a report speaks of.
	told, bounced, deferred, probed []verdict

	back        bool  // recipients were taken back
	interrupted bool  // the queue was stopped before all had a try
	parked      *lane // has no room for some recipients
}

// verdict is the fate of a recipient, by its index in the envelope.
type verdict struct {
	index  int
	status *deliver.Status // of others too; nothing changes it
	// address is the recipient as resolved; "": as in the envelope.
	address string
}

func newItem(m *spool.Message) *item {
	return &item{number: m.Number, message: m, done: make([]bool, len(m.Envelope.Recipients))}
}

// fill takes over what the store knows of a message.
func (it *item) fill(p *spool.Pending) {
	it.message, it.done = p.Message, p.Done
	if len(it.done) != len(p.Message.Envelope.Recipients) {
		it.done = make([]bool, len(p.Message.Envelope.Recipients))
		copy(it.done, p.Done)
	}
	it.attempts, it.warned = p.Attempts, p.Warned
}

// begin starts a pass over the recipients that are not done with.
func (it *item) begin(now time.Time) {
	it.pass.began = now
	for _, done := range it.done {
		if !done {
			it.pass.left++
		}
	}
	it.pass.unrouted = it.pass.left
}

// portionSize bounds the recipients of a message that wait in lanes.
const portionSize = 1000

// portion chooses the recipients that are to be routed now: those from the
// first index up to the second that are not done with.
func (it *item) portion() (from, to int) {
	p := &it.pass
	p.shares = slices.DeleteFunc(p.shares, func(s *share) bool { return len(s.recipients) == 0 })
	from = p.cursor
	for room := portionSize - (p.left - p.unrouted); room > 0 && p.unrouted > 0; p.cursor++ {
		if !it.done[p.cursor] {
			room--
			p.unrouted--
		}
	}
	return from, p.cursor
}

// halt takes back all recipients that no delivery has begun with, and returns
// how many. The portion that is being routed is taken back when it is placed.
func (it *item) halt() (count int) {
	p := &it.pass
	p.halted = true
	count, p.unrouted = p.unrouted, 0
	for _, s := range p.shares {
		count += s.takeBack()
	}
	return count
}

// attempt is what agents are told of earlier tries. An inherited message may
// have been delivered without a record of it.
func (it *item) attempt() int {
	if it.inherited {
		return max(1, it.attempts)
	}
	return it.attempts
}

// verify reports whether the message asks for a report instead of a delivery.
func (it *item) verify() bool { return it.message.Envelope.Verify }

// order has the item tried again as it was to be tried now.
func (it *item) order() order {
	return order{number: it.number, stamp: it.stamp, given: it.given, recipients: int32(it.weight)}
}
