package spool

import (
	"encoding/binary"
	"math"
	"strconv"
	"time"
)

// place is where a record begins: the generation of its segment, and the
// offset in it. Places order the log.
type place struct {
	gen uint64
	off int64
}

func (p place) before(q place) bool {
	return p.gen < q.gen || p.gen == q.gen && p.off < q.off
}

// stored is a message as the log holds it. Its text stands in the blob of the
// record, or in a file of its own.
type stored struct {
	id       uint64
	size     int64
	crc      uint32
	file     bool
	envelope Envelope
}

func (v *stored) append(b []byte) []byte {
	b = binary.AppendUvarint(b, v.id)
	b = binary.AppendUvarint(b, uint64(v.size))
	b = binary.LittleEndian.AppendUint32(b, v.crc)
	b = appendBool(b, v.file)
	return appendEnvelope(b, &v.envelope)
}

func (d *decoder) stored() stored {
	v := stored{id: d.id(), size: d.size(), crc: d.uint32(), file: d.bool(), envelope: d.envelope()}
	if v.id == 0 || len(v.envelope.Recipients) == 0 {
		d.fail()
	}
	return v
}

// inline is the length of the text in the blob.
func (v *stored) inline() int64 {
	if v.file {
		return 0
	}
	return v.size
}

// settled, planned and undone are parts of a Change as recorded. An undo opens
// recipients again: their delivery did not survive a power cut, or the change
// that settled them found no space. What is owed was settled before, and a
// checkpoint could not make it durable.
type settled struct {
	id       uint64
	outcomes []Outcome
}

type planned struct {
	id   uint64
	next time.Time
	held bool
}

type undone struct {
	id      uint64
	indices []int
}

// schedule is when a message is tried again, and why it has to be.
type schedule struct {
	deferrals []Deferral // of open recipients, by ascending index
	next      time.Time
	attempts  int
	warned    bool
	held      bool
}

func (v *schedule) append(b []byte) []byte {
	b = appendDeferrals(b, v.deferrals)
	b = appendTime(b, v.next)
	b = binary.AppendUvarint(b, uint64(max(v.attempts, 0)))
	b = appendBool(b, v.warned)
	return appendBool(b, v.held)
}

func (d *decoder) schedule() schedule {
	return schedule{deferrals: d.deferrals(), next: d.time(), attempts: d.int(), warned: d.bool(), held: d.bool()}
}

// state is a message with all that became of it. It replaces what earlier
// records say, but for the place of the text. It is a part of a Change when a
// message is postponed, and with the text it is the meta of a recordKeep.
type state struct {
	stored
	done     []int     // indices of finished recipients
	applied  []Outcome // of these, deliveries that no checkpoint has covered
	schedule schedule
}

func (v *state) append(b []byte) []byte {
	b = v.stored.append(b)
	b = binary.AppendUvarint(b, uint64(len(v.done)))
	for _, i := range v.done {
		b = binary.AppendUvarint(b, uint64(i))
	}
	b = appendOutcomes(b, v.applied)
	return v.schedule.append(b)
}

func (d *decoder) state() state {
	v := state{stored: d.stored()}
	for n := d.count(); n > 0 && d.err == nil; n-- {
		v.done = append(v.done, d.int())
	}
	v.applied = d.outcomes()
	v.schedule = d.schedule()
	return v
}

// encode makes the meta of a record that tells the state: a recordKeep, when
// the text moves with it, or a recordChange.
func (v *state) encode(kind recordType) []byte {
	if kind == recordKeep {
		return v.append(nil)
	}
	c := changed{states: []state{*v}}
	return c.append(nil)
}

func decodeState(meta []byte) (state, error) {
	d := decoder{b: meta}
	v := d.state()
	return v, d.end()
}

// changed is the meta of a recordChange; the blob has the inline texts in the
// order of news. The parts apply in the order in which they stand here.
type changed struct {
	news   []stored
	settle []settled
	states []state
	plans  []planned
	remove []uint64
	undo   []undone
	owed   []settled
}

func (c *changed) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(c.news)))
	for i := range c.news {
		b = c.news[i].append(b)
	}
	b = appendSettled(b, c.settle)
	b = binary.AppendUvarint(b, uint64(len(c.states)))
	for i := range c.states {
		b = c.states[i].append(b)
	}
	b = binary.AppendUvarint(b, uint64(len(c.plans)))
	for _, v := range c.plans {
		b = binary.AppendUvarint(b, v.id)
		b = appendTime(b, v.next)
		b = appendBool(b, v.held)
	}
	b = binary.AppendUvarint(b, uint64(len(c.remove)))
	for _, id := range c.remove {
		b = binary.AppendUvarint(b, id)
	}
	b = binary.AppendUvarint(b, uint64(len(c.undo)))
	for _, v := range c.undo {
		b = binary.AppendUvarint(b, v.id)
		b = binary.AppendUvarint(b, uint64(len(v.indices)))
		for _, i := range v.indices {
			b = binary.AppendUvarint(b, uint64(i))
		}
	}
	return appendSettled(b, c.owed)
}

