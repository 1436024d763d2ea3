package smtpc

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"postern/internal/tlsconf/tlstest"
)

// answerAll gives every one of n commands the reply, and then takes a message.
func answerAll(conn net.Conn, n int, reply string) error {
	r := bufio.NewReader(conn)
	for range n {
		if _, err := r.ReadString('\n'); err != nil {
			return err
		}
		if _, err := io.WriteString(conn, reply); err != nil {
			return err
		}
	}
	for _, step := range []string{"C: DATA", "S: 354 go", "BODY", "S: 250 ok", "WAIT"} {
		if err := play(conn, r, step); err != nil {
			return err
		}
	}
	return nil
}

// backend is a go-smtp server that remembers what it got.
type backend struct {
	mu  sync.Mutex
	got []string // "from>to: text"
}

func (b *backend) NewSession(*gosmtp.Conn) (gosmtp.Session, error) { return &session{b: b}, nil }

type session struct {
	b    *backend
	from string
	to   []string
}

func (s *session) Mail(from string, _ *gosmtp.MailOptions) error { s.from = from; return nil }

func (s *session) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	if strings.HasPrefix(to, "unknown") {
		return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
	}
	s.to = append(s.to, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	for _, to := range s.to {
		s.b.got = append(s.b.got, s.from+">"+to+": "+string(text))
	}
	return err
}

func (s *session) LMTPData(r io.Reader, status gosmtp.StatusCollector) error {
	if err := s.Data(r); err != nil {
		return err
	}
	for _, to := range s.to {
		var err error
		if strings.HasPrefix(to, "full") {
			err = &gosmtp.SMTPError{Code: 552, EnhancedCode: gosmtp.EnhancedCode{5, 2, 2}, Message: "mailbox full"}
		}
		status.SetStatus(to, err)
	}
	return nil
}

func (s *session) Reset()        { s.from, s.to = "", nil }
func (s *session) Logout() error { return nil }

// serveGoSMTP starts a go-smtp server and returns a connection to it.
func serveGoSMTP(t *testing.T, network string, lmtp bool, config *tls.Config) (net.Conn, *backend) {
	t.Helper()
	addr := "127.0.0.1:0"
	if network == "unix" {
		addr = filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	b := &backend{}
	srv := gosmtp.NewServer(b)
	srv.LMTP, srv.Domain, srv.TLSConfig = lmtp, "peer.test", config
	srv.ErrorLog = silent{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l) // ends with Close
	}()
	t.Cleanup(func() {
		srv.Close()
		<-done
	})
	conn, err := net.Dial(network, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return conn, b
}

type silent struct{}

func (silent) Printf(string, ...any) {}
func (silent) Println(...any)        {}

func TestGoSMTP(t *testing.T) {
	for _, test := range []struct {
		name, network string
		lmtp          bool
		want          []string
	}{
		{"SMTP", "tcp", false, []string{"delivered: 250 2.0.0 OK: queued", "550 5.1.1 no such user to RCPT TO command", "delivered: 250 2.0.0 OK: queued"}},
		{"LMTP", "tcp", true, []string{"delivered: 250 2.0.0 <a@test> OK: queued", "550 5.1.1 no such user to RCPT TO command", "552 5.2.2 <full@test> mailbox full to end of DATA command"}},
		{"LMTP", "unix", true, []string{"delivered: 250 2.0.0 <a@test> OK: queued", "550 5.1.1 no such user to RCPT TO command", "552 5.2.2 <full@test> mailbox full to end of DATA command"}},
	} {
		t.Run(test.name+" over "+test.network, func(t *testing.T) {
			conn, b := serveGoSMTP(t, test.network, test.lmtp, nil)
			c := New(conn, options(test.lmtp))
			defer c.Quit()
			if err := c.Open(context.Background()); err != nil {
				t.Fatal(err)
			}
			if !c.Extensions().Pipelining {
				t.Error("no pipelining")
			}
			for range 3 { // over one connection
				for i, o := range c.Send(context.Background(), transaction("a@test", "unknown@test", "full@test")) {
					if got := show(o); got != test.want[i] {
						t.Errorf("recipient %d: %s, want %s", i, got, test.want[i])
					}
				}
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			if len(b.got) != 6 || b.got[0] != "from@test>a@test: Subject: x\r\n\r\n.dot\r\nend\r\n" {
				t.Errorf("the server got %q", b.got)
			}
		})
	}
}

func TestStartTLS(t *testing.T) {
	ca, stranger := tlstest.New(t), tlstest.New(t)
	server := ca.Config(t, "peer.test")
	trusting := &tls.Config{RootCAs: ca.Pool, ServerName: "peer.test"}
	for _, test := range []struct {
		name   string
		policy TLS
		server *tls.Config
		secure bool
		want   string
	}{
		{"trusted", TLS{Config: trusting, Required: true}, server, true, ""},
		{"anybody", TLS{Config: &tls.Config{InsecureSkipVerify: true}}, server, true, ""},
		{"off", TLS{}, server, false, ""},
		{"not offered", TLS{Config: trusting}, nil, false, ""},
		{"required, not offered", TLS{Config: trusting, Required: true}, nil, false, "TLS not offered while performing the TLS handshake"},
		{"other CA", TLS{Config: &tls.Config{RootCAs: stranger.Pool, ServerName: "peer.test"}, Required: true}, server, false, "server certificate not verified while performing the TLS handshake"},
		{"other name", TLS{Config: &tls.Config{RootCAs: ca.Pool, ServerName: "other.test"}}, server, false, "server certificate not verified while performing the TLS handshake"},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn, b := serveGoSMTP(t, "tcp", false, test.server)
			o := options(false)
			o.TLS = test.policy
			c := New(conn, o)
			defer c.Quit()
			err := c.Open(context.Background())
			if got := fmt.Sprint(err); err != nil && (test.want == "" || !strings.HasPrefix(got, test.want)) || err == nil && test.want != "" {
				t.Fatalf("Open: %v, want %q", err, test.want)
			}
			if (c.TLS() != nil) != test.secure {
				t.Errorf("TLS() = %v, want secure %v", c.TLS(), test.secure)
			}
			if err != nil {
				return
			}
			if o := c.Send(context.Background(), transaction("a@test"))[0]; !o.Delivered() || len(b.got) != 1 {
				t.Errorf("outcome %s", show(o))
			}
		})
	}
}

