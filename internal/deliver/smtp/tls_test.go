package smtp

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"postern/internal/deliver"
	"postern/internal/smtpc"
	"postern/internal/tlsconf"
	"postern/internal/tlsconf/tlstest"
)

// vault is a go-smtp server that notes which messages came encrypted.
type vault struct {
	mu  sync.Mutex
	got []bool
}

func (v *vault) NewSession(c *gosmtp.Conn) (gosmtp.Session, error) {
	_, secure := c.TLSConnectionState()
	return &vaultSession{v, secure}, nil
}

type vaultSession struct {
	v      *vault
	secure bool
}

func (s *vaultSession) Mail(string, *gosmtp.MailOptions) error { return nil }
func (s *vaultSession) Rcpt(string, *gosmtp.RcptOptions) error { return nil }
func (s *vaultSession) Reset()                                 {}
func (s *vaultSession) Logout() error                          { return nil }

func (s *vaultSession) Data(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	s.v.mu.Lock()
	defer s.v.mu.Unlock()
	s.v.got = append(s.v.got, s.secure)
	return err
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

func (v *vault) start(t *testing.T, config *tls.Config) (port string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := gosmtp.NewServer(v)
	srv.Domain, srv.TLSConfig, srv.ErrorLog = "peer.test", config, quiet{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l) // ends with Close
	}()
	t.Cleanup(func() {
		srv.Close()
		<-done
	})
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port
}

func TestTLSLevels(t *testing.T) {
	ca, stranger := tlstest.New(t), tlstest.New(t)
	good := ca.Config(t, "127.0.0.1")
	// A server whose handshake always fails.
	broken := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, io.ErrUnexpectedEOF }}
	pool := func(ca *tlstest.CA, level tlsconf.Level) smtpc.TLS {
		config, err := tlsconf.Client{Level: level, Host: "127.0.0.1", Names: []string{"127.0.0.1"}}.Config()
		if err != nil {
			t.Fatal(err)
		}
		if level >= tlsconf.Verify {
			config = &tls.Config{RootCAs: ca.Pool, ServerName: "127.0.0.1"}
		}
		return smtpc.TLS{Config: config, Required: level.Required()}
	}
	for _, test := range []struct {
		name   string
		server *tls.Config
		policy smtpc.TLS
		want   string // how the message came, or the status
	}{
		{"none", good, smtpc.TLS{}, "clear"},
		{"may", good, pool(ca, tlsconf.May), "encrypted"},
		{"may, not offered", nil, pool(ca, tlsconf.May), "clear"},
		{"may, handshake fails", broken, pool(ca, tlsconf.May), "4.7.5 Cannot start TLS: handshake failure"},
		{"encrypt", good, pool(ca, tlsconf.Encrypt), "encrypted"},
		{"encrypt, not offered", nil, pool(ca, tlsconf.Encrypt), "4.7.4 TLS is required, but was not offered by host 127.0.0.1[127.0.0.1]"},
		{"encrypt, handshake fails", broken, pool(ca, tlsconf.Encrypt), "4.7.5 Cannot start TLS: handshake failure"},
		{"verify", good, pool(ca, tlsconf.Verify), "encrypted"},
		{"verify, other CA", good, pool(stranger, tlsconf.Verify), "4.7.5 Server certificate not verified"},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := &vault{}
			port := v.start(t, test.server)
			a, log := newAgent(t, func(o *Options) {
				o.TLS = func(context.Context, string, Host) (smtpc.TLS, error) { return test.policy, nil }
			})
			s := a.Deliver(context.Background(), request("[127.0.0.1]:"+port, "a@test"))[0]
			got := s.DSN + " " + s.Reason
			if s.Kind == deliver.Sent && len(v.got) == 1 {
				got = map[bool]string{true: "encrypted", false: "clear"}[v.got[0]]
			} else if !s.Destination {
				t.Error("the failure is not that of the destination")
			}
			if got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if failed := strings.Contains(log.String(), "Cannot start TLS with"); failed != strings.HasPrefix(test.want, "4.7.5") {
				t.Errorf("log %q", log)
			}
		})
	}
}

