package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"postern/internal/syntax"
)

// maxNesting bounds macro calls inside macro calls, maxCalls those of one value
// altogether: "$a$a" in a chain of values would grow without end.
const (
	maxNesting = 100
	maxCalls   = 10_000
)

// Errors of macro expansion, worded as Postfix words them.
var (
	errTruncated  = errors.New("truncated macro reference")
	errEmptyName  = errors.New("empty macro name")
	errName       = errors.New("attribute name syntax error")
	errNesting    = errors.New("unreasonable macro call nesting")
	errColon      = errors.New(`":" expected at`)
	errOperator   = errors.New(`"==", "!=", "<", "<=", ">=" or ">" expected at`)
	errOperand    = errors.New(`"{expression}" expected at`)
	errUnexpected = errors.New("unexpected input at")
	errUnbalanced = errors.New("unbalanced {} in attribute expression")
	errLevel      = errors.New("malformed compatibility level syntax")
)

// referenceError is an error in the value of a parameter that is referred to:
// that parameter is to blame, not the text that asks for it.
type referenceError struct {
	name string
	err  error
}

// Error names the last one of a chain of references.
func (e *referenceError) Error() string {
	var deeper *referenceError
	if errors.As(e.err, &deeper) {
		return deeper.Error()
	}
	return "$" + e.name + ": " + e.err.Error()
}

func (e *referenceError) Unwrap() error { return e.err }

// Expand replaces $name and its relatives in a text.
func (s *Settings) Expand(text string) (string, error) {
	return (&expander{s: s}).expand(text, 0)
}

// expander expands one text with the values of settings. With visit it only
// looks: every name is reported, all values are empty, and both branches of a
// condition are followed.
type expander struct {
	s     *Settings
	calls int
	visit func(name string)
}

func (x *expander) expand(text string, depth int) (string, error) {
	if !strings.Contains(text, "$") {
		return text, nil
	}
	if x.calls++; depth > maxNesting || x.calls > maxCalls {
		return "", fmt.Errorf("%w: %q", errNesting, clip(text))
	}
	var b strings.Builder
	for {
		plain, rest, found := strings.Cut(text, "$")
		b.WriteString(plain)
		if !found {
			return b.String(), nil
		}
		out, after, err := x.macro(rest, depth)
		if err != nil {
			return "", err
		}
		b.WriteString(out)
		text = after
	}
}

