package pattern

import (
	"errors"
	"fmt"
	"strings"

	"postern/internal/origin"
	"postern/internal/syntax"
	"postern/internal/table/text"
)

// dialect is what distinguishes the table types from each other.
type dialect struct {
	family  string // the type name
	prepare func(key string) (subject, bool)
	// rule reads a line that is neither an endif nor an if into r; condition
	// reads what follows the word "if".
	rule      func(c *compiler, text string, r *rule) error
	condition func(c *compiler, text string, r *rule) error
	// cut parts the text of a rule that can be used into its patterns and its result.
	cut func(text string) (pattern, result string)
	// strictEndif makes an endif useless that has text behind it.
	strictEndif bool
	// finish looks at the complete program; nil: it is ready as it is.
	finish func(p *program)
}

// compiler turns the lines of one table into a program.
type compiler struct {
	dialect
	noSubstitution bool
	warn           func(line int, text string)
	rules          []rule
	open           []openIf // the ifs that have no endif yet
	line           int
	problems       []text.Problem
}

type openIf struct{ rule, line int }

// compile reads all lines. A line that cannot be used is left out with a
// warning; the others work.
func (c *compiler) compile(lines []sourceLine) *program {
	for _, l := range lines {
		c.line = l.Number
		if l.err != nil {
			c.warnf("%v", l.err)
			c.problem(text.Orphan, l.at, l.err)
		} else if err := c.compileLine(strings.Trim(l.Text, syntax.Blank), l.at); err != nil {
			c.warnf("%v: skipping this rule", err)
			if !errors.Is(err, errStrayEndif) { // nothing is lost by it
				c.problem(text.Unusable, l.at, err)
			}
		}
	}
	for _, o := range c.open {
		c.line = o.line
		c.warnf("IF has no matching ENDIF")
		c.rules[o.rule].end = len(c.rules)
	}
	p := &program{rules: c.rules, problems: c.problems}
	if c.finish != nil {
		c.finish(p)
	}
	return p
}

// problem keeps a line that is left out.
func (c *compiler) problem(kind text.Kind, at origin.At, err error) {
	c.problems = append(c.problems, text.Problem{Kind: kind, At: at, Text: err.Error() + text.Ignoring})
}

func (c *compiler) warnf(format string, args ...any) {
	c.warn(c.line, fmt.Sprintf(format, args...))
}

var (
	errStrayEndif = errors.New("ENDIF without IF")
	errEndifText  = errors.New("garbage after ENDIF")
)

func (c *compiler) compileLine(line string, at origin.At) error {
	r := rule{at: at, text: line}
	if rest, ok := cutWord(line, "endif"); ok {
		switch {
		case rest != "" && c.strictEndif:
			return errEndifText
		case len(c.open) == 0:
			return errStrayEndif
		case rest != "":
			c.warnf("ignoring extra text after ENDIF")
		}
		last := len(c.open) - 1
		c.rules[c.open[last].rule].end = len(c.rules)
		c.open = c.open[:last]
		return nil
	}
	if rest, ok := cutWord(line, "if"); ok {
		r.isIf = true
		if err := c.condition(c, rest, &r); err != nil {
			return err
		}
		c.open = append(c.open, openIf{len(c.rules), c.line})
		c.rules = append(c.rules, r)
		return nil
	}
	if err := c.rule(c, line, &r); err != nil {
		return err
	}
	c.rules = append(c.rules, r)
	return nil
}

// cutWord cuts a leading word, in any case, that is not the beginning of a
// longer one, and the white space behind it.
func cutWord(text, word string) (rest string, ok bool) {
	if len(text) < len(word) || !strings.EqualFold(text[:len(word)], word) {
		return "", false
	}
	rest = text[len(word):]
	if rest != "" && isAlnum(rest[0]) {
		return "", false
	}
	return strings.TrimLeft(rest, syntax.Blank), true
}

// cutNegation cuts leading exclamation marks; each one turns the meaning over.
func cutNegation(text string) (rest string, negated bool) {
	for {
		text = strings.TrimLeft(text, syntax.Blank)
		if !strings.HasPrefix(text, "!") {
			return text, negated
		}
		negated = !negated
		text = text[1:]
	}
}
