package spool

import (
	"io"
	"io/fs"
	"slices"
	"syscall"
)

// simHandle is a file of a simDisk that a process has opened.
type simHandle struct {
	v    simView
	name string
	f    *simFile
}

func (h *simHandle) Close() error { return nil }

func (h *simHandle) Size() (int64, error) {
	if err := h.v.call("read", h.name); err != nil {
		return 0, err
	}
	defer h.v.d.mu.Unlock()
	return int64(len(h.f.data)), nil
}

func (h *simHandle) ReadAt(p []byte, off int64) (int, error) {
	if err := h.v.call("read", h.name); err != nil {
		return 0, err
	}
	defer h.v.d.mu.Unlock()
	if off >= int64(len(h.f.data)) {
		return 0, io.EOF
	}
	n := copy(p, h.f.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (h *simHandle) WriteAt(p []byte, off int64) (int, error) {
	if err := h.v.call("write", h.name); err != nil {
		return 0, err
	}
	defer h.v.d.mu.Unlock()
	return h.write(p, off)
}

func (h *simHandle) write(p []byte, off int64) (int, error) {
	if grow := off + int64(len(p)) - int64(len(h.f.data)); grow > 0 && h.v.d.space >= 0 {
		if grow > h.v.d.space {
			return 0, &fs.PathError{Op: "write", Path: h.name, Err: syscall.ENOSPC}
		}
		h.v.d.space -= grow
	}
	h.f.data = overwrite(h.f.data, off, p)
	h.v.d.seq++
	h.f.pending = append(h.f.pending, simWrite{off, slices.Clone(p), h.v.d.seq})
	return len(p), nil
}

func (h *simHandle) Reserve(size int64) error {
	if err := h.v.call("reserve", h.name); err != nil {
		return err
	}
	defer h.v.d.mu.Unlock()
	_, err := h.write(make([]byte, size), 0)
	return err
}

func (h *simHandle) Datasync() error {
	if err := h.v.call("sync", h.name); err != nil {
		return err
	}
	defer h.v.d.mu.Unlock()
	h.f.sync()
	return nil
}
