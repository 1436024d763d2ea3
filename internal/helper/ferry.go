package helper

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/deliver/mailbox"
)

// Bounds of what travels in one request with others. More is no gain: what it
// costs to ask the helper is shared by many then.
const (
	maxLoad   = 96 << 10 // octets
	maxShared = 64       // deliveries
	maxParcel = 16 << 10 // octets of one caller; larger ones gain nothing and go alone
)

// ferryPatience is how long a request may take before it counts as late.
const ferryPatience = 100 * time.Millisecond

// parcel is what one caller wants delivered: one text, for one or more Maildirs.
type parcel struct {
	list []mailbox.Delivery
	out  []mailbox.Outcome
	size int
	// turn brings nil when the parcel was delivered, or what its owner has to
	// take across, with the parcel among it.
	turn chan []*parcel
}

// text is the one text of the parcel.
func (p *parcel) text() mailbox.Body { return p.list[0].Message.Body }

// durable reports that a delivery was on the disk when it was answered: these
// mailboxes are on a file system where each is synced (spool.Each).
func (p *parcel) durable() bool {
	for i := range p.out {
		if p.out[i].Err == nil && p.out[i].Receipt.Applied == nil {
			return true
		}
	}
	return false
}

// ferry takes the deliveries of many callers across in few requests. Who comes
// while nothing is under way goes at once; who comes later goes with all others
// that wait by then. So the busier the server is, the less each delivery costs.
//
// A mailbox that does not answer, on a file system that hangs, keeps those back
// that travel with it. Nobody else waits for them: as long as a request is late,
// every delivery goes at once and by itself.
type ferry struct {
	cross func([]*parcel) // makes one request; each parcel has its outcomes then
	alone atomic.Bool     // deliveries were found to wait for the disk: each goes by itself

	mu      sync.Mutex
	waiting []*parcel
	abroad  int // requests under way that are not late
	late    int // and those that are
}

// berths is how many requests may be under way at a time. The work in them is
// done by processors, which the rest of the server needs too.
func berths() int { return max(1, runtime.GOMAXPROCS(0)/2) }

// carry returns when p was delivered.
func (f *ferry) carry(p *parcel) {
	p.turn = make(chan []*parcel, 1)
	f.mu.Lock()
	f.waiting = append(f.waiting, p)
	f.board()
	f.mu.Unlock()
	if load := <-p.turn; load != nil {
		f.sail(load)
	}
}

// board sends loads off as long as there are berths: the owner of the first
// parcel takes them across. The caller holds mu.
func (f *ferry) board() {
	for len(f.waiting) > 0 && (f.abroad < berths() || f.late > 0) {
		n := f.room()
		load := f.waiting[:n:n]
		f.waiting = f.waiting[n:]
		f.abroad++
		load[0].turn <- load
	}
}

// room is how many of those that wait go together.
func (f *ferry) room() int {
	size, count := 0, 0
	for n, p := range f.waiting {
		size, count = size+p.size, count+len(p.list)
		if n > 0 && (size > maxLoad || count > maxShared || f.late > 0) {
			return n
		}
	}
	return len(f.waiting)
}

// sail takes a load across.
func (f *ferry) sail(load []*parcel) {
	under := &f.abroad // what the request is counted in; nil: it has ended
	timer := time.AfterFunc(ferryPatience, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if under != nil {
			under = &f.late
			f.abroad--
			f.late++
			f.board()
		}
	})
	f.cross(load)
	timer.Stop()
	f.mu.Lock()
	*under--
	under = nil
	f.board()
	f.mu.Unlock()
	for _, p := range load {
		if p.durable() {
			f.alone.Store(true)
		}
		if p != load[0] {
			p.turn <- nil
		}
	}
}
