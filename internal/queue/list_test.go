package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/deliver"
	"postern/internal/spool"
)

func TestFilter(t *testing.T) {
	m := newMemory()
	run(t, m, defaults, func(b *bench) {
		old := b.send("Sender@Example.org", "late1@one.example", "good@two.example")
		time.Sleep(time.Hour)
		null := b.send("", "late2@two.example")
		held := b.send("s@example.org", "late3@one.example")
		b.apply(Hold, only(held), 1)
		all := []*spool.Message{old, null, held}
		for _, test := range []struct {
			name   string
			filter Filter
			want   []*spool.Message
		}{
			{"everything", Filter{}, all},
			{"ids", Filter{IDs: []string{held.ID, "FFFFFFFFFFFF", strings.ToLower(old.ID), old.ID, "x"}}, []*spool.Message{old, held}},
			{"no ids", Filter{IDs: []string{}}, nil},
			{"sender", Filter{Sender: "sender@example.ORG"}, all[:1]},
			{"domain of senders", Filter{Sender: "@Example.org"}, []*spool.Message{old, held}},
			{"null sender", Filter{Sender: "<>"}, all[1:2]},
			{"recipient", Filter{Recipient: "LATE2@two.example"}, all[1:2]},
			{"domain of recipients", Filter{Recipient: "@one.example"}, []*spool.Message{old, held}},
			{"a recipient that is done with", Filter{Recipient: "good@two.example"}, nil},
			{"domain", Filter{Domain: "two.example"}, all[1:2]},
			{"reason", Filter{Reason: "TRY later"}, all},
			{"another reason", Filter{Reason: "refused"}, nil},
			{"older", Filter{OlderThan: time.Minute}, all[:1]},
			{"younger", Filter{YoungerThan: time.Minute}, all[1:]},
			{"older and younger", Filter{OlderThan: time.Minute, YoungerThan: time.Minute}, nil},
			{"state", Filter{States: []State{Held, Active}}, all[2:]},
			{"all of it", Filter{Sender: "@example.org", Domain: "one.example", States: []State{Deferred}}, all[:1]},
			{"conditions on one recipient", Filter{Recipient: "late1@one.example", Domain: "two.example"}, nil},
		} {
			var want, got []string
			for _, msg := range test.want {
				want = append(want, msg.ID)
			}
			for _, e := range listed(t, b.q, test.filter) {
				got = append(got, e.ID)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: List(%+v) = %v, want %v", test.name, test.filter, got, want)
			}
		}
		ctx, cancel := context.WithCancel(b.Context())
		cancel()
		for e, err := range b.q.List(ctx, Filter{}) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("List after the end of its context yields %+v, %v", e, err)
			}
		}
	})
}

func TestShowAndMessage(t *testing.T) {
	run(t, newMemory(), defaults, func(b *bench) {
		msg := b.send("s@example.org", "good@a.example", "late@a.example")
		e := b.wantState(msg, Deferred)
		if e.Done != 1 || e.Attempts != 1 || len(e.Recipients) != 1 || e.Recipients[0].Reason != "try later" || time.Until(e.Next) != 300*time.Second {
			t.Errorf("Show = %+v", e)
		}
		if p, err := b.q.Message(msg.ID); err != nil || p.Message.ID != msg.ID || !slices.Equal(p.Done, []bool{true, false}) {
			t.Errorf("Message = %+v, %v", p, err)
		}
		for _, id := range []string{"", "x", "FFFFFFFFFFFF", strings.ToLower("ABCDEFABCDEF")} {
			if _, err := b.q.Show(id); !errors.Is(err, ErrNotFound) {
				t.Errorf("Show(%q): %v, want ErrNotFound", id, err)
			}
			if _, err := b.q.Message(id); !errors.Is(err, ErrNotFound) {
				t.Errorf("Message(%q): %v, want ErrNotFound", id, err)
			}
			if _, err := b.q.Why(id); !errors.Is(err, ErrNotFound) {
				t.Errorf("Why(%q): %v, want ErrNotFound", id, err)
			}
			if b.q.FlushMessage(id) {
				t.Errorf("FlushMessage(%q) knows it", id)
			}
		}
	})
}

