package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/deliver"
	"postern/internal/dns"
	"postern/internal/dns/dnstest"
	"postern/internal/smtpc"
	"postern/internal/tlsconf/tlstest"
)

// token is a mechanism that sends a text.
type token string

func (t token) Start() (string, []byte, error)       { return "X-TOKEN", []byte(t), nil }
func (t token) Next([]byte) ([]byte, error)          { return nil, errors.New("no challenge expected") }
func (t token) Done() error                          { return nil }
func newToken(user, password string) smtpc.Mechanism { return token(user + ":" + password) }

func TestAuthentication(t *testing.T) {
	for _, test := range []struct {
		name   string
		reply  string
		change func(*Options)
		want   string
	}{
		{"accepted", "235 ok", nil, "sent dsn=2.0.0 relay=127.0.0.1[127.0.0.1]:PORT0 (250 2.0.0 Ok: queued as 1) mta=127.0.0.1 diagnostic=250 2.0.0 Ok: queued as 1"},
		{"refused", "535 5.7.8 wrong", nil, "deferred dsn=4.7.8 relay=127.0.0.1[127.0.0.1]:PORT0 (SASL authentication failed; server 127.0.0.1[127.0.0.1] said: 535 5.7.8 wrong) destination mta=127.0.0.1 diagnostic=535 5.7.8 wrong"},
		{"refused for good", "535 5.7.8 wrong", func(o *Options) { o.AuthBounces = true }, "bounced dsn=5.7.8 relay=127.0.0.1[127.0.0.1]:PORT0 (SASL authentication failed; server 127.0.0.1[127.0.0.1] said: 535 5.7.8 wrong) mta=127.0.0.1 diagnostic=535 5.7.8 wrong"},
		{"refused for now", "454 4.7.0 later", func(o *Options) { o.AuthBounces = true }, "deferred dsn=4.7.0 relay=127.0.0.1[127.0.0.1]:PORT0 (SASL authentication failed; server 127.0.0.1[127.0.0.1] said: 454 4.7.0 later) destination mta=127.0.0.1 diagnostic=454 4.7.0 later"},
		{"challenged", "334 eA==", nil, "deferred dsn=4.7.0 relay=127.0.0.1[127.0.0.1]:PORT0 (SASL authentication failed; cannot authenticate to server 127.0.0.1[127.0.0.1]: no challenge expected) destination"},
		{"no mechanism", "", func(o *Options) {
			o.Mechanism = func(context.Context, string, string, smtpc.Server) (smtpc.Mechanism, error) {
				return nil, errors.New("no mechanism available")
			}
		}, "deferred dsn=4.7.0 relay=127.0.0.1[127.0.0.1]:PORT0 (SASL authentication failed; cannot authenticate to server 127.0.0.1[127.0.0.1]: no mechanism available) destination"},
		{"no password table", "", func(o *Options) {
			o.Credentials = func(context.Context, string, string, string) (string, string, bool, error) {
				return "", "", false, errors.New("table is down")
			}
		}, "deferred dsn=4.3.0 relay=none (authentication password lookup error) destination"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := (&peer{ehlo: "250-AUTH X-TOKEN\r\n", reply: map[string]string{"AUTH": test.reply}}).start(t, "tcp")
			hop := "[127.0.0.1]:" + p.port()
			a, _ := newAgent(t, func(o *Options) {
				o.Credentials = func(_ context.Context, sender, nextHop, host string) (string, string, bool, error) {
					if sender != "from@test" || nextHop != hop || host != "127.0.0.1" {
						t.Errorf("Credentials(%q, %q, %q)", sender, nextHop, host)
					}
					return "me", "secret", true, nil
				}
				o.Mechanism = func(_ context.Context, user, password string, s smtpc.Server) (smtpc.Mechanism, error) {
					return newToken(user, password), nil
				}
				if test.change != nil {
					test.change(o)
				}
			})
			if got := show(a.Deliver(context.Background(), request(hop, "a@test"))[0], p.port()); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			if test.reply != "" && (len(p.heard) < 2 || p.heard[1] != "AUTH X-TOKEN bWU6c2VjcmV0") {
				t.Errorf("the server heard %q", p.heard)
			}
		})
	}
}

func TestConnectionOfAnotherSender(t *testing.T) {
	p := (&peer{ehlo: "250-AUTH X-TOKEN\r\n"}).start(t, "tcp")
	hop := "[127.0.0.1]:" + p.port()
	for bySender, want := range map[bool]int{true: 2, false: 1} {
		before, _ := p.counts()
		a := kept(t, func(o *Options) {
			o.BySender = bySender
			o.Credentials = func(_ context.Context, sender, _, _ string) (string, string, bool, error) {
				return sender, "x", sender != "", nil
			}
			o.Mechanism = func(_ context.Context, user, password string, s smtpc.Server) (smtpc.Mechanism, error) {
				return newToken(user, password), nil
			}
		})
		for _, sender := range []string{"a@test", "b@test", "a@test", "b@test"} {
			if s := a.Deliver(context.Background(), letter(hop, sender, "\n", false, "to@test"))[0]; s.Kind != deliver.Sent {
				t.Error(show(s))
			}
		}
		if after, _ := p.counts(); after-before != want {
			t.Errorf("by sender %v: %d connections, want %d", bySender, after-before, want)
		}
	}
}

