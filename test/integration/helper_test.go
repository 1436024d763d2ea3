package integration

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"postern/internal/privsep"
)

// child is the process id of the server proper, which root's process has started.
func (w *world) child() int {
	w.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", w.cmd.Process.Pid))
	must(w.t, err)
	children := string(text)
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", w.cmd.Process.Pid))
	must(w.t, err)
	for _, name := range tasks {
		if text, err := os.ReadFile(name); err == nil && len(text) > 0 {
			children = string(text)
		}
	}
	pid, err := strconv.Atoi(strings.TrimSpace(children))
	if err != nil {
		w.t.Fatalf("children of the helper: %q", children)
	}
	return pid
}

// status is a line of /proc/PID/status.
func status(t *testing.T, pid int, name string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	m := regexp.MustCompile(`(?m)^` + name + `:\s*(.*)$`).FindStringSubmatch(string(text))
	if m == nil {
		t.Fatalf("no %s in the status of %d", name, pid)
	}
	return m[1]
}

// mailOwner is the user postfix, who is there with the package.
func mailOwner(t *testing.T) privsep.Identity {
	t.Helper()
	needRoot(t)
	id, err := privsep.LookupUser("postfix")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return id
}

// TestSeparated: what faces the network has given up everything; mail arrives all
// the same, as its owner's.
func TestSeparated(t *testing.T) {
	id := mailOwner(t)
	w := newWorld(t, "")
	w.start()
	pid := w.child()
	ids := func(n int) string { return strings.TrimSpace(strings.Repeat(strconv.Itoa(n)+"\t", 4)) }
	for name, want := range map[string]string{"Uid": ids(id.UID), "Gid": ids(id.GID), "NoNewPrivs": "1",
		"CapEff": "0000000000000000", "CapPrm": "0000000000000000", "CapInh": "0000000000000000"} {
		if got := status(t, pid, name); got != want {
			t.Errorf("%s of the server is %q, want %q", name, got, want)
		}
	}
	if got := status(t, w.cmd.Process.Pid, "Uid"); got != ids(0) {
		t.Errorf("Uid of the helper is %q", got)
	}
	// The files of a process that cannot be traced belong to root.
	var st unix.Stat_t
	must(t, unix.Stat(fmt.Sprintf("/proc/%d/mem", pid), &st))
	if st.Uid != 0 {
		t.Error("the server's memory can be read by its user")
	}
	w.send("", "john@example.org", "jack@example.org")
	w.arrived("john", 1)
	names, err := filepath.Glob(w.path("mail/jack/new/*"))
	must(t, err)
	if len(names) != 1 {
		t.Fatalf("jack has %q", names)
	}
	must(t, unix.Stat(names[0], &st))
	if int(st.Uid) != w.uid || int(st.Gid) != w.gid || st.Mode&0o777 != 0o600 {
		t.Errorf("mail belongs to %d:%d, mode %o", st.Uid, st.Gid, st.Mode&0o777)
	}
	w.logged(`running as uid ` + strconv.Itoa(id.UID))
	w.stop()
}

// lowPort is a free port that only root may listen on.
func lowPort(t *testing.T) string {
	t.Helper()
	for port := 1023; port > 511; port-- {
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			must(t, l.Close())
			return strconv.Itoa(port)
		}
	}
	t.Fatal("no free port below 1024")
	return ""
}

// TestRootOnlyFiles: keys, tables and a log that only root may open work, also
// after a reload that names new ones, and so does a port below 1024.
func TestRootOnlyFiles(t *testing.T) {
	mailOwner(t)
	w := newWorld(t, "smtpd_tls_security_level = may\nsmtpd_tls_cert_file = {dir}/etc/cert.pem\n")
	w.port = lowPort(t)
	w.write("etc/master.cf", baseMaster)
	w.certificate("etc/cert.pem", "first.example")
	private := []string{"etc/users", "etc/cert.pem", "etc/main.cf", "etc/master.cf"}
	for _, name := range private {
		must(t, os.Chmod(w.path(name), 0o600))
	}
	must(t, os.WriteFile(w.path("mail.log"), nil, 0o600))
	w.start()
	if name := w.presented(); name != "first.example" {
		t.Errorf("the certificate is that of %s", name)
	}
	w.send("", "john@example.org")
	w.arrived("john", 1)

	must(t, os.Rename(w.path("mail.log"), w.path("mail.log.1")))
	w.write("etc/others", "mary@example.org mary/\n")
	must(t, os.Chmod(w.path("etc/others"), 0o600))
	w.main("virtual_mailbox_maps = texthash:{dir}/etc/users texthash:{dir}/etc/others\n")
	must(t, os.Chmod(w.path("etc/main.cf"), 0o600))
	w.signal(syscall.SIGHUP)
	w.logged(`reload -- version`)
	w.send("", "mary@example.org")
	w.arrived("mary", 1)
	w.notLogged("denied|not allowed|error")
}

