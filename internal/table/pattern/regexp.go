package pattern

import (
	"context"
	"errors"
	"regexp"
	"regexp/syntax"

	"go.elara.ws/pcre/lib"

	"postern/internal/table"
)

// Regexp opens a regexp: table (regexp_table(5)). name is a file, or rules
// written in braces: "{{/pattern/ result}, ...}". A file that cannot be read
// and an inline text that cannot be cut into rules are errors; a rule that
// cannot be used is left out with a warning that names its line.
func Regexp(ctx context.Context, o *table.Opener, name string, use table.Use) (table.Table, error) {
	return open(ctx, o, textDialect("regexp", compileRegexp, true, ""), name, use)
}

// compileRegexp makes a matcher of a POSIX pattern: one of the linear engine
// where it can do it, else one of longest; one of PCRE2 when those find its
// repetitions too many.
func compileRegexp(source, flags string) (matcher, int, error) {
	opt := syntaxOptions{fold: true}
	extended := true
	err := toggle(flags, map[byte]*bool{'i': &opt.fold, 'm': &opt.newline, 'x': &extended})
	if err != nil {
		return nil, 0, err
	}
	opt.basic = !extended
	expr, err := translate(source, opt)
	if err != nil {
		return nil, 0, err
	}
	var m matcher
	if expr.marked {
		m, err = newLongest(expr, opt.fold)
	} else {
		m, err = newLinear(expr.text)
	}
	if err == nil {
		return screen(m, expr.text, syntax.Perl), expr.groups, nil
	}
	if !tooBig(err) {
		return nil, 0, err
	}
	opt.pcre = true
	if expr, err = translate(source, opt); err != nil {
		return nil, 0, err
	}
	var options uint32
	if opt.fold {
		options |= lib.DPCRE2_CASELESS // for back-references
	}
	m, err = newBacktracking(expr.text, options)
	return m, expr.groups, err
}

// tooBig reports whether the linear engine refused a pattern because its
// repetitions make it too large; PCRE2 bears more of them.
func tooBig(err error) bool {
	var e *syntax.Error
	return errors.As(err, &e) && (e.Code == syntax.ErrInvalidRepeatSize || e.Code == syntax.ErrLarge)
}

// linear is a pattern run by the Go engine, whose time is linear in the length
// of the key. Keys reach it with each byte as one character.
type linear struct {
	re *regexp.Regexp
}

func newLinear(text string) (matcher, error) {
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, err
	}
	re.Longest() // POSIX: the leftmost match, and of those the longest
	return &linear{re}, nil
}

func (l *linear) match(s *subject, wantGroups bool) ([]string, bool, error) {
	if !wantGroups {
		return nil, l.re.MatchString(s.latin1), nil
	}
	groups := l.re.FindStringSubmatch(s.latin1)
	if groups != nil && len(s.latin1) != len(s.key) {
		for i, g := range groups {
			groups[i] = narrow(g)
		}
	}
	return groups, groups != nil, nil
}
