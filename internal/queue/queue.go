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
// # Memory
//
// In memory are active messages, ActiveLimit at most, and as many new ones;
// of all others only a number, in the row of those that were never tried, or
// with the time of the next try. When its turn comes a message is read from the
// store, whose index is the truth about the next try and about what is on hold:
// a number that is out of date is passed over. The recipients of a message are
// routed in portions of a thousand, so that the router and the lanes are there
// for others too; its pass is one all the same, with one report.
//
// A message with more than RecipientMinimum recipients needs room for them, or
// waits as a number. There is room for RecipientLimit of them in messages that
// have up to a tenth of that, and elsewhere for five times as many in those that
// have more: what is large keeps nobody waiting who is not. Where others wait for
// their room, messages are taken back that wait for destinations only that do
// not answer: what no delivery has begun with stands behind the others then.
//
// # Fairness
//
// A transport takes its lanes in turn, a lane its senders in turn, whatever the
// extension of their address, and the messages of a sender in turn, so that
// neither a busy destination, nor one sender's backlog, nor a message with many
// recipients keeps others waiting. Where the recipient limit is 1, every recipient address without its
// extension has a lane of its own. Tries that are not the first leave a fifth of
// the active queue to new mail.
//
// A lane runs as many deliveries as its window, which begins at
// InitialConcurrency and moves with the feedback of deliveries up to
// DestinationConcurrency. When FailedCohorts windows have failed in a row, the
// destination is dead for MinimalBackoff: its mail is deferred without a try. A
// transport that fails as a whole is left alone for TransportRetry.
//
// A transport runs at most Processes deliveries at a time. Destinations that
// hang cannot use them up: a quarter is kept for destinations that gave a quick
// answer in the last five seconds, each of which may have an eighth of the
// processes there; half of the quarter is open to the first delivery to any
// other destination. With one destination alone one process stays free, when
// there are four or more. Nor can they fill the active queue, or the part of it
// that retries may have: where nobody knows that a destination answers, a tenth of
// the active queue may wait for it, and a twentieth of the room for recipients that
// is left; what is more is parked as a number until there is room. Where others
// wait, all such destinations together keep half of the active queue, but a
// message each.
//
// # Trying again
//
// The next try is as far away as the message is old, at least MinimalBackoff
// and at most MaximalBackoff, but not later than its sender has to be warned of
// the delay. A message that is older than MaximalLifetime (BounceLifetime for
// the null sender) after a failed try goes back to its sender. Everybody is
// tried at least once. Who orders a try overrules what failed before the order.
//
// # Orders
//
// Apply holds, releases, deletes, expires, bounces, requeues and retries
// messages in any state, in steps of a thousand. A message waits once, however
// often its try is ordered. What is requeued is not on hold any more; an order
// that comes while it is requeued finds the old message or the new one. Of an
// active message the recipients that no delivery has begun with are taken back,
// and its pass ends when those under way have ended. That a lifetime was ended by
// order is kept in the store as a next try one second after the beginning of 1970.
//
// # Who is told
//
// At the end of a pass the sender is told of recipients that bounced, of
// delays once, and of success where he asked for it and no other server has
// taken that over; or, when he was warned of a delay, with ConfirmDelayCleared.
// A message with Envelope.Verify is delivered nowhere: agents get a Probe, and
// the report says what they answered. Envelope.Report adds a report of every
// result of the first pass.
//
// # What is written down
//
// A delivery is recorded as soon as the agent has returned. Bounced recipients
// are recorded when the pass ends, in one change with the single notification
// that reports all of them, so that neither happens without the other; likewise
// a forward and the recipient it replaces. A report of success is in one change
// with the last result of the pass: those before it may be lost to it when the
// process dies. When the spool cannot write, no delivery is started until it
// can, or mail would be delivered twice. When Run ends, recipients without a
// result are left pending as they were.
//
// # Limits
//
// There is no preemption by delivery slots. Senders take turns where their mail
// waits for a destination, not in the incoming queue and not where mail is
// parked. A huge message has its room until the deliveries under way with it have
// ended. Flushing a domain reads every
// deferred message. A message that is expired by order and whose notification
// cannot be made waits as any other. The notices of notify_classes policy,
// protocol, data, resource and software are not made here.
//
// It imports address, bounce, deliver, route and spool.
package queue

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/spool"
)

