package smtpd

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"postern/internal/smtp"
)

// idleServer is the environment variable that makes the test binary a server
// whose memory TestIdleSessions looks at: "plain" or "tls".
const idleServer = "POSTERN_SMTPD_IDLE_SERVER"

// serveIdle is the server of TestIdleSessions: it prints its address, and then
// its memory for each line on standard input.
func serveIdle(kind string) error {
	c := DefaultConfig("mx.host.example")
	c.ClientLimit = 0
	if kind == "tls" {
		var err error
		if c.TLS, err = newServerTLS(); err != nil {
			return err
		}
		c.TLSLevel = TLSMay
	}
	p := &Profile{Config: &c, Policy: nullHooks{}, Intake: nullHooks{}}
	s := &Server{Profile: func() *Profile { return p }, Log: nullHooks{}, MaxConnections: 20000}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	fmt.Println(l.Addr())
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		now := resident()
		debug.FreeOSMemory() // what handshakes have left behind goes within minutes by itself
		fmt.Println(s.Sessions(), now, resident())
	}
	cancel()
	return <-done
}

// resident is the memory of this process that is in use, in KiB.
func resident() int {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kib, _ := strconv.Atoi(strings.Fields(rest)[0])
	return kib
}

// idleHost is a server in a process of its own.
type idleHost struct {
	addr string
	ask  io.WriteCloser
	out  *bufio.Reader
}

func startIdleHost(t *testing.T, kind string) *idleHost {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), idleServer+"="+kind)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	h := &idleHost{ask: in, out: bufio.NewReader(out)}
	line, err := h.out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	h.addr = strings.TrimSpace(line)
	return h
}

// state asks for the number of sessions and the memory in KiB, as it is and after
// a collection.
func (h *idleHost) state(t *testing.T) (sessions, kib, collected int) {
	t.Helper()
	if _, err := h.ask.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	line, err := h.out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(line, &sessions, &kib, &collected); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return sessions, kib, collected
}

// greet makes a session that has said EHLO, in TLS if asked.
func (h *idleHost) greet(t *testing.T, secure bool) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	p := &peer{Conn: conn, t: t, in: smtp.NewReader(conn, make([]byte, 512))}
	p.line()
	p.hello()
	if secure {
		p.ask("STARTTLS", "220 2.0.0 Ready to start TLS")
		p.Conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		p.in.Reset(p.Conn)
		p.hello()
	}
	return p.Conn
}

// TestIdleSessions holds many connections that have said EHLO and no more, and
// looks at the memory of the whole server process. CI holds 1000 of them; with
// POSTERN_SOAK set, 10 000. New sessions are served meanwhile.
func TestIdleSessions(t *testing.T) {
	sessions, secured := 1000, 18.0 // a thousand share what the process needs beside them
	if os.Getenv("POSTERN_SOAK") != "" {
		sessions, secured = 10000, 16
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < uint64(sessions)+100 {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%d open files are allowed, %d sessions need more", limit.Cur, sessions)
		}
		t.Skipf("%d open files are allowed, %d sessions need more", limit.Cur, sessions)
	}
	for _, test := range []struct {
		kind string
		most float64 // KiB a session
	}{{"plain", 12}, {"tls", secured}} {
		t.Run(test.kind, func(t *testing.T) {
			h := startIdleHost(t, test.kind)
			for range 10 { // what the first sessions need is no cost of one
				_ = h.greet(t, test.kind == "tls").Close()
			}
			_, _, before := h.state(t)
			for range sessions {
				h.greet(t, test.kind == "tls")
			}
			held, fresh, after := h.state(t)
			each := float64(after-before) / float64(sessions)
			t.Logf("%d sessions: %d KiB before, %d KiB at first, %d KiB after a collection, %.1f KiB each", held, before, fresh, after, each)
			h.greet(t, test.kind == "tls")
			if held < sessions {
				t.Errorf("%d sessions are held, want %d", held, sessions)
			}
			if each > test.most && !raceDetector {
				t.Errorf("an idle session takes %.1f KiB, want %.1f at most", each, test.most)
			}
		})
	}
}
