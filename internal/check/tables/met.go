package tables

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"postern/internal/check/inventory"
	"postern/internal/explain"
	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/route"
	"postern/internal/syntax"
	"postern/internal/table"
)

// Address reports what concerns an explained address: the tables that failed when
// they were asked for it, and rows of the tables it met whose key was meant to be
// one of those it was looked up by.
func Address(ctx context.Context, i *inventory.Inventory, e *explain.Explanation, report finding.Report) {
	x := newExamination(i)
	met, told := meetings(e), false
	for _, t := range i.Tables(ctx) {
		m := met[t.Spec]
		delete(met, t.Spec)
		switch {
		case m == nil || ctx.Err() != nil:
		case !t.Composed:
			told = x.met(ctx, t, m) || told
		case m.failed:
			told = !x.asked(ctx, t) || told
		}
	}
	for _, spec := range slices.Sorted(maps.Keys(met)) {
		x.unlistedStep(met[spec])
		told = told || met[spec].failed
	}
	x.listing(ctx, e)
	if !told && e.Reply.Code/100 == 4 && strings.HasPrefix(e.Reply.Enhanced, "4.3.") {
		x.unseen(ctx)
	}
	x.tell(report)
}

// meeting is what one table was asked by an address.
type meeting struct {
	keys   map[string]bool
	empty  []origin.At // where an empty answer is written
	failed bool
	step   route.Step // that failed
}

// meetings are those of an explanation, by table. What a table is made of was asked
// for the same.
func meetings(e *explain.Explanation) map[string]*meeting {
	met := map[string]*meeting{}
	for _, s := range e.Steps {
		if s.Table == "" {
			continue
		}
		for _, spec := range append(members(s.Table), s.Table) {
			m := met[spec]
			if m == nil {
				m = &meeting{keys: map[string]bool{}}
				met[spec] = m
			}
			m.note(s)
		}
	}
	return met
}

func (m *meeting) note(s route.Step) {
	m.keys[meant(s.Key)] = true
	if s.Result != nil && *s.Result == "" && s.At != nil {
		m.empty = append(m.empty, *s.At)
	}
	if s.Error != "" {
		m.failed, m.step = true, s
	}
}

// has reports whether a key was asked for; nil: every key counts.
func (m *meeting) has(key string) bool { return m == nil || m.keys[meant(key)] }

// answeredAt reports whether the empty answer of a place was met; nil: every one counts.
func (m *meeting) answeredAt(at origin.At) bool {
	return m == nil || slices.ContainsFunc(m.empty, func(met origin.At) bool {
		return met.Line == at.Line && filepath.Base(met.File) == filepath.Base(at.File) // one of them is relative
	})
}

// members are the tables that a table is made of, and those that these are made of.
func members(spec string) []string {
	var list []string
	for next := []string{spec}; len(next) > 0; {
		typ, name, _ := strings.Cut(next[0], ":")
		next = next[1:]
		var inner []string
		switch typ {
		case "unionmap", "pipemap":
			text, _ := syntax.Unbrace(name)
			inner = syntax.Split(text, syntax.Separators)
		case "debug":
			inner = []string{name}
		}
		for _, word := range inner {
			list, next = append(list, table.Direct(word)), append(next, table.Direct(word))
		}
	}
	return list
}

// met reports what is to be said of a table that an address met, and whether that
// is why its mail has to wait.
func (x *examination) met(ctx context.Context, t *inventory.Table, m *meeting) (failed bool) {
	x.several(ctx, t, m.keys)
	if m.failed && x.failing(ctx, t) {
		return true
	}
	x.problems(t, m.keys)
	x.unquoted(t)
	x.empty(ctx, t, m)
	x.never(ctx, t, m.keys)
	return m.failed || len(m.empty) > 0
}

// failing reports why a table failed that an address met, and whether it does.
func (x *examination) failing(ctx context.Context, t *inventory.Table) bool {
	before := len(x.found)
	x.described(t)
	fails := true
	if x.indexes(ctx, t) {
		switch err := x.ask(ctx, t); {
		case err == nil:
			fails = false
		case !strings.Contains(t.Spec, ":") && len(t.Uses) > 0:
			v := x.settings.Value(t.Uses[0].Parameter)
			x.untypedWords(t.Uses[0].Parameter, v.At, noTables(v.Text))
		case len(t.Problems) > 0 && isProblem(t, err):
			x.problems(t, nil)
		default:
			x.add(x.failure(t, err))
		}
	}
	if !fails { // of what is only a remark there is enough in check
		x.found = x.found[:before]
		return false
	}
	rest := slices.DeleteFunc(x.found[before:], func(f finding.Finding) bool { return f.Severity != finding.Error })
	x.found = x.found[:before+len(rest)]
	return true
}

// listing reports words of the domain lists that were meant to be the domain of an
// address, and lists that failed for it.
func (x *examination) listing(ctx context.Context, e *explain.Explanation) {
	_, domain, _ := cutAt(meant(e.Normalized))
	for _, l := range e.ClassReason.Lists {
		known := map[string]bool{}
		var wrong []table.Item
		for it := range x.items(ctx, l.Parameter) {
			known[it.Text] = true
			switch {
			case unusable(it):
				if l.Error != "" && e.Reply.Code/100 == 4 {
					x.unlisted(l.Parameter, it)
				}
			case it.Table == nil && !l.Listed:
				if meaning, why := listedAs(it.Text); why != "" && meaning == domain {
					wrong = append(wrong, it)
				}
			}
		}
		for _, it := range wrong {
			x.listed(l.Parameter, it, known)
		}
	}
}

// unseen reports the tables that fail among those that are asked before a recipient,
// and that no step tells of: those of the restrictions and of mynetworks.
func (x *examination) unseen(ctx context.Context) {
	for _, t := range x.Tables(ctx) {
		if t.Err != nil && !t.Composed && slices.ContainsFunc(t.Uses, x.restricts) {
			x.failing(ctx, t)
		}
	}
	for it := range x.items(ctx, "mynetworks") {
		if unusable(it) {
			x.unlisted("mynetworks", it)
		}
	}
}

// restricts reports a use of a table in a restriction, or for one.
func (x *examination) restricts(u inventory.Use) bool {
	return u.Parameter == "mynetworks" || strings.HasSuffix(u.Parameter, "_restrictions") ||
		slices.Contains(x.settings.List("smtpd_restriction_classes"), u.Parameter)
}
