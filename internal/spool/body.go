package spool

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"os"
)

// Body is the text of a message with LF line ends.
type Body interface {
	io.ReaderAt
	// WriteTo writes the whole text. For a large one the checksum is known
	// only at the end: after ErrDamaged the receiver must not keep what it got.
	io.WriterTo
	Size() int64
	Close() error
}

// Open gives access to the text: from memory while the message is new, else
// from the log or its file. A small text is checked before Open returns.
// ErrDamaged: it is not what was put in. ErrGone: all recipients are done with
// and the text is not kept any more.
func (m *Message) Open() (Body, error) {
	text, err := m.text, error(nil)
	if m.spool != nil {
		text, err = m.spool.readText(m)
	} else if text == nil {
		err = ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.ID, err)
	}
	if text != nil {
		return memory{bytes.NewReader(text)}, nil
	}
	f, err := m.spool.fs.Open(m.spool.bodyName(m.Number), os.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.ID, err)
	}
	size, err := f.Size()
	if err == nil && size != m.Size {
		err = fmt.Errorf("%w: text in a file has %d bytes of %d", ErrDamaged, size, m.Size)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", m.ID, err)
	}
	return &large{f, m.Size, m.CRC}, nil
}

// Detached makes a message that is in no spool, for tests and probes of what
// takes messages.
func Detached(id string, envelope Envelope, text []byte) *Message {
	number, _ := ParseID(id)
	return &Message{Number: number, ID: id, Envelope: envelope, Size: int64(len(text)), CRC: checksum(text), text: append([]byte{}, text...)}
}

// memory is a text that is small enough to be held.
type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

// large is a text in a file.
type large struct {
	File
	size int64
	crc  uint32
}

func (l *large) Size() int64 { return l.size }

func (l *large) ReadAt(p []byte, off int64) (int, error) {
	return io.NewSectionReader(l.File, 0, l.size).ReadAt(p, off)
}

func (l *large) WriteTo(w io.Writer) (int64, error) {
	sum := crc32.New(castagnoli)
	n, err := io.CopyBuffer(io.MultiWriter(w, sum), onlyReader{io.NewSectionReader(l.File, 0, l.size)}, make([]byte, fileChunk))
	if err == nil && (n != l.size || sum.Sum32() != l.crc) {
		err = fmt.Errorf("%w: text in a file", ErrDamaged)
	}
	return n, err
}

// onlyReader hides WriteTo, whose own buffer would be smaller.
type onlyReader struct{ io.Reader }
