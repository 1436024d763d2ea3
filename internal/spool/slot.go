package spool

import (
	"math/bits"
	"time"
)

// slot is what the index holds of a message: numbers only, 48 bytes, so that a
// million messages are cheap to hold and the garbage collector passes them by.
type slot struct {
	number uint64
	next   int64 // time of the next try in nanoseconds since 1970; 0: at once
	text   spot  // where the text is; zero when it has a file of its own
	state  spot  // the newest record with the envelope and the state

	textWeight, stateWeight uint32 // bytes of these segments that are needed because of it

	rcpts uint32
	done  uint16 // recipients that are done with, where there are at most narrow
	flags uint8
}

// spot is a place in the log in 8 bytes. A generation is 32 MiB of log: 32 bits
// of them are never used up.
type spot struct{ gen, off uint32 }

func (p place) spot() spot { return spot{uint32(p.gen), uint32(p.off)} }

// narrow is the largest number of recipients whose fate stands in the slot.
const narrow = 16

// Flags of a slot.
const (
	slotHeld  uint8 = 1 << iota // on hold
	slotFile                    // the text has a file of its own
	slotTried                   // its state tells of deferrals
	slotFlags uint8 = 1<<iota - 1
)

func (e *slot) is(flag uint8) bool { return e.flags&flag != 0 }

func (e *slot) set(flag uint8, on bool) {
	if e.flags &^= flag; on {
		e.flags |= flag
	}
}

// wide: the done recipients stand in the message's work.
func (e *slot) wide() bool { return e.rcpts > narrow }

// has reports whether there is a recipient with this index.
func (e *slot) has(i int) bool { return i >= 0 && i < int(e.rcpts) }

func (e *slot) waiting() Waiting {
	return Waiting{Number: e.number, Next: timeOf(e.next), Held: e.is(slotHeld), Recipients: int(e.rcpts)}
}

// nanos and timeOf turn a time into a number and back; 0 is the zero time.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func timeOf(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

// work is what the index holds of a message besides its slot while that is not
// enough: when it has many recipients, or something about it is not settled
// for good.
type work struct {
	wide    bitset  // recipients that are done with, where there are more than narrow
	left    int     // of these, how many are not
	debts   []*debt // deliveries that no checkpoint has covered, and some that are no longer owed
	owed    int     // of these, how many are
	pins    int     // changes that settled something and may yet be undone
	version uint64  // changes when one of the others does
}

// debt is a delivery that is durable only after a checkpoint.
type debt struct {
	number  uint64
	outcome Outcome
	at      place // of the record that told it
	boot    string
	gone    bool // not owed any more
	doubt   bool // the system may have lost bytes of it and said so already: they have to be written again
}

// bitset has a bit for every recipient.
type bitset []uint64

func newBitset(n uint32) bitset { return make(bitset, (n+63)/64) }

func (b bitset) has(i int) bool { return b[i/64]>>(i%64)&1 != 0 }
func (b bitset) set(i int)      { b[i/64] |= 1 << (i % 64) }
func (b bitset) clear(i int)    { b[i/64] &^= 1 << (i % 64) }

func (b bitset) count() int {
	n := 0
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}
