package spool

import (
	"encoding/binary"
	"fmt"
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
	if len(v.envelope.Recipients) == 0 {
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

// settled, postponed and undone are the parts of a Change as recorded. An undo
// opens recipients again whose delivery did not survive a power cut.
type settled struct {
	id       uint64
	outcomes []Outcome
}

type postponed struct {
	id        uint64
	deferrals []Deferral
	next      time.Time
	attempts  int
	warned    bool
}

type undone struct {
	id      uint64
	indices []int
}

// changed is the meta of a recordChange; the blob has the inline texts in the
// order of news.
type changed struct {
	news   []stored
	settle []settled
	defers []postponed
	undo   []undone
}

func (c *changed) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(c.news)))
	for i := range c.news {
		b = c.news[i].append(b)
	}
	b = binary.AppendUvarint(b, uint64(len(c.settle)))
	for _, v := range c.settle {
		b = binary.AppendUvarint(b, v.id)
		b = appendOutcomes(b, v.outcomes)
	}
	b = binary.AppendUvarint(b, uint64(len(c.defers)))
	for _, v := range c.defers {
		b = binary.AppendUvarint(b, v.id)
		b = appendSchedule(b, v)
	}
	b = binary.AppendUvarint(b, uint64(len(c.undo)))
	for _, v := range c.undo {
		b = binary.AppendUvarint(b, v.id)
		b = binary.AppendUvarint(b, uint64(len(v.indices)))
		for _, i := range v.indices {
			b = binary.AppendUvarint(b, uint64(i))
		}
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

func appendSchedule(b []byte, v postponed) []byte {
	b = appendDeferrals(b, v.deferrals)
	b = appendTime(b, v.next)
	b = binary.AppendUvarint(b, uint64(max(v.attempts, 0)))
	return appendBool(b, v.warned)
}

func (d *decoder) schedule(id uint64) postponed {
	return postponed{id: id, deferrals: d.deferrals(), next: d.time(), attempts: d.int(), warned: d.bool()}
}

func decodeChanged(meta []byte) (changed, error) {
	d := decoder{b: meta}
	var c changed
	for n := d.count(); n > 0 && d.err == nil; n-- {
		c.news = append(c.news, d.stored())
	}
	for n := d.count(); n > 0 && d.err == nil; n-- {
		c.settle = append(c.settle, settled{id: d.id(), outcomes: d.outcomes()})
	}
	for n := d.count(); n > 0 && d.err == nil; n-- {
		c.defers = append(c.defers, d.schedule(d.id()))
	}
	for n := d.count(); n > 0 && d.err == nil; n-- {
		u := undone{id: d.id()}
		for k := d.count(); k > 0 && d.err == nil; k-- {
			u.indices = append(u.indices, d.int())
		}
		c.undo = append(c.undo, u)
	}
	return c, d.end()
}

// kept is the meta of a recordKeep: a message and its whole state, which
// replaces all that earlier records say of it. The blob is its inline text.
type kept struct {
	stored
	done     []int     // indices of finished recipients
	applied  []Outcome // of these, deliveries that no checkpoint has covered
	schedule postponed
}

func (k *kept) append(b []byte) []byte {
	b = k.stored.append(b)
	b = binary.AppendUvarint(b, uint64(len(k.done)))
	for _, i := range k.done {
		b = binary.AppendUvarint(b, uint64(i))
	}
	b = appendOutcomes(b, k.applied)
	return appendSchedule(b, k.schedule)
}

func decodeKept(meta []byte) (kept, error) {
	d := decoder{b: meta}
	k := kept{stored: d.stored()}
	for n := d.count(); n > 0 && d.err == nil; n-- {
		k.done = append(k.done, d.int())
	}
	k.applied = d.outcomes()
	k.schedule = d.schedule(k.id)
	return k, d.end()
}

// mark is the meta of a recordMark, the first record of every segment and the
// last of every checkpoint. The newest one counts.
type mark struct {
	boot    string // identity of the kernel that was running
	ids     uint64 // every id up to this one may have been given out
	first   uint64 // generations before this one are no longer part of the log
	covered place  // deliveries recorded before this place are durable
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
	b = binary.AppendUvarint(b, uint64(len(m.ends)))
	for _, e := range m.ends {
		b = binary.AppendUvarint(b, e.gen)
		b = binary.AppendUvarint(b, uint64(e.off))
	}
	return b
}

func decodeMark(meta []byte) (mark, error) {
	d := decoder{b: meta}
	m := mark{boot: d.string(), ids: d.id(), first: d.uint(), covered: place{d.uint(), d.size()}}
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

func formatID(id uint64) string { return fmt.Sprintf("%012X", id) }

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
