package helper

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
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
	p := &Policy{Owner: privsep.Identity{UID: 1 << 30, GID: 1 << 30}, Files: map[string]bool{known: true, dir: true}, Log: log}
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
	ours := *p
	ours.Owner.UID = os.Getuid()
	c = connect(t, &ours)
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

// TestRefresh: a reload gives the new policy, and one that fails keeps the old.
func TestRefresh(t *testing.T) {
	var mu sync.Mutex
	p, broken := &Policy{}, error(nil)
	change := func(to *Policy, err error) {
		mu.Lock()
		defer mu.Unlock()
		p, broken = to, err
	}
	c := connectWith(t, Options{As: privsep.New(), Policy: func() (*Policy, error) {
		mu.Lock()
		defer mu.Unlock()
		return p, broken
	}})
	key := "tcp4 127.0.0.1:0"
	listens := func() bool {
		l, err := c.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return false
		}
		l.Close()
		return true
	}
	if listens() {
		t.Error("the empty policy allows a listener")
	}
	change(&Policy{Listeners: map[string]bool{key: true}}, nil)
	if err := c.Present(); err != nil {
		t.Errorf("Present = %v", err)
	}
	if err := c.Refresh(); err != nil || !listens() {
		t.Errorf("Refresh = %v, and the listener is not there", err)
	}
	refusal := errors.New("main.cf:1: broken")
	change(nil, refusal)
	if err := c.Refresh(); err == nil || err.Error() != refusal.Error() || !listens() {
		t.Errorf("Refresh = %v, want %v and the old policy", err, refusal)
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
	c := connect(t, &Policy{Virtual: map[string]int{base: 1}})
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

// TestMailFS does for the spool what a checkpoint needs.
func TestMailFS(t *testing.T) {
	base := home(t)
	c := connect(t, &Policy{Virtual: map[string]int{base: 1}})
	receipt, err := c.Store(options()).Deliver(t.Context(), box(base, "box", route.Maildir), message("text\n"))
	if err != nil {
		t.Fatal(err)
	}
	fs := c.MailFS(t.TempDir(), nil)
	d, err := fs.OpenDevice(base)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		t.Error(err)
	}
	name := filepath.Join(base, "box/new", filepath.Base(newest(t, base+"/box")))
	if receipt.Applied != nil && (receipt.Applied.Dev != d.Number() || receipt.Applied.Path != name) {
		t.Errorf("receipt %+v, device %d, file %s", receipt.Applied, d.Number(), name)
	}
	f, err := fs.Open(name, os.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	if size, err := f.Size(); err != nil || size != int64(len(readNew(t, base+"/box"))) {
		t.Errorf("Size = %d, %v", size, err)
	}
	if err := errors.Join(f.Datasync(), fs.SyncDir(filepath.Dir(name))); err != nil {
		t.Error(err)
	}
	if _, err := f.ReadAt(make([]byte, 1), 0); err == nil {
		t.Error("mail can be read")
	}
	if _, err := fs.Open(name+"x", os.O_RDONLY); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Open of what is not there = %v", err)
	}
	for _, name := range []string{"/etc/passwd", base + "/../etc/passwd", base + "x"} {
		if _, err := fs.Open(name, os.O_RDONLY); err == nil {
			t.Errorf("Open(%s) worked", name)
		}
	}
	if !c.IsMaildir(base+"/box") || c.IsMaildir(base) || c.IsMaildir("/etc") {
		t.Error("IsMaildir is wrong")
	}
}

func newest(t *testing.T, dir string) string {
	t.Helper()
	names, err := filepath.Glob(dir + "/new/*")
	if err != nil || len(names) == 0 {
		t.Fatal(dir, err)
	}
	return names[len(names)-1]
}
