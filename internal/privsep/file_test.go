package privsep

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// fileDir makes a directory that any user can reach.
func fileDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "privsep")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestReadFile(t *testing.T) {
	dir := fileDir(t)
	name := filepath.Join(dir, "file")
	err := errors.Join(os.WriteFile(name, []byte("content"), 0o640), os.Chmod(name, 0o642), os.Symlink("file", name+".link"),
		os.Symlink("gone", name+".none"), unix.Mkfifo(name+".fifo", 0o600))
	if err != nil {
		t.Fatal(err)
	}
	uid, gid := os.Getuid(), os.Getgid()
	file := FileInfo{UID: uid, GID: gid, Mode: 0o642, Size: 7, Regular: true}
	link := file
	link.Link = true
	tests := []struct {
		path  string
		limit int64
		text  string
		info  FileInfo
		err   error
	}{
		{"file", 100, "content", file, nil},
		{"file", 3, "con", file, nil},
		{"file", 0, "", file, nil},
		{"file.link", 100, "content", link, nil},
		{"file.none", 100, "", FileInfo{}, unix.ENOENT},
		{"none", 0, "", FileInfo{}, unix.ENOENT},
		{"file/x", 100, "", FileInfo{}, unix.ENOTDIR},
		{"file.fifo", 100, "", FileInfo{UID: uid, GID: gid, Mode: 0o600}, nil},
	}
	for _, tt := range tests {
		text, info, err := OwnFiles{}.ReadFile(t.Context(), Identity{}, filepath.Join(dir, tt.path), tt.limit)
		if string(text) != tt.text || !errors.Is(err, tt.err) || !cmp.Equal(info, tt.info) {
			t.Errorf("ReadFile(%s, %d) = %q, %+v, %v; want %q, %+v, %v", tt.path, tt.limit, text, info, err, tt.text, tt.info, tt.err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, r := range []FileReader{OwnFiles{}, Files{As: New()}} {
		if _, _, err := r.ReadFile(ctx, Identity{UID: 1, GID: 1}, name, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("after the end: %v", err)
		}
	}
}

// TestReadFileAs: a file is read with the rights of whoever is named.
func TestReadFileAs(t *testing.T) {
	needRoot(t)
	name := filepath.Join(fileDir(t), "file")
	if err := errors.Join(os.WriteFile(name, []byte("content"), 0o600), os.Chown(name, 4711, 4711)); err != nil {
		t.Fatal(err)
	}
	r := NewFiles()
	if text, _, err := r.ReadFile(t.Context(), Identity{UID: 4711, GID: 4711}, name, 10); err != nil || string(text) != "content" {
		t.Errorf("the owner reads %q, %v", text, err)
	}
	if _, info, err := r.ReadFile(t.Context(), Identity{UID: 4712, GID: 4712}, name, 0); err != nil || info.UID != 4711 {
		t.Errorf("another user sees %+v, %v", info, err)
	}
	if _, _, err := r.ReadFile(t.Context(), Identity{UID: 4712, GID: 4712}, name, 10); !errors.Is(err, unix.EACCES) {
		t.Errorf("another user reads: %v", err)
	}
	if _, _, err := r.ReadFile(t.Context(), Identity{UID: 0, GID: 0}, name, 10); !errors.Is(err, ErrRoot) {
		t.Errorf("root reads: %v", err)
	}
}

// TestReadFileWithoutRoot: another user's rights cannot be had.
func TestReadFileWithoutRoot(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("is about processes without privileges")
	}
	if _, ok := NewFiles().(OwnFiles); !ok {
		t.Error("NewFiles is not OwnFiles")
	}
	if _, _, err := (Files{As: New()}).ReadFile(t.Context(), Identity{UID: 4711, GID: 4711}, "/", 0); !errors.Is(err, ErrNotRoot) {
		t.Errorf("error %v, want %v", err, ErrNotRoot)
	}
}
