// Bench measures Postern side by side with Debian's Postfix: the same machine,
// the same recipients, sync on for both, each round on a fresh ext4 file system
// (a loop-mounted image when run as root), the servers in turn. It prints every
// figure, the medians and the ratio.
//
//	go run ./bench [-rounds 3] [-messages 5000] [-postern bin/postern] [-only TEXT] [-servers TEXT]
//
// A rate is that of the whole way: from the first connection to the last file in
// a Maildir, or the last message at the sink. CPU is that of all processes of
// the server. The load comes from another process of this program, without
// pipelining, on loopback.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
)

// contender is a server and how it is set up.
type contender struct {
	name  string
	extra string // lines for main.cf
	start func(ctx context.Context, b *bench, dir string) (*process, error)
}

var contenders = []contender{
	{"Postfix as installed", "", startPostfix},
	{"Postfix, in_flow_delay=0", "in_flow_delay = 0\n", startPostfix},
	{ours, "", startPostern},
}

const ours = "Postern"

type bench struct {
	postern  string
	messages int
	idle     int
	backlog  int
	rounds   int
	only     string
	servers  string
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == loadCommand {
		loadMain(os.Args[2])
		return
	}
	b := &bench{}
	flag.StringVar(&b.postern, "postern", "bin/postern", "the program to measure")
	flag.IntVar(&b.messages, "messages", 5000, "messages of a run")
	flag.IntVar(&b.idle, "idle", 10000, "idle connections to hold (Postfix gets 90)")
	flag.IntVar(&b.backlog, "backlog", 1000000, "messages in the queue before the start")
	flag.IntVar(&b.rounds, "rounds", 3, "rounds of each workload")
	flag.StringVar(&b.only, "only", "", "only workloads whose name contains this text")
	flag.StringVar(&b.servers, "servers", "", "only servers whose name contains this text")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (b *bench) run(ctx context.Context) error {
	for _, tool := range []string{"postfix", "mkfs.ext4"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is needed: %w", tool, err)
		}
	}
	abs, err := filepath.Abs(b.postern)
	if err != nil {
		return err
	}
	b.postern = abs
	chosen := slices.DeleteFunc(slices.Clone(contenders), func(c contender) bool { return !strings.Contains(c.name, b.servers) })
	for _, w := range workloads {
		if !strings.Contains(w.name, b.only) {
			continue
		}
		if err := b.compare(ctx, w, chosen); err != nil {
			return err
		}
	}
	return nil
}

// compare runs one workload against all servers, in turn, and prints it.
func (b *bench) compare(ctx context.Context, w workload, chosen []contender) error {
	fmt.Printf("\n%s (%s)\n", w.name, w.unit)
	if w.crowded {
		chosen = slices.DeleteFunc(slices.Clone(chosen), func(c contender) bool { return c.name != ours })
	}
	all := make([][]figures, len(chosen))
	for round := range b.rounds {
		for i, c := range chosen {
			f, err := b.round(ctx, w, c)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", w.name, c.name, err)
			}
			fmt.Printf("  round %d  %-26s %s\n", round+1, c.name, f)
			all[i] = append(all[i], f)
		}
	}
	medians := make([]figures, len(chosen))
	for i := range chosen {
		medians[i] = median(all[i])
	}
	for i, c := range chosen {
		fmt.Printf("  median   %-26s %s\n", c.name, medians[i])
	}
	last := len(chosen) - 1
	if last < 0 || chosen[last].name != ours {
		return nil
	}
	for i, c := range chosen[:last] {
		fmt.Printf("  Postern to %s: %s\n", c.name, medians[last].against(medians[i], w))
	}
	return nil
}