func appendSettled(b []byte, list []settled) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, v := range list {
		b = binary.AppendUvarint(b, v.id)
		b = appendOutcomes(b, v.outcomes)
	}
	return b
}

func appendOutcomes(b []byte, list []Outcome) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, o := range list {
		b = appendOutcome(b, o)
	}
	return b
}

func decodeChanged(meta []byte) (changed, error) {
	d := decoder{b: meta}
	var c changed
	for n := d.count(); n > 0 && d.err == nil; n-- {
		c.news = append(c.news, d.stored())
	}
	c.settle = d.settled()
	for n := d.count(); n > 0 && d.err == nil; n-- {
		c.states = append(c.states, d.state())
	}
	for n := d.count(); n > 0 && d.err == nil; n-- {
		c.plans = append(c.plans, planned{id: d.id(), next: d.time(), held: d.bool()})
	}
	for n := d.count(); n > 0 && d.err == nil; n-- {
		c.remove = append(c.remove, d.id())
	}
	for n := d.count(); n > 0 && d.err == nil; n-- {
		c.undo = append(c.undo, d.undone())
	}
	c.owed = d.settled()
	return c, d.end()
}

func (d *decoder) settled() (list []settled) {
	for n := d.count(); n > 0 && d.err == nil; n-- {
		list = append(list, settled{id: d.id(), outcomes: d.outcomes()})
	}
	return list
}

func (d *decoder) undone() undone {
	u := undone{id: d.id()}
	for n := d.count(); n > 0 && d.err == nil; n-- {
		u.indices = append(u.indices, d.int())
	}
	return u
}

// mark is the meta of a recordMark, the first record of every segment and the
// last of every checkpoint. The newest one counts.
type mark struct {
	boot    string // identity of the kernel that was running
	ids     uint64 // every id up to this one may have been given out
	first   uint64 // generations before this one are no longer part of the log
	covered place  // deliveries recorded before this place are durable
	holes   uint64 // the latest generation that was freed before older ones; 0: none
	ends    []end  // finished segments from first on
}

// end says how much of a finished segment is records.
type end struct {
	gen uint64
	off int64
}

func (m *mark) append(b []byte) []byte {
	b = appendString(b, m.boot)
	b = binary.AppendUvarint(b, m.ids)
	b = binary.AppendUvarint(b, m.first)
	b = binary.AppendUvarint(b, m.covered.gen)
	b = binary.AppendUvarint(b, uint64(m.covered.off))
	b = binary.AppendUvarint(b, m.holes)
	b = binary.AppendUvarint(b, uint64(len(m.ends)))
	for _, e := range m.ends {
		b = binary.AppendUvarint(b, e.gen)
		b = binary.AppendUvarint(b, uint64(e.off))
	}
	return b
}

func decodeMark(meta []byte) (mark, error) {
	d := decoder{b: meta}
	m := mark{boot: d.string(), ids: d.id(), first: d.uint(), covered: place{d.uint(), d.size()}, holes: d.uint()}
	for n := d.count(); n > 0 && d.err == nil; n-- {
		m.ends = append(m.ends, end{d.uint(), d.size()})
	}
	return m, d.end()
}

// texts cuts the blob of a record into the texts of its messages; an element
// is nil where the checksum does not match, and for messages with files. ok is
// false when the blob has another length than the messages say.
func texts(blob []byte, news []stored) (list [][]byte, ok bool) {
	var total int64
	for i := range news {
		n := news[i].inline()
		if n > math.MaxUint32 {
			return nil, false
		}
		total += n
	}
	if total != int64(len(blob)) {
		return nil, false
	}
	for i := range news {
		n := news[i].inline()
		text := blob[:n:n]
		blob = blob[n:]
		if news[i].file || checksum(text) != news[i].crc {
			text = nil
		}
		list = append(list, text)
	}
	return list, true
}

// maxID is far beyond any id given out, and leaves room to count on.
const maxID = 1 << 62

func formatID(id uint64) string {
	const digits = "0123456789ABCDEF"
	var b [16]byte
	n := len(b)
	for ; id > 0 || n > len(b)-12; id >>= 4 {
		n--
		b[n] = digits[id&15]
	}
	return string(b[n:])
}

// FormatID is the queue id of a message number.
func FormatID(number uint64) string { return formatID(number) }

// ParseID is the number of a queue id; false: it is not the form that FormatID
// makes.
func ParseID(id string) (uint64, bool) {
	number, err := strconv.ParseUint(id, 16, 64)
	if err != nil || formatID(number) != id {
		return 0, false
	}
	return number, true
}
