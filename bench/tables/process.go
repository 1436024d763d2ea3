package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/table"
	"postern/internal/table/builtin"
)

// open opens a table as the server does.
func open(ctx context.Context, spec string) (table.Table, func() error, error) {
	o := &table.Opener{Types: builtin.Types(), UTF8: true}
	t, err := o.Open(ctx, spec, table.Use{Fold: true})
	return t, o.Close, err
}

// process measures look-ups inside the process, by one client and by eight.
func (b *bench) process(ctx context.Context) error {
	fmt.Printf("\nlook-ups inside the process, %d entries (look-ups/s)\n", b.entries)
	if err := b.theirIndexes(ctx); err != nil {
		return err
	}
	specs := []string{"texthash:" + b.path("random")}
	for _, typ := range indexed {
		specs = append(specs, typ+":"+b.path("their-"+typ))
	}
	for _, spec := range specs {
		t, end, err := open(ctx, spec)
		if err != nil {
			return err
		}
		one, err := b.rate(ctx, t, 1, b.entries)
		if err != nil {
			return err
		}
		eight, err := b.rate(ctx, t, 8, b.entries)
		if err != nil {
			return err
		}
		k := key(b.entries / 2)
		allocs := testing.AllocsPerRun(1000, func() { t.Lookup(ctx, k) })
		fmt.Printf("%-12s one client %9.0f   eight %9.0f   %v allocations a look-up\n", strings.SplitN(spec, ":", 2)[0], one, eight, allocs)
		if err := end(); err != nil {
			return err
		}
	}
	return nil
}

// rate is how many look-ups a second clients get together, of n in all.
func (b *bench) rate(ctx context.Context, t table.Table, clients, n int) (float64, error) {
	var failed atomic.Pointer[error]
	var wait sync.WaitGroup
	start := time.Now()
	for c := range clients {
		wait.Go(func() {
			for i := c; i < n; i += clients {
				// A stride that has no factor in common visits every entry once.
				entry := i * 7919 % b.entries
				if r, err := t.Lookup(ctx, key(entry)); err != nil || r.Value != value(entry) {
					err = fmt.Errorf("%s gives %q, %v for %s", t.Name(), r.Value, err, key(entry))
					failed.Store(&err)
					return
				}
			}
		})
	}
	wait.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return float64(n) / time.Since(start).Seconds(), nil
}

// memory measures what an open table costs, in a process of its own.
func (b *bench) memory(ctx context.Context) error {
	fmt.Printf("\nanonymous memory of an open table of %d entries, after 100000 look-ups\n", b.entries)
	if err := b.theirIndexes(ctx); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for _, typ := range indexed {
		cmd := exec.CommandContext(ctx, self, "-memory-of", typ+":"+b.path("their-"+typ), "-entries", strconv.Itoa(b.entries))
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return err
		}
		fmt.Printf("%-12s %s", typ, out)
	}
	return nil
}

// memoryOf prints the memory that a table costs this process.
func memoryOf(ctx context.Context, spec string, entries int) error {
	before, err := anonymous()
	if err != nil {
		return err
	}
	t, end, err := open(ctx, spec)
	if err != nil {
		return err
	}
	defer end()
	for i := range 100_000 {
		if _, err := t.Lookup(ctx, key(i*7919%entries)); err != nil {
			return err
		}
	}
	after, err := anonymous()
	if err != nil {
		return err
	}
	fmt.Printf("%.1f MiB\n", float64(after-before)/1024)
	return nil
}

// anonymous is the anonymous resident memory of this process in KiB (proc(5)).
func anonymous() (int, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			return strconv.Atoi(strings.Fields(rest)[0])
		}
	}
	return 0, fmt.Errorf("/proc/self/status has no RssAnon")
}
