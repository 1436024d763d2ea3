package pattern

import (
	"errors"
	"fmt"
	"regexp"
)

// syntaxOptions choose the dialect of a POSIX regular expression: the flags
// behind its closing delimiter.
type syntaxOptions struct {
	basic   bool // basic instead of extended syntax
	fold    bool // letters match in either case
	newline bool // '.' and negated brackets spare newlines, '^' and '$' match at them
	pcre    bool // the translation is for PCRE2, not for the Go engine
}

// expression is a POSIX regular expression in the notation that the Go engine
// and PCRE2 share, but for marks.
type expression struct {
	text   string
	groups int
	// marked says that text has marks in it: see longest.
	marked bool
}

// The reasons for which an expression is refused: those of regcomp(3).
var (
	errUnmatchedParen    = errors.New(`unmatched ( or \(`)
	errUnmatchedClose    = errors.New(`unmatched ) or \)`)
	errUnmatchedBracket  = errors.New(`unmatched [, [^, [:, [., or [=`)
	errUnmatchedBrace    = errors.New(`unmatched { or \{`)
	errBadBrace          = errors.New(`invalid content of {} or \{\}`)
	errBadRepeat         = errors.New(`nothing in front of a repetition`)
	errBadRange          = errors.New(`invalid range end`)
	errBadBackReference  = errors.New(`invalid back-reference`)
	errTrailingBackslash = errors.New(`trailing backslash`)
	errBadClass          = errors.New(`invalid character class name`)
	errBadCollation      = errors.New(`invalid collation character`)
	errTooBig            = errors.New(`repetition count too big`)
	errTooDeep           = errors.New(`too many nested groups or repetitions`)
)

const (
	maxRepeat = 32767 // RE_DUP_MAX of the C library
	maxNested = 250   // the Go engine allows 1000 levels, PCRE2 250
)

// translate rewrites a POSIX regular expression, as the GNU C library reads
// it, in Perl's notation.
//
// The expression is a string of bytes, and so is what it is matched against:
// each byte stands for the character of the same number, and only ASCII
// letters have case. `\<` `\>` `\b` `\B` `\w` `\W` `\s` `\S` “\`” `\'` and
// back-references have their GNU meaning; a backslash before any other
// character takes its special meaning away, so `\d` is the letter d; inside
// brackets it is itself.
func translate(pattern string, opt syntaxOptions) (expression, error) {
	t := translator{lexer: lexer{src: pattern, basic: opt.basic, fold: opt.fold, atStart: true}, opt: opt, atom: -1}
	for {
		tok, err := t.next()
		if err != nil {
			return expression{}, err
		}
		if tok.kind == tokEnd {
			break
		}
		if err := t.emit(tok); err != nil {
			return expression{}, err
		}
	}
	if len(t.open) > 0 {
		return expression{}, errUnmatchedParen
	}
	return expression{text: string(t.out), groups: t.groups, marked: t.marked}, nil
}

// translator writes the translation. It keeps in mind where the last atom of
// the output starts, for that is what a repetition applies to.
type translator struct {
	lexer
	opt    syntaxOptions
	out    []byte
	atom   int         // offset in out of the atom a repetition would apply to; -1: none
	repeat int         // how many repetitions that atom has already
	open   []openGroup // groups that are not closed yet
	groups int
	closed groupSet // groups that a back-reference may name
	branch branches // of the expression outside of all groups
	marked bool
}

type openGroup struct {
	number, offset int
	branch         branches
}

// groupSet is a set of the groups from 1 to 9.
type groupSet uint16

func (s groupSet) has(n int) bool { return s&(1<<n) != 0 }

// branches keeps in mind, while the branches of an alternation are read, which
// groups were complete before it (a branch cannot refer to groups of another
// one) and which are so after its earlier branches.
type branches struct{ before, after groupSet }

// alternation is the one that is being read.
func (t *translator) alternation() *branches {
	if len(t.open) > 0 {
		return &t.open[len(t.open)-1].branch
	}
	return &t.branch
}

func (t *translator) emit(tok token) error {
	switch tok.kind {
	case tokOpen:
		if len(t.open) == maxNested {
			return errTooDeep
		}
		t.groups++
		t.open = append(t.open, openGroup{t.groups, len(t.out), branches{before: t.closed}})
		t.out = append(t.out, '(')
		t.atom = -1
	case tokClose:
		return t.closeGroup()
	case tokAlternative:
		t.out = append(t.out, '|')
		t.atom = -1
		a := t.alternation()
		a.after |= t.closed
		t.closed = a.before
	case tokRepeat:
		return t.repetition(tok)
	case tokAny:
		t.startAtom()
		if t.opt.newline {
			t.out = append(t.out, `[^\n]`...)
		} else {
			t.out = append(t.out, `(?s:.)`...)
		}
	case tokSet:
		t.startAtom()
		t.set(tok)
	case tokLiteral:
		t.startAtom()
		t.literal(tok.char)
	case tokBackReference:
		n := int(tok.char - '0')
		if !t.closed.has(n) {
			return errBadBackReference
		}
		t.startAtom()
		t.mark(firstMark+n, fmt.Sprintf(`\g{%d}`, n))
	default:
		t.assertion(tok.kind)
	}
	return nil
}

