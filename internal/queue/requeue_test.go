package queue

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/deliver"
	"postern/internal/spool"
)

// hooked is a store that lets something happen while it is used.
type hooked struct {
	*memory
	load   func()             // once
	commit func(spool.Change) // before
}

func (h *hooked) Load(number uint64) (spool.Pending, error) {
	if f := h.load; f != nil {
		h.load = nil
		f()
	}
	return h.memory.Load(number)
}

func (h *hooked) Commit(ctx context.Context, c spool.Change) ([]*spool.Message, error) {
	if h.commit != nil {
		h.commit(c)
	}
	return h.memory.Commit(ctx, c)
}

// runWith is run with options that change has changed.
func runWith(t *testing.T, m *memory, p Parameters, change func(o *Options), f func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o := m.options(p)
		change(&o)
		q := New(o)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); _ = q.Run(ctx) }()
		b := &bench{T: t, memory: m, q: q, ctx: ctx, stop: func() { cancel(); <-ended }}
		defer b.stop()
		f(b)
	})
}

// order applies an action to the one message there is.
func (b *bench) order(a Action) {
	b.Helper()
	if n, err := b.q.Apply(b.Context(), a, Filter{}, nil); n != 1 || err != nil {
		b.Errorf("Apply(%d) = %d, %v", a, n, err)
	}
}

// TestRequeueAndOthers deletes a message, or puts it on hold, at every moment of
// a requeue. Whoever is told that it was done finds it done to what is there then.
func TestRequeueAndOthers(t *testing.T) {
	for _, a := range []Action{Delete, Hold} {
		for _, when := range []string{"read", "submitted", "committed", "before"} {
			t.Run(fmt.Sprint(a, " ", when), func(t *testing.T) {
				m := newMemory()
				store := &hooked{memory: m}
				atSubmit := func() {}
				var b *bench
				ordered, answer := make(chan int, 1), func() {
					n, err := b.q.Apply(t.Context(), a, Filter{}, nil)
					if err != nil {
						t.Error(err)
					}
					b.q.logs.super.Infof("%d were told", n)
				}
				order := func() { answer(); ordered <- 1 }
				runWith(t, m, defaults, func(o *Options) {
					submit := o.Submit
					o.Store = store
					o.Submit = func(ctx context.Context, s Submission) (spool.New, error) {
						fresh, err := submit(ctx, s)
						atSubmit()
						return fresh, err
					}
				}, func(bench *bench) {
					b = bench
					b.send("s@example.org", "late@a.example")
					requeue := func() int {
						n, err := b.q.Apply(t.Context(), Requeue, Filter{}, nil)
						if err != nil {
							t.Errorf("Apply(Requeue) = %d, %v", n, err)
						}
						return n
					}
					switch when {
					case "read":
						store.load = order
						requeue()
					case "submitted":
						atSubmit = order
						requeue()
					case "committed":
						store.commit = func(c spool.Change) {
							if store.commit = nil; len(c.New) > 0 {
								go order()
							}
						}
						requeue()
					case "before": // the order is being written down when the requeue begins
						submitted, requeued := make(chan struct{}), make(chan struct{})
						atSubmit = func() { close(submitted) }
						store.commit = func(spool.Change) {
							store.commit = nil
							go func() { defer close(requeued); requeue() }()
							<-submitted
						}
						order()
						<-requeued
					}
					<-ordered
					synctest.Wait()
					told := len(b.logged("1 were told")) > 0
					list := b.list()
					done := len(list) == 0
					if a == Hold {
						done = len(list) == 1 && list[0].State == Held
					}
					if told != done {
						t.Errorf("told that it was done: %v; in the queue: %+v", told, list)
					}
					if when != "committed" && !told {
						t.Error("nothing was done, though the message was there")
					}
				})
			})
		}
	}
}

// TestRequeueWhileLookedAt: a requeue that is ordered while the queue looks at a
// message is carried out, whether the message is to be tried or not.
func TestRequeueWhileLookedAt(t *testing.T) {
	for name, hold := range map[string]bool{"not to be tried": true, "to be tried": false} {
		t.Run(name, func(t *testing.T) {
			m := newMemory()
			store := &hooked{memory: m}
			runWith(t, m, defaults, func(o *Options) { o.Store = store }, func(b *bench) {
				msg := b.send("s@example.org", "late@a.example")
				time.Sleep(defaults.MinimalBackoff - time.Second)
				store.load = func() { // for Peek, which begins the next try
					store.load = func() {
						if hold {
							b.order(Hold)
						}
						b.order(Requeue)
					}
				}
				time.Sleep(2 * time.Second)
				synctest.Wait()
				b.wantSettled(msg, 1)
				if list := b.list(); len(list) != 1 || list[0].ID == msg.ID || list[0].State != Deferred {
					t.Errorf("in the queue: %+v", list)
				}
			})
		})
	}
}

