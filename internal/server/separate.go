package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"postern/internal/config"
	"postern/internal/deliver/command"
	"postern/internal/helper"
	"postern/internal/maillog"
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
	if err := reach(v, runner, owner, spoolDirectory(v)); err != nil {
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
		Policy: o.examined(ctx, owner, runner, func() (*helper.Policy, error) { return policyOf(o.Dir, users) }),
	}
	p := helper.Process{Path: ownProgram, Args: append([]string{os.Args[0]}, args...), As: owner, Lock: lock}
	err = helper.Supervise(ctx, ho, p, signals)
	var exit *helper.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		sayEnded(logOptions(v, o.LogToTTY), runner, owner, exit)
	}
	return err
}

// sayEnded puts the end of the server, which cannot do it any more, into the mail
// log. Where that is not possible, the exit status has to do.
func sayEnded(o maillog.Options, as privsep.Runner, owner privsep.Identity, exit *helper.ExitError) {
	o.OpenFile = func(name string) (*os.File, error) { return helper.OpenLog(as, owner, name) }
	log, err := maillog.Open(o)
	if err != nil {
		return
	}
	log.Program("postern").Fatalf("%v", exit)
	_ = log.Close()
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

// reach makes sure that the server will get to its directory, or as far as it is
// there, and says which directory is in the way.
func reach(v *config.Settings, as privsep.Runner, owner privsep.Identity, dir string) error {
	err := privsep.Reach(as, owner, dir)
	var denied *privsep.Denied
	if errors.As(err, &denied) {
		return fmt.Errorf("%v: queue_directory %s: the server runs as %s (mail_owner): %w: chmod o+x %s, or choose another queue_directory, or set privilege_separation = no",
			v.Value("queue_directory").At, v.String("queue_directory"), v.String("mail_owner"), err, denied.Dir)
	}
	return err
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
