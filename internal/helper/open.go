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
	content, info, err := privsep.Files{As: as}.ReadFile(ctx, id, name, min(limit, maxListSize))
	for err == nil && len(content) > maxPiece {
		if err := w.send(append(frame(w.out, sayPart), content[:maxPiece]...)); err != nil {
			return err
		}
		content = content[maxPiece:]
	}
	return w.answer(err, func(b []byte) []byte { return appendBytes(appendFileInfo(b, &info), content) })
}

// open opens a file or a listener and sends its descriptor.
func (w *worker) open(k kind, f *fields) error {
	name := f.string(maxPath)
	if err := f.end(); err != nil {
		return err
	}
	var file *os.File
	var err error
	switch k {
	case askListen:
		return w.listen(name)
	case askLog:
		file, err = w.helper.openLog(name)
	default:
		err = w.helper.eachPolicy(func(p *Policy) (err error) {
			file, err = openFile(p, name)
			return err
		})
	}
	return w.give(file, err)
}

// give sends a file and closes it here.
func (w *worker) give(file *os.File, err error) error {
	if err != nil {
		return w.answer(err, nil)
	}
	defer file.Close()
	return w.sendFile(append(frame(w.out, answer), 0), int(file.Fd()))
}

// openFile opens a regular file for reading, or a directory of such files for
// listing.
func openFile(p *Policy, name string) (*os.File, error) {
	if err := p.mayOpen(name); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() && !(info.IsDir() && p.Directories[name]) {
		err = fmt.Errorf("%s is not a regular file: %w", name, ErrRefused)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// listen opens a listener of master.cf.
func (w *worker) listen(key string) error {
	var l listener
	err := w.helper.eachPolicy(func(p *Policy) (err error) {
		if !p.Listeners[key] {
			return fmt.Errorf("listen on %s: %w", key, ErrRefused)
		}
		network, address, _ := strings.Cut(key, " ")
		l, err = openListener(p, network, address)
		return err
	})
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
