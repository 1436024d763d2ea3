package queue

import (
	"math"
	"strings"
	"time"

	"postern/internal/address"
	"postern/internal/deliver"
)

// lane holds what waits for one destination of a transport.
type lane struct {
	transport *transport
	key       laneKey
	nextHop   string // as routed, case kept
	shares    fifo[*share]
	parked    fifo[order] // messages that there was no room for here
	queued    turn        // where it is in transport.ready
	ticket    uint64      // since when
	busy      int         // deliveries under way
	answered  time.Time   // end of its last quick delivery

	window  int     // deliveries allowed at a time; 0: the destination is dead
	success float64 // feedback that has not widened the window yet
	failure float64 // feedback that has not narrowed the window yet
	cohorts float64 // windows that failed in a row
	restsTo time.Time
	diedAt  int64
	reason  deliver.Status // why nothing is tried
}

type laneKey struct{ nextHop, recipient string }

// share is the part of a message that waits in a lane. One that was taken or
// taken back has no recipients.
type share struct {
	item       *item
	lane       *lane
	recipients []deliver.Recipient
}

// lane returns the lane for a next hop and a recipient. Where the recipient
// limit is 1, each recipient without its extension has a lane of its own.
func (t *transport) lane(nextHop, recipient string) *lane {
	key := t.key(nextHop, recipient)
	l := t.lanes[key]
	if l == nil {
		l = &lane{transport: t, key: key, nextHop: nextHop, window: t.firstWindow()}
		t.lanes[key] = l
	}
	return l
}

func (t *transport) key(nextHop, recipient string) laneKey {
	key := laneKey{nextHop: address.Fold(nextHop)}
	if t.DestinationRecipients == 1 {
		key.recipient = withoutExtension(address.Fold(recipient), t.delimiter)
	}
	return key
}

// withoutExtension cuts the extension off a local part (recipient_delimiter).
func withoutExtension(addr, delimiter string) string {
	at := strings.LastIndexByte(addr, '@')
	if at < 0 {
		at = len(addr)
	}
	if i := strings.IndexAny(addr[:at], delimiter); i > 0 {
		return addr[:i] + addr[at:]
	}
	return addr
}

// put adds a recipient of it to what waits in the lane. It reports whether the
// lane has something to start now that it had not before.
func (l *lane) put(it *item, r deliver.Recipient, now time.Time) bool {
	s := l.shares.last()
	if s == nil || s.item != it || len(s.recipients) == 0 {
		if s = &it.first; s.item != nil {
			s = new(share)
		}
		s.item, s.lane = it, l
		it.pass.shares = append(it.pass.shares, s)
		l.shares.push(s)
	}
	s.recipients = append(s.recipients, r)
	return l.offer(now)
}

// wants reports whether the lane may start a delivery, as far as it depends on
// the destination.
func (l *lane) wants(now time.Time) bool {
	return l.shares.len() > 0 && l.busy < l.window && !now.Before(l.restsTo)
}

// take makes a delivery of what has waited longest; nil when all of it was
// taken back. A message with more recipients than a delivery may have goes to
// the end of the lane, so that others are not kept waiting by it.
func (l *lane) take() *job {
	t := l.transport
	for l.shares.len() > 0 {
		s := l.shares.pop()
		if len(s.recipients) == 0 {
			continue
		}
		j := &job{lane: l, item: s.item, agent: t.Agent, log: t.log}
		j.request = deliver.Request{
			Message: s.item.message, Transport: t.name, NextHop: l.nextHop,
			Recipients: s.recipients, Probe: s.item.verify(),
		}
		if n := t.DestinationRecipients; n > 0 && n < len(s.recipients) {
			j.request.Recipients = s.recipients[:n:n]
			s.recipients = s.recipients[n:]
			l.shares.push(s)
		} else {
			s.recipients = nil
		}
		l.busy++
		t.busy++
		s.item.pass.busy++
		return j
	}
	return nil
}

// promising reports whether the destination gave a quick answer a moment ago.
func (l *lane) promising(now time.Time) bool { return now.Sub(l.answered) < quick }

// full reports whether no more messages are to wait here: nobody knows whether
// the destination answers, and those that wait for it take a good part of the
// active queue.
func (l *lane) full(room int, now time.Time) bool {
	return l.shares.len() >= room && !l.promising(now)
}

// excess removes what waits behind the first so many messages.
func (l *lane) excess(room int) (shares []*share) {
	for n := l.shares.len(); n > 0; n-- {
		s := l.shares.pop()
		switch {
		case len(s.recipients) == 0:
		case room > 0:
			room--
			l.shares.push(s)
		default:
			shares = append(shares, s)
		}
	}
	return shares
}

// recall has parked messages tried again: all, or as many as find room.
func (l *lane) recall(all bool) {
	if l.parked.len() == 0 {
		return
	}
	room := max(l.transport.queue.laneRoom()-l.shares.len(), 1)
	for ; l.parked.len() > 0 && (all || room > 0); room-- {
		l.transport.queue.ordered.push(l.parked.pop())
	}
}

// drain takes away all that waits in the lane.
func (l *lane) drain() (shares []share) {
	for l.shares.len() > 0 {
		if s := l.shares.pop(); len(s.recipients) > 0 {
			shares = append(shares, *s)
			s.recipients = nil
		}
	}
	l.recall(true)
	return shares
}

// retire forgets a lane that holds nothing worth remembering.
func (l *lane) retire(now time.Time) {
	if l.busy > 0 || l.shares.len() > 0 {
		return
	}
	l.recall(true)
	if !l.dead() && !now.Before(l.restsTo) && l.transport.lanes[l.key] == l {
		delete(l.transport.lanes, l.key)
	}
}

// rouse makes the lane work again when its rest is over.
func (l *lane) rouse(now time.Time) {
	if now.Before(l.restsTo) {
		return
	}
	if l.dead() {
		l.revive(0)
	}
	l.offer(now)
	l.retire(now)
}

// concurrency bounds the window.
func (t *transport) concurrency() int {
	switch {
	case t.DestinationRateDelay > 0:
		return 1
	case t.DestinationConcurrency <= 0:
		return math.MaxInt
	}
	return t.DestinationConcurrency
}

func (t *transport) firstWindow() int {
	return min(max(1, t.InitialConcurrency), t.concurrency())
}
