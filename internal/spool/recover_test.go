package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// warnings is a Logger that keeps what it is told.
type warnings struct{ list []string }

func (w *warnings) Infof(string, ...any) {}
func (w *warnings) Warningf(format string, args ...any) {
	w.list = append(w.list, fmt.Sprintf(format, args...))
}

func (w *warnings) has(text string) bool {
	return slices.ContainsFunc(w.list, func(s string) bool { return strings.Contains(s, text) })
}

func pendingOf(s *Spool) map[string]Pending {
	all := map[string]Pending{}
	for p := range s.Pending() {
		all[p.Message.ID] = p
	}
	return all
}

func mustCommit(t testing.TB, s *Spool, c Change) {
	t.Helper()
	if _, err := s.Commit(context.Background(), c); err != nil {
		t.Fatalf("Commit: %v", err)
	}
}

func settleOf(m *Message, index int, a *Applied) Change {
	return Change{Settle: []Settlement{{m, []Outcome{{index, a}}}}}
}

func TestStateSurvives(t *testing.T) {
	d := newMailDisk()
	s := mustOpen(t, "/spool", simOptions(d.process(), 1))
	e := Envelope{Sender: "two words@example.org", Arrival: time.Unix(1_700_000_001, 7), SMTPUTF8: true, EightBit: true,
		EnvID: "env", Ret: "HDRS", MessageID: "<1@example.org>", Bounce: true,
		Recipients: []Recipient{{"a@x.test", "A@x.test", "rfc822;A@x.test", NotifyFailure | NotifyDelay}, {Address: "b@x.test"}, {Address: "c@x.test"}}}
	m := mustPut(t, s, e, []byte("Subject: x\n\ntext\n"))
	next := time.Unix(1_700_000_300, 0)
	mustCommit(t, s, Change{Defer: []Postponement{{Message: m, Next: time.Unix(1, 0), Attempts: 1,
		Deferrals: []Deferral{{2, "4.4.1", "refused"}, {0, "4.2.2", "full"}, {1, "4.0.0", "x"}}}}})
	mustCommit(t, s, Change{
		Settle: []Settlement{{m, []Outcome{{Index: 1}}}},
		Defer: []Postponement{{Message: m, Next: next, Attempts: 2, Warned: true,
			Deferrals: []Deferral{{0, "4.2.2", "still full"}}}}})
	want := Pending{Done: []bool{false, true, false}, Attempts: 2, Next: next, Warned: true,
		Deferrals: []Deferral{{0, "4.2.2", "still full"}, {2, "4.4.1", "refused"}}}
	for round := range 3 {
		d.kill()
		s.Close()
		s = mustOpen(t, "/spool", simOptions(d.process(), round))
		p, ok := pendingOf(s)[m.ID]
		if !ok || len(pendingOf(s)) != 1 {
			t.Fatalf("round %d: Pending() = %+v", round, pendingOf(s))
		}
		if diff := cmp.Diff(e, p.Message.Envelope); diff != "" {
			t.Errorf("round %d: envelope (-want +got):\n%s", round, diff)
		}
		if got := string(textOf(t, p.Message)); got != "Subject: x\n\ntext\n" {
			t.Errorf("round %d: text %q", round, got)
		}
		p.Message = nil
		if diff := cmp.Diff(want, p); diff != "" {
			t.Errorf("round %d: state (-want +got):\n%s", round, diff)
		}
	}
	s.Close()
}

func TestIDsRise(t *testing.T) {
	d := newMailDisk()
	var last string
	clock := time.Unix(1_700_000_000, 0)
	for round := range 6 {
		o := simOptions(d.process(), round)
		o.Now = func() time.Time { return clock }
		clock = clock.Add(-time.Hour)
		s := mustOpen(t, "/spool", o)
		for range 50 {
			dr, err := s.Create(0)
			if err != nil {
				t.Fatal(err)
			}
			id := dr.ID()
			if len(id) < 12 || strings.Trim(id, "0123456789ABCDEF") != "" {
				t.Fatalf("id %q", id)
			}
			if len(id) < len(last) || len(id) == len(last) && id <= last {
				t.Fatalf("round %d: id %s after %s", round, id, last)
			}
			last = id
			dr.Abort()
		}
		switch round % 3 {
		case 0:
			d.kill()
		case 1:
			d.cut(rand.New(rand.NewPCG(0, uint64(round))))
		}
		s.Close()
	}
}

