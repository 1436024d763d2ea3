package smtpc

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	gosasl "github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"

	"postern/internal/tlsconf/tlstest"
)

// mechanism follows a script: each challenge that it expects, with its answer.
type mechanism struct {
	name    string
	initial []byte
	steps   []string // "challenge>response"
	done    error
	started error
}

func (m *mechanism) Start() (string, []byte, error) { return m.name, m.initial, m.started }

func (m *mechanism) Next(challenge []byte) ([]byte, error) {
	if len(m.steps) == 0 {
		return nil, errors.New("no more steps")
	}
	want, response, _ := strings.Cut(m.steps[0], ">")
	if want != string(challenge) {
		return nil, fmt.Errorf("challenge %q, want %q", challenge, want)
	}
	m.steps = m.steps[1:]
	return []byte(response), nil
}

func (m *mechanism) Done() error { return m.done }

func TestAuth(t *testing.T) {
	const offer = "S: 220 hi\nC: EHLO me.test\nS: 250-s.test\nS: 250-AUTH=LOGIN\nS: 250 AUTH plain Login X-TOKEN\n"
	long := bytes.Repeat([]byte("x"), 400)
	for _, test := range []struct {
		name, script string
		m            *mechanism
		want         string
	}{
		{"initial response", offer + "C: AUTH PLAIN AGEAYg==\nS: 235 2.7.0 ok\n" + quit, &mechanism{name: "PLAIN", initial: []byte("\x00a\x00b")}, ""},
		{"empty initial response", offer + "C: AUTH EXTERNAL =\nS: 235 ok\n" + quit, &mechanism{name: "EXTERNAL", initial: []byte{}}, ""},
		{"steps", offer + "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: YQ==\nS: 334 UGFzc3dvcmQ6\nC: Yg==\nS: 235 ok\n" + quit,
			&mechanism{name: "LOGIN", steps: []string{"Username:>a", "Password:>b"}}, ""},
		{"empty challenge and response", offer + "C: AUTH X\nS: 334 \nC: \nS: 235 ok\n" + quit, &mechanism{name: "X", steps: []string{">"}}, ""},
		{"initial response that is too long", offer + "C: AUTH X-TOKEN\nS: 334 \nC: " + strings.Repeat("eHh4", 133) + "eA==\nS: 235 ok\n" + quit, &mechanism{name: "X-TOKEN", initial: long}, ""},
		{"the same, refused", offer + "C: AUTH X-TOKEN\nS: 504 no\n" + quit, &mechanism{name: "X-TOKEN", initial: long}, "authentication refused while performing the AUTH exchange: 504 no"},
		{"refused", offer + "C: AUTH PLAIN AA==\nS: 535 5.7.8 wrong\n" + quit, &mechanism{name: "PLAIN", initial: []byte{0}}, "authentication refused while performing the AUTH exchange: 535 5.7.8 wrong"},
		{"refused for now", offer + "C: AUTH PLAIN AA==\nS: 454 4.7.0 later\n" + quit, &mechanism{name: "PLAIN", initial: []byte{0}}, "authentication refused while performing the AUTH exchange: 454 4.7.0 later"},
		{"refused in the middle", offer + "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: YQ==\nS: 535 no\n" + quit, &mechanism{name: "LOGIN", steps: []string{"Username:>a"}}, "authentication refused while performing the AUTH exchange: 535 no"},
		{"challenge that makes no sense", offer + "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: *\nS: 501 cancelled\n" + quit, &mechanism{name: "LOGIN"}, "cannot authenticate while performing the AUTH exchange: no more steps"},
		{"challenge that is not base64", offer + "C: AUTH LOGIN\nS: 334 Username:\nC: *\nS: 501 cancelled\n" + quit, &mechanism{name: "LOGIN"}, "cannot authenticate while performing the AUTH exchange: malformed challenge"},
		{"loop", offer + "C: AUTH X\n" + strings.Repeat("S: 334 \nC: \n", maxAuthSteps) + "S: 334 \nC: *\nS: 501 no\n" + quit,
			&mechanism{name: "X", steps: strings.Split(strings.Repeat("> ", 20), " ")}, "cannot authenticate while performing the AUTH exchange: authentication protocol loop"},
		{"server that proves nothing", offer + "C: AUTH X\nS: 235 ok\nWAIT", &mechanism{name: "X", done: errors.New("no signature")}, "cannot authenticate while performing the AUTH exchange: no signature"},
		{"mechanism that cannot start", offer + quit, &mechanism{name: "X", started: errors.New("no token")}, "cannot authenticate while performing the AUTH exchange: no token"},
		{"name that is none", offer + quit, &mechanism{name: "X\r\nRSET"}, "cannot authenticate while performing the AUTH exchange: no name of a mechanism"},
		{"lost", offer + "C: AUTH LOGIN", &mechanism{name: "LOGIN"}, "lost connection while performing the AUTH exchange: EOF"},
		{"lost at the end of the exchange", offer + "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: *", &mechanism{name: "LOGIN"}, "lost connection while performing the AUTH exchange: EOF"},
		{"not offered", plain + quit, &mechanism{name: "PLAIN"}, ""},
		{"nobody to be", offer + quit, nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := options(false)
			o.Auth = func(_ context.Context, s Server) (Mechanism, error) {
				if got := fmt.Sprint(s.Name, s.Offered, s.TLS == nil, s.Trust); got != "s.test[LOGIN PLAIN X-TOKEN] true Anonymous" {
					t.Errorf("Server %s", got)
				}
				if test.m == nil {
					return nil, nil
				}
				return test.m, nil
			}
			c := New(listen(t, script(test.script)), o)
			defer c.Quit()
			got := ""
			if err := c.Open(context.Background()); err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("Open: %q, want %q", got, test.want)
			}
		})
	}
}

