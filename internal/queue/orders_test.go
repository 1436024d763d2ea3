package queue

import (
	"context"
	"fmt"
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
