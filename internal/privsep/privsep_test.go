package privsep

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// needRoot skips what only root can show; where everything has to run, it fails.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("needs root")
	}
	t.Skip("needs root")
}

func TestRefused(t *testing.T) {
	plain := self{uid: 1000, gid: 1000, groups: []int{1000, 50}}
	tests := []struct {
		name string
		run  Runner
		id   Identity
		want error
	}{
		{"root user", plain, Identity{UID: 0, GID: 1000}, ErrRoot},
		{"root group", plain, Identity{UID: 1000, GID: 0}, ErrRoot},
		{"unchanged user", plain, Identity{UID: -1, GID: 1000}, ErrRoot},
		{"unchanged group", plain, Identity{UID: 1000, GID: -1}, ErrRoot},
		{"root as supplementary group", plain, Identity{UID: 1000, GID: 1000, Groups: []int{1000, 0}}, ErrRoot},
		{"other user", plain, Identity{UID: 1001, GID: 1000}, ErrNotRoot},
		{"other group", plain, Identity{UID: 1000, GID: 1001}, ErrNotRoot},
		{"root user, switching", newSwitcher(), Identity{UID: 0, GID: 1000}, ErrRoot},
		{"root group, switching", newSwitcher(), Identity{UID: 1000, GID: 0}, ErrRoot},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.run.Do(tt.id, func() error {
				t.Errorf("Do(%s) called the function", tt.id)
				return nil
			})
			if !errors.Is(err, tt.want) {
				t.Errorf("Do(%s) = %v, want %v", tt.id, err, tt.want)
			}
		})
	}
}

func TestSelf(t *testing.T) {
	run := self{uid: 1000, gid: 1000, groups: []int{50}}
	for _, id := range []Identity{{UID: 1000, GID: 1000}, {UID: 1000, GID: 50}, {UID: 1000, GID: 1000, Groups: []int{8}}} {
		want := errors.New("from the function")
		if err := run.Do(id, func() error { return want }); err != want {
			t.Errorf("Do(%s) = %v, want %v", id, err, want)
		}
	}
}

// TestOwn holds for any user: an unprivileged process gets its own identity, and
// only that.
func TestOwn(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("is about processes without privileges")
	}
	run := New()
	called := false
	id := Identity{UID: os.Geteuid(), GID: os.Getegid()}
	if err := run.Do(id, func() error { called = true; return nil }); err != nil || !called {
		t.Errorf("Do(%s) = %v, called %v", id, err, called)
	}
	if err := run.Do(Identity{UID: id.UID + 1, GID: id.GID}, func() error { return nil }); !errors.Is(err, ErrNotRoot) {
		t.Errorf("Do as another user = %v, want %v", err, ErrNotRoot)
	}
}

// TestSwitcherWithoutRoot shows the error of the kernel.
func TestSwitcherWithoutRoot(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("is about processes without privileges")
	}
	err := newSwitcher().Do(Identity{UID: 4711, GID: 4711}, func() error {
		t.Error("called without the identity")
		return nil
	})
	if !errors.Is(err, unix.EPERM) {
		t.Errorf("Do = %v, want EPERM", err)
	}
}

type ids struct{ ruid, euid, suid, rgid, egid, sgid int }

func current() ids {
	var i ids
	i.ruid, i.euid, i.suid = unix.Getresuid()
	i.rgid, i.egid, i.sgid = unix.Getresgid()
	return i
}

func TestBecome(t *testing.T) {
	needRoot(t)
	runtime.LockOSThread() // so that before and after look at one thread
	defer runtime.UnlockOSThread()
	before, groupsBefore := current(), groups(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := New().Do(Identity{UID: 4711, GID: 4712, Groups: []int{4712, 4713}}, func() error {
		want := ids{ruid: before.ruid, euid: 4711, suid: before.suid, rgid: before.rgid, egid: 4712, sgid: before.sgid}
		if got := current(); got != want {
			t.Errorf("ids inside are %+v, want %+v", got, want)
		}
		if got := groups(t); len(got) != 2 || got[0] != 4712 || got[1] != 4713 {
			t.Errorf("groups inside are %v, want [4712 4713]", got)
		}
		if _, err := os.ReadFile(secret); !errors.Is(err, os.ErrPermission) {
			t.Errorf("reading a file of root gives %v, want permission denied", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := current(); got != before {
		t.Errorf("ids after are %+v, want %+v", got, before)
	}
	if got := groups(t); len(got) != len(groupsBefore) {
		t.Errorf("groups after are %v, want %v", got, groupsBefore)
	}
	if _, err := os.ReadFile(secret); err != nil {
		t.Errorf("capabilities did not come back: %v", err)
	}
}

func groups(t *testing.T) []int {
	t.Helper()
	list, err := unix.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestOnlyOwnGroupByDefault(t *testing.T) {
	needRoot(t)
	err := New().Do(Identity{UID: 4711, GID: 4712}, func() error {
		if got := groups(t); len(got) != 1 || got[0] != 4712 {
			t.Errorf("groups are %v, want [4712]", got)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestPanicRestores(t *testing.T) {
	needRoot(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := current()
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic did not pass through")
			}
		}()
		_ = New().Do(Identity{UID: 4711, GID: 4711}, func() error { panic("in the function") })
	}()
	if got := current(); got != before {
		t.Errorf("ids after a panic are %+v, want %+v", got, before)
	}
}

// TestConcurrent makes files as many users at once; each has to own its own, and
// what runs beside stays root.
func TestConcurrent(t *testing.T) {
	needRoot(t)
	dir, err := os.MkdirTemp("", "privsep")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	run := New()
	var wg sync.WaitGroup
	for n := range 32 {
		uid := 4700 + n
		wg.Go(func() {
			for range 50 {
				name := filepath.Join(dir, string(rune('A'+n)))
				err := run.Do(Identity{UID: uid, GID: uid}, func() error {
					if err := os.WriteFile(name, nil, 0o600); err != nil {
						return err
					}
					runtime.Gosched()
					return checkOwner(name, uid)
				})
				if err == nil {
					err = os.Remove(name)
				}
				if err != nil {
					t.Error(err)
				}
				if euid := unix.Geteuid(); euid != 0 {
					t.Errorf("euid outside is %d", euid)
				}
			}
		})
	}
	wg.Wait()
}

func checkOwner(name string, uid int) error {
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil {
		return err
	}
	if int(st.Uid) != uid || int(st.Gid) != uid {
		return errors.New(name + " belongs to somebody else")
	}
	return nil
}

func BenchmarkDo(b *testing.B) {
	needRoot(b)
	run := New()
	id := Identity{UID: 4711, GID: 4711}
	b.ReportAllocs()
	for b.Loop() {
		if err := run.Do(id, func() error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHandOver is what a pool of threads that keep their identity would
// pay: the way to another thread and back.
func BenchmarkHandOver(b *testing.B) {
	work, done := make(chan func()), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
			done <- struct{}{}
		}
	}()
	for b.Loop() {
		work <- func() {}
		<-done
	}
	close(work)
}
