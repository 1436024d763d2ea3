package mailbox

import (
	"bytes"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// idWithin is where in the text the queue id is looked for: in the Received
	// line that intake has put in front.
	idWithin = 4 << 10
	// searched bounds the part of an mbox that is searched, from its end.
	searched    = 1 << 30
	searchPiece = 1 << 20 // of it at a time
	// endCompared is how much of a message's end is compared when a reader has
	// changed its header.
	endCompared = 1 << 10
)

// earlier looks for the message in an mbox that is locked, for the case that the
// server died before the delivery was recorded. whole: it is there. torn >= 0:
// the file ends in a part of it that begins there.
type earlier struct {
	whole bool
	torn  int64
}

// findEarlier compares what an earlier attempt would have written with the file.
func (f *mboxFile) findEarlier(m *Message, size int64) (earlier, error) {
	none := earlier{torn: -1}
	mark, err := m.mark()
	if err != nil || mark == nil {
		return none, err
	}
	from := FromLine(m.Sender, time.Time{}) // as long at any time
	dated := from[:len(from)-len(time.ANSIC)-1]
	low := max(size-searched, 0)
	for end := size; ; {
		at, err := lastIndex(f, mark, low, end, len(mark)+searchPiece)
		if err != nil {
			return none, err
		}
		start := at - int64(len(from))
		if at < 0 {
			return f.shortTail(append(from, mark...), dated, size)
		}
		if ok, err := f.startsAt(start, from, dated); err != nil {
			return none, err
		} else if ok {
			return f.compare(m, start, int64(len(from)), size)
		}
		end = at + int64(len(mark)) - 1
	}
}

// mark is what no other delivery has: our header lines for this recipient, and
// the Received line with the queue id. nil when the text does not begin so; such
// a message is not looked for.
func (m *Message) mark() ([]byte, error) {
	text := make([]byte, min(idWithin, m.Body.Size()))
	if n, err := m.Body.ReadAt(text, 0); n < len(text) {
		return nil, &readError{err}
	}
	if !bytes.HasPrefix(text, []byte("Received:")) || len(m.Header) == 0 {
		return nil, nil
	}
	field := len(text) // of the first field with the lines that continue it
	for i := 0; i+1 < len(text); i++ {
		if text[i] == '\n' && text[i+1] != '\t' && text[i+1] != ' ' {
			field = i + 1
			break
		}
	}
	at := bytes.Index(text[:field], []byte(m.ID))
	if m.ID == "" || at < 0 {
		return nil, nil
	}
	return append(bytes.Clone(m.Header), text[:at+len(m.ID)]...), nil
}

// lastIndex finds the last place of mark between low and end, or -1. So much is
// read at a time, which has to be more than the mark.
func lastIndex(r io.ReaderAt, mark []byte, low, end int64, piece int) (int64, error) {
	buffer := make([]byte, piece)
	for end-low >= int64(len(mark)) {
		start := max(end-int64(len(buffer)), low)
		part := buffer[:end-start]
		if n, err := r.ReadAt(part, start); n < len(part) {
			return -1, err
		}
		if i := bytes.LastIndex(part, mark); i >= 0 {
			return start + int64(i), nil
		}
		if start == low {
			break
		}
		end = start + int64(len(mark)) - 1
	}
	return -1, nil
}

// startsAt reports whether a From line for the sender is there, at the start of
// a line. Its date is that of the earlier attempt.
func (f *mboxFile) startsAt(at int64, from, dated []byte) (bool, error) {
	if at < 0 {
		return false, nil
	}
	line := make([]byte, len(from)+1)
	line[0] = '\n'
	before := min(at, 1)
	if n, err := f.ReadAt(line[1-before:], at-before); n < len(line)-1+int(before) {
		return false, err
	}
	return line[0] == '\n' && line[len(line)-1] == '\n' && bytes.HasPrefix(line[1:], dated), nil
}

