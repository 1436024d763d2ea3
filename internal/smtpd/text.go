package smtpd

import (
	"strconv"
	"strings"
)

// escape shows octets of a client in a log line, with \r, \n and \ooo.
func escape(b []byte) string {
	var s strings.Builder
	for _, c := range b {
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
			s.WriteByte('\\')
			s.WriteString(strings.Repeat("0", max(0, 3-len(strconv.FormatInt(int64(c), 8)))))
			s.WriteString(strconv.FormatInt(int64(c), 8))
		default:
			s.WriteByte(c)
		}
	}
	return s.String()
}
