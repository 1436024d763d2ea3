// Package compose holds the table types that are written in the configuration
// itself or made of other tables (DATABASE_README, postconf(5)):
//
//	inline:{ example.org=x, { info@example.org = john@example.org, jack } }
//	static:everyone/             every key has this value
//	static:{ two words }
//	fail:why                     every lookup fails
//	unionmap:{hash:/a, hash:/b}  all tables are asked; the answers are joined with ","
//	pipemap:{hash:/a, hash:/b}   the answer of one is the key of the next
//	randmap:{one, two, three}    one of the values, whatever the key
//	debug:hash:/a                hash:/a, and the log tells of each lookup
//	environ:x                    environment variables; x has no meaning
//	unix:passwd.byname           a system user, as its line of /etc/passwd
//	unix:group.byname            a system group, as its line of /etc/group
//
// Items stand between braces, separated by commas and white space; an item in
// braces of its own may hold both. In inline the key ends at the first white
// space or '=' outside double quotes; of two rows for one key the last one
// counts.
//
// unionmap and pipemap fail when a table that they ask fails. They take keys of
// the kind that their first table takes. A key that is not in every table of a
// pipemap is not found.
//
// The rows of a unionmap are those of its tables; the rows of a pipemap are those of
// its first table, with what the others make of them.
//
// The values of inline, static and randmap have the place of the parameter that
// names the table (Use.At). unix tables read the files directly: users of other
// name services are not seen.
//
// It imports address, origin, syntax and table.
package compose

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"postern/internal/origin"
	"postern/internal/syntax"
	"postern/internal/table"
)

var errClosed = errors.New("table is closed")

// head is what all these tables have in common.
type head struct {
	name   string // type:name
	traits table.Traits
	closed atomic.Bool
}

// Name is the table as configured.
func (h *head) Name() string { return h.name }

// Traits say how the table wants to be asked.
func (h *head) Traits() table.Traits { return h.traits }

// Close ends the table. Lookups after it fail.
func (h *head) Close() error {
	h.closed.Store(true)
	return nil
}

// fail is the answer to a key that cannot be looked up.
func (h *head) fail(key string, err error) error {
	return &table.Error{Table: h.name, Key: key, Err: err}
}

// ready returns an error when the table is closed.
func (h *head) ready(key string) error {
	if h.closed.Load() {
		return h.fail(key, errClosed)
	}
	return nil
}

// places is where the values of a parameter stand, for Result.At.
func places(at origin.At) []origin.At {
	if at.IsZero() {
		return nil
	}
	return []origin.At{at}
}

// group returns the items of name, which must be one group in braces.
func group(typ, name, content string) ([]string, error) {
	inner, ok := syntax.Unbrace(name)
	items := syntax.Split(inner, syntax.Separators)
	if !ok || len(items) == 0 {
		return nil, badSyntax(typ, name, content)
	}
	return items, nil
}

func badSyntax(typ, name, content string) error {
	return fmt.Errorf("bad syntax: \"%s:%s\"; need \"%[1]s:{%[3]s...}\"", typ, name, content)
}

// Static is the constructor of static:.
func Static(_ context.Context, _ *table.Opener, name string, use table.Use) (table.Table, error) {
	value := name
	if strings.HasPrefix(name, "{") {
		inner, err := syntax.Braced(name)
		if err != nil {
			return nil, fmt.Errorf("bad static:name syntax: %w", err)
		}
		value = inner
	}
	t := &static{head: head{name: "static:" + name, traits: table.Traits{InPlace: true}}}
	t.result = table.Result{Value: value, At: places(use.At)}
	return t, nil
}

type static struct {
	head
	result table.Result
}

// Lookup finds every key.
func (t *static) Lookup(_ context.Context, key string) (table.Result, error) {
	if err := t.ready(key); err != nil {
		return table.Result{}, err
	}
	return t.result, nil
}

// Rules say that every key has this value.
func (t *static) Rules() []table.Rule { return everyKey(t.result.At, t.result.Value) }

// everyKey are rules for all keys.
func everyKey(places []origin.At, values ...string) []table.Rule {
	var at origin.At
	if len(places) > 0 {
		at = places[0]
	}
	rules := make([]table.Rule, len(values))
	for i, v := range values {
		rules[i] = table.Rule{Result: v, At: at}
	}
	return rules
}

// Fail is the constructor of fail:, a table that can be opened and answers
// nothing. What follows the colon is for the reader.
func Fail(_ context.Context, _ *table.Opener, name string, _ table.Use) (table.Table, error) {
	return &failing{head: head{name: "fail:" + name, traits: table.Traits{Pattern: true}}}, nil
}

type failing struct{ head }

var errFail = errors.New("tables of type fail always fail")

// Lookup fails.
func (t *failing) Lookup(_ context.Context, key string) (table.Result, error) {
	return table.Result{}, t.fail(key, errFail)
}

// Rand is the constructor of randmap:.
func Rand(_ context.Context, o *table.Opener, name string, use table.Use) (table.Table, error) {
	values, err := group("randmap", name, "value")
	if err != nil {
		return nil, err
	}
	t := &random{head: head{name: "randmap:" + name, traits: table.Traits{Pattern: true, InPlace: true}}}
	t.values, t.at, t.pick = values, places(use.At), o.Random
	return t, nil
}

type random struct {
	head
	values []string
	at     []origin.At
	pick   func(n int) int
}

// Lookup finds every key.
func (t *random) Lookup(_ context.Context, key string) (table.Result, error) {
	if err := t.ready(key); err != nil {
		return table.Result{}, err
	}
	return table.Result{Value: t.values[t.pick(len(t.values))], At: t.at}, nil
}

// Rules say that every key has one of these values.
func (t *random) Rules() []table.Rule { return everyKey(t.at, t.values...) }

// folder is what a table does with keys before it looks for them.
func folder(o *table.Opener, use table.Use) func(key string) string {
	if use.Fold {
		return o.Fold
	}
	return func(key string) string { return key }
}
