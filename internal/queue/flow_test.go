package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/deliver"
	"postern/internal/spool"
)

// world is an agent with destinations of several kinds, told by their names.
type world struct {
	*meter
	served map[string]int // messages by next hop
}

func newWorld() *world { return &world{newMeter(), map[string]int{}} }

func (w *world) Deliver(ctx context.Context, r *deliver.Request) []deliver.Status {
	kind, _, _ := strings.Cut(r.NextHop, ".")
	kind = strings.TrimRight(kind, "0123456789")
	status, took := sent, 10*time.Millisecond
	w.mu.Lock()
	w.now[r.NextHop]++
	w.total++
	w.most[r.NextHop] = max(w.most[r.NextHop], w.now[r.NextHop])
	w.all = max(w.all, w.total)
	w.served[kind]++
	served := w.served[kind]
	w.mu.Unlock()
	switch {
	case kind == "hangs":
		status, took = dead, 5*time.Minute
	case kind == "dead":
		status = dead
	case kind == "busy" && served%11 == 10: // 421 after ten messages
		status = dead
		status.DSN, status.Reason = "4.3.2", "host mx[192.0.2.1] said: 421 4.3.2 too many messages"
	}
	select {
	case <-time.After(took):
	case <-ctx.Done():
		status = late
	}
	w.mu.Lock()
	w.now[r.NextHop]--
	w.total--
	w.mu.Unlock()
	return slices.Repeat([]deliver.Status{status}, len(r.Recipients))
}

// TestOthersFlow: mail to a destination that answers flows at its full rate,
// whatever is wrong with others of the same transport.
func TestOthersFlow(t *testing.T) {
	for _, test := range []struct {
		name    string
		windows bool // of bad destinations are wide: they were good once
		bad     func(i int) string
		n       int
		active  int
	}{
		{"one hangs", false, func(int) string { return "x@hangs.example" }, 5000, 0},
		{"fifty hang", false, func(i int) string { return fmt.Sprintf("x@hangs%d.example", i%50) }, 5000, 0},
		{"one hangs, and its mail would fill the active queue", false, func(int) string { return "x@hangs.example" }, 2000, 1000},
		{"421 after ten messages", false, func(int) string { return "x@busy.example" }, 1000, 0},
		{"one is dead", false, func(int) string { return "x@dead.example" }, 1000, 0},
		{"many are dead", false, func(i int) string { return fmt.Sprintf("x@dead%d.example", i) }, 1000, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			mem, agent := newMemory(), newWorld()
			agent.with(mem, func(tr *Transport) { tr.Agent = agent })
			p := defaults
			p.ActiveLimit = test.active
			run(t, mem, p, func(b *bench) {
				b.send("s@example.org", "first@good.example")
				time.Sleep(time.Second)
				for i := range test.n {
					b.add(envelopeTo("s@example.org", test.bad(i)))
				}
				time.Sleep(10 * time.Second)
				began := time.Now()
				var messages []*spool.Message
				for range 1000 {
					messages = append(messages, b.add(envelopeTo("s@example.org", "x@good.example")))
					time.Sleep(10 * time.Millisecond)
				}
				time.Sleep(time.Second)
				synctest.Wait()
				if took := time.Since(began); took > 12*time.Second {
					t.Fatalf("the test took %v", took)
				}
				lost := 0
				for _, msg := range messages {
					if _, err := b.q.Show(msg.ID); err == nil {
						lost++
					}
				}
				if lost > 0 {
					t.Errorf("%d of %d messages are not delivered", lost, len(messages))
				}
				if agent.all > 100 {
					t.Errorf("%d deliveries at a time with 100 processes", agent.all)
				}
			})
		})
	}
}

