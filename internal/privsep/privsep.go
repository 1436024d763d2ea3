// Package privsep is the one room in which work is done as another user.
//
// A mail server that stores mail for system users, or for the owner that
// virtual_uid_maps names, has to create files that belong to that user and has
// to be stopped by the same permissions that would stop the user. So it takes
// on the user's identity for the few system calls of a delivery:
//
//	run := privsep.New()
//	err := run.Do(privsep.Identity{UID: 5000, GID: 5000}, func() error {
//		return writeTheFile()
//	})
//
// What Do does depends on who the process is.
//
//   - Started as root: Do locks the goroutine to its thread and sets the
//     effective group, user and supplementary groups of that one thread (on
//     Linux credentials belong to threads), calls the function, and sets them
//     back. The real and saved user stay root, so that the user cannot send
//     signals to the process or trace it. Effective capabilities vanish with
//     the change, so permissions count as for the user. That is six system
//     calls; handing the work to a pool of threads that keep their identity
//     was measured to cost more (BenchmarkDo, BenchmarkHandOver).
//   - Started as a user: only that user's own identity is possible, and the
//     function is simply called. Any other identity is refused.
//
// Nothing is ever done as root: user 0 and group 0 are refused, and so are
// the negative numbers that would mean "unchanged" to the kernel.
//
// The function runs on the thread of the caller. It may make system calls and
// it may wait, but it must not start goroutines that touch files: those run on
// threads with the identity of the process.
//
// FileReader reads a file as somebody. LookupUser and Reach are for who starts a
// process as another user, and Confine is what such a process gives up for good:
// to be traced, to run programs, to write outside its directories.
//
// Not here: running commands (package command), and the process that keeps the
// rights of root (package helper). Linux only.
//
// It imports github.com/landlock-lsm/go-landlock and golang.org/x/sys/unix.
package privsep

import (
	"errors"
	"fmt"
	"os"
	"slices"
)

// ErrRoot refuses to act as user or group 0, or as a negative one.
var ErrRoot = errors.New("refusing to act with the rights of root")

// ErrNotRoot is the class of errors that say that this process cannot become
// somebody else because it was not started as root. It is temporary: the cure
// is in the configuration or in the way the server is started.
var ErrNotRoot = errors.New("not running as root")

// Identity is who to be. Both numbers must be positive.
type Identity struct {
	UID, GID int
	// Groups are the supplementary groups. Empty: GID alone, as Postfix has it.
	Groups []int
}

func (id Identity) String() string { return fmt.Sprintf("uid %d gid %d", id.UID, id.GID) }

func (id Identity) check() error {
	if id.UID <= 0 || id.GID <= 0 {
		return fmt.Errorf("%s: %w", id, ErrRoot)
	}
	for _, g := range id.Groups {
		if g <= 0 {
			return fmt.Errorf("%s, supplementary group %d: %w", id, g, ErrRoot)
		}
	}
	return nil
}

// Runner does work as somebody. Implementations are safe for concurrent use.
type Runner interface {
	// Do calls f as id and returns what f returns. When id cannot be had, f is
	// not called and the error says why; it wraps ErrRoot or ErrNotRoot, or is
	// the kernel's.
	Do(id Identity, f func() error) error
}

// New returns the Runner for this process: one that switches identities when
// the effective user is root, else one that knows only its own.
func New() Runner {
	if os.Geteuid() == 0 {
		return newSwitcher()
	}
	groups, _ := os.Getgroups() // without them only the own group is known
	return self{uid: os.Geteuid(), gid: os.Getegid(), groups: groups}
}

// self is the Runner of an unprivileged process.
type self struct {
	uid, gid int
	groups   []int
}

// Do calls f when id is the process itself. A group that the process belongs to
// counts as its own; what is made then has the group of the process, or that of
// a directory with the set-group-id bit. Supplementary groups are not checked:
// those that the process lacks are not given to it.
func (s self) Do(id Identity, f func() error) error {
	if err := id.check(); err != nil {
		return err
	}
	if id.UID != s.uid {
		return fmt.Errorf("cannot become uid %d: %w", id.UID, ErrNotRoot)
	}
	if id.GID != s.gid && !slices.Contains(s.groups, id.GID) {
		return fmt.Errorf("cannot become gid %d: %w", id.GID, ErrNotRoot)
	}
	return f()
}
