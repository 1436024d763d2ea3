// Package queue decides when and where a message is tried next. It takes what
// the spool holds, asks the router where every recipient goes, hands recipients
// to delivery agents, writes down what became of them, and tries again, or
// gives up, what could not be delivered.
//
// # The way of a message
//
// Add (or New, for what a restart left behind) puts a message into the incoming
// queue. From there it becomes active: every recipient that is not done with is
// routed to a transport and a next hop, and waits in the lane of that pair. A
// worker of the transport takes recipients of one message from a lane, as many
// as the recipient limit says, and gives them to the agent. When all recipients
// have their result the pass is over: the message is removed when all of them
// are done with, and otherwise sleeps until its next try.
//
//	Add ─▶ incoming ─▶ active ─▶ lanes ─▶ agent ─▶ sent, bounced: removed
//	            ▲                                ╰▶ deferred: sleeps ─╮
//	            ╰─────────────────────────────────────────────────────╯
//
// # Fairness
//
// A transport takes its lanes in turn, and a lane its messages in turn, so that
// neither a busy destination nor a message with many recipients keeps others
// waiting. A transport runs at most Processes deliveries at a time. A lane runs
// as many as its window, which begins at InitialConcurrency, grows by one with
// a success up to DestinationConcurrency and shrinks by one with a failure of
// the destination. When a whole window has failed, the destination is dead for
// MinimalBackoff: its mail is deferred without a try. Where the recipient limit
// is 1, every recipient address has a lane of its own.
//
// # Trying again
//
// The next try is as far away as the message is old, at least MinimalBackoff
// and at most MaximalBackoff. A message that is older than MaximalLifetime
// (BounceLifetime for the null sender) after a failed try goes back to its
// sender. Everybody is tried at least once.
//
// # What is written down
//
// A delivery is recorded as soon as the agent has returned. Bounced recipients
// are recorded when the pass ends, in one change with the single notification
// that reports all of them, so that neither happens without the other; likewise
// a forward and the recipient it replaces. When the spool cannot write, no
// delivery is started until it can, or mail would be delivered twice. When Run
// ends, recipients without a result are left pending as they were.
//
// # Limits
//
// ActiveLimit messages are active at a time; what waits or sleeps is kept in
// memory too. There is no preemption, no rate delay, no hold, and a failing
// transport is not slowed down as a whole.
//
// It imports address, bounce, deliver, route and spool.
package queue

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/address"
	"postern/internal/spool"
)

// Queue schedules the messages of a spool. All its methods may be called at any
// time from any goroutine; Run once.
type Queue struct {
	options    Options
	logs       struct{ qmgr, failed, bounce Logger }
	alarm      chan struct{} // the clock has something new to look at
	workers    sync.WaitGroup
	softBounce atomic.Bool // Parameters.SoftBounce

	mu         sync.Mutex // guards all below; never held while anything blocks
	ctx        context.Context
	running    bool // between the start of Run and the end of its context
	parameters Parameters
	unwritten  int              // changes that the store could not write yet
	items      map[string]*item // everything that is not done with, by queue id
	incoming   fifo[*item]      // never tried since it came
	due        fifo[*item]      // to be tried again
	lastDue    bool             // the last admission was from due
	active     int              // items in a pass
	activators int              // goroutines that route
	sleeping   alarms           // deferred items by next try
	transports map[string]*transport
	dead       []*lane // destinations that died; a success may have revived one
	complained time.Time
}

// maxActivators bounds the goroutines that route messages, and with them the
// messages whose tables are asked at the same time.
const maxActivators = 8

// New returns a queue that has taken over what the store holds pending; nothing
// is tried before Run.
func New(o Options) *Queue {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = func(string) Logger { return silent{} }
	}
	q := &Queue{
		options:    o,
		alarm:      make(chan struct{}, 1),
		parameters: o.Parameters,
		items:      make(map[string]*item),
		transports: make(map[string]*transport),
	}
	q.softBounce.Store(o.Parameters.SoftBounce)
	q.logs.qmgr, q.logs.failed, q.logs.bounce = o.Log("qmgr"), o.Log("error"), o.Log("bounce")
	for p := range o.Store.Pending() {
		q.recover(p)
	}
	return q
}

type silent struct{}

func (silent) Infof(string, ...any)    {}
func (silent) Warningf(string, ...any) {}

// recover takes over a message that was pending when the spool was opened.
func (q *Queue) recover(p spool.Pending) {
	it := newItem(p.Message)
	copy(it.done, p.Done)
	it.recovered = true
	it.attempts, it.warned, it.next = p.Attempts, p.Warned, p.Next
	it.deferrals = p.Deferrals
	q.items[p.Message.ID] = it
	if p.Next.IsZero() {
		q.incoming.push(it)
	} else {
		q.sleep(it)
	}
}

// Run delivers until ctx ends, and returns when all agents have returned and
// their results are recorded. The error is always nil.
func (q *Queue) Run(ctx context.Context) error {
	q.mu.Lock()
	q.ctx, q.running = ctx, true
	q.admit()
	q.mu.Unlock()

	q.keepTime(ctx)

	q.mu.Lock()
	q.running = false
	q.mu.Unlock()
	q.workers.Wait()
	return nil
}

// Add puts a message into the incoming queue, right after it was committed. It
// does not block, and a message the queue has already is left as it is.
func (q *Queue) Add(m *spool.Message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.items[m.ID] != nil {
		return
	}
	it := newItem(m)
	q.items[m.ID] = it
	q.incoming.push(it)
	q.admit()
}

// Pressure reports whether mail comes in faster than it goes out: the messages
// that have not had their first try would fill the active queue. Intake slows
// its clients while that is so (postconf in_flow_delay).
func (q *Queue) Pressure() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.incoming.len()+q.active >= q.parameters.activeLimit()
}

// Reload changes the parameters and asks for every transport anew. Deliveries
// under way go on as they began.
func (q *Queue) Reload(p Parameters) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.parameters = p
	q.softBounce.Store(p.SoftBounce)
	for name, t := range q.transports {
		t.set(q.lookup(name))
		q.employ(t)
	}
	q.admit()
}

// Flush makes everything that sleeps due now, and forgets dead destinations
// (postqueue -f).
func (q *Queue) Flush() {
	q.wake(func(*item) bool { return true })
}

// FlushDestination makes the messages due now that wait for a recipient in
// domain (postqueue -s).
func (q *Queue) FlushDestination(domain string) {
	domain = address.Fold(domain)
	q.wake(func(it *item) bool {
		for i, r := range it.message.Envelope.Recipients {
			if !it.done[i] && address.Fold(address.Split(r.Address).Domain) == domain {
				return true
			}
		}
		return false
	})
}

// FlushMessage makes one message due now (postqueue -i). It reports whether
// there is such a message.
func (q *Queue) FlushMessage(id string) bool {
	q.wake(func(it *item) bool { return it.message.ID == id })
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.items[id] != nil
}

// wake makes the sleeping items due that chosen says, and revives dead
// destinations: whoever asks knows that something has changed.
func (q *Queue) wake(chosen func(*item) bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var asleep alarms
	for _, it := range q.sleeping {
		if chosen(it) {
			it.state = Incoming
			q.due.push(it)
		} else {
			asleep = append(asleep, it)
		}
	}
	q.sleeping = asleep
	q.sleeping.init()
	for _, l := range q.dead {
		l.revive()
	}
	q.dead = nil
	q.admit()
}
