package queue

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/deliver"
	"postern/internal/spool"
)

// TestAlarmsStayFew has a message tried by order again and again: each try sets
// an alarm for the next one, and makes the one before void.
func TestAlarmsStayFew(t *testing.T) {
	m := newMemory()
	run(t, m, defaults, func(b *bench) {
		msg := b.send("s@example.org", "late@y.example")
		for range 3 * fewAlarms {
			time.Sleep(time.Second)
			b.q.FlushMessage(msg.ID)
			synctest.Wait()
		}
		b.q.mu.Lock()
		alarms := len(b.q.sleeping)
		b.q.mu.Unlock()
		if alarms > fewAlarms+10 {
			t.Errorf("%d alarms for one message", alarms)
		}
		b.log()
		time.Sleep(2 * defaults.MaximalBackoff)
		if n := len(b.logged(msg.ID + ": to=<")); n < 1 || n > 3 {
			t.Errorf("%d tries in two times the maximal back-off", n)
		}
	})
}

// slowStore takes its time to write.
type slowStore struct{ *memory }

func (s slowStore) Commit(ctx context.Context, c spool.Change) ([]*spool.Message, error) {
	time.Sleep(10 * time.Millisecond)
	return s.memory.Commit(ctx, c)
}

// TestHoldWhileMoreIsToBeRouted holds a message of many recipients in the moment
// in which more of them wait to be routed and all routers are busy: its pass has
// one end, with one report.
func TestHoldWhileMoreIsToBeRouted(t *testing.T) {
	m := newMemory()
	var gate chan struct{}
	m.route = func(_, rcpt string) (Routed, error) {
		switch {
		case rcpt == "gate@g.example":
			<-gate
		case rcpt[:3] == "bad":
			return Routed{}, errSyntax
		}
		return Routed{Transport: "virtual", NextHop: "y.example"}, nil
	}
	m.agent = each(func(deliver.Recipient) deliver.Status { return sent })
	inner := m.agent
	m.agent = func(ctx context.Context, r *deliver.Request) []deliver.Status {
		time.Sleep(time.Second)
		return inner(ctx, r)
	}
	synctest.Test(t, func(t *testing.T) {
		gate = make(chan struct{})
		o := m.options(defaults)
		o.Store = slowStore{m}
		q := New(o)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = q.Run(ctx)
		}()
		b := &bench{T: t, memory: m, q: q, ctx: ctx}
		to := []string{"bad@y.example"}
		for i := range 2500 {
			to = append(to, fmt.Sprintf("u%d@y.example", i))
		}
		big := b.send("s@example.org", to...)
		for range maxActivators {
			b.send("s@example.org", "gate@g.example")
		}
		time.Sleep(2500 * time.Millisecond)
		if _, err := q.Apply(ctx, Hold, only(big), nil); err != nil {
			t.Error(err)
		}
		time.Sleep(10 * time.Second)
		close(gate)
		time.Sleep(100 * time.Second)
		synctest.Wait()
		if n := len(b.notices()); n != 1 {
			t.Errorf("%d reports, want 1", n)
		}
		q.mu.Lock()
		if q.active != 0 || q.occupied() != 0 {
			t.Errorf("%d active messages, %d recipients at the end", q.active, q.occupied())
		}
		q.mu.Unlock()
		cancel()
		<-ended
	})
}

// TestOrdersStayFew has all messages for a destination that hangs tried by order
// again and again: each waits once.
func TestOrdersStayFew(t *testing.T) {
	const messages = 200
	m := newMemory()
	p := defaults
	p.ActiveLimit = 50
	var hang atomic.Bool
	tr := m.virtual()
	tr.FailedCohorts = 0
	tr.Agent = agent(func(ctx context.Context, r *deliver.Request) []deliver.Status {
		if hang.Load() {
			<-ctx.Done()
		}
		return []deliver.Status{late}
	})
	tr.DestinationRecipients = 1
	m.route = func(_, rcpt string) (Routed, error) {
		return Routed{Transport: "virtual", NextHop: "a.example", Address: "all@a.example"}, nil
	}
	m.transport["virtual"] = tr
	run(t, m, p, func(b *bench) {
		var last *spool.Message
		for i := range messages {
			last = b.send("s@example.org", fmt.Sprintf("u%d@a.example", i))
		}
		hang.Store(true)
		for range 20 {
			b.q.FlushDestination("a.example")
			b.q.Flush()
			b.q.FlushMessage(last.ID)
			time.Sleep(6 * time.Second)
			synctest.Wait()
		}
		b.q.mu.Lock()
		waiting := b.q.ordered.len()
		for _, tr := range b.q.transports {
			for _, l := range tr.lanes {
				waiting += l.parked.len()
			}
		}
		b.q.mu.Unlock()
		if waiting > messages {
			t.Errorf("%d orders wait for %d messages", waiting, messages)
		}
		if w, err := b.q.Why(last.ID); err != nil || w.Ahead > messages || w.Ahead < messages/2 {
			t.Errorf("Why says that %d of %d messages are ahead, %v", w.Ahead, messages, err)
		}
	})
}

// TestLaterOrderCounts: of two orders for a message the later one counts, in
// the place of the first.
func TestLaterOrderCounts(t *testing.T) {
	var q Queue
	var here, there fifo[uint64]
	q.wait(&here, order{number: 1, stamp: 5, recipients: 7})
	q.wait(&here, order{number: 2})
	q.wait(&there, order{number: 1, stamp: 9, given: 3})
	q.wait(&there, order{number: 1, stamp: 8, given: 2})
	if here.len() != 2 || there.len() != 0 || len(q.orders) != 2 {
		t.Fatalf("%d and %d wait, %d orders", here.len(), there.len(), len(q.orders))
	}
	if o, want := q.pull(&here), (order{number: 1, stamp: 9, given: 3, recipients: 7}); o != want {
		t.Errorf("the order is %+v, want %+v", o, want)
	}
	if q.pull(&here); len(q.orders) != 0 {
		t.Errorf("%d orders are left", len(q.orders))
	}
}

// TestRetriesBesideHanging: destinations that hang do not keep retries to
// others from being made, however many they are.
func TestRetriesBesideHanging(t *testing.T) {
	for _, domains := range []int{2, 20} {
		t.Run(fmt.Sprint(domains), func(t *testing.T) {
			m := newMemory()
			p := defaults
			p.ActiveLimit = 100
			p.MinimalBackoff, p.MaximalBackoff = 10*time.Second, 10*time.Second
			var hang atomic.Bool
			tr := m.virtual()
			tr.FailedCohorts, tr.Processes, tr.DestinationConcurrency = 0, 200, 1
			tr.Agent = agent(func(ctx context.Context, r *deliver.Request) []deliver.Status {
				if hang.Load() && r.NextHop != "good.example" {
					<-ctx.Done()
				}
				if hang.Load() {
					return []deliver.Status{sent}
				}
				return []deliver.Status{late}
			})
			m.transport["virtual"] = tr
			run(t, m, p, func(b *bench) {
				for i := range 180 {
					b.add(envelopeTo("s@example.org", fmt.Sprintf("u%d@hangs%d.example", i, i%domains)))
				}
				synctest.Wait()
				time.Sleep(time.Second) // the others are due first
				good := b.send("s@example.org", "u@good.example")
				hang.Store(true)
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				b.wantSettled(good, 1)
			})
		})
	}
}
