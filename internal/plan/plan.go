// Package plan says what a change of the configuration would do: which addresses
// would be answered or delivered differently, which line or row is the reason, and
// which findings would be new or cured.
//
// Both configurations are opened aside, the old one and the new one; nothing is
// changed and no server need run. The addresses are all that a table of either names
// (package inventory), one unlisted address for each domain, and those that the
// caller adds. Each is followed through both by the resolver of the server; when only
// rows of tables differ that are all known, those that no changed row can concern are
// left out. Only where the two fates differ, the way there is looked at as well, for the cause: the
// first answer on the way that is another one, or else the parameter that was
// changed.
//
// A finding is the same in both when it has its code and its subject; in which line
// it is does not matter.
//
// A rule of a pattern table is the same when it matches and answers the same and the
// ifs around it are the same; of one that is not, the if is the cause when only that
// was changed.
//
// Limits: addresses that only a server knows, or a pattern that is more than an address
// with anchors, and that nobody names, are not seen. UnknownRules counts such patterns
// when they have changed; they are no change as long as no known address is concerned.
//
// It imports address, check, check/inventory, config, explain, finding, origin, route,
// setup, syntax and table.
package plan

import (
	"context"
	"time"

	"postern/internal/address"
	"postern/internal/check"
	"postern/internal/check/inventory"
	"postern/internal/explain"
	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/setup"
)

// Options say how to compare.
type Options struct {
	DNS       bool     // findings of the DNS too
	Addresses []string // that no table need name
	// Progress is told how much of the work is done, from 0 to 1, and what is being
	// looked at; nil: nobody wants to know. It may be called from several goroutines.
	Progress func(part float64, what string)
}

// Result is what would change, in the JSON form of the plan command.
type Result struct {
	Changes    []Change          `json:"changes"`
	New        []finding.Finding `json:"new"`
	Cured      []finding.Finding `json:"cured"`
	Summary    Summary           `json:"summary"`
	Unfinished []string          `json:"unfinished,omitempty"` // checks that the time was too short for
	// UnknownRules are changed rules that match nobody knows whom: that nothing
	// changes for the addresses that are known says nothing of them.
	UnknownRules []OpenRules `json:"unknown_rules,omitempty"`
}

// Summary counts addresses.
type Summary struct {
	Addresses int `json:"addresses"`
	Changed   int `json:"changed"`
}

// Change is an address with another fate.
type Change struct {
	Address string    `json:"address"`
	Cause   origin.At `json:"cause"`
	// InOld says that the cause is a place of the old configuration: what was there
	// is gone.
	InOld    bool `json:"cause_in_old,omitempty"`
	Unlisted bool `json:"unlisted,omitempty"` // it stands for all addresses of its domain that no table names
	Before   Fate `json:"before"`
	After    Fate `json:"after"`
}

// Fate is what becomes of an address.
type Fate struct {
	Reply explain.Reply `json:"reply"`
	// Later is what the client is told at the end of the message, when that is no.
	Later      *explain.Reply      `json:"later,omitempty"`
	Recipients []explain.Recipient `json:"recipients"`
}

// Changed says whether anything is different.
func (r *Result) Changed() bool { return len(r.Changes)+len(r.New)+len(r.Cured) > 0 }

// side is one of the two configurations.
type side struct {
	setup     *setup.Setup
	inventory *inventory.Inventory
	explainer *explain.Explainer // nil: no address can be followed
	fates     *explain.Explainer // the same without places
	check     check.Result
}

// sender is the envelope sender of the imagined messages: an address elsewhere, as
// explain has it.
var sender = address.Address{Local: "sender", Domain: "client.example"}

// The parts of the work, for the progress.
const (
	checked  = 0.6
	compared = 0.9
)

// Compare says what changes from one configuration to another. A configuration in
// which no address can be followed (setup.Fault) changes the findings only. The
// error is that of ctx.
func Compare(ctx context.Context, before, after *setup.Setup, o Options) (*Result, error) {
	if o.Progress == nil {
		o.Progress = func(float64, string) {}
	}
	sides := [2]*side{{setup: before}, {setup: after}}
	if err := examine(ctx, sides, o); err != nil {
		return nil, err
	}
	r := &Result{Changes: []Change{}}
	drafts := sides[1].setup.Opener.Replace.Names()
	r.New, r.Cured = difference(sides[0].findings(drafts), sides[1].findings(drafts))
	r.Unfinished = append(sides[0].check.Unfinished, sides[1].check.Unfinished...)
	if sides[0].explainer == nil || sides[1].explainer == nil {
		return r, nil
	}
	rules := changedRules(ctx, sides)
	c := &comparison{sides: sides, progress: o.Progress, list: addresses(ctx, sides, append(rules.addresses, o.Addresses...), rules.domains),
		even: newEvener(sides), affected: affectedBy(ctx, sides), rules: rules}
	changes, err := c.run(ctx)
	if err != nil {
		return nil, err
	}
	r.Changes, r.UnknownRules = changes, rules.unknown
	r.Summary = Summary{Addresses: len(c.list), Changed: len(changes)}
	return r, nil
}

// examineTime bounds the check of each side. What one side had no time for would seem
// to be cured, so there is more of it than for check.
const examineTime = time.Minute

// examine finds what is wrong in both, and prepares them for questions: one after the
// other, for a check uses all processors, and much memory.
func examine(ctx context.Context, sides [2]*side, o Options) error {
	for n, s := range sides {
		progress := func(part float64, what string) { o.Progress((float64(n)+part)/2*checked, what) }
		s.inventory = inventory.New(s.setup)
		s.check = check.RunOn(ctx, s.inventory, check.Options{DNS: o.DNS, Time: examineTime, Progress: progress})
		if err := s.prepare(ctx); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// prepare makes the explainer, which answers from memory where it can.
func (s *side) prepare(ctx context.Context) error {
	if s.setup.Policy == nil {
		return nil
	}
	shot, err := s.inventory.Snapshot(ctx)
	if err != nil {
		return err
	}
	brief, err := s.inventory.Verdicts(ctx)
	if err != nil {
		return err
	}
	s.explainer, s.fates = explainer(shot), explainer(brief)
	return nil
}

func explainer(s *setup.Setup) *explain.Explainer {
	return &explain.Explainer{Dir: s.Dir, Settings: s.Service, Router: s.Router, Policy: s.Policy, Sender: sender}
}
