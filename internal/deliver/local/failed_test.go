package local

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"postern/internal/deliver"
	"postern/internal/deliver/mailbox"
	"postern/internal/privsep"
	"postern/internal/route"
	"postern/internal/spool"
)

// failing is a Deliverer that takes nothing.
type failing struct{ err error }

func (f failing) Deliver(context.Context, route.Mailbox, *mailbox.Message) (mailbox.Receipt, error) {
	return mailbox.Receipt{}, f.err
}

// TestFailures: what is wrong with the mailbox itself is refused for good; what
// is wrong with this machine, or will pass, waits.
func TestFailures(t *testing.T) {
	no := func(dsn string, err error) error {
		return &mailbox.Error{DSN: dsn, Reason: "open it: " + mailbox.ErrorText(err), Temporary: dsn[0] == '4', Err: err}
	}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{no("4.2.0", unix.EACCES), "bounced 5.2.0"},
		{no("4.2.0", unix.EPERM), "bounced 5.2.0"},
		{no("4.2.0", unix.ENOENT), "bounced 5.2.0"},
		{no("4.2.0", unix.ENOTDIR), "bounced 5.2.0"},
		{no("4.2.0", unix.ENAMETOOLONG), "bounced 5.2.0"},
		{no("4.2.0", fmt.Errorf("wrapped: %w", unix.EACCES)), "bounced 5.2.0"},
		{no("5.2.2", unix.EDQUOT), "bounced 5.2.2"},
		{no("4.3.0", unix.ENOSPC), "deferred 4.3.0"},
		{no("4.3.0", unix.ENOENT), "deferred 4.3.0"},
		{no("4.3.5", privsep.ErrRoot), "deferred 4.3.5"},
		{no("4.2.0", unix.EAGAIN), "deferred 4.2.0"},
		{no("4.2.0", unix.EEXIST), "deferred 4.2.0"},
		{no("4.2.0", unix.ESTALE), "deferred 4.2.0"},
		{no("4.2.0", unix.EMFILE), "deferred 4.2.0"},
		{no("4.2.0", unix.ENFILE), "deferred 4.2.0"},
		{no("4.2.0", unix.ENOMEM), "deferred 4.2.0"},
		{no("4.2.0", unix.ENOLCK), "deferred 4.2.0"},
		{no("4.2.0", unix.EINTR), "deferred 4.2.0"},
		{no("4.2.0", unix.EIO), "deferred 4.2.0"},
		{no("4.2.0", unix.EROFS), "deferred 4.2.0"},
		{no("4.2.0", fmt.Errorf("no helper")), "deferred 4.2.0"},
		{context.Canceled, "deferred 4.3.2"},
	} {
		for _, f := range []route.Format{route.Mbox, route.Maildir} {
			a := newAgent(resolver{targets: []route.LocalTarget{box("/x", "john", f)}}, body, func(o *Options) { o.Store = failing{tt.err} })
			s := deliverOne(t, a, "team@local.example")
			if got := fmt.Sprintf("%s %s", s.Kind, s.DSN); got != tt.want {
				t.Errorf("%v, format %d: %s, want %s", tt.err, f, got, tt.want)
			}
		}
	}
}

// TestNoRegularFile: the words of local(8) for what is no file, in an alias and
// in the place of a mailbox.
func TestNoRegularFile(t *testing.T) {
	base := t.TempDir()
	if err := os.Mkdir(filepath.Join(base, "dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(base, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"dir": "Is a directory", "fifo": "No such device or address"} {
		target := box(base, name, route.Mbox)
		for _, file := range []bool{false, true} {
			target.Mailbox.File = file
			reason := "cannot update mailbox " + target.Mailbox.Path + " for user " + name + ". cannot open file: " + want
			if file {
				reason = "cannot append message to file " + target.Mailbox.Path + ": cannot open file: " + want
			}
			got := deliverOne(t, newAgent(resolver{targets: []route.LocalTarget{target}}, body, nil), "team@local.example")
			if diff := cmp.Diff(status(deliver.Bounced, "5.2.0", reason), got); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
		}
	}
}

// TestLockedMailbox: a lock file that stays defers.
func TestLockedMailbox(t *testing.T) {
	base := t.TempDir()
	lock := filepath.Join(base, "john.lock")
	if err := os.WriteFile(lock, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a := newAgent(resolver{targets: []route.LocalTarget{box(base, "john", route.Mbox)}}, body, func(o *Options) {
		o.Store = mailbox.New(mailbox.Options{
			As: asIs{}, Mode: func(string) spool.Mode { return spool.Shared }, Locks: mailbox.LockDot,
			Timing: mailbox.LockTiming{Attempts: 2}, Sleep: func(context.Context, time.Duration) error { return nil },
		})
	})
	want := status(deliver.Deferred, "4.2.0", "cannot update mailbox "+base+"/john for user john. unable to create lock file "+lock+": File exists")
	if diff := cmp.Diff(want, deliverOne(t, a, "team@local.example")); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}
