package spool

import (
	"bytes"
	"flag"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"
)

var million = flag.Int("spool.million", 20_000, "messages of TestMillion")

// TestMillion fills a spool with deferred messages of 4 KiB, and opens it again,
// as after a kill and after a clean end. It prints what that takes: with -spool.million=1000000 the
// figures of a large backlog.
func TestMillion(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 4 KiB for each of many messages")
	}
	dir := t.TempDir()
	s := mustOpen(t, dir, Options{})
	base := heapInUse()
	began := time.Now()
	fill(t, s, *million)
	t.Logf("%d messages put in and deferred in %v", *million, time.Since(began).Round(time.Millisecond))
	tell := func(when string) {
		heap := heapInUse() - base
		t.Logf("%s: %d MiB of heap, %d bytes a message; %+v", when, heap>>20, heap/int64(*million), s.Stats())
		// The texts of fresh messages are no longer cached; a slot has 48 bytes.
		if limit := int64(*million)*100 + 8<<20; heap > limit {
			t.Errorf("%s: %d bytes of heap, at most %d are expected", when, heap, limit)
		}
	}
	tell("filled")
	for _, end := range []func(*testing.T, *Spool){killed, closed} {
		end(t, s)
		began = time.Now()
		s = mustOpen(t, dir, Options{})
		t.Logf("opened in %v", time.Since(began).Round(time.Millisecond))
		tell("opened")
	}
	defer mustClose(t, s)
	began = time.Now()
	n := 0
	for w := range s.Waiting() {
		if w.Next.Unix() != 1_900_000_000 {
			t.Fatalf("%v", w)
		}
		if n++; n%1000 == 0 {
			if p, err := s.Load(w.Number); err != nil || p.Attempts != 1 || p.Deferrals[0].Status != "4.4.1" {
				t.Fatalf("Load = %+v, %v", p, err)
			}
		}
	}
	t.Logf("all told in %v", time.Since(began).Round(time.Millisecond))
	if n != *million {
		t.Errorf("%d messages are waiting, want %d", n, *million)
	}
}

// killed leaves a spool as the end of its process would.
func killed(t *testing.T, s *Spool) {
	s.j.stopPreparing(s.stop)
	s.tasks.Wait()
	if err := s.release(); err != nil {
		t.Error(err)
	}
}

func closed(t *testing.T, s *Spool) { mustClose(t, s) }

// fill puts in messages and defers them, in batches as many sessions would.
func fill(t *testing.T, s *Spool, n int) {
	text := bytes.Repeat([]byte("0123456789abcde\n"), 256)
	var all sync.WaitGroup
	const writers, batch = 8, 50
	for k := range writers {
		all.Go(func() {
			for i := k * batch; i < n; i += writers * batch {
				if err := deferred(t, s, text, i, min(batch, n-i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// deferred puts in count messages with one change and defers them with another.
func deferred(t *testing.T, s *Spool, text []byte, first, count int) error {
	var c, later Change
	for i := range count {
		d, err := s.Create(0)
		if err != nil {
			return err
		}
		if _, err := d.Write(text); err != nil {
			return err
		}
		c.New = append(c.New, New{Draft: d, Envelope: testEnvelope(first+i, fmt.Sprintf("user%d@dead.example", first+i))})
	}
	list, err := s.Commit(t.Context(), c)
	if err != nil {
		return err
	}
	for _, m := range list {
		later.Defer = append(later.Defer, Postponement{Message: m, Next: time.Unix(1_900_000_000, 0), Attempts: 1,
			Deferrals: []Deferral{{0, "4.4.1", "connect to mx.dead.example[192.0.2.1]:25: connection timed out"}}})
	}
	_, err = s.Commit(t.Context(), later)
	return err
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}
