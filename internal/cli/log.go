package cli

import (
	"fmt"
	"io"
)

// stderrLog shows warnings of a command that is not the server. What is only
// information is left out.
type stderrLog struct{ w io.Writer }

func (stderrLog) Infof(string, ...any) {}

func (l stderrLog) Warningf(format string, args ...any) {
	fmt.Fprintf(l.w, "postern: warning: "+format+"\n", args...)
}