// TestEitherDies: whichever of the two processes is killed, the other one says so
// in the mail log and ends, and another server can start.
func TestEitherDies(t *testing.T) {
	mailOwner(t)
	w := newWorld(t, "")
	for _, which := range []string{"server", "helper"} {
		w.start()
		helper, server := w.cmd.Process.Pid, w.child()
		victim := map[string]int{"server": server, "helper": helper}[which]
		must(t, unix.Kill(victim, unix.SIGKILL))
		err := <-w.ended
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			t.Errorf("%s killed: the helper ended with %v", which, err)
		} else if which == "server" && exit.ExitCode() != 128+int(unix.SIGKILL) {
			t.Errorf("server killed: status %d", exit.ExitCode())
		}
		if which == "helper" { // the server is ours now, and ends by itself
			var status unix.WaitStatus
			_, err := unix.Wait4(server, &status, 0, nil)
			if err != nil || !status.Exited() || status.ExitStatus() == 0 {
				t.Errorf("helper killed: the server ended with %v, %v", status, err)
			}
		}
		w.logged(map[string]string{"server": `(?m)fatal: the server process was ended by signal 9$`, "helper": `(?m)fatal: the helper process is gone$`}[which])
		if err := unix.Kill(-helper, 0); err != unix.ESRCH {
			t.Errorf("%s killed: something is left of the group (%v)", which, err)
		}
		w.cmd = nil
	}
	w.start()
	w.send("", "john@example.org")
	w.arrived("john", 1)
}

// TestSecondServer is told that there is another one.
func TestSecondServer(t *testing.T) {
	mailOwner(t)
	w := newWorld(t, "")
	w.start()
	out, err := w.postern("serve")
	if err == nil || !strings.Contains(out, "another server runs on this queue_directory") {
		t.Errorf("a second server: %v\n%s", err, out)
	}
}

// TestCannotSeparate says what is in the way.
func TestCannotSeparate(t *testing.T) {
	mailOwner(t)
	for _, tt := range []struct {
		name, main string
		prepare    func(w *world)
		want       []string
	}{
		{"no mail_owner", "mail_owner = no-such-user\n", func(*world) {},
			[]string{"main.cf:18: mail_owner = no-such-user: ", "privilege_separation = no"}},
		{"root as mail_owner", "mail_owner = root\n", func(*world) {}, []string{"mail_owner = root: ", "privilege_separation = no"}},
		{"closed directory", "queue_directory = {dir}/closed/queue\n", func(w *world) {
			must(w.t, os.MkdirAll(w.path("closed"), 0o700))
		}, []string{"queue_directory", "/closed (mode 0700, owner uid 0) may not be entered", "chmod o+x"}},
		{"somebody else's queue", "", func(w *world) {
			must(w.t, os.MkdirAll(w.path("queue/postern"), 0o755))
			must(w.t, os.Chown(w.path("queue/postern"), 4711, 4711))
		}, []string{"/queue/postern belongs to uid 4711"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, tt.main)
			tt.prepare(w)
			out, err := w.postern("serve")
			if err == nil {
				t.Error("the server runs")
			}
			for _, want := range tt.want {
				if !strings.Contains(out, want) {
					t.Errorf("without %q:\n%s", want, out)
				}
			}
		})
	}
	w := newWorld(t, "mail_owner = no-such-user\nprivilege_separation = no\n")
	w.start()
	w.send("", "john@example.org")
	w.arrived("john", 1)
}

