package plan

import (
	"context"
	"maps"
	"slices"
	"strings"

	"postern/internal/check/inventory"
	"postern/internal/config"
	"postern/internal/explain"
	"postern/internal/origin"
	"postern/internal/route"
	"postern/internal/table"
)

// explain finds the cause of a change.
func (c *comparison) explain(ctx context.Context, change *Change) {
	var ways [2]explain.Explanation
	for n, s := range c.sides {
		e, err := s.explainer.Explain(ctx, change.Address)
		if err != nil {
			return
		}
		e.Steps = c.even.steps(e.Steps)
		ways[n] = e
	}
	change.Cause, change.InOld = c.cause(ctx, ways[0], ways[1], change)
}

// cause is the place that decides differently: the first answer on the way that is
// not the same, the parameter or the service that was changed, or else the draft.
func (c *comparison) cause(ctx context.Context, before, after explain.Explanation, change *Change) (at origin.At, inOld bool) {
	o, n := firstDifference(answers(before.Steps), answers(after.Steps))
	sides := []differing{{n, false, before.Steps}, {o, true, after.Steps}}
	for _, s := range sides {
		if s.isRow() && s.wasAsked() {
			if at, inOld, ok := c.changedRule(*s.step.At, s.inOld); ok {
				return at, inOld
			}
		}
	}
	for _, s := range sides {
		if s.isRow() && s.wasAsked() {
			return *s.step.At, s.inOld
		}
	}
	if at, inOld, ok := c.changedRow(before.Steps, after.Steps); ok {
		return at, inOld
	}
	if at, inOld, ok := c.changedAccess(ctx, before.Steps, after.Steps); ok {
		return at, inOld
	}
	if n == nil {
		n = o
	}
	even := Change{Before: c.even.fate(change.Before), After: c.even.fate(change.After)}
	wanted := []func(name string) bool{kindOf(&even).decides, func(string) bool { return true }}
	if n != nil {
		wanted = slices.Insert(wanted, 0, func(name string) bool { return name == n.Parameter })
	}
	for _, w := range wanted {
		if at, inOld, ok := c.changedParameter(w); ok {
			return at, inOld
		}
	}
	if at, inOld, ok := c.changedService(); ok {
		return at, inOld
	}
	for _, s := range sides {
		if s.isRow() {
			return *s.step.At, s.inOld
		}
	}
	if drafts := slices.Sorted(maps.Values(c.sides[1].setup.Opener.Replace.Names())); len(drafts) > 0 {
		return origin.At{File: drafts[0]}, false
	}
	return origin.At{File: "main.cf"}, false
}

// changedRow returns the place of the first row that answers a question which both
// sides asked, and which the other one answers in another way: the two may have asked
// in another order.
func (c *comparison) changedRow(before, after []route.Step) (at origin.At, inOld, ok bool) {
	for _, side := range [][2][]route.Step{{after, before}, {before, after}} {
		for _, s := range side[0] {
			if !(differing{step: &s}).isRow() || s.Result == nil {
				continue
			}
			asked, same := false, false
			for _, other := range side[1] {
				if sameQuestion(other, s) {
					asked, same = true, same || equal(other.Result, s.Result)
				}
			}
			if asked && !same {
				if at, inOld, ok := c.changedRule(*s.At, inOld); ok {
					return at, inOld, true
				}
				return *s.At, inOld, true
			}
		}
		inOld = true
	}
	return at, false, false
}

// changedRule returns what makes the rule that is written at this place of one side
// another one than before; it is not ok when there is no rule, or the other side has
// the same.
func (c *comparison) changedRule(at origin.At, inOld bool) (cause origin.At, causeInOld, ok bool) {
	n := 1
	if inOld {
		n = 0
	}
	b, ok := c.rules.blamed[n][placeOf(at, c.sides[n])]
	return b.at, b.inOld, ok
}

// changedService returns the place of the first service of master.cf that is not the
// same; in the old configuration when the new one does not have it.
func (c *comparison) changedService() (at origin.At, inOld, ok bool) {
	before, after := c.sides[0].setup, c.sides[1].setup
	for _, m := range after.Settings.Services() {
		if !slices.ContainsFunc(before.Settings.Services(), func(n config.Service) bool { return c.even.sameService(m, n) }) {
			return m.At.RelativeTo(after.Dir), false, true
		}
	}
	for _, m := range before.Settings.Services() {
		if !slices.ContainsFunc(after.Settings.Services(), func(n config.Service) bool { return c.even.sameService(m, n) }) {
			return m.At.RelativeTo(before.Dir), true, true
		}
	}
	return at, false, false
}

// differing is a step that only one side has.
type differing struct {
	step  *route.Step
	inOld bool
	other []route.Step // of the other side
}

// isRow says whether the step is the answer of a table or of a domain list.
func (d differing) isRow() bool {
	return d.step != nil && (d.step.Op == "lookup" || d.step.Op == "classify") && d.step.At != nil && !d.step.At.IsZero()
}

// wasAsked says whether the other side asked the same question: one that it did not
// come to is no cause.
func (d differing) wasAsked() bool {
	return slices.ContainsFunc(d.other, func(s route.Step) bool { return sameQuestion(s, *d.step) })
}

// sameQuestion says whether two steps asked for the same. The class is one question to
// four lists.
func sameQuestion(a, b route.Step) bool {
	return a.Op == b.Op && a.Key == b.Key && (a.Op == "classify" || a.Parameter == b.Parameter)
}

