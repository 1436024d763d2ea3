package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// world is what the outside knows: who was promised what.
type world struct {
	mu      sync.Mutex
	acked   map[string][]byte     // text by id
	rcpts   map[string]int        // recipients by id
	remote  map[string]bool       // "id/index": another server took it, or it was removed
	applied map[string]bool       // "id/index": its file may not survive
	untold  bool                  // no tales are told
	tales   map[string][]*chapter // what became of a message, by id
}

// chapter is the state of a message between two changes. acked: the change
// before it was acknowledged; synced: that it is durable was acknowledged, too.
type chapter struct {
	acked, synced bool
	done          []bool
	deferrals     map[int]string
	attempts      int
	next          int64
	held          bool
}

func newWorld() *world {
	return &world{acked: map[string][]byte{}, rcpts: map[string]int{}, remote: map[string]bool{},
		applied: map[string]bool{}, tales: map[string][]*chapter{}}
}

// next begins a chapter that differs from the last one.
func (w *world) next(id string, change func(*chapter)) *chapter {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := &chapter{deferrals: map[int]string{}}
	if tale := w.tales[id]; len(tale) > 0 {
		last := tale[len(tale)-1]
		*c = *last
		c.acked, c.synced = false, false
		c.done, c.deferrals = slices.Clone(last.done), maps.Clone(last.deferrals)
	}
	change(c)
	w.tales[id] = append(w.tales[id], c)
	return c
}

func (w *world) ack(c *chapter, synced bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.acked, c.synced = true, synced
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
			a.Found = true
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

// run opens the spool, checks it against what was promised, and lets sessions
// work at the same time until all are done or the power is gone.
func (w *world) run(t *testing.T, d *simDisk, boot int, sameBoot bool, seed uint64) *Spool {
	t.Helper()
	v := d.process()
	s, err := Open("/spool", cutOptions(v, boot))
	if err != nil {
		if !errors.Is(err, errCut) {
			t.Fatalf("Open: %v", err)
		}
		return nil
	}
	old, ok := w.check(t, s, sameBoot)
	if !ok {
		return s
	}
	var all sync.WaitGroup
	const sessions = 4
	for k := range sessions {
		rng := rand.New(rand.NewPCG(seed, uint64(k)))
		var mine []*Message
		for i := k; i < len(old); i += sessions {
			mine = append(mine, old[i])
		}
		all.Go(func() { w.session(s, v, rng, 40, mine) })
	}
	all.Wait()
	return s
}

// cutOptions make everything happen in a short run: segments end, snapshots are
// made, messages are moved.
func cutOptions(v simView, boot int) Options {
	o := simOptions(v, boot)
	o.SegmentSize, o.InlineLimit, o.CheckpointBytes = 16<<10, 2<<10, 6<<10
	return o
}

// check compares every message with its tale: it must be as after the last
// change that counts, or as after a later one. From here on that is its state.
// false: the power has gone meanwhile.
func (w *world) check(t *testing.T, s *Spool, sameBoot bool) (list []*Message, ok bool) {
	t.Helper()
	found := map[string]*Pending{}
	for x := range s.Waiting() {
		p, err := s.Load(x.Number)
		if err != nil {
			if errors.Is(err, errCut) {
				return nil, false
			}
			t.Fatalf("Load: %v", err)
		}
		if !x.Next.Equal(p.Next) || x.Held != p.Held {
			t.Errorf("%s: Waiting says %v, Load %v %v", p.Message.ID, x, p.Next, p.Held)
		}
		found[p.Message.ID] = &p
		list = append(list, p.Message)
	}
	for id, tale := range w.tales {
		from := 0
		for i, c := range tale {
			if c.synced || c.acked && sameBoot {
				from = i
			}
		}
		p := found[id]
		delete(found, id)
		if p == nil && !tale[0].acked {
			delete(w.tales, id)
			continue
		}
		k := slices.IndexFunc(tale[from:], func(c *chapter) bool { return w.matches(id, c, p, sameBoot) })
		if k < 0 {
			t.Errorf("%s is %+v; its tale from %d on: %s", id, p, from, spell(tale[from:]))
			continue
		}
		w.tales[id] = []*chapter{w.reopened(tale[from+k], p)}
	}
	for id, p := range found {
		if !w.untold {
			t.Errorf("%s is pending, and nobody knows why: %+v", id, p)
		}
	}
	return list, true
}

func spell(tale []*chapter) string {
	var b strings.Builder
	for _, c := range tale {
		fmt.Fprintf(&b, "\n%+v", *c)
	}
	return b.String()
}

// matches reports whether a message is as a chapter tells. After another boot a
// recipient is open again if the file of its delivery was lost.
func (w *world) matches(id string, c *chapter, p *Pending, sameBoot bool) bool {
	if p == nil {
		return !slices.Contains(c.done, false)
	}
	over := true
	for i := range c.done {
		again := c.done[i] && !p.Done[i] && !sameBoot && w.applied[fmt.Sprintf("%s/%d", id, i)]
		if c.done[i] != p.Done[i] && !again {
			return false
		}
		over = over && c.done[i]
	}
	if over { // what the last attempt has planned does not matter any more
		return slices.Contains(p.Done, false)
	}
	told := map[int]string{}
	for _, d := range p.Deferrals {
		if c.done[d.Index] {
			continue
		}
		told[d.Index] = d.Reason
	}
	return maps.Equal(told, c.deferrals) && p.Attempts == c.attempts && nanos(p.Next) == c.next && p.Held == c.held
}

// reopened is the chapter with which the tale goes on.
func (w *world) reopened(c *chapter, p *Pending) *chapter {
	n := &chapter{acked: true, synced: true, done: slices.Clone(c.done), deferrals: map[int]string{}}
	if p != nil {
		n.done, n.attempts, n.next, n.held = slices.Clone(p.Done), p.Attempts, nanos(p.Next), p.Held
		for _, d := range p.Deferrals {
			n.deferrals[d.Index] = d.Reason
		}
	}
	return n
}

// verify opens the spool after a crash and checks that every promise is kept:
// what was acknowledged is in the Maildir, or taken by another server, or
// pending. It delivers what is pending, and checks that all is there once.
func (w *world) verify(t *testing.T, d *simDisk, boot int, sameBoot bool) {
	t.Helper()
	v := d.process()
	log := &warnings{}
	o := cutOptions(v, boot)
	o.Log = log
	s, err := Open("/spool", o)
	if err != nil {
		t.Fatalf("Open after the crash: %v", err)
	}
	defer s.Close()
	w.check(t, s, sameBoot)
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
	if names, _ := v.ReadDir("/spool/quarantine"); len(names) > 0 || len(log.list) > 0 {
		t.Errorf("nothing was damaged, but in quarantine are %q, and warnings %q", names, log.list)
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
