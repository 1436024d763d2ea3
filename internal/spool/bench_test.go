package spool

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// benchDir is where benchmarks write: POSTERN_BENCH_DIR, so that a fresh file
// system can be given, or a temporary directory.
func benchDir(b *testing.B) string {
	if dir := os.Getenv("POSTERN_BENCH_DIR"); dir != "" {
		dir, err := os.MkdirTemp(dir, "spool")
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { os.RemoveAll(dir) })
		return filepath.Join(dir, "s")
	}
	return b.TempDir()
}

// BenchmarkCommit measures durable messages: each is settled at once, as a
// remote delivery would do.
func BenchmarkCommit(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10} {
		for _, writers := range []int{1, 20} {
			b.Run(fmt.Sprintf("size=%d/writers=%d", size, writers), func(b *testing.B) {
				s := mustOpen(b, benchDir(b), Options{})
				defer s.Close()
				text := bytes.Repeat([]byte("abcdefgh"), size/8)
				e := testEnvelope(1, "a@x.test")
				b.ReportAllocs()
				b.ResetTimer()
				var n atomic.Int64
				var all sync.WaitGroup
				for range writers {
					all.Go(func() {
						for n.Add(1) <= int64(b.N) {
							m, err := put(s, e, text)
							if err == nil {
								_, err = s.Commit(b.Context(), Change{Settle: []Settlement{{m, []Outcome{{Index: 0}}}}})
							}
							if err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				all.Wait()
				b.StopTimer()
				st := s.Stats()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
				b.ReportMetric(float64(st.Syncs)/float64(b.N), "syncs/msg")
			})
		}
	}
}
