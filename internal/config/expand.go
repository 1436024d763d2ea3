package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"postern/internal/syntax"
)

// maxNesting bounds macro calls inside macro calls.
const maxNesting = 100

// Errors of macro expansion, worded as Postfix words them.
var (
	errTruncated = errors.New("truncated macro reference")
	errEmptyName = errors.New("empty macro name")
	errName      = errors.New("attribute name syntax error")
)

// Expand replaces $name and its relatives in a text.
func (s *Settings) Expand(text string) (string, error) {
	return (&expander{s: s}).expand(text, 0)
}

// expander expands macros with the values of settings.
type expander struct{ s *Settings }

func (x *expander) expand(text string, depth int) (string, error) {
	if !strings.Contains(text, "$") {
		return text, nil
	}
	if depth > maxNesting {
		return "", fmt.Errorf("unreasonable macro call nesting: %q", clip(text))
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		if text[i] != '$' {
			b.WriteByte(text[i])
			i++
			continue
		}
		i++
		if i == len(text) {
			return "", fmt.Errorf("%w: %q", errTruncated, clip(text))
		}
		switch c := text[i]; {
		case c == '$':
			b.WriteByte('$')
			i++
		case c == '{' || c == '(':
			end := closing(text, i)
			if end < 0 {
				return "", fmt.Errorf("%w: %q", errTruncated, clip(text))
			}
			out, err := x.braced(text[i+1:end], depth)
			if err != nil {
				return "", err
			}
			b.WriteString(out)
			i = end + 1
		default:
			n := nameLen(text[i:])
			if n == 0 {
				return "", fmt.Errorf("%w: %q", errEmptyName, clip(text))
			}
			out, err := x.value(text[i:i+n], depth)
			if err != nil {
				return "", err
			}
			b.WriteString(out)
			i += n
		}
	}
	return b.String(), nil
}

func clip(s string) string {
	if len(s) > 100 {
		return s[:100] + "..."
	}
	return s
}

func nameLen(s string) int {
	n := 0
	for n < len(s) && (s[n] == '_' || s[n] >= '0' && s[n] <= '9' || s[n]|0x20 >= 'a' && s[n]|0x20 <= 'z') {
		n++
	}
	return n
}

