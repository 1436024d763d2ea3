package helper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"postern/internal/privsep"
	"postern/internal/spool"
)

// device keeps the file system of a directory of mail open, for its sync.
func (w *worker) device(f *fields) error {
	name := f.string(maxPath)
	if err := f.end(); err != nil {
		return err
	}
	base, err := w.helper.policy.Load().mailBase(name)
	if err != nil {
		return w.answer(err, nil)
	}
	number, mode, err := w.helper.device(base, name)
	return w.answer(err, func(b []byte) []byte { return appendUint(appendUint(b, number), uint64(mode)) })
}

func (h *Helper) device(base, name string) (number uint64, mode spool.Mode, err error) {
	fd, err := openBeneath(base, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return 0, 0, &os.PathError{Op: "open", Path: name, Err: err}
	}
	dir := os.NewFile(uintptr(fd), name)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		dir.Close()
		return 0, 0, err
	}
	mode = spool.SyncMode(name)
	return st.Dev, mode, h.devices.keep(dir, st.Dev)
}

// syncDevice makes all files of such a file system durable.
func (w *worker) syncDevice(f *fields) error {
	number := f.uint(1<<64 - 1)
	if err := f.end(); err != nil {
		return err
	}
	return w.answer(w.helper.devices.sync(number), nil)
}

// What askMail asks for.
const (
	mailWhole   = iota // is the file there, and whole?
	mailSecure         // make it durable
	mailRewrite        // write its bytes again first
)

// errNotWhole is the answer to mailWhole for a file that is gone or not whole.
var errNotWhole = errors.New("the file is not there, or not whole")

// mail looks after delivered files for the spool.
func (w *worker) mail(f *fields) error {
	what := int(f.uint(mailRewrite))
	list := make([]*spool.Applied, f.uint(maxMailFiles))
	for i := range list {
		if f.bad {
			return errFrame
		}
		list[i] = f.applied()
	}
	if err := f.end(); err != nil {
		return err
	}
	files := spool.NewMail() // listings are read once for a request
	return w.answer(nil, func(b []byte) []byte {
		for _, a := range list {
			if err := w.helper.mail(files, what, a); err != nil {
				b = appendFailure(append(b, 1), err)
			} else {
				b = append(b, 0)
			}
		}
		return b
	})
}

// mail does it for one file, as its owner.
func (h *Helper) mail(files spool.Mail, what int, a *spool.Applied) error {
	p := h.policy.Load()
	base, err := p.mailBase(a.Path)
	if err != nil {
		return err
	}
	if filepath.Base(filepath.Dir(a.Path)) != "new" {
		return fmt.Errorf("%s is no message in a Maildir: %w", a.Path, ErrRefused)
	}
	owner, err := ownerOf(base, a.Path)
	switch {
	case errors.Is(err, os.ErrNotExist) && what != mailWhole:
		return nil // its reader has removed it
	case err == nil:
		err = p.identity(owner.UID, owner.GID)
	}
	if err != nil {
		return err
	}
	err = h.o.As.Do(owner, func() error {
		one := []*spool.Applied{a}
		if what != mailWhole {
			return files.Secure(context.Background(), one, what == mailRewrite)[0]
		}
		whole, err := files.Whole(context.Background(), one)
		if err == nil && !whole[0] {
			err = errNotWhole
		}
		return err
	})
	if err == nil && what != mailWhole {
		syncAbove(base, filepath.Dir(a.Path))
	}
	return err
}

// syncAbove makes the entry of a Maildir durable, which may be new as well. Its
// owner may have no right to read the directories above; they count as little as
// they do for the spool.
func syncAbove(base, dir string) {
	for range 2 {
		dir = filepath.Dir(dir)
		if dir != base && !below(base, dir) {
			return
		}
		if fd, err := openBeneath(base, dir, unix.O_RDONLY|unix.O_DIRECTORY); err == nil {
			_ = again(func() error { return unix.Fsync(fd) })
			closeFile(fd)
		}
	}
}

// ownerOf is whose rights are needed for a message in new/, or in cur/ when its
// reader has moved it there: those of the owner of the file, or of that
// directory.
func ownerOf(base, name string) (privsep.Identity, error) {
	for _, place := range [...]struct {
		name string
		kind uint32
	}{{name, unix.S_IFREG}, {filepath.Join(filepath.Dir(filepath.Dir(name)), "cur"), unix.S_IFDIR}} {
		fd, err := openBeneath(base, place.name, unix.O_PATH|unix.O_NOFOLLOW)
		switch err {
		case nil:
		case unix.ENOENT, unix.ENOTDIR, unix.ELOOP, unix.EXDEV: // taken away, whatever there is now
			continue
		default:
			return privsep.Identity{}, &os.PathError{Op: "open", Path: place.name, Err: err}
		}
		var st unix.Stat_t
		err = unix.Fstat(fd, &st)
		closeFile(fd)
		if err == nil && st.Mode&unix.S_IFMT == place.kind {
			return privsep.Identity{UID: int(st.Uid), GID: int(st.Gid)}, nil
		}
	}
	return privsep.Identity{}, &os.PathError{Op: "open", Path: name, Err: unix.ENOENT}
}

// openBeneath opens a name that cannot lead out of base.
func openBeneath(base, name string, flags int) (int, error) {
	rel, err := filepath.Rel(base, name)
	if err != nil {
		return -1, unix.EXDEV
	}
	dir, err := unix.Open(base, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(dir)
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS}
	for range 100 { // EAGAIN: something was renamed meanwhile
		fd, err := unix.Openat2(dir, rel, &how)
		if err != unix.EAGAIN && err != unix.EINTR {
			return fd, err
		}
	}
	return -1, unix.EAGAIN
}
