package smtpd

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// escape shows the first 100 octets of a client in a log line, with \r, \n, \t
// and octal \ooo.
func escape(b []byte) string {
	var s strings.Builder
	for _, c := range b[:min(len(b), 100)] {
		switch {
		case c == '\r':
			s.WriteString(`\r`)
		case c == '\n':
			s.WriteString(`\n`)
		case c == '\t':
			s.WriteString(`\t`)
		case c == '\\':
			s.WriteString(`\\`)
		case c < ' ' || c > '~':
			fmt.Fprintf(&s, `\%03o`, c)
		default:
			s.WriteByte(c)
		}
	}
	return s.String()
}

// printable makes text of the client fit for a log line: control characters and
// octets that are not UTF-8 become question marks.
func printable(s string) string {
	bad := func(r rune) bool { return r == utf8.RuneError || unicode.IsControl(r) }
	if strings.IndexFunc(s, bad) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if bad(r) {
			return '?'
		}
		return r
	}, s)
}

// clip cuts text for a log line.
func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}