// closing finds the bracket that closes the one at text[i]; -1 without one.
func closing(text string, i int) int {
	opening, shut := text[i], byte('}')
	if opening == '(' {
		shut = ')'
	}
	depth := 0
	for ; i < len(text); i++ {
		switch text[i] {
		case opening:
			depth++
		case shut:
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// value is the expansion of another parameter; an undefined one is empty.
func (x *expander) value(name string, depth int) (string, error) {
	p := x.s.params[name]
	v, written := x.s.written[name]
	if !written {
		if p == nil {
			return "", nil
		}
		v.Raw = x.s.defaultOf(p)
	}
	return x.expand(v.Raw, depth+1)
}

// braced expands what stands inside ${...}: a name, with an operator or
// without, or a comparison.
func (x *expander) braced(text string, depth int) (string, error) {
	text = strings.Trim(text, syntax.Blank)
	if strings.HasPrefix(text, "{") {
		return x.comparison(text, depth)
	}
	n := nameLen(text)
	if n == 0 {
		return "", fmt.Errorf("%w: %q", errEmptyName, clip(text))
	}
	rest := strings.TrimLeft(text[n:], syntax.Blank)
	if rest == "" {
		return x.value(text[:n], depth)
	}
	if rest[0] != '?' && rest[0] != ':' {
		return "", fmt.Errorf("%w: %q", errName, clip(text))
	}
	value, err := x.value(text[:n], depth)
	if err != nil {
		return "", err
	}
	return x.choose(value != "", rest, "", "", depth)
}

// choose evaluates "?yes", ":no" or "?{yes}:{no}"; the defaults stand for a
// branch that is not written.
func (x *expander) choose(cond bool, rest, yes, no string, depth int) (string, error) {
	if rest != "" && rest[0] == '?' {
		operand, after, err := x.operand(rest[1:], true)
		if err != nil {
			return "", err
		}
		yes, no, rest = operand, "", after
	} else if rest != "" && rest[0] == ':' {
		yes = ""
	}
	if rest != "" {
		if rest[0] != ':' {
			return "", fmt.Errorf("%w: %q", errName, clip(rest))
		}
		operand, after, err := x.operand(rest[1:], false)
		if err != nil {
			return "", err
		}
		if after != "" {
			return "", fmt.Errorf("%w: %q", errName, clip(after))
		}
		no = operand
	}
	if cond {
		return x.expand(yes, depth+1)
	}
	return x.expand(no, depth+1)
}

// operand reads a braced text and what follows it, or everything as one text.
func (x *expander) operand(text string, more bool) (operand, rest string, err error) {
	trimmed := strings.TrimLeft(text, syntax.Blank)
	if !strings.HasPrefix(trimmed, "{") {
		return text, "", nil
	}
	end := closing(trimmed, 0)
	if end < 0 {
		return "", "", fmt.Errorf("%w: %q", errTruncated, clip(text))
	}
	rest = strings.Trim(trimmed[end+1:], syntax.Blank)
	if rest != "" && !more {
		return "", "", fmt.Errorf("%w: %q", errName, clip(rest))
	}
	return strings.Trim(trimmed[1:end], syntax.Blank), rest, nil
}

// comparison evaluates {a} op {b} ?{yes}:{no}.
func (x *expander) comparison(text string, depth int) (string, error) {
	left, rest, err := x.operand(text, true)
	if err != nil {
		return "", err
	}
	op := ""
	for _, o := range []string{"==", "!=", "<=", ">=", "<", ">"} {
		if strings.HasPrefix(rest, o) {
			op = o
			break
		}
	}
	levels := false
	for _, o := range []string{"<=level", "==level", "!=level", ">=level", "<level", ">level"} {
		if strings.HasPrefix(rest, o) {
			op, levels = strings.TrimSuffix(o, "level"), true
			rest = strings.TrimPrefix(rest, o)
			break
		}
	}
	if op == "" {
		return "", fmt.Errorf("%w: %q", errName, clip(text))
	}
	if !levels {
		rest = rest[len(op):]
	}
	if !strings.HasPrefix(strings.TrimLeft(rest, syntax.Blank), "{") {
		return "", fmt.Errorf("%w: %q", errName, clip(text))
	}
	right, rest, err := x.operand(rest, true)
	if err != nil {
		return "", err
	}
	if left, err = x.expand(left, depth+1); err != nil {
		return "", err
	}
	if right, err = x.expand(right, depth+1); err != nil {
		return "", err
	}
	c, err := compare(left, right, levels)
	if err != nil {
		return "", err
	}
	return x.choose(holds(op, c), rest, "true", "", depth)
}

func holds(op string, c int) bool {
	switch op {
	case "==":
		return c == 0
	case "!=":
		return c != 0
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	}
	return c >= 0
}

// compare compares numbers as numbers, anything else as bytes, and
// compatibility levels by their parts.
func compare(a, b string, levels bool) (int, error) {
	if levels {
		la, err := parseLevel(a)
		if err != nil {
			return 0, err
		}
		lb, err := parseLevel(b)
		if err != nil {
			return 0, err
		}
		for i := range la {
			if la[i] != lb[i] {
				return sign(la[i] < lb[i]), nil
			}
		}
		return 0, nil
	}
	na, erra := strconv.ParseUint(a, 10, 64)
	nb, errb := strconv.ParseUint(b, 10, 64)
	if erra == nil && errb == nil {
		if na == nb {
			return 0, nil
		}
		return sign(na < nb), nil
	}
	return strings.Compare(a, b), nil
}

func sign(less bool) int {
	if less {
		return -1
	}
	return 1
}

// parseLevel reads major[.minor[.patch]].
func parseLevel(text string) (level [3]uint64, err error) {
	parts := strings.Split(text, ".")
	if len(parts) > 3 {
		return level, fmt.Errorf("bad compatibility level: %q", text)
	}
	for i, p := range parts {
		if level[i], err = strconv.ParseUint(p, 10, 32); err != nil {
			return level, fmt.Errorf("bad compatibility level: %q", text)
		}
	}
	return level, nil
}
