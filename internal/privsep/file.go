package privsep

import (
	"context"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// FileInfo describes a file as somebody found it.
type FileInfo struct {
	UID, GID int
	Mode     uint32 // permission bits, 0o7777
	Size     int64
	Regular  bool // a regular file; what follows a symbolic link counts
	Link     bool // the name itself is a symbolic link
}

// FileReader reads files as somebody: ~/.forward and :include: files. The helper
// process and Files are such readers.
//
// ReadFile opens path, which is absolute, with the rights of id and returns at
// most limit octets of it: whoever cares compares their number with info.Size.
// With a limit of 0 nothing is opened: the question is only what is there. What
// is no regular file is described and not read. The error wraps ErrRoot,
// ErrNotRoot, or a unix.Errno: ENOENT, EACCES and so on.
type FileReader interface {
	ReadFile(ctx context.Context, id Identity, path string, limit int64) (content []byte, info FileInfo, err error)
}

// NewFiles returns the FileReader for this process: one that becomes whoever is
// named when the effective user is root, else one that reads as itself.
func NewFiles() FileReader {
	if os.Geteuid() == 0 {
		return Files{As: New()}
	}
	return OwnFiles{}
}

// Files is the FileReader that reads in this process, as whoever is named.
type Files struct{ As Runner }

var _ FileReader = Files{}

// ReadFile implements FileReader. It does not wait for anything but the file
// system, so ctx counts only before it begins.
func (f Files) ReadFile(ctx context.Context, id Identity, path string, limit int64) (content []byte, info FileInfo, err error) {
	if err := ctx.Err(); err != nil {
		return nil, info, err
	}
	err = f.As.Do(id, func() error {
		content, info, err = readFile(path, limit)
		return err
	})
	return content, info, err
}

// OwnFiles is the FileReader of a process that does everything as the user it
// was started as: whoever is named, the rights are its own.
type OwnFiles struct{}

var _ FileReader = OwnFiles{}

// ReadFile implements FileReader.
func (OwnFiles) ReadFile(ctx context.Context, _ Identity, path string, limit int64) ([]byte, FileInfo, error) {
	if err := ctx.Err(); err != nil {
		return nil, FileInfo{}, err
	}
	return readFile(path, limit)
}

func readFile(path string, limit int64) ([]byte, FileInfo, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return nil, FileInfo{}, err
	}
	link := st.Mode&unix.S_IFMT == unix.S_IFLNK
	if link {
		if err := unix.Stat(path, &st); err != nil {
			return nil, FileInfo{}, err
		}
	}
	if limit <= 0 || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, fileInfo(&st, link), nil
	}
	// A pipe or device that takes the file's place meanwhile is not waited for.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, FileInfo{}, err
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close()
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, FileInfo{}, err
	}
	info := fileInfo(&st, link)
	if !info.Regular {
		return nil, info, nil
	}
	content, err := io.ReadAll(io.LimitReader(file, limit))
	return content, info, err
}

func fileInfo(st *unix.Stat_t, link bool) FileInfo {
	return FileInfo{
		UID: int(st.Uid), GID: int(st.Gid), Mode: st.Mode & 0o7777, Size: st.Size,
		Regular: st.Mode&unix.S_IFMT == unix.S_IFREG, Link: link,
	}
}