// TestParkedMailComesBack: mail that found no room in the active queue is
// delivered when its destination works again.
func TestParkedMailComesBack(t *testing.T) {
	mem, agent := newMemory(), newMeter()
	agent.took = time.Minute
	agent.with(mem, func(tr *Transport) { tr.InitialConcurrency, tr.DestinationConcurrency = 1, 1 })
	p := defaults
	p.ActiveLimit = 20
	run(t, mem, p, func(b *bench) {
		for range 100 {
			b.add(envelopeTo("s@example.org", "x@slow.example"))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		for range 50 {
			b.add(envelopeTo("s@example.org", "x@slow.example"))
		}
		synctest.Wait()
		if active := b.q.Stats().Active; active >= 20 {
			t.Errorf("%d messages for one slow destination are active", active)
		}
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if list := b.list(); len(list) != 0 || b.lanes() != 0 || b.inMemory() != 0 {
			t.Errorf("%d messages and %d lanes are left", len(list), b.lanes())
		}
	})
}

// TestNoProcessIsWasted: a single destination may use them all but one, and all
// of a few.
func TestNoProcessIsWasted(t *testing.T) {
	for processes, want := range map[int]int{1: 1, 2: 2, 3: 3, 4: 3, 10: 9, 100: 50} {
		mem, agent := newMemory(), newMeter()
		agent.with(mem, func(tr *Transport) {
			tr.Processes, tr.DestinationConcurrency, tr.InitialConcurrency = processes, 50, 50
		})
		run(t, mem, defaults, func(b *bench) {
			for range 500 {
				b.add(envelopeTo("s", "x@a.example"))
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			if agent.all != want {
				t.Errorf("%d of %d processes used by one destination, want %d", agent.all, processes, want)
			}
		})
	}
}

func TestRateDelays(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Transport)
		want   time.Duration // until all are delivered
	}{
		{"destination", func(tr *Transport) { tr.DestinationRateDelay = 10 * time.Second }, 4*11*time.Second + time.Second},
		{"transport", func(tr *Transport) { tr.RateDelay = 10 * time.Second }, 9*11*time.Second + time.Second},
		{"none", func(tr *Transport) { tr.InitialConcurrency = 20 }, time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			mem, agent := newMemory(), newMeter()
			agent.with(mem, test.change)
			var last time.Time
			began := time.Time{}
			agent.answers = func(*deliver.Request) deliver.Status { last = time.Now().Add(time.Second); return sent }
			run(t, mem, defaults, func(b *bench) {
				began = time.Now()
				for range 5 {
					b.add(envelopeTo("s", "x@a.example"))
					b.add(envelopeTo("s", "x@b.example"))
				}
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				if len(b.list()) != 0 || b.lanes() != 0 {
					t.Errorf("left: %v, %d lanes", b.list(), b.lanes())
				}
				if took := last.Sub(began); took != test.want {
					t.Errorf("took %v, want %v", took, test.want)
				}
			})
		})
	}
}

func TestTransportThatFails(t *testing.T) {
	m := newMemory()
	var broken atomic.Bool
	var tries atomic.Int32
	broken.Store(true)
	m.agent = func(_ context.Context, r *deliver.Request) []deliver.Status {
		tries.Add(1)
		if broken.Load() {
			return nil // as if it had died
		}
		return slices.Repeat([]deliver.Status{sent}, len(r.Recipients))
	}
	tr := m.virtual()
	tr.InitialConcurrency = 1
	m.transport["virtual"] = tr
	run(t, m, defaults, func(b *bench) {
		for i := range 10 {
			b.add(envelopeTo("s@example.org", fmt.Sprintf("x@d%d.example", i)))
		}
		synctest.Wait()
		if n := len(b.logged("status=deferred (unknown mail transport error)")); n != 10 || tries.Load() == 10 {
			t.Errorf("%d recipients deferred after %d tries", n, tries.Load())
		}
		broken.Store(false)
		time.Sleep(59 * time.Second)
		late := b.send("s@example.org", "y@a.example")
		b.wantSettled(late, 0)
		if s := b.q.Stats(); len(s.Dead) != 1 || s.Dead[0].Transport != "virtual" || s.Dead[0].NextHop != "" {
			t.Errorf("Stats().Dead = %+v", s.Dead)
		}
		time.Sleep(2 * time.Second)
		again := b.send("s@example.org", "y@a.example")
		b.wantSettled(again, 1)
	})
}

