package spool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

func noRoom(op, name string) error {
	if op == "write" {
		return syscall.ENOSPC
	}
	return nil
}

// TestChangeWithoutSpace: a notification and the recipient that it is about
// are one change, also when the log finds no space for it at the last moment.
func TestChangeWithoutSpace(t *testing.T) {
	for _, tt := range []struct {
		name    string
		applied bool
		between func(t *testing.T, s *Spool)
	}{
		{"at once", false, func(*testing.T, *Spool) {}},
		{"delivered in part", true, func(*testing.T, *Spool) {}},
		{"after a checkpoint", true, func(t *testing.T, s *Spool) {
			if err := s.Checkpoint(context.Background()); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newMailDisk()
			v := d.process()
			s := mustOpen(t, "/spool", simOptions(v, 1))
			m := mustPut(t, s, testEnvelope(1, "a@x.test", "b@x.test"), []byte("x\n"))
			mustCommit(t, s, settleOf(m, 0, nil))
			draft, err := s.Create(0)
			if err != nil {
				t.Fatal(err)
			}
			draft.Write([]byte("sorry\n"))
			c := settleOf(m, 1, nil)
			if tt.applied {
				if c.Settle[0].Outcomes[0].Applied, err = deliver(v, m, 1); err != nil {
					t.Fatal(err)
				}
			}
			c.New = []New{{Draft: draft, Envelope: testEnvelope(2, "back@x.test")}}
			setFault(d, noRoom)
			if _, err := s.Commit(context.Background(), c); !errors.Is(err, ErrFull) {
				t.Fatalf("Commit without space = %v", err)
			}
			setFault(d, nil)
			tt.between(t, s)
			check := func(when string, s *Spool) {
				t.Helper()
				found := pendingOf(s)
				if len(found) != 1 || found[m.ID].Message == nil || !found[m.ID].Done[0] || found[m.ID].Done[1] {
					t.Errorf("%s: pending %v; want %s with its second recipient", when, found, m.ID)
				} else if text := textOf(t, found[m.ID].Message); string(text) != "x\n" {
					t.Errorf("%s: text %q", when, text)
				}
			}
			check("after ErrFull", s)
			if err := s.Checkpoint(context.Background()); err != nil {
				t.Fatal(err)
			}
			last := mustPut(t, s, testEnvelope(3, "c@x.test"), []byte("y\n"))
			mustCommit(t, s, settleOf(last, 0, nil))
			check("with space again", s)
			d.kill()
			s.Close()
			s = mustOpen(t, "/spool", simOptions(d.process(), 1))
			check("after a kill", s)
			mustCommit(t, s, settleOf(pendingOf(s)[m.ID].Message, 1, nil))
			if err := s.Checkpoint(context.Background()); err != nil {
				t.Fatal(err)
			}
			if st := s.Stats(); st.Messages != 0 || st.Unstruck != 0 {
				t.Errorf("Stats() = %+v, want nothing left", st)
			}
			mustClose(t, s)
		})
	}
}

