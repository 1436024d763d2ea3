package smtp

import (
	"bytes"
	"fmt"
	"io"
)

// BareNewline says what a LF without a CR in front does in message text
// (postconf smtpd_forbid_bare_newline).
type BareNewline uint8

// Policies for bare newlines.
const (
	// BareNewlineNormalize takes a bare LF for the end of a line of text, but
	// the message ends only in <CR><LF>.<CR><LF>. So no text that another
	// server passed on as content can end a message here and start a new one
	// (SMTP smuggling).
	BareNewlineNormalize BareNewline = iota
	// BareNewlineReject reads like BareNewlineNormalize; the caller refuses the
	// message when Data.BareLF says so.
	BareNewlineReject
	// BareNewlineAllow takes LF and any number of CRs and LF for the end of a
	// line, also of the last one. It is unsafe.
	BareNewlineAllow
)

// ParseBareNewline reads the value of smtpd_forbid_bare_newline: normalize (or
// yes), reject, no, without regard to case.
func ParseBareNewline(value string) (BareNewline, error) {
	switch lower(value) {
	case "normalize", "yes":
		return BareNewlineNormalize, nil
	case "reject":
		return BareNewlineReject, nil
	case "no":
		return BareNewlineAllow, nil
	}
	return 0, fmt.Errorf("bad value %q: want normalize, reject, yes or no", value)
}

// DataPolicy says how message text is read.
type DataPolicy struct {
	BareNewline BareNewline
	// ReplaceCR puts a blank in the place of every CR that is not part of a
	// line end (postconf cleanup_replace_stray_cr_lf), for a server behind us
	// might take it for one.
	ReplaceCR bool
}

// Data says how the reading of a message text went.
type Data struct {
	Size     int64 // octets of the text, with LF line ends
	BareLF   bool  // there was a line end without CR
	WriteErr error // of the writer; the text behind it was read and dropped
}

// ReadData reads the text that follows the 354 reply to DATA, up to and with
// the line that has a lone dot, and writes it to w: line ends are LF, doubled
// dots are single again (RFC 5321, 4.5.2), lines have any length, all other
// octets are as they came. The text is cut into pieces where the network cut
// it.
//
// When w fails the rest of the text is read and dropped, so that the dialogue
// can go on; Data.WriteErr tells. The error returned is that of the connection:
// what was written until then is not a message.
func (r *Reader) ReadData(w io.Writer, p DataPolicy) (Data, error) {
	s := dataState{policy: p, lineStart: true, afterCRLF: true}
	var d Data
	for {
		text, used, done := s.scan(r.buf[r.pos:r.end], r.full())
		if len(text) > 0 {
			d.Size += int64(len(text))
			if d.WriteErr == nil {
				_, d.WriteErr = w.Write(text)
			}
		}
		r.pos += used
		if done {
			d.BareLF = s.bareLF
			return d, nil
		}
		if err := r.fill(); err != nil {
			d.BareLF = s.bareLF
			return d, err
		}
	}
}

// dataState is where in the text the scan is.
type dataState struct {
	policy    DataPolicy
	lineStart bool // the next octet starts a line
	afterCRLF bool // the line before it ended in CRLF
	bareLF    bool
}

// scan turns as much of buf as it can into text, in place: text overlaps the
// first used octets of buf. Octets of a line that is not whole stay for the next
// call, unless the buffer is full. done: the line with the lone dot was used.
func (s *dataState) scan(buf []byte, full bool) (text []byte, used int, done bool) {
	n := 0
	for {
		end := bytes.IndexByte(buf[used:], '\n')
		if end < 0 {
			break
		}
		line := buf[used : used+end]
		used += end + 1
		content, crlf := s.content(line)
		if s.lineStart && len(content) > 0 && content[0] == '.' {
			if len(content) == 1 && s.endsText(crlf) {
				return buf[:n], used, true
			}
			content = content[1:]
		}
		s.bareLF = s.bareLF || !crlf
		s.lineStart, s.afterCRLF = true, crlf
		n += copy(buf[n:], content)
		buf[n] = '\n'
		n++
	}
	if full && used == 0 {
		part := buf[:len(buf)-trailingCRs(buf)]
		if len(part) == 0 {
			part = buf[:len(buf)-1] // nothing but CRs: the last one may belong to the line end
		}
		used = len(part)
		if s.lineStart && part[0] == '.' {
			part = part[1:]
		}
		s.lineStart = false
		s.blankCRs(part)
		return part, used, false
	}
	return buf[:n], used, false
}

// content takes the CRs of the line end off a line, and blanks other CRs.
func (s *dataState) content(line []byte) (content []byte, crlf bool) {
	n := trailingCRs(line)
	if n == 0 {
		s.blankCRs(line)
		return line, false
	}
	if s.policy.BareNewline != BareNewlineAllow {
		n = 1
	}
	content = line[:len(line)-n]
	s.blankCRs(content)
	return content, true
}

// endsText reports whether a lone dot ends the text.
func (s *dataState) endsText(crlf bool) bool {
	return s.policy.BareNewline == BareNewlineAllow || crlf && s.afterCRLF
}

func (s *dataState) blankCRs(text []byte) {
	if !s.policy.ReplaceCR {
		return
	}
	for {
		i := bytes.IndexByte(text, '\r')
		if i < 0 {
			return
		}
		text[i] = ' '
		text = text[i+1:]
	}
}

func trailingCRs(b []byte) int {
	n := 0
	for n < len(b) && b[len(b)-1-n] == '\r' {
		n++
	}
	return n
}
