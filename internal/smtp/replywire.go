package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of replies.
const (
	// maxReplyLine is the length of a reply line without its CRLF (RFC 5321,
	// 4.5.3.1.5). Longer lines are cut.
	maxReplyLine = 510
	// maxReplyRead bounds the octets of all lines of a reply that is read.
	maxReplyRead = 64 << 10
)

// ErrMalformedReply is the class of replies that do not follow RFC 5321, 4.2,
// or that have no end.
var ErrMalformedReply = errors.New("malformed reply")

// AppendTo appends the reply as it goes over the wire to buf: every line of
// Text with the code and the enhanced code (RFC 2034, 4) in front and CRLF
// behind. Lines are cut at 510 octets; control characters and octets that are
// not UTF-8 become blanks. An empty Text gives one line.
func (r Reply) AppendTo(buf []byte) []byte {
	text := r.Text
	for {
		line, rest, more := strings.Cut(text, "\n")
		start := len(buf)
		buf = strconv.AppendInt(buf, int64(r.Code), 10)
		if more {
			buf = append(buf, '-')
		} else {
			buf = append(buf, ' ')
		}
		if r.Enhanced != "" {
			buf = append(buf, r.Enhanced...)
			if line != "" {
				buf = append(buf, ' ')
			}
		}
		buf = appendPrintable(buf, line, start+maxReplyLine)
		buf = append(buf, '\r', '\n')
		if !more {
			return buf
		}
		text = rest
	}
}

// appendPrintable appends s to buf without letting it grow beyond limit octets,
// and never cuts a character in two.
func appendPrintable(buf []byte, s string, limit int) []byte {
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if len(buf) >= limit {
				break
			}
			if c < ' ' || c == 0x7f {
				c = ' '
			}
			buf = append(buf, c)
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if len(buf)+n > limit {
			break
		}
		if r == utf8.RuneError && n == 1 {
			buf = append(buf, ' ')
		} else {
			buf = append(buf, s[i:i+n]...)
		}
		i += n
	}
	return buf
}

// Soft returns the reply with its code, and its enhanced code, turned from
// permanent into temporary (postconf soft_bounce). Others come back unchanged.
func (r Reply) Soft() Reply {
	if !r.Permanent() {
		return r
	}
	r.Code -= 100
	r.Raw = ""
	if strings.HasPrefix(r.Enhanced, "5.") {
		r.Enhanced = "4" + r.Enhanced[1:]
	}
	return r
}

// ReadReply reads one reply of a server, of one or more lines (RFC 5321,
// 4.2.1). The code is that of the last line. An enhanced code at the start of
// the first line that has one, of the class that the code has, is taken off
// that line and off the others that repeat it.
//
// A line may end in a bare LF. io.EOF comes back as it is before the first
// octet, as io.ErrUnexpectedEOF behind it; other errors of the reader come back
// unwrapped. Text that is no reply, or is longer than 64 KiB, gives an error
// that wraps ErrMalformedReply; the connection is of no use after it.
func ReadReply(r *bufio.Reader) (Reply, error) {
	var first [1]string
	lines := first[:0]
	for size := 0; ; {
		line, err := readReplyLine(r, maxReplyRead-size)
		if err != nil {
			if err == io.EOF && len(lines) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return Reply{}, err
		}
		size += len(line) + 2
		code, last, ok := cutReplyLine(line)
		if !ok {
			return Reply{}, fmt.Errorf("%w: %q", ErrMalformedReply, clip(line))
		}
		lines = append(lines, line)
		if last {
			return makeReply(code, lines), nil
		}
	}
}

// readReplyLine reads a line of at most limit octets, without its end.
func readReplyLine(r *bufio.Reader, limit int) (string, error) {
	part, err := r.ReadSlice('\n')
	if err == nil && len(part) <= limit { // as a rule
		return string(bytes.TrimRight(part, "\r\n")), nil
	}
	var line []byte
	for {
		line = append(line, part...)
		switch {
		case len(line) > limit:
			return "", fmt.Errorf("%w: longer than %d octets", ErrMalformedReply, maxReplyRead)
		case err == bufio.ErrBufferFull:
			part, err = r.ReadSlice('\n')
			continue
		case err == io.EOF && len(line) > 0:
			return "", io.ErrUnexpectedEOF
		case err != nil:
			return "", err
		}
		return strings.TrimRight(string(line), "\r\n"), nil
	}
}

// cutReplyLine reads the code of a reply line, and the mark of the last one.
func cutReplyLine(line string) (code int, last, ok bool) {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' || !isDigit(line[1]) || !isDigit(line[2]) {
		return 0, false, false
	}
	code = int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
	if len(line) == 3 {
		return code, true, true
	}
	switch line[3] {
	case ' ', '\t':
		return code, true, true
	case '-':
		return code, false, true
	}
	return 0, false, false
}

// makeReply takes the codes off the lines of a reply.
func makeReply(code int, lines []string) Reply {
	rep := Reply{Code: code, Raw: strings.Join(lines, "\n")}
	for i, line := range lines {
		line = line[min(len("250 "), len(line)):]
		lines[i] = line
		enhanced, rest, ok := CutEnhanced(line)
		if !ok || int(enhanced[0]-'0') != code/100 || rep.Enhanced != "" && enhanced != rep.Enhanced {
			continue
		}
		rep.Enhanced, lines[i] = enhanced, rest
	}
	rep.Text = strings.Join(lines, "\n")
	return rep
}

// CutEnhanced takes an enhanced status code (RFC 3463, 2) and the blanks after
// it off the start of text. ok is false, and rest is text, when there is none.
func CutEnhanced(text string) (enhanced, rest string, ok bool) {
	n := enhancedLen(text)
	if n == 0 || n < len(text) && text[n] != ' ' && text[n] != '\t' {
		return "", text, false
	}
	return text[:n], strings.TrimLeft(text[n:], " \t"), true
}

// ValidEnhanced reports whether code is an enhanced status code: class 2, 4 or
// 5, then subject and detail of one to three digits (RFC 3463, 2).
func ValidEnhanced(code string) bool {
	n := enhancedLen(code)
	return n > 0 && n == len(code)
}

// enhancedLen is the length of the enhanced status code at the start of s.
func enhancedLen(s string) int {
	if len(s) < 5 || s[0] != '2' && s[0] != '4' && s[0] != '5' {
		return 0
	}
	i := 1
	for range 2 {
		if i >= len(s) || s[i] != '.' {
			return 0
		}
		i++
		start := i
		for i < len(s) && i < start+3 && isDigit(s[i]) {
			i++
		}
		if i == start {
			return 0
		}
	}
	if i < len(s) && isDigit(s[i]) {
		return 0
	}
	return i
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// clip shortens text of a peer for an error message.
func clip(s string) string {
	if len(s) > 100 {
		return s[:100] + "..."
	}
	return s
}
