package pattern

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"postern/internal/origin"
	"postern/internal/table"
	"postern/internal/table/text"
)

var errClosed = errors.New("table is closed")

// list is an open pattern table of any type.
type list struct {
	dialect
	opener *table.Opener
	name   string // behind "type:"
	path   string // "" when the rules are in the name
	use    table.Use
	file   *table.File[*program] // nil when the rules are in the name
	inline *program              // nil when they are in a file
	closed atomic.Bool
}

var (
	_ table.Table = (*list)(nil)
	_ table.Ruled = (*list)(nil)
)

func open(ctx context.Context, o *table.Opener, d dialect, name string, use table.Use) (table.Table, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l := &list{dialect: d, opener: o, name: name, use: use}
	if strings.HasPrefix(name, "{") {
		lines, err := inlineLines(name, use.At)
		if err != nil {
			return nil, fmt.Errorf("%s map: %w", d.family, err)
		}
		l.inline = l.compile(lines)
		return l, nil
	}
	l.path = o.Path(name)
	file, err := table.OpenFile(o, l.path, func(data []byte) (*program, error) {
		return l.compile(fileLines(l.path, data)), nil
	})
	if err != nil {
		return nil, err
	}
	l.file = file
	return l, nil
}

func (l *list) compile(lines []sourceLine) *program {
	c := compiler{dialect: l.dialect, noSubstitution: l.use.NoSubstitution, warn: l.warn}
	return c.compile(lines)
}

// warn says what is wrong with a line of the table.
func (l *list) warn(line int, what string) {
	source := l.path
	if source == "" {
		source = l.name
	}
	l.opener.Warn("%s map %s, line %d: %s", l.family, source, line, what)
}

func (l *list) Name() string { return l.family + ":" + l.name }

// Traits: the rules see the whole key; rules written in the name have the place
// of the parameter.
func (l *list) Traits() table.Traits { return table.Traits{Pattern: true, InPlace: l.file == nil} }

// Rules are the rules that can be used, with patterns and results as written, each
// with the conditions of the ifs that it stands in.
func (l *list) Rules() []table.Rule {
	p := l.program()
	rules := make([]table.Rule, 0, len(p.rules))
	var within []table.Condition
	var ends []int // of these ifs
	for i, r := range p.rules {
		for len(ends) > 0 && ends[len(ends)-1] <= i {
			ends = ends[:len(ends)-1]
			within = slices.Clip(within[:len(ends)])
		}
		if r.isIf {
			condition, _ := cutWord(r.text, "if")
			pattern, _ := l.cut(condition)
			within, ends = append(within, table.Condition{Pattern: pattern, At: r.at}), append(ends, r.end)
			continue
		}
		pattern, result := l.cut(r.text)
		rules = append(rules, table.Rule{Pattern: pattern, Result: result, Within: within, At: r.at})
	}
	return rules
}

// Problems are the lines that are left out, for those who look at the whole file.
func (l *list) Problems() []text.Problem { return l.program().problems }

// program is the one that answers now.
func (l *list) program() *program {
	if l.inline != nil {
		return l.inline
	}
	return l.file.Content()
}

func (l *list) Close() error {
	l.closed.Store(true)
	return nil
}

func (l *list) Lookup(ctx context.Context, key string) (table.Result, error) {
	if l.closed.Load() {
		return table.Result{}, l.failure(key, errClosed)
	}
	if err := ctx.Err(); err != nil {
		return table.Result{}, l.failure(key, err)
	}
	p := l.program()
	s, ok := l.prepare(key)
	if !ok {
		return table.Result{}, table.ErrNotFound
	}
	r, groups, err := p.find(&s)
	switch {
	case err != nil:
		return table.Result{}, l.failure(key, err)
	case r == nil:
		return table.Result{}, table.ErrNotFound
	}
	return table.Result{Value: r.result.expand(groups), At: []origin.At{r.at}}, nil
}

func (l *list) failure(key string, err error) error {
	e := &table.Error{Table: l.Name(), Key: key, At: l.use.At, Err: err}
	var r *ruleError
	if errors.As(err, &r) {
		e.At = r.at
	}
	return e
}
