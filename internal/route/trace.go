package route

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"postern/internal/origin"
	"postern/internal/table"
)

// Trace records how a decision was made. Every method of Router takes one; nil
// records nothing and costs a branch. A Trace belongs to one goroutine.
type Trace struct {
	Steps []Step
	// Clock measures how long each table took for its answer; nil: nothing is
	// measured.
	Clock func() time.Time
	depth int
	since time.Time
	took  map[question]float64 // the first time each was asked: later answers may be cached
}

// question is one key for one table.
type question struct{ table, key string }

// Step is one step of a decision, in the JSON form of the explain command. Op
// is lookup, classify, rewrite, expand, transport or deliver.
type Step struct {
	Op        string      `json:"op"`
	Parameter string      `json:"parameter,omitempty"`
	Table     string      `json:"table,omitempty"`
	Number    int         `json:"number,omitempty"` // of the table in its parameter, from 1; 0: not known
	Key       string      `json:"key,omitempty"`
	Result    *string     `json:"result"` // nil: not found; of a failed lookup too, see Error
	Error     string      `json:"error,omitempty"`
	Query     string      `json:"query,omitempty"`
	At        *origin.At  `json:"at,omitempty"`
	Also      []origin.At `json:"also,omitempty"` // further rows of one answer
	Depth     int         `json:"depth,omitempty"`
	// Milliseconds is what the answer took when it was asked for first; later ones
	// come from a cache.
	Milliseconds float64 `json:"ms,omitempty"`
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
	if t != nil { // so that nothing is allocated without a trace
		kept := result
		t.step(op, parameter, key, &kept, at)
	}
}

// lookedUp records a question that no table answered; result nil: not found.
func (t *Trace) lookedUp(parameter, key string, result *string, at origin.At) {
	if t != nil {
		t.step("lookup", parameter, key, result, at)
	}
}

// step records a step; result nil: not found.
func (t *Trace) step(op, parameter, key string, result *string, at origin.At) {
	s := Step{Op: op, Parameter: parameter, Key: key, Result: result, Depth: t.depth}
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
	t.start()
	return func(l table.Step) {
		s := Step{Op: "lookup", Parameter: l.Parameter, Table: l.Table, Key: l.Key, Depth: t.depth}
		s.Milliseconds = t.elapsed(question{l.Table, l.Key})
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

// Keep forgets all steps so far but those that keep names, and not how long the
// answers took.
func (t *Trace) Keep(keep func(Step) bool) {
	if t != nil {
		t.Steps = slices.DeleteFunc(t.Steps, func(s Step) bool { return !keep(s) })
	}
}

// Apart is a trace for what another message goes through; nil of nil.
func (t *Trace) Apart() *Trace {
	if t == nil {
		return nil
	}
	return &Trace{}
}

// Len is the number of steps so far.
func (t *Trace) Len() int {
	if t == nil {
		return 0
	}
	return len(t.Steps)
}

// Failed records a step that came to nothing.
func (t *Trace) Failed(op, parameter, key, reason string) {
	if t != nil {
		t.Steps = append(t.Steps, Step{Op: op, Parameter: parameter, Key: key, Error: reason, Depth: t.depth})
	}
}

// Place is where the last answer of a parameter is written, nil when that is not
// known.
func (t *Trace) Place(parameter string) *origin.At {
	if t == nil {
		return nil
	}
	for _, s := range slices.Backward(t.Steps) {
		if s.Op == "lookup" && s.Parameter == parameter && s.Result != nil {
			return s.At
		}
	}
	return nil
}

// start begins to measure.
func (t *Trace) start() {
	if t.Clock != nil {
		t.since = t.Clock()
	}
}

// elapsed is how long the first answer to a question took, to the microsecond.
// The next answer is measured from here.
func (t *Trace) elapsed(q question) float64 {
	if t.Clock == nil {
		return 0
	}
	passed := t.Clock().Sub(t.since)
	t.start()
	first, asked := t.took[q]
	if !asked {
		if t.took == nil {
			t.took = make(map[question]float64)
		}
		first = float64(passed.Microseconds()) / 1000
		t.took[q] = first
	}
	return first
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
