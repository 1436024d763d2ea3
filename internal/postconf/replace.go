package postconf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// replaceFile puts edit(old text) in the place of a file in one step: readers
// see the old text or the new one, and a crash leaves one of the two. Mode and
// owner stay; an owner that this user cannot give is passed over. Nothing is
// written when edit fails.
//
// The new text grows in FILE.tmp. Whoever has that file open under an exclusive
// flock may write it and rename it: this is what Postfix does as well, so editors
// of both kinds wait for each other.
func replaceFile(ctx context.Context, path string, edit func(old string) (string, error)) (err error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // a symbolic link stays one
	}
	tmp, err := lockTemp(ctx, path+".tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(tmp.Name())
		}
		tmp.Close()
	}()
	old, mode, err := readWhole(path)
	if err != nil {
		return err
	}
	text, err := edit(old)
	if err != nil {
		return err
	}
	if err := fill(tmp, text, mode); err != nil {
		return fmt.Errorf("write %s: %w", tmp.Name(), plain(err))
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return fmt.Errorf("rename %s: %w", tmp.Name(), err)
	}
	return syncDir(filepath.Dir(path))
}

func readWhole(path string) (string, fs.FileInfo, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", nil, fmt.Errorf("open %s for reading: %w", path, plain(err))
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", nil, err
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return "", nil, fmt.Errorf("read %s: %w", path, plain(err))
	}
	return string(text), st, nil
}

// fill writes the new file to the disk, with the mode and owner of the old one.
func fill(f *os.File, text string, old fs.FileInfo) error {
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	if st, ok := old.Sys().(*syscall.Stat_t); ok {
		err := f.Chown(int(st.Uid), int(st.Gid))
		if errors.Is(err, fs.ErrPermission) {
			err = f.Chown(-1, int(st.Gid)) // at least the group, which may be what others read it by
		}
		if err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	if err := f.Chmod(old.Mode().Perm()); err != nil {
		return err
	}
	return f.Sync()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// lockPause is the time between two tries to lock a file that another one edits.
const lockPause = 50 * time.Millisecond

// lockTemp opens the temporary file, empty, when nobody else has it.
func lockTemp(ctx context.Context, path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|syscall.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, openError(err)
		}
		ours, err := takeLock(f)
		if err == nil && ours {
			return f, nil
		}
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", path, plain(err))
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("lock %s: %w", path, ctx.Err())
		case <-time.After(lockPause):
		}
	}
}

// takeLock reports whether the file is ours now. One that another editor renamed
// meanwhile is not; one that a crash left behind in a strange state is removed.
func takeLock(f *os.File) (bool, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	mine, err := f.Stat()
	if err != nil {
		return false, err
	}
	named, err := os.Lstat(f.Name())
	if err != nil || !os.SameFile(mine, named) {
		return false, nil
	}
	st, ok := mine.Sys().(*syscall.Stat_t)
	if !mine.Mode().IsRegular() || mine.Mode().Perm() != 0o600 || ok && st.Nlink > 1 {
		return false, os.Remove(f.Name())
	}
	return true, f.Truncate(0)
}
