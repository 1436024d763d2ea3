package address

import (
	"slices"
	"strings"
)

// A token is a piece of an address list (RFC 822, 3.3): a word, or an operator
// of one byte. Comments and the white space between tokens are not kept.
type token struct {
	op     byte   // 0: a word
	quoted bool   // the word stood in quotes
	text   string // as it counts: unquoted, a domain literal with its brackets
}

// operators end an atom. '%', '!' and '|' are among them so that words on both
// of their sides stay one address: "a!b c" is "a!b" and "c".
const operators = `%!|()<>@,;:\".[]`

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func isAtomEnd(c byte) bool { return isBlank(c) || strings.IndexByte(operators, c) >= 0 }

func isQuote(c byte) bool { return c == '"' }

func isBracket(c byte) bool { return c == ']' }

// scan cuts external text into tokens. open is the first byte of a quoted
// string, domain literal or comment that is never closed, or 0; what follows
// it is the text of that last token.
func scan(text string) (tokens []token, open byte) {
	for len(text) > 0 {
		c := text[0]
		var rest string
		closed := true
		switch {
		case isBlank(c):
			rest = text[1:]
		case c == '(':
			rest, closed = skipComment(text[1:])
		case c == '"':
			var word string
			word, rest, closed = collect(text[1:], isQuote)
			rest = strings.TrimPrefix(rest, `"`)
			tokens = append(tokens, token{quoted: true, text: word})
		case c == '[':
			var word string
			word, rest, closed = collect(text[1:], isBracket)
			rest = strings.TrimPrefix(rest, "]")
			tokens = append(tokens, token{text: "[" + word + "]"})
		case c != '\\' && strings.IndexByte(operators, c) >= 0:
			tokens = append(tokens, token{op: c, text: text[:1]})
			rest = text[1:]
		default:
			var word string
			word, rest, _ = collect(text, isAtomEnd)
			tokens = append(tokens, token{text: word})
		}
		if !closed {
			open = c
		}
		text = rest
	}
	return tokens, open
}

// collect reads a word up to the first byte for which end holds, which stays
// in rest; found is false when the text ends before. A backslash makes the
// next byte part of the word. White space in a word counts as a blank.
func collect(text string, end func(byte) bool) (word, rest string, found bool) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '\\' {
			if i++; i == len(text) {
				break
			}
			c = text[i]
		} else if end(c) {
			return b.String(), text[i:], true
		}
		if isBlank(c) {
			c = ' '
		}
		b.WriteByte(c)
	}
	return b.String(), "", false
}

// skipComment returns what follows a comment whose '(' is already read.
// Comments nest (RFC 5322, 3.2.2).
func skipComment(text string) (rest string, closed bool) {
	for i, depth := 0, 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return text[i+1:], true
			}
		}
	}
	return "", false
}

// group cuts the tokens of a list into addresses, in their order. It reads
// from right to left, for only a '>' says that the words in front of its '<'
// are a display name, and only a ';' that those in front of a ':' name a
// group. Two words that meet without an operator are two addresses.
func group(tokens []token) [][]token {
	var found [][]token // last address first
	right := len(tokens)
	take := func(from int) {
		if from < right {
			found = append(found, tokens[from:right])
		}
	}
	wordMayStand, inGroup := true, false
	for i := len(tokens) - 1; i >= 0; i-- {
		switch op := tokens[i].op; {
		case op == 0:
			if !wordMayStand {
				take(i + 1)
				right = i + 1
			}
			wordMayStand = false
			continue
		case op == ',':
			take(i + 1)
			right = i
		case op == ';':
			take(i + 1)
			right = i
			inGroup = true
		case op == ':' && inGroup:
			take(i + 1)
			i = lastOp(tokens[:i], ",")
			right = i
		case op == '>':
			take(i + 1)
			right = i
			open := lastOp(tokens[:i], "<")
			take(open + 1)
			right = lastOp(tokens[:max(open, 0)], ">;,:")
			i = right + 1 // that operator comes next
		}
		wordMayStand = true
	}
	take(0)
	slices.Reverse(found)
	return found
}

// lastOp is the index of the last token that is one of ops, or -1.
func lastOp(tokens []token, ops string) int {
	i := len(tokens) - 1
	for ; i >= 0; i-- {
		if tokens[i].op != 0 && strings.IndexByte(ops, tokens[i].op) >= 0 {
			break
		}
	}
	return i
}
