package spool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestPlan: hold, release and removal need only a number, and survive.
func TestPlan(t *testing.T) {
	d := newMailDisk()
	s := mustOpen(t, "/spool", simOptions(d.process(), 1))
	dr, err := s.Create(0)
	if err != nil {
		t.Fatal(err)
	}
	dr.Write([]byte("held\n"))
	list, err := s.Commit(context.Background(), Change{New: []New{{Draft: dr, Envelope: testEnvelope(1, "a@x.test"), Held: true}}})
	if err != nil {
		t.Fatal(err)
	}
	held := list[0].Number
	later := mustPut(t, s, testEnvelope(2, "a@x.test", "b@x.test"), []byte("later\n")).Number
	released := mustPut(t, s, testEnvelope(3, "a@x.test"), []byte("released\n")).Number
	removed := mustPut(t, s, testEnvelope(4, "a@x.test", "b@x.test"), []byte("removed\n"))
	unknown := removed.Number + 100
	next := time.Unix(1_800_000_000, 9)
	mustCommit(t, s, Change{Plan: []Plan{{Number: later, Next: next, Held: true}, {Number: released, Held: true}, {Number: unknown, Held: true}}})
	mustCommit(t, s, Change{Plan: []Plan{{Number: released, Next: next}}, Remove: []uint64{removed.Number, unknown}, Sync: true})
	want := []Waiting{{held, time.Time{}, true, 1}, {later, next, true, 2}, {released, next, false, 1}}
	for round := range 2 {
		if got := slices.Collect(s.Waiting()); !slices.EqualFunc(got, want, sameWaiting) {
			t.Errorf("round %d: Waiting() = %v, want %v", round, got, want)
		}
		for _, w := range want {
			got, ok := s.Peek(w.Number)
			p, err := s.Load(w.Number)
			if !ok || err != nil || !sameWaiting(got, w) || !sameWaiting(Waiting{p.Message.Number, p.Next, p.Held, len(p.Done)}, w) {
				t.Errorf("round %d: Peek = %v %t, Load = %+v %v, want %v", round, got, ok, p, err, w)
			}
		}
		for _, number := range []uint64{removed.Number, unknown, 0} {
			if _, ok := s.Peek(number); ok {
				t.Errorf("Peek(%d) of a finished message", number)
			}
			if _, err := s.Load(number); !errors.Is(err, ErrGone) {
				t.Errorf("Load(%d) = %v, want ErrGone", number, err)
			}
		}
		d.kill()
		s.Close()
		s = mustOpen(t, "/spool", simOptions(d.process(), 1))
	}
	for range s.Waiting() {
		break // the rest is not asked for
	}
	mustClose(t, s)
}

func sameWaiting(a, b Waiting) bool {
	return a.Number == b.Number && a.Next.Equal(b.Next) && a.Held == b.Held && a.Recipients == b.Recipients
}

// TestHeldStays: neither a postponement nor a move releases a message.
func TestHeldStays(t *testing.T) {
	d := newMailDisk()
	s := mustOpen(t, "/spool", simOptions(d.process(), 1))
	m := mustPut(t, s, testEnvelope(2, "a@x.test"), []byte("x\n"))
	mustCommit(t, s, Change{Plan: []Plan{{Number: m.Number, Held: true}}})
	mustCommit(t, s, Change{Defer: []Postponement{{Message: m, Next: time.Unix(77, 0), Attempts: 1}}})
	if w, ok := s.Peek(m.Number); !ok || !w.Held || w.Next.Unix() != 77 {
		t.Errorf("Peek = %v, %t", w, ok)
	}
	mustClose(t, s)
}

// TestRemoveWithNew: a message that takes the place of another comes, or the
// other stays.
func TestRemoveWithNew(t *testing.T) {
	d := newMailDisk()
	s := mustOpen(t, "/spool", simOptions(d.process(), 1))
	defer mustClose(t, s)
	old := mustPut(t, s, testEnvelope(1, "a@x.test", "b@x.test"), []byte("x\n"))
	mustCommit(t, s, settleOf(old, 0, nil))
	requeue := func() error {
		dr, err := s.Create(0)
		if err != nil {
			return err
		}
		defer dr.Abort()
		_, err = s.Commit(context.Background(), Change{New: []New{{Draft: dr, Envelope: testEnvelope(1, "b@x.test")}}, Remove: []uint64{old.Number}})
		return err
	}
	setFault(d, noRoom)
	if err := requeue(); !errors.Is(err, ErrFull) {
		t.Fatalf("Commit without space = %v", err)
	}
	setFault(d, nil)
	if p, err := s.Load(old.Number); err != nil || !slices.Equal(p.Done, []bool{true, false}) {
		t.Errorf("after ErrFull: %+v, %v", p, err)
	}
	if err := s.Checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := requeue(); err != nil {
		t.Fatal(err)
	}
	if got := pendingOf(s); len(got) != 1 || got[old.ID].Message != nil {
		t.Errorf("after a requeue: %v", got)
	}
}

