package cf

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"postern/internal/origin"
	"postern/internal/table"
)

// Names of the parameters that every type has.
const (
	ParamResult = "result_format"
	ParamDomain = "domain"
	ParamLimit  = "expansion_limit"
)

// Common is the part of a table that does not depend on the server behind it.
type Common struct {
	Table string // type:name
	Use   table.Use
	Limit int // expansion_limit, 0: none

	log         func(format string, args ...any)
	fold        func(key string) string
	result      Template
	keyNeeds    Needs // of the queries and result_format
	valueNeeds  Needs // of result_format
	domains     *table.List
	singleValue bool // several values are a failure
	empty       atomic.Int64
}

// EmptyAnswers is how many values were left out because they were empty.
func (c *Common) EmptyAnswers() int64 { return c.empty.Load() }

// NewCommon reads result_format, domain and expansion_limit.
func NewCommon(ctx context.Context, o *table.Opener, name string, s *Settings, use table.Use) (*Common, error) {
	c := &Common{Table: name, Use: use, log: o.Warn, fold: o.Fold, singleValue: use.SingleValue && o.SingleValueStrict}
	format, _, ok := s.Lookup(ParamResult)
	if !ok {
		format = "%s"
	}
	var err error
	if c.result, err = ParseTemplate(format); err != nil {
		return nil, s.Wrong(ParamResult, err)
	}
	c.result.KeyNeeds(&c.keyNeeds, true)
	c.valueNeeds = c.result.ValueNeeds()
	if c.Limit, err = s.Number(ParamLimit); err != nil {
		return nil, err
	}
	if value, at, ok := s.Lookup(ParamDomain); ok && value != "" {
		use := table.Use{Parameter: s.Prefix + ParamDomain, At: at, Fold: true}
		if c.domains, err = o.List(ctx, value, table.StringList, false, use); err != nil {
			o.Warn("%v", s.Wrong(ParamDomain, err))
		}
	}
	return c, nil
}

// Ask says that keys will be put into t, so that keys that do not fit it are
// not asked for.
func (c *Common) Ask(t Template) { t.KeyNeeds(&c.keyNeeds, false) }

// NeedsUser reports whether the answer depends on the user part of a key.
func (c *Common) NeedsUser() bool { return c.keyNeeds.User }

// Prepare cuts a key into the parts that the query wants, folded when Use.Fold
// says so. ok is false when the key cannot be in the table, so that the server
// need not be asked.
func (c *Common) Prepare(ctx context.Context, key string) (p Parts, ok bool, err error) {
	if c.Use.Fold {
		key = c.fold(key)
	}
	if key == "" {
		return p, false, nil
	}
	p, ok = CutParts(key, c.keyNeeds)
	if !ok || c.domains == nil {
		return p, ok, nil
	}
	if p.User == "" || p.Domain == "" {
		return p, false, nil
	}
	switch _, err = c.domains.Match(ctx, p.Domain, nil); {
	case err == nil:
		return p, true, nil
	case errors.Is(err, table.ErrNotFound):
		return p, false, nil
	}
	return p, false, err
}

// Failure is the error of a lookup: blamed on the line that err names, else on
// at, and Told when err or what it wraps is a ToldError.
func (c *Common) Failure(key string, at origin.At, err error) error {
	e := &table.Error{Table: c.Table, Key: key, At: at, Err: err}
	var placed *PlacedError
	if errors.As(err, &placed) {
		e.At = placed.At
	}
	var told *ToldError
	e.Told = errors.As(err, &told)
	return e
}

// ToldError is an error that the table logged when the trouble began.
type ToldError struct{ Err error }

func (e *ToldError) Error() string { return e.Err.Error() }

func (e *ToldError) Unwrap() error { return e.Err }

// OpenFailure is the error of a table that cannot be opened: blamed on the line
// of its file where err names one, else on the use.
func OpenFailure(name string, use table.Use, err error) *table.Error {
	e := &table.Error{Table: name, At: use.At, Err: err}
	var placed *PlacedError
	if errors.As(err, &placed) {
		e.At = placed.At
	}
	return e
}

// Collect begins the result for a key that Prepare let pass. query is the
// question as a person would write it, for messages and origins.
func (c *Common) Collect(key *Parts, query func() string) *Collector {
	return &Collector{common: c, key: key, query: query}
}

// Collector makes one result of the values that a server returned.
type Collector struct {
	common *Common
	key    *Parts
	pieces []string
	at     []origin.At
	query  func() string
	shown  string // what query returned
}

// Add takes one value and reports whether it is part of the result.
func (c *Collector) Add(text string) (bool, error) {
	if i := strings.IndexByte(text, 0); i >= 0 {
		text = text[:i] // a value ends there, as in C
	}
	if text == "" {
		c.common.empty.Add(1)
		c.common.log("table %q: empty lookup result for: %q -- ignored", c.common.Table, c.key.Whole)
		return false, nil
	}
	value, ok := CutParts(text, c.common.valueNeeds)
	if !ok {
		return false, nil
	}
	c.pieces = append(c.pieces, c.common.result.Expand(c.key, &value))
	if limit := c.common.Limit; limit > 0 && len(c.pieces) > limit {
		return false, fmt.Errorf("expansion limit exceeded for key %q: more than %d results", c.key.Whole, limit)
	}
	return true, nil
}

// From says which row gave the values that were added: its columns.
func (c *Collector) From(row map[string]string) {
	if c.shown == "" {
		c.shown = c.query()
	}
	c.at = append(c.at, origin.At{Table: c.common.Table, Key: c.key.Whole, Query: c.shown, Row: row})
}

// Finish joins what was collected. No value is table.ErrNotFound.
func (c *Collector) Finish() (table.Result, error) {
	switch {
	case len(c.pieces) == 0:
		return table.Result{}, table.ErrNotFound
	case len(c.pieces) == 1:
		return table.Result{Value: c.pieces[0], At: c.at}, nil
	case c.common.singleValue:
		return table.Result{}, fmt.Errorf("%d values where %s needs one: %s", len(c.pieces), c.needer(), c.query())
	}
	return table.Result{Value: strings.Join(c.pieces, ","), At: c.at}, nil
}

func (c *Collector) needer() string {
	if c.common.Use.Parameter == "" {
		return "the caller"
	}
	return c.common.Use.Parameter
}
