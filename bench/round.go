package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// figures are what a round came to. What does not apply is 0.
type figures struct {
	rate     float64 // in the unit of the workload
	cpu      float64 // seconds for 1000 messages
	p50, p99 float64 // milliseconds from the final dot to 250
	peak     float64 // MiB
	each     float64 // KiB for an idle connection
	fresh    float64 // milliseconds of a session while the others are idle
	start    float64 // seconds from the start of the server to its first 250
}

func (f figures) String() string {
	if f.each > 0 {
		return fmt.Sprintf("%8.1f KiB each   a new session in %.1f ms", f.each, f.fresh)
	}
	s := fmt.Sprintf("%8.0f", f.rate)
	if f.cpu > 0 {
		s += fmt.Sprintf("   CPU %5.3f s per 1000", f.cpu)
	}
	if f.p99 > 0 {
		s += fmt.Sprintf("   DATA to 250: median %5.1f ms, p99 %5.1f ms", f.p50, f.p99)
	}
	if f.start > 0 {
		s += fmt.Sprintf("   first mail taken after %.2f s", f.start)
	}
	return s + fmt.Sprintf("   peak %.0f MiB", f.peak)
}

// against compares with another server's figures.
func (f figures) against(o figures, w workload) string {
	if w.idle {
		return fmt.Sprintf("%.1f times less memory", o.each/f.each)
	}
	s := fmt.Sprintf("%.1f times the rate", f.rate/o.rate)
	if f.cpu > 0 {
		s += fmt.Sprintf(", 1/%.1f of the CPU", o.cpu/f.cpu)
	}
	if f.p99 > 0 {
		s += fmt.Sprintf(", p99 1/%.1f", o.p99/f.p99)
	}
	return s
}

// median takes the median of each figure.
func median(all []figures) figures {
	middle := func(of func(figures) float64) float64 {
		s := slices.SortedFunc(slices.Values(all), func(a, b figures) int { return cmp.Compare(of(a), of(b)) })
		return of(s[len(s)/2])
	}
	return figures{
		rate: middle(func(f figures) float64 { return f.rate }),
		cpu:  middle(func(f figures) float64 { return f.cpu }),
		p50:  middle(func(f figures) float64 { return f.p50 }), p99: middle(func(f figures) float64 { return f.p99 }),
		peak: middle(func(f figures) float64 { return f.peak }),
		each: middle(func(f figures) float64 { return f.each }), fresh: middle(func(f figures) float64 { return f.fresh }),
		start: middle(func(f figures) float64 { return f.start }),
	}
}

// scene is a server that runs, and where its mail goes.
type scene struct {
	dir    string
	addr   string
	server *process
	sink   *sink // of good mail
}

// round runs one workload against one server on a fresh file system.
func (b *bench) round(ctx context.Context, w workload, c contender) (figures, error) {
	size := int64(imageSize)
	if w.crowded {
		size = largeSize
	}
	dir, unmount, err := freshFileSystem(ctx, size)
	if err != nil {
		return figures{}, err
	}
	defer unmount()
	s := &scene{dir: dir}
	sinks, routes, err := layRoutes(w)
	defer func() {
		for _, k := range sinks {
			k.close()
		}
	}()
	if err != nil {
		return figures{}, err
	}
	s.sink = sinks[takes]
	port, err := b.lay(dir, c.extra+w.config+routes)
	if err != nil {
		return figures{}, err
	}
	s.addr = "127.0.0.1:" + port
	defer func() {
		if s.server != nil {
			s.server.stop()
		}
	}()
	if w.crowded {
		return b.crowded(ctx, w, c, dir, port, s)
	}
	if s.server, err = c.start(ctx, b, dir); err != nil {
		return figures{}, err
	}
	if err := waitGreeting(ctx, port); err != nil {
		return figures{}, err
	}
	if w.idle {
		n := b.idle
		if c.name != ours {
			n = min(n, 90) // each is a process of more than a MiB
		}
		return s.idle(n)
	}
	return b.burden(ctx, w, s)
}

