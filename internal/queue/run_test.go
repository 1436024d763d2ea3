package queue

import (
	"context"
	"testing"
	"testing/synctest"

	"postern/internal/deliver"
)

func TestShutdown(t *testing.T) {
	m := newMemory()
	started := make(chan string, 10)
	m.agent = func(ctx context.Context, r *deliver.Request) []deliver.Status {
		started <- r.Message.ID
		<-ctx.Done()
		var statuses []deliver.Status
		for _, rcpt := range r.Recipients {
			statuses = append(statuses, obey(rcpt))
		}
		return statuses
	}
	run(t, m, defaults, func(b *bench) {
		msg := b.send("s@example.org", "good@a.example", "late@a.example")
		alone := b.send("s@example.org", "good@b.example")
		b.stop()
		after := b.send("s@example.org", "good@a.example")
		b.wantSettled(msg, 1, 0)
		b.wantSettled(alone, 1)
		b.wantSettled(after, 0)
		if len(b.postpone) != 0 {
			b.Errorf("postponed %v, want recipients left as they were", b.postpone)
		}
		if lines := b.logged("status=deferred"); len(lines) != 0 {
			b.Errorf("logged %q for recipients that were not tried", lines)
		}
		if lines := b.logged(msg.ID + ": removed"); len(lines) != 0 {
			b.Errorf("logged %q for a message that is still there", lines)
		}
		if len(started) != 2 {
			b.Errorf("%d deliveries, want 2: none after the end", len(started))
		}
	})
}

func TestShutdownWhileRouting(t *testing.T) {
	m := newMemory()
	run(t, m, defaults, func(b *bench) {
		m.route = func(string, string) (Routed, error) {
			<-b.ctx.Done()
			return Routed{}, b.ctx.Err()
		}
		msg := b.send("s@example.org", "a@a.example", "b@b.example")
		b.stop()
		b.wantSettled(msg, 0, 0)
		if len(b.postpone) != 0 || len(b.logged("to=<")) != 0 {
			t.Errorf("postponed %v, logged %q, want the message left as it was", b.postpone, b.log())
		}
		if list := b.list(); len(list) != 1 || list[0].State.String() != "incoming" {
			t.Errorf("List() = %+v", list)
		}
	})
}

// gate makes the agent wait for a word before every delivery.
func (b *bench) gate() chan struct{} {
	gate := make(chan struct{})
	b.agent = func(_ context.Context, r *deliver.Request) []deliver.Status {
		<-gate
		statuses := make([]deliver.Status, len(r.Recipients))
		for i, rcpt := range r.Recipients {
			statuses[i] = obey(rcpt)
		}
		return statuses
	}
	return gate
}

func TestReload(t *testing.T) {
	m := newMemory()
	run(t, m, defaults, func(b *bench) {
		gate := b.gate()
		narrow := m.virtual()
		narrow.Processes = 1
		m.transport["virtual"] = narrow
		for range 5 {
			b.send("s@example.org", "a@example.com")
		}
		busy := func() int {
			b.q.mu.Lock()
			defer b.q.mu.Unlock()
			return b.q.transports["virtual"].workers
		}
		if busy() != 1 {
			b.Errorf("%d deliveries with Processes 1", busy())
		}
		wide := narrow
		wide.Processes = 3
		m.transport["virtual"] = wide
		p := defaults
		p.SoftBounce = true
		b.q.Reload(p)
		gate <- struct{}{}
		synctest.Wait()
		if busy() != 3 {
			b.Errorf("%d deliveries with Processes 3", busy())
		}
		m.transport["virtual"] = narrow
		b.q.Reload(p)
		gate <- struct{}{}
		gate <- struct{}{}
		synctest.Wait()
		if busy() != 1 {
			b.Errorf("%d deliveries with Processes 1 again", busy())
		}
		close(gate)
		synctest.Wait()
		if list := b.list(); len(list) != 0 {
			b.Errorf("left in the queue: %v", list)
		}
	})
}

func TestPressureAndActiveLimit(t *testing.T) {
	m := newMemory()
	p := defaults
	p.ActiveLimit = 2
	run(t, m, p, func(b *bench) {
		gate := b.gate()
		b.send("s@example.org", "a@example.com")
		if b.q.Pressure() {
			b.Error("Pressure() with one message of two")
		}
		b.send("s@example.org", "a@example.com")
		b.send("s@example.org", "a@example.com")
		states := map[State]int{}
		for _, e := range b.list() {
			states[e.State]++
		}
		if states[Active] != 2 || states[Incoming] != 1 || !b.q.Pressure() {
			b.Errorf("states %v, Pressure() = %v, want two active, one incoming and pressure", states, b.q.Pressure())
		}
		close(gate)
		synctest.Wait()
		if b.q.Pressure() || len(b.list()) != 0 {
			b.Error("pressure, or messages, left after delivery")
		}
	})
}
