package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/internal/check"
	"postern/internal/finding"
	"postern/internal/setup"
)

// checkOptions are the flags of check.
type checkOptions struct {
	json    bool
	dns     bool
	serving time.Duration // serve asks: it waits as long, and other servers are left in peace; 0: somebody else
}

// newCheck examines a configuration. Exit status: 0 no error was found, 1 one was,
// 2 could not run.
func newCheck(env Env) *cobra.Command {
	cmd := &cobra.Command{Use: "check [flags]", Short: "Say what is wrong in a configuration, where, and what to change"}
	dir := configDir(cmd, env)
	var o checkOptions
	cmd.Flags().BoolVar(&o.json, "json", false, "print one JSON object")
	cmd.Flags().BoolVar(&o.dns, "dns", false, "ask the DNS too")
	cmd.Flags().DurationVar(&o.serving, "serving", 0, "how long serve waits for the answer")
	if err := cmd.Flags().MarkHidden("serving"); err != nil {
		panic(err)
	}
	code := cmd.Flags().String("explain", "", "print the manual's page of a code, VD101 to VD517")
	wrongCall(cmd, env, couldNotRun)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *code != "" {
			return exit(env, explainCode(env.Stdout, *code))
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), check.Time)
		defer cancel()
		result, err := runCheck(ctx, env, *dir, o)
		if err != nil {
			return exit(env, err)
		}
		if result.Failed() {
			return status(1)
		}
		return nil
	}
	return cmd
}

// couldNotRun is the exit status of check and plan when they have no answer.
const couldNotRun = 2

// wrongCall makes a command without arguments end with that status when it is
// called wrongly.
func wrongCall(cmd *cobra.Command, env Env, st status) {
	say := func(err error) error {
		fmt.Fprintf(env.Stderr, "postern: %v\n", err)
		return st
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return say(err) })
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := noArguments(cmd, args); err != nil {
			return say(err)
		}
		return nil
	}
}

// exit says why a command could not run, if there is an error.
func exit(env Env, err error) error {
	if err == nil {
		return nil
	}
	fmt.Fprintf(env.Stderr, "postern: %v\n", err)
	return status(couldNotRun)
}

// interrupted is the error of a command that somebody has ended: what it has found
// until then is no answer. That its own time is over is none.
func interrupted(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return errors.New("interrupted")
	}
	return nil
}

// explainCode prints the page of a code.
func explainCode(w io.Writer, code string) error {
	page, ok := finding.Page(code)
	if !ok {
		return fmt.Errorf("there is no code %q; the codes are %s", code, strings.Join(finding.Codes(), " "))
	}
	_, err := io.WriteString(w, page)
	return err
}

// runCheck examines a directory and prints what was found.
func runCheck(ctx context.Context, env Env, dir string, o checkOptions) (check.Result, error) {
	modestly()
	bar := newBar(env.Stderr, "check")
	defer bar.end()
	s, err := setup.Open(ctx, dir, setup.Options{})
	if err != nil {
		return check.Result{}, err
	}
	defer s.Close()
	result := check.Run(ctx, s, check.Options{DNS: o.dns, Silent: o.serving > 0, Time: o.serving, Progress: bar.at})
	bar.end()
	if err := interrupted(ctx); err != nil {
		return result, err
	}
	if o.json {
		return result, toJSON(env.Stdout).Encode(result)
	}
	printResult(env.Stdout, result, colours(env, env.Stdout))
	return result, nil
}

// enoughMemory is what check and plan should do with on a host with a hundred
// thousand addresses.
const enoughMemory = 352 << 20

// modestly makes the collector work harder when a command comes near enoughMemory:
// beside a mail server, time is cheaper than memory.
func modestly() { debug.SetMemoryLimit(enoughMemory) }

// toJSON writes objects for programs, one on a line. Addresses stay readable.
func toJSON(w io.Writer) *json.Encoder {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc
}

// colours says whether what is written there may be coloured: on a terminal, unless
// NO_COLOR is set (no-color.org) or the terminal is a dumb one.
func colours(env Env, w io.Writer) bool {
	return isTerminal(w) && env.Getenv("NO_COLOR") == "" && env.Getenv("TERM") != "dumb"
}

// printResult writes what was found for people.
func printResult(w io.Writer, r check.Result, colour bool) {
	printFindings(w, r.Findings, colour)
	for _, note := range r.Notes {
		fmt.Fprintf(w, "note: %s\n", note)
	}
	if len(r.Unfinished) > 0 {
		fmt.Fprintf(w, "not examined to the end: %s\n", strings.Join(r.Unfinished, ", "))
	}
	s := r.Summary
	counts := []string{"no errors"}
	if s.Errors > 0 {
		counts[0] = plural(s.Errors, "error")
	}
	if s.Warnings > 0 {
		counts = append(counts, plural(s.Warnings, "warning"))
	}
	if s.Infos > 0 {
		counts = append(counts, plural(s.Infos, "info"))
	}
	fmt.Fprintf(w, "%s in %s\n", strings.Join(counts, ", "), looked(s))
}

// printFindings writes findings with an empty line behind each.
func printFindings(w io.Writer, list []finding.Finding, colour bool) {
	for _, f := range list {
		f.Print(w, colour)
		fmt.Fprintln(w)
	}
}

// looked says what was there to look at.
func looked(s check.Summary) string {
	var kinds []string
	total := 0
	for _, k := range []struct {
		n    int
		name string
	}{{s.Domains.Local, "local"}, {s.Domains.VirtualAlias, "virtual alias"}, {s.Domains.VirtualMailbox, "virtual mailbox"}, {s.Domains.Relay, "relay"}} {
		total += k.n
		if k.n > 0 {
			kinds = append(kinds, fmt.Sprintf("%d %s", k.n, k.name))
		}
	}
	rows := 0
	for _, t := range s.Tables {
		rows += t.Entries
	}
	domains := plural(total, "domain")
	if len(kinds) > 0 {
		domains += " (" + strings.Join(kinds, ", ") + ")"
	}
	return fmt.Sprintf("%s, %s with %d entries", domains, plural(len(s.Tables), "table"), rows)
}

// plural is a number of things.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
