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

// A group that nobody of the tests is in, as shadow and disk are.
const foreign = 42

// TestForeignGroup: whatever a user may have stored, run or read, it is with no
// group but the user's own.
func TestForeignGroup(t *testing.T) {
	p, fred := policy(t)
	uid, gid := somebody()
	p.Default = privsep.Identity{UID: 8400, GID: 8401}
	p.AnyCommand = true
	p.MailboxCommands = []string{"/bin/all"}
	as := privsep.New()
	mailbox := func(path string) func(id privsep.Identity) error {
		return func(id privsep.Identity) error {
			return p.mayStore(t.Context(), as, &route.Mailbox{Base: filepath.Dir(path), Path: path, UID: id.UID, GID: id.GID})
		}
	}
	run := func(argv ...string) func(id privsep.Identity) error {
		return func(id privsep.Identity) error {
			return p.mayRun(t.Context(), as, &command.Spec{As: id, Argv: argv, Dir: "/"})
		}
	}
	read := func(name string, limit int64) func(id privsep.Identity) error {
		return func(id privsep.Identity) error { return p.mayRead(t.Context(), as, id, name, limit) }
	}
	for _, tt := range []struct {
		name     string
		uid, gid int
		may      func(id privsep.Identity) error
		groups   bool // the request has groups beside the one
	}{
		{"virtual mailbox", 5000, 5000, mailbox("/mail/john"), false},
		{"file of .forward", uid, gid, mailbox(fred + "/folder"), false},
		{"spool file", 8001, 8001, mailbox("/var/mail/jane"), false},
		{"any file", 8200, 8200, mailbox("/data/archive"), false},
		{"command of .forward", uid, gid, run("/bin/sh", "-c", `/usr/bin/vacation -a "x" fred`), true},
		{"any command", 8200, 8200, run("/bin/anything"), true},
		{"mailbox_command", 8001, 8001, run("/bin/all"), true},
		{"pipe service", 8300, 8300, run("/usr/lib/deliver", "x"), true},
		{".forward", uid, gid, read(fred+"/.forward", 1), true},
		{"file of a list", uid, gid, read(fred+"/list", 1), true},
		{"any list", 8200, 8200, read("/lists/all", 1), true},
		{"is it there?", 8400, 8401, read("/lists/all", 0), true},
	} {
		if err := tt.may(privsep.Identity{UID: tt.uid, GID: tt.gid}); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		for _, other := range []int{foreign, 8001, 8300} {
			if err := tt.may(privsep.Identity{UID: tt.uid, GID: other}); other != tt.gid && !errors.Is(err, ErrRefused) {
				t.Errorf("%s with gid %d: %v, want %v", tt.name, other, err, ErrRefused)
			}
		}
		if !tt.groups {
			continue
		}
		if err := tt.may(privsep.Identity{UID: tt.uid, GID: tt.gid, Groups: []int{tt.gid}}); err != nil {
			t.Errorf("%s with its group twice: %v", tt.name, err)
		}
		if err := tt.may(privsep.Identity{UID: tt.uid, GID: tt.gid, Groups: []int{tt.gid, foreign}}); !errors.Is(err, ErrRefused) {
			t.Errorf("%s with gid %d besides: %v, want %v", tt.name, foreign, err, ErrRefused)
		}
	}
}

// TestGroupOfDefaultPrivs: a user whose group is root's has that of default_privs.
func TestGroupOfDefaultPrivs(t *testing.T) {
	p := &Policy{Default: privsep.Identity{UID: 8400, GID: 8401}, Trusted: map[int]bool{8500: true}, Users: only(8500, 0)}
	for gid, want := range map[int]error{8401: nil, foreign: ErrRefused, 0: privsep.ErrRoot} {
		err := p.mayRead(t.Context(), privsep.New(), privsep.Identity{UID: 8500, GID: gid}, "/list", 1)
		if !errors.Is(err, want) {
			t.Errorf("gid %d: %v, want %v", gid, err, want)
		}
	}
}

// TestVirtualGroups: the group of a virtual mailbox is one that
// virtual_gid_maps gives, as far as the helper can read that.
func TestVirtualGroups(t *testing.T) {
	name := filepath.Join(t.TempDir(), "gids")
	write(t, name, "john@example.test 5001\n@example.test 5002 staff\nbad@example.test staff\n", os.Getuid(), os.Getgid())
	may := func(n Numbers, gid int) bool {
		p := &Policy{Virtual: map[string]int{"/mail": 1}, VirtualGIDs: n}
		err := p.mayStore(t.Context(), privsep.New(), &route.Mailbox{Base: "/mail", Path: "/mail/john", UID: 5000, GID: gid})
		if err != nil && !errors.Is(err, ErrRefused) {
			t.Errorf("gid %d: %v", gid, err)
		}
		return err == nil
	}
	static := Numbers{Known: map[int]bool{5000: true}}
	text := Numbers{Files: []string{name + "-gone", name}}
	for _, tt := range []struct {
		name string
		of   Numbers
		gid  int
		want bool
	}{
		{"none", Numbers{}, 5000, false},
		{"static", static, 5000, true},
		{"other than static", static, foreign, false},
		{"text", text, 5001, true},
		{"number with more behind it", text, 5002, true},
		{"not in the text", text, foreign, false},
		{"table that cannot be read here", Numbers{Any: true}, foreign, true},
	} {
		if got := may(tt.of, tt.gid); got != tt.want {
			t.Errorf("%s: gid %d is allowed: %v, want %v", tt.name, tt.gid, got, tt.want)
		}
	}
	p := &Policy{Virtual: map[string]int{"/mail": 1}, VirtualGIDs: text}
	box := &route.Mailbox{Base: "/mail", Path: "/mail/john", UID: 5000, GID: 5003}
	if err := p.mayStore(t.Context(), privsep.New(), box); !errors.Is(err, ErrRefused) {
		t.Errorf("before the text has it: %v", err)
	}
	write(t, name, "john@example.test 5003, which is new\n", os.Getuid(), os.Getgid())
	if err := p.mayStore(t.Context(), privsep.New(), box); err != nil {
		t.Errorf("after a change: %v", err)
	}
}
