// Package script tests whole behaviours as a user meets them: a configuration
// directory, commands, an SMTP dialogue, and the files that result. Every
// archive in testdata is a test; adding one needs no Go.
//
// Besides the commands of testscript there are
//
//	serve                  start the server on the configuration in etc/
//	halt                   stop it in an orderly way
//	crash                  end it with SIGKILL
//	send FROM TO...        one message; prints the reply to each RCPT and to the text
//	dialogue FILE          "C: text" is sent, "S: regexp" must match the next reply
//	arrived N PATH         wait until the Maildir or mbox at PATH holds N messages
//	logged REGEXP          wait until the log has a line that matches
//
// etc/main.cf is appended to a few lines every test needs. $WORK in any file of
// etc/ is the folder of the test, $PORT the SMTP port, $UID and $GID the owner of
// mailboxes.
package script

import (
	"bufio"
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
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"golang.org/x/sys/unix"
	"postern/internal/cli"
)

func TestMain(m *testing.M) {
	run := func(name string) func() {
		return func() {
			args := append([]string{name}, os.Args[1:]...)
			os.Exit(cli.Main(cli.Env{Args: args, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv}))
		}
	}
	testscript.Main(m, map[string]func(){
		"postern": run("postern"), "sendmail": run("sendmail"), "postmap": run("postmap"), "postalias": run("postalias"),
	})
}

// patience bounds every wait for something that has to happen.
const patience = 20 * time.Second

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup:               setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": serve, "halt": halt, "crash": crash, "send": send, "dialogue": dialogue, "arrived": arrived, "logged": logged,
		},
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
	})
}

// world is what a script has running.
type world struct{ cmd *exec.Cmd }

type worldKey struct{}

const base = `myhostname = mx.host.example
mydestination = localhost
mynetworks = 127.0.0.9/32
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
queue_directory = $WORK/queue
maillog_file = $WORK/mail.log
virtual_mailbox_base = $WORK/mail
virtual_uid_maps = static:$UID
virtual_gid_maps = static:$GID
virtual_minimum_uid = $UID
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
default_transport = discard:
`

const master = `127.0.0.1:$PORT inet n - n - - smtpd
virtual unix - n n - - virtual
local unix - n n - - local
smtp unix - - n - - smtp
relay unix - - n - - smtp
lmtp unix - - n - - lmtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
`

// setup fills in the placeholders and makes the mail folder.
func setup(env *testscript.Env) error {
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		uid, gid = 5000, 5000
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	env.Setenv("PORT", port)
	env.Setenv("MAIL_CONFIG", filepath.Join(env.WorkDir, "etc"))
	env.Values[worldKey{}] = &world{}
	replace := strings.NewReplacer("$WORK", env.WorkDir, "$PORT", port, "$UID", strconv.Itoa(uid), "$GID", strconv.Itoa(gid))
	mail := filepath.Join(env.WorkDir, "mail")
	if err := os.MkdirAll(mail, 0o755); err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(mail, uid, gid); err != nil {
			return err
		}
		for dir := env.WorkDir; strings.HasPrefix(dir, filepath.Clean(os.TempDir())+"/"); dir = filepath.Dir(dir) {
			if err := os.Chmod(dir, 0o755); err != nil {
				return err
			}
		}
	}
	return layConfig(filepath.Join(env.WorkDir, "etc"), replace)
}

func layConfig(etc string, replace *strings.Replacer) error {
	if err := os.MkdirAll(etc, 0o755); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(etc, "master.cf")); err != nil {
		if err := os.WriteFile(filepath.Join(etc, "master.cf"), []byte(master), 0o644); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(etc)
	if err != nil {
		return err
	}
	past := time.Now().Add(-time.Minute)
	for _, e := range entries {
		name := filepath.Join(etc, e.Name())
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if e.Name() == "main.cf" {
			text = append([]byte(base), text...)
		}
		if err := os.WriteFile(name, []byte(replace.Replace(string(text))), 0o644); err != nil {
			return err
		}
		if err := os.Chtimes(name, past, past); err != nil {
			return err
		}
	}
	return nil
}

