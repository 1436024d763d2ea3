// Check measures check and plan on a large host: 100 000 mailboxes in 1 000 domains
// and 50 000 aliases, once in text tables and once in SQLite. Printed are the time of
// each command, what of it the processors were busy with, and the most memory it had.
//
//	go run ./bench/check [-domains 1000] [-mailboxes 100] [-aliases 50] [-postern bin/postern]
//
// The limits that a host of this size may expect are 10 seconds and 500 MiB; when one
// is passed, the exit status is 1.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// What a command may cost.
const (
	maxTime   = 10 * time.Second
	maxMemory = 500 << 20
)

// bench is one run.
type bench struct {
	host
	postern string
	dir     string
	over    bool // a limit was passed
}

func main() {
	b := &bench{}
	flag.StringVar(&b.postern, "postern", "bin/postern", "the program to measure")
	flag.IntVar(&b.domains, "domains", 1000, "hosted domains")
	flag.IntVar(&b.mailboxes, "mailboxes", 100, "mailboxes of each domain")
	flag.IntVar(&b.aliases, "aliases", 50, "aliases of each domain")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench/check:", err)
		os.Exit(2)
	}
	if b.over {
		os.Exit(1)
	}
}

func (b *bench) run(ctx context.Context) (err error) {
	if b.postern, err = filepath.Abs(b.postern); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "postern-check-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if err = os.Chmod(b.dir, 0o755); err != nil { // the owner of the mailboxes has to get there
		return err
	}
	fmt.Printf("%d addresses in %d domains, %d aliases\n\n%-10s %-6s %8s %8s %9s\n", b.domains*b.mailboxes, b.domains, b.domains*b.aliases,
		"tables", "", "seconds", "CPU", "peak MiB")
	for _, kind := range []struct {
		name  string
		write func(dir string, h host) (changed string, err error)
	}{{"text", writeText}, {"sqlite", writeSQLite}} {
		dir := filepath.Join(b.dir, kind.name)
		if err := errors.Join(os.Mkdir(dir, 0o755), os.Chmod(dir, 0o755)); err != nil {
			return err
		}
		with, err := kind.write(dir, b.host)
		if err != nil {
			return err
		}
		if err := b.measure(ctx, kind.name, dir, with); err != nil {
			return err
		}
	}
	return nil
}

// measure runs both commands on a directory, and holds that they saw all of it.
func (b *bench) measure(ctx context.Context, name, dir, with string) error {
	out, err := b.time(ctx, name, "check", "-c", dir, "--json")
	if err != nil {
		return err
	}
	var checked struct {
		Summary    struct{ Errors, Warnings int }
		Unfinished []string
	}
	if err := json.Unmarshal(out, &checked); err != nil {
		return fmt.Errorf("check: %w", err)
	}
	if len(checked.Unfinished) > 0 || checked.Summary.Errors+checked.Summary.Warnings > 0 {
		return fmt.Errorf("check of a sound configuration: %.2000s", out)
	}
	if out, err = b.time(ctx, name, "plan", "-c", dir, "--with", with, "--json"); err != nil {
		return err
	}
	var planned struct {
		Summary    struct{ Addresses, Changed int }
		Unfinished []string
	}
	if err := json.Unmarshal(out, &planned); err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	if got := planned.Summary; len(planned.Unfinished) > 0 || got.Changed != changes || got.Addresses < b.domains*(b.mailboxes+b.aliases) {
		return fmt.Errorf("plan of %d changes: %d of %d addresses, not to the end: %v", changes, got.Changed, got.Addresses, planned.Unfinished)
	}
	return nil
}

// time runs a command, and prints what it cost.
func (b *bench) time(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, b.postern, args...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	start := time.Now()
	err := cmd.Run()
	took := time.Since(start)
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		return nil, fmt.Errorf("%v: %w: %s", args, err, problems.Bytes())
	}
	memory := int64(0)
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		memory = usage.Maxrss << 10
	}
	note := ""
	if took > maxTime || memory > maxMemory {
		b.over, note = true, "  over the limit"
	}
	fmt.Printf("%-10s %-6s %8.2f %8.2f %9.0f%s\n", name, args[0], took.Seconds(),
		(cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), float64(memory)/(1<<20), note)
	return out.Bytes(), nil
}
