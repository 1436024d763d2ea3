package helper

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/deliver/command"
	"postern/internal/privsep"
	"postern/internal/route"
)

// write makes a file of somebody, or of root.
func write(t *testing.T, name, text string, uid, gid int) {
	t.Helper()
	if err := errors.Join(os.WriteFile(name, []byte(text), 0o644), os.Chown(name, uid, gid)); err != nil {
		t.Fatal(err)
	}
}

// policy is that of a server with every kind of delivery. fred has a home with a
// .forward file.
func policy(t *testing.T) (p *Policy, fred string) {
	t.Helper()
	uid, gid := somebody()
	fred = home(t)
	for name, text := range map[string]string{
		".forward":     "\\fred, /data/fred/archive, ~/folder, :include:" + fred + "/list, \"|/usr/bin/vacation -a \\\"x\\\" fred\"\n",
		".forward+ext": "# |/bin/sh\n/data/fred/ext\n",
		"secret":       "secret\n",
		"list":         "|/bin/listed, /data/listed\n",
	} {
		write(t, filepath.Join(fred, name), text, uid, gid)
	}
	users := map[int][]User{
		uid:  {{Name: "fred", UID: uid, GID: gid, Home: fred, Shell: "/bin/bash"}},
		8001: {{Name: "jane", UID: 8001, GID: 8001, Home: "/nonexistent/jane"}, {Name: "janet", UID: 8001, GID: 8001, Home: "/nonexistent/jane"}},
		8200: {{Name: "trusted", UID: 8200, GID: 8200}},
	}
	for _, list := range users {
		users[AnyUser] = append(users[AnyUser], list...)
	}
	both := map[string]bool{"alias": true, "forward": true}
	return &Policy{
		Owner: privsep.Identity{UID: 8100, GID: 8100}, Groups: []int{8101},
		Virtual: map[string]int{"/mail": 5000}, VirtualGIDs: Numbers{Known: map[int]bool{5000: true}}, SpoolDirs: []string{"/var/mail"}, HomeMailbox: []string{"Maildir/"},
		Forward: []string{"$home/.forward"}, Trusted: map[int]bool{8200: true},
		Pipes:          []Pipe{{8300, 8300, func(argv []string) bool { return len(argv) == 2 && argv[0] == "/usr/lib/deliver" }}},
		MailToCommands: both, MailToFiles: both, Shells: []string{""}, Filters: []string{"abc/"},
		Environment: map[string]bool{"PATH=/usr/bin:/bin": true}, WorkDirs: map[string]bool{"/": true},
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
	vacation := []string{"/bin/sh", "-c", `/usr/bin/vacation -a "x" fred`}
	tests := []struct {
		name string
		as   privsep.Identity
		argv []string
		want error
	}{
		{"trusted user", id(8200, 8200), []string{"/bin/anything"}, nil},
		{"pipe service", id(8300, 8300), []string{"/usr/lib/deliver", "x"}, nil},
		{"other arguments", id(8300, 8300), []string{"/usr/lib/deliver", "x", "y"}, ErrRefused},
		{"another program of its user", id(8300, 8300), []string{"/bin/sh", "x"}, ErrRefused},
		{"command of .forward", id(uid, gid), vacation, nil},
		{"part of it", id(uid, gid), vacation[:1], ErrRefused},
		{"nothing", id(uid, gid), nil, ErrRefused},
		{"its words", id(uid, gid), []string{"/usr/bin/vacation", "-a", `"x"`, "fred"}, ErrRefused},
		{"another command", id(uid, gid), []string{"/bin/sh", "-c", "id"}, ErrRefused},
		{"in a comment", id(uid, gid), []string{"/bin/sh"}, ErrRefused},
		{"of a list, which may not", id(uid, gid), []string{"/bin/listed"}, ErrRefused},
		{"somebody else's", id(8001, 8001), vacation, ErrRefused},
		{"nobody known", id(8002, 8002), vacation, ErrRefused},
		{"mail_owner", id(8100, 8200), vacation, ErrRefused},
		{"root", id(0, 8200), vacation, privsep.ErrRoot},
		{"group root", id(8200, 8200, 0), vacation, privsep.ErrRoot},
		{"group of the mail system", id(8200, 8200, 8101), vacation, ErrRefused},
	}
	check := func(name string, as privsep.Identity, argv []string, want error) {
		t.Helper()
		if err := p.mayRun(t.Context(), privsep.New(), &command.Spec{As: as, Argv: argv, Dir: "/"}); !errors.Is(err, want) {
			t.Errorf("%s: mayRun(%v, %q) = %v, want %v", name, as, argv, err, want)
		}
	}
	for _, tt := range tests {
		check(tt.name, tt.as, tt.argv, tt.want)
	}
	p.MailToCommands = map[string]bool{"include": true}
	check("allow_mail_to_commands without forward", id(uid, gid), vacation, ErrRefused)
	check("allow_mail_to_commands with include", id(uid, gid), []string{"/bin/listed"}, nil)
	p.Shells = []string{"/bin/restricted -c"}
	check("local_command_shell", id(uid, gid), []string{"/bin/restricted", "-c", "/bin/listed"}, nil)
	check("without local_command_shell", id(uid, gid), []string{"/bin/listed"}, ErrRefused)
}

// TestMayRunMailboxCommand: mailbox_command is that of every user, a row of
// mailbox_command_maps that of one.
func TestMayRunMailboxCommand(t *testing.T) {
	p, _ := policy(t)
	name := filepath.Join(t.TempDir(), "commands")
	uid, gid := somebody()
	write(t, name, "Jane  /bin/own $HOME\nfred  /bin/freds\n", os.Getuid(), os.Getgid())
	p.MailboxCommands, p.CommandMaps = []string{"/usr/bin/procmail -a $EXTENSION"}, []string{name, name + "-gone"}
	jane := privsep.Identity{UID: 8001, GID: 8001}
	run := func(as privsep.Identity, line string) error {
		argv := command.Argv(line, "", nil)
		return p.mayRun(t.Context(), privsep.New(), &command.Spec{As: as, Argv: argv, Dir: "/"})
	}
	for _, tt := range []struct {
		as   privsep.Identity
		line string
		want error
	}{
		{jane, "/usr/bin/procmail -a $EXTENSION", nil},
		{jane, "/usr/bin/procmail -a x", ErrRefused},
		{jane, "/bin/own $HOME", nil},
		{jane, "/bin/freds", ErrRefused},
		{privsep.Identity{UID: uid, GID: gid}, "/bin/freds", nil},
		{privsep.Identity{UID: 8002, GID: 8002}, "/usr/bin/procmail -a $EXTENSION", ErrRefused},
	} {
		if err := run(tt.as, tt.line); !errors.Is(err, tt.want) {
			t.Errorf("%s as %v: %v, want %v", tt.line, tt.as, err, tt.want)
		}
	}
	write(t, name, "jane  /bin/another\n", os.Getuid(), os.Getgid())
	if err := errors.Join(run(jane, "/bin/another")); err != nil {
		t.Errorf("after a change: %v", err)
	}
	p.AnyCommand = true
	if err := run(jane, "/bin/sh"); err != nil {
		t.Errorf("with a table that is no text: %v", err)
	}
}

// TestSurroundings: a command gets the environment and the directory that the
// configuration gives it.
func TestSurroundings(t *testing.T) {
	p, fred := policy(t)
	p.Owner.UID = os.Getuid()
	queue := t.TempDir()
	uid, _ := somebody()
	if uid == p.Owner.UID {
		p.Owner.UID = -1
	}
	for _, tt := range []struct {
		env  string
		dir  string
		want bool
	}{
		{"PATH=/usr/bin:/bin", "/", true},
		{"PATH=" + queue, "/", false},
		{"LD_PRELOAD=" + queue + "/x.so", "/", false},
		{"EXTENSION=a/b", "/", true},
		{"EXTENSION=$x", "/", false},
		{"EXTENSION", "/", true}, // no variable at all
		{"HOME=" + command.Censor(fred, "abc/"), "/", true},
		{"HOME=" + fred, "/", strings.Trim(fred, "abc/") == ""},
		{"HOME=/a", "/", false},
		{"SHELL=" + command.Censor("/bin/bash", "abc/"), "/", true},
		{"SHELL=/b", "/", false},
		{"", "/", false},
		{"LOCAL=a", "", false},
		{"LOCAL=a", "relative", false},
		{"LOCAL=a", queue, p.Owner.UID == -1},
	} {
		err := p.surroundings(&command.Spec{Env: []string{tt.env}, Dir: tt.dir}, p.users(uid))
		if (err == nil) != tt.want {
			t.Errorf("%q in %q: %v", tt.env, tt.dir, err)
		}
	}
}

// TestAliases: the commands and files of an alias file have the rights of
// default_privs where the file is root's, and so has what it includes, unless
// that belongs to somebody else.
func TestAliases(t *testing.T) {
	p, dir := policy(t)
	uid, gid := somebody()
	owner, group, other := 0, 0, privsep.Identity{UID: 8001, GID: 8001}
	if os.Geteuid() != 0 {
		owner, group, other = uid, gid, privsep.Identity{UID: uid, GID: gid}
	}
	p.Default = privsep.Identity{UID: uid, GID: gid}
	p.MailToFiles = map[string]bool{"alias": true, "forward": true, "include": true}
	p.MailToCommands = p.MailToFiles
	write(t, dir+"/aliases", "# x: |/bin/comment\nlist: \"|/bin/majordomo -l x\", /data/log,\n  :include:"+dir+"/mine,:INCLUDE:"+dir+"/theirs\nfred: jane\ntight:\"|/bin/tight x\", bob\n", owner, group)
	write(t, dir+"/mine", "|/bin/mine, :include:"+dir+"/mine\n", owner, group)
	write(t, dir+"/theirs", "|/bin/theirs, /data/theirs\n", other.UID, other.GID)
	p.Aliases = []string{dir + "/aliases", dir + "/gone"}
	mine := p.Default
	run := func(as privsep.Identity, argv ...string) error {
		return p.mayRun(t.Context(), privsep.New(), &command.Spec{As: as, Argv: argv, Dir: "/"})
	}
	for _, tt := range []struct {
		what string
		err  error
		want error
	}{
		{"command", run(mine, "/bin/majordomo", "-l", "x"), nil},
		{"command in the shell", run(mine, "/bin/sh", "-c", "/bin/majordomo -l x"), nil},
		{"command of a row without blanks", run(mine, "/bin/tight", "x"), nil},
		{"other arguments", run(mine, "/bin/majordomo", "-l", "y"), ErrRefused},
		{"comment", run(mine, "/bin/comment"), ErrRefused},
		{"include", run(mine, "/bin/mine"), nil},
		{"include of another", run(other, "/bin/theirs"), nil},
		{"file", p.mayStore(t.Context(), privsep.New(), &route.Mailbox{Base: "/data", Path: "/data/log", UID: mine.UID, GID: mine.GID, File: true}), nil},
		{"another file", p.mayStore(t.Context(), privsep.New(), &route.Mailbox{Base: "/data", Path: "/data/lo", UID: mine.UID, GID: mine.GID, File: true}), ErrRefused},
		{"file of another", p.mayStore(t.Context(), privsep.New(), &route.Mailbox{Base: "/data", Path: "/data/theirs", UID: other.UID, GID: other.GID, File: true}), nil},
		{"reading the include", p.mayRead(t.Context(), privsep.New(), mine, dir+"/mine", 1), nil},
		{"reading that of another", p.mayRead(t.Context(), privsep.New(), other, dir+"/theirs", 1), nil},
		{"reading it as the list", p.mayRead(t.Context(), privsep.New(), mine, dir+"/theirs", 1), nil},
		{"reading another file", p.mayRead(t.Context(), privsep.New(), mine, dir+"/secret", 1), ErrRefused},
	} {
		if !errors.Is(tt.err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.what, tt.err, tt.want)
		}
	}
	if os.Geteuid() == 0 {
		for what, err := range map[string]error{
			"the list as another": run(other, "/bin/majordomo", "-l", "x"),
			"another as the list": run(mine, "/bin/theirs"),
		} {
			if !errors.Is(err, ErrRefused) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	if err := os.Chmod(dir+"/mine", 0o666); err != nil {
		t.Fatal(err)
	}
	if err := run(mine, "/bin/mine"); !errors.Is(err, ErrRefused) {
		t.Errorf("a list that everybody may write: %v", err)
	}
}

// FuzzMembers: the members are those that package address finds.
func FuzzMembers(f *testing.F) {
	f.Add("\\fred, \"|/bin/x a \\\"b\\\"\", /file, ~/file, :include:/list\n# |/no\n")
	f.Add(":INCLUDE: /a, \":include:/b c\"")
	f.Fuzz(func(t *testing.T, text string) {
		for _, m := range parseMembers([]byte(text)) {
			if !strings.HasPrefix(m, "|") && !strings.HasPrefix(m, "/") && !strings.HasPrefix(m, "~/") && !strings.HasPrefix(m, includeWord) {
				t.Errorf("%q is a member of %q", m, text)
			}
		}
	})
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
	if len(got) != 2 || got[0] != (User{"fred", 5, 5, "/home/fred", "/bin/sh"}) || got[1].Name != "freddy" {
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
