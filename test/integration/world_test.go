// Package integration runs the built program beside real peers (Dovecot, swaks,
// Python's smtplib, Postfix's smtp-source and smtp-sink) and through the wrong
// steps an administrator meets: full disks, tables that cannot be read, broken
// configurations, clients that vanish. One file holds one subject.
//
// Every test has a server of its own: a configuration directory, a queue and a
// mail folder below a temporary directory, a port on loopback, ended by its
// process id. The program is ../../bin/postern (make build), or the one that
// POSTERN_BIN names.
//
// A test whose peer is not installed is skipped, with CI=true it fails. Full
// file systems and other users need root; without it those tests are skipped.
package integration

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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

	"golang.org/x/sys/unix"
)

// patience bounds every wait for something that has to happen.
const patience = 30 * time.Second

// baseCF begins the main.cf of every test. In all files {dir} is the folder of the
// test, {port} and {port2} free ports, {uid} and {gid} the owner of mailboxes.
const baseCF = `myhostname = mx.host.example
mydestination =
mynetworks = 127.0.0.9/32
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
queue_directory = {dir}/queue
maillog_file = {dir}/mail.log
virtual_mailbox_domains = example.org
virtual_mailbox_maps = texthash:{dir}/etc/users
virtual_mailbox_base = {dir}/mail
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = {uid}
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
spool_segment_size = 4194304
`

// baseMaster is the master.cf of a test that writes no other.
const baseMaster = "127.0.0.1:{port} inet n - n - - smtpd\n" + agents

const agents = `virtual unix - n n - - virtual
smtp unix - - n - - smtp
relay unix - - n - - smtp
lmtp unix - - n - - lmtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
`

// baseUsers are the mailboxes of a test that writes no others.
const baseUsers = "john@example.org john/\njack@example.org jack/\njürgen@example.org juergen/\n"

// world is a server with its folder.
type world struct {
	t           *testing.T
	bin         string
	dir         string
	port, port2 string
	uid, gid    int
	cred        *syscall.Credential // nil: the server runs as the test does
	cmd         *exec.Cmd
	ended       chan error // of the process
}

