package table

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
)

// OpenFile opens a file of a table for reading: as this process, or by Helper
// when the process may not. The error is that of the process, unless the helper
// knows that there is no such file.
func (o *Opener) OpenFile(name string) (*os.File, error) {
	f, err := os.Open(name)
	if o.Helper == nil || !errors.Is(err, fs.ErrPermission) {
		return f, err
	}
	return o.openByHelper(name, err)
}

// Stat looks at a file of a table, as OpenFile would open it.
func (o *Opener) Stat(name string) (fs.FileInfo, error) {
	info, err := os.Stat(name)
	if o.Helper == nil || !errors.Is(err, fs.ErrPermission) {
		return info, err
	}
	f, err := o.openByHelper(name, err)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Stat()
}

// openByHelper opens what this process may not, for which own is its error. A
// closed directory hides what is not there, too.
func (o *Opener) openByHelper(name string, own error) (*os.File, error) {
	f, err := o.Helper(name)
	switch {
	case err == nil:
		return f, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.ENOENT}
	}
	return nil, own
}

// ReadDir lists a directory of files, as OpenFile would open it, by name.
func (o *Opener) ReadDir(name string) ([]fs.DirEntry, error) {
	f, err := o.OpenFile(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list, err := f.ReadDir(-1)
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, err
}

// ReadFile reads a whole file, as OpenFile opens it.
func (o *Opener) ReadFile(name string) ([]byte, error) {
	f, err := o.OpenFile(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}
