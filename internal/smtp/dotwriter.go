package smtp

import (
	"bufio"
	"bytes"
	"io"
)

// DotWriter turns message text with LF line ends into what goes over the wire
// after DATA: CRLF line ends, a second dot in front of every line that starts
// with one (RFC 5321, 4.5.2), and the line with a lone dot at the end.
//
// Every LF of the text becomes CRLF, also one that has a CR in front, so the
// wire never carries a bare LF. Other bare CRs go out as they are.
type DotWriter struct {
	// LineLimit breaks lines that are longer, with CRLF and a blank (postconf
	// smtp_line_length_limit). Below 2: no limit. Set it before the first Write.
	LineLimit int

	w      *bufio.Writer
	column int // octets of the current line that are written
}

// NewDotWriter returns a DotWriter on w. When w is a *bufio.Writer it is used
// as it is, else the output is buffered until Close.
func NewDotWriter(w io.Writer) *DotWriter {
	bw, ok := w.(*bufio.Writer)
	if !ok {
		bw = bufio.NewWriterSize(w, 32<<10)
	}
	return &DotWriter{w: bw}
}

// Write writes a piece of the text; lines may span pieces. An error of the
// writer below is final: it comes back from every later call too.
func (d *DotWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		line := rest
		end := bytes.IndexByte(rest, '\n')
		if end >= 0 {
			line = rest[:end]
		}
		if err := d.put(line); err != nil {
			return len(p) - len(rest), err
		}
		if end < 0 {
			break
		}
		if _, err := d.w.WriteString("\r\n"); err != nil {
			return len(p) - len(rest), err
		}
		d.column = 0
		rest = rest[end+1:]
	}
	return len(p), nil
}

// put writes a part of a line.
func (d *DotWriter) put(part []byte) error {
	if len(part) == 0 {
		return nil
	}
	if d.column == 0 && part[0] == '.' {
		if err := d.w.WriteByte('.'); err != nil {
			return err
		}
	}
	for d.LineLimit > 1 && d.column+len(part) > d.LineLimit {
		n := max(d.LineLimit-d.column, 0)
		d.w.Write(part[:n])
		if _, err := d.w.WriteString("\r\n "); err != nil {
			return err
		}
		part, d.column = part[n:], 1
	}
	d.column += len(part)
	_, err := d.w.Write(part)
	return err
}

// Close ends a last line that has no end, writes the final dot and flushes. It
// does not close the writer below.
func (d *DotWriter) Close() error {
	if d.column > 0 {
		d.w.WriteString("\r\n")
		d.column = 0
	}
	if _, err := d.w.WriteString(".\r\n"); err != nil {
		return err
	}
	return d.w.Flush()
}
