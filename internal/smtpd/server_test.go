package smtpd

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/smtp"
)

// listen serves on loopback until the test ends.
func (h *house) listen(t *testing.T) (addr string, stop func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Serve(ctx, l) }()
	stopped := false
	stop = func() error {
		cancel()
		if stopped {
			return nil
		}
		stopped = true
		return <-done
	}
	t.Cleanup(func() { _ = stop() })
	return l.Addr().String(), stop
}

func dial(t *testing.T, addr string) *peer {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	over := make(chan struct{})
	close(over)
	return &peer{Conn: conn, t: t, in: smtp.NewReader(conn, make([]byte, 4096)), over: over}
}

func TestServe(t *testing.T) {
	h := newHouse()
	addr, stop := h.listen(t)
	p := dial(t, addr)
	p.want("220 mx.host.example ESMTP")
	p.hello()
	p.ask("MAIL FROM:<a@b.example>", "250 2.1.0 Ok")
	p.ask("RCPT TO:<x@a.example>", "250 2.1.5 Ok")
	p.ask("DATA", "354 End data with <CR><LF>.<CR><LF>")
	p.ask("x\r\n.", "250 2.0.0 Ok: queued as QID1")
	if got := h.Sessions(); got != 1 {
		t.Errorf("Sessions() = %d, want 1", got)
	}
	idle := make(chan error, 1)
	go func() { idle <- stop() }()
	p.want("421 4.3.2 mx.host.example Service not available, closing transmission channel")
	if err := <-idle; err != nil {
		t.Errorf("Serve = %v, want nil", err)
	}
	h.log.contains(t, "QID1: client=unknown[127.0.0.1]")
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("the listener is open after Serve")
	}
}

// A transaction that goes on after Grace is cut off.
func TestServeGrace(t *testing.T) {
	h := newHouse()
	h.Grace = time.Millisecond
	addr, stop := h.listen(t)
	p := dial(t, addr)
	p.want("220 mx.host.example ESMTP")
	p.ask("MAIL FROM:<a@b.example>", "250 2.1.0 Ok")
	p.ask("RCPT TO:<x@a.example>", "250 2.1.5 Ok")
	if err := stop(); err != nil {
		t.Errorf("Serve = %v, want nil", err)
	}
	h.log.contains(t, "lost connection after RCPT from unknown[127.0.0.1]")
	if h.intake.aborted != 1 {
		t.Errorf("%d messages aborted, want 1", h.intake.aborted)
	}
}

// slowGreeting lets the client talk first.
type slowGreeting struct {
	fakePolicy
	spoken chan struct{}
}

func (p *slowGreeting) Connect(context.Context, *Client) Verdict {
	<-p.spoken
	return Verdict{}
}

// What the client said is still in the kernel when the greeting is due.
func TestEarlyTalker(t *testing.T) {
	h := newHouse()
	policy := &slowGreeting{spoken: make(chan struct{})}
	h.swap(&Profile{Config: &h.config, Policy: policy, Intake: &h.intake})
	addr, _ := h.listen(t)
	p := dial(t, addr)
	p.send("EHLO client.example\r\n")
	close(policy.spoken)
	p.want("554 5.5.0 Error: SMTP protocol synchronization")
	p.wantEnd()
	h.log.contains(t, `improper command pipelining after CONNECT from unknown[127.0.0.1]: EHLO client.example\r\n`)
}

// failingListener fails with each of errs, then blocks until it is closed.
type failingListener struct {
	net.Listener
	errs   []error
	closed chan struct{}
}

func (l *failingListener) Accept() (net.Conn, error) {
	if len(l.errs) == 0 {
		<-l.closed
		return nil, net.ErrClosed
	}
	err := l.errs[0]
	l.errs = l.errs[1:]
	return nil, err
}

func (l *failingListener) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

func TestServeSurvivesAcceptErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		l := &failingListener{closed: make(chan struct{}), errs: []error{syscall.EMFILE, syscall.EMFILE, syscall.ECONNABORTED}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		start := time.Now()
		go func() { done <- h.Serve(ctx, l) }()
		time.Sleep(time.Second)
		if got := strings.Count(h.log.String(), "warning: accept connection: "); got != 3 {
			t.Errorf("%d warnings after %v, want 3:\n%s", got, time.Since(start), &h.log)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
	})
}

func TestServeBrokenListener(t *testing.T) {
	h := newHouse()
	l := &failingListener{closed: make(chan struct{}), errs: []error{net.ErrClosed}}
	if err := h.Serve(t.Context(), l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve = %v, want %v", err, net.ErrClosed)
	}
}

// FuzzSession feeds whole sessions to a server, in the states that a prefix
// leads to.
func FuzzSession(f *testing.F) {
	prefixes := []string{"", "EHLO x\r\n", "EHLO x\r\nMAIL FROM:<a@b.example>\r\n",
		"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<x@a.example>\r\n", "MAIL FROM:<>\r\nRCPT TO:<x@a.example>\r\nDATA\r\n"}
	for i := range prefixes {
		f.Add(uint8(i), []byte("RSET\r\nNOOP\r\nVRFY <x>\r\nQUIT\r\n"))
		f.Add(uint8(i), []byte("text\r\n..\n.\r\nMAIL FROM:<>\r\n\xff\x00\r\nHELO\r\nBDAT 3\r\nxxx"))
		f.Add(uint8(i), []byte("RCPT TO:<bad@a.example>\r\nRCPT TO:<gone@a.example>\r\nDATA\r\n"))
	}
	f.Fuzz(func(t *testing.T, state uint8, input []byte) {
		h := newHouse()
		h.config.ForbidUnauthPipe = false
		conn := &scripted{in: strings.NewReader(prefixes[int(state)%len(prefixes)] + string(input))}
		h.ServeConn(context.Background(), conn)
		checkReplies(t, conn.out.String())
		if got := len(h.intake.stored()) + h.intake.aborted; got != h.intake.begun {
			t.Errorf("%d messages begun, %d stored or aborted", h.intake.begun, got)
		}
		for line := range strings.SplitSeq(h.log.String(), "\n") {
			if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) || line == "" {
				t.Errorf("log line %q", line)
			}
		}
	})
}

// checkReplies checks that a session says nothing but replies.
func checkReplies(t *testing.T, text string) {
	t.Helper()
	for text != "" {
		line, rest, ok := strings.Cut(text, "\r\n")
		if !ok || len(line) < 4 || len(line) > 510 || strings.ContainsAny(line, "\r\n") ||
			line[0] < '2' || line[0] > '5' || line[3] != ' ' && line[3] != '-' {
			t.Errorf("reply line %q", line)
			return
		}
		text = rest
	}
}

// scripted is a connection whose client has said all it will say.
type scripted struct {
	net.Conn
	in  io.Reader
	out strings.Builder
}

func (c *scripted) Read(p []byte) (int, error)       { return c.in.Read(p) }
func (c *scripted) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *scripted) Close() error                     { return nil }
func (c *scripted) RemoteAddr() net.Addr             { return addressed{}.RemoteAddr() }
func (c *scripted) LocalAddr() net.Addr              { return addressed{}.LocalAddr() }
func (c *scripted) SetDeadline(time.Time) error      { return nil }
func (c *scripted) SetReadDeadline(time.Time) error  { return nil }
func (c *scripted) SetWriteDeadline(time.Time) error { return nil }
