package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Users who are nobody's friends.
const (
	serverID = 65534
	senderID = 65533
	otherID  = 65532
)

// unprivileged makes the server run as an ordinary user, who owns the folder of
// the test. When the test does not run as root, that is its user anyway.
func (w *world) unprivileged() {
	w.t.Helper()
	if os.Getuid() != 0 {
		return
	}
	w.uid, w.gid = serverID, serverID
	w.cred = &syscall.Credential{Uid: serverID, Gid: serverID}
	main := strings.ReplaceAll(w.read("etc/main.cf"), "5000", w.fill("{uid}"))
	w.write("etc/main.cf", main)
	must(w.t, filepath.WalkDir(w.dir, func(name string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(name, w.uid, w.gid)
	}))
}

// as is a command of another user.
func as(id uint32, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: id, Gid: id}}
	return cmd
}

// sendmail submits a message as another user.
func (w *world) sendmail(id uint32, subject string, to ...string) {
	w.t.Helper()
	args := append([]string{"sendmail", "-C", w.path("etc/main.cf"), "-f", "me@client.example"}, to...)
	cmd := as(id, w.bin, args...)
	cmd.Stdin = strings.NewReader("Subject: " + subject + "\n\ntext\n")
	if out, err := w.run(cmd); err != nil {
		w.t.Errorf("sendmail of user %d: %v\n%s", id, err, out)
	}
}

// TestOrdinaryUser is what a newcomer does without root: init, serve, send.
func TestOrdinaryUser(t *testing.T) {
	w := newWorld(t, "")
	w.unprivileged()
	must(t, os.RemoveAll(w.path("etc")))
	init := exec.Command(w.bin, "init", "--listen", w.addr(), w.path("etc"))
	init.Dir, init.SysProcAttr = "/", &syscall.SysProcAttr{Credential: w.cred}
	if out, err := w.run(init); err != nil {
		t.Fatalf("init: %v\n%s", err, out)
	}
	w.start()
	w.send("me@client.example", "john@example.org", "jack@example.com")
	for _, box := range []string{"example.org/john/Maildir", "example.com/jack/Maildir"} {
		w.eventually("mail in "+box, func() bool { return len(maildir(t, w.path("etc/mail", box))) == 1 })
	}
	name := w.onlyFile("etc/mail/example.org/john/Maildir/new")
	info, err := os.Stat(name)
	must(t, err)
	if uid := info.Sys().(*syscall.Stat_t).Uid; int(uid) != w.uid {
		t.Errorf("%s belongs to user %d, want %d", name, uid, w.uid)
	}
	w.stop()
}

// TestMaildrop submits as other users, to a server of root and to one of an
// ordinary user, running and stopped; nobody else may look into the maildrop.
func TestMaildrop(t *testing.T) {
	for _, name := range []string{"root", "user"} {
		t.Run(name, func(t *testing.T) {
			needRoot(t)
			w := newWorld(t, "")
			if name == "user" {
				w.unprivileged()
			}
			w.start()
			w.sendmail(senderID, "running", "john@example.org")
			if text := w.arrived("john", 1)[0]; !strings.Contains(text, "Subject: running\n") {
				t.Errorf("message:\n%s", text)
			}
			w.logged(`postfix/pickup\[\d+\]: [0-9A-F]+: uid=65533 from=<me@client\.example>`)
			w.stop()
			w.sendmail(senderID, "stopped", "jack@example.org")
			w.secluded()
			w.start()
			w.arrived("jack", 1)
			w.arrived("john", 1)
			entries, err := os.ReadDir(w.path("queue/postern/maildrop"))
			must(t, err)
			if len(entries) > 0 {
				t.Errorf("left in the maildrop: %v", entries)
			}
		})
	}
}

// secluded tries to read, list, change and remove the one file in the maildrop as
// somebody else.
func (w *world) secluded() {
	w.t.Helper()
	dir := "queue/postern/maildrop"
	info, err := os.Stat(w.path(dir))
	must(w.t, err)
	if info.Mode().Perm() != 0o733 || info.Mode()&os.ModeSticky == 0 {
		w.t.Errorf("mode of the maildrop: %v", info.Mode())
	}
	file := w.onlyFile(dir)
	for _, try := range [][]string{
		{"ls", w.path(dir)}, {"cat", file}, {"dd", "if=/dev/null", "of=" + file}, {"rm", "-f", file}, {"mv", file, file + "x"},
		{"ls", w.path("queue/postern/spool")},
	} {
		if out, err := w.run(as(otherID, try[0], try[1:]...)); err == nil {
			w.t.Errorf("%v works for another user:\n%s", try, out)
		}
	}
}
