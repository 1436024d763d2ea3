package compose

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"postern/internal/address"
	"postern/internal/origin"
	"postern/internal/syntax"
	"postern/internal/table"
)

// Inline is the constructor of inline:.
func Inline(_ context.Context, _ *table.Opener, name string, use table.Use) (table.Table, error) {
	t := &inline{
		head:   head{name: "inline:" + name, traits: table.Traits{InPlace: true}},
		fold:   use.Fold,
		values: make(map[string]string),
		at:     places(use.At),
	}
	items, err := group("inline", name, "name=value")
	if err != nil {
		return nil, err
	}
	for _, item := range items {
		inner, _ := syntax.Unbrace(item)
		key, value, err := assignment(inner)
		if err != nil {
			return nil, fmt.Errorf("%w; need \"inline:{name=value...}\"", err)
		}
		t.put(key, value)
	}
	return t, nil
}

// assignment cuts "key = value" at the first '=' that is not between double
// quotes. The quotes stay part of the key.
func assignment(text string) (key, value string, err error) {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == '=' && !quoted:
			key = strings.TrimRight(text[:i], syntax.Blank)
			if key == "" {
				return "", "", fmt.Errorf("%w: %q", syntax.ErrNoName, text)
			}
			return key, strings.TrimLeft(text[i+1:], syntax.Blank), nil
		}
	}
	return "", "", fmt.Errorf("%w: %q", syntax.ErrNoEquals, text)
}

type inline struct {
	head
	fold   bool
	keys   []string // in the order of writing
	values map[string]string
	at     []origin.At
}

var (
	_ table.Table      = (*inline)(nil)
	_ table.Enumerable = (*inline)(nil)
)

func (t *inline) put(key, value string) {
	if t.fold {
		key = address.Fold(key)
	}
	if _, ok := t.values[key]; !ok {
		t.keys = append(t.keys, key)
	}
	t.values[key] = value
}

// Lookup returns the value of the last row with that key.
func (t *inline) Lookup(_ context.Context, key string) (table.Result, error) {
	if err := t.ready(key); err != nil {
		return table.Result{}, err
	}
	if t.fold {
		key = address.Fold(key)
	}
	value, ok := t.values[key]
	if !ok {
		return table.Result{}, table.ErrNotFound
	}
	return table.Result{Value: value, At: t.at}, nil
}

// All yields the rows in the order of writing.
func (t *inline) All(context.Context) iter.Seq2[table.Entry, error] {
	return func(yield func(table.Entry, error) bool) {
		if err := t.ready(""); err != nil {
			yield(table.Entry{}, err)
			return
		}
		var at origin.At
		if len(t.at) > 0 {
			at = t.at[0]
		}
		for _, key := range t.keys {
			if !yield(table.Entry{Key: key, Value: t.values[key], At: at}, nil) {
				return
			}
		}
	}
}
