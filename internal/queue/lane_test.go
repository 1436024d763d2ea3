package queue

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/deliver"
	"postern/internal/spool"
)

// meter is an agent that counts what it does at a time.
type meter struct {
	mu      sync.Mutex
	took    time.Duration
	now     map[string]int // deliveries under way by next hop
	most    map[string]int
	total   int
	all     int // most of all next hops together
	order   []string
	sizes   []int
	answers func(r *deliver.Request) deliver.Status
}

func newMeter() *meter {
	return &meter{
		took: time.Second, now: map[string]int{}, most: map[string]int{},
		answers: func(*deliver.Request) deliver.Status { return sent },
	}
}

func (m *meter) Deliver(ctx context.Context, r *deliver.Request) []deliver.Status {
	m.mu.Lock()
	m.now[r.NextHop]++
	m.total++
	m.most[r.NextHop] = max(m.most[r.NextHop], m.now[r.NextHop])
	m.all = max(m.all, m.total)
	m.order = append(m.order, r.Message.Envelope.Sender+" "+r.NextHop)
	m.sizes = append(m.sizes, len(r.Recipients))
	answer := m.answers(r)
	m.mu.Unlock()
	time.Sleep(m.took)
	m.mu.Lock()
	m.now[r.NextHop]--
	m.total--
	m.mu.Unlock()
	return slices.Repeat([]deliver.Status{answer}, len(r.Recipients))
}

// with makes the meter the agent of the transport "virtual".
func (m *meter) with(mem *memory, change func(*Transport)) {
	t := mem.virtual()
	t.Agent = m
	change(&t)
	mem.transport["virtual"] = t
}

func many(n int, domain string) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("u%d@%s", i, domain)
	}
	return list
}

