package plan

import (
	"slices"
	"strings"

	"postern/internal/config"
	"postern/internal/explain"
	"postern/internal/route"
)

// evener writes the directories of the two configurations as one, so that what lies
// below both in the same place is the same. nil: they are one directory.
type evener struct{ *strings.Replacer }

// here stands for either directory: a name that no path has.
const here = "\x00/"

func newEvener(sides [2]*side) *evener {
	a, b := sides[0].setup.Dir+"/", sides[1].setup.Dir+"/"
	if a == b {
		return nil
	}
	if len(a) < len(b) { // one may lie below the other: the longer one first
		a, b = b, a
	}
	return &evener{strings.NewReplacer(a, here, b, here)}
}

// text is a text with the directories made one.
func (e *evener) text(text string) string {
	if e == nil {
		return text
	}
	return e.Replace(text)
}

// fate is what becomes of an address with the directories made one, its recipients in
// order.
func (e *evener) fate(f Fate) Fate {
	if e == nil {
		return f
	}
	f.Reply.Text = e.text(f.Reply.Text)
	if f.Later != nil {
		later := *f.Later
		later.Text = e.text(later.Text)
		f.Later = &later
	}
	f.Recipients = slices.Clone(f.Recipients)
	for i := range f.Recipients {
		r := &f.Recipients[i]
		for _, text := range []*string{&r.Address, &r.Transport, &r.NextHop, &r.Mailbox, &r.Reply.Text} {
			*text = e.text(*text)
		}
	}
	slices.SortStableFunc(f.Recipients, byAddress)
	return f
}

func byAddress(a, b explain.Recipient) int { return strings.Compare(a.Address, b.Address) }

// steps are steps with the directories made one.
func (e *evener) steps(steps []route.Step) []route.Step {
	if e == nil {
		return steps
	}
	steps = slices.Clone(steps)
	for i := range steps {
		s := &steps[i]
		s.Key, s.Table = e.text(s.Key), e.text(s.Table)
		if s.Result != nil {
			result := e.text(*s.Result)
			s.Result = &result
		}
	}
	return steps
}

// sameService says whether a service does the same on both sides.
func (e *evener) sameService(m, n config.Service) bool {
	same := func(a, b string) bool { return e.text(a) == e.text(b) }
	return m.Name == n.Name && m.Type == n.Type && m.Command == n.Command && slices.EqualFunc(m.Args, n.Args, same) &&
		slices.EqualFunc(m.Overrides, n.Overrides, func(o, p config.Override) bool { return o.Name == p.Name && same(o.Value, p.Value) })
}
