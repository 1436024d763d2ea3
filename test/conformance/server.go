package conformance

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A server is one running mail server in a process group of its own.
type server struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

// startServer runs argv in the background and waits for its SMTP greeting.
func startServer(ctx context.Context, w *world, argv []string) (*server, error) {
	log, err := os.Create(filepath.Join(w.dir, "server.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "MAIL_CONFIG="+w.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{cmd: cmd, done: make(chan struct{})}
	go func() {
		cmd.Wait()
		close(s.done)
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(10 * time.Second)
	for {
		if greets(net.JoinHostPort("127.0.0.1", w.port)) {
			return s, nil
		}
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
			err = ctx.Err()
		case <-s.done:
			err = fmt.Errorf("ended at once")
		case <-late:
			err = fmt.Errorf("no SMTP greeting after 10 s")
		}
		s.stop()
		return nil, fmt.Errorf("server: %w\n%s", err, tail(w.dir))
	}
}

func greets(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(3 * time.Second))
	b := make([]byte, 1)
	if _, err := c.Read(b); err != nil {
		return false
	}
	fmt.Fprint(c, "QUIT\r\n")
	return true
}

// tail returns the end of the server's logs.
func tail(dir string) string {
	var out []byte
	for _, name := range []string{"server.log", "maillog"} {
		b, _ := os.ReadFile(filepath.Join(dir, name))
		out = append(out, b[max(0, len(b)-2000):]...)
	}
	return string(out)
}

// stop ends the server and everything in its process group.
func (s *server) stop() {
	group := -s.cmd.Process.Pid
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(3 * time.Second):
	}
	syscall.Kill(group, syscall.SIGKILL)
	<-s.done
}

// command runs a helper program to its end, with a time limit.
func command(stdin, name string, args ...string) error {
	_, _, err := output(stdin, name, args...)
	return err
}

// output is command that also returns standard output and the exit status.
func output(stdin, name string, args ...string) (string, int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, msg bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &msg
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(msg.String()))
	}
	return out.String(), cmd.ProcessState.ExitCode(), err
}

// A kind knows how to run one sort of server.
type kind struct {
	prologue string   // main.cf lines that only this server needs
	argv     []string // command to start, {dir} stands for the configuration
	postmap  []string // command for tables, empty when the server needs none
	postfix  bool
}

// postfixKind describes the installed Postfix, run as a private instance.
func postfixKind() (kind, error) {
	k := kind{postfix: true, postmap: []string{"postmap"}}
	names := []string{"daemon_directory", "command_directory", "shlib_directory", "meta_directory", "mail_owner", "setgid_group"}
	text, _, err := output("", "postconf", append([]string{"-dh"}, names...)...)
	if err != nil {
		return k, err
	}
	values := strings.Split(strings.TrimSpace(text), "\n")
	if len(values) != len(names) {
		return k, fmt.Errorf("unexpected output of postconf: %q", text)
	}
	for i, name := range names {
		k.prologue += name + " = " + values[i] + "\n"
	}
	k.argv = []string{filepath.Join(values[0], "master"), "-c", "{dir}", "-d"}
	k.prologue += "maillog_file = {dir}/maillog\nmaillog_file_prefixes = {dir}\nsyslog_name = conformance\n"
	return k, nil
}

// layQueue makes the folders that the postfix command would make.
func layQueue(dir string) error {
	owner, err := user.Lookup("postfix")
	if err != nil {
		return err
	}
	drop, err := user.LookupGroup("postdrop")
	if err != nil {
		return err
	}
	uid, _ := strconv.Atoi(owner.Uid)
	gid, _ := strconv.Atoi(drop.Gid)
	if err := os.Chown(filepath.Join(dir, "data"), uid, -1); err != nil {
		return err
	}
	for name, mode := range map[string]os.FileMode{
		"active": 0o700, "bounce": 0o700, "corrupt": 0o700, "defer": 0o700, "deferred": 0o700,
		"flush": 0o700, "hold": 0o700, "incoming": 0o700, "private": 0o700, "saved": 0o700, "trace": 0o700,
		"maildrop": 0o730 | os.ModeSticky, "public": 0o710 | os.ModeSetgid, "pid": 0o755,
	} {
		path := filepath.Join(dir, "queue", name)
		if err := os.Mkdir(path, 0o700); err != nil {
			return err
		}
		u, g := uid, -1
		switch name {
		case "pid":
			u = 0
		case "maildrop", "public":
			g = gid
		}
		if err := os.Chown(path, u, g); err != nil {
			return err
		}
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
	}
	return nil
}

// queueIdle reports whether a Postfix queue holds nothing but deferred mail.
func queueIdle(dir string) bool {
	for _, name := range []string{"maildrop", "incoming", "active"} {
		entries, err := os.ReadDir(filepath.Join(dir, "queue", name))
		if err != nil || len(entries) > 0 {
			return false
		}
	}
	return true
}