// TestDamage flips every byte that was ever written to the log. At most the
// message in the damaged record is lost, and never in silence.
func TestDamage(t *testing.T) {
	d := newMailDisk()
	s := mustOpen(t, "/spool", simOptions(d.process(), 1))
	var all []*Message
	for i := range 5 {
		all = append(all, mustPut(t, s, testEnvelope(i, "a@x.test", "b@x.test"), bytes.Repeat([]byte{byte('0' + i)}, 50)))
	}
	mustCommit(t, s, settleOf(all[3], 0, nil))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	name := "/spool/log/0000000000000001"
	used := int(s.j.active.end)
	if s.j.active.gen != 1 {
		t.Fatalf("the log is in segment %d", s.j.active.gen)
	}
	silent := 0
	for at := range used {
		d2 := newMailDisk()
		for n, f := range d.files {
			d2.files[n] = &simFile{data: slices.Clone(f.data), disk: slices.Clone(f.data)}
		}
		d2.dirs = d.dirs
		d2.files[name].data[at] ^= 0x55
		log := &warnings{}
		o := simOptions(d2.process(), 1)
		o.Log = log
		s, err := Open("/spool", o)
		if err != nil {
			t.Fatalf("byte %d: Open: %v", at, err)
		}
		found := pendingOf(s)
		for _, p := range found {
			textOf(t, p.Message)
		}
		names, _ := d2Names(d2, "/spool/quarantine")
		switch lost := len(all) - len(found); {
		case lost > 1 || lost < 0:
			t.Errorf("byte %d: %d messages of %d are left", at, len(found), len(all))
		case lost == 1 && (len(names) == 0 || !log.has("damaged")):
			t.Errorf("byte %d: a message is lost in silence", at)
		case len(names) == 0:
			silent++
		}
		s.Close()
	}
	// Only padding, and the very last mark that no later record vouches for.
	if silent > used/4 {
		t.Errorf("%d of %d damaged bytes were not noticed", silent, used)
	}
}

func d2Names(d *simDisk, dir string) ([]string, error) {
	return simView{d, d.epoch}.ReadDir(dir)
}

// rebootTest is a delivery, what happens to its file, and what the next boot
// makes of it. Boot 0 is a system that does not tell boots apart.
type rebootTest struct {
	name       string
	checkpoint bool
	boot       int
	after      func(v simView, a *Applied)
	pending    bool
}

func TestAppliedAfterReboot(t *testing.T) {
	tests := []rebootTest{
		{"whole in new", false, 2, func(simView, *Applied) {}, false},
		{"moved to cur", false, 2, func(v simView, a *Applied) {
			v.Rename(a.Path, strings.Replace(a.Path, "/new/", "/cur/", 1)+":2,S")
		}, false},
		{"moved to cur without flags", false, 2, func(v simView, a *Applied) {
			v.Rename(a.Path, strings.Replace(a.Path, "/new/", "/cur/", 1))
		}, false},
		{"another message whose name begins alike", false, 2, func(v simView, a *Applied) {
			v.Rename(a.Path, strings.Replace(a.Path, "/new/", "/cur/", 1)+"1:2,S")
		}, true},
		{"gone", false, 2, func(v simView, a *Applied) { v.Remove(a.Path) }, true},
		{"short", false, 2, func(v simView, a *Applied) { v.d.files[a.Path].data = []byte("Sub") }, true},
		{"other content", false, 2, func(v simView, a *Applied) { v.d.files[a.Path].data[0] = '!' }, true},
		{"Maildir not mounted", false, 2, func(v simView, a *Applied) {
			delete(v.d.files, a.Path)
			delete(v.d.dirs, simMail+"/cur")
		}, true},
		{"gone in the same boot", false, 1, func(v simView, a *Applied) { v.Remove(a.Path) }, false},
		{"gone after a checkpoint", true, 2, func(v simView, a *Applied) { v.Remove(a.Path) }, false},
		{"boot unknown", false, 0, func(v simView, a *Applied) { v.Remove(a.Path) }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, tt.run)
	}
}

