package table

import (
	"context"
	"fmt"
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

// Lookup does not find a key that is not UTF-8. A value that is not is an error
// of the configuration.
func (t *utf8Table) Lookup(ctx context.Context, key string) (Result, error) {
	if !utf8.ValidString(key) {
		t.warn("%s: non-UTF-8 key %q: malformed UTF-8 or invalid codepoint", t.Name(), key)
		return Result{}, ErrNotFound
	}
	r, err := t.Table.Lookup(ctx, key)
	if err == nil && !utf8.ValidString(r.Value) {
		e := &Error{Table: t.Name(), Key: key, Config: true}
		if len(r.At) > 0 {
			e.At = r.At[0]
		}
		e.Err = fmt.Errorf("non-UTF-8 value %q: malformed UTF-8 or invalid codepoint", r.Value)
		return Result{}, e
	}
	return r, err
}