// TestRevokeWithoutPlace: when the record of a change takes the last place in
// the log and cannot be written, nothing can follow it that takes it back. Nothing
// new is in the spool all the same, then and when there is space again.
func TestRevokeWithoutPlace(t *testing.T) {
	d := newMailDisk()
	s := mustOpen(t, "/spool", simOptions(d.process(), 1))
	m := mustPut(t, s, testEnvelope(1, "a@x.test"), []byte("x\n"))
	for s.j.fits(6 << 10) { // the last text is to be one that goes to the log
		mustPut(t, s, testEnvelope(2, "b@x.test"), make([]byte, 2<<10))
	}
	c := settleOf(m, 0, nil)
	draft, err := s.Create(0)
	if err != nil {
		t.Fatal(err)
	}
	defer draft.Abort()
	c.New = []New{{Draft: draft, Envelope: testEnvelope(3, "back@x.test")}}
	r, _, err := s.encode(&c)
	if err != nil {
		t.Fatal(err)
	}
	meta, size := int64(len(r.append(nil)))+4, s.j.size
	for !s.j.fits(meta + size) {
		size--
	}
	draft.Write(make([]byte, size))
	before := len(pendingOf(s))
	setFault(d, noRoom)
	if _, err := s.Commit(context.Background(), c); !errors.Is(err, ErrFull) {
		t.Fatalf("Commit without space = %v", err)
	}
	if len(s.revoked) != 1 {
		t.Fatalf("%d changes wait to be taken back; the test is to fill the log", len(s.revoked))
	}
	check := func(when string, s *Spool) {
		t.Helper()
		if found := pendingOf(s); len(found) != before || found[m.ID].Message == nil {
			t.Errorf("%s: %d messages, want %d and %s among them", when, len(found), before, m.ID)
		}
	}
	check("without space", s)
	setFault(d, nil)
	if err := s.Checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	if check("with space again", s); len(s.revoked) != 0 {
		t.Errorf("%d changes wait to be taken back", len(s.revoked))
	}
	d.kill()
	s.Close()
	s = mustOpen(t, "/spool", simOptions(d.process(), 1))
	defer mustClose(t, s)
	check("after a kill", s)
}

// TestNothingInPlaceOfTheGone: new messages do not take the place of recipients of
// a message that is done with.
func TestNothingInPlaceOfTheGone(t *testing.T) {
	s := mustOpen(t, "/spool", simOptions(newMailDisk().process(), 1))
	defer mustClose(t, s)
	m := mustPut(t, s, testEnvelope(1, "a@x.test"), []byte("x\n"))
	mustCommit(t, s, Change{Remove: []uint64{m.Number}})
	draft, err := s.Create(0)
	if err != nil {
		t.Fatal(err)
	}
	defer draft.Abort()
	draft.Write([]byte("sorry\n"))
	c := settleOf(m, 0, nil)
	c.New = []New{{Draft: draft, Envelope: testEnvelope(2, "back@x.test")}}
	if _, err := s.Commit(context.Background(), c); !errors.Is(err, ErrGone) {
		t.Errorf("Commit = %v, want %v", err, ErrGone)
	}
	if found := pendingOf(s); len(found) != 0 {
		t.Errorf("pending %v", found)
	}
	mustCommit(t, s, settleOf(m, 0, nil)) // without New it does no harm
}

// TestOrderWithoutSpace: a change without anything new counts at once, and says
// that it is not written yet. It is when there is space, without being given again.
func TestOrderWithoutSpace(t *testing.T) {
	for _, sync := range []bool{false, true} {
		t.Run(fmt.Sprintf("sync=%v", sync), func(t *testing.T) {
			d := newMailDisk()
			s := mustOpen(t, "/spool", simOptions(d.process(), 1))
			held := mustPut(t, s, testEnvelope(1, "a@x.test"), []byte("x\n"))
			gone := mustPut(t, s, testEnvelope(2, "a@x.test"), []byte("x\n"))
			setFault(d, noRoom)
			_, err := s.Commit(context.Background(), Change{Plan: []Plan{{Number: held.Number, Held: true}}, Remove: []uint64{gone.Number}, Sync: sync})
			if !errors.Is(err, ErrUnwritten) || !errors.Is(err, ErrFull) {
				t.Errorf("Commit without space = %v, want ErrUnwritten and ErrFull", err)
			}
			check := func(when string) {
				t.Helper()
				if found := pendingOf(s); len(found) != 1 || !found[held.ID].Held {
					t.Errorf("%s: pending %v, want %s on hold", when, found, held.ID)
				}
			}
			check("without space")
			setFault(d, nil)
			if err := s.Checkpoint(context.Background()); err != nil {
				t.Fatal(err)
			}
			d.cut(rand.New(rand.NewPCG(1, 1)))
			s.Close()
			s = mustOpen(t, "/spool", simOptions(d.process(), 2))
			defer mustClose(t, s)
			check("after a power cut")
		})
	}
}

