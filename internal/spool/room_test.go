package spool

import (
	"context"
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestCreateAmple: while there is ample space, the file system is asked once a
// second; when there is less, for every message.
func TestCreateAmple(t *testing.T) {
	d := newMailDisk()
	clock := time.Unix(1_700_000_000, 0)
	o := simOptions(d.process(), 1)
	o.Now = func() time.Time { return clock }
	o.QueueMinFree = 1000
	s := mustOpen(t, "/spool", o)
	defer mustClose(t, s)
	for _, tt := range []struct {
		name     string
		later    time.Duration
		free     int64
		noInodes bool
		hint     int64
		full     bool
	}{
		{"ample", 0, ample + 1000, false, 0, false},
		{"full, but the answer stands", roomAge - 1, 999, false, 0, false},
		{"full, and the text may not fit what there was", 0, 999, false, ample, true},
		{"not ample, so the answer does not stand", 0, ample + 999, false, 0, false},
		{"full at once", 0, 999, false, 0, true},
		{"ample again", 0, ample + 1000, false, 0, false},
		{"no inodes", roomAge, ample + 1000, true, 0, true},
		{"and inodes", 0, ample + 1000, false, 0, false},
		{"the clock was set back", -time.Hour, 999, false, 0, true},
	} {
		clock = clock.Add(tt.later)
		d.mu.Lock()
		d.free, d.volume.NoInodes = tt.free, tt.noInodes
		d.mu.Unlock()
		draft, err := s.Create(tt.hint)
		if errors.Is(err, ErrFull) != tt.full || !tt.full && err != nil {
			t.Errorf("%s: Create(%d) = %v", tt.name, tt.hint, err)
		}
		if draft != nil {
			draft.Abort()
		}
	}
}

func TestRoom(t *testing.T) {
	d := newMailDisk()
	clock := time.Unix(1_700_000_000, 0)
	o := simOptions(d.process(), 1)
	o.Now = func() time.Time { return clock }
	o.QueueMinFree = 1000
	s := mustOpen(t, "/spool", o)
	volume := func(free int64, noInodes bool) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.free, d.volume.NoInodes = free, noInodes
	}
	for _, tt := range []struct {
		name     string
		later    time.Duration
		free     int64
		noInodes bool
		full     bool
	}{
		{"room", 0, 1000, false, false},
		{"full, but the answer stands", roomAge - 1, 999, false, false},
		{"full", 1, 999, false, true},
		{"room again, but the answer stands", 0, 1000, false, true},
		{"room again", roomAge, 1000, false, false},
		{"no inodes", roomAge, 1000, true, true},
		{"the clock was set back", -time.Hour, 1000, false, false},
	} {
		clock = clock.Add(tt.later)
		volume(tt.free, tt.noInodes)
		if err := s.Room(); errors.Is(err, ErrFull) != tt.full || !tt.full && err != nil {
			t.Errorf("%s: Room() = %v", tt.name, err)
		}
	}
	volume(1000, true)
	if _, err := s.Create(0); !errors.Is(err, ErrFull) {
		t.Errorf("Create without inodes = %v", err)
	}
	volume(1<<30, false)
	setFault(d, func(op, name string) error {
		if op == "sync" {
			return syscall.EIO
		}
		return nil
	})
	if _, err := put(s, testEnvelope(1, "a@x.test"), []byte("x\n")); !errors.Is(err, syscall.EIO) {
		t.Fatalf("put = %v", err)
	}
	if err := s.Room(); !errors.Is(err, syscall.EIO) {
		t.Errorf("Room of an ill spool = %v", err)
	}
	d.kill()
	s.Close()
}

// TestNoSpaceAnywhere lets one kind of call after the other find no space, for a
// while, and checks that the spool is never ill, loses nothing, and works when
// there is space again.
func TestNoSpaceAnywhere(t *testing.T) {
	for _, place := range []string{"create /spool/bodies", "write /spool/bodies", "sync /spool/bodies", "syncdir /spool/bodies",
		"create /spool/log", "reserve /spool/log", "rename /spool/log", "syncdir /spool/log", "write /spool/log",
		"create /spool/index", "write /spool/index", "sync /spool/index", "rename /spool/index", "syncdir /spool/index"} {
		op, prefix, _ := strings.Cut(place, " ")
		for _, why := range []error{syscall.ENOSPC, syscall.EDQUOT} {
			t.Run(place+" "+why.Error(), func(t *testing.T) {
				t.Parallel() // each waits a second for the next try to make a segment
				noSpaceAt(t, func(o, name string) error {
					if o == op && strings.HasPrefix(name, prefix) {
						return why
					}
					return nil
				})
			})
		}
	}
}

func noSpaceAt(t *testing.T, fault func(op, name string) error) {
	d := newMailDisk()
	s := mustOpen(t, "/spool", cutOptions(d.process(), 1))
	var all []string
	work := func(n int) (refused int) {
		for i := range n {
			m, err := put(s, testEnvelope(i, "a@x.test", "b@x.test"), make([]byte, 1000+i%4*1000))
			if err != nil {
				if !errors.Is(err, ErrFull) {
					t.Fatalf("put without space = %v", err)
				}
				refused++
				continue
			}
			if i%8 == 0 {
				all = append(all, m.ID)
				continue
			}
			if _, err := s.Commit(context.Background(), Change{Remove: []uint64{m.Number}}); err != nil && !errors.Is(err, ErrFull) {
				t.Fatalf("Commit without space = %v", err)
			}
			if err := s.Checkpoint(context.Background()); err != nil && !noSpace(err) && !errors.Is(err, ErrFull) {
				t.Fatalf("Checkpoint without space = %v", err)
			}
		}
		return refused
	}
	work(40)
	setFault(d, fault)
	work(80)
	if err := s.Err(); err != nil {
		t.Fatalf("Err() = %v", err)
	}
	setFault(d, nil)
	awaitSpace(t, s)
	if n := work(40); n > 0 {
		t.Errorf("%d messages are refused when there is space again", n)
	}
	for range 2 {
		var got []string
		for w := range s.Waiting() {
			got = append(got, formatID(w.Number))
		}
		if !slices.Equal(got, all) {
			t.Errorf("waiting: %q\nwant: %q", got, all)
		}
		d.kill()
		s.Close()
		s = mustOpen(t, "/spool", cutOptions(d.process(), 1))
	}
	mustClose(t, s)
}

// awaitSpace waits until the journal has a spare again.
func awaitSpace(t *testing.T, s *Spool) {
	t.Helper()
	s.j.mu.Lock()
	for len(s.j.spares) == 0 && s.j.err == nil {
		s.j.change.Wait()
	}
	s.j.mu.Unlock()
	if err := s.Checkpoint(context.Background()); err != nil {
		t.Fatalf("Checkpoint with space again = %v", err)
	}
}
