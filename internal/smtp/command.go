package smtp

import (
	"strings"
)

// blanks separate the words of a command line. Clients that use more than the
// space of RFC 5321, 2.3.8 are understood.
const blanks = " \t\v\f\r\n"

// SplitCommand cuts a command line into its verb, in upper case, and the text
// after it, without blanks at either end. Both are "" for an empty line.
func SplitCommand(line string) (verb, args string) {
	line = strings.Trim(line, blanks)
	end := strings.IndexAny(line, blanks)
	if end < 0 {
		return upper(line), ""
	}
	return upper(line[:end]), strings.TrimLeft(line[end:], blanks)
}

// upper and lower map the case of ASCII letters; other octets stay.
func upper(s string) string {
	for i := 0; i < len(s); i++ {
		if 'a' <= s[i] && s[i] <= 'z' {
			b := []byte(s)
			for j := i; j < len(b); j++ {
				if 'a' <= b[j] && b[j] <= 'z' {
					b[j] -= 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

func lower(s string) string {
	for i := 0; i < len(s); i++ {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for j := i; j < len(b); j++ {
				if 'A' <= b[j] && b[j] <= 'Z' {
					b[j] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}