func TestStartTLSRefusals(t *testing.T) {
	offer := "S: 220 hi\nC: EHLO me.test\nS: 250-s.test\nS: 250 STARTTLS\nC: STARTTLS\n"
	config := &tls.Config{InsecureSkipVerify: true}
	for _, test := range []struct {
		name, script string
		required     bool
		want         string
	}{
		{"refused", offer + "S: 454 4.7.0 no\n" + quit, false, ""},
		{"refused but required", offer + "S: 454 4.7.0 no\n" + quit, true, "TLS refused while performing the TLS handshake: 454 4.7.0 no"},
		{"421", offer + "S: 421 no\nWAIT", false, "TLS refused while performing the TLS handshake: 421 no"},
		{"lost", offer, false, "lost connection while performing the TLS handshake"},
		{"commands in clear behind it", offer + "S+ 220 go\r\n250 injected\r\n\nWAIT", true, "malformed reply while performing the TLS handshake"},
		{"no TLS behind it", offer + "S: 220 go\nS: hello, hello, hello\nWAIT", false, ""},
		{"closed behind it", offer + "S: 220 go", false, "TLS handshake failure while performing the TLS handshake"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dialogue := strings.ReplaceAll(test.script, `\r\n`, "\r\n")
			serve := script(dialogue)
			if strings.Contains(test.name, "in clear") {
				serve = func(conn net.Conn) error {
					err := script(offer)(conn)
					_, werr := io.WriteString(conn, "220 go\r\n250 injected\r\n")
					return errors.Join(err, werr, script("WAIT")(conn))
				}
			}
			o := options(false)
			o.TLS = TLS{Config: config, Required: test.required}
			c := New(listen(t, serve), o)
			defer c.Quit()
			err := c.Open(context.Background())
			if test.name == "no TLS behind it" {
				// The octets come with the reply or behind it.
				e, ok := errors.AsType[*Error](err)
				if !ok || e.Kind != TLSHandshake && e.Kind != Malformed {
					t.Errorf("Open: %v", err)
				}
				return
			}
			if err == nil && test.want != "" || err != nil && (test.want == "" || !strings.HasPrefix(err.Error(), test.want)) {
				t.Errorf("Open: %v, want %q", err, test.want)
			}
			if c.TLS() != nil {
				t.Error("TLS is said to be on")
			}
		})
	}
}

func TestWrapper(t *testing.T) {
	ca := tlstest.New(t)
	server := ca.Config(t, "peer.test")
	conn := listen(t, func(conn net.Conn) error {
		s := tls.Server(conn, server)
		r := bufio.NewReader(s)
		for step := range strings.Lines(plain + "C: QUIT") {
			if err := play(s, r, strings.TrimSpace(step)); err != nil {
				return err
			}
		}
		return nil
	})
	o := options(false)
	o.TLS = TLS{Config: &tls.Config{RootCAs: ca.Pool, ServerName: "peer.test"}, Required: true, Wrapper: true}
	c := New(conn, o)
	if err := c.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	if c.TLS() == nil {
		t.Error("TLS() = nil")
	}
	c.Quit()
}

// TestSMTPSink sends to Postfix's own test server.
func TestSMTPSink(t *testing.T) {
	sink, err := exec.LookPath("smtp-sink")
	if err != nil {
		if sink = "/usr/sbin/smtp-sink"; !executable(sink) {
			if os.Getenv("CI") == "true" {
				t.Fatal("smtp-sink of Postfix is not installed")
			}
			t.Skip("smtp-sink of Postfix is not installed")
		}
	}
	for _, lmtp := range []bool{false, true} {
		t.Run(fmt.Sprintf("lmtp=%v", lmtp), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "sink")
			args := []string{"unix:" + path, "10"}
			if lmtp {
				args = append([]string{"-L"}, args...)
			}
			if os.Getuid() == 0 {
				if err := os.Chmod(filepath.Dir(path), 0o777); err != nil {
					t.Fatal(err)
				}
				args = append([]string{"-u", "root"}, args...)
			}
			cmd := exec.Command(sink, args...)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			}()
			c := New(dialSoon(t, path, &stderr), options(lmtp))
			defer c.Quit()
			if err := c.Open(context.Background()); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				for i, o := range c.Send(context.Background(), transaction("a@test", "b@test")) {
					if !o.Delivered() {
						t.Errorf("recipient %d: %s", i, show(o))
					}
				}
			}
		})
	}
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&0o111 != 0
}

// dialSoon connects to a server that is just starting.
func dialSoon(t *testing.T, path string, stderr fmt.Stringer) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := net.Dial("unix", path)
		if err == nil {
			return conn
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the server does not listen: %v; it says %s", err, stderr)
		case <-tick.C:
		}
	}
}
