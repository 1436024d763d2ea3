package check

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"postern/internal/check/inventory"
	"postern/internal/check/settings"
	"postern/internal/finding"
	"postern/internal/setup"
)

// Result is what an examination has found, in the JSON form of the check command.
type Result struct {
	Findings   []finding.Finding `json:"findings"`
	Summary    Summary           `json:"summary"`
	Unfinished []string          `json:"unfinished,omitempty"` // what was not looked at to the end, for want of time or of an answer
	Notes      []string          `json:"notes,omitempty"`      // what a server warns of and no code fits
}

// Failed says whether there is a finding that is an error.
func (r Result) Failed() bool { return r.Summary.Errors > 0 }

// Examine is the findings of Run.
func Examine(ctx context.Context, s *setup.Setup, o Options) []finding.Finding {
	return Run(ctx, s, o).Findings
}

// At the end of the time the rooms have patience to notice it, and as much again
// is kept for saying what was found.
const patience = 250 * time.Millisecond

// Run examines a whole configuration. The time is bounded by Options.Time, or by ctx
// when that ends earlier. A room that does not end by then is left alone with its work:
// what it has found until then counts.
func Run(ctx context.Context, s *setup.Setup, o Options) Result {
	return RunOn(ctx, inventory.New(s), o)
}

// RunOn is Run on an inventory that others ask too.
func RunOn(ctx context.Context, i *inventory.Inventory, o Options) Result {
	limit := time.Now().Add(cmp.Or(o.Time, Time))
	if d, ok := ctx.Deadline(); ok && d.Before(limit) {
		limit = d
	}
	leave, cancelLeave := context.WithDeadline(ctx, limit.Add(-patience))
	defer cancelLeave()
	ctx, cancel := context.WithDeadline(leave, limit.Add(-2*patience))
	defer cancel()
	x := &examination{dir: i.Setup.Dir, hide: secretsOf(i.Setup.Opener, i.Setup.Settings), progress: o.Progress}
	x.begin(rooms(o, x.unanswered))
	x.start(ctx, i)
	x.wait(leave)
	r := x.result()
	for _, note := range settings.Notes(i.Setup) {
		r.Notes = append(r.Notes, x.hide.text(note))
	}
	return r
}

// examination is the work of all rooms on one configuration.
type examination struct {
	dir      string
	hide     secrets
	progress func(part float64, what string)
	works    []*work

	mu      sync.Mutex // guards what follows, and what works have done
	ended   int
	summary Summary
	silent  []string // who does not answer, and what was not looked at for that
}

// work is that of one room.
type work struct {
	room
	done  chan struct{} // closed at the end
	list  finding.List
	whole bool // it ended in time
}

// begin gives each room its work. Counting what is there is one, too.
func (x *examination) begin(rooms []room) {
	for _, r := range append(rooms, room{name: "domains and tables", examine: x.count}) {
		if r.examine != nil {
			x.works = append(x.works, &work{room: r, done: make(chan struct{})})
		}
	}
}

// start sets all rooms to work.
func (x *examination) start(ctx context.Context, i *inventory.Inventory) {
	x.say(0, "tables")
	for _, w := range x.works {
		go func() {
			defer close(w.done)
			w.examine(ctx, i, func(f finding.Finding) {
				f = x.hide.finding(f).RelativeTo(x.dir)
				x.mu.Lock()
				defer x.mu.Unlock()
				w.list.Add(f)
			})
			x.endOf(w, ctx.Err() == nil)
		}()
	}
}

// endOf notes that a work has ended, and says what others are still about.
func (x *examination) endOf(w *work, whole bool) {
	x.mu.Lock()
	w.whole = whole
	x.ended++
	part, rest := float64(x.ended)/float64(len(x.works)), ""
	for _, other := range x.works {
		if !other.whole && other != w {
			rest = other.name
			break
		}
	}
	x.mu.Unlock()
	x.say(part, rest)
}

func (x *examination) say(part float64, what string) {
	if x.progress != nil {
		x.progress(part, what)
	}
}

// wait waits for all rooms, but not longer than for the end of leave.
func (x *examination) wait(leave context.Context) {
	for _, w := range x.works {
		select {
		case <-w.done:
		case <-leave.Done():
			return
		}
	}
}

// unanswered notes that no server of the DNS answers.
func (x *examination) unanswered(servers string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.silent = append(x.silent, inDNS+" (no answer from "+servers+")")
}

// result is what was found so far.
func (x *examination) result() Result {
	x.mu.Lock()
	defer x.mu.Unlock()
	var all finding.List
	r := Result{Summary: x.summary}
	r.Unfinished = slices.Clone(x.silent)
	for _, w := range x.works {
		for _, f := range w.list.Sorted() {
			all.Add(f)
		}
		if !w.whole {
			r.Unfinished = append(r.Unfinished, w.name)
		}
	}
	r.Findings = all.Sorted()
	r.Summary.count(r.Findings)
	return r
}
