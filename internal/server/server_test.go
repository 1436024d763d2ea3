package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/internal/config"
	"postern/internal/control"
	"postern/internal/deliver/mailbox"
	"postern/internal/metrics"
	"postern/internal/privsep"
	"postern/internal/route"
)

// patience is how long a test waits for what has to happen.
const patience = 30 * time.Second

// house is a server in a directory of its own.
type house struct {
	t    *testing.T
	dir  string
	stop context.CancelFunc
	end  chan error // what Run has returned
}

// freePort finds a port that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (h *house) write(name, text string) {
	h.t.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, name), []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

// configure writes main.cf with lines added, and master.cf with a listener on
// each address.
func (h *house) configure(lines string, addresses ...string) {
	h.t.Helper()
	h.write("main.cf", fmt.Sprintf(`myhostname = mx.host.example
mydestination =
inet_protocols = ipv4
alias_maps =
queue_directory = %[1]s/queue
control_socket = %[1]s/control
maillog_file = %[1]s/mail.log
virtual_mailbox_base = %[1]s/mail
virtual_mailbox_domains = example.org
smtpd_peername_lookup = no
%[2]s`, h.dir, lines))
	var master strings.Builder
	for _, a := range addresses {
		fmt.Fprintf(&master, "%s inet n - n - - smtpd\n", a)
	}
	h.write("master.cf", master.String()+"virtual unix - n n - - virtual\n")
}

// start runs the server that configure has described.
func start(t *testing.T, lines string, addresses ...string) *house {
	t.Helper()
	h := &house{t: t, dir: t.TempDir(), end: make(chan error, 1)}
	h.configure(lines, addresses...)
	ctx, stop := context.WithCancel(context.Background())
	h.stop = stop
	t.Cleanup(stop)
	ready := make(chan struct{})
	go func() { h.end <- Run(ctx, Options{Dir: h.dir, Ready: func([]string) { close(ready) }}) }()
	select {
	case <-ready:
	case err := <-h.end:
		t.Fatalf("Run = %v", err)
	}
	return h
}

func (h *house) reload() {
	h.t.Helper()
	if _, err := control.Call(h.t.Context(), filepath.Join(h.dir, "control"), control.Request{Command: "reload"}); err != nil {
		h.t.Fatalf("reload: %v", err)
	}
}

// greeting is the first line that a server says.
func greeting(t *testing.T, address string) string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// ends stops the server and waits for its end.
func (h *house) ends() {
	h.t.Helper()
	h.stop()
	select {
	case err := <-h.end:
		if err != nil {
			h.t.Errorf("Run = %v", err)
		}
	case <-time.After(patience):
		h.t.Fatal("the server does not end")
	}
}

// TestReloadedListenerEnds: a listener that a reload by command has opened ends
// with the server like the others.
func TestReloadedListenerEnds(t *testing.T) {
	first, second := freePort(t), freePort(t)
	h := start(t, "", first)
	h.configure("", first, second)
	h.reload()
	for _, a := range []string{first, second} {
		if line := greeting(t, a); !strings.HasPrefix(line, "220 ") {
			t.Errorf("%s says %q", a, line)
		}
	}
	h.ends()
}

// TestReloadMovesAddress: an address that overlaps with one that goes can be
// listened on in the same reload.
func TestReloadMovesAddress(t *testing.T) {
	address := freePort(t)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	h := start(t, "inet_interfaces = 127.0.0.1\n", address)
	for range 5 {
		h.configure("inet_interfaces = 127.0.0.1\n", "localhost:"+port)
		h.reload()
		greeting(t, address)
		h.configure("inet_interfaces = 127.0.0.1\n", address)
		h.reload()
		greeting(t, address)
	}
	h.ends()
}

// TestMailboxSyncNeedsRestart: a spool that leaves the syncing to the agents
// does so until it is opened again, whatever a reload says.
func TestMailboxSyncNeedsRestart(t *testing.T) {
	h := &house{t: t, dir: t.TempDir()}
	h.configure("mailbox_sync = each\n", "127.0.0.1:2525")
	load := func() *config.Settings {
		t.Helper()
		v, err := LoadSettings(h.dir)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	var err error
	s := &Server{runner: self{}, metrics: metrics.New(Version)}
	if s.log, err = s.openLog(load()); err != nil {
		t.Fatal(err)
	}
	defer s.log.Close()
	if err := s.openSpool(t.Context(), load()); err != nil {
		t.Fatal(err)
	}
	defer s.spool.Close()
	h.configure("mailbox_sync = auto\n", "127.0.0.1:2525")
	store, err := s.mailboxes(load(), s.log.Program("virtual"), "virtual", "virtual_mailbox_limit", "virtual_mailbox_lock")
	if err != nil {
		t.Fatal(err)
	}
	box := route.Mailbox{Base: h.dir, Path: filepath.Join(h.dir, "john"), Format: route.Maildir, UID: 1, GID: 1}
	receipt, err := store.Deliver(t.Context(), box, &mailbox.Message{ID: "1", Body: strings.NewReader("text\n")})
	if err != nil || receipt.Applied != nil {
		t.Errorf("Deliver = %+v, %v; want a delivery that is durable", receipt, err)
	}
}

// self is a privsep.Runner that changes nothing.
type self struct{}

func (self) Do(_ privsep.Identity, f func() error) error { return f() }

// TestMakeDirectory: users reach the public socket and the maildrop, whatever the
// mask is.
func TestMakeDirectory(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	dir := t.TempDir()
	for range 2 {
		if err := makeDirectory(dir + "/a/b"); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"/a", "/a/b"} {
		if info, err := os.Stat(dir + name); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if err := errors.Join(os.WriteFile(dir+"/file", nil, 0o600), os.Symlink("nowhere", dir+"/link")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"/file/a", "/link/a"} {
		if err := makeDirectory(dir + name); err == nil {
			t.Errorf("%s was made", name)
		}
	}
}
