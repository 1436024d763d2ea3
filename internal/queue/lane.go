package queue

import (
	"context"
	"math"
	"time"

	"postern/internal/address"
	"postern/internal/deliver"
)

// transport is a Transport with its lanes.
type transport struct {
	Transport
	name    string
	log     Logger
	lanes   map[laneKey]*lane
	ready   fifo[*lane] // lanes that may have a delivery to start, in turn
	workers int
}

type laneKey struct{ nextHop, recipient string }

// lane holds what waits for one destination of a transport.
type lane struct {
	transport *transport
	key       laneKey
	nextHop   string // as routed, case kept
	shares    fifo[*share]
	queued    bool    // in transport.ready
	busy      int     // deliveries under way
	window    int     // deliveries allowed at a time
	cohorts   float64 // windows that failed in a row
	deadUntil time.Time
	reason    deliver.Status // of the failure that killed it
}

// share is the part of a message that waits in a lane.
type share struct {
	item       *item
	recipients []deliver.Recipient
}

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
	statuses := make([]deliver.Status, len(r.Recipients))
	for i := range statuses {
		statuses[i] = deferral("4.3.0", "mail transport unavailable")
	}
	return statuses
}

// deferral is a temporary failure that is not an agent's.
func deferral(dsn, reason string) deliver.Status {
	return deliver.Status{Kind: deliver.Deferred, DSN: dsn, Reason: reason, Relay: "none"}
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
		t = &transport{name: name, lanes: make(map[laneKey]*lane)}
		t.set(q.lookup(name))
		q.transports[name] = t
	}
	return t
}

// set changes agent and limits. Windows that are too wide now are narrowed.
func (t *transport) set(tr Transport, log Logger) {
	t.Transport, t.log = tr, log
	for _, l := range t.lanes {
		l.window = min(l.window, t.concurrency())
	}
}

func (t *transport) concurrency() int {
	if t.DestinationConcurrency <= 0 {
		return math.MaxInt
	}
	return t.DestinationConcurrency
}

func (t *transport) firstWindow() int {
	return min(max(1, t.InitialConcurrency), t.concurrency())
}

// lane returns the lane for a next hop and a recipient.
func (t *transport) lane(nextHop, recipient string) *lane {
	key := laneKey{nextHop: address.Fold(nextHop)}
	if t.DestinationRecipients == 1 {
		key.recipient = address.Fold(recipient)
	}
	l := t.lanes[key]
	if l == nil {
		l = &lane{transport: t, key: key, nextHop: nextHop, window: t.firstWindow()}
		t.lanes[key] = l
	}
	return l
}

// put adds a recipient of it to what waits in the lane. It reports whether the
// lane has something to start now that it had not before.
func (l *lane) put(it *item, r deliver.Recipient) bool {
	s := l.shares.last()
	if s == nil || s.item != it {
		s = &share{item: it}
		l.shares.push(s)
	}
	s.recipients = append(s.recipients, r)
	return l.offer()
}

// offer puts the lane into its transport's turn when it may start a delivery.
// It reports whether it did.
func (l *lane) offer() bool {
	if l.queued || l.shares.len() == 0 || l.busy >= l.window {
		return false
	}
	l.queued = true
	l.transport.ready.push(l)
	return true
}

// take returns the next delivery of the transport, nil when there is none.
func (t *transport) take() *job {
	for t.ready.len() > 0 {
		l := t.ready.pop()
		l.queued = false
		if l.shares.len() == 0 || l.busy >= l.window {
			continue
		}
		s := l.shares.pop()
		j := &job{lane: l, item: s.item, agent: t.Agent, log: t.log}
		j.request = deliver.Request{
			Message: s.item.message, Transport: t.name, NextHop: l.nextHop, Recipients: s.recipients,
		}
		if n := t.DestinationRecipients; n > 0 && n < len(s.recipients) {
			j.request.Recipients = s.recipients[:n:n]
			s.recipients = s.recipients[n:]
			l.shares.push(s)
		}
		l.busy++
		l.offer()
		return j
	}
	return nil
}

// succeed widens the window, but not further than it is used ; a dead
// destination comes back to life.
func (l *lane) succeed() {
	l.cohorts = 0
	t := l.transport
	if l.dead() {
		l.revive()
	}
	if l.window < t.concurrency() && l.window < l.busy+t.firstWindow() {
		l.window++
	}
}

// fail narrows the window, and reports whether that killed the destination.
func (l *lane) fail(reason deliver.Status) (died bool) {
	if l.window == 0 {
		return false
	}
	l.cohorts += 1 / float64(l.window)
	if limit := l.transport.FailedCohorts; limit > 0 && l.cohorts >= float64(limit) {
		l.window, l.reason = 0, reason
		return true
	}
	l.window = max(1, l.window-1)
	return false
}

// dead reports whether the destination is not to be tried now.
func (l *lane) dead() bool { return l.window == 0 }

// revive makes a dead destination one like any other.
func (l *lane) revive() {
	if l.dead() {
		l.window, l.cohorts = l.transport.firstWindow(), 0
	}
	l.retire()
}

// drain takes away all that waits in the lane.
func (l *lane) drain() []*share {
	var shares []*share
	for l.shares.len() > 0 {
		shares = append(shares, l.shares.pop())
	}
	return shares
}

// retire forgets a lane that holds nothing worth remembering.
func (l *lane) retire() {
	if l.busy == 0 && l.shares.len() == 0 && !l.dead() && l.transport.lanes[l.key] == l {
		delete(l.transport.lanes, l.key)
	}
}
