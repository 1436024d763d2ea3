package smtp

import "strings"

const hexDigits = "0123456789ABCDEF"

// DecodeXtext decodes xtext (RFC 3461, 4): "+2B" stands for the octet 0x2B,
// other octets for themselves. ok is false for a '+' without two hexadecimal
// digits, and for control characters and blanks, coded or not: they must not
// reach a log or a header.
func DecodeXtext(s string) (text string, ok bool) {
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '+' {
			if i+2 >= len(s) || hexValue(s[i+1]) < 0 || hexValue(s[i+2]) < 0 {
				return "", false
			}
			c = byte(hexValue(s[i+1])<<4 | hexValue(s[i+2]))
			i += 2
			if c < ' ' || c == 0x7f {
				return "", false
			}
		} else if c <= ' ' || c == 0x7f {
			return "", false
		}
		b.WriteByte(c)
	}
	return b.String(), true
}

// EncodeXtext encodes text as xtext: octets outside of '!' to '~', and '+' and
// '=', become "+XX".
func EncodeXtext(text string) string {
	var b strings.Builder
	b.Grow(len(text))
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c < '!' || c > '~' || c == '+' || c == '=' {
			b.WriteByte('+')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

func hexValue(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}
