package spool

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
)

func TestFailedSync(t *testing.T) {
	for _, op := range []string{"sync", "write"} {
		t.Run(op, func(t *testing.T) {
			d := newMailDisk()
			s := mustOpen(t, "/spool", simOptions(d.process(), 1))
			kept := mustPut(t, s, testEnvelope(1, "a@x.test"), []byte("x\n"))
			setFault(d, func(o, name string) error {
				if o == op && strings.HasPrefix(name, "/spool/log") {
					return syscall.EIO
				}
				return nil
			})
			if _, err := put(s, testEnvelope(2, "a@x.test"), []byte("y\n")); !errors.Is(err, syscall.EIO) {
				t.Errorf("put with a failing %s = %v", op, err)
			}
			setFault(d, nil)
			if !errors.Is(s.Err(), syscall.EIO) {
				t.Errorf("Err() = %v", s.Err())
			}
			if _, err := s.Create(0); !errors.Is(err, syscall.EIO) {
				t.Errorf("Create of an ill spool = %v", err)
			}
			if _, err := s.Commit(context.Background(), settleOf(kept, 0, nil)); !errors.Is(err, syscall.EIO) {
				t.Errorf("Commit to an ill spool = %v", err)
			}
			if err := s.Checkpoint(context.Background()); !errors.Is(err, syscall.EIO) {
				t.Errorf("Checkpoint of an ill spool = %v", err)
			}
			d.kill()
			s.Close()
			s = mustOpen(t, "/spool", simOptions(d.process(), 1))
			defer mustClose(t, s)
			if _, ok := pendingOf(s)[kept.ID]; !ok {
				t.Error("the acknowledged message is lost")
			}
			mustPut(t, s, testEnvelope(3, "a@x.test"), []byte("z\n"))
		})
	}
}

func setFault(d *simDisk, f func(op, name string) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = f
}

// TestLogWithoutSpace: on file systems that copy on write, even a reserved
// segment can find no space.
func TestLogWithoutSpace(t *testing.T) {
	d := newMailDisk()
	s := mustOpen(t, "/spool", simOptions(d.process(), 1))
	first := mustPut(t, s, testEnvelope(1, "a@x.test"), []byte("x\n"))
	second := mustPut(t, s, testEnvelope(2, "a@x.test"), []byte("x\n"))
	setFault(d, func(op, name string) error {
		if op == "write" {
			return syscall.ENOSPC
		}
		return nil
	})
	if _, err := put(s, testEnvelope(3, "a@x.test"), []byte("y\n")); !errors.Is(err, ErrFull) {
		t.Errorf("put without space = %v", err)
	}
	if _, err := s.Create(0); !errors.Is(err, ErrFull) {
		t.Errorf("Create without space = %v", err)
	}
	if _, err := s.Commit(context.Background(), settleOf(first, 0, nil)); !errors.Is(err, ErrFull) {
		t.Errorf("settle without space = %v", err)
	}
	if s.Err() != nil {
		t.Errorf("Err() = %v", s.Err())
	}
	setFault(d, nil)
	if err := s.Checkpoint(context.Background()); err != nil {
		t.Fatalf("Checkpoint when there is space again: %v", err)
	}
	last := mustPut(t, s, testEnvelope(4, "a@x.test"), []byte("z\n"))
	d.kill()
	s.Close()
	s = mustOpen(t, "/spool", simOptions(d.process(), 1))
	defer mustClose(t, s)
	found := pendingOf(s)
	if len(found) != 2 || found[second.ID].Message == nil || found[last.ID].Message == nil {
		t.Errorf("pending: %v; want %s and %s", found, second.ID, last.ID)
	}
}

// TestFullDisk fills a disk with mail, and empties it again.
func TestFullDisk(t *testing.T) {
	d := newMailDisk()
	d.space = 400 << 10
	s := mustOpen(t, "/spool", simOptions(d.process(), 1))
	var all []*Message
	for i := 0; ; i++ {
		m, err := put(s, testEnvelope(i, "a@x.test"), make([]byte, 6000))
		if err != nil {
			if !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
			break
		}
		if all = append(all, m); i > 200 {
			t.Fatal("the disk is never full")
		}
	}
	if _, err := put(s, testEnvelope(0, "a@x.test"), make([]byte, 60_000)); !errors.Is(err, ErrFull) {
		t.Errorf("large text on a full disk = %v", err)
	}
	for _, m := range all {
		textOf(t, m)
		mustCommit(t, s, settleOf(m, 0, nil)) // there is room for this
	}
	if err := s.Checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	mustPut(t, s, testEnvelope(0, "a@x.test"), make([]byte, 6000))
	mustClose(t, s)
	if names, _ := d2Names(d, "/spool/bodies"); len(names) > 0 {
		t.Errorf("left in bodies: %q", names)
	}
}