// compare looks how much of the message is in the file from start on.
func (f *mboxFile) compare(m *Message, start, fromLength, size int64) (earlier, error) {
	c := comparer{file: f, at: start + fromLength, size: size}
	if err := f.writeMessage(&c, m); err != nil {
		return earlier{torn: -1}, err
	}
	switch {
	case c.err != nil:
		return earlier{torn: -1}, c.err
	case !c.differs:
		return earlier{whole: true, torn: -1}, nil
	case c.short:
		return earlier{torn: start}, nil
	}
	// A reader changes the header, which may be among the last bytes.
	end := c.end
	if i := bytes.Index(end, []byte("\n\n")); i >= 0 && i+2 < len(end) {
		end = end[i+2:]
	}
	whole, err := f.changedByReader(start, fromLength+c.length, size, end)
	return earlier{whole: whole, torn: -1}, err
}

// changedByReader reports whether the message that begins at start is whole but
// for lines that a reader has put into its header (Status, X-UID): it is longer
// than what was written, and ends in the same way. A part of the message that
// others have appended to is neither.
func (f *mboxFile) changedByReader(start, length, size int64, end []byte) (bool, error) {
	next, err := f.nextMessage(start+1, size)
	if err != nil || next-start <= length {
		return false, err
	}
	tail := make([]byte, len(end))
	if n, err := f.ReadAt(tail, next-int64(len(tail))); n < len(tail) {
		return false, err
	}
	return bytes.Equal(tail, end), nil
}

// nextMessage is where the message after this one begins, or the end.
func (f *mboxFile) nextMessage(at, size int64) (int64, error) {
	separator := []byte("\n\nFrom ")
	buffer := make([]byte, 64<<10)
	for at < size {
		part := buffer[:min(int64(len(buffer)), size-at)]
		if n, err := f.ReadAt(part, at); n < len(part) {
			return 0, err
		}
		if i := bytes.Index(part, separator); i >= 0 {
			return at + int64(i) + 2, nil
		}
		if at+int64(len(part)) == size {
			break
		}
		at += int64(len(part) - len(separator) + 1)
	}
	return size, nil
}

// shortTail looks for an end of the file that is the beginning of our record,
// with the From line and less than the mark. Less than the name of the sender
// might be anybody's, and stays.
func (f *mboxFile) shortTail(record, dated []byte, size int64) (earlier, error) {
	none := earlier{torn: -1}
	tail := make([]byte, min(int64(len(record)), size))
	if n, err := f.ReadAt(tail, size-int64(len(tail))); n < len(tail) {
		return none, err
	}
	fromLength := len(dated) + len(time.ANSIC) + 1
	for i := range tail {
		rest := tail[i:]
		if i > 0 && tail[i-1] != '\n' || !bytes.HasPrefix(rest, dated) {
			continue
		}
		if i == 0 && size > int64(len(tail)) {
			continue // what is in front is not known; a whole record was looked for
		}
		if len(rest) <= fromLength || bytes.HasPrefix(record[fromLength:], rest[fromLength:]) {
			return earlier{torn: size - int64(len(rest))}, nil
		}
	}
	return none, nil
}

// ReadAt makes an mboxFile an io.ReaderAt.
func (f *mboxFile) ReadAt(p []byte, at int64) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Pread(f.fd, p[done:], at+int64(done))
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return done, err
		case n == 0:
			return done, io.ErrUnexpectedEOF
		}
		done += n
	}
	return done, nil
}

// comparer compares what is written to it with the file.
type comparer struct {
	file     *mboxFile
	at, size int64
	length   int64  // written so far
	end      []byte // the last of it
	differs  bool
	short    bool // the file is the same as far as it goes
	err      error
	buffer   []byte
}

// Write takes all of p, whatever the file has.
func (c *comparer) Write(p []byte) (int, error) {
	c.length += int64(len(p))
	c.end = append(c.end, p...)
	if over := len(c.end) - endCompared; over > 0 {
		c.end = append(c.end[:0], c.end[over:]...)
	}
	if c.differs || c.err != nil {
		return len(p), nil
	}
	have := p[:min(int64(len(p)), max(c.size-c.at, 0))]
	c.buffer = append(c.buffer[:0], have...)
	if _, c.err = c.file.ReadAt(c.buffer, c.at); c.err != nil {
		return len(p), nil
	}
	c.at += int64(len(have))
	same := bytes.Equal(c.buffer, have)
	c.short = same && len(have) < len(p)
	c.differs = !same || c.short
	return len(p), nil
}