func TestPolicyOfHosts(t *testing.T) {
	p := (&peer{}).start(t, "tcp")
	var asked []string
	a, log := newAgent(t, func(o *Options) {
		o.Resolver = &dnstest.Map{
			MX:   map[string][]dns.MX{"x.test": {{Host: "mx.x.test", Preference: 1, Secure: true}}, "y.test": {{Host: "mx.y.test"}}},
			Host: map[string][]string{"mx.x.test": {"127.0.0.1"}, "mx.y.test": {"127.0.0.1"}, "z.test": {"127.0.0.1"}},
		}
		o.TLS = func(_ context.Context, nextHop string, h Host) (smtpc.TLS, error) {
			asked = append(asked, strings.ReplaceAll(fmt.Sprintf("%s %+v", nextHop, h), p.port(), "PORT"))
			if h.Name == "mx.y.test" {
				return smtpc.TLS{}, &PolicyError{DSN: "4.7.5", Reason: "TLSA lookup error for mx.y.test", Err: errors.New("no answer")}
			}
			return smtpc.TLS{}, nil
		}
	})
	var got []string
	for _, hop := range []string{"x.test:", "y.test:", "z.test:", "[z.test]:"} {
		got = append(got, show(a.Deliver(context.Background(), request(hop+p.port(), "a@test"))[0], p.port()))
	}
	want := []string{
		"x.test:PORT {Domain:x.test Name:mx.x.test Port:PORT MX:true Secure:true}",
		"y.test:PORT {Domain:y.test Name:mx.y.test Port:PORT MX:true Secure:false}",
		"z.test:PORT {Domain:z.test Name:z.test Port:PORT MX:false Secure:false}",
		"[z.test]:PORT {Domain:z.test Name:z.test Port:PORT MX:false Secure:false}",
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Error(diff)
	}
	if got[1] != "deferred dsn=4.7.5 relay=none (TLSA lookup error for mx.y.test) destination" {
		t.Errorf("got %s", got[1])
	}
	if !strings.Contains(log.String(), "TLS policy for mx.y.test[127.0.0.1]: TLSA lookup error for mx.y.test: no answer") {
		t.Errorf("log %q", log)
	}
}

func TestPolicyError(t *testing.T) {
	cause := errors.New("no answer")
	if e := (&PolicyError{Reason: "why"}); e.Error() != "why" || e.Unwrap() != nil {
		t.Errorf("%v, %v", e, e.Unwrap())
	}
	if e := (&PolicyError{Reason: "why", Err: cause}); e.Error() != "why: no answer" || !errors.Is(e, cause) {
		t.Error(e)
	}
}

func TestPolicyOfSocket(t *testing.T) {
	p := (&peer{lmtp: true}).start(t, "unix")
	a, _ := newAgent(t, func(o *Options) {
		o.LMTP = true
		o.TLS = func(_ context.Context, nextHop string, h Host) (smtpc.TLS, error) {
			if nextHop != "unix:"+p.addr || h != (Host{Name: "me.test"}) {
				t.Errorf("TLS(%q, %+v)", nextHop, h)
			}
			return smtpc.TLS{}, nil
		}
	})
	if s := a.Deliver(context.Background(), request("unix:"+p.addr, "a@test"))[0]; s.Kind != deliver.Sent {
		t.Error(show(s))
	}
}

func TestTLSIsLogged(t *testing.T) {
	config := tlstest.New(t).Config(t, "127.0.0.1")
	for name, test := range map[string]struct {
		policy smtpc.TLS
		want   string
	}{
		"encrypted": {smtpc.TLS{Config: &tls.Config{InsecureSkipVerify: true}, Trust: func(tls.ConnectionState) smtpc.Trust { return smtpc.Trusted }},
			"Trusted TLS connection established to 127.0.0.1[127.0.0.1]:PORT: TLSv1.3 with cipher TLS_"},
		"unknown": {smtpc.TLS{Config: &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}},
			"Untrusted TLS connection established to 127.0.0.1[127.0.0.1]:PORT: TLSv1.2 with cipher TLS_"},
		"offered": {smtpc.TLS{}, "Host offered STARTTLS: [127.0.0.1]"},
	} {
		port := (&vault{}).start(t, config)
		a, log := newAgent(t, func(o *Options) {
			o.LogTLS, o.NoteStartTLS = true, true
			o.TLS = func(context.Context, string, Host) (smtpc.TLS, error) { return test.policy, nil }
		})
		a.Deliver(context.Background(), request("[127.0.0.1]:"+port, "a@test"))
		if got := strings.ReplaceAll(log.String(), port, "PORT"); !strings.HasPrefix(got, test.want) {
			t.Errorf("%s: log %q, want %q", name, got, test.want)
		}
	}
}
