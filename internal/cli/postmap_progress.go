package cli

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/sys/unix"
)

// A build shows a bar on a terminal when its source text is large, or when it
// has taken that long.
const (
	largeSource = 32 << 20 // about a million rows
	longBuild   = time.Second
)

// buildBar shows how far a build is, if it takes long and a terminal looks on.
// What is written to it meanwhile stands above the bar.
type buildBar struct {
	w     io.Writer
	name  string
	large bool
	watch bool // w is a terminal
	start time.Time
	now   func() time.Time

	mu    sync.Mutex // guards what follows
	group *mpb.Progress
	bar   *mpb.Bar
}

// barParts is how many steps the bar has.
const barParts = 1000

// newBuildBar returns a bar for the table of that name, built from the file
// path. Nothing is shown yet.
func newBuildBar(w io.Writer, name, path string) *buildBar {
	b := &buildBar{w: w, name: name, watch: isTerminal(w), start: time.Now(), now: time.Now}
	if info, err := os.Stat(path); err == nil {
		b.large = info.Size() >= largeSource
	}
	return b
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// progress is told how much is done, from 0 to 1.
func (b *buildBar) progress(part float64) {
	if !b.watch {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bar == nil {
		if !b.large && b.now().Sub(b.start) < longBuild {
			return
		}
		b.group = mpb.New(mpb.WithOutput(b.w), mpb.WithAutoRefresh())
		b.bar = b.group.AddBar(barParts, mpb.BarRemoveOnComplete(),
			mpb.PrependDecorators(decor.Name(b.name+" ")), mpb.AppendDecorators(decor.Percentage()))
	}
	// The last step is that of end: a bar that is full cannot be told anything.
	b.bar.SetCurrent(min(int64(part*barParts), barParts-1))
}

// Write passes on what the program has to say.
func (b *buildBar) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.group != nil {
		return b.group.Write(p)
	}
	return b.w.Write(p)
}

// end takes the bar away. Nothing may be written to it afterwards.
func (b *buildBar) end(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.bar == nil:
		return
	case err != nil:
		b.bar.Abort(true)
	default:
		b.bar.SetCurrent(barParts)
	}
	b.group.Wait()
}
