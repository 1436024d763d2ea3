package table

import (
	"context"
	"fmt"
	"slices"
	"unicode/utf8"
)

// utf8Table keeps text that is not UTF-8 away from a table, and what the table
// says from its caller (smtputf8_enable).
type utf8Table struct {
	Table
	warn func(format string, args ...any)
}

// utf8Rows is a utf8Table that can list its rows.
type utf8Rows struct {
	*utf8Table
	Enumerable
}

func checkUTF8(t Table, o *Opener) Table {
	checked := &utf8Table{t, o.Warn}
	if rows, ok := t.(Enumerable); ok {
		return &utf8Rows{checked, rows}
	}
	return checked
}

// Unwrap is the table that is checked.
func (t *utf8Table) Unwrap() Table { return t.Table }

// Lookup does not find a key that is not UTF-8. A value that is not is an error
// of the configuration.
func (t *utf8Table) Lookup(ctx context.Context, key string) (Result, error) {
	if !t.validKey(key) {
		return Result{}, ErrNotFound
	}
	r, err := t.Table.Lookup(ctx, key)
	return t.validValue(key, r, err)
}

// LookupMany is Lookup for many keys. Those that are not UTF-8 are asked as the
// empty key, which no table has.
func (t *utf8Table) LookupMany(ctx context.Context, keys []string, answers []Answer) {
	asked := keys
	for i, key := range keys {
		if !t.validKey(key) {
			if &asked[0] == &keys[0] {
				asked = slices.Clone(keys)
			}
			asked[i] = ""
		}
	}
	LookupMany(ctx, t.Table, asked, answers)
	for i := range answers {
		if asked[i] != keys[i] {
			answers[i] = Answer{Err: ErrNotFound}
			continue
		}
		answers[i].Result, answers[i].Err = t.validValue(keys[i], answers[i].Result, answers[i].Err)
	}
}

func (t *utf8Table) validKey(key string) bool {
	if utf8.ValidString(key) {
		return true
	}
	t.warn("%s: non-UTF-8 key %q: malformed UTF-8 or invalid codepoint", t.Name(), key)
	return false
}

// validValue passes on the answer of the table, unless it is not UTF-8.
func (t *utf8Table) validValue(key string, r Result, err error) (Result, error) {
	if err != nil || utf8.ValidString(r.Value) {
		return r, err
	}
	e := &Error{Table: t.Name(), Key: key, Config: true}
	if len(r.At) > 0 {
		e.At = r.At[0]
	}
	e.Err = fmt.Errorf("non-UTF-8 value %q: malformed UTF-8 or invalid codepoint", r.Value)
	return Result{}, e
}
