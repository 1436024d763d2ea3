package sql

import (
	"fmt"
	"strconv"
	"strings"
)

// dialect is what the lexical structure of a database's SQL has beyond the
// standard: texts in single quotes, names in double quotes, comments.
type dialect struct {
	backslash bool // \ escapes in quoted texts, # begins a comment, -- needs a blank behind it (MySQL)
	dollar    bool // $tag$text$tag$, E'\n', comments in comments (PostgreSQL)
	texts     string
	mark      func(i int) string // stands for value i in a statement
	// test is an expression that says how an expression is compared with a text,
	// as far as one row shows it: see comparisonOf.
	test func(left string) string
}

func question(int) string { return "?" }

var (
	sqliteDialect = &dialect{texts: "'", mark: question, test: sqliteTest}
	mysqlDialect  = &dialect{texts: `'"`, backslash: true, mark: question, test: mysqlTest}
	pgsqlDialect  = &dialect{texts: "'$", dollar: true, mark: func(i int) string { return "$" + strconv.Itoa(i+1) }, test: pgsqlTest}
)

// lexeme is the length of the first lexical element of an SQL text that is not
// empty: a quoted text or name in which a doubled quote is one of its
// characters, a comment, a word, or a single character.
func (d *dialect) lexeme(text string) (int, error) {
	switch c := text[0]; {
	case strings.HasPrefix(text, "--") && d.isDashComment(text), c == '#' && d.backslash:
		if i := strings.IndexByte(text, '\n'); i >= 0 {
			return i, nil
		}
		return len(text), nil
	case strings.HasPrefix(text, "/*"):
		return d.comment(text)
	case c == '\'' || c == '"' || c == '`':
		return quoted(text, d.backslash && c != '`')
	case d.isEscapeText(text):
		n, err := quoted(text[1:], true)
		return n + 1, err
	case c == '$' && d.dollar:
		return dollarQuoted(text)
	case isWord(c):
		n := 1
		for n < len(text) && (isWord(text[n]) || text[n] == '$') {
			n++
		}
		return n, nil
	}
	return 1, nil
}

// isWord reports whether a byte is one of a name or a number.
func isWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c >= 0x80
}

func (d *dialect) isDashComment(text string) bool {
	return !d.backslash || len(text) == 2 || strings.IndexByte(" \t\r\n\f\v", text[2]) >= 0
}

// isEscapeText reports whether a text begins with E'...'.
func (d *dialect) isEscapeText(text string) bool {
	return d.dollar && len(text) > 1 && (text[0] == 'E' || text[0] == 'e') && text[1] == '\''
}

// comment is the length of a /* comment */.
func (d *dialect) comment(text string) (int, error) {
	for depth, i := 0, 0; i+1 < len(text); i++ {
		switch text[i : i+2] {
		case "/*":
			if d.dollar || depth == 0 {
				depth++
				i++
			}
		case "*/":
			if depth--; depth == 0 {
				return i + 2, nil
			}
			i++
		}
	}
	return 0, unclosed(text)
}

// quoted is the length of a text in quotes.
func quoted(text string, backslash bool) (int, error) {
	for i := 1; i < len(text); i++ {
		switch {
		case backslash && text[i] == '\\':
			i++
		case text[i] == text[0]:
			if i+1 == len(text) || text[i+1] != text[0] {
				return i + 1, nil
			}
			i++
		}
	}
	return 0, unclosed(text)
}

// dollarQuoted is the length of $tag$text$tag$, or 1 when text begins in
// another way.
func dollarQuoted(text string) (int, error) {
	n := 1
	for n < len(text) && isWord(text[n]) && (n > 1 || text[n] < '0' || text[n] > '9') {
		n++
	}
	if n == len(text) || text[n] != '$' {
		return 1, nil
	}
	tag := text[:n+1]
	end := strings.Index(text[n+1:], tag)
	if end < 0 {
		return 0, unclosed(text)
	}
	return n + 1 + end + len(tag), nil
}

func unclosed(text string) error {
	return fmt.Errorf("%w: %s", errUnclosedQuote, text[:min(20, len(text))])
}

// content is what a quoted text says, and whether it is one: not a quoted name.
func (d *dialect) content(part string) (text string, isText bool) {
	isText = strings.IndexByte(d.texts, part[0]) >= 0
	switch {
	case part[0] == '$':
		n := strings.IndexByte(part[1:], '$') + 2
		return part[n : len(part)-n], true
	case d.isEscapeText(part):
		return unescape(part[2:len(part)-1], '\'', true), true
	default:
		return unescape(part[1:len(part)-1], part[0], d.backslash), isText
	}
}

// escapes are the letters that mean something else behind a backslash.
var escapes = strings.NewReplacer("0", "\x00", "b", "\b", "n", "\n", "r", "\r", "t", "\t", "Z", "\x1a")

// unescape takes the doubled quotes and the backslashes out of a text. \% and
// \_ keep theirs: they are for LIKE.
func unescape(text string, quote byte, backslash bool) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == quote:
			i++
			b.WriteByte(quote)
		case c == '\\' && backslash && i+1 < len(text):
			i++
			if next := text[i]; next == '%' || next == '_' {
				b.WriteByte('\\')
				i-- // the letter itself comes next
			} else {
				b.WriteString(escapes.Replace(text[i : i+1]))
			}
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