// TestManyRecipients: a message with very many recipients is worked on in
// portions, keeps nobody waiting, and has one report for all that bounced.
func TestManyRecipients(t *testing.T) {
	const n = 20000
	mem, agent := newMemory(), newMeter()
	agent.took = 10 * time.Millisecond
	agent.answers = func(r *deliver.Request) deliver.Status {
		if r.Recipients[0].Index%1000 == 999 {
			return bad
		}
		return sent
	}
	agent.with(mem, func(tr *Transport) { tr.DestinationRecipients = 1 })
	p := defaults
	p.RecipientLimit = 5000
	run(t, mem, p, func(b *bench) {
		big := b.add(envelopeTo("s@example.org", many(n, "a.example")...))
		second := b.add(envelopeTo("s@example.org", many(n, "a.example")...))
		synctest.Wait()
		if lanes := b.lanes(); lanes > portionSize {
			t.Errorf("%d recipients of a message wait in lanes", lanes)
		}
		if s := b.q.Stats(); s.Active != 1 {
			t.Errorf("%d messages that are too large are active at a time", s.Active)
		}
		small := b.send("s@example.org", "x@a.example")
		time.Sleep(time.Second)
		synctest.Wait()
		b.wantSettled(small, 1)
		time.Sleep(time.Hour)
		synctest.Wait()
		for _, msg := range []*spool.Message{big, second} {
			if slices.ContainsFunc(b.settled[msg.ID], func(n int) bool { return n != 1 }) {
				t.Errorf("not every recipient of %s is settled once", msg.ID)
			}
		}
		notices := b.notices()
		if len(notices) != 2 {
			t.Fatalf("%d reports, want one a message", len(notices))
		}
		if got := strings.Count(b.text(notices[0]), "Final-Recipient: "); got != n/1000 {
			t.Errorf("%d recipients reported, want %d", got, n/1000)
		}
		if b.inMemory() != 0 {
			t.Error("messages are left in memory")
		}
	})
}

// TestStartWithManyMessages: what waits is not read before its turn.
func TestStartWithManyMessages(t *testing.T) {
	m := newMemory()
	run(t, m, defaults, func(*bench) {})
	const n = 50000
	for i := range n {
		msg := m.put(spool.Envelope{Sender: "s@example.org", Arrival: time.Now(), Recipients: []spool.Recipient{{Address: "late@a.example"}}}, nil)
		if i%2 == 0 {
			m.states[msg.Number].Next = time.Now().Add(time.Hour)
		}
	}
	q := New(m.options(defaults))
	if q.incoming.len() != n/2 || len(q.sleeping) != n/2 || len(q.items) != 0 {
		t.Errorf("%d incoming, %d sleeping, %d in memory", q.incoming.len(), len(q.sleeping), len(q.items))
	}
	if q.Pressure() {
		t.Error("what was here before slows new mail")
	}
}

func TestAMessageThatCannotBeRead(t *testing.T) {
	m := newMemory()
	p := defaults
	p.ActiveLimit = 1
	run(t, m, p, func(b *bench) {
		gate := b.gate()
		first := b.add(envelopeTo("s@example.org", "a@a.example"))
		b.add(envelopeTo("s@example.org", "b@a.example"))
		msg := b.add(envelopeTo("s@example.org", "c@a.example"))
		m.mu.Lock()
		m.damaged = map[uint64]error{msg.Number: fmt.Errorf("record: %w", spool.ErrDamaged)}
		m.mu.Unlock()
		close(gate)
		synctest.Wait()
		b.wantSettled(first, 1)
		b.wantSettled(msg, 0)
		if len(b.logged("warning: "+msg.ID+": cannot be read: record: ")) != 1 {
			t.Errorf("log %q lacks the reason", b.log())
		}
		var errs int
		for e, err := range b.q.List(b.Context(), Filter{}) {
			if e.ID != msg.ID || !errors.Is(err, spool.ErrDamaged) {
				t.Errorf("List yields %+v, %v", e, err)
			}
			errs++
		}
		if errs != 1 {
			t.Errorf("List yields %d entries", errs)
		}
		b.apply(Delete, only(msg), 1)
		b.wantGone(msg)
	})
}
