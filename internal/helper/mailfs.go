package helper

import (
	"context"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"postern/internal/spool"
)

// MailFS is the file system of a spool whose process may not enter mailboxes.
// What lies below dir is the process's own. Of other files the helper makes
// durable what has been delivered; it tells nothing of their content, so that a
// recovery delivers once more what it would have to read, and the agent finds it
// there.
type MailFS struct {
	spool.FS
	c   *Client
	dir string // with a slash at the end
}

var _ spool.FS = (*MailFS)(nil)

// MailFS returns the file system for a spool below dir; own is the process's.
func (c *Client) MailFS(dir string, own spool.FS) *MailFS {
	return &MailFS{own, c, strings.TrimSuffix(dir, "/") + "/"}
}

func (m *MailFS) ours(name string) bool { return strings.HasPrefix(name+"/", m.dir) }

// Open implements spool.FS. A file of a mailbox can be asked for its size, and
// be made durable; reading and writing fail.
func (m *MailFS) Open(name string, flag int) (spool.File, error) {
	if m.ours(name) {
		return m.FS.Open(name, flag)
	}
	if flag&(os.O_WRONLY|os.O_RDWR|os.O_CREATE) != 0 {
		return nil, &os.PathError{Op: "open", Path: name, Err: unix.EACCES}
	}
	size, err := m.c.mailFile(mailFileLook, name)
	if err != nil {
		return nil, err
	}
	return &mailFileHandle{m.c, name, size}, nil
}

// ReadDir implements spool.FS. Names in mailboxes are not told.
func (m *MailFS) ReadDir(name string) ([]string, error) {
	if m.ours(name) {
		return m.FS.ReadDir(name)
	}
	return nil, &os.PathError{Op: "open", Path: name, Err: unix.EACCES}
}

// SyncDir implements spool.FS.
func (m *MailFS) SyncDir(name string) error {
	if m.ours(name) {
		return m.FS.SyncDir(name)
	}
	_, err := m.c.mailFile(mailFileSyncDir, name)
	return err
}

// Volume implements spool.FS. Of a file system of mailboxes only the mode is
// known.
func (m *MailFS) Volume(name string) (spool.Volume, error) {
	if m.ours(name) {
		return m.FS.Volume(name)
	}
	_, mode, err := m.c.device(name)
	return spool.Volume{Mode: mode}, err
}

// OpenDevice implements spool.FS.
func (m *MailFS) OpenDevice(name string) (spool.Device, error) {
	if m.ours(name) {
		return m.FS.OpenDevice(name)
	}
	number, _, err := m.c.device(name)
	if err != nil {
		return nil, err
	}
	return mailDevice{m.c, number}, nil
}

// mailFileHandle is a delivered file.
type mailFileHandle struct {
	c    *Client
	name string
	size int64
}

func (f *mailFileHandle) denied(op string) error {
	return &os.PathError{Op: op, Path: f.name, Err: unix.EACCES}
}

func (f *mailFileHandle) ReadAt([]byte, int64) (int, error)  { return 0, f.denied("read") }
func (f *mailFileHandle) WriteAt([]byte, int64) (int, error) { return 0, f.denied("write") }
func (f *mailFileHandle) Reserve(int64) error                { return f.denied("fallocate") }
func (f *mailFileHandle) Size() (int64, error)               { return f.size, nil }
func (f *mailFileHandle) Close() error                       { return nil }

func (f *mailFileHandle) Datasync() error {
	_, err := f.c.mailFile(mailFileSync, f.name)
	return err
}

// mailDevice is a file system that the helper keeps open.
type mailDevice struct {
	c      *Client
	number uint64
}

func (d mailDevice) Number() uint64 { return d.number }
func (d mailDevice) Close() error   { return nil }

func (d mailDevice) Sync() error {
	return d.c.simple(context.Background(), askSync, func(b []byte) []byte { return appendUint(b, d.number) }, nil)
}

func (c *Client) mailFile(what int, name string) (size int64, err error) {
	err = c.simple(context.Background(), askMailFile, func(b []byte) []byte {
		return appendString(appendUint(b, uint64(what)), name)
	}, func(f *fields) { size = f.int() })
	return size, err
}

func (c *Client) device(name string) (number uint64, mode spool.Mode, err error) {
	err = c.simple(context.Background(), askDevice, func(b []byte) []byte {
		return appendString(appendUint(b, 0), name)
	}, func(f *fields) { number, mode = f.uint(1<<64-1), spool.Mode(f.uint(255)) })
	return number, mode, err
}
