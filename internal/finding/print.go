package finding

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode"

	"postern/internal/origin"
)

// Colours of a terminal (ECMA-48, 8.3.117).
const (
	red, yellow, cyan, bold, faint = "31", "33", "36", "1", "2"
)

var colours = map[Severity]string{Error: red, Warning: yellow, Info: cyan}

// paint puts text into a colour of the terminal, if colour is wanted.
func paint(wanted bool, colour, text string) string {
	if !wanted {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// Print writes the finding for people, in colour or plain:
//
//	VD204 error  the catch-all @example.org hides the mailbox john@example.org
//	   at virtual:7
//	      @example.org  jane@example.com
//	   near jon@example.org
//	   fix: add the row "john@example.org john@example.org" to virtual
//
// What comes from a configuration cannot give orders to the terminal.
func (f Finding) Print(w io.Writer, colour bool) {
	fmt.Fprintf(w, "%s %s  %s\n", paint(colour, bold, f.Code), paint(colour, colours[f.Severity], string(f.Severity)), Printable(f.Message))
	for _, at := range f.At {
		name, text := placeOf(at)
		fmt.Fprintf(w, "   at %s\n", Printable(name))
		if text != "" {
			fmt.Fprintf(w, "      %s\n", paint(colour, faint, Printable(text)))
		}
	}
	if len(f.Near) > 0 {
		fmt.Fprintf(w, "   near %s\n", Printable(strings.Join(f.Near, ", ")))
	}
	fmt.Fprintf(w, "   fix: %s\n", Printable(f.Fix))
}

// placeOf is a place and what is written there.
func placeOf(at origin.At) (name, text string) {
	switch {
	case len(at.Row) > 0:
		return at.String(), columns(at.Row)
	case at.Table != "":
		return at.String(), at.Query
	case at.Line == 0 && at.Parameter != "":
		return at.Parameter + ", which is not written in main.cf", at.Text
	}
	return at.String(), at.Text
}

// columns are those of a row that have a value, in alphabetical order.
func columns(row map[string]string) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(row)) {
		if row[name] != "" {
			list = append(list, name+" = "+row[name])
		}
	}
	return strings.Join(list, ", ")
}

// Printable keeps text on its line, and shows that there is something that cannot be
// seen. What comes from a configuration or a log cannot give orders to a terminal.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n':
			return ' '
		case unicode.IsPrint(r):
			return r
		}
		return '\uFFFD'
	}, text)
}