// layRoutes starts the sinks and makes the transports that lead to them.
func layRoutes(w workload) (map[temper]*sink, string, error) {
	sinks := map[temper]*sink{}
	for _, t := range []temper{takes, hangs, breaksOff} {
		k, err := newSink(t)
		if err != nil {
			return sinks, "", err
		}
		sinks[t] = k
	}
	dead, err := deadPort()
	routes := fmt.Sprintf("transport_maps = inline:{ {elsewhere.example=smtp:[127.0.0.1]:%s} {hangs.example=smtp:[127.0.0.1]:%s} "+
		"{busy.example=smtp:[127.0.0.1]:%s} {dead.example=smtp:[127.0.0.1]:%s} }\n",
		sinks[takes].port(), sinks[hangs].port(), sinks[breaksOff].port(), dead)
	return sinks, routes, err
}

// burden sends the load and waits until all is delivered.
func (b *bench) burden(ctx context.Context, w workload, s *scene) (figures, error) {
	if w.trouble {
		for _, domain := range []string{"hangs", "busy", "dead"} {
			p := plan{Addr: s.addr, Sessions: 5, Messages: 300, PerConnection: 100, Size: 4096,
				Recipient: "box%d@" + domain + ".example", Addresses: boxes}
			if _, err := generate(p); err != nil {
				return figures{}, err
			}
		}
	}
	p := w.load
	p.Addr, p.Messages = s.addr, b.messages
	if p.Size > 16384 {
		p.Messages = b.messages / 2
	}
	if p.Refused {
		p.Messages = b.messages * 10
	}
	used, began := s.server.cpu(), time.Now()
	seen, err := generate(p)
	if err != nil {
		return figures{}, err
	}
	if err := s.arrived(ctx, w, p.Messages*w.copies); err != nil {
		return figures{}, err
	}
	took := time.Since(began).Seconds()
	f := figures{p50: seen.P50, p99: seen.P99, peak: float64(s.server.peak()) / 1024,
		cpu: (s.server.cpu() - used).Seconds() / float64(p.Messages) * 1000}
	f.rate = float64(p.Messages*max(w.copies, 1)) / took
	return f, nil
}

// arrived waits until so many messages are where they belong.
func (s *scene) arrived(ctx context.Context, w workload, want int) error {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	seen := make(map[string]int)
	for want > 0 {
		var n int
		if w.forward {
			n = int(s.sink.taken.Load())
		} else {
			n = count(filepath.Join(s.dir, "mail"), (want+boxes-1)/boxes, seen)
		}
		if n >= want {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d messages arrived: %w", n, want, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// count counts the messages in all Maildirs. Those that have as many as they
// get are not looked at again.
func count(root string, each int, seen map[string]int) (n int) {
	list, err := os.ReadDir(root)
	if err != nil {
		return 0
	}
	for _, box := range list {
		if each == 0 || seen[box.Name()] < each {
			entries, _ := os.ReadDir(filepath.Join(root, box.Name(), "new"))
			seen[box.Name()] = len(entries)
		}
		n += seen[box.Name()]
	}
	return n
}

// idle holds n connections that have said EHLO, and says what each costs.
func (s *scene) idle(n int) (figures, error) {
	var limit syscall.Rlimit // which Go has raised as far as it may
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < uint64(n)+200 {
		return figures{}, fmt.Errorf("%d open files are allowed, too few for %d connections", limit.Cur, n)
	}
	before := s.server.memory()
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	for range n {
		c, err := s.greet()
		if err != nil {
			return figures{}, fmt.Errorf("connection %d: %w", len(open), err)
		}
		open = append(open, c)
	}
	after := s.server.memory()
	began := time.Now()
	c, err := s.greet()
	if err != nil {
		return figures{}, err
	}
	defer c.Close()
	return figures{each: float64(after-before) / float64(n), fresh: time.Since(began).Seconds() * 1000}, nil
}

// greet opens a connection and says EHLO.
func (s *scene) greet() (net.Conn, error) {
	c, err := net.DialTimeout("tcp", s.addr, 10*time.Second)
	if err != nil {
		return nil, err
	}
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return c, err
	}
	b := make([]byte, 1024)
	if _, err := c.Read(b); err != nil {
		return c, err
	}
	if _, err := c.Write([]byte("EHLO client.example\r\n")); err != nil {
		return c, err
	}
	for read := 0; ; {
		k, err := c.Read(b[read:])
		if err != nil {
			return c, err
		}
		read += k
		lines := strings.Split(strings.TrimSuffix(string(b[:read]), "\r\n"), "\r\n")
		if last := lines[len(lines)-1]; strings.HasPrefix(last, "250 ") {
			return c, nil
		}
	}
}