// changedAccess returns the place of the first row of an access table that the other
// side does not have, or of what was changed about a rule.
func (c *comparison) changedAccess(ctx context.Context, before, after []route.Step) (at origin.At, inOld, ok bool) {
	for n, steps := range [][]route.Step{after, before} {
		for _, s := range steps {
			if !(differing{step: &s}).isRow() || s.Result == nil || !strings.HasPrefix(s.Parameter, "check_") {
				continue
			}
			t := c.tableOf(ctx, s, c.sides[n])
			if t == nil {
				continue
			}
			if at, inOld, ok := c.changedRule(*s.At, n == 1); ok {
				return at, inOld, true
			}
			if t.Complete && !slices.ContainsFunc(t.Rows(s.Key), func(e table.Entry) bool { return c.even.text(e.Value) == *s.Result }) {
				return *s.At, n == 1, true
			}
		}
	}
	return at, false, false
}

// tableOf is the table of a step as the other side has it, nil when it has none. Of
// access tables only answers are steps: that the other side asked for the same does
// not show there.
func (c *comparison) tableOf(ctx context.Context, s route.Step, other *side) *inventory.Table {
	spec := c.even.text(table.Direct(s.Table))
	for _, t := range other.inventory.Tables(ctx) {
		if c.even.text(t.Spec) == spec && (t.Complete || t.Pattern) {
			return t
		}
	}
	return nil
}

// answers are the steps that gave an answer, or failed; one that was given before is
// not given again.
func answers(steps []route.Step) []route.Step {
	type answer struct{ op, parameter, key, result string }
	given := map[answer]bool{}
	return slices.DeleteFunc(slices.Clone(steps), func(s route.Step) bool {
		if s.Result == nil {
			return s.Error == ""
		}
		a := answer{s.Op, s.Parameter, s.Key, *s.Result}
		again := given[a]
		given[a] = true
		return again
	})
}

// firstDifference returns the first answers that differ. Of one that was put in
// between, or taken away, there is only one side; nil, nil: they are all the same.
func firstDifference(before, after []route.Step) (o, n *route.Step) {
	for i := range max(len(before), len(after)) {
		switch {
		case i == len(before):
			return nil, &after[i]
		case i == len(after):
			return &before[i], nil
		case sameAnswer(before[i], after[i]):
			continue
		}
		if !has(after[i:], before[i]) {
			o = &before[i]
		}
		if !has(before[i:], after[i]) {
			n = &after[i]
		}
		if o == nil && n == nil { // in another order
			n = &after[i]
		}
		return o, n
	}
	return nil, nil
}

// has says whether an answer is among those of the other side.
func has(steps []route.Step, one route.Step) bool {
	return slices.ContainsFunc(steps, func(s route.Step) bool { return sameAnswer(s, one) })
}

// sameAnswer says whether two steps asked the same and were told the same.
func sameAnswer(a, b route.Step) bool {
	return a.Op == b.Op && a.Parameter == b.Parameter && a.Key == b.Key && equal(a.Result, b.Result) && (a.Error == "") == (b.Error == "")
}

// changedParameter returns the place of the first parameter that has another value
// now, among those that are wanted; in the old configuration when it is not written
// in the new one any more.
func (c *comparison) changedParameter(wanted func(name string) bool) (at origin.At, inOld, ok bool) {
	before, after := c.sides[0].setup, c.sides[1].setup
	var places []origin.At
	var gone []origin.At
	for name, v := range after.Settings.All() {
		old := before.Settings.Value(name)
		switch {
		case c.even.text(old.Text) == c.even.text(v.Text) || !wanted(name):
		case v.Set:
			places = append(places, v.At.RelativeTo(after.Dir))
		case old.Set:
			gone = append(gone, old.At.RelativeTo(before.Dir))
		}
	}
	for n, list := range [][]origin.At{places, gone} {
		if len(list) > 0 {
			return slices.MinFunc(list, func(a, b origin.At) int { return a.Line - b.Line }), n == 1, true
		}
	}
	return origin.At{}, false, false
}

// kind is what is different in a change, the most important first.
type kind int

const (
	refused    kind = iota // was accepted
	accepted               // was refused
	answered               // refused, in other words
	redirected             // to other recipients
	rerouted               // by another transport or to another host
	moved                  // to another mailbox
	judged                 // another verdict at delivery
)

func kindOf(c *Change) kind {
	addresses := func(f Fate) []string {
		var list []string
		for _, r := range f.Recipients {
			list = append(list, r.Address)
		}
		return list
	}
	route := func(a, b explain.Recipient) bool { return a.Transport == b.Transport && a.NextHop == b.NextHop }
	box := func(a, b explain.Recipient) bool {
		return a.Mailbox == b.Mailbox && a.Format == b.Format && equal(a.UID, b.UID) && equal(a.GID, b.GID)
	}
	switch {
	case c.Before.Accepted() && !c.After.Accepted():
		return refused
	case !c.Before.Accepted() && c.After.Accepted():
		return accepted
	case !c.After.Accepted():
		return answered
	case !slices.Equal(addresses(c.Before), addresses(c.After)):
		return redirected
	case !slices.EqualFunc(c.Before.Recipients, c.After.Recipients, route):
		return rerouted
	case !slices.EqualFunc(c.Before.Recipients, c.After.Recipients, box):
		return moved
	}
	return judged
}

// decides says whether a parameter is one that decides such things, when no table
// tells.
func (k kind) decides(name string) bool {
	var parts []string
	switch k {
	case refused, accepted, answered:
		parts = []string{"_restrictions", "_code", "_domains", "mydestination", "_recipient_maps"}
	case redirected:
		parts = []string{"alias", "canonical", "myorigin", "recipient_delimiter", "_bcc_", "masquerade"}
	case rerouted:
		parts = []string{"_transport", "relayhost"}
	case moved:
		parts = []string{"_mailbox", "mailbox_", "mail_spool_directory", "virtual_uid", "virtual_gid"}
	}
	return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(name, p) })
}
