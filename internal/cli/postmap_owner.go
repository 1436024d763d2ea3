package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"postern/internal/table/index"
)

// asOwner calls work with the rights of the owner of the source text, when root
// builds the table of somebody else: that one could otherwise have root write
// files, or put those that only root reads into a table. The whole process has
// these rights meanwhile. With -o, or without a source text, nothing changes.
func (t *mapTool) asOwner(b *index.Builder, work func() error) error {
	if t.asRoot || os.Getuid() != 0 {
		return work()
	}
	info, err := os.Stat(b.Path)
	if errors.Is(err, fs.ErrNotExist) {
		info, err = os.Stat(b.Path + b.Format.Suffix)
	}
	if err != nil {
		return work() // which will say so
	}
	owner := info.Sys().(*syscall.Stat_t)
	uid, gid := int(owner.Uid), int(owner.Gid)
	if uid == os.Geteuid() && gid == os.Getegid() {
		return work()
	}
	t.log.debugf("%s: working as user %d, group %d", b.Name, uid, gid)
	restore, err := become(uid, gid)
	if err != nil {
		return err
	}
	err = work()
	if back := restore(); back != nil {
		return back
	}
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w (working as user %d, who owns %s; -o works as root)", err, uid, b.Path)
	}
	return err
}

// become gives the process the rights of a user until restore is called.
func become(uid, gid int) (restore func() error, err error) {
	groups, err := syscall.Getgroups()
	if err != nil {
		return nil, err
	}
	oldUID, oldGID := os.Geteuid(), os.Getegid()
	restore = func() error {
		return errors.Join(syscall.Seteuid(oldUID), syscall.Setegid(oldGID), syscall.Setgroups(groups))
	}
	for _, step := range []func() error{
		func() error { return syscall.Setgroups([]int{gid}) },
		func() error { return syscall.Setegid(gid) },
		func() error { return syscall.Seteuid(uid) },
	} {
		if err := step(); err != nil {
			return nil, errors.Join(fmt.Errorf("become user %d, group %d: %w", uid, gid, err), restore())
		}
	}
	return restore, nil
}
