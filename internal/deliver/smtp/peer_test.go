package smtp

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/deliver"
	"postern/internal/dns/dnstest"
	"postern/internal/smtpc"
	"postern/internal/spool"
)

// peer is an SMTP or LMTP server whose answers a test can set.
type peer struct {
	lmtp     bool
	greeting string
	ehlo     string            // lines behind the first
	reply    map[string]string // by command line, or its first word, or "." for the end of data; "DROP" closes the connection

	hook func(line string) string // called for every command; what it returns, if anything, is the reply

	addr string

	mu          sync.Mutex
	connections int
	messages    int
	text        string // of the last message
	from        string // address of the last client
	heard       []string
	open        map[net.Conn]bool
	down        sync.WaitGroup
}

// start serves on a network ("tcp" or "unix") until the test ends.
func (p *peer) start(t testing.TB, network string) *peer {
	t.Helper()
	addr := "127.0.0.1:0"
	if network == "unix" {
		addr = filepath.Join(t.TempDir(), "lmtp")
	}
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	p.addr, p.open = l.Addr().String(), make(map[net.Conn]bool)
	p.down.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.connections++
			p.from = conn.RemoteAddr().String()
			p.open[conn] = true
			p.mu.Unlock()
			p.down.Go(func() { p.serve(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.dropAll()
		p.down.Wait()
	})
	return p
}

// dropAll closes the connections.
func (p *peer) dropAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.open {
		conn.Close()
	}
}

func (p *peer) port() string {
	_, port, _ := net.SplitHostPort(p.addr)
	return port
}

// answer returns the reply to a command, def when the test set none.
func (p *peer) answer(line, def string) string {
	verb, _, _ := strings.Cut(line, " ")
	for _, key := range []string{line, verb} {
		if r, ok := p.reply[key]; ok {
			return r
		}
	}
	return def
}

func (p *peer) serve(conn net.Conn) {
	defer func() {
		conn.Close()
		p.mu.Lock()
		delete(p.open, conn)
		p.mu.Unlock()
	}()
	r := bufio.NewReader(conn)
	say := func(reply string) bool {
		if reply == "DROP" {
			return false
		}
		_, err := fmt.Fprintf(conn, "%s\r\n", reply)
		return err == nil && !strings.HasPrefix(reply, "421")
	}
	if !say(cmp.Or(p.greeting, "220 peer.test")) {
		return
	}
	var rcpts []string
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		p.mu.Lock()
		p.heard = append(p.heard, line)
		p.mu.Unlock()
		verb, _, _ := strings.Cut(line, " ")
		reply := p.answer(line, "250 2.0.0 ok")
		switch verb {
		case "EHLO", "LHLO":
			reply = p.answer(line, "250-peer.test\r\n"+p.ehlo+"250 PIPELINING")
		case "MAIL", "RSET":
			rcpts = nil
		case "RCPT":
			if strings.HasPrefix(reply, "2") {
				rcpts = append(rcpts, strings.TrimSuffix(strings.TrimPrefix(line, "RCPT TO:<"), ">"))
			}
		case "DATA":
			reply = p.answer(line, "354 go")
			if len(rcpts) == 0 {
				reply = "503 5.5.1 no recipients"
			}
		case "BDAT":
			var n int
			_, _ = fmt.Sscanf(line, "BDAT %d LAST", &n)
			text := make([]byte, n)
			if _, err := io.ReadFull(r, text); err != nil {
				return
			}
			reply = "503 5.5.1 no recipients"
			if len(rcpts) > 0 {
				p.took(string(text))
				reply = p.answer(".", "250 2.0.0 Ok: queued as 1")
			}
		case "QUIT":
			reply = "421 bye" // closes the connection
		}
		if p.hook != nil {
			if r := p.hook(line); r != "" {
				reply = r
			}
		}
		if !say(reply) {
			return
		}
		if verb == "STARTTLS" && strings.HasPrefix(reply, "2") {
			return // it knows nothing of TLS
		}
		if verb == "DATA" && strings.HasPrefix(reply, "354") && !p.message(r, rcpts, say) {
			return
		}
	}
}

// message reads a message and gives the replies to its end.
func (p *peer) message(r *bufio.Reader, rcpts []string, say func(string) bool) bool {
	var text strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return false
		}
		if line == ".\r\n" {
			break
		}
		text.WriteString(line)
	}
	p.took(text.String())
	if !p.lmtp {
		return say(p.answer(".", "250 2.0.0 Ok: queued as 1"))
	}
	for _, to := range rcpts {
		if !say(p.answer(". "+to, p.answer(".", "250 2.0.0 <"+to+"> Saved"))) {
			return false
		}
	}
	return true
}

func (p *peer) took(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.messages++
	p.text = text
}

func (p *peer) counts() (connections, messages int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.connections, p.messages
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text []string
}

func (l *lines) add(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, s)
}

func (l *lines) Infof(format string, args ...any) { l.add(fmt.Sprintf(format, args...)) }
func (l *lines) Warningf(format string, args ...any) {
	l.add("warning: " + fmt.Sprintf(format, args...))
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.text, "\n")
}

// newAgent makes an agent for a test; change may be nil.
func newAgent(t testing.TB, change func(*Options)) (*Agent, *lines) {
	t.Helper()
	log := &lines{}
	o := Options{
		Hostname:        "me.test",
		Resolver:        &dnstest.Map{},
		Session:         smtpc.Options{Timeouts: smtpc.DefaultTimeouts()},
		ConnectTimeout:  30 * time.Second,
		GreetingRetries: true,
		MaxAddress:      5,
		MaxSessions:     2,
		Log:             log,
	}
	if change != nil {
		change(&o)
	}
	a, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a, log
}

// request makes a request for a message.
func request(nextHop string, rcpts ...string) *deliver.Request {
	e := spool.Envelope{Sender: "from@test"}
	r := &deliver.Request{Transport: "smtp", NextHop: nextHop}
	for i, to := range rcpts {
		e.Recipients = append(e.Recipients, spool.Recipient{Address: to})
		r.Recipients = append(r.Recipients, deliver.Recipient{Index: i, Address: to})
	}
	r.Message = spool.Detached("0123456789AB", e, []byte("Subject: x\n\ntext\n"))
	return r
}

// show writes a status on a line, with the port of a peer replaced.
func show(s deliver.Status, ports ...string) string {
	text := fmt.Sprintf("%s dsn=%s relay=%s (%s)", s.Kind, s.DSN, s.Relay, s.Reason)
	if s.Destination {
		text += " destination"
	}
	if s.Diagnostic != "" {
		text += " mta=" + s.RemoteMTA + " diagnostic=" + s.Diagnostic
	}
	for i, port := range ports {
		text = strings.ReplaceAll(text, port, fmt.Sprintf("PORT%d", i))
	}
	return text
}
