package spool

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
)

var (
	cuts    = flag.Int("spool.cuts", 150, "points at which TestPowerCut cuts the power")
	cutSeed = flag.Uint64("spool.seed", 0, "seed of TestPowerCut; 0: a new one")
)

// seedOf is the seed of a run, printed so that it can be repeated.
func seedOf(t *testing.T) uint64 {
	seed := *cutSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	return seed
}

// TestPowerCut cuts the power at sampled calls of a run, in half of the cases
// again during the run after it, and then again.
func TestPowerCut(t *testing.T) {
	seed := seedOf(t)
	d, w := newMailDisk(), newWorld()
	s := w.run(t, d, 1, false, seed)
	if s == nil || s.Err() != nil {
		t.Fatal("the run without a cut did not end well")
	}
	st := s.Stats()
	mustClose(t, s) // until then its own goroutines work on
	t.Logf("%d calls; %+v", d.calls, st)
	snapshots, moved, holes := s.lastSnap, s.moved, s.holes
	calls, mishaps := d.calls, 0
	rng := rand.New(rand.NewPCG(seed, 1))
	d.cut(rng)
	w.verify(t, d, 2, false)
	for i := range *cuts {
		at := 1 + rng.IntN(calls)
		if *cuts >= calls {
			at = 1 + i%calls
		}
		t.Run(fmt.Sprintf("cut=%d", at), func(t *testing.T) {
			d, all := cutAgain(t, seed, at, rng.IntN(3))
			for _, s := range all {
				snapshots, moved, holes = snapshots+s.lastSnap, moved+s.moved, holes+s.holes
			}
			mishaps += d.mishaps
		})
		if t.Failed() {
			t.Fatalf("run again with -spool.seed=%d", seed)
		}
	}
	if *cuts > 50 && (snapshots == 0 || moved == 0 || holes == 0 || mishaps == 0) {
		t.Errorf("%d snapshots, %d messages moved, out of order to segment %d, %d errors of the mail disk: not everything has happened",
			snapshots, moved, holes, mishaps)
	}
}

// cutAgain cuts the power at a call of a run, and so many times afterwards. In
// half of the cases the disk of the mailboxes has errors.
func cutAgain(t *testing.T, seed uint64, at, again int) (d *simDisk, all []*Spool) {
	d, w := newMailDisk(), newWorld()
	rng := rand.New(rand.NewPCG(seed, uint64(at)))
	if rng.IntN(2) == 0 {
		d.ageing(rand.New(rand.NewPCG(seed, rng.Uint64())), 2+rng.IntN(8))
	}
	for boot := range again + 1 {
		d.cutAt = d.calls + at
		if s := w.run(t, d, boot, false, seed+uint64(boot)); s != nil {
			all = append(all, s)
		}
		d.cut(rng)
		at = 1 + rng.IntN(600)
	}
	for _, s := range all {
		s.Close()
	}
	d.ageing(nil, 0)
	w.verify(t, d, again+1, false)
	return d, all
}

// TestKill ends the process, not the system: nothing that was acknowledged may
// come again, not even what only a settlement without a sync told.
func TestKill(t *testing.T) {
	seed := seedOf(t)
	rng := rand.New(rand.NewPCG(seed, 2))
	for range 50 {
		at := 30 + rng.IntN(1500)
		t.Run(fmt.Sprintf("kill=%d", at), func(t *testing.T) {
			d, w := newMailDisk(), newWorld()
			d.cutAt = at
			s := w.run(t, d, 1, true, seed)
			d.kill()
			d.cutAt = 0
			if s != nil {
				s.Close()
			}
			w.verify(t, d, 1, true)
		})
	}
}

// TestKillThenCut ends a process, lets the next one work on in the same boot,
// and then cuts the power: what the first had only written counts by then.
func TestKillThenCut(t *testing.T) {
	seed := seedOf(t)
	rng := rand.New(rand.NewPCG(seed, 3))
	for range 50 {
		kill, cut := 30+rng.IntN(800), 10+rng.IntN(800)
		t.Run(fmt.Sprintf("kill=%d,cut=%d", kill, cut), func(t *testing.T) {
			d, w := newMailDisk(), newWorld()
			d.cutAt = kill
			d.ageing(rand.New(rand.NewPCG(seed, uint64(kill))), 4)
			first := w.run(t, d, 1, true, seed)
			d.kill()
			d.cutAt = d.calls + cut
			second := w.run(t, d, 1, true, seed+1)
			d.cut(rand.New(rand.NewPCG(seed, uint64(cut))))
			for _, s := range []*Spool{first, second} {
				if s != nil {
					s.Close()
				}
			}
			d.ageing(nil, 0)
			w.verify(t, d, 2, false)
		})
	}
}

// TestPowerCutWhileMoving cuts the power at every call of a script in which
// old messages are moved to the head of the log, and segments reused.
func TestPowerCutWhileMoving(t *testing.T) {
	script := func(d *simDisk, w *world) *Spool {
		v := d.process()
		s, err := Open("/spool", cutOptions(v, 1))
		if err != nil {
			return nil
		}
		for i := range 60 {
			text := bytes.Repeat([]byte{byte('a' + i%26)}, 1900)
			m, err := put(s, testEnvelope(i, "a@x.test"), text)
			if err != nil {
				return s
			}
			w.acked[m.ID], w.rcpts[m.ID] = text, 1
			if i%20 == 0 {
				p := Postponement{Message: m, Deferrals: []Deferral{{0, "4.4.1", "later"}}, Attempts: 1}
				_, err = s.Commit(context.Background(), Change{Defer: []Postponement{p}})
			} else {
				w.remote[m.ID+"/0"] = true
				_, err = s.Commit(context.Background(), Change{Settle: []Settlement{{m, []Outcome{{Index: 0}}}}})
			}
			if err != nil || i%8 == 7 && s.Checkpoint(context.Background()) != nil {
				return s
			}
		}
		return s
	}
	d := newMailDisk()
	s := script(d, newWorld())
	if st := s.Stats(); st.Moved == 0 {
		t.Fatalf("nothing was moved: %+v", st)
	}
	s.Close()
	for at := 1; at <= d.calls; at++ {
		for style := range uint64(2) {
			d, w := newMailDisk(), newWorld()
			d.cutAt, w.untold = at, true
			s := script(d, w)
			d.cut(rand.New(rand.NewPCG(uint64(at), style)))
			if s != nil {
				s.Close()
			}
			w.verify(t, d, 2, false)
			if t.Failed() {
				t.Fatalf("cut at call %d, style %d", at, style)
			}
		}
	}
}