func TestNoMechanism(t *testing.T) {
	o := options(false)
	o.Auth = func(context.Context, Server) (Mechanism, error) { return nil, errors.New("no mechanism available") }
	c := New(listen(t, script("S: 220 hi\nC: EHLO me.test\nS: 250-s.test\nS: 250 AUTH X\n"+quit)), o)
	defer c.Quit()
	e, ok := errors.AsType[*Error](c.Open(context.Background()))
	if !ok || e.Kind != AuthUnable || e.Err.Error() != "no mechanism available" {
		t.Errorf("Open: %v", e)
	}
}

// guarded is a go-smtp server that wants a password.
type guarded struct{ *backend }

func (g guarded) NewSession(c *gosmtp.Conn) (gosmtp.Session, error) {
	s, err := g.backend.NewSession(c)
	return guardedSession{s.(*session)}, err
}

type guardedSession struct{ *session }

func (guardedSession) AuthMechanisms() []string { return []string{gosasl.Plain} }

func (guardedSession) Auth(string) (gosasl.Server, error) {
	return gosasl.NewPlainServer(func(_, user, password string) error {
		if user != "me" || password != "secret" {
			return gosmtp.ErrAuthFailed
		}
		return nil
	}), nil
}

func TestAuthBehindTLS(t *testing.T) {
	ca := tlstest.New(t)
	for password, want := range map[string]string{"secret": "", "wrong": "authentication refused while performing the AUTH exchange: 535 5.7.8 Authentication failed"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		srv := gosmtp.NewServer(guarded{&backend{}})
		srv.Domain, srv.TLSConfig, srv.ErrorLog = "peer.test", ca.Config(t, "peer.test"), silent{}
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = srv.Serve(l) // ends with Close
		}()
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		o := options(false)
		o.TLS = TLS{Config: &tls.Config{RootCAs: ca.Pool, ServerName: "peer.test"}, Required: true, Trust: func(tls.ConnectionState) Trust { return Verified }}
		o.Auth = func(_ context.Context, s Server) (Mechanism, error) {
			if s.TLS == nil || s.Trust != Verified {
				t.Errorf("Server %+v", s)
			}
			return &mechanism{name: "PLAIN", initial: []byte("\x00me\x00" + password)}, nil
		}
		c := New(conn, o)
		got := ""
		if err := c.Open(context.Background()); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: Open: %q, want %q", password, got, want)
		}
		if trust, text := c.TLSSummary(); trust != Verified || !strings.HasPrefix(text, "TLSv1.3 with cipher TLS_") {
			t.Errorf("TLSSummary() = %v, %q", trust, text)
		}
		c.Quit()
		srv.Close()
		<-done
	}
}
