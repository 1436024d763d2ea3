package server

import (
	"testing"

	"postern/internal/privsep"
	"postern/internal/route"
)

// TestLends: mail_spool_directory lends its group, unless the group is one of the
// mail system.
func TestLends(t *testing.T) {
	h := &house{t: t, dir: t.TempDir()}
	h.configure("mail_owner = daemon\nsetgid_group = tty\nmail_spool_directory = /var/mail/\n", "127.0.0.1:2525")
	v, err := LoadSettings(h.dir)
	if err != nil {
		t.Fatal(err)
	}
	owner, err := privsep.LookupUser("daemon")
	if err != nil {
		t.Fatal(err)
	}
	setgid, err := privsep.LookupGroup("tty")
	if err != nil {
		t.Fatal(err)
	}
	lend := lends(v)
	for _, tt := range []struct {
		base string
		gid  int
		want bool
	}{
		{"/var/mail", 4708, true},
		{"/var/mail", owner.GID, false},
		{"/var/mail", setgid, false},
		{"/var/mail", 0, false},
		{"/usr/local/lib", 4708, false},
		{"", 4708, false},
	} {
		if got := lend(&route.Mailbox{Base: tt.base}, tt.gid); got != tt.want {
			t.Errorf("a directory %q of group %d lends it: %v", tt.base, tt.gid, got)
		}
	}
}
