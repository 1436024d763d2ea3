package cli

import (
	"bufio"
	"context"
	"io"
	"strings"
)

// queryMessage asks for the header fields (-h) and the body lines (-b) of the
// message on standard input, as header_checks and body_checks do. With -m the
// parts of a MIME message have header fields too.
func (t *mapTool) queryMessage(ctx context.Context) error {
	tables := t.lazy()
	in := bufio.NewReaderSize(interruptible(ctx, t.env.Stdin), blockSize)
	out := bufio.NewWriterSize(t.env.Stdout, blockSize)
	defer out.Flush()
	result := errNoHit
	ask := func(key string) error {
		value, found, err := tables.ask1(ctx, key)
		if !found {
			return err
		}
		result = nil
		out.WriteString(key)
		out.WriteByte('\t')
		out.WriteString(value)
		return out.WriteByte('\n')
	}
	skip := func(string) error { return nil }
	scan := messageScan{mime: t.mime, header: skip, body: skip}
	if t.headers {
		scan.header = ask
	}
	if t.body {
		scan.body = ask
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil && err != io.EOF {
			return err
		}
		if line != "" {
			if err := scan.line(strings.TrimSuffix(line, "\n")); err != nil {
				return err
			}
		}
		if err == io.EOF {
			break
		}
		if in.Buffered() == 0 {
			out.Flush()
		}
	}
	if err := scan.end(); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return result
}

// section is where in a message a line is.
type section uint8

const (
	primary    section = iota // the header of the message
	partHeader                // that of a MIME part, or of an attached message
	inBody
)

// Bounds of what is kept, as Postfix has them by default (header_size_limit,
// mime_nesting_limit, mime_boundary_length_limit).
const (
	maxField    = 102400
	maxNesting  = 100
	maxBoundary = 2048
)

// messageScan cuts a message into the keys of header_checks and body_checks.
// The zero state is the begin of a message.
type messageScan struct {
	mime         bool                   // look into MIME parts
	header, body func(key string) error // are given the keys

	at       section
	field    []byte // the header field that is being read
	attached bool   // the section is the header of an attached message
	parts    []mimePart
}

// mimePart is a multipart entity that is open.
type mimePart struct {
	boundary string
	digest   bool // its parts are messages unless they say otherwise
}

// line takes a line without its end. What follows a NUL byte is not seen.
func (m *messageScan) line(line string) error {
	line, _, _ = strings.Cut(line, "\x00")
	for m.at != inBody {
		if len(m.field) > 0 && line != "" && (line[0] == ' ' || line[0] == '\t') {
			if len(m.field) < maxField {
				m.field = append(append(m.field, '\n'), line...)
			}
			return nil
		}
		if err := m.endField(); err != nil {
			return err
		}
		if name, value, ok := cutField(line); ok {
			m.field = append(append(append(m.field, name...), ':'), value...)
			return nil
		}
		first := m.at == primary
		m.endHeader()
		if line == "" {
			return m.body("")
		}
		if first { // the empty line is missing
			if err := m.body(""); err != nil {
				return err
			}
		}
	}
	m.meetBoundary(line)
	return m.body(line)
}

// end is the end of the message.
func (m *messageScan) end() error { return m.endField() }

// endField gives away the field that is complete.
func (m *messageScan) endField() error {
	if len(m.field) == 0 {
		return nil
	}
	field := string(m.field)
	m.field = m.field[:0]
	if name, value, _ := strings.Cut(field, ":"); m.mime && strings.EqualFold(name, "Content-Type") {
		m.contentType(value)
	}
	return m.header(field)
}

// endHeader goes on behind a header section: into the header of an attached
// message, or into the body.
func (m *messageScan) endHeader() {
	m.at = inBody
	if m.attached {
		m.at = partHeader
	}
	m.attached = false
}

// contentType notes what a Content-Type field says of the section to come.
func (m *messageScan) contentType(value string) {
	kind, subtype, boundary := parseContentType(value)
	m.attached = kind == "message" && (subtype == "rfc822" || subtype == "global")
	if kind == "multipart" && boundary != "" && len(m.parts) < maxNesting {
		m.parts = append(m.parts, mimePart{boundary[:min(len(boundary), maxBoundary)], subtype == "digest"})
	}
}

// meetBoundary looks whether a body line begins a MIME part, or ends the last
// one of its entity. As in Postfix, what follows the boundary does not matter.
func (m *messageScan) meetBoundary(line string) {
	rest, ok := strings.CutPrefix(line, "--")
	if !ok {
		return
	}
	for i := len(m.parts) - 1; i >= 0; i-- {
		after, ok := strings.CutPrefix(rest, m.parts[i].boundary)
		if !ok {
			continue
		}
		if strings.HasPrefix(after, "--") {
			m.parts = m.parts[:i]
			return
		}
		m.parts = m.parts[:i+1]
		m.at, m.attached = partHeader, m.parts[i].digest
		return
	}
}

// cutField cuts the first line of a header field. Blanks before the colon are
// dropped.
func cutField(line string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(line, ":")
	name = strings.TrimRight(name, " \t")
	for i := range len(name) {
		if name[i] <= ' ' || name[i] >= 0x7f {
			return "", "", false
		}
	}
	return name, value, ok && name != ""
}

// parseContentType reads what matters of a Content-Type field: type and
// subtype in lower case, and the first parameter named boundary.
func parseContentType(value string) (kind, subtype, boundary string) {
	words := mimeWords(value)
	next := func() string {
		if len(words) == 0 {
			return ""
		}
		w := words[0]
		words = words[1:]
		return w
	}
	kind = strings.ToLower(next())
	for w := next(); w != ""; w = next() {
		if w == "/" && subtype == "" && len(words) > 0 && words[0] != ";" {
			subtype = strings.ToLower(next())
		}
		if w == ";" && len(words) > 2 && words[1] == "=" && strings.EqualFold(words[0], "boundary") {
			return kind, subtype, strings.TrimPrefix(words[2], `"`)
		}
	}
	return kind, subtype, ""
}

// mimeWords cuts a structured field into words and special characters (RFC
// 2045, 5.1), without comments. Quoted strings begin with a quote, have none at
// the end, and have lost their backslashes and line ends.
func mimeWords(s string) (words []string) {
	const special = `()<>@,;:\"/[]?=`
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c <= ' ':
			i++
		case c == '(':
			i = skipComment(s, i)
		case c == '"':
			word := []byte{'"'}
			for i++; i < len(s) && s[i] != '"'; i++ {
				if s[i] == '\\' && i+1 < len(s) {
					i++
				}
				if s[i] != '\n' {
					word = append(word, s[i])
				}
			}
			i++
			words = append(words, string(word))
		case strings.IndexByte(special, c) >= 0:
			words = append(words, s[i:i+1])
			i++
		default:
			start := i
			for i < len(s) && s[i] > ' ' && strings.IndexByte(special, s[i]) < 0 {
				i++
			}
			words = append(words, s[start:i])
		}
	}
	return words
}

// skipComment is the index behind the comment that begins at i.
func skipComment(s string, i int) int {
	for depth := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}