func (tt rebootTest) run(t *testing.T) {
	d := newMailDisk()
	options := func(boot int) Options {
		o := simOptions(d.process(), boot)
		if tt.boot == 0 {
			o.BootID = func() string { return "" }
		}
		return o
	}
	s := mustOpen(t, "/spool", options(1))
	v := simView{d, d.epoch}
	m := mustPut(t, s, testEnvelope(1, "a@x.test", "b@x.test"), []byte("Subject: x\n"))
	a, err := deliver(v, m, 0)
	if err != nil {
		t.Fatal(err)
	}
	mustCommit(t, s, settleOf(m, 0, a))
	mustCommit(t, s, settleOf(m, 1, nil))
	if tt.checkpoint {
		if err := s.Checkpoint(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	tt.after(v, a)
	d.kill()
	s.Close()
	for round := range 2 { // the second: recovery has recorded what it found
		s = mustOpen(t, "/spool", options(tt.boot))
		p, got := pendingOf(s)[m.ID]
		if got != tt.pending {
			t.Fatalf("round %d: pending %t, want %t", round, got, tt.pending)
		}
		if want := []bool{false, true}; got && !slices.Equal(p.Done, want) {
			t.Errorf("Done = %v, want %v", p.Done, want)
		}
		d.kill()
		s.Close()
	}
}

func TestFormat(t *testing.T) {
	tests := []struct {
		name, format string
		want         error
	}{
		{"later version", "postern spool 2\nkey 00112233445566778899aabbccddeeff\n", ErrFormat},
		{"something else", "hello\n", ErrFormat},
		{"empty", "", ErrFormat},
		{"no key", "postern spool 1\n", ErrDamaged},
		{"short key", "postern spool 1\nkey 0011\n", ErrDamaged},
		{"bad key", "postern spool 1\nkey zz112233445566778899aabbccddeeff\n", ErrDamaged},
		{"long file", strings.Repeat("x", 5000), ErrDamaged},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newMailDisk()
			d.dirs["/spool"] = true
			d.files["/spool/format"] = &simFile{data: []byte(tt.format)}
			if _, err := Open("/spool", simOptions(d.process(), 1)); !errors.Is(err, tt.want) {
				t.Errorf("Open = %v, want %v", err, tt.want)
			}
		})
	}
	d := newMailDisk()
	s := mustOpen(t, "/spool", simOptions(d.process(), 1))
	s.Close()
	delete(d.files, "/spool/format")
	if _, err := Open("/spool", simOptions(d.process(), 1)); !errors.Is(err, ErrFormat) {
		t.Errorf("Open without the format file = %v, want ErrFormat", err)
	}
}

func TestMissingTextFile(t *testing.T) {
	d := newMailDisk()
	s := mustOpen(t, "/spool", simOptions(d.process(), 1))
	m := mustPut(t, s, testEnvelope(1, "a@x.test"), make([]byte, 20<<10))
	d.kill()
	s.Close()
	delete(d.files, "/spool/bodies/"+m.ID)
	log := &warnings{}
	o := simOptions(d.process(), 1)
	o.Log = log
	s = mustOpen(t, "/spool", o)
	defer s.Close()
	if n := len(pendingOf(s)); n != 0 || !log.has(m.ID) {
		t.Errorf("%d pending, warnings %q", n, log.list)
	}
}

func TestMissingSegment(t *testing.T) {
	d := newMailDisk()
	s := mustOpen(t, "/spool", simOptions(d.process(), 1))
	var ids []string
	for i := range 40 {
		ids = append(ids, mustPut(t, s, testEnvelope(i, "a@x.test"), make([]byte, 4000)).ID)
	}
	d.kill()
	s.Close()
	delete(d.files, "/spool/log/0000000000000002")
	log := &warnings{}
	o := simOptions(d.process(), 1)
	o.Log = log
	s = mustOpen(t, "/spool", o)
	defer s.Close()
	if n := len(pendingOf(s)); n == 0 || n >= len(ids) || !log.has("missing") {
		t.Errorf("%d of %d pending, warnings %q", n, len(ids), log.list)
	}
}

// TestUnreadableSectors lets the disk refuse a part of the log.
func TestUnreadableSectors(t *testing.T) {
	b := bytes.Repeat([]byte("x"), 3<<20)
	got, bad, err := readSegment(badFile{b, 1<<20 + 5000}, nil)
	if err != nil || bad != 4096 {
		t.Fatalf("readSegment: %d bad, %v", bad, err)
	}
	want := slices.Clone(b)
	clear(want[1<<20+4096 : 1<<20+8192])
	if !bytes.Equal(got, want) {
		t.Error("readSegment did not read what it could")
	}
}

// badFile fails every read that touches one byte.
type badFile struct {
	b   []byte
	bad int64
}

func (f badFile) Close() error                       { return nil }
func (f badFile) Size() (int64, error)               { return int64(len(f.b)), nil }
func (f badFile) Reserve(int64) error                { return nil }
func (f badFile) Datasync() error                    { return nil }
func (f badFile) WriteAt([]byte, int64) (int, error) { return 0, errCut }
func (f badFile) ReadAt(p []byte, off int64) (int, error) {
	if off <= f.bad && f.bad < off+int64(len(p)) {
		return 0, errCut
	}
	return copy(p, f.b[off:]), nil
}
