package mailbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"postern/internal/route"
)

// TestTwoStores: stores that know nothing of each other exclude each other by
// the locks alone.
func TestTwoStores(t *testing.T) {
	for _, locks := range []Locks{LockFcntl, LockFlock, LockDot, LockFcntl | LockDot, LockFcntl | LockFlock | LockDot} {
		base := newBase(t)
		box := newBox(base, "john", route.Mbox)
		var wg sync.WaitGroup
		for range 4 {
			store := newStore(t, func(o *Options) {
				o.Locks, o.Timing.Attempts = locks, 1<<30
				o.Sleep = func(ctx context.Context, d time.Duration) error { return sleep(ctx, time.Microsecond) }
			})
			wg.Go(func() {
				for range 5 {
					if _, err := store.Deliver(t.Context(), box, newMessage()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if got := tree(t, base)["john"]; got != strings.Repeat(inMbox, 20) {
			t.Errorf("locks %b: mbox of %d octets is not 20 times the message", locks, len(got))
		}
	}
}

// holder holds a lock on the mailbox as another program would.
func holder(t *testing.T, path string, way Locks) (release func()) {
	t.Helper()
	if way == LockDot {
		put(t, path+".lock", "")
		return func() { remove(t, path+".lock") }
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if way == LockFlock {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
	} else {
		err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() { f.Close() }
}

func TestLockHeld(t *testing.T) {
	for _, tt := range []struct {
		way    Locks
		reason string
	}{
		{LockFcntl, "unable to lock for exclusive access: Resource temporarily unavailable"},
		{LockFlock, "unable to lock for exclusive access: Resource temporarily unavailable"},
		{LockDot, "unable to create lock file BASE/john.lock: File exists"},
	} {
		base := newBase(t)
		box := newBox(base, "john", route.Mbox)
		put(t, box.Path, "")
		release := holder(t, box.Path, tt.way)
		waits := 0
		store := newStore(t, func(o *Options) {
			o.Locks, o.Timing = tt.way, LockTiming{Attempts: 5, Delay: 3 * time.Second}
			o.Now = time.Now // the lock file is young
			o.Sleep = func(_ context.Context, d time.Duration) error {
				if waits++; d != 3*time.Second {
					t.Errorf("waits %v", d)
				}
				return nil
			}
		})
		_, err := store.Deliver(t.Context(), box, newMessage())
		wantError(t, err, "4.2.0", true, expand(tt.reason, base))
		if waits != 4 {
			t.Errorf("waited %d times, want 4", waits)
		}
		release()
		if _, err := store.Deliver(t.Context(), box, newMessage()); err != nil {
			t.Errorf("after the lock is given back: %v", err)
		}
	}
}

// TestLockInterrupted: the end of ctx ends the wait.
func TestLockInterrupted(t *testing.T) {
	base := newBase(t)
	box := newBox(base, "john", route.Mbox)
	put(t, box.Path, "")
	defer holder(t, box.Path, LockFcntl)()
	store := newStore(t, func(o *Options) {
		o.Sleep = func(context.Context, time.Duration) error { return context.Canceled }
	})
	if _, err := store.Deliver(t.Context(), box, newMessage()); !errors.Is(err, context.Canceled) {
		t.Errorf("Deliver = %v, want %v", err, context.Canceled)
	}
	if files := tree(t, base); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
}

// TestTurnInterrupted: a wait for another delivery of our own ends too.
func TestTurnInterrupted(t *testing.T) {
	base := newBase(t)
	box := newBox(base, "john", route.Mbox)
	store := newStore(t, nil)
	done, err := store.boxes.take(t.Context(), box.Path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() {
		_, err := store.boxes.take(ctx, box.Path)
		result <- err
	}()
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("take = %v, want %v", err, context.Canceled)
	}
	done()
	if len(store.boxes.box) != 0 {
		t.Errorf("%d turns are left", len(store.boxes.box))
	}
}

func TestStaleLock(t *testing.T) {
	now := time.Now()
	for age, stale := range map[time.Duration]bool{499 * time.Second: false, 502 * time.Second: true} {
		base := newBase(t)
		box := newBox(base, "john", route.Mbox)
		put(t, box.Path+".lock", "")
		if err := os.Chtimes(box.Path+".lock", now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
		store := newStore(t, func(o *Options) {
			o.Now = func() time.Time { return now }
			o.Timing.Attempts = 1
		})
		_, err := store.Deliver(t.Context(), box, newMessage())
		if (err == nil) != stale {
			t.Errorf("lock file of %v: Deliver = %v", age, err)
		}
	}
}

// TestReplacedWhileWaiting: a mail reader that has the lock moves the mailbox
// away; the message has to get into the new one.
func TestReplacedWhileWaiting(t *testing.T) {
	base := newBase(t)
	box := newBox(base, "john", route.Mbox)
	put(t, box.Path, "old\n\n")
	release := holder(t, box.Path, LockFcntl)
	store := newStore(t, func(o *Options) {
		o.Sleep = func(context.Context, time.Duration) error {
			if err := os.Rename(box.Path, box.Path+".moved"); err != nil {
				t.Error(err)
			}
			release()
			return nil
		}
	})
	if _, err := store.Deliver(t.Context(), box, newMessage()); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"john": inMbox, "john.moved": "old\n\n"}
	if diff := cmp.Diff(want, tree(t, base)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestParseLocks(t *testing.T) {
	tests := []struct {
		text string
		want Locks
		err  string
	}{
		{"fcntl, dotlock", LockFcntl | LockDot, ""},
		{"flock", LockFlock, ""},
		{" dotlock\tfcntl,flock ", LockDot | LockFcntl | LockFlock, ""},
		{"fcntl, magic", 0, `unknown mailbox lock "magic": want fcntl, flock or dotlock`},
		{" , ", 0, "no mailbox lock is named: want fcntl, flock or dotlock"},
	}
	for _, tt := range tests {
		got, err := ParseLocks(tt.text)
		if got != tt.want || fmt.Sprint(err) != tt.err && !(err == nil && tt.err == "") {
			t.Errorf("ParseLocks(%q) = %b, %v, want %b, %s", tt.text, got, err, tt.want, tt.err)
		}
	}
}
