package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"time"

	"postern/internal/check"
	"postern/internal/finding"
	"postern/internal/server"
)

// serveCheckTime bounds the check of serve: the mail of a whole host waits for it at
// the start. With --strict nothing is served that was not looked at to the end, and
// check has all its time.
const serveCheckTime = 1500 * time.Millisecond

// passing are errors that end by themselves, as when the database of a host starts
// after its mail server: they refuse nothing.
var passing = []string{"VD306"}

// examine is the check that serve makes at its start and at each reload: what would
// misdeliver is said before mail meets it. strict: an error refuses. say, unless it is
// nil, gets what is logged at the start, for who sits in front of the server.
func examine(dir string, strict bool, say io.Writer) server.Examine {
	return func(ctx context.Context) ([]string, error) {
		limit := serveCheckTime
		if strict {
			limit = check.Time
		}
		result, err := checkAside(ctx, dir, limit)
		if err != nil {
			return nil, err
		}
		lines, refusing := errorLines(result)
		if len(result.Unfinished) > 0 {
			lines = append(lines, fmt.Sprintf("the check of %s did not end in %v: run postern check -c %s", result.Unfinished[0], limit, dir))
		}
		if say != nil {
			for _, line := range lines {
				fmt.Fprintf(say, "postern: %s\n", line)
			}
			say = nil // at the start only
		}
		switch {
		case !strict:
		case len(refusing) > 0:
			return lines, fmt.Errorf("refused by --strict: %s; the first is %s", plural(len(refusing), "error"), refusing[0])
		case len(result.Unfinished) > 0:
			return lines, fmt.Errorf("refused by --strict: the check of %s did not end in %v", result.Unfinished[0], limit)
		}
		return lines, nil
	}
}

// checkAside runs check in a process of its own: neither the memory that it takes nor
// a fault in it is the server's. What is wrong with the process itself is said as a
// line that did not end.
func checkAside(ctx context.Context, dir string, limit time.Duration) (check.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, limit+time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "check", "-c", dir, "--json", "--serving", limit.String())
	cmd.Args[0] = "postern"
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	var ended *exec.ExitError
	if errors.As(err, &ended) && ended.ExitCode() == couldNotRun {
		return check.Result{}, errors.New(strings.TrimPrefix(strings.TrimSpace(complaint.String()), "postern: "))
	}
	var result check.Result
	if json.Unmarshal(out.Bytes(), &result) != nil {
		result.Unfinished = []string{"the configuration"}
	}
	return result, nil
}

// errorLines are the errors of a check for the log, a line for each, and those of them
// that refuse a configuration with --strict.
func errorLines(r check.Result) (lines, refusing []string) {
	for _, f := range r.Findings {
		if f.Severity != finding.Error {
			continue
		}
		line := f.Code + " " + f.Message
		if len(f.At) > 0 {
			line += " (" + f.At[0].String() + ")"
		}
		lines = append(lines, finding.Printable(line+"; fix: "+f.Fix))
		if !slices.Contains(passing, f.Code) {
			refusing = append(refusing, line)
		}
	}
	return lines, refusing
}
