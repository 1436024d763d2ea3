package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func testEnvelope(n int, rcpts ...string) Envelope {
	e := Envelope{Sender: fmt.Sprintf("sender%d@example.test", n), Arrival: time.Unix(1_700_000_000, 5)}
	for _, r := range rcpts {
		e.Recipients = append(e.Recipients, Recipient{Address: r, Original: r})
	}
	return e
}

func mustOpen(t testing.TB, dir string, o Options) *Spool {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatalf("Open(%s): %v", dir, err)
	}
	return s
}

func mustClose(t testing.TB, s *Spool) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func put(s *Spool, e Envelope, text []byte) (*Message, error) {
	d, err := s.Create(int64(len(text)))
	if err != nil {
		return nil, err
	}
	defer d.Abort()
	if _, err := d.Write(text); err != nil {
		return nil, err
	}
	m, err := s.Commit(context.Background(), Change{New: []New{{Draft: d, Envelope: e}}})
	if err != nil {
		return nil, err
	}
	return m[0], nil
}

func mustPut(t testing.TB, s *Spool, e Envelope, text []byte) *Message {
	t.Helper()
	m, err := put(s, e, text)
	if err != nil {
		t.Fatalf("put: %v", err)
	}
	return m
}

func textOf(t testing.TB, m *Message) []byte {
	t.Helper()
	b, err := m.Open()
	if err != nil {
		t.Fatalf("Open(%s): %v", m.ID, err)
	}
	defer b.Close()
	var buf bytes.Buffer
	if _, err := b.WriteTo(&buf); err != nil {
		t.Fatalf("WriteTo(%s): %v", m.ID, err)
	}
	if int64(buf.Len()) != b.Size() {
		t.Fatalf("%s: text of %d bytes, Size() = %d", m.ID, buf.Len(), b.Size())
	}
	return buf.Bytes()
}

// TestRealFiles goes once around on the real file system: small, large, big
// change, lock, reopening.
func TestRealFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	o := Options{SegmentSize: 1 << 20, InlineLimit: 64 << 10, Log: &warnings{}}
	s := mustOpen(t, dir, o)
	held := new(LockedError)
	if _, err := Open(dir, o); !errors.Is(err, ErrLocked) || !errors.As(err, &held) || held.Holder != strconv.Itoa(os.Getpid())+" server" {
		t.Errorf("second Open = %v, want ErrLocked with our process id", err)
	}
	texts := [][]byte{{}, []byte("x\n"), bytes.Repeat([]byte("0123456789abcde\n"), 1<<12), bytes.Repeat([]byte("0123456789abcde\n"), 50_000)}
	var all []*Message
	for i, text := range texts {
		all = append(all, mustPut(t, s, testEnvelope(i, "a@x.test"), text))
	}
	if err := s.Cover(dir); err != nil {
		t.Errorf("Cover: %v", err)
	}
	file := filepath.Join(dir, "delivered")
	if err := os.WriteFile(file, texts[1], 0o600); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(file, &st); err != nil {
		t.Fatal(err)
	}
	mustCommit(t, s, settleOf(all[1], 0, &Applied{file, uint64(st.Dev), 2, checksum(texts[1]), false}))
	if got := s.Stats(); got.Messages != 3 || got.Unstruck != 1 {
		t.Errorf("before the checkpoint: %+v", got)
	}
	if err := s.Checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := s.Stats(); got.Messages != 3 || got.Unstruck != 0 {
		t.Errorf("after the checkpoint: %+v", got)
	}
	for range 2 {
		mustClose(t, s)
		s = mustOpen(t, dir, o)
		found := pendingOf(s)
		for i, m := range all {
			p, ok := found[m.ID]
			if ok != (i != 1) {
				t.Errorf("message %d: pending %t", i, ok)
			} else if ok && !bytes.Equal(textOf(t, p.Message), texts[i]) {
				t.Errorf("message %d: text differs", i)
			}
		}
	}
	mustClose(t, s)
	if err := s.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("second Close = %v", err)
	}
}

