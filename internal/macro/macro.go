// Package macro replaces $name in a text, as forward_path, luser_relay,
// command_execution_directory and the arguments of pipe(8) have it:
//
//	$name ${name} $(name)        the value
//	${name?text} ${name?{text}}  text, if the value is not empty
//	${name:text} ${name:{text}}  text, if it is
//	${name?{text}:{text}}        one or the other
//	$$                           a dollar sign
//
// The texts may contain macros themselves; values are not looked at again, so
// that what comes from a message stays what it is. Names are letters, digits and
// '_'. The macros of main.cf values, which know comparisons, are the business of
// package config.
//
// It imports only the standard library.
package macro

import (
	"errors"
	"fmt"
	"strings"
)

// ErrSyntax is the class of errors of a text that is no macro text.
var ErrSyntax = errors.New("macro syntax error")

// maxDepth bounds macros inside of macros.
const maxDepth = 20

// Lookup gives the value of a name. For a test of it, ${name?text}, test is
// true. ok is false for a name that has no value.
type Lookup func(name string, test bool) (value string, ok bool)

// Expand replaces the macros of a text. complete is false when a name without a
// value was to be replaced; nothing stands in its place. The error wraps
// ErrSyntax.
func Expand(text string, value Lookup) (out string, complete bool, err error) {
	x := expander{value: value, complete: true}
	err = x.expand(text, 0)
	return x.out.String(), x.complete, err
}

type expander struct {
	value    Lookup
	out      strings.Builder
	complete bool
}

func (x *expander) expand(text string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: macros are nested too deeply", ErrSyntax)
	}
	for {
		plain, rest, found := strings.Cut(text, "$")
		x.out.WriteString(plain)
		if !found {
			return nil
		}
		var err error
		if text, err = x.macro(rest, depth); err != nil {
			return err
		}
	}
}

// macro expands what begins behind a '$' and returns the text after it.
func (x *expander) macro(text string, depth int) (rest string, err error) {
	switch {
	case strings.HasPrefix(text, "$"):
		x.out.WriteByte('$')
		return text[1:], nil
	case strings.HasPrefix(text, "{"), strings.HasPrefix(text, "("):
		end := closing(text)
		if end < 0 {
			return "", fmt.Errorf("%w: truncated macro reference: %q", ErrSyntax, "$"+text)
		}
		return text[end+1:], x.braced(strings.Trim(text[1:end], " \t"), depth)
	}
	n := nameLen(text)
	if n == 0 {
		return "", fmt.Errorf("%w: empty macro name: %q", ErrSyntax, "$"+text)
	}
	x.use(text[:n])
	return text[n:], nil
}

func (x *expander) use(name string) {
	value, ok := x.value(name, false)
	x.complete = x.complete && ok
	x.out.WriteString(value)
}

// braced expands the inside of ${...}.
func (x *expander) braced(text string, depth int) error {
	n := nameLen(text)
	name, rest := text[:n], strings.TrimLeft(text[n:], " \t")
	switch {
	case n == 0:
		return fmt.Errorf("%w: empty macro name: %q", ErrSyntax, "${"+text+"}")
	case rest == "":
		x.use(name)
		return nil
	case rest[0] != '?' && rest[0] != ':':
		return fmt.Errorf("%w: attribute name syntax error: %q", ErrSyntax, text)
	}
	var yes, no string
	var err error
	if rest[0] == '?' {
		if yes, rest, err = operand(rest[1:]); err != nil {
			return err
		}
	}
	if strings.HasPrefix(rest, ":") {
		if no, rest, err = operand(rest[1:]); err != nil {
			return err
		}
	}
	if rest != "" {
		return fmt.Errorf("%w: unexpected input at: %q", ErrSyntax, rest)
	}
	if value, _ := x.value(name, true); value != "" {
		return x.expand(yes, depth+1)
	}
	return x.expand(no, depth+1)
}

// operand reads {text}, or a text to the end, and what follows.
func operand(text string) (inner, rest string, err error) {
	trimmed := strings.TrimLeft(text, " \t")
	if !strings.HasPrefix(trimmed, "{") {
		return text, "", nil
	}
	end := closing(trimmed)
	if end < 0 {
		return "", "", fmt.Errorf("%w: unbalanced {} in %q", ErrSyntax, text)
	}
	return trimmed[1:end], strings.TrimLeft(trimmed[end+1:], " \t"), nil
}

// closing finds the bracket that closes the one text begins with, or -1.
func closing(text string) int {
	opening, shut := text[0], byte('}')
	if opening == '(' {
		shut = ')'
	}
	depth := 0
	for i := range len(text) {
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

func nameLen(text string) int {
	for i := range len(text) {
		c := text[i]
		if c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return i
		}
	}
	return len(text)
}
