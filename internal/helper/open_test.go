package helper

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"postern/internal/privsep"
	"postern/internal/route"
)

// TestOpen gives files and the log, and nothing else.
func TestOpen(t *testing.T) {
	dir := t.TempDir()
	known, other, log := dir+"/known", dir+"/other", dir+"/log"
	for _, name := range []string{known, other} {
		if err := os.WriteFile(name, []byte("content of "+name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	certs := dir + "/certs"
	if err := errors.Join(os.Mkdir(certs, 0o700), os.WriteFile(certs+"/a.pem", []byte("a"), 0o600), os.Mkdir(certs+"/sub", 0o700)); err != nil {
		t.Fatal(err)
	}
	p := &Policy{Owner: privsep.Identity{UID: 1 << 30, GID: 1 << 30}, Files: map[string]bool{known: true, dir: true}, Log: log,
		Directories: map[string]bool{certs: true}}
	c := connect(t, p)
	f, err := c.OpenFile(known)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if text, err := io.ReadAll(f); err != nil || string(text) != "content of "+known {
		t.Errorf("read %q, %v", text, err)
	}
	if _, err := f.WriteString("x"); err == nil {
		t.Error("the file can be written to")
	}
	for _, name := range []string{other, dir, dir + "/./known", "/etc/shadow", ""} {
		if f, err := c.OpenFile(name); err == nil {
			f.Close()
			t.Errorf("OpenFile(%q) gave the file", name)
		}
	}
	d, err := c.OpenFile(certs)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if names, err := d.Readdirnames(-1); err != nil || len(names) != 2 {
		t.Errorf("the directory has %q, %v", names, err)
	}
	a, err := c.OpenFile(certs + "/a.pem")
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
	for _, name := range []string{certs + "/sub", certs + "/../other", certs + "/", certs + "/sub/../../other"} {
		if f, err := c.OpenFile(name); err == nil {
			f.Close()
			t.Errorf("OpenFile(%q) gave the file", name)
		}
	}
	l, err := c.OpenLog(log)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := l.WriteString("line\n"); err != nil {
		t.Error(err)
	}
	if f, err := c.OpenLog(other); err == nil {
		f.Close()
		t.Error("OpenLog opened a file that is not the log")
	}
	c = connect(t, &Policy{Owner: privsep.Identity{UID: os.Getuid()}, Files: p.Files})
	if f, err := c.OpenFile(known); err == nil {
		f.Close()
		t.Error("OpenFile opened what mail_owner could have put there")
	}
}

// TestListen gives listeners of master.cf, and nothing else.
func TestListen(t *testing.T) {
	c := connect(t, &Policy{Listeners: map[string]bool{"tcp4 127.0.0.1:0": true}})
	l, err := c.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if !strings.HasPrefix(l.Addr().String(), "127.0.0.1:") {
		t.Errorf("listening on %v", l.Addr())
	}
	if l, err := c.Listen("tcp4", "127.0.0.1:1"); err == nil {
		l.Close()
		t.Error("Listen on another port worked")
	}
	socket := t.TempDir() + "/control"
	uid, gid := somebody()
	if os.Geteuid() != 0 {
		uid = -1 // the directory may not be that of mail_owner
	}
	u, err := connect(t, &Policy{Owner: privsep.Identity{UID: uid, GID: gid}, Listeners: map[string]bool{"unix " + socket: true}}).Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info, err)
	}
	busy := l.Addr().String()
	c = connect(t, &Policy{Listeners: map[string]bool{"tcp4 " + busy: true}})
	if _, err := c.Listen("tcp4", busy); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("Listen on a busy port = %v, want %v", err, unix.EADDRINUSE)
	}
}

// recorder is a Logger.
type recorder chan string

func (r recorder) Infof(format string, args ...any) { r <- fmt.Sprintf(format, args...) }
func (r recorder) Warningf(format string, args ...any) {
	r <- "warning: " + fmt.Sprintf(format, args...)
}

// TestLog: what a Store logs in the helper is logged by the server.
func TestLog(t *testing.T) {
	base := home(t)
	c := connect(t, &Policy{Virtual: map[string]int{base: 1}, VirtualGIDs: Numbers{Any: true}})
	lines := make(recorder, 10)
	c.Logs("virtual", lines)
	store := c.Store(options())
	for range 2 {
		if _, err := store.Deliver(t.Context(), box(base, "box", route.Maildir), message("text\n")); err != nil {
			t.Fatal(err)
		}
	}
	if line := <-lines; !strings.Contains(line, "message is in "+base+"/box already") {
		t.Errorf("logged %q", line)
	}
}
