package smtp

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"postern/internal/deliver"
	"postern/internal/spool"
)

// sink is a server that takes mail as fast as it can.
func sink(conn net.Conn, offer string) {
	defer conn.Close()
	r, w := bufio.NewReaderSize(conn, 16<<10), bufio.NewWriter(conn)
	say := func(reply string) {
		w.WriteString(reply)
		if r.Buffered() == 0 {
			w.Flush()
		}
	}
	say("220 sink.test ESMTP\r\n")
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		switch verb, rest, _ := bytes.Cut(line, []byte(" ")); string(bytes.TrimSpace(verb)) {
		case "EHLO", "LHLO":
			say("250-sink.test\r\n" + offer + "250 8BITMIME\r\n")
		case "BDAT":
			size, _, _ := bytes.Cut(rest, []byte(" "))
			n, _ := strconv.Atoi(string(size))
			if _, err := r.Discard(n); err != nil {
				return
			}
			say("250 2.0.0 taken\r\n")
		case "DATA":
			say("354 go on\r\n")
			for string(line) != ".\r\n" {
				if line, err = r.ReadSlice('\n'); err != nil {
					return
				}
			}
			say("250 2.0.0 taken\r\n")
		case "QUIT":
			return
		default:
			say("250 2.0.0 ok\r\n")
		}
	}
}

// sinkServer serves sinks until the benchmark ends.
func sinkServer(b *testing.B, offer string) (port string) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { sink(conn, offer) })
		}
	})
	b.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port
}

// BenchmarkForward hands messages of 4 KiB to a sink, by as many deliveries at
// once as a destination may have. The CPU time is that of both sides.
func BenchmarkForward(b *testing.B) {
	for name, offer := range map[string]string{"DATA": "250-PIPELINING\r\n", "BDAT": "250-PIPELINING\r\n250-CHUNKING\r\n", "lockstep": ""} {
		b.Run(name, func(b *testing.B) {
			a := kept(b, nil)
			hop := "[127.0.0.1]:" + sinkServer(b, offer)
			b.Cleanup(a.Close)
			e := spool.Envelope{Sender: "from@test", Recipients: []spool.Recipient{{Address: "a@test"}}}
			m := spool.Detached("0123456789AB", e, []byte("Subject: x\n\n"+strings.Repeat(strings.Repeat("x", 63)+"\n", 64)))
			var left atomic.Int64
			left.Store(int64(b.N))
			var before, after syscall.Rusage
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
			b.ReportAllocs()
			b.ResetTimer()
			var workers sync.WaitGroup
			for range 20 {
				workers.Go(func() {
					r := &deliver.Request{Message: m, NextHop: hop, Recipients: []deliver.Recipient{{Address: "a@test"}}}
					for left.Add(-1) >= 0 {
						if s := a.Deliver(context.Background(), r)[0]; s.Kind != deliver.Sent {
							b.Error(show(s))
							return
						}
					}
				})
			}
			workers.Wait()
			b.StopTimer()
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
			cpu := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
			b.ReportMetric(float64(cpu.Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
}
