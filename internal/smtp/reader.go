package smtp

import (
	"bytes"
	"errors"
	"io"
)

// Reader reads what a client sends: command lines, message text, and text that
// is to be skipped. It works on a buffer that its owner can exchange, a small
// one while a session idles and a large one while a message comes in.
//
// A Reader reads from the connection only when it needs octets that it does
// not have. Errors of the connection come back unwrapped.
type Reader struct {
	rd  io.Reader
	buf []byte // buf[pos:end] is not consumed yet
	pos int
	end int
	err error // of rd, reported when the octets before it are consumed
}

// errNoProgress is the end of a reader that yields nothing and no error.
var errNoProgress = errors.New("connection yields neither data nor an error")

// minBuffer is the smallest buffer that a Reader works with.
const minBuffer = 64

// NewReader returns a Reader on rd that uses buf, or a buffer of its own when
// buf is shorter than 64 octets.
func NewReader(rd io.Reader, buf []byte) *Reader {
	if len(buf) < minBuffer {
		buf = make([]byte, minBuffer)
	}
	return &Reader{rd: rd, buf: buf}
}

// Reset throws away what is buffered and goes on with rd.
func (r *Reader) Reset(rd io.Reader) {
	r.rd, r.pos, r.end, r.err = rd, 0, 0, nil
}

// Buffered returns the octets that are read but not consumed. They are valid
// until the next call of another method.
func (r *Reader) Buffered() []byte { return r.buf[r.pos:r.end] }

// Swap makes buf the buffer and returns the old one. When the octets that are
// not consumed do not fit into buf, or buf is shorter than 64 octets, nothing
// changes and ok is false.
func (r *Reader) Swap(buf []byte) (old []byte, ok bool) {
	if r.end-r.pos > len(buf) || len(buf) < minBuffer {
		return nil, false
	}
	old = r.buf
	r.end = copy(buf, r.buf[r.pos:r.end])
	r.buf, r.pos = buf, 0
	return old, true
}

// full reports whether no more octets fit behind those not consumed.
func (r *Reader) full() bool { return r.end-r.pos == len(r.buf) }

// fill reads once from the connection. It must not be called on a full buffer.
func (r *Reader) fill() error {
	if r.err != nil {
		return r.err
	}
	if r.pos > 0 {
		r.end = copy(r.buf, r.buf[r.pos:r.end])
		r.pos = 0
	}
	for range 100 {
		n, err := r.rd.Read(r.buf[r.end:])
		r.end += n
		r.err = err
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	r.err = errNoProgress
	return r.err
}

// More reads once from the connection, unless the buffer is full. It waits when
// the client has sent nothing.
func (r *Reader) More() error {
	if r.full() {
		return nil
	}
	return r.fill()
}

// Line is a command line.
type Line struct {
	Text   []byte // without its end; valid until the next call of the Reader
	BareLF bool   // it ended in LF without a CR in front
	Cut    bool   // it was longer than the limit; the rest is skipped
}

// ReadLine reads a line that ends in CRLF or LF. All CRs in front of the LF are
// part of the end. Octets beyond limit are skipped. io.EOF comes back when the
// connection ends, also in the middle of a line.
func (r *Reader) ReadLine(limit int) (Line, error) {
	seen := 0
	for {
		pending := r.buf[r.pos:r.end]
		if i := bytes.IndexByte(pending[seen:], '\n'); i >= 0 {
			text := pending[:seen+i]
			r.pos += len(text) + 1
			line := Line{Text: bytes.TrimRight(text, "\r"), BareLF: !bytes.HasSuffix(text, []byte{'\r'})}
			if len(line.Text) > limit {
				line.Text, line.Cut = line.Text[:limit], true
			}
			return line, nil
		}
		seen = len(pending)
		if r.full() {
			return r.readLongLine(limit)
		}
		if err := r.fill(); err != nil {
			return Line{}, err
		}
	}
}

// readLongLine reads a line that does not fit into the buffer. It keeps the
// start in memory of its own and skips the rest.
func (r *Reader) readLongLine(limit int) (Line, error) {
	var text []byte
	size, last := 0, byte(0)
	for {
		part := r.buf[r.pos:r.end]
		end := bytes.IndexByte(part, '\n')
		if end >= 0 {
			part = part[:end]
		}
		if len(part) > 0 {
			last = part[len(part)-1]
		}
		size += len(part)
		text = append(text, part[:min(len(part), limit-len(text))]...)
		if end >= 0 {
			r.pos += end + 1
			return Line{Text: bytes.TrimRight(text, "\r"), BareLF: last != '\r', Cut: size > limit+1}, nil
		}
		r.pos = r.end
		if err := r.fill(); err != nil {
			return Line{}, err
		}
	}
}

// Skip consumes n octets, as many as a BDAT command announced (RFC 3030, 2).
func (r *Reader) Skip(n int64) error {
	for {
		have := int64(r.end - r.pos)
		if n <= have {
			r.pos += int(n)
			return nil
		}
		n -= have
		r.pos = r.end
		if err := r.fill(); err != nil {
			return err
		}
	}
}

// HasLine reports whether a whole line is in the buffer, so that the next
// ReadLine does not wait for the client.
func (r *Reader) HasLine() bool {
	return bytes.IndexByte(r.buf[r.pos:r.end], '\n') >= 0
}
