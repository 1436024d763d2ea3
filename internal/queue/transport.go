package queue

import (
	"context"
	"math"
	"slices"
	"time"

	"postern/internal/deliver"
)

// transport is a Transport with its lanes.
type transport struct {
	Transport
	queue     *Queue
	name      string
	log       Logger
	delimiter string // recipient_delimiter
	lanes     map[laneKey]*lane
	ready     [turns]fifo[*lane] // lanes that may have a delivery to start
	tickets   uint64             // given to lanes that stand in a row
	workers   int
	busy      int       // deliveries under way
	restsTo   time.Time // nothing is started before (transport_rate_delay)
	deadUntil time.Time
	diedAt    int64
	reason    *deliver.Status // why nothing is tried while it is dead
}

// turn says in which row a lane stands.
type turn uint8

// Rows of lanes. A lane is promising when it had a quick answer a moment ago.
const (
	nowhere turn = iota
	unknown
	promising
	turns
)

// quick is how long a delivery, or the wait for one, may take until the
// destination counts as slow.
const quick = 5 * time.Second

// job is one delivery.
type job struct {
	lane    *lane
	item    *item
	agent   deliver.Agent
	log     Logger
	request deliver.Request
}

// missing is the agent of a transport that does not exist.
type missing struct{ log Logger }

func (m missing) Deliver(_ context.Context, r *deliver.Request) []deliver.Status {
	m.log.Warningf("transport %s is not in master.cf", r.Transport)
	status := deferral("4.3.0", "mail transport unavailable")
	status.Transport = true
	return slices.Repeat([]deliver.Status{*status}, len(r.Recipients))
}

// deferral is a temporary failure that is not an agent's.
func deferral(dsn, reason string) *deliver.Status {
	return &deliver.Status{Kind: deliver.Deferred, DSN: dsn, Reason: reason, Relay: "none"}
}

// lookup asks for a transport; one that does not exist gets the missing agent.
func (q *Queue) lookup(name string) (Transport, Logger) {
	tr, ok := q.options.Transport(name)
	if !ok {
		tr = Transport{Agent: missing{q.logs.qmgr}, Program: "error", Processes: 1}
	}
	return tr, q.options.Log(tr.Program)
}

// transport returns the transport of that name.
func (q *Queue) transport(name string) *transport {
	t := q.transports[name]
	if t == nil {
		t = &transport{queue: q, name: name, lanes: make(map[laneKey]*lane)}
		t.set(q.lookup(name))
		q.transports[name] = t
	}
	return t
}

// set changes agent and limits. Windows that are too wide now are narrowed.
func (t *transport) set(tr Transport, log Logger) {
	t.Transport, t.log = tr, log
	t.delimiter = t.queue.parameters.RecipientDelimiter
	for _, l := range t.lanes {
		l.window = min(l.window, t.concurrency())
	}
}

// processes bounds the deliveries at a time; 0: no bound.
func (t *transport) processes() int {
	if t.RateDelay > 0 {
		return 1
	}
	return t.Processes
}

// offer puts the lane into the row that it belongs to when it may start a
// delivery. It reports whether it did.
func (l *lane) offer(now time.Time) bool {
	row := unknown
	if l.promising(now) {
		row = promising
	}
	if l.queued >= row || !l.wants(now) {
		return false
	}
	t := l.transport
	if l.queued == nowhere { // else it keeps its ticket, and is passed over in the old row
		t.tickets++
		l.ticket = t.tickets
	}
	l.queued = row
	t.ready[row].push(l)
	return true
}

// waiting is how many lanes stand in a row, some of them perhaps in vain.
func (t *transport) waiting() int { return t.ready[unknown].len() + t.ready[promising].len() }

// take returns the next delivery of the transport, nil when there is none: of
// the lane that has stood longest, if it may have a process.
func (t *transport) take(now time.Time) *job {
	if now.Before(t.restsTo) || now.Before(t.deadUntil) {
		return nil
	}
	row := promising
	if t.head(unknown) < t.head(promising) {
		row = unknown
	}
	if j := t.takeFrom(row, now); j != nil {
		return j
	}
	return t.takeFrom(unknown+promising-row, now)
}

// head is the ticket of the first lane in a row.
func (t *transport) head(row turn) uint64 {
	for ready := &t.ready[row]; ready.len() > 0; ready.pop() {
		if l := ready.first(); l.queued == row {
			return l.ticket
		}
	}
	return math.MaxUint64
}

// maxRefused bounds how many lanes are looked at that may not have a process.
const maxRefused = 64

// takeFrom returns the next delivery of a row.
func (t *transport) takeFrom(row turn, now time.Time) *job {
	refused := 0
	for n := t.ready[row].len(); n > 0 && refused < maxRefused; n-- {
		l := t.ready[row].pop()
		if l.queued != row {
			continue // it has moved to the other row
		}
		l.queued = nowhere
		switch {
		case !l.wants(now):
			l.retire(now)
		case !t.grants(l, now):
			refused++
			l.offer(now)
		default:
			if j := l.take(); j != nil {
				l.offer(now)
				return j
			}
			l.retire(now)
		}
	}
	return nil
}

// grants reports whether the lane may have another process. A quarter of them
// is kept for destinations that answer: half of that quarter also for the first
// delivery to others, so that they can show whether they do. What is left is
// shared by promising destinations, and a busy one leaves the last to others.
func (t *transport) grants(l *lane, now time.Time) bool {
	limit := t.processes()
	free, reserve := limit-t.busy, limit/4
	switch {
	case limit <= 0 || free > reserve:
		return true
	case free <= 0:
		return false
	case !l.promising(now):
		return l.busy == 0 && free > reserve/2
	}
	return l.busy < max(1, reserve/2) || free > 1 && t.waiting() == 0
}

// die stops the transport until a time, and takes away all that waits for it.
func (t *transport) die(reason *deliver.Status, now, until time.Time) (shares []share) {
	t.deadUntil, t.diedAt, t.reason = until, now.UnixNano(), reason
	for _, l := range t.lanes {
		shares = append(shares, l.drain()...)
		l.retire(now)
	}
	return shares
}

// recover lets a transport work again whose rest is over.
func (t *transport) recover(now time.Time) {
	if !now.Before(t.deadUntil) {
		t.deadUntil = time.Time{}
	}
}

// dead reports whether the transport as a whole is not to be tried now.
func (t *transport) dead(now time.Time) bool { return now.Before(t.deadUntil) }

// employ starts a worker for the transport when there is work and it may have
// another. It is called with the lock held.
func (q *Queue) employ(t *transport) {
	limit := t.processes()
	if !q.running || t.waiting() == 0 || limit > 0 && t.workers >= limit {
		return
	}
	t.workers++
	q.workers.Add(1)
	ctx := q.ctx
	q.crew.begin(ctx, func() { q.work(ctx, t) })
}
