package plan

import (
	"slices"
	"strings"

	"postern/internal/origin"
	"postern/internal/table"
)

// place is where a rule is written.
type place struct {
	file string
	line int
}

// placeOf is a place of one side, as the explanations of that side have it.
func placeOf(at origin.At, s *side) place {
	at = at.RelativeTo(s.setup.Dir)
	return place{at.File, at.Line}
}

// blamed is the place that was changed.
type blamed struct {
	at    origin.At
	inOld bool
}

// sameRule says whether two rules are one: in what they match, under which conditions,
// and in what they answer.
func (e *evener) sameRule(a, b table.Rule) bool {
	return e.sameWords(a, b) && slices.EqualFunc(a.Within, b.Within, e.sameCondition)
}

// sameWords is sameRule without the conditions.
func (e *evener) sameWords(a, b table.Rule) bool {
	return e.same(a.Pattern, b.Pattern) && e.same(a.Result, b.Result)
}

func (e *evener) sameCondition(a, b table.Condition) bool { return e.same(a.Pattern, b.Pattern) }

// same says whether two texts are one when the directories are.
func (e *evener) same(a, b string) bool { return a == b || e != nil && e.text(a) == e.text(b) }

// words are what sameWords compares, and all what sameRule does.
func (e *evener) words(r table.Rule) (words, all string) {
	words = e.text(r.Pattern) + "\x00" + e.text(r.Result)
	var b strings.Builder
	b.WriteString(words)
	for _, c := range r.Within {
		b.WriteString("\x00" + e.text(c.Pattern))
	}
	return words, b.String()
}

// changedRule is a rule that the other side does not have.
type changedRule struct {
	rule  table.Rule
	other *table.Rule // the same under other conditions, nil: there is none
	even  *evener
}

// difference are the rules that are not among others. What the other side has under
// other conditions, and this one not, is the counterpart of such a rule.
func (e *evener) difference(list, others []table.Rule) []changedRule {
	here, there, moved := map[string]bool{}, map[string]bool{}, map[string]*table.Rule{}
	for _, r := range list {
		_, all := e.words(r)
		here[all] = true
	}
	for i, r := range others {
		words, all := e.words(r)
		there[all] = true
		if moved[words] == nil && !here[all] {
			moved[words] = &others[i]
		}
	}
	var changed []changedRule
	for _, r := range list {
		if words, all := e.words(r); !there[all] {
			changed = append(changed, changedRule{r, moved[words], e})
		}
	}
	return changed
}

// reordered are the rules of a list that stand in another order than among others, for
// two lists with the same ones: those from the first to the last that is elsewhere,
// unless they all answer the same. A rule that repeats an earlier one is never come to,
// and $1 is another text in each rule.
func (e *evener) reordered(list, others []table.Rule) []changedRule {
	list, others = e.once(list), e.once(others)
	for len(list) > 0 && len(others) > 0 && e.sameRule(list[0], others[0]) {
		list, others = list[1:], others[1:]
	}
	for len(list) > 0 && len(others) > 0 && e.sameRule(list[len(list)-1], others[len(others)-1]) {
		list, others = list[:len(list)-1], others[:len(others)-1]
	}
	if !slices.ContainsFunc(list, func(r table.Rule) bool {
		return !e.same(r.Result, list[0].Result) || strings.Contains(r.Result, "$")
	}) {
		return nil
	}
	return e.all(list)
}

// all are the rules of a list, each a changed one.
func (e *evener) all(list []table.Rule) []changedRule {
	var changed []changedRule
	for _, r := range list {
		changed = append(changed, changedRule{rule: r, even: e})
	}
	return changed
}

// once are the rules of a list without repetitions.
func (e *evener) once(list []table.Rule) []table.Rule {
	var rules []table.Rule
	seen := map[string]bool{}
	for _, r := range list {
		if _, all := e.words(r); !seen[all] {
			seen[all] = true
			rules = append(rules, r)
		}
	}
	return rules
}

// blame is the place that makes a rule another one: an if that was changed, put around
// it or taken away, or else the rule itself. inOld says of which side the rule is.
func (c changedRule) blame(inOld bool, sides [2]*side) blamed {
	itself := blamed{c.at(c.rule.At, inOld, sides), inOld}
	if c.other == nil {
		return itself
	}
	old, now := c.other.Within, c.rule.Within
	if inOld {
		old, now = now, old
	}
	if only := c.missing(now, old); only != nil {
		return blamed{c.at(only.At, false, sides), false}
	}
	if only := c.missing(old, now); only != nil {
		return blamed{c.at(only.At, true, sides), true}
	}
	return itself
}

// at is a place as the explanations of its side have it.
func (changedRule) at(at origin.At, inOld bool, sides [2]*side) origin.At {
	if inOld {
		return at.RelativeTo(sides[0].setup.Dir)
	}
	return at.RelativeTo(sides[1].setup.Dir)
}

// missing is the first of the conditions that others does not have.
func (c changedRule) missing(list, others []table.Condition) *table.Condition {
	for i, one := range list {
		if !slices.ContainsFunc(others, func(o table.Condition) bool { return c.even.sameCondition(one, o) }) {
			return &list[i]
		}
	}
	return nil
}