// TestOrderWithoutPlace: when not even a place in the log can be had, nothing has
// happened, and the error is not an ErrUnwritten.
func TestOrderWithoutPlace(t *testing.T) {
	d := newMailDisk()
	s := mustOpen(t, "/spool", simOptions(d.process(), 1))
	defer mustClose(t, s)
	m := mustPut(t, s, testEnvelope(1, "a@x.test"), []byte("x\n"))
	setFault(d, noRoom)
	defer setFault(d, nil)
	for next := time.Unix(1, 0); ; next = next.Add(time.Second) {
		_, err := s.Commit(context.Background(), Change{Plan: []Plan{{Number: m.Number, Next: next}}})
		w, _ := s.Peek(m.Number)
		if !errors.Is(err, ErrFull) || errors.Is(err, ErrUnwritten) != w.Next.Equal(next) {
			t.Fatalf("Commit without space = %v; next try %v, ordered %v", err, w.Next, next)
		}
		if !errors.Is(err, ErrUnwritten) {
			return
		}
	}
}

// TestSpaceComesBack: the disk is full when the log wants to go on in its next
// segment. When there is space again, everything works without a restart.
func TestSpaceComesBack(t *testing.T) {
	d := newMailDisk()
	s := mustOpen(t, "/spool", simOptions(d.process(), 1))
	defer mustClose(t, s)
	m := mustPut(t, s, testEnvelope(1, "a@x.test"), []byte("x\n"))
	setFault(d, noRoom)
	late := Change{Defer: []Postponement{{Message: m, Deferrals: []Deferral{{0, "4.0.0", string(make([]byte, 1000))}}}}}
	for range simOptions(simView{}, 1).SegmentSize/1000 + 10 { // until no record fits any more
		if _, err := s.Commit(context.Background(), late); !errors.Is(err, ErrFull) {
			t.Fatalf("Commit without space = %v", err)
		}
	}
	setFault(d, nil)
	mustCommit(t, s, late)
	if err := s.Checkpoint(context.Background()); err != nil {
		t.Errorf("Checkpoint when there is space again: %v", err)
	}
	mustPut(t, s, testEnvelope(2, "a@x.test"), []byte("z\n"))
}

// TestMoveManyReasons: the reasons of all deferrals together may be more than a
// record takes; the message does not hold on to its segment for that.
func TestMoveManyReasons(t *testing.T) {
	d := newMailDisk()
	o := simOptions(d.process(), 1)
	o.CheckpointBytes = o.SegmentSize / 2
	s := mustOpen(t, "/spool", o)
	defer mustClose(t, s)
	e := testEnvelope(1)
	for range 80 {
		e.Recipients = append(e.Recipients, Recipient{Address: "a@x.test"})
	}
	m := mustPut(t, s, e, []byte("x\n"))
	for i := range e.Recipients {
		mustCommit(t, s, Change{Defer: []Postponement{{Message: m, Attempts: 7,
			Deferrals: []Deferral{{i, "4.0.0", string(make([]byte, o.SegmentSize/100))}}}}})
	}
	for i := range 20 {
		other := mustPut(t, s, testEnvelope(i, "b@x.test"), make([]byte, o.SegmentSize/10))
		mustCommit(t, s, settleOf(other, 0, nil))
		if err := s.Checkpoint(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if st := s.Stats(); st.Segments > 3 {
		t.Errorf("%d segments are in use for one small message", st.Segments)
	}
	if p := pendingOf(s)[m.ID]; len(p.Deferrals) != len(e.Recipients) || p.Attempts != 7 || p.Deferrals[79].Status != "4.0.0" {
		t.Errorf("%d deferrals, %d attempts", len(p.Deferrals), p.Attempts)
	}
}