// macro expands what begins after a '$', and returns the text behind it.
func (x *expander) macro(text string, depth int) (out, rest string, err error) {
	switch {
	case strings.HasPrefix(text, "$"):
		return "$", text[1:], nil
	case strings.HasPrefix(text, "{"), strings.HasPrefix(text, "("):
		end := closing(text)
		if end < 0 {
			return "", "", fmt.Errorf("%w: %q", errTruncated, clip("$"+text))
		}
		if end == 1 {
			return "", "", fmt.Errorf("%w: %q", errEmptyName, clip("$"+text))
		}
		out, err = x.braced(text[1:end], depth)
		return out, text[end+1:], err
	}
	n := nameLen(text)
	if n == 0 {
		return "", "", fmt.Errorf("%w: %q", errEmptyName, clip("$"+text))
	}
	out, err = x.value(text[:n], depth)
	return out, text[n:], err
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

// closing finds the bracket that closes the one text begins with; -1 without
// one. Only brackets of its kind count.
func closing(text string) int {
	opening, shut := text[0], byte('}')
	if opening == '(' {
		shut = ')'
	}
	for i, depth := 0, 0; i < len(text); i++ {
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
	if x.visit != nil {
		if name != "" {
			x.visit(name)
		}
		return "", nil
	}
	raw := x.s.written[name].Raw
	if p := x.s.params[name]; p != nil && !x.s.written[name].Set {
		raw = x.s.defaultOf(p)
	}
	text, err := x.expand(raw, depth+1)
	if err != nil {
		return "", &referenceError{name, err}
	}
	return text, nil
}

// braced expands what stands inside ${...}: a name, with an operator or
// without, or a comparison.
func (x *expander) braced(text string, depth int) (string, error) {
	text = strings.TrimLeft(text, syntax.Blank)
	if strings.HasPrefix(text, "{") {
		return x.comparison(text, depth)
	}
	n := nameLen(text)
	rest := strings.TrimLeft(text[n:], syntax.Blank)
	if rest == "" {
		return x.value(text[:n], depth)
	}
	if rest[0] != '?' && rest[0] != ':' {
		return "", fmt.Errorf("%w: %q", errName, clip(text))
	}
	cond, err := x.isSet(text[:n], depth)
	if err != nil {
		return "", err
	}
	return x.choose(cond, rest, depth)
}

// isSet reports whether a parameter is not empty. What main.cf or master.cf set
// counts as written there: with a = $nothing, ${a?b} is b, as in Postfix. A
// default counts expanded.
func (x *expander) isSet(name string, depth int) (bool, error) {
	if v := x.s.written[name]; v.Set {
		return v.Raw != "", nil
	}
	value, err := x.value(name, depth)
	return value != "", err
}

// choose evaluates "?yes", ":no" or "?{yes}:{no}" behind a condition; a branch
// that is not written is empty.
func (x *expander) choose(cond bool, rest string, depth int) (string, error) {
	var yes, no string
	var err error
	if strings.HasPrefix(rest, "?") {
		if yes, rest, err = operand(rest[1:]); err != nil {
			return "", err
		}
		if rest != "" && rest[0] != ':' {
			return "", fmt.Errorf("%w: %q", errColon, clip(rest))
		}
	}
	if strings.HasPrefix(rest, ":") {
		if no, rest, err = operand(rest[1:]); err != nil {
			return "", err
		}
	}
	if rest != "" {
		return "", fmt.Errorf("%w: %q", errUnexpected, clip(rest))
	}
	if x.visit != nil {
		if _, err := x.expand(yes, depth+1); err != nil {
			return "", err
		}
		cond = false
	}
	if cond {
		return x.expand(yes, depth+1)
	}
	return x.expand(no, depth+1)
}

// operand reads {text}, without its braces, and returns what follows; a text
// that does not begin with a brace is one operand to its end. White space
// inside the braces, and all of a text without them, belongs to the operand.
func operand(text string) (inner, rest string, err error) {
	trimmed := strings.TrimLeft(text, syntax.Blank)
	if !strings.HasPrefix(trimmed, "{") {
		return text, "", nil
	}
	end := closing(trimmed)
	if end < 0 {
		return "", "", fmt.Errorf("%w: %q", errUnbalanced, clip(trimmed))
	}
	return trimmed[1:end], strings.TrimLeft(trimmed[end+1:], syntax.Blank), nil
}

// operators of comparisons, longer ones first.
var operators = []string{"==", "!=", "<=", ">=", "<", ">"}

// comparison evaluates {a} op {b} ?{yes}:{no}; op may end in "level".
func (x *expander) comparison(text string, depth int) (string, error) {
	left, rest, err := operand(text)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(operators, func(op string) bool { return strings.HasPrefix(rest, op) })
	if i < 0 {
		return "", fmt.Errorf("%w: %q", errOperator, clip(rest))
	}
	op := operators[i]
	after, levels := strings.CutPrefix(rest[len(op):], "level")
	if !strings.HasPrefix(strings.TrimLeft(after, syntax.Blank), "{") {
		return "", fmt.Errorf("%w: %q", errOperand, clip(after))
	}
	right, rest, err := operand(after)
	if err != nil {
		return "", err
	}
	if left, err = x.expand(left, depth+1); err != nil {
		return "", err
	}
	if right, err = x.expand(right, depth+1); err != nil {
		return "", err
	}
	order, err := compare(left, right, levels)
	if err != nil && x.visit == nil {
		return "", err
	}
	cond := holds(op, order)
	if rest == "" && cond {
		return "true", nil
	}
	return x.choose(cond, rest, depth)
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
	if isNumber(a) && isNumber(b) {
		a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
		if len(a) != len(b) {
			return sign(len(a) < len(b)), nil
		}
	}
	return strings.Compare(a, b), nil
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
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
		return level, fmt.Errorf("%w: %q", errLevel, text)
	}
	for i, p := range parts {
		if level[i], err = strconv.ParseUint(p, 10, 32); err != nil {
			return level, fmt.Errorf("%w: %q", errLevel, text)
		}
	}
	return level, nil
}
