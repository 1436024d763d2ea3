package pattern

import "strings"

// bracket reads a bracket expression behind its '['. A backslash in it is an
// ordinary character; ']' is one in the first place and '-' in the first and
// the last.
func (l *lexer) bracket() (token, error) {
	tok := token{kind: tokSet, set: new(byteSet)}
	if strings.HasPrefix(l.src[l.pos:], "^") {
		tok.negated = true
		l.pos++
	}
	for first := true; ; first = false {
		if l.pos == len(l.src) {
			return token{}, errUnmatchedBracket
		}
		if l.src[l.pos] == ']' && !first {
			l.pos++
			return tok, nil
		}
		if err := l.bracketItem(tok.set, first); err != nil {
			return token{}, err
		}
	}
}

// bracketItem adds one character, range or class to the set.
func (l *lexer) bracketItem(set *byteSet, first bool) error {
	rest := l.src[l.pos:]
	if strings.HasPrefix(rest, "[:") {
		name, err := l.bracketName(':')
		if err != nil {
			return err
		}
		if l.fold && (name == "upper" || name == "lower") {
			name = "alpha"
		}
		if !set.addClass(name) {
			return errBadClass
		}
		return nil
	}
	if rest[0] == '-' && !first && !strings.HasPrefix(rest, "-]") {
		return errBadRange
	}
	class := strings.HasPrefix(rest, "[=") // no end of a range
	low, err := l.bracketChar()
	if err != nil {
		return err
	}
	high := low
	if rest = l.src[l.pos:]; !class && len(rest) > 1 && rest[0] == '-' && rest[1] != ']' {
		l.pos++
		if strings.HasPrefix(rest[1:], "[:") || strings.HasPrefix(rest[1:], "[=") {
			return errBadRange
		}
		if high, err = l.bracketChar(); err != nil {
			return err
		}
	}
	if high < low {
		return errBadRange
	}
	for c := int(low); c <= int(high); c++ {
		set[c] = true
	}
	return nil
}

// bracketChar reads one character, plain or as [.x.] or [=x=].
func (l *lexer) bracketChar() (byte, error) {
	rest := l.src[l.pos:]
	if strings.HasPrefix(rest, "[.") || strings.HasPrefix(rest, "[=") {
		name, err := l.bracketName(rest[1])
		if err != nil {
			return 0, err
		}
		if len(name) != 1 {
			return 0, errBadCollation
		}
		return l.upper(name[0]), nil
	}
	l.pos++
	return l.upper(rest[0]), nil
}

// upper is the capital of a letter when case does not matter: the C library
// compares capitals, so that [A-z] means [A-Z] then and [Z-a] is an error.
func (l *lexer) upper(c byte) byte {
	if l.fold && 'a' <= c && c <= 'z' {
		c -= 'a' - 'A'
	}
	return c
}

// bracketName reads the name in "[:name:]", "[.name.]" or "[=name=]".
func (l *lexer) bracketName(mark byte) (string, error) {
	rest := l.src[l.pos+2:]
	end := strings.Index(rest, string(mark)+"]")
	if end < 0 {
		return "", errUnmatchedBracket
	}
	l.pos += 2 + end + 2
	return rest[:end], nil
}

// addClass adds a POSIX character class of the C locale. It reports whether
// there is a class of that name.
func (s *byteSet) addClass(name string) bool {
	member, ok := characterClass(name)
	if !ok {
		return false
	}
	for c := byte(0); c < 0x80; c++ {
		if member(c) {
			s[c] = true
		}
	}
	return true
}

func characterClass(name string) (func(byte) bool, bool) {
	within := func(ranges string) func(byte) bool {
		return func(c byte) bool {
			for i := 0; i < len(ranges); i += 2 {
				if ranges[i] <= c && c <= ranges[i+1] {
					return true
				}
			}
			return false
		}
	}
	switch name {
	case "alpha":
		return within("azAZ"), true
	case "digit":
		return within("09"), true
	case "alnum":
		return within("azAZ09"), true
	case "upper":
		return within("AZ"), true
	case "lower":
		return within("az"), true
	case "space":
		return within("\t\r  "), true
	case "blank":
		return within("\t\t  "), true
	case "punct":
		return within("!/:@[`{~"), true
	case "print":
		return within(" ~"), true
	case "graph":
		return within("!~"), true
	case "cntrl":
		return within("\x00\x1f\x7f\x7f"), true
	case "xdigit":
		return within("09afAF"), true
	}
	return nil, false
}
