package integration

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRefusedReload: a configuration that the helper can read and the server
// refuses changes nothing, also not in what the helper does; the next one counts
// for both.
func TestRefusedReload(t *testing.T) {
	mailOwner(t)
	w := newWorld(t, "")
	w.start()
	must(t, os.Mkdir(w.path("elsewhere"), 0o755))
	must(t, os.Chown(w.path("elsewhere"), w.uid, w.gid))
	elsewhere := "virtual_mailbox_base = {dir}/elsewhere\n"
	w.main(elsewhere + "virtual_mailbox_limit = 1\n")
	if out, err := w.postern("reload"); err == nil || !strings.Contains(out, "virtual_mailbox_limit is smaller") {
		t.Errorf("reload of a broken configuration: %v\n%s", err, out)
	}
	w.send("", "john@example.org")
	w.arrived("john", 1)
	w.main(elsewhere)
	w.command("reload")
	w.send("", "john@example.org")
	w.eventually("mail elsewhere", func() bool {
		names, err := os.ReadDir(w.path("elsewhere/john/new"))
		return err == nil && len(names) == 1
	})
	w.notLogged("not allowed|status=deferred")
	w.stop()
}

// TestLogOfMailOwner: a log in a directory of mail_owner is mail_owner's, also
// after a rotation.
func TestLogOfMailOwner(t *testing.T) {
	id := mailOwner(t)
	w := newWorld(t, "maillog_file = {dir}/log/mail.log\n")
	must(t, os.Mkdir(w.path("log"), 0o755))
	must(t, os.Chown(w.path("log"), id.UID, id.GID))
	w.start()
	has := func(text string) {
		t.Helper()
		w.eventually(text+" in the log", func() bool { return strings.Contains(w.read("log/mail.log"), text) })
		var st unix.Stat_t
		must(t, unix.Stat(w.path("log/mail.log"), &st))
		if int(st.Uid) != id.UID || st.Mode&0o777 != 0o640 {
			t.Errorf("the log belongs to %d, mode %o", st.Uid, st.Mode&0o777)
		}
	}
	has("daemon started")
	must(t, os.Rename(w.path("log/mail.log"), w.path("log/mail.log.1")))
	w.signal(syscall.SIGHUP)
	has("reload -- version")
	must(t, unix.Kill(w.child(), unix.SIGKILL))
	<-w.ended
	w.cmd = nil
	has("fatal: the server process was ended by signal 9")
}
