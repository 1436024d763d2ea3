package queue

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"postern/internal/deliver"
	"postern/internal/spool"
)

// account is what became of recipients, as far as others than the queue know.
type account struct {
	sent     map[string]int // by message and index
	reported map[string]int // failures, by queue id and final recipient
}

// TestNobodyIsLost: whatever agents answer, operators order and the store
// refuses, and however often the queue is stopped and started, in the end every
// recipient of a message that was not deleted is settled once, has been sent or
// reported, and neither twice; and nothing is left in memory.
func TestNobodyIsLost(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		fates := rapid.SliceOfN(rapid.IntRange(0, 6), 1, 50).Draw(rt, "fates")
		shape := rapid.SliceOfN(rapid.SliceOfN(rapid.IntRange(0, 3), 1, 8), 1, 8).Draw(rt, "recipients by domain")
		steps := rapid.SliceOfN(rapid.IntRange(0, 9), 0, 25).Draw(rt, "steps")
		refusals := rapid.SliceOfN(rapid.Bool(), 0, 10).Draw(rt, "refusals")
		took := time.Duration(rapid.IntRange(0, 600).Draw(rt, "seconds of a delivery")) * time.Second
		active := rapid.IntRange(1, 5).Draw(rt, "active limit")
		limit := rapid.IntRange(0, 3).Draw(rt, "recipient limit")
		m := newMemory()
		a := account{map[string]int{}, map[string]int{}}
		turn, refused := 0, 0
		m.agent = func(ctx context.Context, r *deliver.Request) []deliver.Status {
			select {
			case <-time.After(took):
			case <-ctx.Done():
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			statuses := make([]deliver.Status, len(r.Recipients))
			for i, rcpt := range r.Recipients {
				statuses[i] = fate(fates[turn%len(fates)], rcpt)
				turn++
				switch {
				case ctx.Err() != nil:
					statuses[i] = late
				case rcpt.Address == "f@f.example" || r.Message.Envelope.Bounce:
					statuses[i] = sent // what was made here arrives
				}
				if statuses[i].Kind == deliver.Sent {
					a.sent[fmt.Sprint(r.Message.ID, rcpt.Index)]++
				}
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
		tr.DestinationRecipients, tr.InitialConcurrency, tr.Processes = limit, 2, 4
		m.transport["virtual"] = tr
		p := defaults
		p.ActiveLimit = active
		p.MaximalLifetime, p.BounceLifetime = 6*time.Hour, 6*time.Hour
		synctest.Test(t, func(t *testing.T) { live(rt, t, m, p, shape, steps) })
		a.check(rt, m)
	})
}

// live runs the queue through the steps, and then until everything is over.
func live(rt *rapid.T, t *testing.T, m *memory, p Parameters, shape [][]int, steps []int) {
	var q *Queue
	var stop func()
	start := func() {
		q = New(m.options(p))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); q.Run(ctx) }()
		stop = func() { cancel(); <-ended }
	}
	start()
	for i, domains := range shape {
		e := spool.Envelope{Sender: "s@example.org", Arrival: time.Now()}
		for k, d := range domains {
			e.Recipients = append(e.Recipients, spool.Recipient{Address: fmt.Sprintf("m%du%d@d%d.example", i, k, d)})
		}
		m.mu.Lock()
		msg := m.put(e, nil)
		m.mu.Unlock()
		q.Add(msg)
	}
	for i, step := range steps {
		time.Sleep(time.Duration(i*7) * time.Second)
		switch f := (Filter{Recipient: fmt.Sprintf("@d%d.example", i%4)}); step {
		case 8:
			q.Flush()
		case 9:
			stop()
			start()
		default:
			if Action(step) <= Requeue {
				q.Apply(t.Context(), Action(step), f, nil)
			}
		}
	}
	for tries := 0; ; tries++ {
		time.Sleep(48 * time.Hour)
		synctest.Wait()
		if _, err := q.Apply(t.Context(), Release, Filter{}, nil); err == nil {
			break
		} else if tries > 10 {
			rt.Fatalf("Release: %v", err)
		}
	}
	time.Sleep(48 * time.Hour)
	synctest.Wait()
	for e := range q.List(t.Context(), Filter{}) {
		rt.Errorf("left in the queue: %+v", e)
	}
	if len(q.items) != 0 || q.active != 0 || q.retrying != 0 || q.occupied() != 0 {
		rt.Errorf("left in memory: %d items, %d active, %d retrying, %d recipients", len(q.items), q.active, q.retrying, q.occupied())
	}
	for _, tr := range q.transports {
		if tr.busy != 0 || tr.workers != 0 || len(tr.lanes) != 0 {
			rt.Errorf("%s: %d busy, %d workers, %d lanes", tr.name, tr.busy, tr.workers, len(tr.lanes))
		}
	}
	stop()
}

// check compares what agents did with what the store was told.
func (a *account) check(t *rapid.T, m *memory) {
	deleted := map[uint64]bool{}
	for _, c := range m.changes {
		for _, n := range c.Remove {
			deleted[n] = true
		}
	}
	for _, n := range m.messages {
		if n.Envelope.Bounce {
			text := string(m.texts[n.Envelope.MessageID])
			id := between(text, "X-Postfix-Queue-ID: ")
			for rest := text; ; {
				to := between(rest, "Final-Recipient: rfc822; ")
				if to == "" {
					break
				}
				a.reported[id+to]++
				_, rest, _ = strings.Cut(rest, "Final-Recipient: rfc822; ")
			}
		}
	}
	for _, msg := range m.messages {
		for i, r := range msg.Envelope.Recipients {
			sent, reported, settled := a.sent[fmt.Sprint(msg.ID, i)], a.reported[msg.ID+r.Address], m.settled[msg.ID][i]
			if reported > 1 || settled > 1 {
				t.Errorf("%s %s: reported %d times, settled %d times", msg.ID, r.Address, reported, settled)
			}
			if settled == 0 && !deleted[msg.Number] {
				t.Errorf("%s %s: never settled", msg.ID, r.Address)
			}
			if sent == 0 && reported == 0 && settled > 0 && !msg.Envelope.Bounce && !m.replaced(msg.ID) {
				t.Errorf("%s %s: neither sent nor reported", msg.ID, r.Address)
			}
		}
	}
}

// replaced reports whether a message was requeued.
func (m *memory) replaced(id string) bool {
	return len(m.logged("postsuper: "+id+": requeued")) > 0
}

// between is what stands behind a name up to the end of the line.
func between(text, name string) string {
	_, rest, _ := strings.Cut(text, name)
	line, _, _ := strings.Cut(rest, "\n")
	return line
}
