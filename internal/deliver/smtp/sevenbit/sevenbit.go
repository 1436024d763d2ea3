// Package sevenbit converts a message with 8-bit text for a server that does not
// offer 8BITMIME (RFC 6152, 3): parts whose Content-Transfer-Encoding is 8bit or
// binary become quoted-printable (RFC 2045, 6.7).
//
//	w := sevenbit.NewWriter(out)
//	_, err := body.WriteTo(w)
//	err = w.Close()
//
// The structure of the message stays as it is: every header but
// Content-Transfer-Encoding, boundaries, preambles, and parts in another
// encoding go through untouched. A multipart or message/rfc822 that is labelled
// 8bit is labelled 7bit afterwards, and what is inside is looked at part by part.
//
// Text that is not labelled, and headers with 8-bit octets, stay 8-bit: nothing
// says what they are. A signature over the text does not survive the
// conversion. Text that is converted gets the empty line that a header lacks
// behind it, as in Postfix.
//
// Both sides have LF line ends. Memory is bounded: a header field that matters is
// read up to 64 KiB, multiparts are followed 100 levels deep (postconf
// mime_nesting_limit), boundaries have at most 2048 octets
// (mime_boundary_length_limit); beyond these limits text is passed on untouched.
//
// It imports only the standard library.
package sevenbit

import (
	"bufio"
	"bytes"
	"io"
)

const (
	maxLine     = 64 << 10 // of a header field, and of a line that may be a boundary
	maxDepth    = 100
	maxBoundary = 2048
)

// state is the part of the message in which the next line stands.
type state uint8

const (
	inHeader state = iota
	inBody         // passed on as it is
	inText         // turned into quoted-printable
)

// Writer converts what is written to it.
type Writer struct {
	w     *bufio.Writer
	state state
	line  []byte // beginning of a line whose end was not written yet
	split bool   // line is the rest of a longer one, which began before

	field  []byte // header field that is being read, of those that matter
	entity entity // whose header is being read
	stack  []boundary
	column int // of the line of quoted-printable text
}

// boundary is one of a multipart that is open.
type boundary struct {
	text   []byte
	digest bool // its parts are messages unless they say otherwise (RFC 2046, 5.1.5)
}

// NewWriter returns a Writer in front of w. It must be closed.
func NewWriter(w io.Writer) *Writer { return &Writer{w: bufio.NewWriter(w)} }

// Write takes a piece of the message; lines may span pieces.
func (m *Writer) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		end := bytes.IndexByte(rest, '\n') + 1
		if end == 0 {
			end = len(rest)
		}
		m.add(rest[:end])
		rest = rest[end:]
	}
	// A failure of the writer below shows, for the buffer remembers it.
	if _, err := m.w.Write(nil); err != nil {
		return 0, err
	}
	return len(p), nil
}

// add takes a part of a line, the last one with its end. A line that is too long is
// passed on in parts of one length, however it is written.
func (m *Writer) add(part []byte) {
	for len(m.line)+len(part) > maxLine {
		n := maxLine - len(m.line)
		m.line = append(m.line, part[:n]...)
		m.take(m.line)
		m.line, part = m.line[:0], part[n:]
	}
	switch {
	case part[len(part)-1] != '\n':
		m.line = append(m.line, part...)
	case len(m.line) == 0:
		m.take(part)
	default:
		m.line = append(m.line, part...)
		m.take(m.line)
		m.line = m.line[:0]
	}
}

// Close converts what is left, and flushes. It does not close the writer below.
func (m *Writer) Close() error {
	if len(m.line) > 0 {
		if m.state == inHeader {
			m.line = append(m.line, '\n')
		}
		m.take(m.line)
		m.line = m.line[:0]
	}
	if m.state == inHeader {
		m.endField()
		m.label()
	}
	return m.w.Flush()
}

// take converts a line with its end, or a part of a very long line, without.
func (m *Writer) take(line []byte) {
	whole := line[len(line)-1] == '\n'
	begins := !m.split
	m.split = !whole
	if begins && m.isBoundary(line) {
		return
	}
	switch m.state {
	case inHeader:
		m.header(line, begins, whole)
	case inText:
		m.quote(line)
	default:
		m.w.Write(line)
	}
}

// isBoundary looks for the boundaries of all multiparts that are open: an outer
// one ends the inner ones (RFC 2046, 5.1.2).
func (m *Writer) isBoundary(line []byte) bool {
	text, ok := bytes.CutPrefix(line, []byte("--"))
	if !ok {
		return false
	}
	for i := len(m.stack) - 1; i >= 0; i-- {
		rest, ok := bytes.CutPrefix(text, m.stack[i].text)
		if !ok {
			continue
		}
		if m.state == inHeader {
			m.endField()
			m.label()
		}
		m.w.Write(line)
		if bytes.HasPrefix(rest, []byte("--")) {
			m.stack, m.state = m.stack[:i], inBody
		} else {
			m.stack = m.stack[:i+1]
			m.begin(m.stack[i].digest)
		}
		return true
	}
	return false
}

// begin starts the header of an entity.
func (m *Writer) begin(digest bool) {
	m.state, m.column = inHeader, 0
	m.entity = entity{message: digest}
}

// header takes a line of a header, or the line behind it; of one that is too long, its
// parts.
func (m *Writer) header(line []byte, begins, whole bool) {
	switch {
	case !begins || line[0] == ' ' || line[0] == '\t':
		if len(m.field) == 0 || len(m.field)+len(line) > maxLine {
			m.flushField()
			m.w.Write(line)
			return
		}
		m.field = append(m.field, line...)
	case len(line) == 1:
		m.endField()
		m.label()
		m.w.Write(line)
		m.enter()
	case !isField(line): // text without an empty line in front
		m.endField()
		m.label()
		if m.enter(); m.state == inText {
			m.w.WriteByte('\n') // or the text, quoted, could be taken for a field
		}
		m.split = false
		m.take(line)
	default:
		m.endField()
		if whole && (fieldIs(line, contentType) || fieldIs(line, transferEncoding)) {
			m.field = append(m.field, line...)
			return
		}
		m.w.Write(line)
	}
}

// flushField passes a field on that is not understood.
func (m *Writer) flushField() {
	m.w.Write(m.field)
	m.field = m.field[:0]
}

// endField looks at the field that is complete. An encoding that is about to
// change is left out.
func (m *Writer) endField() {
	if len(m.field) == 0 {
		return
	}
	if m.entity.read(m.field) {
		m.field = m.field[:0]
		return
	}
	m.flushField()
}

// label ends a header with the encoding that the entity will have.
func (m *Writer) label() {
	switch {
	case !m.entity.eightBit:
	case m.entity.composite():
		m.w.WriteString("Content-Transfer-Encoding: 7bit\n")
	default:
		m.w.WriteString("Content-Transfer-Encoding: quoted-printable\n")
	}
}

// enter goes from a header into what it describes.
func (m *Writer) enter() {
	e := m.entity
	switch {
	case e.message && !e.encoded:
		m.begin(false)
	case len(e.boundary) > 0 && len(e.boundary) <= maxBoundary && len(m.stack) < maxDepth:
		m.stack = append(m.stack, boundary{e.boundary, e.digest})
		m.state = inBody
	case e.eightBit && !e.composite():
		m.state, m.column = inText, 0
	default:
		m.state = inBody
	}
}