// TestAdopted: the queue of a server that was root, and what a user has submitted
// to it, become those of mail_owner.
func TestAdopted(t *testing.T) {
	id := mailOwner(t)
	w := newWorld(t, "privilege_separation = no\nvirtual_transport = no-such-transport\n")
	w.start()
	w.send("", "john@example.org")
	w.logged("status=deferred")
	w.stop()
	w.main("virtual_transport = no-such-transport\n")
	cmd := exec.Command(w.bin, "sendmail", "-C", w.path("etc"), "-f", "user@example.org", "jack@example.org")
	cmd.Stdin = strings.NewReader("Subject: submitted\n\ntext\n")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 4711, Gid: 4711}}
	if out, err := w.run(cmd); err != nil {
		t.Fatalf("sendmail: %v\n%s", err, out)
	}
	w.main("")
	w.start()
	w.arrived("jack", 1)
	w.command("flush")
	w.arrived("john", 1)
	must(t, filepath.WalkDir(w.path("queue/postern"), func(name string, e os.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil && unix.Lstat(name, &st) == nil && int(st.Uid) != id.UID {
			t.Errorf("%s belongs to %d", name, st.Uid)
		}
		return err
	}))
}

// TestSeparatedFiles: authorities, templates and Maildirs where only root, or
// their owner, may look.
func TestSeparatedFiles(t *testing.T) {
	mailOwner(t)
	w := newWorld(t, `smtp_tls_security_level = may
smtp_tls_CAfile = {dir}/keys/ca.pem
smtp_tls_CApath = {dir}/keys
smtp_tls_trust_anchor_file = {dir}/keys/ca.pem
bounce_template_file = {dir}/keys/bounce.cf
`)
	must(t, os.Mkdir(w.path("keys"), 0o700))
	w.certificate("keys/ca.pem", "ca.example")
	w.write("keys/bounce.cf", "failure_template = <<EOF\nSubject: came back\n\nIt came back.\nEOF\n")
	for _, name := range []string{"keys/ca.pem", "keys/bounce.cf"} {
		must(t, os.Chmod(w.path(name), 0o600))
	}
	w.write("etc/users", "john@example.org secret/john\n")
	for _, name := range []string{"secret", "secret/john", "secret/john/new", "secret/john/cur", "secret/john/tmp"} {
		must(t, os.Mkdir(w.path("mail/"+name), 0o700))
		must(t, os.Chown(w.path("mail/"+name), w.uid, w.gid))
	}
	w.start()
	w.send("", "john@example.org")
	w.arrived("secret/john", 1)
	w.notLogged("denied|not allowed|error|warning")
}

// TestCommands: an alias has its command run as default_privs, with a file mode
// mask that keeps others out, in one process and in two.
func TestCommands(t *testing.T) {
	mailOwner(t)
	for _, separation := range []string{"yes", "no"} {
		t.Run("separation="+separation, func(t *testing.T) { commands(t, "privilege_separation = "+separation+"\n") })
	}
}

func commands(t *testing.T, main string) {
	daemon, err := privsep.LookupUser("daemon")
	must(t, err)
	w := newWorld(t, main+"mydestination = local.example\nalias_maps = hash:{dir}/etc/aliases\ndefault_privs = daemon\n"+
		"allow_mail_to_files = alias,forward,include\n")
	w.write("etc/master.cf", baseMaster+"local unix - n n - - local\n")
	must(t, os.Mkdir(w.path("out"), 0o755))
	must(t, os.Chown(w.path("out"), daemon.UID, daemon.GID))
	w.write("etc/aliases", `command: "|umask >{dir}/out/mask; cat >{dir}/out/mail"`+"\nlist: :include:{dir}/etc/list\n")
	w.write("etc/list", "{dir}/out/file\njohn@example.org\n")
	w.start()
	w.send("", "command@local.example", "list@local.example")
	w.logged(`to=<command@local.example>.*status=sent`)
	w.logged(`to=<list@local.example>.*status=sent`)
	w.arrived("john", 1)
	mask, err := os.ReadFile(w.path("out/mask"))
	must(t, err)
	if string(mask) != "0077\n" {
		t.Errorf("umask of the command is %q", mask)
	}
	for _, name := range []string{"out/mail", "out/file"} {
		var st unix.Stat_t
		must(t, unix.Stat(w.path(name), &st))
		if int(st.Uid) != daemon.UID || st.Mode&0o777 != 0o600 {
			t.Errorf("%s belongs to %d, mode %o", name, st.Uid, st.Mode&0o777)
		}
	}
	// The text that counts is that of now.
	w.write("etc/aliases", `command: "|cat >{dir}/out/second"`+"\n")
	w.signal(syscall.SIGHUP)
	w.logged(`reload -- version`)
	w.send("", "command@local.example")
	w.logged(`to=<command@local.example>.*status=sent \(delivered to command: cat >.*out/second\)`)
	w.notLogged("denied|not allowed|error")
}
