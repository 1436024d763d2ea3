package queue

import (
	"time"

	"postern/internal/deliver"
	"postern/internal/spool"
)

// State is where in the queue a message is.
type State uint8

// States.
const (
	Incoming State = iota // waits to become active
	Active                // being delivered
	Deferred              // sleeps until its next try
)

// String is the queue's name as Postfix's tools say it.
func (s State) String() string { return [...]string{"incoming", "active", "deferred"}[s] }

// item is a message in the queue. It is guarded by Queue.mu; the pass part
// belongs to whoever ends the pass once left is 0.
type item struct {
	message   *spool.Message
	state     State
	done      []bool // by recipient
	recovered bool   // was in the spool when the queue was made
	attempts  int    // passes that ended with something deferred
	next      time.Time
	warned    bool
	deferrals []spool.Deferral // of the last pass

	pass struct {
		began       time.Time
		left        int // recipients without a recorded result
		bounced     []verdict
		deferred    []verdict
		interrupted bool // the queue was stopped before all had a try
	}
}

// verdict is the fate of a recipient, by its index in the envelope.
type verdict struct {
	index  int
	status deliver.Status
	// address is the recipient as resolved; "": as in the envelope.
	address string
}

func newItem(m *spool.Message) *item {
	return &item{message: m, done: make([]bool, len(m.Envelope.Recipients))}
}

// begin starts a pass over the recipients that are not done with.
func (it *item) begin(now time.Time) {
	it.state = Active
	it.pass.began = now
	it.pass.left = 0
	for _, done := range it.done {
		if !done {
			it.pass.left++
		}
	}
	it.pass.bounced, it.pass.deferred, it.pass.interrupted = nil, nil, false
}

// attempt is what agents are told of earlier tries. A recovered message may
// have been delivered without a record of it.
func (it *item) attempt() int {
	if it.recovered {
		return max(1, it.attempts)
	}
	return it.attempts
}
