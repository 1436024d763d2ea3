package mailboxes

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"postern/internal/finding"
	"postern/internal/route"
)

func TestDenied(t *testing.T) {
	e := func(uid, gid, mode uint32) *element {
		return &element{path: "/nonexistent", st: unix.Stat_t{Uid: uid, Gid: gid, Mode: unix.S_IFDIR | mode}}
	}
	id := identity{5000, []int{5001, 8}}
	for _, c := range []struct {
		e    *element
		bits uint32
		want bool
	}{
		{e(5000, 0, 0o300), write | search, false},
		{e(5000, 0, 0o077), search, true}, // the owner has the owner's bits only
		{e(0, 5001, 0o070), write | search, false},
		{e(0, 5001, 0o707), search, true},
		{e(0, 8, 0o010), search, false},
		{e(0, 8, 0o010), write, true},
		{e(0, 0, 0o755), search, false},
		{e(0, 0, 0o755), write, true},
		{e(0, 0, 0o754), search, true},
	} {
		if got := id.denied(c.e, c.bits); got != c.want {
			t.Errorf("denied(%v, %o) = %v, want %v", c.e, c.bits, got, c.want)
		}
	}
	if (identity{}).denied(e(1, 1, 0), write|search) {
		t.Error("root is denied something")
	}
	if got := e(0, 0, 0o1755).String(); got != "/nonexistent root:root 1755" {
		t.Errorf("String() = %q", got)
	}
}

func TestClimb(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	check(t, err)
	check(t, os.MkdirAll(dir+"/a/b", 0o755))
	check(t, os.WriteFile(dir+"/a/file", nil, 0o600))
	for name, target := range map[string]string{
		"a/up": "../a/b", "a/out": "../../" + filepath.Base(dir) + "/a", "a/abs": dir + "/a/b", "a/loop": "loop", "a/dangling": "none",
	} {
		check(t, os.Symlink(target, filepath.Join(dir, name)))
	}
	seen := views{}
	for _, c := range []struct {
		rel                            string
		below                          bool
		end, missing, blocked, outside string
		unseen                         bool
	}{
		{rel: "a/b", end: "a/b"},
		{rel: "", end: "."},
		{rel: "a//./b/", end: "a/b"},
		{rel: "a/file", end: "a/file"},
		{rel: "a/file/x", blocked: "a/file"},
		{rel: "a/none/x", missing: "a/none"},
		{rel: "a/up", below: true, end: "a/b"},
		{rel: "a/b/../b", below: true, end: "a/b"},
		{rel: "a/out", below: true, outside: "a/out"},
		{rel: "a/out", end: "a"},
		{rel: "a/abs", below: true, outside: "a/abs"},
		{rel: "a/abs", end: "a/b"},
		{rel: "a/dangling", missing: "a/none"},
		{rel: "a/loop", unseen: true},
		{rel: "a/none/y", missing: "a/none"},
		{rel: "a/file/y", blocked: "a/file"},
	} {
		w, err := climb(dir, c.rel, c.below)
		if (err != nil) != c.unseen {
			t.Errorf("climb(%q) = %v", c.rel, err)
			continue
		}
		if other, err := seen.climb(dir, c.rel, c.below); (err != nil) != c.unseen || other.missing != w.missing ||
			other.outside != w.outside || other.String() != w.String() {
			t.Errorf("climb(%q) with what was seen before = %+v, want %+v", c.rel, other, w)
		}
		same := func(what, got, want string) {
			if got = strings.TrimPrefix(got, dir+"/"); want == "." {
				want = dir
			}
			if got != want && strings.TrimPrefix(got, dir) != want {
				t.Errorf("climb(%q).%s = %q, want %q", c.rel, what, got, want)
			}
		}
		name := func(e *element) string {
			if e == nil {
				return ""
			}
			return e.path
		}
		same("end", name(w.end), c.end)
		same("missing", w.missing, c.missing)
		same("blocked", name(w.blocked), c.blocked)
		same("outside", w.outside, c.outside)
	}
}

// TestViews looks at a directory once, and keeps no more than so many.
func TestViews(t *testing.T) {
	v := views{}
	dir := t.TempDir()
	if _, err := v.look(dir+"/a", true); err != unix.ENOENT {
		t.Fatal(err)
	}
	check(t, os.Mkdir(dir+"/a", 0o755))
	if e, err := v.look(dir+"/a", false); e != nil || err != unix.ENOENT {
		t.Errorf("what was kept is looked at again: %v, %v", e, err)
	}
	for n := range maxViews {
		v.look(fmt.Sprint(dir, "/", n), true)
	}
	if e, err := v.look(dir+"/a", true); e == nil || err != nil || len(v) > maxViews {
		t.Errorf("%d views are kept: %v, %v", len(v), e, err)
	}
}