// TestRequeueWithoutRoom: what is to be requeued waits for no room, and who asks
// for a try while room is looked for has asked.
func TestRequeueWithoutRoom(t *testing.T) {
	q := New(newMemory().options(defaults))
	full := q.parameters.capacity(large)
	q.rooms[large].used = full
	it := q.claim(order{number: 1}, true)
	it.requeue = true
	if !q.enter(it, order{number: 1}, 20, time.Now()) {
		t.Error("a message that is to be requeued waits for room")
	}
	it = q.claim(order{number: 2}, true)
	it.again = &order{number: 2, stamp: 5, given: 7}
	if q.enter(it, order{number: 2, stamp: 4}, 20, time.Now()) {
		t.Fatal("there is no room")
	}
	if o, want := q.orders[2], (order{number: 2, stamp: 5, given: 7, recipients: 20, retry: true}); o != want {
		t.Errorf("%+v waits, want %+v", o, want)
	}
	if q.rooms[large].used != full || q.wanted(large, full) != 20 {
		t.Errorf("%d recipients have room, %d want it", q.rooms[large].used, q.wanted(large, full))
	}
}

// TestRequeueAtTheEnd: a requeue that is ordered when the pass of a message has
// looked for one, and is about to close, is not lost.
func TestRequeueAtTheEnd(t *testing.T) {
	m := newMemory()
	q := New(m.options(defaults))
	m.mu.Lock()
	msg := m.put(envelopeTo("s@example.org", "late@a.example"), []byte("text\n"))
	m.mu.Unlock()
	it := q.claim(order{number: msg.Number}, true)
	it.message, it.done = msg, make([]bool, 1)
	l := &ledger{item: it, deferred: []verdict{{status: &late}}}
	if q.renew(t.Context(), l) {
		t.Fatal("requeued, which nobody wants")
	}
	if n, err := q.Apply(t.Context(), Requeue, Filter{}, nil); n != 1 || err != nil {
		t.Fatalf("Apply(Requeue) = %d, %v", n, err)
	}
	if _, closed := q.close(l); closed {
		t.Fatal("closed, and nobody will requeue it")
	}
	if !q.renew(t.Context(), l) {
		t.Error("not requeued")
	}
	if len(m.logged("requeued as")) != 1 || q.retrying != 0 {
		t.Errorf("requeued: %q, %d retries are active", m.logged("requeued as"), q.retrying)
	}
}

// TestRequeueThatFails: a message that cannot be requeued stays, and is tried at
// its time.
func TestRequeueThatFails(t *testing.T) {
	m := newMemory()
	run(t, m, defaults, func(b *bench) {
		msg := b.send("s@example.org", "late@a.example")
		m.mu.Lock()
		m.noSubmit = errTable
		m.mu.Unlock()
		if n, err := b.q.Apply(t.Context(), Requeue, Filter{}, nil); n != 0 || !errors.Is(err, errTable) {
			t.Errorf("Apply(Requeue) = %d, %v", n, err)
		}
		b.log()
		time.Sleep(defaults.MinimalBackoff)
		synctest.Wait()
		if n := len(b.logged(msg.ID + ": to=<late@a.example>")); n != 1 {
			t.Errorf("%d tries at its time, want 1", n)
		}
	})
}

// TestDeletedWhileWritten: nobody is told of a message that is deleted in the
// moment in which its bounce is written, and the log does not speak of an error.
func TestDeletedWhileWritten(t *testing.T) {
	m := newMemory()
	store := &hooked{memory: m}
	runWith(t, m, defaults, func(o *Options) { o.Store = store }, func(b *bench) {
		store.commit = func(c spool.Change) {
			if len(c.New) > 0 {
				store.commit = nil
				b.order(Delete)
			}
		}
		b.send("s@example.org", "bad@a.example")
		if n := b.notices(); len(n) > 0 || len(b.list()) > 0 {
			t.Errorf("%d notices, in the queue: %+v", len(n), b.list())
		}
		if w := b.logged("warning"); len(w) > 0 {
			t.Errorf("log: %q", w)
		}
		if n := b.inMemory(); n != 0 {
			t.Errorf("%d messages in memory", n)
		}
	})
}

// TestOrdersStayFew has all messages for a destination that hangs tried by order
// again and again: each waits once.
func TestOrdersStayFew(t *testing.T) {
	const messages = 200
	m := newMemory()
	p := defaults
	p.ActiveLimit = 50
	hang := false
	tr := m.virtual()
	tr.FailedCohorts = 0
	tr.Agent = agent(func(ctx context.Context, r *deliver.Request) []deliver.Status {
		if hang {
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
		hang = true
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
			hang := false
			tr := m.virtual()
			tr.FailedCohorts, tr.Processes, tr.DestinationConcurrency = 0, 200, 1
			tr.Agent = agent(func(ctx context.Context, r *deliver.Request) []deliver.Status {
				if hang && r.NextHop != "good.example" {
					<-ctx.Done()
				}
				if hang {
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
				hang = true
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				b.wantSettled(good, 1)
			})
		})
	}
}
