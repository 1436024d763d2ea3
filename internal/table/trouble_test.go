package table

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type lines []string

func (l *lines) Infof(format string, args ...any) {
	*l = append(*l, "info: "+fmt.Sprintf(format, args...))
}
func (l *lines) Warningf(format string, args ...any) { *l = append(*l, fmt.Sprintf(format, args...)) }

func TestTroubles(t *testing.T) {
	var log lines
	now := time.Unix(1000, 0)
	o := &Opener{Log: &log, Now: func() time.Time { return now }}
	var troubles Troubles
	for range 3 {
		troubles.Tell(o, "a", "a: %s", "refused")
	}
	troubles.Tell(o, "b", "b: refused")
	now = now.Add(59 * time.Second)
	troubles.Tell(o, "a", "a: refused")
	now = now.Add(time.Second)
	troubles.Tell(o, "a", "a: reset")
	troubles.Over(o, "a", "a answers")
	troubles.Over(o, "a", "a answers")
	troubles.Tell(o, "a", "a: refused")
	want := lines{"a: refused", "b: refused", "a: reset (and 3 times more since the last warning)", "info: a answers", "a: refused"}
	if diff := cmp.Diff(want, log); diff != "" {
		t.Errorf("log (-want +got)\n%s", diff)
	}
}
