package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/deliver"
	"postern/internal/spool"
)

// gated is an agent that delivers to "stuck" addresses when the gate opens, and
// to others as obey does.
func gated(gate *chan struct{}) agent {
	return func(ctx context.Context, r *deliver.Request) []deliver.Status {
		var statuses []deliver.Status
		for _, rcpt := range r.Recipients {
			if rcpt.Address[:2] == "st" {
				<-*gate
			}
			statuses = append(statuses, obey(rcpt))
		}
		return statuses
	}
}

// apply does a to f and checks to how many.
func (b *bench) apply(a Action, f Filter, want int) {
	b.Helper()
	n, err := b.q.Apply(b.Context(), a, f, nil)
	if err != nil || n != want {
		b.Errorf("Apply(%d, %+v) = %d, %v, want %d", a, f, n, err, want)
	}
	synctest.Wait()
}

// only is a filter for messages.
func only(messages ...*spool.Message) Filter {
	f := Filter{IDs: []string{}}
	for _, m := range messages {
		f.IDs = append(f.IDs, m.ID)
	}
	return f
}

func (b *bench) wantState(msg *spool.Message, want State) Entry {
	b.Helper()
	e, err := b.q.Show(msg.ID)
	if err != nil || e.State != want {
		b.Errorf("%s is %v (%v), want %v", msg.ID, e.State, err, want)
	}
	return e
}

func (b *bench) wantGone(msg *spool.Message) {
	b.Helper()
	if e, err := b.q.Show(msg.ID); !errors.Is(err, ErrNotFound) {
		b.Errorf("Show(%s) = %+v, %v, want ErrNotFound", msg.ID, e, err)
	}
}

func TestHoldAndRelease(t *testing.T) {
	run(t, newMemory(), defaults, func(b *bench) {
		msg := b.send("s@example.org", "late@a.example")
		other := b.send("s@example.org", "late@b.example")
		b.apply(Hold, only(msg), 1)
		b.apply(Hold, only(msg), 0)
		b.wantState(msg, Held)
		b.wantState(other, Deferred)
		b.log()
		time.Sleep(2 * time.Hour)
		b.q.Flush()
		b.apply(Retry, only(msg), 0)
		if n := len(b.logged(msg.ID + ": to=<")); n != 0 {
			b.Errorf("a held message was tried %d times", n)
		}
		if n := len(b.logged(other.ID + ": to=<")); n < 5 {
			b.Errorf("the other was tried %d times", n)
		}
		b.apply(Release, Filter{}, 1)
		if n := len(b.logged(msg.ID + ": to=<")); n != 1 {
			b.Errorf("a released message whose time has come was tried %d times", n)
		}
		for _, want := range []string{"postsuper: " + msg.ID + ": released from hold"} {
			if len(b.logged(want)) != 1 {
				b.Errorf("log lacks %q", want)
			}
		}
		b.wantState(msg, Deferred)
	})
}

// TestOneAlarmCounts: however often a message was given an alarm, it is tried
// once when its time has come.
func TestOneAlarmCounts(t *testing.T) {
	run(t, newMemory(), defaults, func(b *bench) {
		msg := b.send("s@example.org", "late@a.example")
		for range 5 {
			b.apply(Hold, only(msg), 1)
			b.apply(Release, only(msg), 1)
		}
		b.log()
		time.Sleep(301 * time.Second)
		synctest.Wait()
		if n := len(b.logged(msg.ID + ": to=<")); n != 1 {
			b.Errorf("tried %d times, want once", n)
		}
	})
}

func TestHeldFromTheStart(t *testing.T) {
	run(t, newMemory(), defaults, func(b *bench) {
		b.mu.Lock()
		msg := b.put(envelopeTo("s@example.org", "x@a.example"), nil)
		b.states[msg.Number].Held = true
		b.mu.Unlock()
		b.q.Add(msg)
		synctest.Wait()
		b.wantState(msg, Held)
		b.wantSettled(msg, 0)
		b.apply(Release, Filter{States: []State{Held}}, 1)
		b.wantSettled(msg, 1)
	})
}

