package helper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"postern/internal/deliver/command"
	"postern/internal/deliver/mailbox"
	"postern/internal/privsep"
	"postern/internal/route"
)

// somebody is who the tests deliver as: an ordinary user, or the one who runs
// them.
func somebody() (uid, gid int) {
	if os.Geteuid() == 0 {
		return 4711, 4712
	}
	return os.Geteuid(), os.Getegid()
}

// only is a system with one user.
func only(uid, gid int) Users {
	return func(int) []User { return []User{{Name: "somebody", UID: uid, GID: gid}} }
}

// home is a directory of somebody that everybody can reach.
func home(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "helper")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	uid, gid := somebody()
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chown(dir, uid, gid)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// connect runs a helper in this process, and returns its client.
func connect(t testing.TB, p *Policy) *Client {
	t.Helper()
	return connectWith(t, Options{As: privsep.New(), Policy: func() (*Policy, error) { return p, nil },
		Commands: command.Direct{As: privsep.New()}})
}

func connectWith(t testing.TB, o Options) *Client {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	h, err := New(pair[0], o)
	if err != nil {
		t.Fatal(err)
	}
	c := NewClient(pair[1])
	ctx, cancel := context.WithCancel(context.Background())
	var both sync.WaitGroup
	both.Go(func() {
		if err := h.Serve(ctx); err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
	both.Go(func() { _ = c.Serve(ctx) })
	t.Cleanup(func() {
		cancel()
		both.Wait()
	})
	return c
}

func options() StoreOptions {
	return StoreOptions{Hostname: "mx.example", Locks: mailbox.LockFcntl, Timing: mailbox.LockTiming{Attempts: 3, Delay: time.Millisecond}, Log: "virtual"}
}

func message(text string) *mailbox.Message {
	return &mailbox.Message{ID: "0123456789AB", Index: 3, Arrival: time.Unix(1716730000, 5), Sender: "sender@client.example",
		Header: []byte("Delivered-To: john@example.org\n"), Body: strings.NewReader(text)}
}

// box is a mailbox below base.
func box(base, name string, format route.Format) route.Mailbox {
	uid, gid := somebody()
	return route.Mailbox{Base: base, Path: filepath.Join(base, name), Format: format, UID: uid, GID: gid}
}

// read returns the one message of a Maildir.
func readNew(t *testing.T, dir string) string {
	t.Helper()
	names, err := filepath.Glob(dir + "/new/*")
	if err != nil || len(names) != 1 {
		t.Fatalf("%s/new has %q, %v; want one file", dir, names, err)
	}
	text, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestDeliver sends texts of every size class the long way, and compares with
// what a Store does without it.
func TestDeliver(t *testing.T) {
	base := home(t)
	c := connect(t, &Policy{Virtual: map[string]int{base: 1}, VirtualGIDs: Numbers{Any: true}})
	store := c.Store(options())
	for _, size := range []int{0, 1, 4 << 10, maxInline, maxInline + 1, 3*maxPiece + 17} {
		text := strings.Repeat("0123456789abcde\n", size/16+1)[:size]
		name := fmt.Sprintf("box%d", size)
		b := box(base, name, route.Maildir)
		got, err := store.Deliver(t.Context(), b, message(text))
		if err != nil {
			t.Fatalf("Deliver of %d octets = %v", size, err)
		}
		if want := "Delivered-To: john@example.org\n" + text; readNew(t, b.Path) != want {
			t.Errorf("%d octets did not arrive as they were sent", size)
		}
		direct := mailbox.New(mailbox.Options{As: privsep.New(), Hostname: "mx.example"})
		again, err := direct.Deliver(t.Context(), b, message(text))
		if err != nil || !again.Repeated {
			t.Errorf("the Store does not find the delivery of the helper: %+v, %v", again, err)
		}
		again.Repeated, again.Applied.Found = false, false
		if diff := cmp.Diff(again, got); diff != "" {
			t.Errorf("receipt differs (-direct +helper):\n%s", diff)
		}
	}
}

// TestDeliverAll stores one text in many mailboxes, more than fit in a request.
func TestDeliverAll(t *testing.T) {
	base := home(t)
	store := connect(t, &Policy{Virtual: map[string]int{base: 1}, VirtualGIDs: Numbers{Any: true}}).Store(options())
	const n = 1000
	list := make([]mailbox.Delivery, n)
	for i := range list {
		m := message("text\n")
		m.Index, m.Header = i, append(m.Header, "X-Long: "+strings.Repeat("x", 300)+"\n"...)
		list[i] = mailbox.Delivery{Box: box(base, fmt.Sprintf("box%d", i%50), route.Maildir), Message: m}
	}
	list[7].Box.UID = 0
	for i, got := range store.DeliverAll(t.Context(), list) {
		switch {
		case i == 7 && !errors.Is(got.Err, privsep.ErrRoot):
			t.Errorf("delivery as root = %v, want %v", got.Err, privsep.ErrRoot)
		case i != 7 && got.Err != nil:
			t.Errorf("delivery %d = %v", i, got.Err)
		}
	}
	names, err := filepath.Glob(base + "/box*/new/*")
	if err != nil || len(names) != n-1 {
		t.Errorf("%d files, want %d (%v)", len(names), n-1, err)
	}
}

// badText fails in the middle.
type badText struct{ size int64 }

func (b badText) Size() int64 { return b.size }
func (b badText) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.size/2 {
		return 0, errors.New("disk on fire")
	}
	return copy(p, bytes.Repeat([]byte("x"), len(p))), nil
}

// TestUnreadableText: a text that the spool cannot give is a temporary error, no
// half of it is delivered, and the connection is good for the next one.
func TestUnreadableText(t *testing.T) {
	base := home(t)
	store := connect(t, &Policy{Virtual: map[string]int{base: 1}, VirtualGIDs: Numbers{Any: true}}).Store(options())
	for _, size := range []int64{1000, 4 * maxPiece} {
		m := message("")
		m.Body = badText{size}
		_, err := store.Deliver(t.Context(), box(base, "box", route.Maildir), m)
		var known *mailbox.Error
		if !errors.As(err, &known) || known.DSN != "4.3.0" || !known.Temporary || !strings.Contains(known.Reason, "disk on fire") {
			t.Errorf("Deliver of %d octets = %#v, want 4.3.0 disk on fire", size, err)
		}
	}
	if _, err := store.Deliver(t.Context(), box(base, "box", route.Maildir), message("good\n")); err != nil {
		t.Error(err)
	}
	if got := readNew(t, base+"/box"); !strings.HasSuffix(got, "good\n") {
		t.Errorf("the mailbox has %q", got)
	}
}

// TestErrors: what agents ask of an error is the same on this side.
func TestErrors(t *testing.T) {
	tests := []struct {
		name string
		err  error
		is   []error
	}{
		{"number", &os.PathError{Op: "open", Path: "/x", Err: unix.ENOENT}, []error{unix.ENOENT, os.ErrNotExist}},
		{"permission", unix.EACCES, []error{unix.EACCES, os.ErrPermission}},
		{"address in use", fmt.Errorf("listen: %w", unix.EADDRINUSE), []error{unix.EADDRINUSE}},
		{"root", fmt.Errorf("uid 0: %w", privsep.ErrRoot), []error{privsep.ErrRoot}},
		{"not root", privsep.ErrNotRoot, []error{privsep.ErrNotRoot}},
		{"canceled", context.Canceled, []error{context.Canceled}},
		{"deadline", context.DeadlineExceeded, []error{context.DeadlineExceeded}},
		{"refused", fmt.Errorf("/etc/shadow: %w", ErrRefused), []error{ErrRefused}},
		{"plain", errors.New("a word"), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := fields{b: appendFailure(nil, tt.err)}
			got := f.failure()
			if f.end() != nil || got.Error() != tt.err.Error() {
				t.Errorf("text %q, want %q", got, tt.err)
			}
			for _, want := range tt.is {
				if !errors.Is(got, want) {
					t.Errorf("%v is not %v", got, want)
				}
			}
		})
	}
	want := &mailbox.Error{DSN: "5.2.2", Reason: "error writing message: File too large", Err: unix.EFBIG}
	f := fields{b: appendFailure(nil, want)}
	var got *mailbox.Error
	if !errors.As(f.failure(), &got) || *got != *want {
		t.Errorf("mailbox error %+v, want %+v", got, want)
	}
}

// TestMboxWaits: a delivery that waits for a lock ends with its context, and the
// helper stops waiting too.
func TestMboxWaits(t *testing.T) {
	base := home(t)
	o := options()
	o.Locks, o.Timing = mailbox.LockDot, mailbox.LockTiming{Attempts: 1000, Delay: time.Hour, Stale: time.Hour}
	if err := os.WriteFile(base+"/box.lock", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	store := connect(t, &Policy{Virtual: map[string]int{base: 1}, VirtualGIDs: Numbers{Any: true}}).Store(o)
	done := make(chan error)
	go func() {
		_, err := store.Deliver(ctx, box(base, "box", route.Mbox), message("text\n"))
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Deliver = %v, want %v", err, context.Canceled)
	}
}

// withoutHelper is a client whose helper has died.
func withoutHelper(t *testing.T) *Client {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := NewClient(pair[1])
	unix.Close(pair[0])
	if err := c.Serve(t.Context()); err != ErrGone {
		t.Errorf("Serve = %v, want %v", err, ErrGone)
	}
	return c
}

// TestGone: without the helper everything is deferred.
func TestGone(t *testing.T) {
	c := withoutHelper(t)
	_, err := c.Store(options()).Deliver(t.Context(), box("/", "box", route.Maildir), message("text\n"))
	var known *mailbox.Error
	if !errors.As(err, &known) || !known.Temporary || !errors.Is(err, ErrGone) {
		t.Errorf("Deliver = %v, want a temporary error that is %v", err, ErrGone)
	}
	if _, _, err := c.ReadFile(t.Context(), privsep.Identity{UID: 1, GID: 1}, "/etc/passwd", 1); !errors.Is(err, ErrGone) {
		t.Errorf("ReadFile = %v, want %v", err, ErrGone)
	}
	if err := c.Present(); !errors.Is(err, ErrGone) {
		t.Errorf("Present = %v, want %v", err, ErrGone)
	}
	if _, err := c.OpenFile("/etc/passwd"); !errors.Is(err, ErrGone) {
		t.Errorf("OpenFile = %v, want %v", err, ErrGone)
	}
}

// TestRun runs a command with an input and an output.
func TestRun(t *testing.T) {
	uid, gid := somebody()
	c := connect(t, &Policy{Trusted: map[int]bool{uid: true}, Users: only(uid, gid), WorkDirs: map[string]bool{"/": true},
		Environment: map[string]bool{"A=b": true, "PATH=/usr/bin:/bin": true}})
	spec := command.Spec{As: privsep.Identity{UID: uid, GID: gid}, Argv: []string{"/bin/sh", "-c", "cat; id -u; echo $A; exit 7"},
		Env: []string{"A=b", "PATH=/usr/bin:/bin"}, Dir: "/", Limit: time.Minute, Output: 1000}
	got, err := c.Run(t.Context(), spec, input(t, "hello\n"))
	want := command.Result{Status: 7, Output: fmt.Appendf(nil, "hello\n%d\nb\n", uid)}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("Run: %v, (-want +got):\n%s", err, diff)
	}
	spec.Argv = []string{"/nonexistent"}
	if _, err := c.Run(t.Context(), spec, input(t, "")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Run of what is not there = %v", err)
	}
}

func input(t *testing.T, text string) *os.File {
	t.Helper()
	name := filepath.Join(t.TempDir(), "input")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestRunCanceled: the end of the context kills the command.
func TestRunCanceled(t *testing.T) {
	uid, gid := somebody()
	c := connect(t, &Policy{Trusted: map[int]bool{uid: true}, Users: only(uid, gid), WorkDirs: map[string]bool{"/": true}})
	pipe, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	spec := command.Spec{As: privsep.Identity{UID: uid, GID: gid}, Argv: []string{"/bin/cat"}, Env: []string{}, Dir: "/", Limit: time.Hour, Output: 1}
	go func() {
		_, err := c.Run(ctx, spec, pipe)
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want %v", err, context.Canceled)
	}
	w.Close()
}

// TestReadFile: a list may be longer than a frame.
func TestReadFile(t *testing.T) {
	dir := home(t)
	uid, gid := somebody()
	c := connect(t, &Policy{Trusted: map[int]bool{uid: true}, Users: only(uid, gid)})
	for _, size := range []int{0, 1, maxPiece, maxPiece + 1, maxListSize, maxListSize + 1} {
		text := bytes.Repeat([]byte("0123456789abcde\n"), size/16+1)[:size]
		write(t, dir+"/list", string(text), uid, gid)
		got, info, err := c.ReadFile(t.Context(), privsep.Identity{UID: uid, GID: gid}, dir+"/list", 1<<30)
		if err != nil || !bytes.Equal(got, text[:min(size, maxListSize)]) || info.Size != int64(size) {
			t.Errorf("%d octets: %d came, %+v, %v", size, len(got), info, err)
		}
	}
	if got, _, err := c.ReadFile(t.Context(), privsep.Identity{UID: uid, GID: gid}, dir+"/list", 5); err != nil || string(got) != "01234" {
		t.Errorf("with a limit: %q, %v", got, err)
	}
	if _, _, err := c.ReadFile(t.Context(), privsep.Identity{UID: uid, GID: gid}, dir+"/none", 5); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
}
