package helper

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"postern/internal/control"
	"postern/internal/privsep"
	"postern/internal/spool"
)

// readAs reads a file as somebody.
func (w *worker) readAs(ctx context.Context, f *fields) error {
	id, name, limit := f.identity(), f.string(maxPath), f.int()
	if err := f.end(); err != nil {
		return err
	}
	as := w.helper.o.As
	if err := w.helper.policy.Load().mayRead(ctx, as, id, name, limit); err != nil {
		return w.answer(err, nil)
	}
	content, info, err := privsep.Files{As: as}.ReadFile(ctx, id, name, min(limit, maxResult))
	return w.answer(err, func(b []byte) []byte { return appendBytes(appendFileInfo(b, &info), content) })
}

// open opens a file or a listener and sends its descriptor.
func (w *worker) open(k kind, f *fields) error {
	name := f.string(maxPath)
	if err := f.end(); err != nil {
		return err
	}
	p := w.helper.policy.Load()
	switch k {
	case askListen:
		return w.listen(p, name)
	case askLog:
		return w.give(openLog(p, name))
	}
	return w.give(openFile(p, name))
}

// give sends a file and closes it here.
func (w *worker) give(file *os.File, err error) error {
	if err != nil {
		return w.answer(err, nil)
	}
	defer file.Close()
	return w.sendFile(append(frame(w.out, answer), 0), int(file.Fd()))
}

// openFile opens a regular file for reading.
func openFile(p *Policy, name string) (*os.File, error) {
	if err := p.mayOpen(name); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file: %w", name, ErrRefused)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// openLog opens the log file, or makes it.
func openLog(p *Policy, name string) (*os.File, error) {
	if p.Log == "" || name != p.Log {
		return nil, fmt.Errorf("%s is not maillog_file: %w", name, ErrRefused)
	}
	if err := p.notOurs(name); err != nil {
		return nil, err
	}
	return os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NOCTTY, 0o640)
}

// listen opens a listener of master.cf.
func (w *worker) listen(p *Policy, key string) error {
	if !p.Listeners[key] {
		return w.answer(fmt.Errorf("listen on %s: %w", key, ErrRefused), nil)
	}
	network, address, _ := strings.Cut(key, " ")
	l, err := openListener(p, network, address)
	if err != nil {
		return w.answer(err, nil)
	}
	defer l.Close()
	raw, err := l.SyscallConn()
	if err != nil {
		return w.answer(err, nil)
	}
	var sent error
	if err := raw.Control(func(fd uintptr) {
		sent = w.sendFile(append(frame(w.out, answer), 0), int(fd))
	}); err != nil {
		return err
	}
	return sent
}

// listener is what the listeners of package net have in common.
type listener interface {
	net.Listener
	syscall.Conn
}

// openListener makes a listener. The name of a unix socket stays when the helper
// has given it away.
func openListener(p *Policy, network, address string) (listener, error) {
	if network != "unix" {
		l, err := net.Listen(network, address)
		if err != nil {
			return nil, err
		}
		return l.(*net.TCPListener), nil
	}
	if err := p.notOurs(address); err != nil {
		return nil, err
	}
	l, err := control.Listen(address, 0o600)
	if err != nil {
		return nil, err
	}
	if err := os.Lchown(address, p.Owner.UID, p.Owner.GID); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	u := l.(*net.UnixListener)
	u.SetUnlinkOnClose(false)
	return u, nil
}

// maildir says whether a directory below a base of mailboxes is a Maildir.
func (w *worker) maildir(f *fields) error {
	name := f.string(maxPath)
	if err := f.end(); err != nil {
		return err
	}
	base, err := w.helper.policy.Load().mailBase(name)
	if err != nil {
		return w.answer(err, nil)
	}
	is := true
	for _, sub := range [...]string{"new", "cur", "tmp"} {
		fd, err := openBeneath(base, filepath.Join(name, sub), unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			is = false
			break
		}
		closeFile(fd)
	}
	return w.answer(nil, func(b []byte) []byte { return appendBool(b, is) })
}

// What askMailFile asks for.
const (
	mailFileLook    = iota // is it there? its length
	mailFileSync           // make its content durable
	mailFileSyncDir        // make the entries of a directory durable
)

// mailFile carries out what the spool needs of delivered files and their file
// systems to make them durable. Nothing of their content is told.
func (w *worker) mailFile(k kind, f *fields) error {
	if k == askSync {
		number := f.uint(1<<64 - 1)
		if err := f.end(); err != nil {
			return err
		}
		return w.answer(w.helper.devices.sync(number), nil)
	}
	what, name := int(f.uint(mailFileSyncDir)), f.string(maxPath)
	if err := f.end(); err != nil {
		return err
	}
	base, err := w.helper.policy.Load().mailBase(name)
	if err != nil {
		return w.answer(err, nil)
	}
	if k == askDevice {
		number, mode, err := w.helper.device(base, name)
		return w.answer(err, func(b []byte) []byte { return appendUint(appendUint(b, number), uint64(mode)) })
	}
	size, err := mailFile(base, name, what)
	return w.answer(err, func(b []byte) []byte { return appendInt(b, size) })
}

// device keeps the file system of a directory open.
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

// mailFile looks at a file below base or syncs it.
func mailFile(base, name string, what int) (size int64, err error) {
	flags := unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY
	if what == mailFileSyncDir {
		flags = unix.O_RDONLY | unix.O_DIRECTORY
	}
	fd, err := openBeneath(base, name, flags)
	if err != nil {
		return 0, &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer closeFile(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, err
	}
	switch {
	case what == mailFileSyncDir:
		err = again(func() error { return unix.Fsync(fd) })
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		err = unix.EISDIR // as good as gone
	case what == mailFileSync:
		err = again(func() error { return unix.Fdatasync(fd) })
	}
	return st.Size, err
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
