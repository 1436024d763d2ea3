package helper

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"postern/internal/deliver/command"
	"postern/internal/privsep"
	"postern/internal/route"
)

// policy is that of a server with every kind of delivery. fred has a home with a
// .forward file.
func policy(t *testing.T) (p *Policy, fred string) {
	t.Helper()
	uid, _ := somebody()
	fred = home(t)
	for name, text := range map[string]string{
		".forward":     "\\fred, /data/fred/archive, ~/folder, :include:" + fred + "/list, \"|/usr/bin/vacation fred\"\n",
		".forward+ext": "/data/fred/ext\n",
		"secret":       "secret\n",
	} {
		if err := os.WriteFile(filepath.Join(fred, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	users := map[int][]User{
		uid:  {{Name: "fred", UID: uid, Home: fred}},
		8001: {{Name: "jane", UID: 8001, Home: "/nonexistent/jane"}, {Name: "janet", UID: 8001, Home: "/nonexistent/jane"}},
	}
	for _, list := range users {
		users[AnyUser] = append(users[AnyUser], list...)
	}
	return &Policy{
		Owner: privsep.Identity{UID: 8100, GID: 8100}, Groups: []int{8101},
		Virtual: map[string]int{"/mail": 5000}, SpoolDirs: []string{"/var/mail"}, HomeMailbox: []string{"Maildir/"},
		Forward: []string{"$home/.forward"}, Trusted: map[int]bool{8200: true}, Pipes: map[int][]string{8300: {"/usr/lib/deliver"}},
		Users: func(uid int) []User { return users[uid] },
	}, fred
}

func TestMayStore(t *testing.T) {
	p, fred := policy(t)
	uid, gid := somebody()
	tests := []struct {
		name string
		box  route.Mailbox
		want error
	}{
		{"virtual", route.Mailbox{Base: "/mail", Path: "/mail/example.org/john", UID: 5000, GID: 5000}, nil},
		{"virtual as root", route.Mailbox{Base: "/mail", Path: "/mail/john", UID: 0, GID: 5000}, privsep.ErrRoot},
		{"virtual as group root", route.Mailbox{Base: "/mail", Path: "/mail/john", UID: 5000, GID: 0}, privsep.ErrRoot},
		{"virtual below the minimum", route.Mailbox{Base: "/mail", Path: "/mail/john", UID: 4999, GID: 5000}, ErrRefused},
		{"as mail_owner", route.Mailbox{Base: "/mail", Path: "/mail/john", UID: 8100, GID: 5000}, ErrRefused},
		{"as the group of mail_owner", route.Mailbox{Base: "/mail", Path: "/mail/john", UID: 5000, GID: 8100}, ErrRefused},
		{"as setgid_group", route.Mailbox{Base: "/mail", Path: "/mail/john", UID: 5000, GID: 8101}, ErrRefused},
		{"another base", route.Mailbox{Base: "/", Path: "/mail/john", UID: 5000, GID: 5000}, ErrRefused},
		{"out of the base", route.Mailbox{Base: "/mail", Path: "/mail/../etc/john", UID: 5000, GID: 5000}, ErrRefused},
		{"beside the base", route.Mailbox{Base: "/mail", Path: "/mailing/john", UID: 5000, GID: 5000}, ErrRefused},
		{"the base itself", route.Mailbox{Base: "/mail", Path: "/mail", UID: 5000, GID: 5000}, ErrRefused},
		{"spool file", route.Mailbox{Base: "/var/mail", Path: "/var/mail/jane", UID: 8001, GID: 8001, User: "jane"}, nil},
		{"second name", route.Mailbox{Base: "/var/mail", Path: "/var/mail/janet", UID: 8001, GID: 8001, User: "janet"}, nil},
		{"somebody else's spool file", route.Mailbox{Base: "/var/mail", Path: "/var/mail/fred", UID: 8001, GID: 8001, User: "fred"}, ErrRefused},
		{"home mailbox", route.Mailbox{Base: "/nonexistent/jane", Path: "/nonexistent/jane/Maildir", UID: 8001, GID: 8001, User: "jane"}, nil},
		{"other file at home", route.Mailbox{Base: "/nonexistent/jane", Path: "/nonexistent/jane/.ssh/authorized_keys", UID: 8001, GID: 8001}, ErrRefused},
		{"no such user", route.Mailbox{Base: "/var/mail", Path: "/var/mail/mary", UID: 8002, GID: 8002, User: "mary"}, ErrRefused},
		{"trusted user", route.Mailbox{Base: "/data", Path: "/data/archive", UID: 8200, GID: 8200}, nil},
		{"file of .forward", route.Mailbox{Base: "/data", Path: "/data/fred/archive", UID: uid, GID: gid}, nil},
		{"file of .forward+ext", route.Mailbox{Base: "/data", Path: "/data/fred/ext", UID: uid, GID: gid}, nil},
		{"file at home of .forward", route.Mailbox{Base: fred, Path: fred + "/folder", UID: uid, GID: gid}, nil},
		{"file not in .forward", route.Mailbox{Base: fred, Path: fred + "/secret", UID: uid, GID: gid}, ErrRefused},
	}
	for _, tt := range tests {
		if err := p.mayStore(t.Context(), privsep.New(), &tt.box); !errors.Is(err, tt.want) {
			t.Errorf("%s: mayStore(%+v) = %v, want %v", tt.name, tt.box, err, tt.want)
		}
	}
}

func TestMayRun(t *testing.T) {
	p, _ := policy(t)
	uid, gid := somebody()
	id := func(uid, gid int, groups ...int) privsep.Identity {
		return privsep.Identity{UID: uid, GID: gid, Groups: groups}
	}
	tests := []struct {
		name string
		as   privsep.Identity
		argv string
		want error
	}{
		{"trusted user", id(8200, 8200), "/bin/anything", nil},
		{"pipe service", id(8300, 8300), "/usr/lib/deliver", nil},
		{"another program of its user", id(8300, 8300), "/bin/sh", ErrRefused},
		{"command of .forward", id(uid, gid), "/usr/bin/vacation", nil},
		{"user without .forward", id(8001, 8001), "/bin/sh", ErrRefused},
		{"nobody known", id(8002, 8002), "/bin/sh", ErrRefused},
		{"mail_owner", id(8100, 8200), "/bin/sh", ErrRefused},
		{"root", id(0, 8200), "/bin/sh", privsep.ErrRoot},
		{"group root", id(8200, 8200, 0), "/bin/sh", privsep.ErrRoot},
		{"group of the mail system", id(8200, 8200, 8101), "/bin/sh", ErrRefused},
	}
	for _, tt := range tests {
		if err := p.mayRun(t.Context(), privsep.New(), &command.Spec{As: tt.as, Argv: []string{tt.argv}}); !errors.Is(err, tt.want) {
			t.Errorf("%s: mayRun(%v, %s) = %v, want %v", tt.name, tt.as, tt.argv, err, tt.want)
		}
	}
	p.MailboxCommand = true
	if err := p.mayRun(t.Context(), privsep.New(), &command.Spec{As: id(8001, 8001), Argv: []string{"/usr/bin/procmail"}}); err != nil {
		t.Errorf("mailbox_command: %v", err)
	}
}

func TestMayRead(t *testing.T) {
	p, fred := policy(t)
	uid, gid := somebody()
	tests := []struct {
		name, path string
		uid, gid   int
		limit      int64
		want       error
	}{
		{".forward", fred + "/.forward", uid, gid, 1, nil},
		{".forward+ext", fred + "/.forward+ext", uid, gid, 1, nil},
		{"file that .forward includes", fred + "/list", uid, gid, 1, nil},
		{"another file", fred + "/secret", uid, gid, 1, ErrRefused},
		{"is it there?", fred + "/secret", uid, gid, 0, nil},
		{"below a name like .forward", fred + "/.forward/../secret", uid, gid, 1, ErrRefused},
		{"somebody else's .forward", fred + "/.forward", 8001, 8001, 1, ErrRefused},
		{"trusted user", "/lists/all", 8200, 8200, 1, nil},
		{"root", fred + "/.forward", 0, gid, 1, privsep.ErrRoot},
		{"relative", ".forward", uid, gid, 1, ErrRefused},
	}
	for _, tt := range tests {
		err := p.mayRead(t.Context(), privsep.New(), privsep.Identity{UID: tt.uid, GID: tt.gid}, tt.path, tt.limit)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: mayRead(%d, %s, %d) = %v, want %v", tt.name, tt.uid, tt.path, tt.limit, err, tt.want)
		}
	}
}

func TestMailBase(t *testing.T) {
	p, fred := policy(t)
	tests := []struct{ path, want string }{
		{"/mail/john/new/1", "/mail"}, {"/mail", "/mail"}, {"/var/mail/jane", "/var/mail"},
		{fred + "/Maildir/new/1", fred}, {fred + "/Maildir", fred},
		{fred + "/secret", ""}, {fred, ""}, {"/etc/passwd", ""}, {"/mail/../etc", ""}, {"mail/x", ""}, {"/mailing/x", ""},
	}
	for _, tt := range tests {
		if got, err := p.mailBase(tt.path); got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("mailBase(%s) = %q, %v, want %q", tt.path, got, err, tt.want)
		}
	}
}

// TestZeroPolicy allows nothing.
func TestZeroPolicy(t *testing.T) {
	var p Policy
	uid, gid := somebody()
	as := privsep.New()
	for what, err := range map[string]error{
		"store":  p.mayStore(t.Context(), as, &route.Mailbox{Base: "/", Path: "/x", UID: uid, GID: gid}),
		"run":    p.mayRun(t.Context(), as, &command.Spec{As: privsep.Identity{UID: uid, GID: gid}, Argv: []string{"/bin/true"}}),
		"read":   p.mayRead(t.Context(), as, privsep.Identity{UID: uid, GID: gid}, "/etc/passwd", 1),
		"open":   p.mayOpen("/etc/passwd"),
		"sync a": func() error { _, err := p.mailBase("/etc/passwd"); return err }(),
	} {
		if err == nil {
			t.Errorf("the zero policy allows to %s", what)
		}
	}
}

func TestSystemUsers(t *testing.T) {
	name := filepath.Join(t.TempDir(), "passwd")
	users := SystemUsers(name)
	if got := users(5); got != nil {
		t.Errorf("without a file: %v", got)
	}
	text := "root:x:0:0::/root:/bin/sh\nfred:x:5:5:Fred:/home/fred:/bin/sh\nbad line\nbad:x:y:5::/:\nfreddy:x:5:6::/home/freddy:/bin/false\n"
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	got := users(5)
	if len(got) != 2 || got[0] != (User{"fred", 5, "/home/fred"}) || got[1].Name != "freddy" {
		t.Errorf("users(5) = %+v", got)
	}
	if got := users(AnyUser); len(got) != 3 {
		t.Errorf("all users: %+v", got)
	}
	if err := os.WriteFile(name, []byte("mary:x:5:5::/home/mary:/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := users(5); len(got) != 1 || got[0].Name != "mary" {
		t.Errorf("after a change: %+v", got)
	}
}
