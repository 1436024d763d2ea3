package helper

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"postern/internal/privsep"
	"postern/internal/route"
)

// TestMayLend: the group of mail_spool_directory is lent for the user's own
// mailbox there, and for nothing else.
func TestMayLend(t *testing.T) {
	p, _ := policy(t)
	for _, tt := range []struct {
		name string
		box  route.Mailbox
		gid  int
		want bool
	}{
		{"spool file", route.Mailbox{Base: "/var/mail", Path: "/var/mail/jane", UID: 8001, GID: 8001, User: "jane"}, 8, true},
		{"root's group", route.Mailbox{Base: "/var/mail", Path: "/var/mail/jane", UID: 8001, GID: 8001, User: "jane"}, 0, false},
		{"group of mail_owner", route.Mailbox{Base: "/var/mail", Path: "/var/mail/jane", UID: 8001, GID: 8001, User: "jane"}, 8100, false},
		{"setgid_group", route.Mailbox{Base: "/var/mail", Path: "/var/mail/jane", UID: 8001, GID: 8001, User: "jane"}, 8101, false},
		{"another file", route.Mailbox{Base: "/var/mail", Path: "/var/mail/janet.pth", UID: 8001, GID: 8001, User: "jane"}, 8, false},
		{"a name of nobody", route.Mailbox{Base: "/var/mail", Path: "/var/mail/x", UID: 8001, GID: 8001, User: "x"}, 8, false},
		{"somebody else's", route.Mailbox{Base: "/var/mail", Path: "/var/mail/fred", UID: 8001, GID: 8001, User: "fred"}, 8, false},
		{"another directory", route.Mailbox{Base: "/usr/local/lib", Path: "/usr/local/lib/jane", UID: 8001, GID: 8001, User: "jane"}, 50, false},
		{"the trusted user anywhere", route.Mailbox{Base: "/data", Path: "/data/x", UID: 8200, GID: 8200, User: "x"}, 50, false},
		{"a virtual mailbox", route.Mailbox{Base: "/mail", Path: "/mail/jane", UID: 8001, GID: 8001, User: "jane"}, 50, false},
	} {
		if got := p.mayLend(&tt.box, tt.gid); got != tt.want {
			t.Errorf("%s: mayLend(%+v, %d) = %v", tt.name, tt.box, tt.gid, got)
		}
	}
}

// TestLend: the group that a directory is open to is lent in
// mail_spool_directory, whatever the server says about others.
func TestLend(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root")
		}
		t.Skip("needs root")
	}
	spool, other := home(t), home(t)
	for _, dir := range []string{spool, other} {
		if err := errors.Join(os.Chown(dir, 0, 4708), unix.Chmod(dir, 0o2775)); err != nil {
			t.Fatal(err)
		}
	}
	uid, gid := somebody()
	jane := User{Name: "jane", UID: uid, GID: gid}
	p := &Policy{Owner: privsep.Identity{UID: 8100, GID: 8100}, SpoolDirs: []string{spool}, Trusted: map[int]bool{uid: true},
		Users: func(int) []User { return []User{jane} }}
	store := connect(t, p).Store(options())
	for base, want := range map[string]bool{spool: true, other: false} {
		b := box(base, "jane", route.Mbox)
		b.User = "jane"
		if _, err := store.Deliver(t.Context(), b, message("text\n")); (err == nil) != want {
			t.Errorf("Deliver below %s = %v, want success %v", base, err, want)
		}
	}
}
