package smtpd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"postern/internal/address"
	"postern/internal/smtp"
)

func TestMain(m *testing.M) {
	if kind := os.Getenv(idleServer); kind != "" {
		if err := serveIdle(kind); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// logBook collects log lines.
type logBook struct {
	mu    sync.Mutex
	lines []string
}

func (l *logBook) Infof(format string, args ...any) { l.add(fmt.Sprintf(format, args...)) }

func (l *logBook) Warningf(format string, args ...any) {
	l.add("warning: " + fmt.Sprintf(format, args...))
}

func (l *logBook) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

func (l *logBook) contains(t *testing.T, want string) {
	t.Helper()
	if !strings.Contains(l.String()+"\n", want+"\n") {
		t.Errorf("the log has no line that ends in %q:\n%s", want, l)
	}
}

// fakePolicy refuses by name: a HELO of "bad.example", recipients and senders
// whose local part is "bad", "soft", "gone" (421), "hangup".
type fakePolicy struct {
	connect, data, endOfData Verdict
}

func byName(local string) Verdict {
	switch local {
	case "bad":
		return Verdict{Reply: smtp.R(550, "5.1.1", "<bad>: refused")}
	case "soft":
		return Verdict{Reply: smtp.R(450, "4.1.1", "<soft>: try again")}
	case "gone":
		return Verdict{Reply: smtp.R(421, "4.7.0", "go away")}
	case "hangup":
		return Verdict{Hangup: true}
	case "hold":
		return Verdict{
			Notes:   []Note{{"hold", "<hold>: Recipient address triggers HOLD action"}},
			Effects: []Effect{{"HOLD", "action"}},
		}
	}
	return Verdict{}
}

func (p *fakePolicy) Connect(context.Context, *Client) Verdict { return p.connect }

func (p *fakePolicy) Helo(_ context.Context, c *Client) Verdict {
	if c.Helo == "bad.example" {
		return Verdict{Reply: smtp.R(554, "5.7.1", "<bad.example>: Helo command rejected: Access denied")}
	}
	return Verdict{}
}

func (p *fakePolicy) Mail(_ context.Context, t *Transaction) Verdict {
	return byName(t.Sender.Address.Local)
}

func (p *fakePolicy) Rcpt(_ context.Context, _ *Transaction, r *Recipient) Verdict {
	return byName(r.Path.Address.Local)
}

func (p *fakePolicy) Data(context.Context, *Transaction) Verdict      { return p.data }
func (p *fakePolicy) EndOfData(context.Context, *Transaction) Verdict { return p.endOfData }

func (p *fakePolicy) Etrn(_ context.Context, _ *Client, domain string) Verdict {
	name, _, _ := strings.Cut(domain, ".")
	return byName(name)
}

func (p *fakePolicy) Vrfy(_ context.Context, _ *Transaction, a address.Address) Verdict {
	return byName(a.Local)
}

// fakeIntake keeps what was committed.
type fakeIntake struct {
	room, begin, commit smtp.Reply
	writeErr            error

	mu       sync.Mutex
	begun    int
	aborted  int
	messages []message
}

type message struct {
	text       string
	recipients []string
	effects    []Effect
}

type fakeBody struct {
	in      *fakeIntake
	id      string
	started bool
	ended   bool
	text    bytes.Buffer
}

func (in *fakeIntake) Room(context.Context, *Transaction) smtp.Reply { return in.room }

func (in *fakeIntake) Begin(context.Context, *Transaction) (Body, smtp.Reply) {
	if !in.begin.IsZero() {
		return nil, in.begin
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.begun++
	return &fakeBody{in: in, id: fmt.Sprintf("QID%d", in.begun)}, smtp.Reply{}
}

func (b *fakeBody) QueueID() string { return b.id }

func (b *fakeBody) Start(t *Transaction) {
	if b.started || len(t.Recipients) == 0 || t.QueueID != b.id {
		panic("Start is called twice, or too early")
	}
	b.started = true
}

func (b *fakeBody) Write(p []byte) (int, error) {
	if !b.started || b.ended {
		panic("Write before Start or after the end")
	}
	if b.in.writeErr != nil {
		return 0, b.in.writeErr
	}
	return b.text.Write(p)
}

func (b *fakeBody) end() {
	if b.ended {
		panic("a Body ends twice")
	}
	b.ended = true
}

func (b *fakeBody) Commit(_ context.Context, t *Transaction) smtp.Reply {
	b.end()
	if !b.in.commit.IsZero() {
		return b.in.commit
	}
	m := message{text: b.text.String(), effects: t.Effects}
	for _, r := range t.Recipients {
		m.recipients = append(m.recipients, r.Path.Address.String())
	}
	b.in.mu.Lock()
	defer b.in.mu.Unlock()
	b.in.messages = append(b.in.messages, m)
	return smtp.Reply{}
}

func (b *fakeBody) Abort() {
	b.end()
	b.in.mu.Lock()
	defer b.in.mu.Unlock()
	b.in.aborted++
}

func (in *fakeIntake) stored() []message {
	in.mu.Lock()
	defer in.mu.Unlock()
	return append([]message(nil), in.messages...)
}

// house is a server with its fakes.
type house struct {
	Server
	config  Config
	policy  fakePolicy
	intake  fakeIntake
	log     logBook
	profile atomic.Pointer[Profile]
}

func newHouse() *house {
	h := &house{config: DefaultConfig("mx.host.example")}
	h.config.Banner = "mx.host.example ESMTP"
	h.config.ErrorSleepTime = 0
	h.config.Timeout = 10 * time.Second
	h.Server.Log = &h.log
	h.Server.Profile = h.profile.Load
	h.swap(&Profile{Config: &h.config, Policy: &h.policy, Intake: &h.intake})
	return h
}

// swap makes p the newest profile.
func (h *house) swap(p *Profile) { h.profile.Store(p) }

// peer is the client's end of a connection to a house.
type peer struct {
	net.Conn
	t    *testing.T
	in   *smtp.Reader
	over chan struct{} // closed when the session has ended
}

// connect starts a session over a pipe and reads the greeting.
func (h *house) connect(t *testing.T) *peer {
	t.Helper()
	p := h.connectSilently(t)
	p.want("220 mx.host.example ESMTP")
	return p
}

func (h *house) connectSilently(t *testing.T) *peer {
	t.Helper()
	client, server := net.Pipe()
	p := &peer{Conn: client, t: t, in: smtp.NewReader(client, make([]byte, 4096)), over: make(chan struct{})}
	go func() {
		defer close(p.over)
		h.ServeConn(context.Background(), addressed{server})
	}()
	t.Cleanup(func() {
		_ = client.Close()
		<-p.over
	})
	return p
}

// addressed is a pipe that claims to come from 192.0.2.1.
type addressed struct{ net.Conn }

func (addressed) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4711} }
func (addressed) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 25} }

