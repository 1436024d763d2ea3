package table

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// OpenFile opens a file of a table for reading: as this process, or by Helper
// when the process may not.
func (o *Opener) OpenFile(name string) (*os.File, error) {
	f, err := os.Open(name)
	if o.Helper == nil || !errors.Is(err, fs.ErrPermission) {
		return f, err
	}
	if other, oerr := o.Helper(name); oerr == nil {
		return other, nil
	}
	return nil, err
}

// Stat looks at a file of a table, as OpenFile would open it.
func (o *Opener) Stat(name string) (fs.FileInfo, error) {
	info, err := os.Stat(name)
	if o.Helper == nil || !errors.Is(err, fs.ErrPermission) {
		return info, err
	}
	f, oerr := o.Helper(name)
	if oerr != nil {
		return nil, err
	}
	defer f.Close()
	return f.Stat()
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