// newWorld lays out a configuration directory: mainCF is appended to baseCF. The
// server is not started yet.
func newWorld(t *testing.T, mainCF string) *world {
	t.Helper()
	must(t, unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
	w := &world{t: t, bin: program(t), dir: t.TempDir(), port: freePort(t), port2: freePort(t), uid: os.Getuid(), gid: os.Getgid()}
	if w.uid == 0 {
		w.uid, w.gid = 5000, 5000
		for dir := w.dir; strings.HasPrefix(dir, filepath.Clean(os.TempDir())+"/"); dir = filepath.Dir(dir) {
			must(t, os.Chmod(dir, 0o755))
		}
	}
	must(t, os.Mkdir(w.path("etc"), 0o755))
	must(t, os.Mkdir(w.path("mail"), 0o755))
	must(t, os.Chown(w.path("mail"), w.uid, w.gid))
	w.write("etc/main.cf", baseCF+mainCF)
	w.write("etc/master.cf", baseMaster)
	w.write("etc/users", baseUsers)
	t.Cleanup(func() {
		w.kill()
		if t.Failed() {
			log := w.log()
			t.Logf("the log ends with\n%s", log[max(0, len(log)-4000):])
		}
	})
	return w
}

// program is the binary under test.
func program(t *testing.T) string {
	t.Helper()
	name := os.Getenv("POSTERN_BIN")
	if name == "" {
		name = "../../bin/postern"
	}
	name, err := filepath.Abs(name)
	must(t, err)
	if _, err := os.Stat(name); err != nil {
		t.Fatalf("%v: make build first", err)
	}
	return name
}

// need finds the program of a peer.
func need(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range []string{"", "/usr/sbin/", "/sbin/"} {
		if p, err := exec.LookPath(dir + name); err == nil {
			return p
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed", name)
	}
	t.Skipf("%s is not installed", name)
	return ""
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// path is a name below the test's folder.
func (w *world) path(parts ...string) string {
	return filepath.Join(append([]string{w.dir}, parts...)...)
}

func (w *world) addr() string { return "127.0.0.1:" + w.port }

// fill puts values in the place of {dir} and the others.
func (w *world) fill(text string) string {
	return strings.NewReplacer("{dir}", w.dir, "{port}", w.port, "{port2}", w.port2,
		"{uid}", strconv.Itoa(w.uid), "{gid}", strconv.Itoa(w.gid)).Replace(text)
}

// write makes a file, or replaces it whole as a careful administrator does.
func (w *world) write(name, text string) {
	w.t.Helper()
	must(w.t, os.WriteFile(w.path(name+".new"), []byte(w.fill(text)), 0o644))
	must(w.t, os.Rename(w.path(name+".new"), w.path(name)))
}

// main replaces main.cf.
func (w *world) main(mainCF string) {
	w.t.Helper()
	w.write("etc/main.cf", baseCF+mainCF)
}

// launch starts the server without waiting for it.
func (w *world) launch() {
	w.t.Helper()
	log, err := os.OpenFile(w.path("server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	must(w.t, err)
	defer log.Close()
	w.cmd = exec.Command(w.bin, "serve", "-c", w.path("etc"))
	w.cmd.Stdout, w.cmd.Stderr = log, log
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: w.cred, Setpgid: true, Pdeathsig: syscall.SIGKILL}
	must(w.t, w.cmd.Start())
	ended, cmd := make(chan error, 1), w.cmd
	go func() { ended <- cmd.Wait() }()
	w.ended = ended
}

// start starts the server and waits for its greeting.
func (w *world) start() {
	w.t.Helper()
	w.launch()
	deadline := time.Now().Add(patience)
	for !greets(w.addr()) {
		select {
		case err := <-w.ended:
			w.cmd = nil
			w.t.Fatalf("the server ended: %v\n%s", err, w.read("server.log"))
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("no greeting\n%s", w.read("server.log"))
		}
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

func (w *world) signal(s os.Signal) {
	w.t.Helper()
	must(w.t, w.cmd.Process.Signal(s))
}

// finish waits for the end of the server that was told to stop.
func (w *world) finish() {
	w.t.Helper()
	select {
	case err := <-w.ended:
		if err != nil {
			w.t.Errorf("the server ended with %v\n%s", err, w.read("server.log"))
		}
	case <-time.After(2 * patience):
		w.t.Fatal("the server does not stop")
	}
	w.cmd = nil
}

func (w *world) stop() {
	w.t.Helper()
	w.signal(syscall.SIGTERM)
	w.finish()
}

func (w *world) kill() {
	if w.cmd != nil {
		_ = syscall.Kill(-w.cmd.Process.Pid, syscall.SIGKILL) // with its helper, when root runs the test
		<-w.ended
		w.reap()
		w.cmd = nil
	}
}

// reap waits for what is left of the server's group, whose files may still be
// open: newWorld has made this process its parent.
func (w *world) reap() {
	for {
		if _, err := syscall.Wait4(-w.cmd.Process.Pid, nil, 0, nil); err != nil && err != syscall.EINTR {
			return
		}
	}
}

// postern runs a command of the program on the test's configuration.
func (w *world) postern(command string, args ...string) (string, error) {
	return w.run(exec.Command(w.bin, append([]string{command, "-c", w.path("etc")}, args...)...))
}

// command is postern for what has to work.
func (w *world) command(command string, args ...string) string {
	w.t.Helper()
	out, err := w.postern(command, args...)
	if err != nil {
		w.t.Fatalf("postern %s: %v\n%s", command, err, out)
	}
	return out
}

// run runs a program to its end, or ends it when it takes too long.
func (w *world) run(cmd *exec.Cmd) (string, error) {
	var out bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &out
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return "", err
	}
	timer := time.AfterFunc(4*patience, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	err := cmd.Wait()
	return out.String(), err
}

// background starts a peer that is ended with the test, and returns what ends
// it earlier.
func background(t *testing.T, log string, name string, args ...string) (stop func()) {
	t.Helper()
	f, err := os.Create(log)
	must(t, err)
	defer f.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = patience
	must(t, cmd.Start())
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return stop
}

// eventually waits until something holds.
func (w *world) eventually(what string, holds func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("in vain waited for: %s", what)
		}
	}
}

func (w *world) read(name string) string {
	text, err := os.ReadFile(w.path(name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		w.t.Error(err)
	}
	return string(text)
}

func (w *world) log() string { return w.read("mail.log") }

// logged waits for a line of the log.
func (w *world) logged(pattern string) {
	w.t.Helper()
	re := regexp.MustCompile(pattern)
	w.eventually("a log line "+pattern, func() bool { return re.MatchString(w.log()) })
}

// notLogged complains about a line of the log.
func (w *world) notLogged(pattern string) {
	w.t.Helper()
	if line := regexp.MustCompile("(?m)^.*" + pattern + ".*$").FindString(w.log()); line != "" {
		w.t.Errorf("unexpected log line: %s", line)
	}
}

// maildir returns the messages of a Maildir. A file that vanishes meanwhile is
// left out.
func maildir(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	for _, sub := range []string{"new", "cur"} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		for _, e := range entries {
			text, err := os.ReadFile(filepath.Join(dir, sub, e.Name()))
			if err == nil {
				out = append(out, string(text))
			}
		}
	}
	return out
}

// arrived waits until a Maildir of the server has n messages, not more.
func (w *world) arrived(box string, n int) []string {
	w.t.Helper()
	var got []string
	w.eventually(fmt.Sprintf("%d messages in %s", n, box), func() bool {
		got = maildir(w.t, w.path("mail", box))
		return len(got) >= n
	})
	if len(got) > n {
		w.t.Fatalf("%d messages in %s, want %d", len(got), box, n)
	}
	return got
}

// conn is an SMTP dialogue.
type conn struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

// connect opens a connection; the greeting is still to be read.
func (w *world) connect(addr string) *conn {
	w.t.Helper()
	c, err := net.Dial("tcp", addr)
	must(w.t, err)
	w.t.Cleanup(func() { c.Close() })
	must(w.t, c.SetDeadline(time.Now().Add(4*patience)))
	return &conn{c, w.t, bufio.NewReader(c)}
}

// hello opens a connection and says EHLO.
func (w *world) hello() *conn {
	w.t.Helper()
	c := w.connect(w.addr())
	c.want("", "220 ")
	c.want("EHLO client.example\r\n", "250-")
	return c
}

// reply reads one reply and returns its lines joined by "/"; "" when the
// connection is closed.
func (c *conn) reply() string {
	var lines []string
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			if !errors.Is(err, io.EOF) {
				lines = append(lines, err.Error())
			}
			return strings.Join(lines, "/")
		}
		line = strings.TrimRight(line, "\r\n")
		lines = append(lines, line)
		if len(line) < 4 || line[3] != '-' {
			return strings.Join(lines, "/")
		}
	}
}

// put sends text as it is.
func (c *conn) put(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Error(err)
	}
}

// ask sends text and reads one reply.
func (c *conn) ask(text string) string {
	c.t.Helper()
	c.put(text)
	return c.reply()
}

// want sends text and complains when the reply begins in another way.
func (c *conn) want(text, prefix string) {
	c.t.Helper()
	if got := c.ask(text); !strings.HasPrefix(got, prefix) {
		c.t.Fatalf("reply to %.80q: %q, want %q", text, got, prefix)
	}
}

// begin says MAIL, RCPT and DATA.
func (c *conn) begin(from string, to ...string) {
	c.t.Helper()
	c.want("MAIL FROM:<"+from+">\r\n", "250 ")
	for _, a := range to {
		c.want("RCPT TO:<"+a+">\r\n", "250 ")
	}
	c.want("DATA\r\n", "354 ")
}

// send sends a short message that is accepted.
func (w *world) send(from string, to ...string) {
	w.t.Helper()
	c := w.hello()
	defer c.Close()
	c.begin(from, to...)
	c.want("Subject: test\r\n\r\nhello\r\n.\r\n", "250 ")
	c.want("QUIT\r\n", "221 ")
}
