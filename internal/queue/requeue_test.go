package queue

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/spool"
)

// hooked is a store that lets something happen while it is used, once each:
// before a message is read, before a change with new messages, before any other.
type hooked struct {
	*memory
	load, fresh, other atomic.Pointer[func()]
}

func once(hook *atomic.Pointer[func()]) {
	if f := hook.Swap(nil); f != nil {
		(*f)()
	}
}

func (h *hooked) Load(number uint64) (spool.Pending, error) {
	once(&h.load)
	return h.memory.Load(number)
}

func (h *hooked) Commit(ctx context.Context, c spool.Change) ([]*spool.Message, error) {
	if len(c.New) > 0 {
		once(&h.fresh)
	} else {
		once(&h.other)
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
				var atSubmit atomic.Pointer[func()]
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
						once(&atSubmit)
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
						store.load.Store(&order)
						requeue()
					case "submitted":
						atSubmit.Store(&order)
						requeue()
					case "committed":
						meanwhile := func() { go order() }
						store.fresh.Store(&meanwhile)
						requeue()
					case "before": // the order is being written down when the requeue begins
						submitted, requeued := make(chan struct{}), make(chan struct{})
						tell := func() { close(submitted) }
						atSubmit.Store(&tell)
						begin := func() {
							go func() { defer close(requeued); requeue() }()
							<-submitted
						}
						store.other.Store(&begin)
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
				orders := func() {
					if hold {
						b.order(Hold)
					}
					b.order(Requeue)
				}
				store.load.Store(&orders)
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
		remove := func() { b.order(Delete) }
		store.fresh.Store(&remove)
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