func TestGroupCommit(t *testing.T) {
	d := newMailDisk()
	s := mustOpen(t, "/spool", simOptions(d.process(), 1))
	defer s.Close()
	const n = 100
	drafts := make([]*Draft, n)
	for i := range drafts {
		var err error
		if drafts[i], err = s.Create(0); err != nil {
			t.Fatal(err)
		}
		drafts[i].Write([]byte("x\n"))
	}
	before := s.Stats()
	d.mu.Lock()
	d.counts = map[string]int{}
	d.fault = func(op, name string) error { // the first sync lasts until all have placed theirs
		for op == "sync" {
			s.j.mu.Lock()
			placed := s.j.records - before.Records
			s.j.mu.Unlock()
			if placed >= n {
				break
			}
			runtime.Gosched()
		}
		return nil
	}
	d.mu.Unlock()
	var all sync.WaitGroup
	for _, dr := range drafts {
		all.Go(func() {
			if _, err := s.Commit(context.Background(), Change{New: []New{{Draft: dr, Envelope: testEnvelope(0, "a@x.test")}}}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if syncs := s.Stats().Syncs - before.Syncs; syncs < 1 || syncs > 3 {
		t.Errorf("%d messages took %d syncs", n, syncs)
	}
}

// TestEvacuation: a message that nobody takes does not hold the log.
func TestEvacuation(t *testing.T) {
	d := newMailDisk()
	s := mustOpen(t, "/spool", simOptions(d.process(), 1))
	small := mustPut(t, s, testEnvelope(1, "a@x.test", "b@x.test"), []byte("stays\n"))
	large := mustPut(t, s, testEnvelope(2, "a@x.test"), bytes.Repeat([]byte("stays\n"), 3000))
	p := Postponement{Message: small, Attempts: 3, Next: time.Unix(1_800_000_000, 0), Deferrals: []Deferral{{1, "4.4.1", "later"}}}
	mustCommit(t, s, Change{Settle: []Settlement{{small, []Outcome{{Index: 0}}}}, Defer: []Postponement{p}})
	for i := range 500 {
		m := mustPut(t, s, testEnvelope(i, "a@x.test"), make([]byte, 4000))
		mustCommit(t, s, settleOf(m, 0, nil))
		if i%20 == 0 {
			if err := s.Checkpoint(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	st := s.Stats()
	if st.Moved == 0 || st.Segments > 4 {
		t.Errorf("the log is not evacuated: %+v", st)
	}
	if files, _ := d2Names(d, "/spool/log"); len(files) > 16 {
		t.Errorf("%d files in the log", len(files))
	}
	check := func(s *Spool) {
		t.Helper()
		found := pendingOf(s)
		if len(found) != 2 {
			t.Fatalf("%d pending", len(found))
		}
		got := found[small.ID]
		if !slices.Equal(got.Done, []bool{true, false}) || got.Attempts != 3 || !got.Next.Equal(p.Next) || !slices.Equal(got.Deferrals, p.Deferrals) {
			t.Errorf("state after the move: %+v", got)
		}
		if string(textOf(t, got.Message)) != "stays\n" || len(textOf(t, found[large.ID].Message)) != 18000 {
			t.Error("text after the move differs")
		}
	}
	check(s)
	d.kill()
	s.Close()
	s = mustOpen(t, "/spool", simOptions(d.process(), 2))
	check(s)
	mustClose(t, s)
}

func TestMailboxSyncEach(t *testing.T) {
	d := newMailDisk()
	o := simOptions(d.process(), 1)
	o.MailboxSync = "each"
	s := mustOpen(t, "/spool", o)
	defer mustClose(t, s)
	m := mustPut(t, s, testEnvelope(1, "a@x.test"), []byte("x\n"))
	mustCommit(t, s, settleOf(m, 0, &Applied{Path: "/mail/x", Dev: 1}))
	if got := s.Stats(); got.Messages != 0 || got.Unstruck != 0 {
		t.Errorf("Stats() = %+v", got)
	}
	if _, err := m.Open(); err != nil && !errors.Is(err, ErrGone) {
		t.Errorf("Open of a finished message = %v", err)
	}
}

func TestCommitRefuses(t *testing.T) {
	d := newMailDisk()
	s := mustOpen(t, "/spool", simOptions(d.process(), 1))
	m := mustPut(t, s, testEnvelope(1, "a@x.test"), []byte("x\n"))
	dr, err := s.Create(0)
	if err != nil {
		t.Fatal(err)
	}
	huge := testEnvelope(1)
	for range 3000 {
		huge.Recipients = append(huge.Recipients, Recipient{Address: "somebody@example.test"})
	}
	ok := testEnvelope(1, "a@x.test")
	tests := []struct {
		name string
		c    Change
	}{
		{"recipient index", settleOf(m, 1, nil)},
		{"negative index", settleOf(m, -1, nil)},
		{"no message", settleOf(nil, 0, nil)},
		{"detached message", settleOf(Detached("X", ok, nil), 0, nil)},
		{"deferral index", Change{Defer: []Postponement{{Message: m, Deferrals: []Deferral{{Index: 7}}}}}},
		{"deferral of no message", Change{Defer: []Postponement{{}}}},
		{"no draft", Change{New: []New{{Draft: nil, Envelope: ok}}}},
		{"draft twice", Change{New: []New{{Draft: dr, Envelope: ok}, {Draft: dr, Envelope: ok}}}},
		{"draft of another", Change{New: []New{{Draft: &Draft{}, Envelope: ok}}}},
		{"no recipients", Change{New: []New{{Draft: dr, Envelope: testEnvelope(1)}}}},
		{"too large", Change{New: []New{{Draft: dr, Envelope: huge}}}},
	}
	for _, tt := range tests {
		if _, err := s.Commit(context.Background(), tt.c); err == nil {
			t.Errorf("%s: Commit succeeded", tt.name)
		}
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Commit(gone, Change{New: []New{{Draft: dr, Envelope: ok}}}); !errors.Is(err, context.Canceled) {
		t.Errorf("Commit after the end of ctx = %v", err)
	}
	dr.Abort()
	if _, err := s.Commit(context.Background(), Change{New: []New{{Draft: dr, Envelope: ok}}}); !errors.Is(err, ErrClosed) {
		t.Errorf("Commit of an aborted draft = %v", err)
	}
	if _, err := dr.Write([]byte("x")); !errors.Is(err, ErrClosed) {
		t.Errorf("Write after Abort = %v", err)
	}
	mustClose(t, s)
	if _, err := s.Create(0); !errors.Is(err, ErrClosed) {
		t.Errorf("Create after Close = %v", err)
	}
	if _, err := s.Commit(context.Background(), settleOf(m, 0, nil)); !errors.Is(err, ErrClosed) {
		t.Errorf("Commit after Close = %v", err)
	}
}

// TestManyTexts: a change whose texts do not fit a record together.
func TestManyTexts(t *testing.T) {
	d := newMailDisk()
	s := mustOpen(t, "/spool", simOptions(d.process(), 1))
	var c Change
	for i := range 12 {
		dr, err := s.Create(0)
		if err != nil {
			t.Fatal(err)
		}
		dr.Write(bytes.Repeat([]byte{byte('a' + i)}, 7000))
		c.New = append(c.New, New{Draft: dr, Envelope: testEnvelope(i, "a@x.test")})
	}
	list, err := s.Commit(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range list {
		if got := textOf(t, m); len(got) != 7000 || got[0] != byte('a'+i) {
			t.Errorf("text %d: %d bytes of %q", i, len(got), got[:1])
		}
		mustCommit(t, s, settleOf(m, 0, nil))
	}
	mustClose(t, s)
	if names, _ := d2Names(d, "/spool/bodies"); len(names) > 0 {
		t.Errorf("left in bodies: %q", names)
	}
}

func TestVolumes(t *testing.T) {
	tests := []struct {
		magic  int64
		name   string
		mode   Mode
		remote bool
	}{
		{unix.EXT4_SUPER_MAGIC, "ext4", Shared, false},
		{unix.XFS_SUPER_MAGIC, "xfs", Shared, false},
		{unix.BTRFS_SUPER_MAGIC, "btrfs", Shared, false},
		{zfsMagic, "zfs", Shared, false},
		{unix.TMPFS_MAGIC, "tmpfs", Shared, false},
		{unix.NFS_SUPER_MAGIC, "nfs", Each, true},
		{unix.FUSE_SUPER_MAGIC, "fuse", Each, true},
		{unix.CIFS_SUPER_MAGIC, "cifs", Each, true},
		{unix.OVERLAYFS_SUPER_MAGIC, "0x794c7630", Each, false},
	}
	for _, tt := range tests {
		v := volumeOf(tt.magic)
		if tt.mode == Shared && !syncfsReports() {
			tt.mode = Each
		}
		if v.Type != tt.name || v.Mode != tt.mode || v.Remote != tt.remote {
			t.Errorf("volumeOf(%#x) = %+v", tt.magic, v)
		}
	}
	if got := SyncMode("/does/not/exist"); got != Each {
		t.Errorf("SyncMode of nothing = %v", got)
	}
	d := newMailDisk()
	d.volume = Volume{Type: "nfs", Remote: true}
	if _, err := Open("/spool", simOptions(d.process(), 1)); err == nil || !strings.Contains(err.Error(), "nfs") {
		t.Errorf("Open on nfs = %v", err)
	}
}
