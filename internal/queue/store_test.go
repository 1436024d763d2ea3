package queue

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"postern/internal/deliver"
	"postern/internal/spool"
)

func TestResultsThatCannotBeWritten(t *testing.T) {
	m := newMemory()
	full := errors.New("no space left on device")
	m.refuse = func(spool.Change) error { return full }
	run(t, m, defaults, func(b *bench) {
		first := b.send("s@example.org", "a@a.example")
		second := b.send("s@example.org", "b@b.example")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := len(b.logged("to=<")); n != 1 {
			t.Errorf("%d deliveries while nothing can be recorded, want the first", n)
		}
		if n := len(b.logged("warning: delivery is stopped")); n < 5 || n > 11 {
			t.Errorf("%d warnings in ten minutes", n)
		}
		m.mu.Lock()
		m.refuse = nil
		m.mu.Unlock()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		b.wantSettled(first, 1)
		b.wantSettled(second, 1)
		if n := len(b.logged("to=<a@")); n != 1 {
			t.Errorf("the first was delivered %d times", n)
		}
	})
}

func TestAnIllStoreStopsDelivery(t *testing.T) {
	m := newMemory()
	m.ill = errors.New("fdatasync: input/output error")
	run(t, m, defaults, func(b *bench) {
		b.send("s@example.org", "a@a.example")
		if n := len(b.logged("to=<")); n != 0 {
			t.Errorf("%d deliveries with an ill store", n)
		}
		if n := len(b.logged("input/output error")); n != 1 {
			t.Errorf("%d warnings, want 1", n)
		}
	})
}

func TestStopWhileNothingCanBeWritten(t *testing.T) {
	m := newMemory()
	m.refuse = func(spool.Change) error { return spool.ErrClosed }
	run(t, m, defaults, func(b *bench) {
		b.send("s@example.org", "good@a.example", "late@b.example")
		b.stop()
		if n := len(b.logged(": removed")); n != 0 {
			t.Error("a message is removed that the store still has")
		}
	})
}

func TestAPostponementThatIsTooLarge(t *testing.T) {
	m := newMemory()
	m.refuse = func(c spool.Change) error {
		for _, p := range c.Defer {
			if len(p.Deferrals[0].Reason) > 0 {
				return fmt.Errorf("record: %w", spool.ErrTooLarge)
			}
		}
		return nil
	}
	run(t, m, defaults, func(b *bench) {
		msg := b.send("s@example.org", "late@a.example")
		time.Sleep(time.Minute)
		synctest.Wait()
		if d := b.postpone[msg.ID].Deferrals; len(d) != 1 || d[0].Status != "4.2.0" {
			t.Errorf("deferrals = %v, want one without its reason", d)
		}
	})
}

func TestALongReasonIsCut(t *testing.T) {
	m := newMemory()
	m.agent = each(func(deliver.Recipient) deliver.Status {
		s := late
		s.Reason = strings.Repeat("x", 1<<20)
		return s
	})
	run(t, m, defaults, func(b *bench) {
		msg := b.send("s@example.org", "a@a.example")
		if n := len(b.postpone[msg.ID].Deferrals[0].Reason); n != maxReason {
			t.Errorf("%d octets of reason are stored, want %d", n, maxReason)
		}
	})
}

// TestEverybodyOnce: whatever agents answer and the store refuses, every
// recipient is settled exactly once in the end, and before that is pending
// with a time to be tried.
func TestEverybodyOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newMemory()
		fates := rapid.SliceOfN(rapid.IntRange(0, 6), 1, 50).Draw(rt, "fates")
		refusals := rapid.SliceOfN(rapid.Bool(), 0, 20).Draw(rt, "refusals")
		shape := rapid.SliceOfN(rapid.SliceOfN(rapid.IntRange(0, 3), 1, 12), 1, 6).Draw(rt, "recipients by domain")
		limit := rapid.IntRange(0, 3).Draw(rt, "recipient limit")
		sender := rapid.SampledFrom([]string{"", "s@example.org"}).Draw(rt, "sender")
		var turn, refused int
		m.agent = func(_ context.Context, r *deliver.Request) []deliver.Status {
			m.mu.Lock()
			defer m.mu.Unlock()
			statuses := make([]deliver.Status, len(r.Recipients))
			for i, rcpt := range r.Recipients {
				if r.Message.Envelope.MessageID != "" {
					statuses[i] = sent // what was made here arrives
					continue
				}
				statuses[i] = fate(fates[turn%len(fates)], rcpt)
				turn++
			}
			return statuses
		}
		m.refuse = func(spool.Change) error {
			if refused++; refused <= len(refusals) && refusals[refused-1] {
				return spool.ErrFull
			}
			return nil
		}
		tr := m.virtual()
		tr.DestinationRecipients, tr.InitialConcurrency = limit, 2
		m.transport["virtual"] = tr
		p := defaults
		p.MaximalLifetime, p.BounceLifetime = 6*time.Hour, 6*time.Hour
		run(t, m, p, func(b *bench) {
			var messages []*spool.Message
			for _, domains := range shape {
				e := spool.Envelope{Sender: sender, Arrival: time.Now()}
				for i, d := range domains {
					e.Recipients = append(e.Recipients, spool.Recipient{Address: fmt.Sprintf("u%d@d%d.example", i, d)})
				}
				messages = append(messages, b.add(e))
			}
			synctest.Wait()
			for _, e := range b.list() {
				if e.State == Deferred && (e.Next.IsZero() || len(e.Recipients) == 0) {
					rt.Errorf("%s sleeps with no time, or nobody, to be tried: %+v", e.ID, e)
				}
			}
			time.Sleep(48 * time.Hour)
			synctest.Wait()
			for _, msg := range messages {
				for i, n := range b.settled[msg.ID] {
					if n != 1 {
						rt.Errorf("%s: recipient %d settled %d times, want once", msg.ID, i, n)
					}
				}
			}
			if list := b.list(); len(list) != 0 {
				rt.Errorf("left in the queue: %+v", list)
			}
		})
	})
}

