package helper

import (
	"encoding/binary"
	"time"
)

// Bounds of single fields.
const (
	maxPath   = 64 << 10 // of a path, and of any other text of one line
	maxHeader = 256 << 10
	maxResult = 512 << 10 // of the rest of a file that was read, or of a command's output
)

func appendUint(b []byte, n uint64) []byte { return binary.AppendUvarint(b, n) }
func appendInt(b []byte, n int64) []byte   { return binary.AppendVarint(b, n) }

// appendCount appends a number that is none when it is negative: an id, an index.
func appendCount(b []byte, n int) []byte { return appendUint(b, uint64(max(n, 0))) }

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendBytes(b, s []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return appendInt(appendBool(b, false), 0)
	}
	return appendInt(appendBool(b, true), t.UnixNano())
}

// fields takes a payload apart. After the first field that is not as it has to
// be, all are zero, and end says so.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) fail() {
	f.b, f.bad = nil, true
}

// end is nil when all of the payload was taken and was good.
func (f *fields) end() error {
	if f.bad || len(f.b) > 0 {
		return errFrame
	}
	return nil
}

func (f *fields) uint(limit uint64) uint64 {
	n, size := binary.Uvarint(f.b)
	if size <= 0 || n > limit {
		f.fail()
		return 0
	}
	f.b = f.b[size:]
	return n
}

func (f *fields) int() int64 {
	n, size := binary.Varint(f.b)
	if size <= 0 {
		f.fail()
		return 0
	}
	f.b = f.b[size:]
	return n
}

// id is a number that a user or group may have; 1<<31 and more are none.
func (f *fields) id() int { return int(f.uint(1<<31 - 1)) }

func (f *fields) bool() bool { return f.uint(1) == 1 }

// bytes are valid as long as the payload is.
func (f *fields) bytes(limit int) []byte {
	n := int(f.uint(uint64(limit)))
	if n > len(f.b) {
		f.fail()
		return nil
	}
	taken := f.b[:n:n]
	f.b = f.b[n:]
	return taken
}

func (f *fields) string(limit int) string { return string(f.bytes(limit)) }

func (f *fields) strings(limit int) []string {
	n := int(f.uint(maxList))
	if n > len(f.b) { // every element takes a byte at least
		f.fail()
		return nil
	}
	list := make([]string, n)
	for i := range list {
		list[i] = f.string(limit)
	}
	return list
}

func (f *fields) time() time.Time {
	set, n := f.bool(), f.int()
	if !set {
		return time.Time{}
	}
	return time.Unix(0, n)
}

func (f *fields) duration() time.Duration { return time.Duration(f.int()) }
