package queue

import (
	"math"
	"slices"
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
	shares    rota
	load      int          // recipients that wait of messages that are not small
	parked    fifo[uint64] // messages that there was no room for here
	queued    turn         // where it is in transport.ready
	ticket    uint64       // since when
	busy      int          // deliveries under way
	answered  time.Time    // end of its last quick delivery

	window  int     // deliveries allowed at a time; 0: the destination is dead
	success float64 // feedback that has not widened the window yet
	failure float64 // feedback that has not narrowed the window yet
	cohorts float64 // windows that failed in a row
	restsTo time.Time
	diedAt  int64
	reason  *deliver.Status // why nothing is tried
}

type laneKey struct{ nextHop, recipient string }

// share is the part of a message that waits in a lane. One that was taken or
// taken back has no recipients.
type share struct {
	item       *item
	lane       *lane
	recipients []deliver.Recipient
	sender     string // whose turn it takes
	next, last *share // in a rota
}

// takeBack empties a share, and returns how many recipients it had.
func (s *share) takeBack() int {
	n := len(s.recipients)
	s.remove(n)
	return n
}

// remove cuts off the first n recipients and returns them.
func (s *share) remove(n int) []deliver.Recipient {
	taken := s.recipients[:n:n]
	if s.recipients = s.recipients[n:]; len(s.recipients) == 0 {
		s.recipients = nil
	}
	if s.item != nil && s.item.weight > 0 {
		s.lane.load -= n
	}
	return taken
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
	sender := withoutExtension(it.message.Envelope.Sender, l.transport.delimiter)
	s := l.shares.last(sender)
	if s == nil || s.item != it || len(s.recipients) == 0 {
		if s = &it.first; s.item != nil {
			s = new(share)
		}
		s.item, s.lane, s.sender = it, l, sender
		it.pass.shares = append(it.pass.shares, s)
		l.shares.push(s)
	}
	s.recipients = append(s.recipients, r)
	if it.weight > 0 {
		l.load++
	}
	return l.offer(now)
}

// wants reports whether the lane may start a delivery, as far as it depends on
// the destination.
func (l *lane) wants(now time.Time) bool {
	return l.shares.len() > 0 && l.busy < l.window && !now.Before(l.restsTo)
}

// take makes a delivery of what has waited longest of the sender whose turn it
// is; nil when all of it was taken back. A message with more recipients than a
// delivery may have goes behind others of its sender, so that these are not kept
// waiting by it.
func (l *lane) take() *job {
	t := l.transport
	for l.shares.len() > 0 {
		s := l.shares.pop()
		if len(s.recipients) == 0 {
			continue
		}
		n := len(s.recipients)
		if most := t.DestinationRecipients; most > 0 {
			n = min(n, most)
		}
		j := &job{lane: l, item: s.item, agent: t.Agent, log: t.log}
		j.request = deliver.Request{
			Message: s.item.message, Transport: t.name, NextHop: l.nextHop,
			Recipients: s.remove(n), Probe: s.item.verify(),
		}
		if len(s.recipients) > 0 {
			l.shares.push(s)
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

// full reports whether no more of an item is to wait here: nobody knows whether
// the destination answers, and what waits for it takes a good part of memory. An
// item that waits here already may go on.
func (l *lane) full(it *item, now time.Time) bool {
	q := l.transport.queue
	if l.shares.len() < q.laneRoom() && (it.weight == 0 || l.load < q.laneLoad()) || l.promising(now) {
		return false
	}
	return !slices.ContainsFunc(it.pass.shares, func(s *share) bool { return s.lane == l && len(s.recipients) > 0 })
}

// excess removes what waits behind the first so many messages.
func (l *lane) excess(room int) (shares []*share) {
	var stay []*share
	for l.shares.len() > 0 {
		s := l.shares.pop()
		switch {
		case len(s.recipients) == 0:
		case len(stay) < room:
			stay = append(stay, s)
		default:
			shares = append(shares, s)
		}
	}
	for _, s := range stay {
		l.shares.push(s)
	}
	return shares
}

// recall has parked messages tried again: all, or as many as find room.
func (l *lane) recall(all bool) {
	q := l.transport.queue
	if l.parked.len() == 0 {
		return
	}
	room, load := max(q.laneRoom()-l.shares.len(), 1), q.laneLoad()-l.load
	for ; l.parked.len() > 0 && (all || room > 0 && load > 0); room-- {
		number := l.parked.pop()
		load -= int(q.orders[number].recipients)
		q.ordered.push(number)
	}
	q.admit()
}

// drain takes away all that waits in the lane.
func (l *lane) drain() (shares []share) {
	for l.shares.len() > 0 {
		if s := l.shares.pop(); len(s.recipients) > 0 {
			shares = append(shares, *s)
			s.takeBack()
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
