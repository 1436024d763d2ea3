package cli

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// bar shows on a terminal how far a command is and what it looks at, once it has
// taken longer than a second. It is safe for concurrent use.
type bar struct {
	w    io.Writer
	what atomic.Pointer[string]

	mu    sync.Mutex // guards what follows
	timer *time.Timer
	group *mpb.Progress
	bar   *mpb.Bar
	part  float64
	over  bool
}

// newBar returns the bar of a command. Nothing is shown yet, and never when w is no
// terminal.
func newBar(w io.Writer, name string) *bar {
	b := &bar{w: w}
	b.what.Store(&name)
	if isTerminal(w) {
		b.timer = time.AfterFunc(longBuild, b.show)
	}
	return b
}

// show puts the bar on the terminal.
func (b *bar) show() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over || b.bar != nil {
		return
	}
	name := decor.Any(func(decor.Statistics) string { return *b.what.Load() + " " })
	b.group = mpb.New(mpb.WithOutput(b.w), mpb.WithAutoRefresh())
	b.bar = b.group.AddBar(barParts, mpb.BarRemoveOnComplete(), mpb.PrependDecorators(name), mpb.AppendDecorators(decor.Percentage()))
	b.set()
}

// at is told how much is done, from 0 to 1, and what is being looked at.
func (b *bar) at(part float64, what string) {
	if what != "" {
		b.what.Store(&what)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.part = max(b.part, part)
	b.set()
}

// set moves the bar. The last step is that of end: a bar that is full cannot be
// told anything. b.mu is held.
func (b *bar) set() {
	if b.bar != nil && !b.over {
		b.bar.SetCurrent(min(int64(b.part*barParts), barParts-1))
	}
}

// end takes the bar away.
func (b *bar) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return
	}
	b.over = true
	if b.timer != nil {
		b.timer.Stop()
	}
	if b.bar != nil {
		b.bar.Abort(true)
		b.group.Wait()
	}
}