// TestOrdersDuringDelivery gives orders to a message of which one delivery is
// under way and one waits.
func TestOrdersDuringDelivery(t *testing.T) {
	for _, test := range []struct {
		name   string
		orders []Action
		first  string // recipient whose delivery is under way
		want   func(b *bench, msg *spool.Message)
	}{
		{"hold", []Action{Hold}, "stuck@a.example", func(b *bench, msg *spool.Message) {
			b.wantState(msg, Held)
			b.wantSettled(msg, 1, 0)
			time.Sleep(24 * time.Hour)
			b.wantSettled(msg, 1, 0)
			b.apply(Release, Filter{}, 1)
			b.wantSettled(msg, 1, 1)
		}},
		{"hold and release", []Action{Hold, Release}, "stuck@a.example", func(b *bench, msg *spool.Message) {
			b.wantSettled(msg, 1, 1)
			b.wantGone(msg)
		}},
		{"delete", []Action{Delete}, "stuck@a.example", func(b *bench, msg *spool.Message) {
			b.wantGone(msg)
			b.wantSettled(msg, 1, 0)
			if n := len(b.logged(msg.ID + ": removed")); n != 1 {
				b.Errorf("%d lines say that it is removed, want 1", n)
			}
		}},
		{"expire", []Action{Expire}, "stuck@a.example", func(b *bench, msg *spool.Message) {
			b.wantSettled(msg, 1, 1)
		}},
		{"requeue", []Action{Requeue}, "stuck@a.example", func(b *bench, msg *spool.Message) {
			b.wantGone(msg)
			b.wantSettled(msg, 1, 1)
			n := b.notices()
			if len(n) != 1 || len(n[0].Envelope.Recipients) != 1 || n[0].Envelope.Recipients[0].Address != "x@a.example" {
				b.Fatalf("new messages %+v, want one for x@a.example", n)
			}
			b.wantSettled(n[0], 1)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var gate chan struct{}
			m := newMemory()
			m.agent = gated(&gate)
			tr := m.virtual()
			tr.DestinationRecipients, tr.InitialConcurrency, tr.DestinationConcurrency = 1, 1, 1
			tr.Processes = 1
			m.transport["virtual"] = tr
			run(t, m, defaults, func(b *bench) {
				gate = make(chan struct{})
				msg := b.send("s@example.org", test.first, "x@a.example")
				b.wantState(msg, Active)
				for _, a := range test.orders {
					b.apply(a, only(msg), 1)
				}
				close(gate)
				synctest.Wait()
				test.want(b, msg)
				if left := b.inMemory(); left != 0 {
					b.Errorf("%d messages are left in memory", left)
				}
			})
		})
	}
}

// inMemory is how many items there are that are not counted or not needed.
func (b *bench) inMemory() int {
	b.q.mu.Lock()
	defer b.q.mu.Unlock()
	if len(b.q.items) == 0 && (b.q.active != 0 || b.q.occupied() != 0 || b.q.retrying != 0) {
		b.Errorf("no items, and %d active, %d retrying, %d recipients", b.q.active, b.q.retrying, b.q.occupied())
	}
	return len(b.q.items)
}

func TestDelete(t *testing.T) {
	run(t, newMemory(), defaults, func(b *bench) {
		p := b.q.settings()
		p.ActiveLimit = 1
		b.q.Reload(p)
		msg := b.send("s@example.org", "late@a.example")
		held := b.send("s@example.org", "late@b.example")
		b.apply(Hold, only(held), 1)
		b.apply(Delete, Filter{}, 2)
		b.wantGone(msg)
		b.wantGone(held)
		b.log()
		time.Sleep(24 * time.Hour)
		if lines := b.log(); len(lines) != 0 {
			b.Errorf("after all is deleted the log says %q", lines)
		}
		if len(b.notices()) != 0 {
			b.Error("somebody is told of what was deleted")
		}
	})
}

func TestExpire(t *testing.T) {
	run(t, newMemory(), defaults, func(b *bench) {
		msg := b.send("s@example.org", "late@a.example")
		held := b.send("s@example.org", "late@b.example")
		b.apply(Hold, only(held), 1)
		b.apply(Expire, Filter{}, 2)
		b.apply(Expire, Filter{}, 0)
		b.wantGone(msg)
		if n := b.notices(); len(n) != 1 || n[0].Envelope.Recipients[0].Address != "s@example.org" {
			b.Errorf("notifications %v, want one to the sender", n)
		}
		if want := "qmgr: " + msg.ID + ": from=<s@example.org>, status=force-expired, returned to sender"; len(b.logged(want)) != 1 {
			b.Errorf("log lacks %q", want)
		}
		if e := b.wantState(held, Held); !e.Expired {
			b.Error("a held message does not show that it is expired")
		}
		b.apply(Release, Filter{}, 1)
		b.wantGone(held)
	})
}