func theWorld(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

func serve(ts *testscript.TestScript, neg bool, args []string) {
	w := theWorld(ts)
	if w.cmd != nil {
		ts.Fatalf("the server runs already")
	}
	program, err := exec.LookPath("postern")
	ts.Check(err)
	w.cmd = exec.Command(program, append([]string{"serve", "-c", ts.MkAbs("etc")}, args...)...)
	w.cmd.Env = []string{"PATH=" + ts.Getenv("PATH"), "HOME=" + ts.Getenv("WORK")}
	log, err := os.OpenFile(ts.MkAbs("server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	ts.Check(err)
	w.cmd.Stdout, w.cmd.Stderr = log, log
	ts.Check(unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)) // of the server that a helper leaves behind
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	ts.Check(w.cmd.Start())
	log.Close()
	ts.Defer(func() { end(w, syscall.SIGKILL) })
	ok := waitFor(func() bool { return greets("127.0.0.1:" + ts.Getenv("PORT")) })
	if !ok {
		text, _ := os.ReadFile(ts.MkAbs("server.log"))
		ts.Fatalf("no greeting:\n%s", text)
	}
}

func greets(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	line, err := bufio.NewReader(c).ReadString('\n')
	fmt.Fprint(c, "QUIT\r\n")
	return err == nil && strings.HasPrefix(line, "220 ")
}

func waitFor(done func() bool) bool {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if done() {
			return true
		}
	}
	return false
}

func end(w *world, sig syscall.Signal) {
	if w.cmd == nil {
		return
	}
	if sig == syscall.SIGKILL { // with its helper, when root runs the test
		_ = syscall.Kill(-w.cmd.Process.Pid, sig)
		defer reap(w.cmd.Process.Pid)
	} else {
		_ = w.cmd.Process.Signal(sig)
	}
	_ = w.cmd.Wait()
	w.cmd = nil
}

// reap waits for what is left of a group whose leader has been waited for.
func reap(group int) {
	for {
		if _, err := syscall.Wait4(-group, nil, 0, nil); err != nil && err != syscall.EINTR {
			return
		}
	}
}

func halt(ts *testscript.TestScript, neg bool, args []string)  { end(theWorld(ts), syscall.SIGTERM) }
func crash(ts *testscript.TestScript, neg bool, args []string) { end(theWorld(ts), syscall.SIGKILL) }

// connection is an SMTP dialogue.
type connection struct {
	net.Conn
	r *bufio.Reader
}

func dial(ts *testscript.TestScript) *connection {
	c, err := net.Dial("tcp", "127.0.0.1:"+ts.Getenv("PORT"))
	ts.Check(err)
	_ = c.SetDeadline(time.Now().Add(patience))
	return &connection{c, bufio.NewReader(c)}
}

// reply reads one reply and returns its lines joined by "/".
func (c *connection) reply() string {
	var lines []string
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return strings.Join(append(lines, "("+err.Error()+")"), "/")
		}
		line = strings.TrimRight(line, "\r\n")
		lines = append(lines, line)
		if len(line) < 4 || line[3] != '-' {
			return strings.Join(lines, "/")
		}
	}
}

func (c *connection) ask(text string) string {
	fmt.Fprintf(c, "%s\r\n", text)
	return c.reply()
}

func send(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: send FROM TO...")
	}
	c := dial(ts)
	defer c.Close()
	c.reply()
	c.ask("EHLO client.example")
	if r := c.ask("MAIL FROM:<" + args[0] + ">"); r[0] != '2' {
		fmt.Fprintf(ts.Stdout(), "MAIL: %s\n", r)
		return
	}
	accepted := 0
	for _, to := range args[1:] {
		r := c.ask("RCPT TO:<" + to + ">")
		fmt.Fprintf(ts.Stdout(), "RCPT %s: %s\n", to, r)
		if r[0] == '2' {
			accepted++
		}
	}
	if accepted > 0 {
		c.ask("DATA")
		fmt.Fprintf(ts.Stdout(), "DATA: %s\n", c.ask("Subject: test\r\n\r\nhello\r\n."))
	}
	c.ask("QUIT")
}

func dialogue(ts *testscript.TestScript, neg bool, args []string) {
	c := dial(ts)
	defer c.Close()
	for i, line := range strings.Split(ts.ReadFile(args[0]), "\n") {
		kind, text, _ := strings.Cut(line, " ")
		switch kind {
		case "C:":
			fmt.Fprintf(c, "%s\r\n", text)
		case "S:":
			got := c.reply()
			if ok, err := regexp.MatchString("^"+text, got); err != nil || !ok {
				ts.Fatalf("%s:%d: reply %q, want %s", args[0], i+1, got, text)
			}
		}
	}
}

func arrived(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	path := ts.MkAbs(args[1])
	n := 0
	if !waitFor(func() bool { n = messages(path); return n >= want }) || n != want {
		log, _ := os.ReadFile(ts.MkAbs("mail.log"))
		ts.Fatalf("%s holds %d messages, want %d\n%s", args[1], n, want, log)
	}
}

// messages counts those of a Maildir or an mbox file.
func messages(path string) int {
	n := 0
	for _, sub := range []string{"new", "cur"} {
		entries, err := os.ReadDir(filepath.Join(path, sub))
		if err == nil {
			n += len(entries)
		}
	}
	if text, err := os.ReadFile(path); err == nil {
		n += strings.Count("\n"+string(text), "\nFrom ")
	}
	return n
}

func logged(ts *testscript.TestScript, neg bool, args []string) {
	re, err := regexp.Compile(args[0])
	ts.Check(err)
	var text []byte
	if !waitFor(func() bool { text, _ = os.ReadFile(ts.MkAbs("mail.log")); return re.Match(text) }) {
		ts.Fatalf("no line matches %s in\n%s", args[0], text)
	}
}
