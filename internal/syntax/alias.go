package syntax

import (
	"errors"
	"strings"
)

// ErrQuote is a quotation mark without its partner.
var ErrQuote = errors.New(`unbalanced '"'`)

// AliasMembers cuts the right-hand side of an aliases(5) entry at commas that
// are not inside quotes. A member that is quoted as a whole, `"|cmd arg"`,
// loses its quotes; members are trimmed and empty ones left out.
func AliasMembers(text string) ([]string, error) {
	var members []string
	var cur strings.Builder
	quoted := false
	flush := func() {
		m := strings.Trim(cur.String(), Blank)
		if n := len(m); n >= 2 && m[0] == '"' && m[n-1] == '"' && (m[1] == '|' || m[1] == '/' || m[1] == ':') {
			m = strings.ReplaceAll(m[1:n-1], `\"`, `"`)
		}
		if m != "" {
			members = append(members, m)
		}
		cur.Reset()
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text):
			cur.WriteByte(c)
			i++
			cur.WriteByte(text[i])
			continue
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			flush()
			continue
		}
		cur.WriteByte(text[i])
	}
	if quoted {
		return nil, ErrQuote
	}
	flush()
	return members, nil
}
