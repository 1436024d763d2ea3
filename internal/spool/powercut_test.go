package spool

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	cuts    = flag.Int("spool.cuts", 150, "points at which TestPowerCut cuts the power")
	cutSeed = flag.Uint64("spool.seed", 0, "seed of TestPowerCut; 0: a new one")
)

// world is what the outside knows: who was promised what.
type world struct {
	mu      sync.Mutex
	acked   map[string][]byte          // text by id
	rcpts   map[string]int             // recipients by id
	remote  map[string]bool            // "id/index": another server took it
	settled map[string]bool            // "id/index": a settlement was acknowledged
	removed map[string]bool            // "id/index": its reader deleted it, some time after
	files   map[string]map[string]bool // names that deliveries of "id/index" have used
}

func newWorld() *world {
	return &world{acked: map[string][]byte{}, rcpts: map[string]int{}, remote: map[string]bool{},
		settled: map[string]bool{}, removed: map[string]bool{}, files: map[string]map[string]bool{}}
}

const simMail = "/mail/john/Maildir"

func simOptions(v simView, boot int) Options {
	return Options{FS: v, SegmentSize: 64 << 10, InlineLimit: 8 << 10, CheckpointBytes: 128 << 10,
		CheckpointInterval: time.Hour, BootID: func() string { return fmt.Sprint("boot", boot) },
		Now: func() time.Time { return time.Unix(1_700_000_000, 0) }, Rand: strings.NewReader("0123456789abcdef")}
}

func newMailDisk() *simDisk {
	d := newSimDisk()
	for _, dir := range []string{"/mail", "/mail/john", simMail, simMail + "/tmp", simMail + "/new", simMail + "/cur"} {
		d.dirs[dir] = true
	}
	return d
}

// deliver stores a recipient's copy as an agent does: a name made from id and
// index, an earlier whole file left alone, a broken one left for a new name.
func deliver(v simView, m *Message, index int) (*Applied, error) {
	body, err := m.Open()
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var text bytes.Buffer
	if _, err := body.WriteTo(&text); err != nil {
		return nil, err
	}
	files := newMailfiles(v)
	for try := 0; ; try++ {
		name := fmt.Sprintf("%s.%d.%d", m.ID, index, try)
		a := &Applied{Path: simMail + "/new/" + name, Dev: deviceNumber(simMail), Length: m.Size, CRC: m.CRC}
		if files.whole(a) {
			return a, nil
		}
		if _, err := v.Open(a.Path, os.O_RDONLY); err == nil {
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		f, err := v.Open(simMail+"/tmp/"+name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY)
		if err != nil {
			return nil, err
		}
		if _, err := f.WriteAt(text.Bytes(), 0); err != nil {
			return nil, err
		}
		return a, v.Rename(simMail+"/tmp/"+name, a.Path)
	}
}

// session puts messages in and works on them, until the power goes.
func (w *world) session(s *Spool, v simView, rng *rand.Rand, n int) {
	for i := range n {
		text := bytes.Repeat([]byte(fmt.Sprintf("line %d of %d\n", rng.Uint32(), i)), 1+rng.IntN(60))
		if rng.IntN(8) == 0 {
			text = bytes.Repeat(text, 1+(12<<10)/len(text)) // a file of its own
		}
		e := testEnvelope(i, "a@x.test", "b@x.test", "c@x.test")
		e.Recipients = e.Recipients[:1+rng.IntN(3)]
		m, err := put(s, e, text)
		if err != nil {
			if s.Err() != nil {
				return
			}
			continue
		}
		w.mu.Lock()
		w.acked[m.ID], w.rcpts[m.ID] = text, len(e.Recipients)
		w.mu.Unlock()
		if !w.work(s, v, rng, m) {
			return
		}
		if rng.IntN(10) == 0 && s.Checkpoint(context.Background()) != nil && s.Err() != nil {
			return
		}
	}
}

// work gives each recipient a fate: Maildir, remote, or later.
func (w *world) work(s *Spool, v simView, rng *rand.Rand, m *Message) bool {
	for i := range m.Envelope.Recipients {
		key := fmt.Sprintf("%s/%d", m.ID, i)
		var c Change
		switch rng.IntN(6) {
		case 0:
			c.Defer = []Postponement{{Message: m, Attempts: 1, Deferrals: []Deferral{{i, "4.4.1", "try again"}}}}
		case 1:
			w.mu.Lock()
			w.remote[key] = true
			w.mu.Unlock()
			c.Settle = []Settlement{{m, []Outcome{{Index: i}}}}
		default:
			a, err := deliver(v, m, i)
			if err != nil {
				return false
			}
			c.Settle = []Settlement{{m, []Outcome{{i, a}}}}
		}
		if _, err := s.Commit(context.Background(), c); err != nil {
			return false
		}
		if c.Settle != nil {
			w.mu.Lock()
			w.settled[key] = true
			w.mu.Unlock()
		}
	}
	return true
}

// run lets sessions work at the same time until all are done or the power is
// gone, and returns the spool.
func (w *world) run(t *testing.T, d *simDisk, boot int, seed uint64) *Spool {
	t.Helper()
	v := d.process()
	s, err := Open("/spool", simOptions(v, boot))
	if err != nil {
		if !errors.Is(err, errCut) {
			t.Fatalf("Open: %v", err)
		}
		return nil
	}
	var all sync.WaitGroup
	for k := range 4 {
		rng := rand.New(rand.NewPCG(seed, uint64(k)))
		all.Go(func() { w.session(s, v, rng, 25) })
	}
	all.Wait()
	return s
}

// verify opens the spool after a crash and checks that every promise is kept:
// what was acknowledged is in the Maildir, or taken by another server, or
// pending. It delivers what is pending, and checks that all is there once.
func (w *world) verify(t *testing.T, d *simDisk, boot int, sameBoot bool) {
	t.Helper()
	v := d.process()
	s, err := Open("/spool", simOptions(v, boot))
	if err != nil {
		t.Fatalf("Open after the crash: %v", err)
	}
	defer s.Close()
	pending := map[string]bool{}
	for p := range s.Pending() {
		text := w.acked[p.Message.ID]
		if got := textOf(t, p.Message); text != nil && !bytes.Equal(got, text) {
			t.Fatalf("%s: text differs", p.Message.ID)
		}
		var c Change
		for i, done := range p.Done {
			if done {
				continue
			}
			key := fmt.Sprintf("%s/%d", p.Message.ID, i)
			pending[key] = true
			if sameBoot && w.settled[key] {
				t.Errorf("%s is pending again, although its settlement was acknowledged in this boot", key)
			}
			a, err := deliver(v, p.Message, i)
			if err != nil {
				t.Fatal(err)
			}
			c.Settle = append(c.Settle, Settlement{p.Message, []Outcome{{i, a}}})
		}
		if _, err := s.Commit(context.Background(), c); err != nil {
			t.Fatal(err)
		}
	}
	w.count(t, v)
	if err := s.Checkpoint(context.Background()); err != nil {
		t.Fatalf("Checkpoint: %v", err)
	}
	if st := s.Stats(); st.Messages != 0 || st.Unstruck != 0 || st.LiveBytes != 0 {
		t.Errorf("all is delivered, but Stats() = %+v", st)
	}
	if names, _ := v.ReadDir("/spool/quarantine"); len(names) > 0 {
		t.Errorf("nothing was damaged, but in quarantine are %q", names)
	}
}

// count looks for the whole file of every recipient.
func (w *world) count(t *testing.T, v simView) {
	t.Helper()
	copies := map[string]int{}
	names, err := v.ReadDir(simMail + "/new")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		part := strings.Split(name, ".")
		text, acked := w.acked[part[0]]
		f, err := v.Open(simMail+"/new/"+name, os.O_RDONLY)
		if err != nil {
			t.Fatal(err)
		}
		size, _ := f.Size()
		got, _ := io.ReadAll(io.NewSectionReader(f, 0, size))
		if acked && bytes.Equal(got, text) {
			copies[part[0]+"/"+part[1]]++
		}
	}
	for id, n := range w.rcpts {
		for i := range n {
			key := fmt.Sprintf("%s/%d", id, i)
			switch c := copies[key]; {
			case c == 0 && !w.remote[key]:
				t.Errorf("%s was acknowledged and is lost", key)
			case c > 1:
				t.Errorf("%s is there %d times", key, c)
			}
		}
	}
}