// TestBlocked lets something be in the way of a mailbox, and looks what is said.
func TestBlocked(t *testing.T) {
	const box = "a@example.org example.org/a/Maildir/\n"
	for _, c := range []struct {
		name    string
		make    func(w *world)
		boxes   string
		want    string // code, severity, place
		message string
	}{
		{"nothing", func(*world) {}, box, "", ""},
		{"base missing", func(w *world) { check(w.t, os.Remove(w.path("vmail"))) }, box, "VD402 error main.cf:8", "virtual_mailbox_base {dir}/vmail does not exist"},
		{"base is a link to nothing", func(w *world) {
			check(w.t, os.Remove(w.path("vmail")))
			check(w.t, os.Symlink("/no/such/disk", w.path("vmail")))
		}, box, "VD402 error main.cf:8", "is a symbolic link to /no/such/disk, which does not exist"},
		{"base is a file", func(w *world) {
			check(w.t, os.Remove(w.path("vmail")))
			w.write("vmail", "")
		}, box, "VD402 error main.cf:8", "is a file"},
		{"base not writable", func(w *world) { w.mkdir("vmail", 0o555) }, box, "VD402 error main.cf:8", "may not write to {dir}/vmail"},
		{"base not writable, mailbox is there", func(w *world) {
			for _, dir := range []string{"vmail/example.org/a/Maildir/tmp", "vmail/example.org/a/Maildir/new"} {
				w.mkdir(dir, 0o755)
				w.own(dir)
			}
			w.mkdir("vmail", 0o555)
		}, box, "", ""},
		{"domain not writable", func(w *world) {
			w.mkdir("vmail/example.org", 0o555)
			w.own("vmail/example.org")
		}, box, "VD402 error mailboxes:1", "may not write to {dir}/vmail/example.org"},
		{"new not writable", func(w *world) {
			w.mkdir("vmail/example.org/a/Maildir/tmp", 0o777)
			w.mkdir("vmail/example.org/a/Maildir/new", 0o555)
			w.own("vmail/example.org/a/Maildir/new")
		}, box, "VD402 error mailboxes:1", "may not write to {dir}/vmail/example.org/a/Maildir/new"},
		{"file in the way", func(w *world) { w.write("vmail/example.org", "") }, box, "VD402 error mailboxes:1", "is a file"},
		{"mbox in the place of a Maildir", func(w *world) {
			w.mkdir("vmail/example.org/a", 0o777)
			w.write("vmail/example.org/a/Maildir", "")
		}, box, "VD402 error mailboxes:1", "is a file"},
		{"absolute link", func(w *world) {
			w.mkdir("other", 0o777)
			check(w.t, os.Symlink(w.path("other"), w.path("vmail/example.org")))
		}, box, "VD402 error mailboxes:1", "leaves virtual_mailbox_base"},
		{"relative link below the base", func(w *world) {
			w.mkdir("vmail/other", 0o777)
			check(w.t, os.Symlink("other", w.path("vmail/example.org")))
		}, box, "", ""},
		{"base behind a link", func(w *world) {
			check(w.t, os.Rename(w.path("vmail"), w.path("disk")))
			check(w.t, os.Symlink(w.path("disk"), w.path("vmail")))
		}, box, "", ""},
		{"mbox", func(*world) {}, "a@example.org a\n", "", ""},
		{"mbox without its directory", func(*world) {}, "a@example.org example.org/a\n", "VD402 error mailboxes:1", "{dir}/vmail/example.org does not exist"},
		{"mbox not writable", func(w *world) {
			w.write("vmail/a", "")
			w.own("vmail/a")
			check(w.t, os.Chmod(w.path("vmail/a"), 0o444))
		}, "a@example.org a\n", "VD402 error mailboxes:1", "may not write to {dir}/vmail/a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			c.make(w)
			i := w.open("", c.boxes)
			var expected []string
			if c.want != "" {
				expected = []string{c.want}
			}
			got := w.examine(room(), i)
			want(t, "Examine", got, expected...)
			if len(got) > 0 && !strings.Contains(got[0].Message, w.fill(c.message)) {
				t.Errorf("message %q, want %q in it", got[0].Message, w.fill(c.message))
			}
			want(t, "Address", w.address(room(), i, "a@example.org"), expected...)
		})
	}
}

func TestWayIsShown(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	w.mkdir("locked/vmail", 0o755)
	w.own("locked/vmail")
	check(t, os.Chmod(w.path("locked"), 0o700))
	got := w.examine(room(), w.open("virtual_mailbox_base = {dir}/locked/vmail\n", "a@example.org a/\nb@example.org b/\n"))
	want(t, "a directory of root above the base", got, "VD402 error main.cf:11")
	if len(got) == 1 {
		for _, part := range []string{w.path("locked") + " root:root 0700", "uid 5000", "static:5000", "a@example.org and one other", "/ root:root"} {
			if !strings.Contains(got[0].Message, part) {
				t.Errorf("%q is not in %q", part, got[0].Message)
			}
		}
		if got[0].Fix != "chmod a+x "+w.path("locked") {
			t.Errorf("fix %q", got[0].Fix)
		}
	}
}

