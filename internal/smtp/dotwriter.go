package smtp

import (
	"bufio"
	"io"
)

// minPiece is how much of a text is at least turned into its wire form at a
// time. When there is less room for it the buffer is written first.
const minPiece = 512

// DotWriter writes message text with LF line ends as it follows DATA: see
// WireText, and the line with a lone dot at the end.
type DotWriter struct {
	// LineLimit is that of WireText. Set it before the first Write.
	LineLimit int

	text WireText
	w    *bufio.Writer
}

// NewDotWriter returns a DotWriter on w. When w is a *bufio.Writer it is used
// as it is, else the output is buffered until Close.
func NewDotWriter(w io.Writer) *DotWriter {
	bw, ok := w.(*bufio.Writer)
	if !ok {
		bw = bufio.NewWriterSize(w, 32<<10)
	}
	return &DotWriter{w: bw, text: WireText{Dots: true}}
}

// Write writes a piece of the text; lines may span pieces. An error of the
// writer below is final: it comes back from every later call too.
func (d *DotWriter) Write(p []byte) (int, error) {
	d.text.LineLimit = d.LineLimit
	for rest := p; len(rest) > 0; {
		if d.w.Available() < 2*minPiece {
			if err := d.w.Flush(); err != nil {
				return len(p) - len(rest), err
			}
		}
		// As a rule the wire form fits in what is free of the buffer, and is made there.
		piece := rest[:min(len(rest), max(minPiece, d.w.Available()/2))]
		if _, err := d.w.Write(d.text.Append(d.w.AvailableBuffer(), piece)); err != nil {
			return len(p) - len(rest), err
		}
		rest = rest[len(piece):]
	}
	return len(p), nil
}

// Close ends a last line that has no end, writes the final dot and flushes. It
// does not close the writer below.
func (d *DotWriter) Close() error {
	if _, err := d.w.Write(append(d.text.End(d.w.AvailableBuffer()), ".\r\n"...)); err != nil {
		return err
	}
	return d.w.Flush()
}
