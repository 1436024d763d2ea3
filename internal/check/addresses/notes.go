package addresses

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"postern/internal/finding"
	"postern/internal/origin"
)

// note is a finding about one thing. Notes with the same code and the same first
// place become one finding.
type note struct {
	code     string
	severity finding.Severity
	domain   string // folded; whose mail it concerns, for what follows from what
	name     string // the address or domain concerned
	at       []origin.At
	near     []string
	// message says what is wrong, of all names together.
	message func(names string, n int) string
	fix     string
	fixes   func(names string) string // in the place of fix, where it speaks of all names
}

// notes collect. They are safe for concurrent use.
type notes struct {
	mu    sync.Mutex
	index map[string]*gathered
	kinds map[string]int // findings by code and domain
	order []*gathered
}

// gathered is what the notes of one cause have in common.
type gathered struct {
	note
	names   []string
	known   map[string]bool // names and places
	count   int
	domains map[string]bool
}

// The most that a message names, and the most near misses of a finding.
const (
	maxNames = 3
	maxNear  = 5
)

// add adds a note to those with its code and its first place.
func (n *notes) add(one note) {
	key := one.code
	if len(one.at) > 0 {
		key += "\x00" + one.at[0].String() + "\x00" + one.at[0].Parameter
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gather(key, one)
}

// addTo adds a note to those with a key of its own. Without a name its place is
// counted.
func (n *notes) addTo(key string, one note) {
	if one.name == "" && len(one.at) > 0 {
		one.name = fmt.Sprint(one.at[0], one.at[0].Row)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gather(key, one)
}

// has reports whether there is a note with this key.
func (n *notes) has(key string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.index[key] != nil
}

// gather joins a note to those of its key. n.mu is held. Of the findings about one
// domain that are of one kind, only the first are told one by one.
func (n *notes) gather(key string, one note) {
	all := n.index[key]
	if all == nil {
		if one, all = n.further(key, one); all != nil {
			all.join(one)
			return
		}
		all = &gathered{note: one, known: map[string]bool{}, domains: map[string]bool{}}
		all.at, all.near = nil, nil
		if n.index == nil {
			n.index = map[string]*gathered{}
		}
		n.index[key] = all
		n.order = append(n.order, all)
	}
	all.join(one)
}

// maxAlike is how many findings of one kind about one domain are told one by one.
const maxAlike = 20

// further counts a note with a new key. When there are enough of its kind, it goes
// to the one that stands for all further ones. n.mu is held.
func (n *notes) further(key string, one note) (note, *gathered) {
	kind := one.code + " of " + one.domain
	if n.kinds == nil {
		n.kinds = map[string]int{}
	}
	if n.kinds[kind]++; n.kinds[kind] <= maxAlike || one.domain == "" {
		return one, nil
	}
	domain := one.domain
	one.near, one.name = nil, shown(one.name)
	one.message = func(names string, count int) string {
		return fmt.Sprintf("%d more in %s like those before: %s", count, domain, names)
	}
	rest := n.index[kind]
	if rest == nil {
		rest = &gathered{note: one, known: map[string]bool{}, domains: map[string]bool{}}
		rest.at = nil
		n.index[kind] = rest
		n.order = append(n.order, rest)
	}
	return one, rest
}

// join adds what is new in a note.
func (g *gathered) join(one note) {
	if one.severity == finding.Error {
		g.severity = finding.Error
	}
	g.domains[one.domain] = true
	if g.isNew("name " + one.name) {
		g.count++
		if len(g.names) < maxNames {
			g.names = append(g.names, one.name)
		}
	}
	for _, at := range one.at {
		if len(g.at) < finding.MaxPlaces && g.isNew(fmt.Sprintf("place %v %s %v", at, at.Parameter, at.Row)) {
			g.at = append(g.at, at)
		}
	}
	for _, near := range one.near {
		if len(g.near) < maxNear && !slices.Contains(g.near, near) {
			g.near = append(g.near, near)
		}
	}
}

func (g *gathered) isNew(what string) bool {
	is := !g.known[what]
	g.known[what] = true
	return is
}

// report makes findings of the notes that are no consequence of others.
func (n *notes) report(report finding.Report) {
	n.mu.Lock()
	defer n.mu.Unlock()
	caused := causes(n.order)
	for _, g := range n.order {
		if caused.follows(g) {
			continue
		}
		names := strings.Join(g.names, ", ")
		if more := g.count - len(g.names); more > 0 {
			names += fmt.Sprintf(" and %d more", more)
		}
		fix := g.fix
		if g.fixes != nil {
			fix = g.fixes(names)
		}
		report(finding.Finding{Code: g.code, Severity: g.severity, Message: shownAll(g.message(names, g.count)),
			At: g.at, Near: g.near, Fix: shownAll(fix)})
	}
}

// says is a message in which the first %s stands for the names. Only behind it may there
// be text from outside, such as a condition of a query, with a % of its own.
func says(text string) func(string, int) string {
	return func(names string, _ int) string { return strings.Replace(text, "%s", names, 1) }
}
