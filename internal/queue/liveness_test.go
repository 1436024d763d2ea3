package queue

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"postern/internal/deliver"
	"postern/internal/spool"
)

// weather is an agent whose destinations have bad days until a time, and then
// all answer.
type weather struct {
	*meter
	fates  []int
	clears time.Time
	turn   int
}

func (w *weather) Deliver(ctx context.Context, r *deliver.Request) []deliver.Status {
	w.mu.Lock()
	fate := w.fates[w.turn%len(w.fates)]
	w.turn++
	w.mu.Unlock()
	status, took := sent, w.took
	if time.Now().Before(w.clears) {
		switch fate {
		case 1:
			status = late
		case 2:
			status = dead
		case 3:
			status = dead
			status.Destination, status.Transport = false, true
		case 4:
			status, took = dead, 40*time.Second
		case 5:
			took = 7 * time.Second
		}
	}
	select {
	case <-time.After(took):
	case <-ctx.Done():
		status = late
	}
	return slices.Repeat([]deliver.Status{status}, len(r.Recipients))
}

// TestNothingIsForgotten: whatever went wrong before, and however little room
// there is, once all destinations answer everything is delivered as soon as the
// longest wait is over and as fast as limits allow. The clock looks around
// every hour by itself: a message that only this would help is late here.
func TestNothingIsForgotten(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		draw := func(low, high int, name string) int { return rapid.IntRange(low, high).Draw(rt, name) }
		w := &weather{meter: newMeter(), fates: rapid.SliceOfN(rapid.IntRange(0, 5), 1, 30).Draw(rt, "fates")}
		w.took = time.Duration(draw(0, 50, "milliseconds of a delivery")) * time.Millisecond
		sizes := rapid.SliceOfN(rapid.SampledFrom([]int{1, 1, 2, 12, 30, 150}), 1, 40).Draw(rt, "recipients")
		domains := rapid.SampledFrom([]int{1, 2, 3, 4, 6, 30}).Draw(rt, "domains")
		senders := draw(1, 4, "senders")
		steps := rapid.SliceOfN(rapid.IntRange(0, 9), 1, 20).Draw(rt, "steps")
		p := defaults
		p.MinimalBackoff, p.MaximalBackoff, p.TransportRetry = 10*time.Second, 60*time.Second, 30*time.Second
		p.ActiveLimit = draw(1, 30, "active limit")
		p.RecipientLimit, p.RecipientMinimum = draw(10, 200, "recipient limit"), draw(1, 10, "recipient minimum")
		mem := newMemory()
		tr := mem.virtual()
		tr.Agent, tr.Processes, tr.DestinationRecipients = w, draw(1, 6, "processes"), draw(1, 60, "recipients of a delivery")
		tr.InitialConcurrency, tr.DestinationConcurrency = draw(1, 3, "first window"), draw(1, 5, "window")
		tr.DestinationRateDelay = time.Duration(draw(0, 1, "rate delay")) * 100 * time.Millisecond
		tr.RateDelay = time.Duration(draw(0, 1, "transport rate delay")) * 100 * time.Millisecond
		mem.transport["virtual"] = tr

		run(t, mem, p, func(b *bench) {
			w.clears = time.Now().Add(5 * time.Minute)
			recipients := 0
			for i, n := range sizes {
				e := envelopeTo(fmt.Sprintf("s%d@example.org", i%senders))
				for k := range n {
					e.Recipients = append(e.Recipients, envelopeTo("", fmt.Sprintf("u%d@d%d.example", k, (i+k/20)%domains)).Recipients...)
				}
				recipients += n
				b.add(e)
				b.disturb(steps[i%len(steps)], i, p)
				b.checkLoads()
			}
			time.Sleep(time.Until(w.clears))
			if _, err := b.q.Apply(t.Context(), Release, Filter{}, nil); err != nil {
				rt.Fatal(err)
			}
			each := w.took + tr.DestinationRateDelay + tr.RateDelay + time.Millisecond
			time.Sleep(40*time.Second + p.MaximalBackoff + p.TransportRetry + time.Minute + time.Duration(recipients)*each)
			synctest.Wait()
			for _, e := range b.list() {
				rt.Errorf("%s is forgotten: %v, %d recipients, next try %v, now %v", e.ID, e.State, len(e.Recipients), e.Next, time.Now())
			}
			if n := b.inMemory(); n != 0 {
				rt.Errorf("%d messages in memory", n)
			}
		})
	})
}