func TestCreateMinFree(t *testing.T) {
	tests := []struct {
		name             string
		free, least, ask int64
		full             bool
	}{
		{"plenty", 1 << 30, 1 << 20, 1 << 20, false},
		{"below queue_minfree", 1 << 20, 1<<20 + 1, 0, true},
		{"hint of two thirds", 3000, 0, 2000, false},
		{"hint of more", 3000, 0, 2001, true},
		{"no hint", 1, 0, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newMailDisk()
			d.free = tt.free
			o := simOptions(d.process(), 1)
			o.QueueMinFree = tt.least
			s := mustOpen(t, "/spool", o)
			defer s.Close()
			dr, err := s.Create(tt.ask)
			if errors.Is(err, ErrFull) != tt.full || !tt.full && err != nil {
				t.Errorf("Create(%d) with %d free, minimum %d = %v", tt.ask, tt.free, tt.least, err)
			}
			if dr != nil {
				dr.Abort()
			}
		})
	}
}

// TestSyncfsFails: what a failed syncfs may have lost is written again, file
// by file, before its message is struck off.
func TestSyncfsFails(t *testing.T) {
	d := newMailDisk()
	v := d.process()
	log := &warnings{}
	o := simOptions(v, 1)
	o.Log = log
	s := mustOpen(t, "/spool", o)
	if err := s.Cover(simMail); err != nil {
		t.Fatal(err)
	}
	var files []*Applied
	for i := range 3 {
		m := mustPut(t, s, testEnvelope(i, "a@x.test"), []byte("Subject: x\n"))
		a, err := deliver(v, m, 0)
		if err != nil {
			t.Fatal(err)
		}
		mustCommit(t, s, settleOf(m, 0, a))
		files = append(files, a)
	}
	v.Remove(files[2].Path) // its reader was quick
	for _, a := range files[:2] {
		d.files[a.Path].pending = nil // the system has lost what it was to write
	}
	broken := files[1].Path
	setFault(d, func(op, name string) error {
		if op == "syncfs" || op == "write" && name == broken {
			return syscall.EIO
		}
		return nil
	})
	if err := s.Checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := s.Stats(); got.Unstruck != 1 {
		t.Errorf("%d messages wait for a checkpoint, want the one that cannot be written", got.Unstruck)
	}
	if f := d.files[files[0].Path]; string(f.disk) != "Subject: x\n" {
		t.Errorf("on the disk: %q", f.disk)
	}
	if !log.has("EIO") && !log.has("input/output") {
		t.Errorf("warnings: %q", log.list)
	}
	setFault(d, func(op, name string) error {
		if op == "syncfs" {
			return syscall.EIO
		}
		return nil
	})
	if err := s.Checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := s.Stats(); got.Unstruck != 0 || string(d.files[broken].disk) != "Subject: x\n" {
		t.Errorf("after the next checkpoint: %+v", got)
	}
	setFault(d, nil)
	mustClose(t, s)
}

// TestOpenFails: whatever call of Open fails, it says so, gives everything
// back, and the next Open finds all that was there.
func TestOpenFails(t *testing.T) {
	d := newMailDisk()
	s := mustOpen(t, "/spool", simOptions(d.process(), 1))
	m := mustPut(t, s, testEnvelope(1, "a@x.test"), []byte("x\n"))
	d.kill()
	s.Close()
	failed := 0
	for at := 1; ; at++ {
		n := 0
		v := d.process()
		setFault(d, func(op, name string) error {
			if n++; n == at {
				return syscall.EIO
			}
			return nil
		})
		s, err := Open("/spool", simOptions(v, at))
		setFault(d, nil)
		if err != nil {
			failed++
		} else {
			mustClose(t, s)
		}
		s = mustOpen(t, "/spool", simOptions(d.process(), at))
		if _, ok := pendingOf(s)[m.ID]; !ok {
			t.Fatalf("call %d: the message is lost", at)
		}
		mustClose(t, s)
		if n < at {
			break
		}
	}
	if failed < 10 {
		t.Errorf("only %d calls of Open can fail", failed)
	}
}

// TestSparesLeaveRoom fills many segments and is done with them while the disk
// has less than queue_minfree: they are given back, not kept as spares.
func TestSparesLeaveRoom(t *testing.T) {
	d := newMailDisk()
	o := simOptions(d.process(), 1)
	o.QueueMinFree = 1 << 20
	o.CheckpointBytes = 1 << 20
	s := mustOpen(t, "/spool", o)
	defer s.Close()
	var list []*Message
	for i := range 40 {
		list = append(list, mustPut(t, s, testEnvelope(i, "a@x.test"), make([]byte, 8000)))
	}
	d.mu.Lock()
	d.free = 1000
	d.mu.Unlock()
	for _, m := range list {
		mustCommit(t, s, settleOf(m, 0, nil))
	}
	if err := s.Checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	names, err := d2Names(d, "/spool/log")
	if err != nil || len(names) > 3 {
		t.Errorf("%d log files are left on a full disk: %q, %v", len(names), names, err)
	}
}
