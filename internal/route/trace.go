package route

import (
	"encoding/json"
	"errors"

	"postern/internal/origin"
	"postern/internal/table"
)

// Trace records how a decision was made. Every method of Router takes one; nil
// records nothing and costs a branch. A Trace belongs to one goroutine.
type Trace struct {
	Steps []Step
	depth int
}

// Step is one step of a decision, in the JSON form of the explain command. Op
// is lookup, classify, rewrite, expand, transport or deliver.
type Step struct {
	Op        string      `json:"op"`
	Parameter string      `json:"parameter,omitempty"`
	Table     string      `json:"table,omitempty"`
	Key       string      `json:"key,omitempty"`
	Result    *string     `json:"result"` // nil: not found; of a failed lookup too, see Error
	Error     string      `json:"error,omitempty"`
	Query     string      `json:"query,omitempty"`
	At        *origin.At  `json:"at,omitempty"`
	Also      []origin.At `json:"also,omitempty"` // further rows of one answer
	Depth     int         `json:"depth,omitempty"`
}

// MarshalJSON leaves "result" out of a step that failed: null would mean that
// nothing was found.
func (s Step) MarshalJSON() ([]byte, error) {
	type plain Step
	if s.Error == "" {
		return json.Marshal(plain(s))
	}
	failed := struct {
		plain
		Result *string `json:"result,omitempty"`
	}{plain: plain(s)}
	return json.Marshal(failed)
}

// add records a step that has a result.
func (t *Trace) add(op, parameter, key, result string, at origin.At) {
	if t == nil {
		return
	}
	s := Step{Op: op, Parameter: parameter, Key: key, Result: &result, Depth: t.depth}
	if !at.IsZero() {
		s.At = &at
	}
	t.Steps = append(t.Steps, s)
}

// lookedUp records a question that no table answered; result nil: not found.
func (t *Trace) lookedUp(parameter, key string, result *string, at origin.At) {
	if t == nil {
		return
	}
	s := Step{Op: "lookup", Parameter: parameter, Key: key, Result: result, Depth: t.depth}
	if !at.IsZero() {
		s.At = &at
	}
	t.Steps = append(t.Steps, s)
}

// observer returns what a table or list calls at each lookup, nil without a
// trace.
func (t *Trace) observer() table.Observer {
	if t == nil {
		return nil
	}
	return func(l table.Step) {
		s := Step{Op: "lookup", Parameter: l.Parameter, Table: l.Table, Key: l.Key, Depth: t.depth}
		switch {
		case l.Err == nil:
			s.Result = &l.Result.Value
			if len(l.Result.At) > 0 {
				s.At, s.Also = &l.Result.At[0], l.Result.At[1:]
				s.Query = s.At.Query
			}
		case !errors.Is(l.Err, table.ErrNotFound):
			s.Error = l.Err.Error()
		}
		t.Steps = append(t.Steps, s)
	}
}

// deeper and higher move the nesting depth of the steps that follow.
func (t *Trace) deeper() {
	if t != nil {
		t.depth++
	}
}

func (t *Trace) higher() {
	if t != nil {
		t.depth--
	}
}

// Observer is what to hand to table searches that belong to this trace; nil
// without a trace.
func (t *Trace) Observer() table.Observer { return t.observer() }
