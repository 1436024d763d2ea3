package cli

import (
	"context"
	"fmt"
	"time"

	"postern/internal/check"
	"postern/internal/finding"
	"postern/internal/server"
	"postern/internal/setup"
)

// serveCheckTime bounds the check of serve: the mail of a whole host waits for it at
// the start. With --strict nothing is served that was not looked at to the end, and
// check has all its time.
const serveCheckTime = 5 * time.Second

// examine is the check that serve makes at its start and at each reload: what would
// misdeliver is said before mail meets it. strict: an error refuses.
func examine(dir string, strict bool) server.Examine {
	return func(ctx context.Context) ([]string, error) {
		limit := serveCheckTime
		if strict {
			limit = check.Time
		}
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		s, err := setup.Open(ctx, dir, setup.Options{})
		if err != nil {
			return nil, err
		}
		defer s.Close()
		result := check.Run(ctx, s, check.Options{})
		lines, first := errorLines(result)
		if !strict {
			return lines, nil
		}
		switch {
		case result.Failed():
			return lines, fmt.Errorf("refused by --strict: %s; the first is %s", plural(result.Summary.Errors, "error"), first)
		case len(result.Unfinished) > 0:
			return lines, fmt.Errorf("refused by --strict: the check of %s did not end in %v", result.Unfinished[0], limit)
		}
		return lines, nil
	}
}

// errorLines are the errors of a check for the log, a line for each, and the first
// of them.
func errorLines(r check.Result) (lines []string, first string) {
	for _, f := range r.Findings {
		if f.Severity != finding.Error {
			continue
		}
		line := f.Code + " " + f.Message
		if len(f.At) > 0 {
			line += " (" + f.At[0].String() + ")"
		}
		lines = append(lines, finding.Printable(line+"; fix: "+f.Fix))
		if first == "" {
			first = line
		}
	}
	return lines, first
}
