// Package finding is what Postern says about a configuration: that something is
// wrong or doubtful, where it is written, and what to change. A finding has a
// code, VD101 to VD517; failures.md in the documentation holds a page for each,
// and Page returns it.
//
// It imports origin.
package finding

import (
	"cmp"
	"slices"
	"strings"

	"postern/internal/origin"
)

// Severity says how bad a finding is.
type Severity string

// The severities, worst first.
const (
	Error   Severity = "error"   // mail is refused, deferred, lost or given to the wrong person, or the host is an open relay
	Warning Severity = "warning" // works today, but not as it reads, or is a risk
	Info    Severity = "info"    // worth knowing
)

// rank orders severities, worst first.
func (s Severity) rank() int { return slices.Index([]Severity{Error, Warning, Info}, s) }

// MaxPlaces is how many rows with one cause a finding names; its message says how
// many there are.
const MaxPlaces = 20

// Finding is one thing that is wrong, in the JSON form of check and explain.
type Finding struct {
	Code     string      `json:"code"`
	Severity Severity    `json:"severity"`
	Message  string      `json:"message"`        // one sentence that names what is concerned; never a password
	At       []origin.At `json:"at"`             // the place to edit comes first
	Near     []string    `json:"near,omitempty"` // what may have been meant, best first
	Fix      string      `json:"fix"`            // one imperative sentence, or a line to paste
}

// RelativeTo returns the finding with places relative to a directory.
func (f Finding) RelativeTo(dir string) Finding {
	at := make([]origin.At, 0, len(f.At))
	for _, a := range f.At {
		at = append(at, a.RelativeTo(dir))
	}
	f.At = at
	return f
}

// Report takes findings as they are found.
type Report func(Finding)

// List collects findings. The zero List is empty. It is not safe for concurrent
// use.
type List struct {
	all  []Finding
	seen map[string]bool
}

// Add keeps a finding, unless one with the same code and the same first place is
// there.
func (l *List) Add(f Finding) {
	key := f.Code
	if len(f.At) > 0 {
		key += "\x00" + f.At[0].String() + "\x00" + f.At[0].Parameter
	} else {
		key += "\x00" + f.Message
	}
	if l.seen[key] {
		return
	}
	if l.seen == nil {
		l.seen = make(map[string]bool)
	}
	l.seen[key] = true
	if len(f.At) > MaxPlaces {
		f.At = f.At[:MaxPlaces]
	}
	l.all = append(l.all, f)
}

// Sorted are the findings: errors, warnings, infos; then by file and line.
func (l *List) Sorted() []Finding {
	all := slices.Clone(l.all)
	slices.SortStableFunc(all, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Severity.rank(), b.Severity.rank()), comparePlaces(a.At, b.At), strings.Compare(a.Code, b.Code))
	})
	if all == nil {
		all = []Finding{}
	}
	return all
}

func comparePlaces(a, b []origin.At) int {
	if len(a) == 0 || len(b) == 0 {
		return len(a) - len(b)
	}
	return cmp.Or(strings.Compare(a[0].File, b[0].File), a[0].Line-b[0].Line,
		strings.Compare(a[0].Table, b[0].Table), strings.Compare(a[0].Key, b[0].Key))
}

// Count returns how many findings have that severity.
func Count(list []Finding, s Severity) int {
	n := 0
	for _, f := range list {
		if f.Severity == s {
			n++
		}
	}
	return n
}