// send writes text as it is.
func (p *peer) send(text string) {
	p.t.Helper()
	if _, err := p.Write([]byte(text)); err != nil {
		p.t.Fatalf("send %q: %v", text, err)
	}
}

// line reads one line of a reply.
func (p *peer) line() string {
	p.t.Helper()
	line, err := p.in.ReadLine(1000)
	if err != nil {
		p.t.Fatalf("read reply: %v", err)
	}
	return string(line.Text)
}

// want reads a line and compares it.
func (p *peer) want(line string) {
	p.t.Helper()
	if got := p.line(); got != line {
		p.t.Errorf("reply %q, want %q", got, line)
	}
}

// ask sends a line and wants a reply.
func (p *peer) ask(command, reply string) {
	p.t.Helper()
	p.send(command + "\r\n")
	if got := p.line(); got != reply {
		p.t.Errorf("%s: reply %q, want %q", command, got, reply)
	}
}

// hello sends EHLO and reads the list.
func (p *peer) hello() {
	p.t.Helper()
	p.send("EHLO client.example\r\n")
	for line := p.line(); line[3] == '-'; {
		line = p.line()
	}
}

// wantEnd waits for the end of the session.
func (p *peer) wantEnd() {
	p.t.Helper()
	if line, err := p.in.ReadLine(1000); err == nil {
		p.t.Errorf("reply %q, want the end of the connection", line.Text)
	}
	<-p.over
}

var errDisk = errors.New("no space left on device")