func fate(n int, r deliver.Recipient) deliver.Status {
	switch n {
	case 0:
		return bad
	case 1:
		return late
	case 2:
		return dead
	case 3:
		s := sent
		s.Forwards = []deliver.Forward{{Recipients: []string{"f@f.example"}, Original: r.Address}}
		return s
	case 4:
		s := bad
		s.Forwards = []deliver.Forward{{Recipients: []string{"f@f.example"}, Original: r.Address}}
		return s
	}
	return sent
}

// BenchmarkQueue measures the queue alone: agents and store do nothing.
func BenchmarkQueue(b *testing.B) {
	for _, lanes := range []int{1, 1000} {
		b.Run(fmt.Sprintf("lanes=%d", lanes), func(b *testing.B) {
			benchmark(b, lanes)
		})
	}
}

// nullStore takes everything and keeps nothing.
type nullStore struct{ kept []*spool.Message }

func (n *nullStore) Load(number uint64) (spool.Pending, error) {
	return spool.Pending{Message: n.kept[number-1], Done: make([]bool, 1)}, nil
}

func (*nullStore) Waiting() iter.Seq[spool.Waiting] { return func(func(spool.Waiting) bool) {} }

func (*nullStore) Peek(number uint64) (spool.Waiting, bool) {
	return spool.Waiting{Number: number}, true
}

func (*nullStore) Err() error { return nil }

func (*nullStore) Commit(context.Context, spool.Change) ([]*spool.Message, error) { return nil, nil }

func benchmark(b *testing.B, lanes int) {
	m := newMemory()
	var delivered atomic.Int64
	all := make(chan struct{})
	status := []deliver.Status{sent}
	m.agent = func(_ context.Context, r *deliver.Request) []deliver.Status {
		if delivered.Add(1) == int64(b.N) {
			close(all)
		}
		return status
	}
	o := m.options(defaults)
	store := &nullStore{}
	o.Store, o.Log = store, nil
	q := New(o)
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); q.Run(ctx) }()
	domains := make([]string, lanes)
	for i := range domains {
		domains[i] = fmt.Sprintf("u@d%d.example", i)
	}
	messages := make([]*spool.Message, b.N)
	for i := range messages {
		messages[i] = spool.Detached(fmt.Sprintf("%012X", i+1), envelopeTo("s@example.org", domains[i%lanes]), nil)
	}
	store.kept = messages
	b.ReportAllocs()
	b.ResetTimer()
	for _, msg := range messages {
		q.Add(msg)
	}
	<-all
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	cancel()
	<-ended
}

// backlog is a store in which a million messages wait, half of them for their
// first try.
type backlog struct{ nullStore }

func (*backlog) Waiting() iter.Seq[spool.Waiting] {
	next := time.Now().Add(time.Hour)
	return func(yield func(spool.Waiting) bool) {
		for n := uint64(1); n <= 1e6; n++ {
			w := spool.Waiting{Number: n}
			if n%2 == 0 {
				w.Next = next.Add(-time.Duration(n*7919%1e6) * time.Millisecond)
			}
			if !yield(w) {
				return
			}
		}
	}
}

// BenchmarkStart measures what the queue adds to the start with a million
// messages.
func BenchmarkStart(b *testing.B) {
	b.ReportAllocs()
	for range b.N {
		o := newMemory().options(defaults)
		o.Store = &backlog{}
		if q := New(o); q.incoming.len() != 5e5 {
			b.Fatal("the messages are not there")
		}
	}
}
