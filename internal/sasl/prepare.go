package sasl

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// prepare is SASLprep (RFC 4013): user names and passwords that look the same
// become the same. Text in ASCII without control characters is its own result.
func prepare(text string) (string, error) {
	if !utf8.ValidString(text) {
		return "", errors.New("user name or password is not UTF-8")
	}
	mapped := strings.Map(func(r rune) rune {
		switch {
		case r == 0xad || r == 0x34f || r == 0x1806 || 0x180b <= r && r <= 0x180d || 0x200b <= r && r <= 0x200d ||
			r == 0x2060 || 0xfe00 <= r && r <= 0xfe0f || r == 0xfeff: // RFC 3454, B.1
			return -1
		case r > 0x7f && unicode.Is(unicode.Zs, r): // C.1.2
			return ' '
		}
		return r
	}, text)
	out := norm.NFKC.String(mapped)
	for _, r := range out {
		if unicode.IsControl(r) || unicode.Is(unicode.Co, r) || unicode.Is(unicode.Cf, r) || r == 0xfffd {
			return "", errors.New("user name or password with a character that is not allowed")
		}
	}
	return out, nil
}
