package smtp

import "bytes"

// WireText turns message text with LF line ends into what goes over the wire:
// CRLF line ends and, for DATA, a second dot in front of every line that starts
// with one (RFC 5321, 4.5.2). BDAT has none of these dots (RFC 3030, 2). The
// zero value is for BDAT.
//
// Every LF of the text becomes CRLF, also one that has a CR in front, so the
// wire never carries a bare LF. Other bare CRs go out as they are.
type WireText struct {
	Dots bool // double the dots
	// LineLimit breaks lines that are longer, with CRLF and a blank (postconf
	// smtp_line_length_limit). Below 2: no limit.
	LineLimit int

	column int // octets of the current line that are written
}

// Append appends a piece of the text to buf; lines may span pieces.
func (t *WireText) Append(buf, piece []byte) []byte {
	for {
		end := bytes.IndexByte(piece, '\n')
		if end < 0 {
			return t.part(buf, piece)
		}
		buf = append(t.part(buf, piece[:end]), '\r', '\n')
		t.column = 0
		piece = piece[end+1:]
	}
}

// part appends a part of a line.
func (t *WireText) part(buf, part []byte) []byte {
	if len(part) == 0 {
		return buf
	}
	if t.Dots && t.column == 0 && part[0] == '.' {
		buf = append(buf, '.')
	}
	for t.LineLimit > 1 && t.column+len(part) > t.LineLimit {
		n := max(t.LineLimit-t.column, 0)
		buf = append(buf, part[:n]...)
		buf = append(buf, '\r', '\n', ' ')
		part, t.column = part[n:], 1
	}
	t.column += len(part)
	return append(buf, part...)
}

// End ends a last line that has no end, and starts a new text.
func (t *WireText) End(buf []byte) []byte {
	if t.column > 0 {
		t.column = 0
		buf = append(buf, '\r', '\n')
	}
	return buf
}
