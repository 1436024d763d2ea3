package server

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"postern/internal/maildrop"
	"postern/internal/privsep"
)

// needRoot skips what only root can show.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("needs root")
	}
	t.Skip("needs root")
}

// ownership is "uid:gid mode" of what has a name.
func ownership(t *testing.T, name string) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(name, &st); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return fmt.Sprintf("%d:%d %o", st.Uid, st.Gid, st.Mode&0o7777)
}

// TestHandOver: the spool of a server that was root becomes mail_owner's, what
// users have submitted becomes readable for it, and nothing else changes, whatever
// they have laid into the maildrop.
func TestHandOver(t *testing.T) {
	needRoot(t)
	top := t.TempDir()
	must := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	h := &house{t: t, dir: top}
	h.configure("mail_owner = nobody\n", "127.0.0.1:2525")
	v, err := LoadSettings(top)
	must(err)
	dir, drop := spoolDirectory(v), MaildropDirectory(v)
	must(os.MkdirAll(dir, 0o755), os.MkdirAll(dir+"/spool/bodies", 0o700), os.WriteFile(dir+"/spool/bodies/1", nil, 0o600), os.Symlink(top+"/secret", dir+"/spool/link"),
		os.Mkdir(dir+"/theirs", 0o755), os.WriteFile(dir+"/theirs/file", nil, 0o600), os.Chown(dir+"/theirs", 4711, 4711),
		maildrop.Make(drop), os.Mkdir(top+"/etc", 0o755), os.WriteFile(top+"/etc/shadow", nil, 0o600), os.WriteFile(top+"/secret", nil, 0o600))
	submit := func(uid int) string {
		t.Helper()
		must(maildrop.Submit(drop, maildrop.Envelope{Recipients: []string{"a@example.org"}}, strings.NewReader("text\n")))
		names, err := filepath.Glob(drop + "/mail.*")
		must(err)
		to := fmt.Sprintf("%s/by-%d", drop, uid)
		must(os.Rename(names[0], to), os.Chown(to, uid, uid))
		return to
	}
	must(os.Mkdir(drop+"/directory", 0o755), os.WriteFile(drop+"/directory/shadow", nil, 0o600), os.Mkdir(drop+"/of-root", 0o755),
		os.Symlink(top+"/etc", drop+"/link"), os.Link(top+"/secret", drop+"/hard"), unix.Mkfifo(drop+"/fifo", 0o600),
		os.WriteFile(top+"/letter", nil, 0o600), os.Chown(top+"/letter", 4713, 4713), os.Link(top+"/letter", drop+"/hard-letter"),
		os.WriteFile(drop+"/last-link", []byte("root:x:0\n"), 0o600), os.Chown(drop+"/directory", 4711, 4711))
	owner := privsep.Identity{UID: 8100, GID: 8101}
	want := map[string]string{
		dir: "8100:8101 755", drop: "8100:8101 1733", dir + "/spool": "8100:8101 700", dir + "/spool/bodies": "8100:8101 700",
		dir + "/spool/bodies/1": "8100:8101 600", dir + "/spool/link": "8100:8101 777",
		submit(4711): "4711:8101 640", submit(0): "0:8101 640",
	}
	for _, name := range []string{top + "/secret", top + "/letter", top + "/etc", top + "/etc/shadow", dir + "/theirs", dir + "/theirs/file", drop + "/link",
		drop + "/directory", drop + "/directory/shadow", drop + "/of-root", drop + "/hard", drop + "/fifo", drop + "/last-link"} {
		want[name] = ownership(t, name)
	}
	must(prepare(v, owner), prepare(v, owner)) // the second time there is nothing to do
	for name, want := range want {
		if got := ownership(t, name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	must(os.RemoveAll(dir), os.Symlink(top+"/etc", dir))
	if err := prepare(v, owner); err == nil || !strings.Contains(err.Error(), dir+" is not a directory") {
		t.Errorf("prepare of a link = %v", err)
	}
	if got := ownership(t, top+"/etc"); got != "0:0 755" {
		t.Errorf("what a link leads to is %s", got)
	}
}