// Queue schedules the messages of a spool. All its methods may be called at any
// time from any goroutine; Run once.
type Queue struct {
	options    Options
	logs       struct{ qmgr, failed, bounce, super Logger }
	alarm      chan struct{} // the clock has something new to look at
	workers    sync.WaitGroup
	crew       crew         // who they are
	softBounce atomic.Bool  // Parameters.SoftBounce
	resolution atomic.Int32 // Parameters.DelayResolution
	inherited  uint64       // messages up to this number were here when the queue was made

	// changes is held while an order is written down, and alone while a new
	// message takes the place of one: an order finds the one or the other. It is
	// taken before mu, and not while anything but the store blocks.
	changes sync.RWMutex

	mu         sync.Mutex // guards all below; never held while anything blocks
	ctx        context.Context
	running    bool // between the start of Run and the end of its context
	parameters Parameters
	unwritten  int // changes that the store could not write yet

	items      map[uint64]*item // what is in memory
	incoming   fifo[uint64]     // never tried
	fresh      int              // of these, messages that came since the start
	orders     orders           // of the messages in ordered, in rooms, and parked
	ordered    fifo[uint64]     // to be tried because somebody asked, or again
	rooms      [sizes]room      // for messages of many recipients
	unrouted   fifo[*item]      // active, with recipients that are not routed yet
	sleeping   timeline[alarm]  // to be tried at their time
	armed      int64            // when the clock looks next, nanoseconds since 1970
	pruneAt    int              // so many alarms are looked through
	source     int              // where the next message is looked for first
	active     int              // messages in a pass
	retrying   int              // of these, messages that were tried before
	activators int              // goroutines that route
	transports map[string]*transport
	crowded    time.Time           // when the active queue is unloaded, if it is full then
	resting    timeline[rest]      // dead destinations and their like
	flushing   map[string]struct{} // domains to be flushed; nil: nobody is at it
	complained time.Time
	oldest     struct { // what Stats has read last
		number  uint64
		arrival time.Time
	}
}

// New returns a queue that has taken over what the store holds; nothing is
// tried before Run. Without Run it can list, show and change what is there, and
// of its options it needs only the store.
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
		items:      make(map[uint64]*item),
		crew:       newCrew(),
		transports: make(map[string]*transport),
	}
	q.set(o.Parameters)
	q.logs.qmgr, q.logs.failed, q.logs.bounce = o.Log("qmgr"), o.Log("error"), o.Log("bounce")
	q.logs.super = o.Log("postsuper")
	for w := range o.Store.Waiting() {
		q.inherited = w.Number
		switch {
		case w.Held:
		case w.Next.IsZero():
			q.incoming.push(w.Number)
		default:
			q.sleeping = append(q.sleeping, alarm{stamp(w.Next), w.Number})
		}
	}
	q.sleeping.order()
	q.pruneAt = 2*len(q.sleeping) + fewAlarms
	return q
}

type silent struct{}

func (silent) Infof(string, ...any)    {}
func (silent) Warningf(string, ...any) {}

// set takes over parameters.
func (q *Queue) set(p Parameters) {
	q.parameters = p
	q.softBounce.Store(p.SoftBounce)
	q.resolution.Store(int32(p.DelayResolution))
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
// does not block. A message that the queue has already is not tried twice, and
// one that was committed to the hold queue is left there.
func (q *Queue) Add(m *spool.Message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.items[m.Number] != nil || m.Number <= q.inherited {
		return
	}
	if len(m.Envelope.Recipients) <= q.parameters.recipientMinimum() && q.fresh < q.parameters.activeLimit() {
		q.items[m.Number] = newItem(m)
	}
	q.incoming.push(m.Number)
	q.fresh++
	q.admit()
}

// Pressure reports whether mail comes in faster than it goes out: so many new
// messages have not had their first try that they would fill half of the
// active queue. Intake slows its clients while that is so (postconf
// in_flow_delay).
func (q *Queue) Pressure() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return 2*q.fresh >= q.parameters.activeLimit()
}

// Reload changes the parameters and asks for every transport anew. Deliveries
// under way go on as they began.
func (q *Queue) Reload(p Parameters) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.set(p)
	for name, t := range q.transports {
		t.set(q.lookup(name))
		t.recover(q.options.Now())
		q.employ(t)
	}
	q.admit()
}

// state is where a message is.
func (q *Queue) state(w spool.Waiting) State {
	q.mu.Lock()
	it := q.items[w.Number]
	active := it != nil && it.state == Active && it.message != nil
	q.mu.Unlock()
	switch {
	case w.Held:
		return Held
	case active:
		return Active
	case w.Next.IsZero():
		return Incoming
	}
	return Deferred
}
