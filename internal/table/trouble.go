package table

import (
	"fmt"
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
	t.known[thing] = &trouble{told: now}
	t.mu.Unlock()
	o.Warn("%s%s", fmt.Sprintf(format, args...), again)
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