// TestBounce: what is expired goes back at once, on hold or not, expired before
// or not.
func TestBounce(t *testing.T) {
	var gate chan struct{}
	m := newMemory()
	m.agent = gated(&gate)
	run(t, m, defaults, func(b *bench) {
		gate = make(chan struct{})
		deferred := b.send("s@example.org", "late@a.example")
		held := b.send("s@example.org", "late@b.example")
		both := b.send("s@example.org", "late@c.example")
		b.apply(Hold, only(held, both), 2)
		b.apply(Expire, only(both), 1)
		b.log()
		b.apply(Bounce, Filter{}, 3)
		for _, want := range []string{deferred.ID + ": expired", held.ID + ": expired", held.ID + ": released from hold", both.ID + ": released from hold"} {
			if len(b.logged("postsuper: "+want)) != 1 {
				b.Errorf("log lacks %q", want)
			}
		}
		for _, never := range []string{deferred.ID + ": released", both.ID + ": expired"} {
			if len(b.logged("postsuper: "+never)) != 0 {
				b.Errorf("log has %q", never)
			}
		}
		for _, msg := range []*spool.Message{deferred, held, both} {
			b.wantGone(msg)
		}
		// One that is put on hold while a delivery is under way.
		active := b.sendEnvelope(spool.Envelope{Sender: "s@example.org", Arrival: time.Now(), Recipients: []spool.Recipient{
			{Address: "stuck@d.example"}, {Address: "late@d.example"},
		}})
		b.apply(Hold, only(active), 1)
		b.apply(Bounce, only(active), 1)
		close(gate)
		synctest.Wait()
		b.wantGone(active)
		b.apply(Bounce, Filter{}, 0)
	})
}

func TestRequeue(t *testing.T) {
	run(t, newMemory(), defaults, func(b *bench) {
		msg := b.sendEnvelope(spool.Envelope{Sender: "s@example.org", Arrival: time.Now(), Recipients: []spool.Recipient{
			{Address: "good@a.example"}, {Address: "late@a.example", Original: "list@a.example", Notify: spool.NotifyNever},
		}})
		held := b.send("s@example.org", "late@b.example")
		b.apply(Hold, only(held), 1)
		time.Sleep(time.Minute)
		b.apply(Requeue, Filter{}, 2)
		b.wantGone(msg)
		b.wantGone(held)
		n := b.notices()
		if len(n) != 2 {
			b.Fatalf("%d new messages, want 2", len(n))
		}
		e := n[0].Envelope
		if !e.Arrival.Equal(msg.Envelope.Arrival) {
			b.Errorf("the new message came at %v, want %v as before", e.Arrival, msg.Envelope.Arrival)
		}
		if e.Sender != "s@example.org" || len(e.Recipients) != 1 || e.Recipients[0] != (spool.Recipient{Address: "late@a.example", Original: "list@a.example", Notify: spool.NotifyNever}) {
			b.Errorf("envelope of the new message = %+v", e)
		}
		b.wantState(n[0], Deferred)
		b.wantState(n[1], Deferred)
		if len(b.logged("postsuper: "+msg.ID+": requeued as "+n[0].ID)) != 1 {
			b.Error("the log does not say so")
		}
		if text := b.text(n[0]); text != "Subject: test\n\nbody\n" {
			b.Errorf("text of the new message = %q", text)
		}
	})
}

func TestOrdersThatCannotBeWritten(t *testing.T) {
	for _, a := range []Action{Hold, Delete, Expire, Bounce, Requeue} {
		for _, state := range []State{Deferred, Active} {
			t.Run(fmt.Sprint(a, state), func(t *testing.T) {
				var gate chan struct{}
				m := newMemory()
				m.agent = gated(&gate)
				run(t, m, defaults, func(b *bench) {
					gate = make(chan struct{})
					msg := b.send("s@example.org", map[State]string{Deferred: "late@a.example", Active: "stuck@a.example"}[state])
					m.mu.Lock()
					m.refuse = func(spool.Change) error { return spool.ErrFull }
					m.mu.Unlock()
					n, err := b.q.Apply(b.Context(), a, Filter{}, nil)
					if (n != 0 || !errors.Is(err, spool.ErrFull)) && !(a == Requeue && state == Active) {
						t.Errorf("Apply = %d, %v, want ErrFull", n, err)
					}
					m.mu.Lock()
					m.refuse = nil
					m.mu.Unlock()
					close(gate)
					synctest.Wait()
					if state == Active {
						b.wantSettled(msg, 1)
						b.wantGone(msg)
						return
					}
					b.wantState(msg, Deferred)
					b.log()
					time.Sleep(time.Hour)
					if n := len(b.logged(msg.ID + ": to=<")); n == 0 {
						t.Error("the message is not tried any more")
					}
				})
			})
		}
	}
}

