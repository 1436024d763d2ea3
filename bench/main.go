// Bench measures Postern side by side with Debian's Postfix: the same machine,
// the same recipients, sync on for both, each round on a fresh ext4 file system
// (a loop-mounted image when run as root), the two in turn. It prints every
// figure, the medians and the ratio.
//
//	go run ./bench [-rounds 3] [-messages 5000] [-postern bin/postern]
//
// A figure is the whole way: from the first connection to the last file in a
// Maildir. The load comes from Postfix's smtp-source, on loopback.
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
	"sort"
	"strconv"
	"strings"
	"time"
)

// workload is one way to send mail.
type workload struct {
	name string
	args []string // of smtp-source, without count, addresses and server
}

var workloads = []workload{
	{"4 KiB, 20 sessions, one message a connection", []string{"-s", "20", "-l", "4096"}},
	{"4 KiB, 20 sessions, connections kept", []string{"-s", "20", "-l", "4096", "-d"}},
	{"64 KiB, 20 sessions, connections kept", []string{"-s", "20", "-l", "65536", "-d"}},
}

// contender is a server and how it is set up.
type contender struct {
	name  string
	extra string // lines for main.cf
	start func(ctx context.Context, b *bench, dir string) (stop func(), err error)
}

type bench struct {
	postern  string
	messages int
	rounds   int
	only     string
	servers  string
}

func main() {
	b := &bench{}
	flag.StringVar(&b.postern, "postern", "bin/postern", "the program to measure")
	flag.IntVar(&b.messages, "messages", 5000, "messages of a run")
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
	for _, tool := range []string{"smtp-source", "postfix", "mkfs.ext4"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is needed: %w", tool, err)
		}
	}
	abs, err := filepath.Abs(b.postern)
	if err != nil {
		return err
	}
	b.postern = abs
	contenders := []contender{
		{"Postfix as installed", "", startPostfix},
		{"Postfix, in_flow_delay=0", "in_flow_delay = 0\n", startPostfix},
		{"Postern", "", startPostern},
	}
	contenders = slices.DeleteFunc(contenders, func(c contender) bool { return !strings.Contains(c.name, b.servers) })
	for _, w := range workloads {
		if !strings.Contains(w.name, b.only) {
			continue
		}
		fmt.Printf("%s, %d messages, 1000 mailboxes (messages/s, end to end)\n", w.name, b.messages)
		rates := make([][]float64, len(contenders))
		for round := range b.rounds {
			for i, c := range contenders {
				r, err := b.round(ctx, w, c)
				if err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
				fmt.Printf("  round %d  %-26s %8.0f\n", round+1, c.name, r)
				rates[i] = append(rates[i], r)
			}
		}
		ours := median(rates[len(rates)-1])
		for i, c := range contenders {
			m := median(rates[i])
			fmt.Printf("  median   %-26s %8.0f", c.name, m)
			if i < len(contenders)-1 {
				fmt.Printf("   Postern is %.1f times that", ours/m)
			}
			fmt.Println()
		}
	}
	return nil
}

func median(v []float64) float64 {
	s := append([]float64(nil), v...)
	sort.Float64s(s)
	return s[len(s)/2]
}

// round runs one workload against one server on a fresh file system.
func (b *bench) round(ctx context.Context, w workload, c contender) (float64, error) {
	dir, unmount, err := freshFileSystem(ctx)
	if err != nil {
		return 0, err
	}
	defer unmount()
	port, err := b.lay(dir, c)
	if err != nil {
		return 0, err
	}
	stop, err := c.start(ctx, b, dir)
	if err != nil {
		return 0, err
	}
	defer stop()
	if err := waitGreeting(ctx, port); err != nil {
		return 0, err
	}
	args := append(append([]string{}, w.args...), "-m", strconv.Itoa(b.messages), "-N",
		"-f", "sender@client.example", "-t", "user@bench.example", "127.0.0.1:"+port)
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	start := time.Now()
	if out, err := exec.CommandContext(ctx, "smtp-source", args...).CombinedOutput(); err != nil {
		return 0, fmt.Errorf("smtp-source: %w: %s", err, out)
	}
	for {
		n := count(filepath.Join(dir, "mail"))
		if n >= b.messages {
			return float64(b.messages) / time.Since(start).Seconds(), nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("%d of %d messages arrived: %w", n, b.messages, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// count counts the messages in all Maildirs.
func count(root string) int {
	n := 0
	boxes, err := os.ReadDir(root)
	if err != nil {
		return 0
	}
	for _, box := range boxes {
		entries, err := os.ReadDir(filepath.Join(root, box.Name(), "new"))
		if err == nil {
			n += len(entries)
		}
	}
	return n
}
