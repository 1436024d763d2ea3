package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/control"
	"postern/internal/control/mailq"
	"postern/internal/metrics"
	"postern/internal/privsep"
)

// public gives a command by the public socket.
func (h *house) public(command string, args ...string) error {
	h.t.Helper()
	_, err := control.Call(h.t.Context(), filepath.Join(h.dir, "queue/postern/public"), control.Request{Command: command, Args: args})
	return err
}

// TestPublicSocket: everybody may connect, and look and flush, and no more.
func TestPublicSocket(t *testing.T) {
	h := start(t, "", freePort(t))
	info, err := os.Stat(filepath.Join(h.dir, "queue/postern/public"))
	if err != nil || info.Mode().Perm() != 0o666 {
		t.Fatalf("mode = %v, %v, want 0666", info.Mode(), err)
	}
	for _, command := range []string{"queue.list", "queue.flush"} {
		if err := h.public(command); err != nil {
			t.Errorf("%s = %v", command, err)
		}
	}
	for _, command := range []string{"stop", "reload", "status", "queue.apply", "queue.message", "queue.why", "queue.show", "sing"} {
		var told *control.Error
		if err := h.public(command, "ABC"); !errors.As(err, &told) || told.Code != control.Denied {
			t.Errorf("%s = %v, want it denied", command, err)
		}
	}
	h.ends()
}

// TestAuthorized: the lists of users are asked by name, and the user of the
// server is not.
func TestAuthorized(t *testing.T) {
	s := running(t, "authorized_mailq_users = !nobody, static:anyone\nauthorized_flush_users = daemon, hash:/nonexistent/table\nmail_owner = bin\n")
	const nobody, daemon, bin, nameless = 65534, 1, 2, 4000000000
	self := uint32(os.Geteuid())
	for _, test := range []struct {
		command string
		uid     uint32
		code    control.Code
		text    string
	}{
		{"queue.list", nobody, control.Denied, "User nobody(65534) is not allowed to view the mail queue"},
		{"queue.list", daemon, "", ""},
		{"queue.list", nameless, "", ""},
		{"queue.flush", daemon, "", ""},
		{"queue.flush", bin, "", ""},
		{"queue.flush", 0, "", ""},
		{"queue.flush", self, "", ""},
		{"queue.flush", nameless, "", "authorized_flush_users"}, // the table cannot tell: not allowed, and not denied for good
	} {
		if self == test.uid && test.code != "" {
			continue
		}
		resp := s.publicCommand(t.Context(), control.Request{Command: test.command, Peer: control.Peer{UID: test.uid}}, nothing{})
		if resp.Code != test.code || !strings.Contains(resp.Error, test.text) || test.text == "" && resp.Error != "" {
			t.Errorf("%s by %d = %q %q, want %q %q", test.command, test.uid, resp.Code, resp.Error, test.code, test.text)
		}
	}
}

// nothing is a stream that nobody reads.
type nothing struct{}

func (nothing) Item(any) error    { return nil }
func (nothing) Progress(int, int) {}

// running runs a server that the test can look into.
func running(t *testing.T, lines string) *Server {
	t.Helper()
	h := &house{t: t, dir: t.TempDir(), end: make(chan error, 1)}
	h.configure(lines, freePort(t))
	ctx, stop := context.WithCancel(context.Background())
	h.stop = stop
	ready := make(chan struct{})
	s := &Server{runner: privsep.New(), metrics: metrics.New(Version),
		o: Options{Dir: h.dir, Ready: func([]string) { close(ready) }}}
	go func() { h.end <- s.start(ctx) }()
	select {
	case <-ready:
	case err := <-h.end:
		t.Fatalf("start = %v", err)
	}
	t.Cleanup(h.ends)
	return s
}

// TestMetricsPage: a server tells its figures where metrics_listen says.
func TestMetricsPage(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "metrics")
	address := freePort(t)
	h := start(t, "metrics_listen = unix:"+socket+"\n", address)
	greeting(t, address)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	resp, err := client.Get("http://metrics/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`postern_queue_messages{state="deferred"} 0`, "postern_queue_oldest_seconds 0", "postern_smtpd_connections_total 1",
		`postern_spool_segments{state="used"} 1`, "postern_spool_free_bytes ", `postern_build_info{`, "go_goroutines ",
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	h.ends()
}

// TestMetricsAddressTaken: a server that cannot listen for its readers says where
// that was asked for, and does not start.
func TestMetricsAddressTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	h := &house{t: t, dir: t.TempDir()}
	h.configure("metrics_listen = "+l.Addr().String()+"\n", freePort(t))
	err = Run(t.Context(), Options{Dir: h.dir})
	if err == nil || !strings.Contains(err.Error(), "main.cf:11: metrics_listen: ") {
		t.Errorf("Run = %v, want it to blame metrics_listen", err)
	}
}

func TestStatus(t *testing.T) {
	h := start(t, "", freePort(t))
	resp, err := control.Call(t.Context(), filepath.Join(h.dir, "control"), control.Request{Command: "status"})
	var st Status
	if err != nil || json.Unmarshal(resp.Data, &st) != nil || st.PID != os.Getpid() || st.Version != Version || !strings.HasPrefix(resp.Text, "running, process id ") {
		t.Errorf("status = %+v, %v", resp, err)
	}
	if _, err := control.Call(t.Context(), filepath.Join(h.dir, "control"), control.Request{Command: "sing"}); err == nil {
		t.Error("an unknown command was carried out")
	}
	r, err := mailq.Request("queue.list", mailq.Filter{Sender: "<>"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := control.Call(t.Context(), filepath.Join(h.dir, "control"), r); err != nil {
		t.Errorf("queue.list = %v", err)
	}
	h.ends()
}
