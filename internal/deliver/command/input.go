package command

import (
	"bytes"
	"context"
	"io"
	"os"
)

// Body is the text of a message with LF line ends; a spool.Body is one.
type Body interface {
	io.ReaderAt
	Size() int64
}

// Input is a message as a program reads it from its standard input. Line ends
// of Head and of the text become EOL.
type Input struct {
	Head  []byte // lines in front of the text: a From line, header lines
	Text  Body
	EOL   string // "" is "\n"
	Dot   bool   // a line that begins with "." gets another one in front
	Quote bool   // a line that begins with "From " gets ">" in front
	Blank bool   // an empty line at the end
}

// inputPiece is how much text is read at a time.
const inputPiece = 32 << 10

// Feed runs a program with the message as its input, by way of a pipe. A program
// that stops reading early is none the worse for it; one whose message cannot be
// read to its end is killed, and the error is a *TextError.
func Feed(ctx context.Context, run Runner, s Spec, in Input) (Result, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return Result{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	written := make(chan struct{})
	go func() {
		defer close(written)
		text := &textReader{body: in.Text}
		in.writeTo(write, text)
		if text.err != nil {
			cancel(&TextError{text.err}) // before the end of the input is seen
			return
		}
		write.Close()
	}()
	result, err := run.Run(ctx, s, read)
	write.Close() // ends a write to a program that has left children
	<-written
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	return result, err
}

// TextError is a message text that cannot be read to its end.
type TextError struct{ Err error }

func (e *TextError) Error() string { return "message text: " + e.Err.Error() }

func (e *TextError) Unwrap() error { return e.Err }

// textReader remembers why the text could not be read.
type textReader struct {
	body Body
	at   int64
	err  error
}

// next fills p with text; 0 octets at its end or at an error.
func (t *textReader) next(p []byte) []byte {
	if left := t.body.Size() - t.at; int64(len(p)) > left {
		p = p[:left]
	}
	if len(p) == 0 {
		return nil
	}
	n, err := t.body.ReadAt(p, t.at)
	if n < len(p) {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		t.err = err
		return nil
	}
	t.at += int64(n)
	return p
}

// writeTo writes the message until the end, or until w takes no more, which is
// the right of a program.
func (in Input) writeTo(w io.Writer, text *textReader) error {
	out := lineWriter{w: w, in: in}
	if out.in.EOL == "" {
		out.in.EOL = "\n"
	}
	if err := out.lines(in.Head, true); err != nil {
		return err
	}
	buffer := make([]byte, inputPiece)
	// A piece may end within a line: what could be the start of "From " or of a
	// line has to be seen whole, so the rest of a line stays for the next round.
	keep := 0
	for {
		piece := text.next(buffer[keep:])
		if text.err != nil {
			return text.err
		}
		if piece == nil {
			break
		}
		all := buffer[:keep+len(piece)]
		end := bytes.LastIndexByte(all, '\n') + 1
		if end == 0 && len(all) == len(buffer) {
			end = len(all)
		}
		if err := out.lines(all[:end], false); err != nil {
			return err
		}
		keep = copy(buffer, all[end:])
	}
	if err := out.lines(buffer[:keep], false); err != nil {
		return err
	}
	return out.finish()
}

// lineWriter changes lines on their way.
type lineWriter struct {
	w   io.Writer
	in  Input
	mid bool // the last piece ended within a line
	buf []byte
}

var from = []byte("From ")

// lines writes whole lines, or the beginning of one that is too long for a
// piece. The lines of the head are not quoted.
func (o *lineWriter) lines(p []byte, head bool) error {
	if !head && !o.in.Dot && !o.in.Quote && o.in.EOL == "\n" {
		if len(p) > 0 {
			o.mid = p[len(p)-1] != '\n'
		}
		_, err := o.w.Write(p)
		return err
	}
	o.buf = o.buf[:0]
	for len(p) > 0 {
		line, rest, whole := bytes.Cut(p, []byte{'\n'})
		if !o.mid && !head {
			switch {
			case o.in.Dot && len(line) > 0 && line[0] == '.':
				o.buf = append(o.buf, '.')
			case o.in.Quote && bytes.HasPrefix(line, from):
				o.buf = append(o.buf, '>')
			}
		}
		o.buf = append(o.buf, line...)
		if o.mid = !whole; whole {
			o.buf = append(o.buf, o.in.EOL...)
		}
		p = rest
	}
	_, err := o.w.Write(o.buf)
	return err
}

// finish completes the last line and adds the empty one.
func (o *lineWriter) finish() error {
	end := ""
	if o.mid {
		end = o.in.EOL
	}
	if o.in.Blank {
		end += o.in.EOL
	}
	if end == "" {
		return nil
	}
	_, err := io.WriteString(o.w, end)
	return err
}
