package sevenbit

import (
	"bytes"
	"strings"
)

// Names of the fields that matter.
const (
	contentType      = "content-type"
	transferEncoding = "content-transfer-encoding"
)

// entity is what the header of a message or part says about its body.
type entity struct {
	eightBit  bool // 8bit or binary
	encoded   bool // base64, quoted-printable or anything unknown
	message   bool // message/rfc822
	multipart bool
	digest    bool
	opaque    bool   // message/partial and the like: 7bit, and never encoded (RFC 2046, 5.2)
	boundary  []byte // nil: no multipart
}

// composite reports whether the entity is not text but has parts, so that it can
// have no encoding of its own (RFC 2045, 6.4).
func (e *entity) composite() bool { return e.message || e.multipart || e.opaque }

// read takes a whole field. It reports whether the field is to be left out.
func (e *entity) read(field []byte) (drop bool) {
	_, value, _ := bytes.Cut(field, []byte(":"))
	s := scanner{rest: string(value)}
	if fieldIs(field, transferEncoding) {
		switch strings.ToLower(s.token()) {
		case "8bit", "binary":
			e.eightBit, e.encoded = true, false
			return true
		case "7bit", "":
			e.encoded = false
		default:
			e.encoded = true
		}
		return false
	}
	kind := strings.ToLower(s.token())
	slash := s.token()
	sub := strings.ToLower(s.token())
	if slash != "/" {
		return false // what the entity is by default
	}
	e.message = kind == "message" && (sub == "rfc822" || sub == "global")
	e.opaque = kind == "message" && !e.message
	e.multipart = kind == "multipart"
	e.digest = e.multipart && sub == "digest"
	e.boundary = nil
	if e.multipart {
		e.boundary = []byte(strings.TrimRight(s.parameter("boundary"), " \t"))
	}
	return false
}

// isField reports whether a line begins a header field: a name of visible
// characters and a colon (RFC 5322, 2.2).
func isField(line []byte) bool {
	for i, c := range line {
		switch {
		case c == ':':
			return i > 0
		case c == ' ' || c == '\t': // obsolete: blanks in front of the colon
			return i > 0 && bytes.HasPrefix(bytes.TrimLeft(line[i:], " \t"), []byte(":"))
		case c < ' ' || c >= 0x7f:
			return false
		}
	}
	return false
}

// fieldIs reports whether a field has the name.
func fieldIs(line []byte, name string) bool {
	if len(line) <= len(name) || !bytes.EqualFold(line[:len(name)], []byte(name)) {
		return false
	}
	return bytes.HasPrefix(bytes.TrimLeft(line[len(name):], " \t"), []byte(":"))
}

// scanner cuts the value of a structured field into tokens (RFC 2045, 5.1):
// words, quoted strings without their quotes, and single special characters.
// Comments and blanks are passed over.
type scanner struct{ rest string }

const (
	blanks   = " \t\r\n"
	specials = `()<>@,;:\"/[]?=`
)

// token returns the next one, "" at the end. An empty quoted string is "" too.
func (s *scanner) token() string {
	for {
		s.rest = strings.TrimLeft(s.rest, blanks)
		if !strings.HasPrefix(s.rest, "(") {
			break
		}
		s.comment()
	}
	if s.rest == "" {
		return ""
	}
	if s.rest[0] == '"' {
		return s.quoted()
	}
	n := strings.IndexAny(s.rest, blanks+specials)
	switch {
	case n < 0:
		n = len(s.rest)
	case n == 0:
		n = 1
	}
	token := s.rest[:n]
	s.rest = s.rest[n:]
	return token
}

// comment passes over a comment, which may hold others.
func (s *scanner) comment() {
	depth := 0
	for i := 0; i < len(s.rest); i++ {
		switch s.rest[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				s.rest = s.rest[i+1:]
				return
			}
		}
	}
	s.rest = ""
}

// quoted cuts off a quoted string.
func (s *scanner) quoted() string {
	var b strings.Builder
	for i := 1; i < len(s.rest); i++ {
		switch c := s.rest[i]; c {
		case '"':
			s.rest = s.rest[i+1:]
			return b.String()
		case '\\':
			if i++; i < len(s.rest) {
				b.WriteByte(s.rest[i])
			}
		case '\r', '\n': // folding
		default:
			b.WriteByte(c)
		}
	}
	s.rest = ""
	return b.String()
}

// parameter returns the value of a parameter, "" when there is none.
func (s *scanner) parameter(name string) string {
	for s.rest != "" {
		if s.token() != ";" {
			continue
		}
		if !strings.EqualFold(s.token(), name) {
			continue
		}
		if s.token() == "=" {
			return s.token()
		}
	}
	return ""
}
