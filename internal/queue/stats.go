package queue

import (
	"slices"
	"strings"
	"time"

	"postern/internal/deliver"
	"postern/internal/spool"
)

// Stats are the figures of the queue at one moment.
type Stats struct {
	Incoming, Active, Deferred, Held int // messages
	// Oldest is the arrival of the oldest message; zero when there is none.
	Oldest time.Time
	// Deliveries are those under way, by transport; transports without any are
	// left out.
	Deliveries map[string]int
	Dead       []DeadDestination // by transport and next hop
}

// DeadDestination is a destination that is not tried now.
type DeadDestination struct {
	Transport string
	NextHop   string // "": the transport as a whole
	Until     time.Time
	Reason    string
}

// Stats returns the figures of this moment. It looks at every message in the
// store's index, and reads the oldest one.
func (q *Queue) Stats() Stats {
	var s Stats
	var first spool.Waiting
	for w := range q.options.Store.Waiting() {
		if first.Number == 0 {
			first = w
		}
		switch {
		case w.Held:
			s.Held++
		case w.Next.IsZero():
			s.Incoming++
		default:
			s.Deferred++
		}
	}
	if first.Number != 0 {
		s.Oldest = q.arrival(first.Number)
	}
	q.countActive(&s)
	return s
}

// arrival is when a message came; the last answer is kept.
func (q *Queue) arrival(number uint64) time.Time {
	q.mu.Lock()
	oldest := q.oldest
	q.mu.Unlock()
	if oldest.number == number {
		return oldest.arrival
	}
	p, err := q.load(number)
	if err != nil {
		return time.Time{}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.oldest.number, q.oldest.arrival = number, p.Message.Envelope.Arrival
	return q.oldest.arrival
}

// countActive adds what only the queue knows: which messages are active, and
// what is dead.
func (q *Queue) countActive(s *Stats) {
	now := q.options.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	retried := min(q.retrying, s.Deferred)
	s.Deferred -= retried
	first := min(q.active-retried, s.Incoming)
	s.Incoming -= first
	s.Active = retried + first
	s.Deliveries = make(map[string]int)
	for name, t := range q.transports {
		if t.busy > 0 {
			s.Deliveries[name] = t.busy
		}
		if t.dead(now) {
			s.Dead = append(s.Dead, DeadDestination{name, "", t.deadUntil, t.reason.Reason})
		}
		for _, l := range t.lanes {
			if l.dead() {
				s.Dead = append(s.Dead, DeadDestination{name, l.name(), l.restsTo, l.reason.Reason})
			}
		}
	}
	slices.SortFunc(s.Dead, func(a, b DeadDestination) int {
		return strings.Compare(a.Transport+" "+a.NextHop, b.Transport+" "+b.NextHop)
	})
}

// name is the destination: the next hop, with the recipient in front where each
// has a lane of its own.
func (l *lane) name() string {
	if local, _, found := strings.Cut(l.key.recipient, "@"); found {
		return local + "@" + l.nextHop
	}
	return l.nextHop
}

// Observer is told what happens in the queue, for counters and histograms. Its
// methods are called from many goroutines and must not block.
type Observer interface {
	// Delivered tells the result of a recipient; transport is "" when none was
	// asked to deliver.
	Delivered(transport string, kind deliver.Kind, d Delays)
	// Removed tells that a message is done with, so long after its arrival.
	Removed(age time.Duration)
}

// Delays are the four figures of delays= in the log.
type Delays struct {
	Before       time.Duration // from arrival to the active queue
	Queue        time.Duration // in the active queue
	Setup        time.Duration // connecting
	Transmission time.Duration
}
