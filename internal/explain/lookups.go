package explain

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"postern/internal/origin"
	"postern/internal/route"
)

// slow is how many milliseconds an answer takes that is worth a word.
const slow = 5

// sharedSteps are the steps between those of RCPT and those of the recipients.
func (e Explanation) sharedSteps() []route.Step {
	if len(e.Recipients) == 0 {
		return e.Steps[e.atRcpt:]
	}
	return e.Steps[e.atRcpt:e.Recipients[0].from]
}

// shownLookups are the questions that stand in the tree already. The same one comes
// up more than once: does it exist, where is it?
type shownLookups map[string]bool

// fresh reports whether a step is a question to a table that is not shown yet. The
// class has its own lines, and so have the owners of mailboxes that were found. The
// lines of a .forward file are answers to one question.
func (shown shownLookups) fresh(s route.Step) bool {
	switch s.Op {
	case "lookup":
		switch s.Parameter {
		case "mydestination", "virtual_alias_domains", "virtual_mailbox_domains", "relay_domains":
			return false
		case "virtual_uid_maps", "virtual_gid_maps":
			if s.Result != nil {
				return false
			}
		}
	case "expand", "rewrite":
		if s.Error == "" {
			return false
		}
	default:
		return false
	}
	id := s.Parameter + "\x00" + s.Table + "\x00" + s.Key
	if s.At != nil {
		id += "\x00" + s.At.String()
	}
	defer func() { shown[id] = true }()
	return !shown[id]
}

// search is what was asked of the tables of one parameter.
type search struct {
	parameter string
	tables    []asked
	steps     []route.Step
}

// asked is a table with its number in the parameter; 0: not known.
type asked struct {
	number int
	name   string
}

// blocks are the lookups among steps, a block for each parameter in the order of
// their first questions.
func (shown shownLookups) blocks(steps []route.Step) []block {
	var searches []*search
	for _, s := range steps {
		if !shown.fresh(s) {
			continue
		}
		i := slices.IndexFunc(searches, func(other *search) bool { return other.parameter == s.Parameter })
		if i < 0 {
			i = len(searches)
			searches = append(searches, &search{parameter: s.Parameter})
		}
		one := searches[i]
		if t := (asked{s.Number, s.Table}); s.Table != "" && !slices.Contains(one.tables, t) {
			one.tables = append(one.tables, t)
		}
		one.steps = append(one.steps, s)
	}
	var blocks []block
	for _, s := range searches {
		blocks = append(blocks, s.block())
	}
	return blocks
}

// block shows a search: one table in the head, several with numbers below it.
func (s *search) block() block {
	b := block{head: line{{s.parameter, plain}}}
	several := len(s.tables) > 1
	for _, t := range s.tables {
		switch {
		case several:
			b.below = append(b.below, line{{number(t.number) + " " + short(t.name), faint}})
		case t.number == 0:
			b.head = line{{s.parameter + " " + short(t.name), plain}}
		default:
			b.head = line{{s.parameter + number(t.number) + " " + short(t.name), plain}}
		}
	}
	width := 0
	for _, step := range s.steps {
		width = max(width, min(utf8.RuneCountInString(step.Key), 40))
	}
	before := ""
	for _, step := range s.steps {
		key := step.Key
		if key == before && several {
			key = ""
		}
		before = step.Key
		entry := line{words(plain, "%-*s   ", width, key)}
		if several && step.Table != "" {
			entry = append(entry, span{number(step.Number) + " ", faint})
		}
		b.below = append(b.below, append(entry, answer(step)...))
		if step.Query != "" {
			b.below = append(b.below, line{words(faint, "%-*s   %s", width, "", step.Query)})
		}
		for _, at := range step.Also {
			b.below = append(b.below, line{words(faint, "%-*s   and %s", width, "", rowOf(at))})
		}
	}
	return b
}

func number(n int) string { return fmt.Sprintf("[%d]", n) }

// answer is what a table said to a key.
func answer(s route.Step) line {
	var l line
	switch {
	case s.Error != "":
		l = line{{"failed: " + s.Error, red}}
	case s.Result == nil:
		l = line{{"-", faint}}
	case s.At == nil:
		l = line{{*s.Result, plain}}
	default:
		l = line{{*s.Result, plain}, {"   " + rowOf(*s.At), faint}}
	}
	if s.Milliseconds >= slow {
		l = append(l, words(faint, "   (%.0f ms)", s.Milliseconds))
	}
	return l
}

// rowOf is where an answer is written; of a database, its row.
func rowOf(at origin.At) string {
	if at.Table == "" || len(at.Row) == 0 {
		return at.String()
	}
	var columns []string
	for _, name := range slices.Sorted(maps.Keys(at.Row)) {
		columns = append(columns, fmt.Sprintf("%s=%s", name, at.Row[name]))
	}
	return "row " + strings.Join(columns, ", ")
}
