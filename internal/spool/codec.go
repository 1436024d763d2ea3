package spool

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// Meta is made of unsigned varints, strings with their length before them, and
// times as nanoseconds since 1970 (0: the zero time).

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.AppendVarint(b, 0)
	}
	return binary.AppendVarint(b, t.UnixNano())
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// decoder reads meta. The first thing that does not fit ends it: everything
// read after is zero and err is set.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail() {
	if d.err == nil {
		d.err = fmt.Errorf("%w: record does not follow the format", ErrDamaged)
	}
	d.b = nil
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

// int reads a number that has to fit an int of 32 bits.
func (d *decoder) int() int {
	v := d.uint()
	if v > math.MaxInt32 {
		d.fail()
		return 0
	}
	return int(v)
}

// size reads the length of a text or file.
func (d *decoder) size() int64 {
	v := d.uint()
	if v > math.MaxInt64/2 {
		d.fail()
		return 0
	}
	return int64(v)
}

// id reads a message's id.
func (d *decoder) id() uint64 {
	v := d.uint()
	if v > maxID {
		d.fail()
		return 0
	}
	return v
}

// count reads the number of elements that follow, each at least one byte
// long, so that a bad number cannot ask for more memory than the record has.
func (d *decoder) count() int {
	v := d.uint()
	if v > uint64(len(d.b)) {
		d.fail()
		return 0
	}
	return int(v)
}

func (d *decoder) bytes(n int) []byte {
	if n > len(d.b) {
		d.fail()
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) string() string { return string(d.bytes(d.count())) }

// stringLike is string where it is often like one that is there already: equal
// ones share their bytes.
func (d *decoder) stringLike(other string) string {
	if b := d.bytes(d.count()); string(b) != other {
		return string(b)
	}
	return other
}

func (d *decoder) byte() byte {
	if v := d.bytes(1); v != nil {
		return v[0]
	}
	return 0
}

func (d *decoder) bool() bool {
	v := d.byte()
	if v > 1 {
		d.fail()
	}
	return v == 1
}

func (d *decoder) uint32() uint32 {
	if v := d.bytes(4); v != nil {
		return binary.LittleEndian.Uint32(v)
	}
	return 0
}

func (d *decoder) time() time.Time {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return time.Time{}
	}
	d.b = d.b[n:]
	if v == 0 {
		return time.Time{}
	}
	return time.Unix(0, v)
}

// end fails when something is left.
func (d *decoder) end() error {
	if d.err == nil && len(d.b) > 0 {
		d.fail()
	}
	return d.err
}

// Bits of the envelope's flag byte.
const (
	flagSMTPUTF8 = 1 << iota
	flagEightBit
	flagBounce
	flagVerify
	flagReport
)

func appendEnvelope(b []byte, e *Envelope) []byte {
	var flags byte
	if e.SMTPUTF8 {
		flags |= flagSMTPUTF8
	}
	if e.EightBit {
		flags |= flagEightBit
	}
	if e.Bounce {
		flags |= flagBounce
	}
	if e.Verify {
		flags |= flagVerify
	}
	if e.Report {
		flags |= flagReport
	}
	b = append(b, flags)
	b = appendString(b, e.Sender)
	b = appendTime(b, e.Arrival)
	b = appendString(b, e.EnvID)
	b = appendString(b, e.Ret)
	b = appendString(b, e.MessageID)
	b = binary.AppendUvarint(b, uint64(len(e.Recipients)))
	for i := range e.Recipients {
		r := &e.Recipients[i]
		b = appendString(b, r.Address)
		b = appendString(b, r.Original)
		b = appendString(b, r.ORCPT)
		b = append(b, byte(r.Notify))
	}
	return b
}

func (d *decoder) envelope() Envelope {
	flags := d.byte()
	e := Envelope{
		SMTPUTF8:  flags&flagSMTPUTF8 != 0,
		EightBit:  flags&flagEightBit != 0,
		Bounce:    flags&flagBounce != 0,
		Verify:    flags&flagVerify != 0,
		Report:    flags&flagReport != 0,
		Sender:    d.string(),
		Arrival:   d.time(),
		EnvID:     d.string(),
		Ret:       d.string(),
		MessageID: d.string(),
	}
	n := d.count()
	if n == 0 {
		return e
	}
	e.Recipients = make([]Recipient, 0, n)
	for range n {
		r := Recipient{Address: d.string()}
		r.Original, r.ORCPT, r.Notify = d.stringLike(r.Address), d.string(), Notify(d.byte())
		e.Recipients = append(e.Recipients, r)
		if d.err != nil {
			break
		}
	}
	return e
}

func appendOutcome(b []byte, o Outcome) []byte {
	b = binary.AppendUvarint(b, uint64(o.Index))
	b = appendBool(b, o.Applied != nil)
	if a := o.Applied; a != nil {
		b = appendString(b, a.Path)
		b = binary.AppendUvarint(b, a.Dev)
		b = binary.AppendUvarint(b, uint64(a.Length))
		b = binary.LittleEndian.AppendUint32(b, a.CRC)
	}
	return b
}

func (d *decoder) outcome() Outcome {
	o := Outcome{Index: d.int()}
	if d.bool() {
		o.Applied = &Applied{Path: d.string(), Dev: d.uint(), Length: d.size(), CRC: d.uint32()}
	}
	return o
}

func (d *decoder) outcomes() []Outcome {
	var list []Outcome
	for n := d.count(); n > 0 && d.err == nil; n-- {
		list = append(list, d.outcome())
	}
	return list
}

func appendDeferrals(b []byte, list []Deferral) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, v := range list {
		b = binary.AppendUvarint(b, uint64(v.Index))
		b = appendString(b, v.Status)
		b = appendString(b, v.Reason)
	}
	return b
}

func (d *decoder) deferrals() []Deferral {
	var list []Deferral
	var last Deferral // one destination gives the same reason to all
	for n := d.count(); n > 0 && d.err == nil; n-- {
		last = Deferral{Index: d.int(), Status: d.stringLike(last.Status), Reason: d.stringLike(last.Reason)}
		list = append(list, last)
	}
	return list
}
