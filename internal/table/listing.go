package table

import (
	"context"
	"errors"
	"iter"

	"postern/internal/origin"
)

// Entry is one row of an enumerable table.
type Entry struct {
	Key, Value string // the key as stored: capitals, blanks and all, unless the table folds keys as it reads them
	Places     Places // says where it is written, for its number; nil: nobody knows
	Number     int
}

// At is where the row is written. It is made anew each time.
func (e Entry) At() origin.At {
	if e.Places == nil {
		return origin.At{}
	}
	return e.Places.At(e.Number)
}

// Places say where the rows of a table are written, by their numbers. Of many rows
// few are ever blamed.
type Places interface{ At(number int) origin.At }

// Place is the same for every number.
type Place origin.At

// At is the place.
func (p Place) At(int) origin.At { return origin.At(p) }

// ErrNotListed ends the rows of a table that cannot be listed, or not to the end:
// a query whose shape does not allow it, too many rows. The table works all the
// same.
var ErrNotListed = errors.New("the rows of this table cannot be listed")

// Enumerable is the optional power to list all rows.
type Enumerable interface {
	// All yields every row in storage order. An error ends the sequence:
	// ErrNotListed, or what a lookup would say. Several rows that one lookup
	// joins are entries of their own.
	All(ctx context.Context) iter.Seq2[Entry, error]
}

// Reason is why a row that exists is never the answer of a lookup.
type Reason uint8

// Reasons.
const (
	Excluded Reason = iota // another condition of the query leaves it out: active = 1
	NoResult               // its value is empty, or lacks a part that result_format wants
	NotAsked               // the table is never asked for its key: a domain list, a part of the key that is not there
)

// Hidden is a row that exists and that no lookup finds.
type Hidden struct {
	Entry
	Reason    Reason
	Condition string // of Excluded: the conditions of the query, as written
}

// Concealing is the optional power to list the rows that lookups do not find, for
// those who search for what was meant.
type Concealing interface {
	// Hidden yields them. An error ends the sequence, as with All.
	Hidden(ctx context.Context) iter.Seq2[Hidden, error]
}

// Rule is one rule of a table that has no rows: a pattern and its result as they
// are written. A table that answers every key alike has the pattern "".
type Rule struct {
	Pattern, Result string
	Within          []Condition // all of them must hold before the rule is tried; the outermost first
	At              origin.At
}

// Condition is what stands behind the "if" of rules between "if" and "endif".
type Condition struct {
	Pattern string
	At      origin.At
}

// Ruled is the power of pattern tables to show their rules.
type Ruled interface {
	// Rules are those that can be used, in their order.
	Rules() []Rule
}

// Finder finds the entries that have a key, without regard to case: the first, and how
// many there are.
type Finder func(key string) (first Entry, count int)

// Memorable is the optional power to answer from rows that were listed before.
type Memorable interface {
	// Remember returns a table that answers from all the rows that All yielded.
	// find returns the first of those whose key is this one without regard to
	// case, and how many there are. Where the rows do not say for sure what a
	// lookup would, the table asks other: the same table, opened for the use at
	// hand. ok is false when they never do.
	Remember(rows []Entry, find Finder, other Table) (m Memory, ok bool)
}

// Memory is a table that answers from rows that were listed before.
type Memory interface {
	Table
	// Brief is the same without the places of answers.
	Brief() Memory
}

// Wrapper is a table in front of another one.
type Wrapper interface{ Unwrap() Table }

// As finds an optional power of a table, or of one that it stands in front of.
func As[T any](t Table) (power T, ok bool) {
	for t != nil {
		if power, ok = t.(T); ok {
			return power, true
		}
		w, wraps := t.(Wrapper)
		if !wraps {
			break
		}
		t = w.Unwrap()
	}
	return power, false
}
