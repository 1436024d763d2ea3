package helper

import (
	"context"
	"strings"

	"postern/internal/spool"
)

// MailFS is the file system of a spool whose process may not enter mailboxes.
// What lies below dir is the process's own. Of others the helper syncs the file
// systems; Mail looks after the files on them.
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

func (c *Client) device(name string) (number uint64, mode spool.Mode, err error) {
	err = c.simple(context.Background(), askDevice, func(b []byte) []byte {
		return appendString(b, name)
	}, func(f *fields) { number, mode = f.uint(1<<64-1), spool.Mode(f.uint(255)) })
	return number, mode, err
}

// mail looks after delivered files by way of the helper.
type mail struct{ c *Client }

var _ spool.Mail = mail{}

// Mail returns who looks after delivered files for a spool. It tells of a file
// what the spool knows already: that length and checksum are right.
func (c *Client) Mail() spool.Mail { return mail{c} }

// maxMailFiles bounds the files of one request.
const maxMailFiles = 1000

// Whole implements spool.Mail.
func (m mail) Whole(ctx context.Context, list []*spool.Applied) ([]bool, error) {
	whole := make([]bool, len(list))
	err := m.ask(ctx, mailWhole, list, func(i int, err error) { whole[i] = err == nil })
	return whole, err
}

// Secure implements spool.Mail.
func (m mail) Secure(ctx context.Context, list []*spool.Applied, rewrite bool) []error {
	what := mailSecure
	if rewrite {
		what = mailRewrite
	}
	errs := make([]error, len(list))
	answered := 0
	err := m.ask(ctx, what, list, func(i int, err error) { errs[i], answered = err, i+1 })
	for i := range errs[answered:] {
		errs[answered+i] = err
	}
	return errs
}

// ask has something done with files, and tells the result of each in turn.
func (m mail) ask(ctx context.Context, what int, list []*spool.Applied, each func(i int, err error)) error {
	for from := 0; from < len(list); {
		part, size := list[from:], 0
		for i, a := range part {
			if size += len(a.Path) + 32; i > 0 && (size > maxPortion || i == maxMailFiles) {
				part = part[:i]
				break
			}
		}
		errs := make([]error, len(part))
		err := m.c.simple(ctx, askMail, func(b []byte) []byte {
			b = appendUint(appendUint(b, uint64(what)), uint64(len(part)))
			for _, a := range part {
				b = appendApplied(b, a)
			}
			return b
		}, func(f *fields) {
			for i := range errs {
				if f.bool() {
					errs[i] = f.failure()
				}
			}
		})
		if err != nil {
			return err
		}
		for i, err := range errs {
			each(from+i, err)
		}
		from += len(part)
	}
	return nil
}
