package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// oldSpool makes a disk with a spool in which segments were given back out of
// order, with two snapshots in store. It returns what is pending.
func oldSpool(t *testing.T) (*simDisk, map[string]Pending) {
	t.Helper()
	d := newMailDisk()
	s := mustOpen(t, "/spool", cutOptions(d.process(), 1))
	var kept []*Message
	for i := range 200 {
		rcpts := []string{"a@x.test", "b@x.test"}
		if i%50 == 0 {
			rcpts = slices.Repeat(rcpts, 20)
		}
		m := mustPut(t, s, testEnvelope(i, rcpts...), bytes.Repeat([]byte{byte('a' + i%26)}, 1500))
		if i < 20 || i%50 == 0 {
			kept = append(kept, m)
		} else {
			mustCommit(t, s, Change{Remove: []uint64{m.Number}})
		}
		if i%10 == 9 {
			k := kept[i%len(kept)]
			mustCommit(t, s, Change{Settle: []Settlement{{k, []Outcome{{Index: 1}}}}, Defer: []Postponement{{Message: k, Attempts: i,
				Next: time.Unix(int64(i), 0), Deferrals: []Deferral{{0, "4.4.1", fmt.Sprint("try ", i)}}}}})
			mustCommit(t, s, Change{Plan: []Plan{{Number: kept[i/10].Number, Next: time.Unix(5, 0), Held: true}}})
			if err := s.Checkpoint(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.checkpointing.Lock()
	s.mu.Lock()
	if len(s.snapshots) != keepSnapshots || s.holes <= s.first().gen {
		t.Errorf("%d snapshots, hole %d, first %d", len(s.snapshots), s.holes, s.first().gen)
	}
	s.mu.Unlock()
	s.checkpointing.Unlock()
	all := pendingOf(s)
	d.kill()
	s.Close()
	return d, all
}

// snapshotNames are those in store, oldest first.
func snapshotNames(t *testing.T, d *simDisk) []string {
	t.Helper()
	names, err := d2Names(d, "/spool/index")
	if err != nil || len(names) != keepSnapshots {
		t.Fatalf("snapshots: %q, %v", names, err)
	}
	for i := range names {
		names[i] = filepath.Join("/spool/index", names[i])
	}
	return names
}

func samePending(t *testing.T, want, got map[string]Pending) {
	t.Helper()
	if !slices.Equal(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))) {
		t.Fatalf("pending are %d messages, want %d", len(got), len(want))
	}
	for id, p := range want {
		g := got[id]
		if !bytes.Equal(textOf(t, g.Message), bytes.Repeat(textOf(t, g.Message)[:1], 1500)) {
			t.Errorf("%s: text differs", id)
		}
		p.Message, g.Message = nil, nil
		if fmt.Sprintf("%+v", p) != fmt.Sprintf("%+v", g) {
			t.Errorf("%s is %+v, want %+v", id, g, p)
		}
	}
}

func TestRestore(t *testing.T) {
	damage := func(d *simDisk, name string, at int) {
		f := d.files[name]
		f.data[(at+len(f.data))%len(f.data)] ^= 0x20
	}
	tests := []struct {
		name   string
		spoil  func(d *simDisk, snapshots []string)
		warn   string
		again  bool // finished messages may come again
		number int  // snapshots that are believed
	}{
		{name: "whole", spoil: func(*simDisk, []string) {}, number: 2},
		{name: "newest missing", spoil: func(d *simDisk, s []string) { delete(d.files, s[1]) }, number: 1},
		{name: "newest damaged in its head", warn: "chunk 0", number: 1,
			spoil: func(d *simDisk, s []string) { damage(d, s[1], 12) }},
		{name: "newest damaged in its slots", warn: "chunk 1", number: 1,
			spoil: func(d *simDisk, s []string) { damage(d, s[1], 100) }},
		{name: "newest damaged at its end", warn: "not used", number: 1,
			spoil: func(d *simDisk, s []string) { damage(d, s[1], -1) }},
		{name: "newest cut short", warn: "not used", number: 1,
			spoil: func(d *simDisk, s []string) { f := d.files[s[1]]; f.data = f.data[:len(f.data)-3] }},
		{name: "newest too long", warn: "more than", number: 1,
			spoil: func(d *simDisk, s []string) { f := d.files[s[1]]; f.data = append(f.data, 0) }},
		{name: "newest empty", warn: "not used", number: 1,
			spoil: func(d *simDisk, s []string) { d.files[s[1]].data = nil }},
		{name: "oldest under the name of the newest", warn: "checksum", number: 1,
			spoil: func(d *simDisk, s []string) { d.files[s[1]].data = slices.Clone(d.files[s[0]].data) }},
		{name: "both missing", warn: "delivered again", again: true,
			spoil: func(d *simDisk, s []string) { delete(d.files, s[0]); delete(d.files, s[1]) }},
		{name: "both damaged", warn: "delivered again", again: true,
			spoil: func(d *simDisk, s []string) { damage(d, s[0], 60); damage(d, s[1], 60) }},
		{name: "other files beside", number: 2, spoil: func(d *simDisk, s []string) {
			d.files["/spool/index/prepare"] = &simFile{data: []byte("x")}
			d.files["/spool/index/readme"] = &simFile{}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, want := oldSpool(t)
			tt.spoil(d, snapshotNames(t, d))
			log := &warnings{}
			o := cutOptions(d.process(), 2)
			o.Log = log
			s := mustOpen(t, "/spool", o)
			if tt.warn == "" && len(log.list) > 0 || tt.warn != "" && !log.has(tt.warn) {
				t.Errorf("warnings: %q, want one with %q", log.list, tt.warn)
			}
			s.checkpointing.Lock()
			if n := len(s.snapshots); n != tt.number && s.rounds == 0 {
				t.Errorf("%d snapshots are believed, want %d", n, tt.number)
			}
			if names, _ := d2Names(d, "/spool/index"); slices.Contains(names, "prepare") || slices.Contains(names, "readme") {
				t.Errorf("left in index: %q", names)
			}
			s.checkpointing.Unlock()
			got := pendingOf(s)
			if tt.again {
				maps.DeleteFunc(got, func(id string, _ Pending) bool { _, ok := want[id]; return !ok })
				for id := range want {
					if got[id].Message == nil {
						t.Errorf("%s is lost", id)
					}
				}
			} else {
				samePending(t, want, got)
			}
			mustPut(t, s, testEnvelope(1, "a@x.test"), []byte("x\n"))
			mustClose(t, s)
		})
	}
}

// TestSnapshotAndLog: a snapshot that does not belong to the log beside it is not
// believed, wherever the two come from.
func TestSnapshotAndLog(t *testing.T) {
	d, want := oldSpool(t)
	s := mustOpen(t, "/spool", cutOptions(d.process(), 2))
	m := mustPut(t, s, testEnvelope(1, "a@x.test"), []byte("x\n"))
	earlier := map[string]*simFile{}
	d.mu.Lock()
	for name, f := range d.files {
		earlier[name] = &simFile{data: slices.Clone(f.data), disk: slices.Clone(f.data)}
	}
	d.mu.Unlock()
	for i := range 200 {
		x := mustPut(t, s, testEnvelope(i, "a@x.test"), make([]byte, 1500))
		mustCommit(t, s, Change{Remove: []uint64{x.Number}})
		if i%20 == 0 {
			if err := s.Checkpoint(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	mustClose(t, s)
	newer := snapshotNames(t, d)
	d.mu.Lock()
	for _, name := range newer { // an old log comes back from a backup, the index stays
		earlier[name] = d.files[name]
	}
	d.files = earlier
	d.mu.Unlock()
	log := &warnings{}
	o := cutOptions(d.process(), 3)
	o.Log = log
	s = mustOpen(t, "/spool", o)
	defer mustClose(t, s)
	if !log.has("newer than the log") {
		t.Errorf("warnings: %q", log.list)
	}
	got := pendingOf(s)
	for id := range want {
		if got[id].Message == nil {
			t.Errorf("%s is lost", id)
		}
	}
	if got[m.ID].Message == nil {
		t.Errorf("%s is lost", m.ID)
	}
}

// TestDamageBehindSnapshot: what is damaged in a part of the log that Open did
// not read is found when it is needed, and said.
func TestDamageBehindSnapshot(t *testing.T) {
	for _, part := range []string{"state", "text"} {
		t.Run(part, func(t *testing.T) {
			d, want := oldSpool(t)
			log := &warnings{}
			o := cutOptions(d.process(), 2)
			o.Log = log
			s := mustOpen(t, "/spool", o)
			defer mustClose(t, s)
			var number uint64
			for w := range s.Waiting() {
				number = w.Number
				break
			}
			s.mu.Lock()
			e := *s.index.table.find(number)
			s.mu.Unlock()
			at := map[string]spot{"state": {e.state.gen, e.state.off + headSize + 3}, "text": e.text}[part]
			p, err := s.Load(number)
			if err != nil {
				t.Fatal(err)
			}
			d.mu.Lock()
			d.files[s.j.segmentName(uint64(at.gen))].data[at.off] ^= 1
			d.mu.Unlock()
			if part == "text" {
				_, err = p.Message.Open()
			} else {
				_, err = s.Load(number)
			}
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), formatID(number)) {
				t.Errorf("%v", err)
			}
			if n := len(pendingOf(s)); part == "state" && (n != len(want)-1 || !log.has(formatID(number))) {
				t.Errorf("Pending tells %d of %d, warnings %q", n, len(want), log.list)
			}
			// A postponement has all that it needs.
			mustCommit(t, s, Change{Defer: []Postponement{{Message: p.Message, Attempts: 99, Deferrals: []Deferral{{0, "4.0.0", "x"}}}}})
			if p, err := s.Load(number); err != nil || p.Attempts != 99 {
				t.Errorf("after a postponement: %+v, %v", p, err)
			}
		})
	}
}

// FuzzSnapshot reads a snapshot whose chunks are what the fuzzer likes, with
// right checksums. What is accepted is the same after being written again.
func FuzzSnapshot(f *testing.F) {
	var key salt
	x, debts := exampleIndex()
	h := snapshotHead{at: place{3, 800}, boot: "boot", slots: x.table.n}
	tail := x.appendWorks(&h)
	var slots []byte
	for _, e := range slotsOf(x.table.leaves) {
		slots = e.append(slots)
	}
	f.Add(h.append(nil), slots, tail[0], tail[1])
	f.Add(h.append(nil), slots, tail[1], tail[0])
	f.Add([]byte{}, []byte{}, []byte{}, []byte{})
	if len(debts) != 1 {
		f.Fatal(debts)
	}
	f.Fuzz(func(t *testing.T, one, two, three, four []byte) {
		file := &simFile{}
		v := newSimDisk().process()
		w := chunkWriter{file: &simHandle{v, "x", file}, key: key, seq: 7}
		for _, b := range [][]byte{one, two, three, four} {
			if len(b) > 0 {
				w.chunk(b)
			}
		}
		w.flush()
		h, x, debts, err := readSnapshot(v, file, key)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("%v is not ErrDamaged", err)
			}
			return
		}
		again := &simFile{}
		g := snapshotHead{at: h.at, boot: h.boot, slots: x.table.n}
		w = chunkWriter{file: &simHandle{v, "y", again}, key: key, seq: 7}
		tail := x.appendWorks(&g)
		w.chunk(g.append(nil))
		w.slots(x.table.freeze())
		for _, b := range tail {
			w.chunk(b)
		}
		w.flush()
		h2, x2, debts2, err := readSnapshot(v, again, key)
		if err != nil || h2 != h || len(debts2) != len(debts) || !slices.Equal(slotsOf(x2.table.leaves), slotsOf(x.table.leaves)) {
			t.Errorf("%v: %+v, then %+v", err, h, h2)
		}
		for _, e := range slotsOf(x.table.leaves) {
			if x.open(&e) != x2.open(&e) {
				t.Errorf("%d: %d open, then %d", e.number, x.open(&e), x2.open(&e))
			}
		}
	})
}

func readSnapshot(v simView, f *simFile, key salt) (snapshotHead, index, []*debt, error) {
	r := newChunkReader(&simHandle{v, "x", f}, int64(len(f.data)), key, 7)
	h, err := r.head()
	if err != nil {
		return h, index{}, nil, err
	}
	x, debts, err := r.index(&h)
	return h, x, debts, err
}

// exampleIndex has a message with many recipients, and one whose delivery is
// not durable yet.
func exampleIndex() (*index, []*debt) {
	x := newIndex()
	x.enter(slot{number: 5, rcpts: 3, next: 77, flags: slotHeld | slotFile, state: spot{1, 8}, stateWeight: 50})
	x.enter(slot{number: 9, rcpts: 70, text: spot{1, 900}, textWeight: 10, state: spot{1, 800}, stateWeight: 50})
	x.settle(x.table.edit(5), 1)
	d := &debt{number: 5, outcome: Outcome{1, &Applied{"/m/new/x", 9, 100, 0xdeadbeef, false}}, at: place{1, 200}, boot: "b"}
	x.owe(d)
	x.settle(x.table.edit(9), 64)
	return &x, []*debt{d}
}
