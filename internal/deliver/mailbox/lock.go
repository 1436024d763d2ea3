package mailbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Locks is a set of ways to lock an mbox.
type Locks uint8

// Ways to lock.
const (
	LockFcntl Locks = 1 << iota // fcntl(2), a lock of the open file that other processes' record locks respect
	LockFlock                   // flock(2)
	LockDot                     // a file FILE.lock beside it
)

// ParseLocks reads a list like that of virtual_mailbox_lock: "fcntl, dotlock".
// An empty list and unknown words are errors.
func ParseLocks(text string) (Locks, error) {
	names := map[string]Locks{"fcntl": LockFcntl, "flock": LockFlock, "dotlock": LockDot}
	var set Locks
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
		way, ok := names[word]
		if !ok {
			return 0, fmt.Errorf("unknown mailbox lock %q: want fcntl, flock or dotlock", word)
		}
		set |= way
	}
	if set == 0 {
		return 0, errors.New("no mailbox lock is named: want fcntl, flock or dotlock")
	}
	return set, nil
}

// LockTiming says how long to try. The zero value means the defaults.
type LockTiming struct {
	Attempts int           // deliver_lock_attempts, 20
	Delay    time.Duration // deliver_lock_delay, 1 s
	Stale    time.Duration // stale_lock_time, 500 s: an older FILE.lock is removed
}

func (t LockTiming) withDefaults() LockTiming {
	if t.Attempts <= 0 {
		t.Attempts = 20
	}
	if t.Delay <= 0 {
		t.Delay = time.Second
	}
	if t.Stale <= 0 {
		t.Stale = 500 * time.Second
	}
	return t
}

// turns lets the deliveries of this process into an mbox one after the other,
// so that they do not wait for each other's locks by the second.
type turns struct {
	mu  sync.Mutex
	box map[string]*turn
}

type turn struct {
	users int           // who hold it or wait for it
	free  chan struct{} // holds a token when nobody is in
}

// take waits for the turn at path, or for the end of ctx.
func (t *turns) take(ctx context.Context, path string) (done func(), err error) {
	t.mu.Lock()
	if t.box == nil {
		t.box = make(map[string]*turn)
	}
	one := t.box[path]
	if one == nil {
		one = &turn{free: make(chan struct{}, 1)}
		one.free <- struct{}{}
		t.box[path] = one
	}
	one.users++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if one.users--; one.users == 0 {
			delete(t.box, path)
		}
	}
	select {
	case <-one.free:
		return func() { one.free <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}

// lock takes the configured locks of an open mbox. unlock gives back what was
// taken, whether lock failed or not; the locks of the kernel go with the file.
func (f *mboxFile) lock(ctx context.Context) error {
	if f.store.o.Locks&LockDot != 0 {
		if err := f.lockDot(ctx); err != nil {
			return err
		}
	}
	for _, kernel := range [...]struct {
		way Locks
		try func() error
	}{
		{LockFcntl, f.tryFcntl},
		{LockFlock, func() error { return unix.Flock(f.fd, unix.LOCK_EX|unix.LOCK_NB) }},
	} {
		if f.store.o.Locks&kernel.way == 0 {
			continue
		}
		if err := f.attempt(ctx, "unable to lock for exclusive access", kernel.try); err != nil {
			return err
		}
	}
	return nil
}

// tryFcntl uses a lock of the open file: a plain record lock belongs to the
// process, and would vanish whenever another part of it closes the file.
func (f *mboxFile) tryFcntl() error {
	whole := unix.Flock_t{Type: unix.F_WRLCK, Whence: unix.SEEK_SET}
	err := unix.FcntlFlock(uintptr(f.fd), unix.F_OFD_SETLK, &whole)
	if err == unix.EACCES { // fcntl(2) allows both for a lock that is held
		return unix.EAGAIN
	}
	return err
}

func (f *mboxFile) lockDot(ctx context.Context) error {
	name := f.leaf + ".lock"
	err := f.attempt(ctx, "unable to create lock file "+f.box.Path+".lock", func() error {
		const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
		fd, err := openat(f.dir, name, flags, 0o600)
		if err == unix.EEXIST && f.removeStale(name) {
			fd, err = openat(f.dir, name, flags, 0o600)
		}
		if err != nil {
			return err
		}
		return unix.Close(fd)
	})
	f.dotted = err == nil
	if f.box.File && (errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EROFS)) {
		return nil // a file in a directory of somebody else; the kernel's locks have to do
	}
	return err
}

func (f *mboxFile) removeStale(name string) bool {
	var st unix.Stat_t
	if unix.Fstatat(f.dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return false
	}
	age := f.store.o.Now().Sub(time.Unix(st.Mtim.Unix()))
	return age > f.store.o.Timing.Stale && unix.Unlinkat(f.dir, name, 0) == nil
}

// attempt tries until it works, fails for another reason than that somebody
// else has the lock, or the attempts are used up.
func (f *mboxFile) attempt(ctx context.Context, doing string, try func() error) error {
	timing := f.store.o.Timing
	for n := 1; ; n++ {
		err := again(try)
		if err == nil {
			return nil
		}
		busy := err == unix.EAGAIN || err == unix.EEXIST
		if !busy || n >= timing.Attempts {
			return failure(doing, err)
		}
		if err := f.store.o.Sleep(ctx, timing.Delay); err != nil {
			return err
		}
	}
}

func (f *mboxFile) unlock() {
	if !f.dotted {
		return
	}
	f.dotted = false
	if err := unix.Unlinkat(f.dir, f.leaf+".lock", 0); err != nil {
		f.store.o.Log.Warningf("remove %s.lock: %v", f.box.Path, err)
	}
}
