package compose

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"postern/internal/origin"
	"postern/internal/syntax"
	"postern/internal/table"
)

// Inline is the constructor of inline:.
func Inline(_ context.Context, o *table.Opener, name string, use table.Use) (table.Table, error) {
	t := &inline{
		head:   head{name: "inline:" + name, traits: table.Traits{InPlace: true}},
		fold:   folder(o, use),
		values: make(map[string]string),
		at:     places(use.At),
	}
	inner, ok := syntax.Unbrace(name)
	if !ok || len(name) == len("{}") {
		return nil, badSyntax("inline", name, "name=value")
	}
	items := syntax.Split(inner, syntax.Separators)
	err := errEmpty
	for _, item := range items {
		var key, value string
		if key, value, err = row(item); err != nil {
			break
		}
		t.put(key, value)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: \"inline:%s\"; need \"inline:{name=value...}\"", err, name)
	}
	return t, nil
}

var (
	errEmpty = errors.New("empty table")
	errNoKey = errors.New("no key found; expected format: key = value")
	errQuote = errors.New(`unbalanced '"'`)
)

// row cuts one item: "key=value", or "{ key = value }".
func row(item string) (key, value string, err error) {
	if strings.HasPrefix(item, "{") {
		if item, err = syntax.Braced(item); err != nil {
			return "", "", err
		}
	}
	return assignment(item)
}

// assignment cuts "key = value". The key ends at the first white space or '='
// that is neither between double quotes nor behind a backslash; those stay part
// of it.
func assignment(text string) (key, value string, err error) {
	if text = strings.Trim(text, syntax.Blank); text == "" {
		return "", "", errNoKey
	}
	quoted, end := false, 0
	for ; end < len(text); end++ {
		c := text[end]
		if c == '\\' {
			end++
		} else if c == '"' {
			quoted = !quoted
		} else if !quoted && strings.IndexByte("="+syntax.Blank, c) >= 0 {
			break
		}
	}
	if quoted {
		return "", "", errQuote
	}
	end = min(end, len(text))
	value, ok := strings.CutPrefix(strings.TrimLeft(text[end:], syntax.Blank), "=")
	if !ok {
		return "", "", syntax.ErrNoEquals
	}
	return text[:end], strings.TrimLeft(value, syntax.Blank), nil
}

type inline struct {
	head
	fold   func(key string) string
	keys   []string // in the order of writing
	values map[string]string
	at     []origin.At
}

var (
	_ table.Table      = (*inline)(nil)
	_ table.Enumerable = (*inline)(nil)
)

func (t *inline) put(key, value string) {
	key = t.fold(key)
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
	key = t.fold(key)
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
		var place table.Places
		if len(t.at) > 0 {
			place = table.Place(t.at[0])
		}
		for _, key := range t.keys {
			if !yield(table.Entry{Key: key, Value: t.values[key], Places: place}, nil) {
				return
			}
		}
	}
}
