package mailbox

import (
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"golang.org/x/sys/unix"
)

// outputSize is enough to write nearly every message in one piece.
const outputSize = 64 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// buffers are shared by all stores; what is in one is never read back.
var buffers = sync.Pool{New: func() any { return new([outputSize]byte) }}

// output gathers what is written to a file into large pieces, and counts and
// sums it. The first error sticks.
type output struct {
	fd    int   // -1: only count and sum
	room  int64 // octets that may still be written; negative: no limit
	n     int64 // octets handed to the file
	crc   uint32
	array *[outputSize]byte
	fill  int
	err   error
}

// newOutput writes to fd. release has to be called.
func newOutput(fd int, room int64) *output {
	return &output{fd: fd, room: room, array: buffers.Get().(*[outputSize]byte)}
}

func (o *output) release() {
	buffers.Put(o.array)
	o.array = nil
}

// Write takes all of p or returns the error that sticks.
func (o *output) Write(p []byte) (int, error) {
	taken := 0
	for taken < len(p) && o.err == nil {
		if o.fill == outputSize {
			o.flush()
			continue
		}
		n := copy(o.array[o.fill:], p[taken:])
		o.fill += n
		taken += n
	}
	return taken, o.err
}

// readBody appends a whole message text, without a second buffer.
func (o *output) readBody(b Body) error {
	for at, size := int64(0), b.Size(); at < size && o.err == nil; {
		if o.fill == outputSize {
			o.flush()
			continue
		}
		free := o.array[o.fill:]
		if left := size - at; int64(len(free)) > left {
			free = free[:left]
		}
		n, err := b.ReadAt(free, at)
		if n < len(free) {
			o.err = &readError{err}
		}
		o.fill += n
		at += int64(n)
	}
	return o.err
}

// flush writes out what is gathered.
func (o *output) flush() error {
	p := o.array[:o.fill]
	if o.err == nil && o.room >= 0 && o.n+int64(len(p)) > o.room {
		o.err = unix.EFBIG
	}
	if o.err != nil {
		return o.err
	}
	o.crc = crc32.Update(o.crc, castagnoli, p)
	o.n += int64(len(p))
	o.fill = 0
	for len(p) > 0 && o.fd >= 0 {
		n, err := unix.Write(o.fd, p)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			o.err = err
			return err
		}
		p = p[n:]
	}
	return nil
}

// readError is a spool that does not give back the text it holds.
type readError struct{ err error }

func (e *readError) Error() string {
	if e.err == nil || e.err == io.EOF {
		return "message text ends early"
	}
	return fmt.Sprintf("message text: %v", e.err)
}

func (e *readError) Unwrap() error { return e.err }
