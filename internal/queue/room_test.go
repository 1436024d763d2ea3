package queue

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/deliver"
	"postern/internal/spool"
)

// hanging answers after an hour for destinations whose names begin with "hangs",
// and at once for others.
func (m *meter) hanging() agent {
	return func(ctx context.Context, r *deliver.Request) []deliver.Status {
		m.mu.Lock()
		m.order = append(m.order, r.Message.Envelope.Sender)
		m.mu.Unlock()
		status := sent
		if strings.HasPrefix(r.NextHop, "hangs") {
			select {
			case <-time.After(time.Hour):
			case <-ctx.Done():
			}
			status = late
		}
		return slices.Repeat([]deliver.Status{status}, len(r.Recipients))
	}
}

// TestHugeMessagesLetOthersPass: however many messages of many recipients wait
// for destinations that hang, others of every size are delivered.
func TestHugeMessagesLetOthersPass(t *testing.T) {
	for _, test := range []struct {
		name         string
		n, size      int
		destinations int
		patience     time.Duration
	}{
		{"one huge message", 1, 50000, 1, 0},
		{"many huge messages", 10, 50000, 1, time.Minute},
		{"many large messages", 100, 900, 1, time.Minute},
		{"many large messages for many destinations", 100, 900, 50, time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			mem, agent := newMemory(), newMeter()
			mem.agent = agent.hanging()
			tr := mem.virtual()
			tr.Processes = 0
			mem.transport["virtual"] = tr
			run(t, mem, defaults, func(b *bench) {
				for i := range test.n {
					b.add(envelopeTo("s@example.org", many(test.size, fmt.Sprintf("hangs%d.example", i%test.destinations))...))
				}
				synctest.Wait()
				few := b.add(envelopeTo("s@example.org", many(3, "good.example")...))
				large := b.add(envelopeTo("s@example.org", many(500, "good.example")...))
				time.Sleep(test.patience)
				synctest.Wait()
				for _, msg := range []*spool.Message{few, large} {
					b.wantSettled(msg, slices.Repeat([]int{1}, len(msg.Envelope.Recipients))...)
				}
				mostly := b.add(envelopeTo("s@example.org", many(10000, "good.example")...))
				time.Sleep(2 * time.Hour) // deliveries under way have to end
				synctest.Wait()
				if n := slices.Index(b.settled[mostly.ID], 0); n >= 0 {
					t.Errorf("recipient %d of a huge message for a good destination is not delivered", n)
				}
			})
		})
	}
}

// TestHugeMessagesAreFew: of messages with very many recipients only a few are
// in memory, whatever becomes of them; each is read, tried and written once.
func TestHugeMessagesAreFew(t *testing.T) {
	const n, recipients = 20, 5000
	mem := newMemory()
	var b *bench
	most := 0
	mem.route = func(_, rcpt string) (Routed, error) {
		b.q.mu.Lock()
		defer b.q.mu.Unlock()
		loaded := 0
		for _, it := range b.q.items {
			if it.message != nil {
				loaded += len(it.message.Envelope.Recipients)
			}
		}
		most = max(most, loaded)
		return Routed{Transport: "virtual", NextHop: "down.example"}, nil
	}
	mem.agent = func(_ context.Context, r *deliver.Request) []deliver.Status {
		return slices.Repeat([]deliver.Status{dead}, len(r.Recipients))
	}
	to := many(recipients, "down.example")
	p := defaults
	p.RecipientLimit = 2000
	run(t, mem, p, func(running *bench) {
		b = running
		for range n {
			b.add(envelopeTo("s@example.org", to...))
		}
		synctest.Wait()
		if most > 2*recipients {
			t.Errorf("%d recipients were in memory, want two messages of %d", most, recipients)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.postpone) != n {
			t.Errorf("%d of %d messages are deferred", len(b.postpone), n)
		}
		for id, p := range b.postpone {
			if len(p.Deferrals) != recipients || p.Attempts != 1 {
				t.Errorf("%s: %d recipients deferred, %d attempts", id, len(p.Deferrals), p.Attempts)
			}
		}
	})
}

// TestSuspensionsShare: what a dead destination leaves of each recipient is
// little.
func TestSuspensionsShare(t *testing.T) {
	var before, after runtime.MemStats
	const n = 50000
	q := New(newMemory().options(defaults))
	q.options.Log = nil
	q.logs.failed = silent{}
	it := newItem(spool.Detached("000000000001", envelopeTo("s@example.org", many(n, "down.example")...), nil))
	it.begin(time.Now())
	s := share{item: it}
	for i := range n {
		s.recipients = append(s.recipients, deliver.Recipient{Index: i, Address: it.message.Envelope.Recipients[i].Address})
	}
	it.pass.left++ // the pass does not end
	runtime.GC()
	runtime.ReadMemStats(&before)
	q.suspend(t.Context(), s, deferral("4.4.1", "delivery temporarily suspended"))
	s.recipients = nil
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n; each > 64 {
		t.Errorf("%d octets for each recipient", each)
	}
	runtime.KeepAlive(it)
}

func TestWhyNoRoom(t *testing.T) {
	mem, agent := newMemory(), newMeter()
	mem.agent = agent.hanging()
	p := defaults
	p.RecipientLimit = 1000
	run(t, mem, p, func(b *bench) {
		first := b.add(envelopeTo("s@example.org", many(4000, "hangs.example")...))
		synctest.Wait()
		b.add(envelopeTo("s@example.org", many(4000, "hangs.example")...))
		synctest.Wait()
		last := b.add(envelopeTo("s@example.org", many(2000, "good.example")...))
		synctest.Wait()
		want := "it waits for its first try: there is no room for its 2000 recipients (qmgr_message_recipient_limit) " +
			"beside the 4000 of messages being delivered, such as " + first.ID + ", and messages wait in front of it: 1"
		if w, err := b.q.Why(last.ID); err != nil || w.Sentence != want {
			t.Errorf("Why = %q, %v, want %q", w.Sentence, err, want)
		}
	})
}