// checkLoads counts what waits in lanes and has room, and compares.
func (b *bench) checkLoads() {
	b.q.mu.Lock()
	defer b.q.mu.Unlock()
	for _, tr := range b.q.transports {
		for key, l := range tr.lanes {
			load, n := 0, 0
			for _, s := range l.shares.turns.all() {
				for ; s != nil; s = s.next {
					if n++; s.item.weight > 0 {
						load += len(s.recipients)
					}
				}
			}
			if load != l.load || n != l.shares.len() {
				b.Errorf("%v: load %d and %d shares, want %d and %d", key, l.load, l.shares.len(), load, n)
			}
		}
	}
	var used [sizes]int
	for _, it := range b.q.items {
		used[it.size] += it.weight
	}
	for s := range used {
		if used[s] != b.q.rooms[s].used {
			b.Errorf("room %d: %d recipients, want %d", s, b.q.rooms[s].used, used[s])
		}
	}
}

// disturb does what may happen to a queue at any time.
func (b *bench) disturb(step, i int, p Parameters) {
	f := Filter{Recipient: fmt.Sprintf("@d%d.example", i%3)}
	switch step {
	case 0:
		b.q.Flush()
	case 1:
		b.q.Reload(p)
	case 2, 3, 4:
		if _, err := b.q.Apply(b.Context(), []Action{Hold, Release, Retry}[step-2], f, nil); err != nil {
			b.Error(err)
		}
	case 5:
		b.q.FlushDestination("d0.example")
	case 6:
		time.Sleep(17 * time.Second)
	default:
		time.Sleep(time.Second)
	}
}

// TestParkedBehindHeld: what is parked behind messages that are then put on hold
// is tried when its turn comes.
func TestParkedBehindHeld(t *testing.T) {
	mem, agent := newMemory(), newMeter()
	mem.agent = agent.hanging()
	tr := mem.virtual()
	tr.Processes = 1
	mem.transport["virtual"] = tr
	p := defaults
	p.ActiveLimit = 30
	run(t, mem, p, func(b *bench) {
		b.send("s@example.org", "x@hangs.example")
		for range 10 {
			b.send("s@example.org", "x@a.example")
		}
		b.apply(Hold, Filter{Recipient: "@a.example"}, 10)
		last := b.send("s@example.org", "x@a.example")
		time.Sleep(time.Hour + time.Second)
		synctest.Wait()
		b.wantSettled(last, 1)
	})
}

// watched is a store that lets something happen right after it was asked.
type watched struct {
	*memory
	peeked atomic.Pointer[func()] // once
}

func (w *watched) Peek(number uint64) (spool.Waiting, bool) {
	answer, ok := w.memory.Peek(number)
	if f := w.peeked.Swap(nil); f != nil {
		(*f)()
	}
	return answer, ok
}

// TestOrdersWhileLookedAt gives orders in the moment in which the queue has
// looked at a message, and thinks that it is not to be tried.
func TestOrdersWhileLookedAt(t *testing.T) {
	for _, a := range []Action{Retry, Release, Expire, Bounce} {
		t.Run(fmt.Sprint(a), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := newMemory()
				store := &watched{memory: mem}
				o := mem.options(defaults)
				o.Store = store
				q := New(o)
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan struct{})
				go func() { defer close(ended); _ = q.Run(ctx) }()
				b := &bench{T: t, memory: mem, q: q, ctx: ctx}
				msg := b.send("s@example.org", "late@a.example")
				if a == Release {
					b.apply(Hold, only(msg), 1)
				} else { // its first alarm will be void
					time.Sleep(250 * time.Second)
					q.FlushMessage(msg.ID)
					synctest.Wait()
				}
				tries := len(b.logged("status=deferred"))
				order := func() { b.apply(a, only(msg), 1) }
				store.peeked.Store(&order)
				time.Sleep(51 * time.Second)
				if a == Release {
					time.Sleep(260 * time.Second)
				}
				synctest.Wait()
				if store.peeked.Load() != nil {
					t.Fatal("the queue has not looked")
				}
				if n := len(b.logged("status=deferred")); n != tries+1 {
					t.Errorf("%d tries after the order, want 1", n-tries)
				}
				cancel()
				<-ended
			})
		})
	}
}
