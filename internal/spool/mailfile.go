package spool

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Mail looks after files that were delivered to Maildirs. A spool does it itself,
// by way of its FS; where its process may not enter mailboxes, somebody else does
// (Options.Mail). The results are in the order of the files.
type Mail interface {
	// Whole reports of each file whether it is there with its whole content, in
	// new/ where it was put, or in cur/ where a reader moves it. An error says
	// that nobody can look, and the spool is not opened.
	Whole(ctx context.Context, list []*Applied) ([]bool, error)
	// Secure makes each file durable, and its name. With rewrite its bytes are
	// written again first, since the system has lost some of them on their way to
	// the disk. A file that its reader removed needs nothing.
	Secure(ctx context.Context, list []*Applied, rewrite bool) []error
}

// NewMail is the Mail of this process.
func NewMail() Mail { return newMailfiles(osFS{}) }

// mailfiles looks at delivered files. Listings of cur/ are read once.
type mailfiles struct {
	fs     FS
	cur    map[string][]string
	synced map[string]error // directories, by result
}

func newMailfiles(fsys FS) *mailfiles {
	return &mailfiles{fs: fsys, cur: map[string][]string{}, synced: map[string]error{}}
}

// removed reports whether an error means that a file is not there any more.
// The owner of a Maildir may put anything in the place of a file or folder; that
// takes the mail away as well as removing it.
func removed(err error) bool {
	for _, why := range [...]error{fs.ErrNotExist, errNotRegular, syscall.ENOTDIR, syscall.ELOOP, syscall.EISDIR} {
		if errors.Is(err, why) {
			return true
		}
	}
	return false
}

// find opens a delivered file where it was put, or in cur/ where a reader
// moves it, with its flags after a colon. removed tells of an error that it is
// in neither.
func (m *mailfiles) find(path string, flag int) (File, string, error) {
	f, err := m.fs.Open(path, flag)
	if !removed(err) {
		return f, path, err
	}
	dir, name := filepath.Split(path)
	cur := filepath.Join(filepath.Dir(filepath.Clean(dir)), "cur")
	names, ok := m.cur[cur]
	if !ok {
		if names, err = m.fs.ReadDir(cur); err != nil {
			return nil, "", err
		}
		m.cur[cur] = names
	}
	i, _ := slices.BinarySearch(names, name)
	for ; i < len(names) && strings.HasPrefix(names[i], name); i++ {
		if rest := names[i][len(name):]; rest == "" || rest[0] == ':' {
			path = filepath.Join(cur, names[i])
			f, err = m.fs.Open(path, flag)
			return f, path, err
		}
	}
	return nil, "", &fs.PathError{Op: "find", Path: path, Err: fs.ErrNotExist}
}

// Whole implements Mail.
func (m *mailfiles) Whole(_ context.Context, list []*Applied) ([]bool, error) {
	whole := make([]bool, len(list))
	for i, a := range list {
		whole[i] = m.whole(a)
	}
	return whole, nil
}

// Secure implements Mail.
func (m *mailfiles) Secure(_ context.Context, list []*Applied, rewrite bool) []error {
	errs := make([]error, len(list))
	for i, a := range list {
		errs[i] = m.secure(a, rewrite)
	}
	return errs
}

// whole reports whether a delivered file is there with its whole content.
func (m *mailfiles) whole(a *Applied) bool {
	f, _, err := m.find(a.Path, os.O_RDONLY)
	if err != nil {
		return false
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil || size != a.Length {
		return false
	}
	sum := crc32.New(castagnoli)
	_, err = io.Copy(sum, io.NewSectionReader(f, 0, size))
	return err == nil && sum.Sum32() == a.CRC
}

// secure is Secure for one file.
func (m *mailfiles) secure(a *Applied, rewrite bool) error {
	path, err := "", error(nil)
	if !rewrite {
		path, err = m.with(a.Path, os.O_RDONLY, func(f File) error { return f.Datasync() })
		rewrite = err != nil
	}
	if rewrite {
		path, err = m.with(a.Path, os.O_RDWR, func(f File) error { return rewriteFile(f, a) })
	}
	if removed(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return m.secureDir(filepath.Dir(path))
}

// with calls do with the delivered file, wherever it is.
func (m *mailfiles) with(path string, flag int, do func(File) error) (string, error) {
	f, path, err := m.find(path, flag)
	if err != nil {
		return path, err
	}
	defer f.Close()
	return path, do(f)
}

// rewriteFile writes a file's own bytes over it and syncs them.
func rewriteFile(f File, a *Applied) error {
	b := make([]byte, fileChunk)
	sum := crc32.New(castagnoli)
	for off := int64(0); off < a.Length; off += int64(len(b)) {
		b = b[:min(int64(len(b)), a.Length-off)]
		if _, err := f.ReadAt(b, off); err != nil && err != io.EOF {
			return err
		}
		sum.Write(b)
		if _, err := f.WriteAt(b, off); err != nil {
			return err
		}
	}
	if sum.Sum32() != a.CRC {
		return fmt.Errorf("%s: %w", a.Path, ErrDamaged)
	}
	return f.Datasync()
}

// secureDir makes the entry of a file durable, and that of its directory and
// Maildir, which may be new as well.
func (m *mailfiles) secureDir(dir string) error {
	var first error
	for depth := range 3 {
		err, ok := m.synced[dir]
		if !ok {
			err = m.fs.SyncDir(dir)
			m.synced[dir] = err
		}
		if depth == 0 {
			first = err
		}
		dir = filepath.Dir(dir)
	}
	return first
}
