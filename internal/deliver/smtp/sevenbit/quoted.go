package sevenbit

const (
	maxQuoted = 76 // length of a line of quoted-printable text (RFC 2045, 6.7, rule 5)
	hex       = "0123456789ABCDEF"
)

// quote writes a line of text, or a part of it, as quoted-printable.
func (m *Writer) quote(line []byte) {
	whole := line[len(line)-1] == '\n'
	if whole {
		line = line[:len(line)-1]
	}
	for i, c := range line {
		// A blank at the end of a line might get lost (rule 3). Whether a part is
		// the end of its line is not known. A dash behind a soft break might begin
		// what looks like a boundary.
		blank := c == ' ' || c == '\t'
		broken := m.room()
		if dash := c == '-' && broken; !dash && (c > ' ' && c < 0x7f && c != '=' || blank && i < len(line)-1) {
			m.w.WriteByte(c)
			m.column++
			continue
		}
		m.w.WriteByte('=')
		m.w.WriteByte(hex[c>>4])
		m.w.WriteByte(hex[c&15])
		m.column += 3
	}
	if whole {
		m.w.WriteByte('\n')
		m.column = 0
	}
}

// room breaks the line softly when an octet in its long form, and the "=" that may
// have to follow, might not fit any more. It reports whether it did.
func (m *Writer) room() (broken bool) {
	if m.column <= maxQuoted-len("=XX=") {
		return false
	}
	m.w.WriteString("=\n")
	m.column = 0
	return true
}
