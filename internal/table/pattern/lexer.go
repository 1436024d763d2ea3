package pattern

import "strings"

type tokenKind uint8

const (
	tokEnd tokenKind = iota
	tokLiteral
	tokAny
	tokSet
	tokOpen
	tokClose
	tokAlternative
	tokRepeat
	tokBackReference
	tokLineStart
	tokLineEnd
	tokTextStart
	tokTextEnd
	tokBoundary
	tokNoBoundary
	tokWordStart
	tokWordEnd
)

// token is one element of a POSIX regular expression.
type token struct {
	kind     tokenKind
	char     byte     // the literal; digit of a back-reference; * + ? or { of a repetition
	min, max int      // of an interval; max -1: no upper bound
	set      *byteSet // before folding and negation
	negated  bool
}

// lexer cuts a POSIX regular expression into tokens. Basic and extended syntax
// differ only here: in which of the two a backslash makes an operator.
type lexer struct {
	src     string
	pos     int
	basic   bool
	fold    bool
	atStart bool // the beginning of a branch came just before
}

func (l *lexer) next() (token, error) {
	if l.pos == len(l.src) {
		return token{kind: tokEnd}, nil
	}
	atStart := l.atStart
	l.atStart = false
	c := l.src[l.pos]
	l.pos++
	switch c {
	case '\\':
		return l.escape()
	case '[':
		return l.bracket()
	case '.':
		return token{kind: tokAny}, nil
	case '*':
		return token{kind: tokRepeat, char: c}, nil
	case '^':
		if l.basic && !atStart {
			break
		}
		return token{kind: tokLineStart}, nil
	case '$':
		if l.basic && !l.atBranchEnd() {
			break
		}
		return token{kind: tokLineEnd}, nil
	case '(', ')', '|', '+', '?', '{':
		if !l.basic {
			return l.operator(c)
		}
	}
	return token{kind: tokLiteral, char: c}, nil
}

// operator is a character that extended syntax writes bare and basic syntax
// behind a backslash.
func (l *lexer) operator(c byte) (token, error) {
	switch c {
	case '(':
		l.atStart = true
		return token{kind: tokOpen}, nil
	case ')':
		return token{kind: tokClose}, nil
	case '|':
		l.atStart = true
		return token{kind: tokAlternative}, nil
	case '{':
		return l.interval()
	default:
		return token{kind: tokRepeat, char: c}, nil
	}
}

// atBranchEnd reports whether a basic '$' at this place is an anchor.
func (l *lexer) atBranchEnd() bool {
	rest := l.src[l.pos:]
	return rest == "" || strings.HasPrefix(rest, `\)`) || strings.HasPrefix(rest, `\|`)
}

func (l *lexer) escape() (token, error) {
	if l.pos == len(l.src) {
		return token{}, errTrailingBackslash
	}
	c := l.src[l.pos]
	l.pos++
	switch c {
	case '(', ')', '|', '+', '?', '{':
		if l.basic {
			return l.operator(c)
		}
	case '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return token{kind: tokBackReference, char: c}, nil
	case 'w', 'W':
		set := new(byteSet)
		set.addClass("alnum")
		set['_'] = true
		return token{kind: tokSet, set: set, negated: c == 'W'}, nil
	case 's', 'S':
		set := new(byteSet)
		set.addClass("space")
		return token{kind: tokSet, set: set, negated: c == 'S'}, nil
	}
	if i := strings.IndexByte("`'bB<>", c); i >= 0 {
		kinds := [...]tokenKind{tokTextStart, tokTextEnd, tokBoundary, tokNoBoundary, tokWordStart, tokWordEnd}
		return token{kind: kinds[i]}, nil
	}
	if l.fold && 'a' <= c && c <= 'z' {
		// The C library turns all letters into capitals, but not those behind
		// a backslash: such a letter matches nothing.
		return token{kind: tokSet, set: new(byteSet)}, nil
	}
	return token{kind: tokLiteral, char: c}, nil
}

// interval reads "n}", "n,}", "n,m}" or ",m}" behind the opening brace.
func (l *lexer) interval() (token, error) {
	tok := token{kind: tokRepeat, char: '{', max: -1}
	low, hasLow := l.number()
	tok.min = low
	switch {
	case l.comma():
		if high, ok := l.number(); ok {
			tok.max = high
		}
	case hasLow:
		tok.max = low
	case l.pos == len(l.src):
		return token{}, errUnmatchedBrace
	default:
		return token{}, errBadBrace
	}
	end := "}"
	if l.basic {
		end = `\}`
	}
	switch {
	case l.pos == len(l.src):
		return token{}, errUnmatchedBrace
	case !strings.HasPrefix(l.src[l.pos:], end) || tok.max >= 0 && tok.max < tok.min:
		return token{}, errBadBrace
	case tok.min > maxRepeat || tok.max > maxRepeat:
		return token{}, errTooBig
	}
	l.pos += len(end)
	return tok, nil
}

// comma reads a comma; one behind a backslash (it delimits the pattern) counts.
func (l *lexer) comma() bool {
	rest := strings.TrimPrefix(l.src[l.pos:], `\`)
	if !strings.HasPrefix(rest, ",") {
		return false
	}
	l.pos = len(l.src) - len(rest) + 1
	return true
}

// number reads decimal digits; a number beyond maxRepeat stays just beyond it.
func (l *lexer) number() (n int, ok bool) {
	for ; l.pos < len(l.src) && '0' <= l.src[l.pos] && l.src[l.pos] <= '9'; l.pos++ {
		n = min(n*10+int(l.src[l.pos]-'0'), maxRepeat+1)
		ok = true
	}
	return n, ok
}
