package mailbox

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"postern/internal/route"
)

// benchBase is below POSTERN_BENCH_DIR when that is set: a fresh file system
// gives figures that can be compared.
func benchBase(b *testing.B) string {
	if dir := os.Getenv("POSTERN_BENCH_DIR"); dir != "" {
		b.Setenv("TMPDIR", dir)
	}
	return newBase(b)
}

// BenchmarkMaildir delivers 4 KiB into 1000 mailboxes in turn, by as many
// goroutines as there are processors.
func BenchmarkMaildir(b *testing.B) {
	base := benchBase(b)
	store := newStore(b, nil)
	boxes := make([]route.Mailbox, 1000)
	for i := range boxes {
		boxes[i] = newBox(base, fmt.Sprintf("example.org/user%03d", i), route.Maildir)
		m := newMessage()
		m.Index = -1
		if _, err := store.Deliver(b.Context(), boxes[i], m); err != nil {
			b.Fatal(err)
		}
	}
	body := text(strings.Repeat("a line of sixty-four octets, which is what mail often looks....\n", 64))
	var next atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := int(next.Add(1))
			m := newMessage()
			m.Index, m.Body = i, body
			if _, err := store.Deliver(b.Context(), boxes[i%len(boxes)], m); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
}

func BenchmarkFromQuoter(b *testing.B) {
	body := []byte(strings.Repeat("a line of sixty-four octets, which is what mail often looks....\nFrom me\n", 1000))
	q := fromQuoter{w: discard{}}
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := q.Write(body); err != nil {
			b.Fatal(err)
		}
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
