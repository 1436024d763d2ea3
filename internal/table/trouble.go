package table

import (
	"fmt"
	"maps"
	"sync"
	"time"
)

// troubleInterval is how often one lasting trouble is told.
const troubleInterval = time.Minute

// Troubles tells of what goes wrong again and again, once a minute: a server
// that does not answer would otherwise fill the log with every message that
// asks for it. The zero Troubles is ready for use, and safe for concurrent use.
type Troubles struct {
	mu    sync.Mutex // guards what follows
	known map[string]*trouble
}

// trouble is one thing that is wrong.
type trouble struct {
	told   time.Time
	silent int // how often it happened since
}

// Tell logs a warning about thing, such as the name of a server, unless it did
// so within the last minute. What was kept back in between is counted in the
// next one.
func (t *Troubles) Tell(o *Opener, thing, format string, args ...any) {
	t.mu.Lock()
	now := o.Clock()
	known := t.known[thing]
	if known != nil && now.Sub(known.told) < troubleInterval {
		known.silent++
		t.mu.Unlock()
		return
	}
	again := ""
	if known != nil && known.silent > 0 {
		again = fmt.Sprintf(" (and %d times more since the last warning)", known.silent)
	}
	if t.known == nil {
		t.known = make(map[string]*trouble)
	}
	t.forget(now)
	t.known[thing] = &trouble{told: now}
	t.mu.Unlock()
	if o.Log != nil {
		o.Log.Warningf("%s%s", fmt.Sprintf(format, args...), again)
	}
}

// mostTroubles bounds the memory of things that a client can name.
const mostTroubles = 1000

// forget makes room for another thing: those told long ago go, or all.
func (t *Troubles) forget(now time.Time) {
	if len(t.known) < mostTroubles {
		return
	}
	maps.DeleteFunc(t.known, func(_ string, old *trouble) bool { return now.Sub(old.told) >= troubleInterval })
	if len(t.known) >= mostTroubles {
		clear(t.known)
	}
}

// noteInterval is how long a line that is no warning is not repeated: two uses
// of one table see the same within this time.
const noteInterval = 2 * time.Second

// note logs a line that is no warning, unless it did so just now.
func (t *Troubles) note(o *Opener, text string) {
	now := o.Clock()
	t.mu.Lock()
	known := t.known[text]
	fresh := known == nil || now.Sub(known.told) >= noteInterval
	if fresh {
		if t.known == nil {
			t.known = make(map[string]*trouble)
		}
		t.forget(now)
		t.known[text] = &trouble{told: now}
	}
	t.mu.Unlock()
	if fresh {
		o.Log.Infof("%s", text)
	}
}

// Over says that thing is well again. When it was not, that is logged.
func (t *Troubles) Over(o *Opener, thing, format string, args ...any) {
	t.mu.Lock()
	known := t.known[thing]
	delete(t.known, thing)
	t.mu.Unlock()
	if known != nil && o.Log != nil {
		o.Log.Infof(format, args...)
	}
}
