package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"postern/internal/config"
	"postern/internal/deliver/command"
	"postern/internal/helper"
	"postern/internal/privsep"
)

// Separated says whether the server of a configuration directory runs as
// mail_owner, with a helper process that keeps the rights of root: when it is
// started by root, unless privilege_separation = no.
func Separated(dir string) (bool, error) {
	if os.Geteuid() != 0 {
		return false, nil
	}
	v, err := LoadSettings(dir)
	if err != nil {
		return false, err
	}
	return v.Bool("privilege_separation"), nil
}

// An earlier server has so long to end.
const (
	lockAttempts = 20
	lockPause    = 100 * time.Millisecond
)

// ownProgram is the program itself, also where mail_owner may not enter the
// directory that it is in.
const ownProgram = "/proc/self/exe"

// Supervise is the helper process: it prepares the directories of the server,
// starts it as mail_owner with the arguments, and does for it what needs the
// rights of root (package helper) until it ends. Its error is the server's
// status, a *helper.ExitError, or says what is wrong with the configuration.
func Supervise(ctx context.Context, o Options, args []string, signals <-chan os.Signal) error {
	v, err := LoadSettings(o.Dir)
	if err != nil {
		return err
	}
	owner, err := mailOwner(v)
	if err != nil {
		return err
	}
	runner := privsep.New()
	if err := prepare(v, owner); err != nil {
		return fmt.Errorf("%v: queue_directory: %w", v.Value("queue_directory").At, err)
	}
	if err := reach(v, runner, owner); err != nil {
		return err
	}
	lock, err := lockHelper(ctx, spoolDirectory(v))
	if err != nil {
		return err
	}
	defer lock.Close()
	users := helper.SystemUsers("/etc/passwd")
	ho := helper.Options{
		As: runner, Commands: command.Direct{As: runner},
		Policy: func() (*helper.Policy, error) { return policyOf(o.Dir, users) },
	}
	p := helper.Process{Path: ownProgram, Args: append([]string{os.Args[0]}, args...), As: owner, Lock: lock}
	return helper.Supervise(ctx, ho, p, signals)
}

// mailOwner is the user that the server runs as.
func mailOwner(v *config.Settings) (privsep.Identity, error) {
	name := v.String("mail_owner")
	id, err := privsep.LookupUser(name)
	if err != nil {
		return id, fmt.Errorf("%v: mail_owner = %s: %w: make that system user, name another, or set privilege_separation = no to run everything as root",
			v.Value("mail_owner").At, name, err)
	}
	return id, nil
}

// reach makes sure that the server will get to its directory, and says which
// directory is in the way.
func reach(v *config.Settings, as privsep.Runner, owner privsep.Identity) error {
	dir := spoolDirectory(v)
	err := privsep.Reach(as, owner, dir)
	var denied *privsep.Denied
	if errors.As(err, &denied) {
		return fmt.Errorf("%v: queue_directory %s: the server runs as %s (mail_owner): %w: chmod o+x %s, or choose another queue_directory, or set privilege_separation = no",
			v.Value("queue_directory").At, v.String("queue_directory"), v.String("mail_owner"), err, denied.Dir)
	}
	return err
}

// prepare makes the directory of the server. What a server that was root has
// left there is given to mail_owner, once: the directory itself comes last, so
// that an attempt that was interrupted is made again.
func prepare(v *config.Settings, owner privsep.Identity) error {
	if err := os.MkdirAll(v.String("queue_directory"), 0o755); err != nil {
		return err
	}
	dir := spoolDirectory(v)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return fmt.Errorf("%s is not a directory", dir)
	case int(st.Uid) == owner.UID:
		return nil
	case st.Uid != 0:
		return fmt.Errorf("%s belongs to uid %d, neither root nor %s (mail_owner): chown -R it", dir, st.Uid, v.String("mail_owner"))
	}
	if err := handOver(dir, MaildropDirectory(v), owner); err != nil {
		return err
	}
	return os.Lchown(dir, owner.UID, owner.GID)
}

// handOver gives what is below a directory of root to mail_owner: until now only
// root could put anything there, except into the maildrop, whose files keep their
// owners and become readable for the server's group.
func handOver(dir, drop string, owner privsep.Identity) error {
	return filepath.WalkDir(dir, func(name string, e os.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		if filepath.Dir(name) == drop {
			return handOverSubmitted(name, owner)
		}
		return os.Lchown(name, owner.UID, owner.GID)
	})
}

// handOverSubmitted makes a file of the maildrop readable for the server. The
// user who wrote it may have put anything else in its place.
func handOverSubmitted(name string, owner privsep.Identity) error {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil // a link, or gone: pickup says what is wrong with it
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink != 1 {
		return nil
	}
	if err := unix.Fchown(fd, -1, owner.GID); err != nil {
		return &os.PathError{Op: "chown", Path: name, Err: err}
	}
	return unix.Fchmod(fd, 0o640)
}

// lockHelper keeps two servers off one queue directory, both processes of each.
// Those of one that has just died may still be about to end.
func lockHelper(ctx context.Context, dir string) (*os.File, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for range lockAttempts {
		if err = unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != unix.EWOULDBLOCK {
			break
		}
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-time.After(lockPause):
			continue
		}
		break
	}
	if err == nil {
		return d, nil
	}
	d.Close()
	if err == unix.EWOULDBLOCK {
		return nil, fmt.Errorf("%s is in use: another server runs on this queue_directory", dir)
	}
	return nil, fmt.Errorf("lock %s: %w", dir, err)
}
