package mailbox

import (
	"bytes"
	"io"
)

// fromQuoter puts ">" in front of every line that begins with "From ", for the
// readers of an mbox take such a line for the next message. Lines that have been
// quoted already are not touched, so it cannot be undone exactly (mboxo).
//
// Text may come in pieces of any size. What could be the beginning of "From "
// at the end of a piece is held back until the next one or finish.
type fromQuoter struct {
	w    io.Writer
	held int  // length of the part of fromWord held back; meaningful at the start of a line
	mid  bool // within a line, with nothing held back
}

var (
	fromWord   = []byte("From ")
	fromInside = []byte("\nFrom ")
)

// Write passes p on with quotes. n counts octets of p.
func (q *fromQuoter) Write(p []byte) (n int, err error) {
	total := len(p)
	for len(p) > 0 {
		if !q.mid {
			if p, err = q.startLine(p); err != nil {
				return total - len(p), err
			}
			continue
		}
		if p, err = q.inside(p); err != nil {
			return total - len(p), err
		}
	}
	return total, nil
}

// startLine compares p, which begins at or near the start of a line, with
// "From " and returns the rest of p.
func (q *fromQuoter) startLine(p []byte) ([]byte, error) {
	for len(p) > 0 && q.held < len(fromWord) && p[0] == fromWord[q.held] {
		q.held++
		p = p[1:]
	}
	if len(p) == 0 && q.held < len(fromWord) {
		return p, nil
	}
	if q.held == len(fromWord) {
		if _, err := q.w.Write([]byte{'>'}); err != nil {
			return p, err
		}
	}
	return p, q.release()
}

// inside passes on text from within a line, up to the start of the next line
// that could need a quote, and returns the rest.
func (q *fromQuoter) inside(p []byte) ([]byte, error) {
	end := len(p)
	if i := bytes.Index(p, fromInside); i >= 0 {
		end = i + 1
		q.mid = false
	} else if i := bytes.LastIndexByte(p, '\n'); i >= 0 && bytes.HasPrefix(fromWord, p[i+1:]) {
		end = i + 1
		q.mid = false
	}
	_, err := q.w.Write(p[:end])
	return p[end:], err
}

// release passes on what is held back.
func (q *fromQuoter) release() error {
	_, err := q.w.Write(fromWord[:q.held])
	q.held, q.mid = 0, true
	return err
}

// finish passes on the end of the text, completes the last line and adds the
// empty line that ends a message.
func (q *fromQuoter) finish() error {
	complete := !q.mid && q.held == 0
	if err := q.release(); err != nil {
		return err
	}
	end := "\n\n"
	if complete {
		end = "\n"
	}
	_, err := io.WriteString(q.w, end)
	return err
}