func TestPowerCut(t *testing.T) {
	seed := *cutSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	d := newMailDisk()
	s := newWorld().run(t, d, 1, seed)
	if s == nil || s.Err() != nil {
		t.Fatal("the run without a cut did not end well")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	calls := d.calls
	rng := rand.New(rand.NewPCG(seed, 1))
	for i := range *cuts {
		at := 1 + rng.IntN(calls)
		if *cuts >= calls {
			at = 1 + i%calls
		}
		t.Run(fmt.Sprintf("cut=%d", at), func(t *testing.T) {
			d, w := newMailDisk(), newWorld()
			d.cutAt = at
			s := w.run(t, d, 1, seed)
			d.cut(rand.New(rand.NewPCG(seed, uint64(at))))
			if s != nil {
				s.Close()
			}
			w.verify(t, d, 2, false)
		})
		if t.Failed() {
			t.Fatalf("run again with -spool.seed=%d", seed)
		}
	}
}

// TestKill ends the process, not the system: nothing that was acknowledged may
// come again, not even what only a settlement without a sync told.
func TestKill(t *testing.T) {
	seed := *cutSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 2))
	for range 50 {
		at := 30 + rng.IntN(1500)
		t.Run(fmt.Sprintf("kill=%d", at), func(t *testing.T) {
			d, w := newMailDisk(), newWorld()
			d.cutAt = at
			s := w.run(t, d, 1, seed)
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
	seed := *cutSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 3))
	for range 50 {
		kill, cut := 30+rng.IntN(800), 10+rng.IntN(800)
		t.Run(fmt.Sprintf("kill=%d,cut=%d", kill, cut), func(t *testing.T) {
			d, w := newMailDisk(), newWorld()
			d.cutAt = kill
			first := w.run(t, d, 1, seed)
			d.kill()
			d.cutAt = d.calls + cut
			second := w.run(t, d, 1, seed+1)
			d.cut(rand.New(rand.NewPCG(seed, uint64(cut))))
			for _, s := range []*Spool{first, second} {
				if s != nil {
					s.Close()
				}
			}
			w.verify(t, d, 2, false)
		})
	}
}

// TestPowerCutWhileMoving cuts the power at every call of a script in which
// old messages are moved to the head of the log, and segments reused.
func TestPowerCutWhileMoving(t *testing.T) {
	script := func(d *simDisk, w *world) *Spool {
		v := d.process()
		s, err := Open("/spool", simOptions(v, 1))
		if err != nil {
			return nil
		}
		for i := range 60 {
			text := bytes.Repeat([]byte{byte('a' + i%26)}, 4000)
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
			if err != nil || i%30 == 29 && s.Checkpoint(context.Background()) != nil {
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
			d.cutAt = at
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
