package spool

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
)

// delivered puts a message in and settles its delivery, which is not durable.
func delivered(t *testing.T, s *Spool, v simView) (*Message, *Applied) {
	t.Helper()
	m := mustPut(t, s, testEnvelope(1, "a@x.test"), []byte("Subject: x\n"))
	a, err := deliver(v, m, 0)
	if err != nil {
		t.Fatal(err)
	}
	mustCommit(t, s, settleOf(m, 0, a))
	return m, a
}

// onDisk is what a power cut would leave of a file, "" when there is none.
func onDisk(d *simDisk, name string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.files[name]; f != nil {
		return string(f.disk)
	}
	return ""
}

// TestOwedSurvives: a delivery that a checkpoint could not make durable is owed
// until one can, also for the processes after a kill, and after a power cut it
// is looked at; whether the log or a snapshot tells of it.
func TestOwedSurvives(t *testing.T) {
	for seed := range uint64(32) {
		snapshot, kill := seed&1 != 0, seed&2 != 0
		t.Run(fmt.Sprintf("seed=%d,snapshot=%v,kill=%v", seed, snapshot, kill), func(t *testing.T) {
			d := newMailDisk()
			v := d.process()
			s := mustOpen(t, "/spool", simOptions(v, 1))
			if err := s.Cover(simMail); err != nil {
				t.Fatal(err)
			}
			m, a := delivered(t, s, v)
			if snapshot {
				if err := s.snapshot(); err != nil {
					t.Fatal(err)
				}
			}
			setFault(d, func(op, name string) error {
				if op == "syncfs" || op == "write" && name == a.Path {
					d.files[a.Path].pending = nil
					return syscall.EIO
				}
				return nil
			})
			for range 1 + seed%3 {
				if err := s.Checkpoint(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
			if kill { // the next process makes a checkpoint by itself
				d.kill()
				s.Close()
				s = mustOpen(t, "/spool", simOptions(d.process(), 1))
				if st := s.Stats(); st.Messages != 0 || st.Unstruck != 1 {
					t.Errorf("after a kill: Stats() = %+v, want a message that waits for a checkpoint", st)
				}
			}
			d.cut(rand.New(rand.NewPCG(seed, 1)))
			setFault(d, nil)
			s.Close()
			there := onDisk(d, a.Path) == "Subject: x\n"
			s = mustOpen(t, "/spool", simOptions(d.process(), 2))
			defer mustClose(t, s)
			if _, pending := pendingOf(s)[m.ID]; pending == there {
				t.Errorf("pending %v, its file on the disk %v", pending, there)
			}
		})
	}
}

// TestDoubtStays: a file whose sync has failed is written again at the next
// checkpoint, although a sync of all, which has nothing left to write, succeeds.
func TestDoubtStays(t *testing.T) {
	d := newMailDisk()
	v := d.process()
	s := mustOpen(t, "/spool", simOptions(v, 1)) // the disk is met at the settlement
	_, a := delivered(t, s, v)
	setFault(d, func(op, name string) error {
		if (op == "sync" || op == "write") && name == a.Path {
			d.files[a.Path].pending = nil
			return syscall.EIO
		}
		return nil
	})
	s.devices.open[a.Dev].shared = false
	if err := s.Checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	setFault(d, nil)
	s.devices.open[a.Dev].shared, s.devices.open[a.Dev].known = true, true
	if got := s.Stats().Unstruck; got != 1 {
		t.Fatalf("%d messages wait for a checkpoint, want 1", got)
	}
	if err := s.Checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := onDisk(d, a.Path); got != "Subject: x\n" || s.Stats().Unstruck != 0 {
		t.Errorf("on the disk: %q; %+v", got, s.Stats())
	}
	mustClose(t, s)
}

// TestSettledWhileSyncing: a failed sync of all tells of deliveries too that
// were made before it and settled after it.
func TestSettledWhileSyncing(t *testing.T) {
	d := newMailDisk()
	v := d.process()
	s := mustOpen(t, "/spool", simOptions(v, 1))
	if err := s.Cover(simMail); err != nil {
		t.Fatal(err)
	}
	delivered(t, s, v)
	late := mustPut(t, s, testEnvelope(2, "b@x.test"), []byte("Subject: y\n"))
	a, err := deliver(v, late, 0)
	if err != nil {
		t.Fatal(err)
	}
	setFault(d, func(op, _ string) error {
		if op == "syncfs" {
			d.files[a.Path].pending = nil
			return syscall.EIO
		}
		return nil
	})
	if err := s.Checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	setFault(d, nil)
	mustCommit(t, s, settleOf(late, 0, a))
	if err := s.Checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := onDisk(d, a.Path); got != "Subject: y\n" || s.Stats().Unstruck != 0 {
		t.Errorf("on the disk: %q; %+v", got, s.Stats())
	}
	mustClose(t, s)
}

// TestOwedOften: more deliveries than a record takes, all of one message.
func TestOwedOften(t *testing.T) {
	d := newMailDisk()
	v := d.process()
	s := mustOpen(t, "/spool", simOptions(v, 1))
	const n = 800
	e := testEnvelope(1)
	for range n {
		e.Recipients = append(e.Recipients, Recipient{Address: "a@x.test"})
	}
	m := mustPut(t, s, e, []byte("x\n"))
	a, err := deliver(v, m, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		mustCommit(t, s, settleOf(m, i, a))
	}
	setFault(d, func(op, name string) error {
		if (op == "sync" || op == "write") && strings.HasPrefix(name, simMail) {
			return syscall.EIO
		}
		return nil
	})
	if err := s.Checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	d.kill()
	s.Close()
	s = mustOpen(t, "/spool", simOptions(d.process(), 1))
	s.mu.Lock()
	if got := len(s.index.owed(m.Number)); got != n {
		t.Errorf("%d deliveries are owed, want %d", got, n)
	}
	s.mu.Unlock()
	setFault(d, nil)
	if err := s.Checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Unstruck != 0 || st.LiveBytes != 0 {
		t.Errorf("Stats() = %+v, want nothing left", st)
	}
	mustClose(t, s)
}

// TestRemovedStaysAway: a delivery under way that is settled after its message
// was removed owes nothing, and does not bring the message back.
func TestRemovedStaysAway(t *testing.T) {
	d := newMailDisk()
	v := d.process()
	s := mustOpen(t, "/spool", simOptions(v, 1))
	m := mustPut(t, s, testEnvelope(1, "a@x.test"), []byte("x\n"))
	mustCommit(t, s, Change{Remove: []uint64{m.Number}, Sync: true})
	a := &Applied{Path: simMail + "/new/gone", Dev: deviceNumber(simMail), Length: m.Size, CRC: m.CRC}
	c := settleOf(m, 0, a)
	c.Sync = true
	mustCommit(t, s, c)
	d.cut(rand.New(rand.NewPCG(1, 1)))
	s.Close()
	s = mustOpen(t, "/spool", simOptions(d.process(), 2))
	defer mustClose(t, s)
	if found := pendingOf(s); len(found) > 0 {
		t.Errorf("pending: %v", found)
	}
}
