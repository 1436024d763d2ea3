// Package header reads and makes the header section of a message (RFC 5322),
// without ever rewriting what it reads.
//
// A message text in Postern has LF line ends. Its header section is the run of
// fields at the start:
//
//	Received: from mx.example.org (mx.example.org [192.0.2.1])
//		by mail.example.com (Postern) with ESMTP id 4F1C0A;
//		Sun, 22 Nov 2026 20:51:57 +0000 (UTC)
//	Subject: a subject that is
//	 folded
//
//	the body
//
// A field is a name, optional blanks, ':' and a value; lines that begin with a
// blank or a tab belong to the field above. The section ends at the first empty
// line, at the first line that is no field, or at the end of the text. A
// carriage return before a line feed counts as part of the line end; any other
// byte, NUL and 8-bit text included, is passed through. Names are compared
// without regard to case. Nothing is decoded: no encoded words, no MIME
// structure, no addresses; and a field has no maximum length, so callers that
// read from outside give Read a limit.
//
// Fields are slices of the text they were found in: they cost no memory and
// live as long as it does.
//
// It imports only the standard library.
package header

import (
	"bytes"
	"errors"
	"io"
	"iter"
)

// Field is one header field, as slices of the text it was found in.
type Field struct {
	Name   []byte // as written, without blanks and colon
	Value  []byte // everything after the colon, folds kept, without the last line end
	Raw    []byte // the whole field with all its line ends
	Offset int    // of Raw in the text
}

// Is reports whether the field has this name, without regard to case.
func (f Field) Is(name string) bool {
	if len(f.Name) != len(name) {
		return false
	}
	for i, c := range f.Name {
		if lower(c) != lower(name[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// Unfold returns the value on one line: line ends removed, as RFC 5322, 2.2.3
// says, and blanks trimmed on both ends.
func (f Field) Unfold() string {
	value := bytes.Trim(f.Value, " \t\r\n")
	if bytes.IndexByte(value, '\n') < 0 {
		return string(value)
	}
	out := make([]byte, 0, len(value))
	for line := range bytes.Lines(value) {
		out = append(out, chomp(line)...)
	}
	return string(out)
}

// chomp removes the line end, LF or CR LF.
func chomp(line []byte) []byte {
	line = bytes.TrimSuffix(line, []byte{'\n'})
	return bytes.TrimSuffix(line, []byte{'\r'})
}

// Fields yields the fields of the header section text starts with, in order.
// A text that starts with no field yields nothing.
func Fields(text []byte) iter.Seq[Field] {
	return func(yield func(Field) bool) {
		for at := 0; ; {
			f, ok := fieldAt(text, at)
			if !ok || !yield(f) {
				return
			}
			at += len(f.Raw)
		}
	}
}

// fieldAt reads the field that starts at text[at]. ok is false at the end of
// the section.
func fieldAt(text []byte, at int) (f Field, ok bool) {
	rest := text[at:]
	name := nameOf(rest)
	if name <= 0 {
		return Field{}, false
	}
	colon := name + bytes.IndexByte(rest[name:], ':')
	end := lineEnd(rest, colon)
	for end < len(rest) && (rest[end] == ' ' || rest[end] == '\t') {
		end = lineEnd(rest, end)
	}
	return Field{
		Name:   rest[:name],
		Value:  chomp(rest[colon+1 : end]),
		Raw:    rest[:end],
		Offset: at,
	}, true
}

// nameOf returns the length of the field name that line starts with; 0 when
// the line is not a field. RFC 5322, 3.6.8; blanks before the colon are those
// of its 4.5.8.
func nameOf(line []byte) int {
	n := 0
	for n < len(line) && line[n] > ' ' && line[n] < 0x7f && line[n] != ':' {
		n++
	}
	for i := n; i < len(line); i++ {
		switch line[i] {
		case ' ', '\t':
		case ':':
			return n
		default:
			return 0
		}
	}
	return 0
}

// lineEnd returns the offset just after the line feed at or after from, or the
// length of the text.
func lineEnd(text []byte, from int) int {
	i := bytes.IndexByte(text[from:], '\n')
	if i < 0 {
		return len(text)
	}
	return from + i + 1
}

// Len returns the length of the header section: all fields, without the empty
// line after them. It is 0 for a text without a header.
func Len(text []byte) int {
	n := 0
	for f := range Fields(text) {
		n = f.Offset + len(f.Raw)
	}
	return n
}

// First returns the first field of that name.
func First(text []byte, name string) (Field, bool) {
	for f := range Fields(text) {
		if f.Is(name) {
			return f, true
		}
	}
	return Field{}, false
}

// Count returns how many fields have that name. Hop counting (postconf
// hopcount_limit) counts "Received".
func Count(text []byte, name string) int {
	n := 0
	for f := range Fields(text) {
		if f.Is(name) {
			n++
		}
	}
	return n
}

// Values returns the unfolded values of all fields of that name, in order; nil
// when there is none. Forwarding loops are found in those of "Delivered-To".
func Values(text []byte, name string) []string {
	var values []string
	for f := range Fields(text) {
		if f.Is(name) {
			values = append(values, f.Unfold())
		}
	}
	return values
}

// MessageID returns the value of the Message-Id field with its brackets, or ""
// when there is none.
func MessageID(text []byte) string {
	f, ok := First(text, "Message-Id")
	if !ok {
		return ""
	}
	return f.Unfold()
}

// chunk is how much Read asks for at a time: most headers fit into the first.
const chunk = 8 << 10

// Read returns the header section r starts with, without the empty line after
// it. No more than limit bytes are kept; a section that is longer is cut after
// its last whole line below the limit (or at the limit, when its first line is
// longer). An error of r other than io.EOF is returned with what was read.
func Read(r io.ReaderAt, limit int) ([]byte, error) {
	var text []byte
	for len(text) < limit {
		had := len(text)
		text = append(text, make([]byte, min(chunk, limit-had))...)
		n, err := r.ReadAt(text[had:], int64(had))
		text = text[:had+n]
		if end := bytes.Index(text[max(0, had-1):], []byte("\n\n")); end >= 0 {
			text = text[:max(0, had-1)+end+1]
			return text[:Len(text)], nil
		}
		if err != nil || n == 0 {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return text[:Len(text)], err
		}
	}
	if cut := bytes.LastIndexByte(text, '\n'); cut >= 0 {
		text = text[:cut+1]
	}
	return text[:Len(text)], nil
}