// TestManyRecipients: what became of each survives, also with more of them than
// a slot has bits for.
func TestManyRecipients(t *testing.T) {
	for _, n := range []int{1, narrow - 1, narrow, narrow + 1, 64, 65, 500} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			d := newMailDisk()
			s := mustOpen(t, "/spool", simOptions(d.process(), 1))
			m := mustPut(t, s, testEnvelope(1, slices.Repeat([]string{"a@x.test"}, n)...), []byte("x\n"))
			want := make([]bool, n)
			for i := 0; i < n-1; i += 3 {
				want[i] = true
				mustCommit(t, s, settleOf(m, i, nil))
				mustCommit(t, s, settleOf(m, i, nil)) // twice does no harm
			}
			for round := range 3 {
				if p, err := s.Load(m.Number); err != nil || !slices.Equal(p.Done, want) {
					t.Fatalf("round %d: %+v, %v", round, p.Done, err)
				}
				if round == 1 {
					mustCommit(t, s, Change{Defer: []Postponement{{Message: reloaded(s, m), Attempts: 1, Deferrals: []Deferral{{n - 1, "4.0.0", "x"}}}}})
				}
				d.kill()
				s.Close()
				s = mustOpen(t, "/spool", simOptions(d.process(), 1))
			}
			for i := range n {
				mustCommit(t, s, settleOf(reloaded(s, m), i, nil))
			}
			if _, ok := s.Peek(m.Number); ok || s.Stats().Messages != 0 {
				t.Errorf("all is settled, but %+v", s.Stats())
			}
			mustClose(t, s)
		})
	}
}

// reloaded is the message as another process has it.
func reloaded(s *Spool, m *Message) *Message {
	if p, err := s.Load(m.Number); err == nil {
		return p.Message
	}
	c := *m
	c.spool = s
	return &c
}

// TestPostponeTogether: postponements of one message by several goroutines keep
// each other's deferrals.
func TestPostponeTogether(t *testing.T) {
	d := newMailDisk()
	s := mustOpen(t, "/spool", simOptions(d.process(), 1))
	defer mustClose(t, s)
	const n = 40
	m := mustPut(t, s, testEnvelope(1, slices.Repeat([]string{"a@x.test"}, n)...), []byte("x\n"))
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			c := settleOf(m, i, nil)
			if i%4 > 0 {
				c = Change{Defer: []Postponement{{Message: m, Attempts: 1, Deferrals: []Deferral{{i, "4.0.0", fmt.Sprint(i)}}}}}
			}
			if _, err := s.Commit(context.Background(), c); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	p, err := s.Load(m.Number)
	if err != nil || len(p.Deferrals) != n*3/4 {
		t.Fatalf("%d deferrals, %v", len(p.Deferrals), err)
	}
	for _, v := range p.Deferrals {
		if v.Index%4 == 0 || v.Reason != fmt.Sprint(v.Index) {
			t.Errorf("%+v", v)
		}
	}
}

func TestObserve(t *testing.T) {
	d := newMailDisk()
	o := cutOptions(d.process(), 1)
	var mu sync.Mutex
	seen := map[string]int{}
	o.Observe = func(what string, took time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		seen[what]++
	}
	s := mustOpen(t, "/spool", o)
	if err := s.Cover(simMail); err != nil {
		t.Fatal(err)
	}
	v := simView{d, d.epoch}
	for i := range 40 {
		m := mustPut(t, s, testEnvelope(i, "a@x.test"), []byte(strings.Repeat("x", 1500)))
		a, err := deliver(v, m, 0)
		if err != nil {
			t.Fatal(err)
		}
		mustCommit(t, s, settleOf(m, 0, a))
	}
	if err := s.Checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	for _, what := range []string{"log sync", "mailbox sync", "checkpoint", "snapshot"} {
		if seen[what] == 0 {
			t.Errorf("%q was not observed: %v", what, seen)
		}
	}
}