func (t *translator) startAtom() {
	t.atom, t.repeat = len(t.out), 0
}

// closeGroup ends a group. The C library takes an extended ')' that closes
// nothing for a plain character.
func (t *translator) closeGroup() error {
	if len(t.open) == 0 {
		if t.opt.basic {
			return errUnmatchedClose
		}
		t.startAtom()
		t.literal(')')
		return nil
	}
	g := t.open[len(t.open)-1]
	t.open = t.open[:len(t.open)-1]
	t.out = append(t.out, ')')
	t.atom, t.repeat = g.offset, 0
	t.closed |= g.branch.after
	if g.number <= 9 {
		t.closed |= 1 << g.number
	}
	return nil
}

// repetition applies *, +, ? or an interval to the last atom. A second one
// gets a group around the first, or Perl would take it for a modifier.
func (t *translator) repetition(tok token) error {
	if t.atom < 0 {
		if !t.opt.basic || tok.char == '{' {
			return errBadRepeat
		}
		t.startAtom()
		t.literal(tok.char)
		return nil
	}
	// The C library allows no second '*' or interval in basic syntax.
	if t.opt.basic && t.repeat > 0 && (tok.char == '*' || tok.char == '{') {
		return errBadRepeat
	}
	if t.repeat++; t.repeat > maxNested {
		return errTooDeep
	}
	if t.repeat > 1 {
		inner := string(t.out[t.atom:])
		t.out = append(append(append(t.out[:t.atom], "(?:"...), inner...), ')')
	}
	if tok.char != '{' {
		t.out = append(t.out, tok.char)
		return nil
	}
	switch {
	case tok.max < 0:
		t.out = fmt.Appendf(t.out, "{%d,}", tok.min)
	case tok.max == tok.min:
		t.out = fmt.Appendf(t.out, "{%d}", tok.min)
	default:
		t.out = fmt.Appendf(t.out, "{%d,%d}", tok.min, tok.max)
	}
	return nil
}

// assertion writes what matches between characters. Nothing can be repeated
// after it.
func (t *translator) assertion(kind tokenKind) {
	t.atom = -1
	switch kind {
	case tokLineStart:
		if t.opt.newline {
			t.out = append(t.out, `(?m:^)`...)
			return
		}
		t.out = append(t.out, `\A`...)
	case tokLineEnd:
		if t.opt.newline {
			t.out = append(t.out, `(?m:$)`...)
			return
		}
		t.out = append(t.out, `\z`...)
	case tokTextStart:
		t.out = append(t.out, `\A`...)
	case tokTextEnd:
		t.out = append(t.out, `\z`...)
	case tokBoundary:
		t.out = append(t.out, `\b`...)
	case tokNoBoundary:
		t.out = append(t.out, `\B`...)
	case tokWordStart:
		t.mark(wordStartMark, `\b(?=\w)`)
	case tokWordEnd:
		t.mark(wordEndMark, `\b(?<=\w)`)
	}
}

// mark writes what the Go engine cannot say: a character that stands for it, or
// for PCRE2 its notation. The repetition keeps the parser of the Go engine from
// making a set of the character and others.
func (t *translator) mark(mark int, pcre string) {
	t.marked = true
	if t.opt.pcre {
		t.out = append(t.out, pcre...)
		return
	}
	t.out = fmt.Appendf(t.out, `(?:\x{%x}{1})`, mark)
}

func (t *translator) literal(c byte) {
	switch {
	case t.opt.fold && isLetter(c):
		t.out = append(t.out, '[', c|0x20, c&^0x20, ']')
	case ' ' <= c && c < 0x7f:
		t.out = append(t.out, regexp.QuoteMeta(string(rune(c)))...)
	default:
		t.out = fmt.Appendf(t.out, `\x{%02x}`, c)
	}
}

func (t *translator) set(tok token) {
	s := tok.set
	if t.opt.fold {
		s.fold()
	}
	if tok.negated {
		s.negate()
		if t.opt.newline {
			s['\n'] = false
		}
	}
	t.out = s.appendTo(t.out)
}

func isLetter(c byte) bool {
	c |= 0x20
	return 'a' <= c && c <= 'z'
}

// byteSet is a set of bytes: what a bracket expression matches.
type byteSet [256]bool

// fold makes small letters members where their capitals are.
func (s *byteSet) fold() {
	for c := byte('a'); c <= 'z'; c++ {
		s[c] = s[c&^0x20]
	}
}

func (s *byteSet) negate() {
	for i := range s {
		s[i] = !s[i]
	}
}

// appendTo writes the set as a class of ranges. The empty set matches nothing.
func (s *byteSet) appendTo(out []byte) []byte {
	start := len(out)
	out = append(out, '[')
	for lo := 0; lo < len(s); lo++ {
		if !s[lo] {
			continue
		}
		hi := lo
		for hi+1 < len(s) && s[hi+1] {
			hi++
		}
		out = fmt.Appendf(out, `\x{%02x}`, lo)
		if hi > lo {
			out = fmt.Appendf(out, `-\x{%02x}`, hi)
		}
		lo = hi
	}
	if len(out) == start+1 {
		return append(out[:start], `[^\x{00}-\x{ff}]`...)
	}
	return append(out, ']')
}
