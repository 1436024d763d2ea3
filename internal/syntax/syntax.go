// Package syntax is the lexical layer shared by main.cf, master.cf, lookup
// table sources and the .cf files of database tables: logical lines made of
// physical ones, lists with braces, and name = value pairs. See postconf(5),
// section "main.cf file format".
//
// It imports only the standard library.
package syntax

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
)

// Blank holds the characters that count as white space inside a line.
const Blank = " \t\r\n\v\f"

// Separators are the characters between the items of a list parameter.
const Separators = ", \t\r\n"

// Line is one logical line: a physical line and its continuation lines, joined
// by plain concatenation without the newlines.
type Line struct {
	Number int    // of the first physical line, from 1
	Text   string // leading blanks of continuation lines are kept
}

// ErrOrphan is the problem of a first line that starts with white space. The
// line is left out; the reading goes on after it.
var ErrOrphan = errors.New("logical line must not start with whitespace")

// Lines yields the logical lines of r.
//
// Lines that are empty, blank, or whose first non-blank character is '#' are
// dropped wherever they stand. A line that starts with white space continues
// the one before it. A line that has nothing to continue is yielded with an
// error that wraps ErrOrphan; a read error is yielded last, with the line that
// was being read. Lines have no maximum length.
func Lines(r io.Reader) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		br := bufio.NewReaderSize(r, 32<<10)
		var cur strings.Builder
		start, number := 0, 0
		for {
			raw, err := br.ReadString('\n')
			if raw != "" {
				number++
				text := strings.TrimSuffix(raw, "\n")
				switch trimmed := strings.TrimLeft(text, Blank); {
				case trimmed == "" || trimmed[0] == '#':
				case len(trimmed) < len(text):
					if start == 0 {
						bad := fmt.Errorf("%w: %q", ErrOrphan, clip(text, 30))
						if !yield(Line{number, text}, bad) {
							return
						}
						break
					}
					cur.WriteString(text)
				default:
					if start > 0 && !yield(Line{start, cur.String()}, nil) {
						return
					}
					cur.Reset()
					cur.WriteString(text)
					start = number
				}
			}
			if err != nil {
				if err == io.EOF {
					err = nil
				}
				if start > 0 || err != nil {
					yield(Line{start, cur.String()}, err)
				}
				return
			}
		}
	}
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "..."
	}
	return s
}

// Split cuts a list at separators (each a single byte) that are not inside
// braces. Braces stay part of the item: use Unbrace. Empty items do not occur.
// Unbalanced braces run to the end of the text.
func Split(text, separators string) []string {
	var items []string
	for i := 0; i < len(text); {
		if strings.IndexByte(separators, text[i]) >= 0 {
			i++
			continue
		}
		start, depth := i, 0
		for ; i < len(text); i++ {
			c := text[i]
			if c == '{' {
				depth++
			} else if c == '}' && depth > 0 {
				depth--
			} else if depth == 0 && strings.IndexByte(separators, c) >= 0 {
				break
			}
		}
		items = append(items, text[start:i])
	}
	return items
}

// Unbrace removes one pair of braces around text and the white space inside
// them. ok is false, and text comes back unchanged, when text is not one
// balanced {...} group.
func Unbrace(text string) (inner string, ok bool) {
	if len(text) < 2 || text[0] != '{' || text[len(text)-1] != '}' {
		return text, false
	}
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 && i < len(text)-1 {
				return text, false
			}
		}
	}
	if depth != 0 {
		return text, false
	}
	return strings.Trim(text[1:len(text)-1], Blank), true
}

// Braced is Unbrace for text that begins with a brace: when it is not one
// balanced group the error says why, in Postfix's words.
func Braced(text string) (inner string, err error) {
	if inner, ok := Unbrace(text); ok {
		return inner, nil
	}
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return "", fmt.Errorf(`syntax error after '}' in "%s"`, text)
			}
		}
	}
	return "", fmt.Errorf(`missing '}' in "%s"`, text)
}

// Errors of NameValue, worded as Postfix words them.
var (
	ErrNoEquals = errors.New("missing '=' after attribute name")
	ErrNoName   = errors.New("missing attribute name")
)

// NameValue cuts "name = value". The name ends at white space or '=', the value
// is trimmed on both ends and may be empty.
func NameValue(line string) (name, value string, err error) {
	line = strings.Trim(line, Blank)
	end := strings.IndexAny(line, "="+Blank)
	if end == 0 {
		return "", "", fmt.Errorf("%w: %q", ErrNoName, clip(line, 100))
	}
	if end < 0 {
		return "", "", fmt.Errorf("%w: %q", ErrNoEquals, clip(line, 100))
	}
	rest := strings.TrimLeft(line[end:], Blank)
	if rest == "" || rest[0] != '=' {
		return "", "", fmt.Errorf("%w: %q", ErrNoEquals, clip(line, 100))
	}
	return line[:end], strings.Trim(rest[1:], Blank), nil
}
