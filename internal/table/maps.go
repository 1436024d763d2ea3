package table

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// Step is one question to one table and its answer, for a trace.
type Step struct {
	Parameter string // main.cf parameter, as in Maps and List
	Table     string // type:name
	Key       string
	Result    Result
	Err       error // nil, ErrNotFound, or the failure
}

// Observer is told every step of a search. nil costs nothing.
type Observer func(Step)

// Maps is a list of tables that one parameter names (virtual_alias_maps). A nil
// Maps is an empty one.
type Maps struct {
	Parameter string
	Tables    []Table
}

// Found is the first answer of a Maps.
type Found struct {
	Result
	Table Table
	Key   Key // Key.Text is the form that was found
}

// Empty reports whether there is no table at all, which for recipient tables
// means that every recipient exists.
func (m *Maps) Empty() bool { return m == nil || len(m.Tables) == 0 }

// Find asks for the keys in turn, and for each key the tables in turn, and
// returns the first value. Answers of several tables are not merged.
//
// Partial keys are not offered to pattern tables, and empty keys to none.
// The first failure ends the search: a later table might know the key, but the
// failing one came first. Nothing found is ErrNotFound; any other error is an
// *Error, or what Key.Err said. A value that is empty is an error of the
// configuration.
func (m *Maps) Find(ctx context.Context, keys iter.Seq[Key], obs Observer) (Found, error) {
	if m.Empty() {
		return Found{}, ErrNotFound
	}
	s := search{m: m, ctx: ctx, obs: obs, err: ErrNotFound}
	keys(s.try)
	return s.found, s.err
}

// search is one search in a Maps. It is one allocation, where a loop over the keys
// would be one for each of its variables.
type search struct {
	m     *Maps
	ctx   context.Context
	obs   Observer
	found Found
	err   error
}

// try asks for a key, and reports whether to go on to the next one.
func (s *search) try(key Key) bool {
	if key.Err != nil {
		s.err = key.Err
		return false
	}
	s.found, s.err = s.m.find(s.ctx, key, s.obs)
	if errors.Is(s.err, ErrNotFound) && key.Alt != "" && key.Alt != key.Text {
		key.Text = key.Alt
		s.found, s.err = s.m.find(s.ctx, key, s.obs)
	}
	return errors.Is(s.err, ErrNotFound)
}

// find asks all tables for key.Text.
func (m *Maps) find(ctx context.Context, key Key, obs Observer) (Found, error) {
	if key.Text == "" {
		return Found{}, ErrNotFound
	}
	for _, t := range m.Tables {
		if key.Partial && t.Traits().Pattern {
			continue
		}
		result, err := ask(ctx, m.Parameter, t, key.Text, obs)
		switch {
		case errors.Is(err, ErrNotFound):
		case err != nil:
			return Found{}, err
		case result.Value == "":
			return Found{}, m.emptyResult(t, key.Text, result)
		default:
			return Found{result, t, key}, nil
		}
	}
	return Found{}, ErrNotFound
}

// emptyResult is the complaint about a table that says "" where it should say
// that it has no such key.
func (m *Maps) emptyResult(t Table, key string, r Result) error {
	e := &Error{Table: t.Name(), Key: key, Config: true}
	if len(r.At) > 0 {
		e.At = r.At[0]
	}
	e.Err = fmt.Errorf("%s lookup of %s returns an empty string result; %[1]s should return NO RESULT in case of NOT FOUND",
		m.Parameter, key)
	return e
}

// ask puts one question to one table. An error is ErrNotFound or an *Error.
func ask(ctx context.Context, parameter string, t Table, key string, obs Observer) (Result, error) {
	result, err := t.Lookup(ctx, key)
	if err != nil && !errors.Is(err, ErrNotFound) {
		var e *Error
		if !errors.As(err, &e) {
			err = &Error{Table: t.Name(), Key: key, Err: err}
		}
	}
	if obs != nil {
		obs(Step{parameter, t.Name(), key, result, err})
	}
	return result, err
}