// TestGoingOnInClear: a message that has waited goes out in clear when TLS is only
// tried and does not come about, but never credentials.
func TestGoingOnInClear(t *testing.T) {
	tried := smtpc.TLS{Config: &tls.Config{InsecureSkipVerify: true}}
	required := tried
	required.Required = true
	const failure = "4.7.5 Cannot start TLS: handshake failure"
	for _, test := range []struct {
		name     string
		policy   smtpc.TLS
		age      time.Duration
		after    time.Duration
		password bool
		hang     bool
		want     string // DSN and reason; "" when it went out
	}{
		{"old", tried, 300 * time.Second, 300 * time.Second, false, false, ""},
		{"fresh", tried, 299 * time.Second, 300 * time.Second, false, false, failure},
		{"old, with credentials", tried, time.Hour, 300 * time.Second, true, false, failure},
		{"old, TLS is required", required, time.Hour, 300 * time.Second, false, false, failure},
		{"never", tried, time.Hour, 0, false, false, failure},
		{"old, no answer", tried, time.Hour, 300 * time.Second, false, true, ""},
		{"old, no answer, with credentials", tried, time.Hour, 300 * time.Second, true, true,
			"4.4.2 conversation with 127.0.0.1[127.0.0.1] timed out while performing the TLS handshake"},
	} {
		t.Run(test.name, func(t *testing.T) {
			// A server that cannot do TLS though it offers it.
			p := &peer{ehlo: "250-STARTTLS\r\n250-AUTH X-TOKEN\r\n"}
			done := make(chan struct{})
			if test.hang {
				p.hook = func(line string) string {
					if line == "STARTTLS" {
						<-done
					}
					return ""
				}
			}
			p.start(t, "tcp")
			t.Cleanup(func() { close(done) })
			now := time.Date(2026, 6, 3, 14, 5, 9, 0, time.UTC)
			a := kept(t, func(o *Options) {
				o.Now = func() time.Time { return now }
				o.ClearAfter = test.after
				if test.hang {
					o.Session.Timeouts.StartTLS = 10 * time.Millisecond
				}
				o.TLS = func(context.Context, string, Host) (smtpc.TLS, error) { return test.policy, nil }
				o.Credentials = func(context.Context, string, string, string) (string, string, bool, error) {
					return "me", "secret", test.password, nil
				}
				o.Mechanism = func(_ context.Context, user, password string, _ smtpc.Server) (smtpc.Mechanism, error) {
					return newToken(user, password), nil
				}
			})
			for n := range 2 { // the second must not use the connection of the first
				r := request("[127.0.0.1]:"+p.port(), "a@test")
				r.Message.Envelope.Arrival = now.Add(-test.age)
				s := a.Deliver(context.Background(), r)[0]
				if test.want == "" && s.Kind != deliver.Sent || test.want != "" && (s.Kind != deliver.Deferred || s.DSN+" "+s.Reason != test.want) {
					t.Errorf("got %s, want %q", show(s), test.want)
				}
				if connections, _ := p.counts(); test.want == "" && connections != 2*(n+1) {
					t.Errorf("%d connections for %d messages", connections, n+1)
				}
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			for _, line := range p.heard {
				if strings.HasPrefix(line, "AUTH") {
					t.Errorf("credentials in clear: %q", line)
				}
			}
		})
	}
}

func TestStartTLSRefusedThoughRequired(t *testing.T) {
	p := (&peer{ehlo: "250-STARTTLS\r\n", reply: map[string]string{"STARTTLS": "454 4.7.0 not now"}}).start(t, "tcp")
	a, _ := newAgent(t, func(o *Options) {
		o.TLS = func(context.Context, string, Host) (smtpc.TLS, error) {
			return smtpc.TLS{Config: &tls.Config{InsecureSkipVerify: true}, Required: true}, nil
		}
	})
	got := show(a.Deliver(context.Background(), request("[127.0.0.1]:"+p.port(), "a@test"))[0], p.port())
	want := "deferred dsn=4.7.4 relay=127.0.0.1[127.0.0.1]:PORT0 (TLS is required, but host 127.0.0.1[127.0.0.1] refused to start TLS: 454 4.7.0 not now) destination mta=127.0.0.1 diagnostic=454 4.7.0 not now"
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
