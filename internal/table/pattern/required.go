package pattern

import (
	"regexp/syntax"
	"strings"
)

// required is text that a key must have for a pattern to match: its pieces, one
// behind the other. Letters are small, whatever the pattern says of case. Without
// pieces nothing is known.
type required struct {
	start  bool // the key begins with the first piece
	pieces []string
}

// in reports whether a key, folded, may match.
func (r *required) in(folded string) bool {
	for i, piece := range r.pieces {
		if i == 0 && r.start {
			if !strings.HasPrefix(folded, piece) {
				return false
			}
			folded = folded[len(piece):]
			continue
		}
		at := strings.Index(folded, piece)
		if at < 0 {
			return false
		}
		folded = folded[at+len(piece):]
	}
	return true
}

// screened is a pattern whose engine is spared the keys that lack required text.
type screened struct {
	matcher
	required required
}

// screen puts the screen for an expression in the notation of the Go engine before a
// matcher of it. A pattern that this engine cannot read, or that wants no text, is
// left alone.
func screen(m matcher, expression string, flags syntax.Flags) matcher {
	tree, err := syntax.Parse(expression, flags)
	if err != nil {
		return m
	}
	var c collector
	c.read(tree)
	if len(c.found.pieces) == 0 {
		return m
	}
	return &screened{m, c.found}
}

func (s *screened) match(key *subject, wantGroups bool) ([]string, bool, error) {
	if !s.required.in(key.folded) {
		return nil, false, nil
	}
	return s.matcher.match(key, wantGroups)
}

// collector gathers the required text of an expression from its tree.
type collector struct {
	found    required
	anchored bool // "^" came first
	gap      bool // behind the last piece, or before the first, there may be other text
}

// read adds what a part of the expression takes at least once.
func (c *collector) read(re *syntax.Regexp) {
	switch re.Op {
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			c.char(r)
		}
	case syntax.OpCharClass:
		c.class(re.Rune)
	case syntax.OpConcat, syntax.OpCapture:
		for _, sub := range re.Sub {
			c.read(sub)
		}
	case syntax.OpPlus:
		c.read(re.Sub[0])
		c.gap = true
	case syntax.OpRepeat:
		if re.Min > 0 {
			c.read(re.Sub[0])
		}
		c.gap = true
	case syntax.OpBeginText:
		c.anchored = c.anchored || !c.gap && len(c.found.pieces) == 0
	case syntax.OpBeginLine, syntax.OpEndLine, syntax.OpEndText, syntax.OpWordBoundary, syntax.OpNoWordBoundary, syntax.OpEmptyMatch:
		// take nothing
	default:
		c.gap = true
	}
}

// class adds a set of characters when it is one letter in both cases: its ranges.
func (c *collector) class(ranges []rune) {
	if len(ranges) == 4 && ranges[0] == ranges[1] && ranges[2] == ranges[3] && ranges[2] == ranges[0]|0x20 &&
		'A' <= ranges[0] && ranges[0] <= 'Z' {
		c.char(ranges[2])
		return
	}
	c.gap = true
}

// char adds one character. Those beyond ASCII stand for bytes, or for something else:
// see longest.
func (c *collector) char(r rune) {
	if r >= 0x80 {
		c.gap = true
		return
	}
	if last := len(c.found.pieces) - 1; last < 0 || c.gap {
		c.found.start = c.found.start || last < 0 && c.anchored && !c.gap
		c.found.pieces = append(c.found.pieces, "")
	}
	c.gap = false
	c.found.pieces[len(c.found.pieces)-1] += fold(string(r))
}

// fold makes ASCII letters small.
func fold(text string) string {
	for i := 0; i < len(text); i++ {
		if 'A' <= text[i] && text[i] <= 'Z' {
			return foldAll(text)
		}
	}
	return text
}

func foldAll(text string) string {
	b := []byte(text)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
	return string(b)
}

// shared reports whether the Go engine, if it takes a pattern of PCRE2 at all, means
// by it the same. Where it does not: "\1" may be a back-reference or an octal number,
// "\v" is a set of PCRE2, text behind "\Q" is not looked at here, newer versions of
// PCRE2 repeat by "{,3}" and "{1, 3}", and bytes beyond ASCII are no characters.
func shared(source string) bool {
	for i := 0; i < len(source); i++ {
		switch c := source[i]; {
		case c >= 0x80:
			return false
		case c == '\\':
			if i++; i < len(source) && (source[i] >= 0x80 || strings.IndexByte("0123456789vQ", source[i]) >= 0) {
				return false
			}
		case c == '{' && !isCount(source[i+1:]):
			return false
		}
	}
	return true
}

// isCount reports whether "3}", "3,}" or "3,4}" comes next.
func isCount(text string) bool {
	counts, _, closed := strings.Cut(text, "}")
	low, high, _ := strings.Cut(counts, ",")
	return closed && low != "" && strings.Trim(low+high, "0123456789") == ""
}