func TestApplyToMany(t *testing.T) {
	m := newMemory()
	run(t, m, defaults, func(b *bench) {
		const n = 2*batchSize + 5
		for i := range n {
			b.add(envelopeTo("s@example.org", fmt.Sprintf("late@d%d.example", i%7)))
		}
		synctest.Wait()
		b.changes = nil
		var seen [][2]int
		done, err := b.q.Apply(b.Context(), Hold, Filter{}, func(done, matched int) { seen = append(seen, [2]int{done, matched}) })
		if done != n || err != nil {
			t.Fatalf("Apply = %d, %v, want %d", done, err, n)
		}
		if want := [][2]int{{0, 1000}, {0, 2000}, {0, n}, {1000, n}, {2000, n}, {n, n}}; !slices.Equal(seen, want) {
			t.Errorf("progress %v, want %v", seen, want)
		}
		if len(b.changes) != 3 {
			t.Errorf("%d changes for three batches", len(b.changes))
		}
		ctx, cancel := context.WithCancel(b.Context())
		done, err = b.q.Apply(ctx, Release, Filter{}, func(done, _ int) {
			if done > 0 {
				cancel()
			}
		})
		if done != batchSize || !errors.Is(err, context.Canceled) {
			t.Errorf("Apply that is cancelled = %d, %v, want %d", done, err, batchSize)
		}
		if held := len(listed(t, b.q, Filter{States: []State{Held}})); held != n-batchSize {
			t.Errorf("%d are on hold, want %d", held, n-batchSize)
		}
	})
}

func TestARetryOverrulesWhatFailedBefore(t *testing.T) {
	m := newMemory()
	fails := true
	m.agent = each(func(deliver.Recipient) deliver.Status {
		if fails {
			return dead
		}
		return sent
	})
	tr := m.virtual()
	tr.InitialConcurrency = 1
	m.transport["virtual"] = tr
	run(t, m, defaults, func(b *bench) {
		msg, other := b.send("s@example.org", "x@a.example"), b.send("s@example.org", "y@a.example")
		b.wantState(msg, Deferred)
		time.Sleep(time.Second)
		synctest.Wait()
		fails = false
		b.apply(Retry, only(msg), 1)
		b.wantSettled(msg, 1)
		b.wantState(other, Deferred)
		if !b.q.FlushMessage(other.ID) {
			t.Error("FlushMessage does not know the other message")
		}
		synctest.Wait()
		b.wantSettled(other, 1)
	})
}

func TestDeferTransports(t *testing.T) {
	p := defaults
	p.DeferTransports = []string{"virtual"}
	run(t, newMemory(), p, func(b *bench) {
		msg := b.send("s@example.org", "x@a.example")
		time.Sleep(24 * time.Hour)
		b.wantState(msg, Deferred)
		if len(b.logged("dsn=4.3.2, status=deferred (deferred transport)")) < 3 {
			t.Errorf("log %q", b.log())
		}
		b.q.Flush()
		synctest.Wait()
		b.wantSettled(msg, 1)
	})
}

// TestOrdersOnAFullDisk: what the store has taken, but could not write yet, is done.
func TestOrdersOnAFullDisk(t *testing.T) {
	m := newMemory()
	run(t, m, defaults, func(b *bench) {
		msg := b.send("s@example.org", "late@a.example")
		m.mu.Lock()
		m.unwritten = true
		m.mu.Unlock()
		b.apply(Hold, only(msg), 1)
		b.wantState(msg, Held)
		b.apply(Delete, only(msg), 1)
		b.wantGone(msg)
		if len(b.logged("which is written when there is space")) != 2 {
			t.Error("the log does not say that it is not on the disk yet")
		}
	})
}
