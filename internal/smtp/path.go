package smtp

import (
	"errors"
	"fmt"
	"strings"

	"postern/internal/address"
)

// Errors of ParsePath.
var (
	// ErrNoPath: the argument does not start with the keyword, or nothing
	// follows it (501 5.5.4 Syntax: MAIL FROM:<address>).
	ErrNoPath = errors.New("no path")
	// ErrBadPath: what follows is not one address (501 5.1.7, 501 5.1.3).
	ErrBadPath = errors.New("bad address syntax")
)

// Path is the address argument of MAIL or RCPT.
type Path struct {
	Address address.Address // the null address for <>
	Given   string          // as it came, with its brackets, for replies and logs
}

// ParsePath reads the argument of MAIL (keyword "FROM:") or RCPT ("TO:"): the
// keyword, the path, and what follows it, the ESMTP parameters.
//
// In the way of Postfix it takes more than RFC 5321, 4.1.1.2 has, unless strict
// is set (postconf strict_rfc821_envelopes): blanks after the colon (always),
// an address without brackets, doubled brackets, a name or a comment that
// touches the brackets. A source route is dropped. The null path is an address
// like any other here.
//
// The error wraps ErrNoPath or ErrBadPath; with ErrBadPath, Path.Given is filled
// in for the log.
func ParsePath(keyword, args string, strict bool) (p Path, params string, err error) {
	if len(args) < len(keyword) || !strings.EqualFold(args[:len(keyword)], keyword) {
		return Path{}, "", ErrNoPath
	}
	rest := strings.TrimLeft(args[len(keyword):], blanks)
	if rest == "" {
		return Path{}, "", ErrNoPath
	}
	end := wordEnd(rest)
	p.Given, params = rest[:end], strings.Trim(rest[end:], blanks)
	inner, exact, ok := pathInside(p.Given)
	if !ok || strict && !exact {
		return p, params, ErrBadPath
	}
	if inner = strings.Trim(inner, blanks); inner == "" {
		return p, params, nil
	}
	if p.Address, err = address.Parse(inner); err != nil {
		return p, params, fmt.Errorf("%w: %w", ErrBadPath, err)
	}
	a := p.Address
	if severalAddresses(inner) || a.Domain == "" && strings.HasSuffix(a.Local, "@") ||
		strict && a.Local == "" && a.Domain != "" {
		return p, params, ErrBadPath
	}
	return p, params, nil
}

// severalAddresses reports whether s has, outside of quotes and comments and
// behind a source route, what separates addresses: a comma, a semicolon, or a
// blank between two words.
func severalAddresses(s string) bool {
	if s[0] == '@' {
		if i := strings.IndexByte(s, ':'); i >= 0 {
			s = s[i+1:]
		}
	}
	for i := 0; i < len(s); i = skip(s, i) {
		if strings.IndexByte(blanks+",;", s[i]) >= 0 {
			return true
		}
	}
	return false
}

// wordEnd finds the end of the first word of s. Blanks inside of quotes and
// brackets do not end it.
func wordEnd(s string) int {
	for i := 0; i < len(s); {
		if strings.IndexByte(blanks, s[i]) >= 0 {
			return i
		}
		i = skip(s, i)
	}
	return len(s)
}

// skip returns the index behind what starts at s[i]: a quoted pair, a quoted
// string, a text in brackets, or an octet. What is not closed runs to the end.
func skip(s string, i int) int {
	end, _ := skipClosed(s, i)
	return end
}

// skipClosed is skip that also tells whether the string or bracket was closed.
func skipClosed(s string, i int) (end int, closed bool) {
	switch s[i] {
	case '\\':
		return min(i+2, len(s)), true
	case '"':
		return skipTo(s, i+1, '"')
	case '<':
		return skipTo(s, i+1, '>')
	case '(':
		return skipTo(s, i+1, ')')
	}
	return i + 1, true
}

// skipTo returns the index behind the next octet end that is not quoted, and
// in brackets not inside of others.
func skipTo(s string, i int, end byte) (int, bool) {
	for i < len(s) {
		switch c := s[i]; {
		case c == end:
			return i + 1, true
		case c == '\\', end == '>' && (c == '"' || c == '<'), end == ')' && c == '(':
			i = skip(s, i)
		default:
			i++
		}
	}
	return len(s), false
}

// pathInside takes the brackets off a path. exact: there was a pair, or several
// around one another, and nothing outside. ok is false for brackets that are
// not closed and for text behind them.
func pathInside(word string) (inner string, exact, ok bool) {
	open := 0
	for open < len(word) && word[open] != '<' {
		open = skip(word, open)
	}
	if open == len(word) {
		return strings.TrimRight(word, ">"), false, true
	}
	end, closed := skipClosed(word, open)
	if !closed {
		return "", false, false
	}
	inner = word[open+1 : end-1]
	for strings.HasPrefix(inner, "<") {
		end, closed := skipClosed(inner, 0)
		if !closed || end < len(inner) {
			return "", false, false
		}
		inner = inner[1 : len(inner)-1]
	}
	tail := strings.TrimLeft(word[end:], ">")
	exact = open == 0 && tail == "" && !hasComment(inner)
	for tail != "" {
		if tail[0] != '(' {
			return "", false, false
		}
		tail = strings.TrimLeft(tail[skip(tail, 0):], ">")
	}
	return inner, exact, true
}

// hasComment reports whether s has a parenthesis that is not quoted.
func hasComment(s string) bool {
	for i := 0; i < len(s); i = skip(s, i) {
		if s[i] == '(' {
			return true
		}
	}
	return false
}