func TestWhy(t *testing.T) {
	m := newMemory()
	var gate chan struct{}
	inner := gated(&gate)
	m.agent = func(ctx context.Context, r *deliver.Request) []deliver.Status {
		if r.NextHop == "down.example" {
			return []deliver.Status{dead}
		}
		return inner(ctx, r)
	}
	tr := m.virtual()
	tr.InitialConcurrency, tr.DestinationConcurrency = 1, 1
	m.transport["virtual"] = tr
	p := defaults
	p.ActiveLimit = 3
	run(t, m, p, func(b *bench) {
		gate = make(chan struct{})
		late := b.send("s@example.org", "late@a.example")
		down := b.send("s@example.org", "x@down.example")
		expired := b.send("s@example.org", "late@b.example")
		held := b.send("s@example.org", "late@c.example")
		b.apply(Hold, only(held), 1)
		b.apply(Hold, only(expired), 1)
		b.apply(Expire, only(expired), 1)
		going := b.send("s@example.org", "st@slow.example")
		waits := b.send("s@example.org", "x@slow.example")
		b.send("s@example.org", "x@slow.example")
		first := b.send("s@example.org", "x@e.example")
		at := time.Now().Add(300 * time.Second).Local().Format(time.DateTime)
		for _, test := range []struct {
			msg  *spool.Message
			want string
		}{
			{late, "the first try failed; <late@a.example> last failed with: try later; the next try is at " + at},
			{down, "the first try failed; <x@down.example> last failed with: connect to mx.example[192.0.2.1]:25: Connection refused; its destination is left alone until " + at + "; the next try is at " + at},
			{held, "it is on hold until somebody releases it; <late@c.example> last failed with: try later"},
			{expired, "it is on hold until somebody releases it; <late@b.example> last failed with: try later; it is returned to its sender if the next try fails too"},
			{going, "it is being delivered over virtual to slow.example"},
			{waits, "it waits for its turn with 2 messages for slow.example over virtual, where 1 at a time may be delivered"},
			{first, "it waits for its first try: the active queue is full with 3 messages (qmgr_message_active_limit)"},
		} {
			w, err := b.q.Why(test.msg.ID)
			if err != nil || w.Sentence != test.want {
				t.Errorf("Why(%s) = %q, %v, want %q", test.msg.ID, w.Sentence, err, test.want)
			}
		}
		w, err := b.q.Why(down.ID)
		if err != nil || w.Transport != "virtual" || w.NextHop != "down.example" || w.Status != "4.4.1" || w.DeadUntil.IsZero() {
			t.Errorf("Why of mail to a dead destination = %+v, %v", w, err)
		}
		m.mu.Lock()
		m.ill = errors.New("input/output error")
		m.mu.Unlock()
		if w, _ := b.q.Why(late.ID); w.Sentence != "nothing is delivered, for results cannot be recorded (input/output error)" {
			t.Errorf("Why with an ill store = %q", w.Sentence)
		}
		m.mu.Lock()
		m.ill = nil
		m.mu.Unlock()
		close(gate)
	})
}

func TestStats(t *testing.T) {
	m := newMemory()
	var gate chan struct{}
	m.agent = gated(&gate)
	p := defaults
	p.ActiveLimit = 3
	run(t, m, p, func(b *bench) {
		if s := b.q.Stats(); !s.Oldest.IsZero() || s.Active+s.Deferred+s.Incoming+s.Held != 0 || len(s.Deliveries) != 0 {
			t.Errorf("Stats of an empty queue = %+v", s)
		}
		gate = make(chan struct{})
		arrival := time.Now()
		b.send("s@example.org", "late@a.example")
		b.send("s@example.org", "late@a.example")
		time.Sleep(time.Second)
		b.apply(Hold, only(b.send("s@example.org", "late@a.example")), 1)
		for range 5 {
			b.send("s@example.org", "st@b.example")
		}
		s := b.q.Stats()
		if s.Incoming != 2 || s.Active != 3 || s.Deferred != 2 || s.Held != 1 || !s.Oldest.Equal(arrival) || s.Deliveries["virtual"] != 3 {
			t.Errorf("Stats = %+v", s)
		}
		loads := b.loads
		b.q.Stats()
		if b.loads-loads > 8 { // Waiting of the fake loads each
			t.Errorf("Stats reads %d messages", b.loads-loads)
		}
		close(gate)
	})
}

// watcher is an Observer that writes down what it is told.
type watcher chan string

func (w watcher) Delivered(transport string, kind deliver.Kind, d Delays) {
	w <- fmt.Sprintf("%q %v %v/%v/%v/%v", transport, kind, d.Before, d.Queue, d.Setup, d.Transmission)
}

func (w watcher) Removed(age time.Duration) { w <- fmt.Sprint("removed ", age) }

func TestObserve(t *testing.T) {
	m := newMemory()
	m.agent = func(_ context.Context, r *deliver.Request) []deliver.Status {
		time.Sleep(30 * time.Millisecond)
		s := sent
		s.Setup = 10 * time.Millisecond
		return []deliver.Status{s}
	}
	synctest.Test(t, func(t *testing.T) {
		seen := make(watcher, 10)
		o := m.options(defaults)
		o.Observe = seen
		q := New(o)
		ctx, cancel := context.WithCancel(t.Context())
		go q.Run(ctx)
		m.mu.Lock()
		e := envelopeTo("s@example.org", "x@a.example")
		e.Arrival = time.Now().Add(-time.Second)
		msg := m.put(e, nil)
		m.mu.Unlock()
		q.Add(msg)
		for _, want := range []string{`"virtual" sent 1s/0s/10ms/20ms`, "removed 1.03s"} {
			if got := <-seen; got != want {
				t.Errorf("told %s, want %s", got, want)
			}
		}
		cancel()
		synctest.Wait()
	})
}

func TestFlushDestinationWithoutRun(t *testing.T) {
	q := New(newMemory().options(defaults))
	if err := q.FlushDestination("a.example"); !errors.Is(err, ErrStopped) {
		t.Errorf("FlushDestination without Run = %v, want %v", err, ErrStopped)
	}
}

// TestManyFlushes: the domains that wait to be flushed are bounded, and whoever
// asks for more is told so; but not who asks for one of them.
func TestManyFlushes(t *testing.T) {
	m := newMemory()
	store := &watched{memory: m}
	runWith(t, m, defaults, func(o *Options) { o.Store = store }, func(b *bench) {
		b.send("s@example.org", "late@a.example")
		looking, going := make(chan struct{}), make(chan struct{})
		look := func() { close(looking); <-going }
		store.peeked.Store(&look)
		ask := func(domain string, want error) {
			t.Helper()
			if err := b.q.FlushDestination(domain); !errors.Is(err, want) {
				t.Errorf("FlushDestination(%s) = %v, want %v", domain, err, want)
			}
		}
		ask("a.example", nil)
		<-looking
		for i := range maxFlushing {
			ask(fmt.Sprintf("d%d.example", i), nil)
		}
		ask("another.example", ErrFlushing)
		ask("D7.example", nil)
		close(going)
		synctest.Wait()
		ask("another.example", nil)
	})
}