func TestOwnersOfAnother(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	w.write("vmail/a", "")
	check(t, os.Chmod(w.path("vmail/a"), 0o666))
	want(t, "mbox of root", w.examine(room(), w.open("", "a@example.org a\n")), "VD402 error mailboxes:1")
	want(t, "strict_mailbox_ownership = no", w.examine(room(), w.open("strict_mailbox_ownership = no\n", "a@example.org a\n")))
}

func TestAccessControlListIsNotJudged(t *testing.T) {
	w := newWorld(t)
	check(t, os.Chmod(w.path("vmail"), 0o555))
	// u::r-x u:5000:rwx g::r-x m::rwx o::r-x (acl(5), linux/posix_acl_xattr.h)
	acl := []byte{2, 0, 0, 0}
	for _, e := range [][3]uint32{{1, 5, ^uint32(0)}, {2, 7, 5000}, {4, 5, ^uint32(0)}, {16, 7, ^uint32(0)}, {32, 5, ^uint32(0)}} {
		acl = append(acl, byte(e[0]), 0, byte(e[1]), 0, byte(e[2]), byte(e[2]>>8), byte(e[2]>>16), byte(e[2]>>24))
	}
	if err := unix.Setxattr(w.path("vmail"), "system.posix_acl_access", acl, 0); err != nil {
		t.Skipf("this file system has no access control lists: %v", err)
	}
	want(t, "an ACL", w.examine(room(), w.open("", "a@example.org a/\n")))
}

func TestMissingBaseWithoutRows(t *testing.T) {
	w := newWorld(t)
	got := w.examine(room(), w.open("virtual_mailbox_base = {dir}/none\nvirtual_mailbox_maps = static:x/\n", ""))
	want(t, "static mailboxes", got, "VD402 error main.cf:11")
}

func TestSpace(t *testing.T) {
	if why := space(t.TempDir()); why != "" {
		t.Logf("this file system %s", why)
	}
	if why := space("/nonexistent"); why != "" {
		t.Errorf("a directory that is not there %s", why)
	}
	if why := space("/proc"); why != "" {
		t.Errorf("a file system without blocks %s", why)
	}
}

func TestLocal(t *testing.T) {
	w := newWorld(t)
	i := w.open("mail_spool_directory = {dir}/none\n", "")
	want(t, "Examine", w.examine(room(), i), "VD402 error main.cf:11")
	i = w.open("mail_spool_directory = {dir}/none\nhome_mailbox = Maildir/\n", "")
	want(t, "home_mailbox counts", w.examine(room(), i))
	i = w.open("mail_spool_directory = {dir}/none\nmydestination =\n", "")
	want(t, "no local domain", w.examine(room(), i))
	i = w.open("mail_spool_directory = {dir}/vmail\n", "")
	want(t, "it is there", w.examine(room(), i))
}

func TestLocalMailbox(t *testing.T) {
	w := newWorld(t)
	x := room().begin(w.open("home_mailbox = Maildir/\n", ""))
	box := route.Mailbox{Base: w.path("home"), Path: w.path("home/Maildir"), UID: w.uid, GID: w.gid, User: "john"}
	found := func(what string, sound bool) {
		t.Helper()
		f, bad := x.local(newJudge(true), &box)
		if bad == sound {
			t.Errorf("%s: %+v", what, f)
		}
		if bad {
			want(t, what, []finding.Finding{f.RelativeTo(w.dir)}, "VD402 error main.cf:11")
		}
	}
	found("no home directory", false)
	w.mkdir("home", 0o555)
	found("home directory not writable", false)
	w.mkdir("home", 0o755)
	w.own("home")
	found("sound", true)
	w.write("home/Maildir", "")
	found("a file in its place", false)

	x = room().begin(w.open("mail_spool_directory = {dir}/none\n", ""))
	box = route.Mailbox{Base: w.path("none"), Path: w.path("none/john"), Format: route.Mbox, UID: w.uid, GID: w.gid, User: "john"}
	found("no mail spool directory", false)
	box.Base = w.path("spool")
	found("of which only that is judged", true)
}

// TestLocalFate: mail of a system user is returned where a mailbox cannot be opened, and
// waits where it is refused for its owner.
func TestLocalFate(t *testing.T) {
	for why, fate := range map[trouble]string{
		baseMissing: "is returned", parentAbsent: "is returned", noSearch: "is returned", noWrite: "is returned",
		notDirectory: "is returned", notOwner: "waits", leavesBase: "waits",
	} {
		o := obstacle{why: why, path: "/home/john/Maildir"}
		message, fix := o.ofUser("john")
		if !strings.HasSuffix(message, ": mail "+fate) || !strings.Contains(fix, o.path) {
			t.Errorf("%d: %q, %q, want mail that %s", why, message, fix, fate)
		}
	}
}
