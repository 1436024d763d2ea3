package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"postern/internal/check"
	"postern/internal/logline"
)

// Bounds of what is remembered of a log, however large it is.
const (
	maxGroups    = 2000 // kinds of events
	maxAddresses = 64   // of each
	maxAnswers   = 50   // causes that are looked for
	maxNamed     = 5    // addresses that an answer names
)

// logGroup are the events of one kind.
type logGroup struct {
	event     logline.Event // the first
	count     int
	addresses map[string]int
}

// logGroups counts events. Events of a kind that is new when there are too many
// kinds are left out.
type logGroups map[string]*logGroup

func (g logGroups) add(e logline.Event) {
	key := groupKey(e)
	one := g[key]
	if one == nil {
		if len(g) >= maxGroups {
			return
		}
		one = &logGroup{event: e, addresses: map[string]int{}}
		g[key] = one
	}
	one.count++
	if _, known := one.addresses[e.Recipient]; e.Recipient != "" && (known || len(one.addresses) < maxAddresses) {
		one.addresses[e.Recipient]++
	}
}

// groupKey is the same for events that may have one cause: what was said, and of
// which domain, table or parameter.
func groupKey(e logline.Event) string {
	_, domain, _ := strings.Cut(e.Recipient, "@")
	digits := func(r rune) rune {
		if r >= '0' && r <= '9' {
			return '#'
		}
		return r
	}
	symptom := e.Symptom
	if e.Codes == nil {
		symptom = strings.Map(digits, symptom)
	}
	return strings.ToLower(strings.Join([]string{string(e.Kind), symptom, e.Table, e.File, e.Parameter, cmp.Or(e.Domain, domain)}, "\x00"))
}

// frequent are the addresses of a group, the most frequent first.
func (g *logGroup) frequent() []string {
	list := make([]string, 0, len(g.addresses))
	for a := range g.addresses {
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b string) int { return cmp.Or(g.addresses[b]-g.addresses[a], strings.Compare(a, b)) })
	return list[:min(len(list), maxNamed)]
}

// file answers for the failures of a log, the most frequent first, and says how many
// lines it has.
func (v *investigator) file(ctx context.Context, env Env, r io.Reader, size int64) ([]logAnswer, int, error) {
	bar := newBar(env.Stderr, "explain")
	defer bar.end()
	groups, lines, err := readLog(ctx, r, func(read int64) {
		if size > 0 {
			bar.at(float64(read)/float64(size)/2, "reading")
		}
	})
	if err != nil {
		return nil, 0, err
	}
	list := make([]*logGroup, 0, len(groups))
	for _, g := range groups {
		list = append(list, g)
	}
	slices.SortFunc(list, func(a, b *logGroup) int {
		return cmp.Or(b.count-a.count, strings.Compare(a.event.Reason, b.event.Reason))
	})
	list = list[:min(len(list), maxAnswers)]
	ctx, cancel := context.WithTimeout(ctx, check.Time)
	defer cancel()
	var answers []logAnswer
	for i, g := range list {
		bar.at(0.5+float64(i)/float64(len(list))/2, g.event.Symptom)
		e := g.event
		names := g.frequent()
		if len(names) > 0 {
			e.Recipient = names[0]
		}
		a := v.answer(ctx, e)
		a.Count, a.Addresses = g.count, names
		answers = join(answers, a)
	}
	slices.SortStableFunc(answers, func(a, b logAnswer) int { return b.Count - a.Count })
	return answers, lines, nil
}

// join adds an answer, to the one that has the same cause if there is one.
func join(list []logAnswer, a logAnswer) []logAnswer {
	for i := range list {
		if id := list[i].cause(); id != "" && id == a.cause() {
			list[i].Count += a.Count
			names := append(list[i].Addresses, a.Addresses...)
			list[i].Addresses = slices.Compact(names[:min(len(names), maxNamed)])
			return list
		}
	}
	return append(list, a)
}

// cause identifies what is behind an answer, "" when that is not known.
func (a logAnswer) cause() string {
	if len(a.Findings) == 0 || len(a.Findings[0].At) == 0 {
		return ""
	}
	f := a.Findings[0]
	return f.Code + "\x00" + f.At[0].String() + "\x00" + f.Message
}

// tell is how many lines are read between two reports of the progress.
const tell = 4096

// readLog reads a log, groups its failures and counts its lines. Lines that are too
// long to be of a mail log are passed over.
func readLog(ctx context.Context, r io.Reader, progress func(read int64)) (groups logGroups, lines int, err error) {
	in := bufio.NewReaderSize(r, 256<<10)
	groups = logGroups{}
	var read int64
	whole := true // the line is there from its begin
	for n := 0; ; n++ {
		line, err := in.ReadSlice('\n')
		read += int64(len(line))
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			whole = false
			continue
		case err != nil && err != io.EOF:
			return nil, 0, err
		}
		text := string(line)
		if !whole {
			text, whole = "", true
		}
		if len(line) > 0 {
			lines++
		}
		if logline.Interesting(text) {
			if e, ok := logline.Parse(text); ok {
				groups.add(e)
			}
		}
		if err == io.EOF {
			return groups, lines, nil
		}
		if n%tell == 0 {
			progress(read)
			if ctx.Err() != nil {
				return nil, 0, ctx.Err()
			}
		}
	}
}
