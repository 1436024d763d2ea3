package pattern

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// replacement is the result of a rule, cut at its $number references.
type replacement struct {
	parts  []part
	groups int // the highest group it refers to; 0: it is plain text
}

// part is a piece of plain text and the group whose text follows it.
type part struct {
	text  string
	group int // 0: none
}

var (
	errEmptyName    = errors.New("no group number after '$'")
	errUnclosedName = errors.New("no end of a group number in braces or parentheses")
)

// parseReplacement reads $1, ${1} and $(1); "$$" is a dollar sign. The name
// behind a bare '$' takes all letters, digits and underscores that follow.
func parseReplacement(text string) (replacement, error) {
	var r replacement
	var plain strings.Builder
	for {
		before, after, found := strings.Cut(text, "$")
		plain.WriteString(before)
		if !found {
			break
		}
		if strings.HasPrefix(after, "$") {
			plain.WriteByte('$')
			text = after[1:]
			continue
		}
		name, rest, err := groupName(after)
		if err != nil {
			return replacement{}, err
		}
		n, err := groupNumber(name)
		if err != nil {
			return replacement{}, err
		}
		r.parts = append(r.parts, part{plain.String(), n})
		r.groups = max(r.groups, n)
		plain.Reset()
		text = rest
	}
	if plain.Len() > 0 || len(r.parts) == 0 {
		r.parts = append(r.parts, part{text: plain.String()})
	}
	return r, nil
}

func groupName(text string) (name, rest string, err error) {
	end := 0
	switch {
	case strings.HasPrefix(text, "{"):
		end = strings.IndexByte(text, '}')
	case strings.HasPrefix(text, "("):
		end = strings.IndexByte(text, ')')
	default:
		for end < len(text) && (isAlnum(text[end]) || text[end] == '_') {
			end++
		}
		if end == 0 {
			return "", "", errEmptyName
		}
		return text[:end], text[end:], nil
	}
	if end < 0 {
		return "", "", errUnclosedName
	}
	return text[1:end], text[end+1:], nil
}

func groupNumber(name string) (int, error) {
	if name == "" {
		return 0, errEmptyName
	}
	if strings.Trim(name, "0123456789") != "" {
		return 0, fmt.Errorf("non-numeric replacement index %q", name)
	}
	n, err := strconv.Atoi(name)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("out-of-range replacement index %q", name)
	}
	return n, nil
}

// expand fills in the groups of a match.
func (r *replacement) expand(groups []string) string {
	if r.groups == 0 {
		return r.parts[0].text
	}
	var b strings.Builder
	for _, p := range r.parts {
		b.WriteString(p.text)
		if p.group > 0 {
			b.WriteString(groups[p.group])
		}
	}
	return b.String()
}

func isAlnum(c byte) bool { return '0' <= c && c <= '9' || isLetter(c) }
