// Tables measures the lookup tables of Postern side by side with Debian's
// postmap, in one run on one machine: building indexes of a million entries,
// asking them for a million keys, the memory of an open table, and the look-ups
// of one and of eight clients inside the process. It holds on the way that each
// side reads what the other wrote.
//
//	go run ./bench/tables [-entries 1000000] [-rounds 3] [-only build] [-postern bin/postern]
//
// Every figure is a median; the two sides take turns. Ratios above 1 mean that
// Postern is faster.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// bench is one run.
type bench struct {
	postern string
	entries int
	rounds  int
	dir     string // of everything that is written
}

// parts are what can be measured, in order.
var parts = []struct {
	name string
	run  func(b *bench, ctx context.Context) error
}{
	{"build", (*bench).builds},
	{"query", (*bench).queries},
	{"texthash", (*bench).texthash},
	{"memory", (*bench).memory},
	{"process", (*bench).process},
}

func main() {
	b := &bench{}
	var only, child string
	flag.StringVar(&b.postern, "postern", "bin/postern", "the program to measure")
	flag.IntVar(&b.entries, "entries", 1_000_000, "entries of a table")
	flag.IntVar(&b.rounds, "rounds", 3, "rounds of each measurement")
	flag.StringVar(&only, "only", "", "only the part of this name: build, query, texthash, memory, process")
	flag.StringVar(&child, "memory-of", "", "print the memory that this open table costs, and end")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if child != "" {
		check(memoryOf(ctx, child, b.entries))
		return
	}
	check(b.run(ctx, only))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/tables:", err)
		os.Exit(1)
	}
}

func (b *bench) run(ctx context.Context, only string) (err error) {
	if b.postern, err = filepath.Abs(b.postern); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "postern-tables-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if err := os.WriteFile(b.path("main.cf"), nil, 0o644); err != nil {
		return err
	}
	if err := b.writeSources(); err != nil {
		return err
	}
	for _, p := range parts {
		if only != "" && only != p.name {
			continue
		}
		if err := p.run(b, ctx); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

// key and value are those of entry i.
func key(i int) string   { return fmt.Sprintf("user%07d@domain%04d.example", i, i%5000) }
func value(i int) string { return fmt.Sprintf("domain%04d.example/user%07d/", i%5000, i) }

// orders are the ways in which the source texts are written.
var orders = []string{"random", "sorted"}

// writeSources writes the rows in both orders, and the keys in a third.
func (b *bench) writeSources() error {
	rng := rand.New(rand.NewPCG(1, 2))
	random := rng.Perm(b.entries)
	sorted := slices.Clone(random)
	slices.SortFunc(sorted, func(i, j int) int { return strings.Compare(key(i), key(j)) })
	asked := rng.Perm(b.entries)
	return firstError(
		b.lines("random", random, func(i int) string { return key(i) + "\t" + value(i) }),
		b.lines("sorted", sorted, func(i int) string { return key(i) + "\t" + value(i) }),
		b.lines("keys", asked, key),
	)
}

func (b *bench) lines(name string, order []int, line func(i int) string) error {
	file, err := os.Create(b.path(name))
	if err != nil {
		return err
	}
	defer file.Close()
	w := bufio.NewWriterSize(file, 1<<20)
	for _, i := range order {
		w.WriteString(line(i))
		w.WriteByte('\n')
	}
	return w.Flush()
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// side is one of the two that are compared.
type side struct {
	name    string
	postmap []string
}

func (b *bench) sides() []side {
	return []side{{"postmap", []string{"postmap", "-c", b.dir}}, {"Postern", []string{b.postern, "postmap", "-c", b.dir}}}
}

// command is a call of postmap of a side.
func (s side) command(ctx context.Context, args ...string) *exec.Cmd {
	all := append(slices.Clone(s.postmap), args...)
	cmd := exec.CommandContext(ctx, all[0], all[1:]...)
	cmd.Stderr = os.Stderr
	return cmd
}

// duel measures what both sides do in turn, and prints it. do returns how long
// it took.
func (b *bench) duel(what string, do func(s side) (time.Duration, error)) error {
	sides := b.sides()
	took := make([][]time.Duration, len(sides))
	for range b.rounds {
		for i, s := range sides {
			d, err := do(s)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", what, s.name, err)
			}
			took[i] = append(took[i], d)
		}
	}
	theirs, ours := median(took[0]), median(took[1])
	fmt.Printf("%-34s postmap %7.3f s   Postern %7.3f s   %5.2f times\n", what, theirs.Seconds(), ours.Seconds(), theirs.Seconds()/ours.Seconds())
	return nil
}

func median[T int64 | float64 | time.Duration](v []T) T {
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}

// timed runs a command.
func timed(cmd *exec.Cmd) (time.Duration, error) {
	start := time.Now()
	err := cmd.Run()
	return time.Since(start), err
}
