package privsep

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// unchanged leaves one of the three ids of setresuid(2) as it is.
const unchanged = ^uintptr(0)

// switcher is the Runner of a root process. The package syscall sets the ids of
// all threads at once; here the bare system calls set those of one.
type switcher struct {
	gid    int      // effective group to return to
	groups []uint32 // supplementary groups to return to
}

func newSwitcher() *switcher {
	s := &switcher{gid: os.Getegid()}
	list, _ := os.Getgroups() // failing: root needs no supplementary groups
	for _, g := range list {
		s.groups = append(s.groups, uint32(g))
	}
	return s
}

// Do calls f on this thread as id. A panic of f passes through after the
// identity is set back.
//
// When the old identity cannot be set back, which the kernel refuses only for
// want of memory, the goroutine stays locked to the thread: no other work gets
// onto it, and it ends with the goroutine. Further calls of Do from there fail.
func (s *switcher) Do(id Identity, f func() error) (err error) {
	if err := id.check(); err != nil {
		return err
	}
	runtime.LockOSThread()
	defer func() {
		if back := s.restore(); back != nil {
			err = errors.Join(err, fmt.Errorf("return from %s: %w", id, back))
			return
		}
		runtime.UnlockOSThread()
	}()
	if err := become(id); err != nil {
		return fmt.Errorf("become %s: %w", id, err)
	}
	return f()
}

// become needs the rights of root for the groups, so the user comes last.
func become(id Identity) error {
	one := [1]uint32{uint32(id.GID)}
	groups := one[:]
	if len(id.Groups) > 0 {
		groups = make([]uint32, len(id.Groups))
		for i, g := range id.Groups {
			groups[i] = uint32(g)
		}
	}
	if err := setGroups(groups); err != nil {
		return err
	}
	if err := setEffective(sysSetresgid, id.GID); err != nil {
		return err
	}
	return setEffective(sysSetresuid, id.UID)
}

func (s *switcher) restore() error {
	if err := setEffective(sysSetresuid, 0); err != nil {
		return err
	}
	if err := setEffective(sysSetresgid, s.gid); err != nil {
		return err
	}
	return setGroups(s.groups)
}

func setEffective(call uintptr, id int) error {
	_, _, errno := unix.RawSyscall(call, unchanged, uintptr(id), unchanged)
	if errno != 0 {
		return errno
	}
	return nil
}

func setGroups(groups []uint32) error {
	var first unsafe.Pointer
	if len(groups) > 0 {
		first = unsafe.Pointer(&groups[0])
	}
	_, _, errno := unix.RawSyscall(sysSetgroups, uintptr(len(groups)), uintptr(first), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
