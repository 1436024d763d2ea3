package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"postern/internal/config"
	"postern/internal/maildrop"
	"postern/internal/privsep"
)

// prepare makes the directory of the server. What a server that was root has
// left there is given to mail_owner, once: the directory itself comes last, so
// that an attempt that was interrupted is made again.
func prepare(v *config.Settings, owner privsep.Identity) error {
	if err := os.MkdirAll(v.String("queue_directory"), 0o755); err != nil {
		return err
	}
	dir := spoolDirectory(v)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	fd, err := unix.Open(dir, asDirectory, 0)
	if err == unix.ENOTDIR || err == unix.ELOOP {
		return fmt.Errorf("%s is not a directory", dir)
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return errors.Join(&os.PathError{Op: "stat", Path: dir, Err: err}, unix.Close(fd))
	}
	switch {
	case int(st.Uid) == owner.UID:
		return unix.Close(fd)
	case st.Uid != 0:
		unix.Close(fd)
		return somebodys(v, dir, st.Uid)
	}
	h := handover{owner: owner, drop: MaildropDirectory(v)}
	return h.directory(os.NewFile(uintptr(fd), dir))
}

// asDirectory opens what is a directory, and no link to one.
const asDirectory = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

// handover gives a directory of root, with what is in it, to mail_owner.
//
// Until now only root could put anything there, except into the maildrop, which
// is open to every user: directories there are left alone, and so is what
// belongs to somebody else anywhere. Everything is reached by the descriptor of
// the directory that it is in, so that nothing which takes its place meanwhile
// is meant.
type handover struct {
	owner privsep.Identity
	drop  string
}

// directory hands over what is in a directory, and then the directory itself. It
// closes the directory.
func (h *handover) directory(dir *os.File) error {
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if dir.Name() == h.drop {
			err = h.submitted(dir, name)
		} else {
			err = h.entry(dir, name)
		}
		if err != nil {
			return err
		}
	}
	return dir.Chown(h.owner.UID, h.owner.GID)
}

// failed says where; what is gone meanwhile needs nothing.
func failed(dir *os.File, name string, err error) error {
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return &os.PathError{Op: "hand over", Path: filepath.Join(dir.Name(), name), Err: err}
}

// entry hands over one thing in a directory of root.
func (h *handover) entry(dir *os.File, name string) error {
	at := int(dir.Fd())
	var st unix.Stat_t
	if err := unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil || st.Uid != 0 {
		return failed(dir, name, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return failed(dir, name, unix.Fchownat(at, name, h.owner.UID, h.owner.GID, unix.AT_SYMLINK_NOFOLLOW))
	}
	fd, err := unix.Openat(at, name, asDirectory, 0)
	if err != nil {
		return failed(dir, name, err)
	}
	return h.directory(os.NewFile(uintptr(fd), filepath.Join(dir.Name(), name)))
}

// submitted makes a file of the maildrop readable for the group of the server; its
// owner stays, who is the one that submitted it. The file may be a link to any
// other: it has to have one name. A file of root could have lost its other names,
// and has to be what sendmail writes.
func (h *handover) submitted(dir *os.File, name string) error {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil // a link, a socket, gone: pickup says what is wrong with it
	}
	file := os.NewFile(uintptr(fd), name)
	defer file.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return failed(dir, name, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink != 1 || st.Uid == 0 && !isSubmission(file) {
		return nil
	}
	err = unix.Fchown(fd, -1, h.owner.GID)
	if err == nil {
		err = unix.Fchmod(fd, 0o640)
	}
	return failed(dir, name, err)
}

// maxEnvelope is where the search for the end of an envelope ends.
const maxEnvelope = 1 << 20

// isSubmission reports whether a file begins with an envelope of package maildrop.
func isSubmission(file io.Reader) bool {
	var e maildrop.Envelope
	err := json.NewDecoder(io.LimitReader(file, maxEnvelope)).Decode(&e)
	return err == nil && e.Version > 0
}