func TestConcurrency(t *testing.T) {
	for _, test := range []struct {
		name             string
		initial, limit   int
		processes        int
		mostOne, mostAll int
	}{
		{"window grows to the limit", 2, 6, 100, 6, 12},
		{"process limit", 5, 20, 3, 2, 3},
		{"window starts small and is used up", 5, 5, 100, 5, 10},
		{"one", 0, 1, 0, 1, 2},
		{"no bounds", 50, 0, 0, 50, 100},
	} {
		t.Run(test.name, func(t *testing.T) {
			mem, agent := newMemory(), newMeter()
			agent.with(mem, func(tr *Transport) {
				tr.InitialConcurrency, tr.DestinationConcurrency, tr.Processes = test.initial, test.limit, test.processes
			})
			run(t, mem, defaults, func(b *bench) {
				for range 50 {
					b.add(envelopeTo("s", "x@a.example"))
					b.add(envelopeTo("s", "x@b.example"))
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				one := agent.most["a.example"]
				if alone := test.processes; one == alone {
					one = test.mostOne // before anything for the other was there
				}
				if one != test.mostOne || agent.all != test.mostAll {
					t.Errorf("%d deliveries at a time to one destination and %d in all, want %d and %d",
						agent.most["a.example"], agent.all, test.mostOne, test.mostAll)
				}
				if left := len(b.list()); left != 0 || len(agent.order) != 100 {
					t.Errorf("%d deliveries, %d messages left, want 100 and none", len(agent.order), left)
				}
				if lanes := b.lanes(); lanes != 0 {
					t.Errorf("%d idle lanes are kept", lanes)
				}
			})
		})
	}
}

func envelopeTo(sender string, recipients ...string) spool.Envelope {
	e := spool.Envelope{Sender: sender, Arrival: time.Now()}
	for _, r := range recipients {
		e.Recipients = append(e.Recipients, spool.Recipient{Address: r})
	}
	return e
}

// lanes is how many lanes there are.
func (b *bench) lanes() int {
	b.q.mu.Lock()
	defer b.q.mu.Unlock()
	return len(b.q.transports["virtual"].lanes)
}

func TestRecipientLimit(t *testing.T) {
	for _, test := range []struct {
		limit, lanes int
		want         []int
	}{
		{50, 2, []int{3, 20, 50, 50}},
		{0, 2, []int{3, 120}},
		{1, 123, slices.Repeat([]int{1}, 123)},
	} {
		t.Run(fmt.Sprint(test.limit), func(t *testing.T) {
			mem, agent := newMemory(), newMeter()
			agent.with(mem, func(tr *Transport) { tr.DestinationRecipients, tr.Processes = test.limit, 0 })
			run(t, mem, defaults, func(b *bench) {
				msg := b.add(envelopeTo("s", append(many(120, "A.example"), many(3, "b.example")...)...))
				synctest.Wait()
				if lanes := b.lanes(); lanes != test.lanes {
					t.Errorf("%d lanes, want %d", lanes, test.lanes)
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				slices.Sort(agent.sizes)
				if !slices.Equal(agent.sizes, test.want) {
					t.Errorf("recipients by delivery %v, want %v", agent.sizes, test.want)
				}
				if slices.Contains(b.settled[msg.ID], 0) {
					t.Error("a recipient is not settled")
				}
			})
		})
	}
}

func TestFairness(t *testing.T) {
	mem, agent := newMemory(), newMeter()
	agent.with(mem, func(tr *Transport) { tr.Processes = 1; tr.DestinationRecipients = 10 })
	run(t, mem, defaults, func(b *bench) {
		b.sendEnvelope(envelopeTo("big", many(1000, "a.example")...))
		b.sendEnvelope(envelopeTo("small", "x@a.example"))
		b.sendEnvelope(envelopeTo("other", "x@b.example"))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		agent.mu.Lock()
		defer agent.mu.Unlock()
		for _, want := range []string{"small a.example", "other b.example"} {
			if i := slices.Index(agent.order, want); i < 0 || i > 4 {
				t.Errorf("order %q: %q is not among the first", agent.order, want)
			}
		}
	})
}

func TestDeadDestination(t *testing.T) {
	mem, agent := newMemory(), newMeter()
	agent.answers = func(r *deliver.Request) deliver.Status {
		if r.NextHop == "down.example" {
			return dead
		}
		return sent
	}
	agent.with(mem, func(tr *Transport) { tr.InitialConcurrency = 2 })
	run(t, mem, defaults, func(b *bench) {
		for range 10 {
			b.add(envelopeTo("s@example.org", "x@down.example"))
		}
		up := b.add(envelopeTo("s@example.org", "x@up.example"))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		b.wantSettled(up, 1)
		tries := func() int {
			agent.mu.Lock()
			defer agent.mu.Unlock()
			return len(agent.order) - 1
		}
		if n := tries(); n > 4 {
			t.Errorf("%d tries of a destination that is down, want a window's worth", n)
		}
		late := b.sendEnvelope(envelopeTo("s@example.org", "y@down.example"))
		text := late.ID + ": to=<y@down.example>, relay=none, delay=0, delays=0/0/0/0, dsn=4.4.1, status=deferred " +
			"(delivery temporarily suspended: connect to mx.example[192.0.2.1]:25: Connection refused)"
		if len(b.logged("error: "+text)) != 1 {
			t.Errorf("log lacks %q", text)
		}
		if list := b.list(); len(list) != 11 || list[0].State != Deferred || list[10].State != Deferred {
			t.Errorf("List() = %+v, want 11 deferred messages", list)
		}
		before := tries()
		b.q.FlushDestination("down.example")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if tries() == before {
			t.Error("a flush does not revive the destination")
		}
		agent.mu.Lock()
		agent.answers = func(*deliver.Request) deliver.Status { return sent }
		agent.mu.Unlock()
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if list := b.list(); len(list) != 0 || b.lanes() != 0 {
			t.Errorf("left after the destination is up again: %v", list)
		}
	})
}

func TestNegativeFeedback(t *testing.T) {
	tr := &transport{Transport: Transport{InitialConcurrency: 5, DestinationConcurrency: 20, FailedCohorts: 2}, lanes: map[laneKey]*lane{}}
	l := tr.lane("a.example", "x")
	l.busy = 20
	for range 5 {
		l.succeed()
	}
	if l.window != 10 {
		t.Errorf("window %d after 5 successes, want 10", l.window)
	}
	l.fail(dead, time.Now())
	if l.window != 9 || l.cohorts != 0.1 {
		t.Errorf("window %d, cohorts %v after a failure", l.window, l.cohorts)
	}
	l.succeed()
	if l.cohorts != 0 {
		t.Error("a success does not forget failures")
	}
	n := 0
	for !l.fail(dead, time.Now()) {
		if n++; n > 100 {
			t.Fatal("a destination that always fails does not die")
		}
	}
	if !l.dead() || l.fail(dead, time.Now()) {
		t.Error("the destination is not dead, or dies twice")
	}
	l.succeed()
	if l.dead() || l.window < 5 {
		t.Errorf("window %d after a success of a dead destination", l.window)
	}
	tr.FailedCohorts = 0
	for range 1000 {
		if l.fail(dead, time.Now()) {
			t.Fatal("a destination died though none may")
		}
	}
	if l.window != 1 {
		t.Errorf("window %d, want 1", l.window)
	}
}

func TestLanesAreCaseBlind(t *testing.T) {
	tr := &transport{lanes: map[laneKey]*lane{}}
	if tr.lane("A.example", "x") != tr.lane("a.EXAMPLE", "y") {
		t.Error("two lanes for one destination")
	}
	tr.DestinationRecipients = 1
	if tr.lane("a.example", "X") != tr.lane("a.example", "x") || tr.lane("a.example", "x") == tr.lane("a.example", "y") {
		t.Error("lanes of single recipients are mixed up")
	}
	if got := tr.lane("A.b", "x").nextHop; !strings.EqualFold(got, "a.b") || got != "A.b" {
		t.Errorf("next hop %q, want it as routed", got)
	}
}

func TestFifo(t *testing.T) {
	var f fifo[int]
	next, want := 0, 0
	for round := range 1000 {
		for range round % 7 {
			f.push(next)
			next++
		}
		if all := f.all(); len(all) > 0 && all[len(all)-1] != next-1 {
			t.Fatalf("the last of all() is %d, want %d", all[len(all)-1], next-1)
		}
		for range min(f.len(), round%5) {
			if got := f.pop(); got != want {
				t.Fatalf("pop() = %d, want %d", got, want)
			}
			want++
		}
	}
	if f.len() != next-want {
		t.Errorf("len() = %d, want %d", f.len(), next-want)
	}
	if cap(f.items) > 4*f.len()+100 {
		t.Errorf("%d places for %d values", cap(f.items), f.len())
	}
}
