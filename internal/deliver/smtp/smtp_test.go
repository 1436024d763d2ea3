package smtp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"postern/internal/deliver"
	"postern/internal/dns"
	"postern/internal/dns/dnstest"
	"postern/internal/smtpc"
	"postern/internal/spool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStatus(t *testing.T) {
	for _, test := range []struct {
		name string
		peer *peer
		want []string // for a@test and b@test
	}{
		{"delivered", &peer{}, []string{
			"sent dsn=2.0.0 relay=127.0.0.1[127.0.0.1]:PORT0 (250 2.0.0 Ok: queued as 1) mta=127.0.0.1 diagnostic=250 2.0.0 Ok: queued as 1",
			"sent dsn=2.0.0 relay=127.0.0.1[127.0.0.1]:PORT0 (250 2.0.0 Ok: queued as 1) mta=127.0.0.1 diagnostic=250 2.0.0 Ok: queued as 1",
		}},
		{"one refused", &peer{reply: map[string]string{"RCPT TO:<b@test>": "550-5.1.1 no\r\n550-5.1.1 such\tuser\r\n550 here"}}, []string{
			"sent dsn=2.0.0 relay=127.0.0.1[127.0.0.1]:PORT0 (250 2.0.0 Ok: queued as 1) mta=127.0.0.1 diagnostic=250 2.0.0 Ok: queued as 1",
			"bounced dsn=5.1.1 relay=127.0.0.1[127.0.0.1]:PORT0 (host 127.0.0.1[127.0.0.1] said: 550-5.1.1 no 550-5.1.1 such?user 550 here (in reply to RCPT TO command)) mta=127.0.0.1 diagnostic=550-5.1.1 no 550-5.1.1 such?user 550 here",
		}},
		{"taken in several lines", &peer{reply: map[string]string{".": "250-2.0.0 Ok\r\n250 2.0.0 queued as 1"}}, twice(
			"sent dsn=2.0.0 relay=127.0.0.1[127.0.0.1]:PORT0 (250-2.0.0 Ok 250 2.0.0 queued as 1) mta=127.0.0.1 diagnostic=250-2.0.0 Ok 250 2.0.0 queued as 1")},
		{"one deferred, without codes", &peer{reply: map[string]string{"RCPT TO:<b@test>": "450 later"}}, []string{
			"sent dsn=2.0.0 relay=127.0.0.1[127.0.0.1]:PORT0 (250 2.0.0 Ok: queued as 1) mta=127.0.0.1 diagnostic=250 2.0.0 Ok: queued as 1",
			"deferred dsn=4.0.0 relay=127.0.0.1[127.0.0.1]:PORT0 (host 127.0.0.1[127.0.0.1] said: 450 later (in reply to RCPT TO command)) mta=127.0.0.1 diagnostic=450 later",
		}},
		{"sender refused", &peer{reply: map[string]string{"MAIL": "550 5.7.1 you"}}, twice(
			"bounced dsn=5.7.1 relay=127.0.0.1[127.0.0.1]:PORT0 (host 127.0.0.1[127.0.0.1] said: 550 5.7.1 you (in reply to MAIL FROM command)) mta=127.0.0.1 diagnostic=550 5.7.1 you")},
		{"message refused", &peer{reply: map[string]string{".": "554 5.7.1 spam"}}, twice(
			"bounced dsn=5.7.1 relay=127.0.0.1[127.0.0.1]:PORT0 (host 127.0.0.1[127.0.0.1] said: 554 5.7.1 spam (in reply to end of DATA command)) mta=127.0.0.1 diagnostic=554 5.7.1 spam")},
		{"nonsense", &peer{reply: map[string]string{"DATA": "250 ok"}}, twice(
			"bounced dsn=5.5.0 relay=127.0.0.1[127.0.0.1]:PORT0 (Protocol error: host 127.0.0.1[127.0.0.1] said: 250 ok (in reply to DATA command)) mta=127.0.0.1 diagnostic=250 ok")},
		{"control characters", &peer{reply: map[string]string{".": "554 5.7.1 \x1b[31mred\x07\x00\xff"}}, twice(
			"bounced dsn=5.7.1 relay=127.0.0.1[127.0.0.1]:PORT0 (host 127.0.0.1[127.0.0.1] said: 554 5.7.1 ?[31mred??? (in reply to end of DATA command)) mta=127.0.0.1 diagnostic=554 5.7.1 ?[31mred???")},
		{"greeting 554", &peer{greeting: "554 5.7.1 go away"}, twice(
			"deferred dsn=4.7.1 relay=127.0.0.1[127.0.0.1]:PORT0 (host 127.0.0.1[127.0.0.1] refused to talk to me: 554 5.7.1 go away) destination mta=127.0.0.1 diagnostic=554 5.7.1 go away")},
		{"greeting 554 in several lines", &peer{greeting: "554-5.7.1 go\r\n554 5.7.1 away"}, twice(
			"deferred dsn=4.7.1 relay=127.0.0.1[127.0.0.1]:PORT0 (host 127.0.0.1[127.0.0.1] refused to talk to me: 554-5.7.1 go 554 5.7.1 away) destination mta=127.0.0.1 diagnostic=554-5.7.1 go 554 5.7.1 away")},
		{"greeting 554 without code", &peer{greeting: "554 go away"}, twice(
			"deferred dsn=4.0.0 relay=127.0.0.1[127.0.0.1]:PORT0 (host 127.0.0.1[127.0.0.1] refused to talk to me: 554 go away) destination mta=127.0.0.1 diagnostic=554 go away")},
		{"HELO refused", &peer{reply: map[string]string{"EHLO": "502 what", "HELO": "550 5.7.0 no"}}, twice(
			"bounced dsn=5.7.0 relay=127.0.0.1[127.0.0.1]:PORT0 (host 127.0.0.1[127.0.0.1] refused to talk to me: 550 5.7.0 no) mta=127.0.0.1 diagnostic=550 5.7.0 no")},
		{"dropped at once", &peer{greeting: "DROP"}, twice(
			"deferred dsn=4.4.2 relay=127.0.0.1[127.0.0.1]:PORT0 (lost connection with 127.0.0.1[127.0.0.1] while receiving the initial server greeting) destination")},
		{"dropped at RCPT", &peer{reply: map[string]string{"RCPT": "DROP"}}, twice(
			"deferred dsn=4.4.2 relay=127.0.0.1[127.0.0.1]:PORT0 (lost connection with 127.0.0.1[127.0.0.1] while sending RCPT TO)")},
		{"dropped behind the dot", &peer{reply: map[string]string{".": "DROP"}}, twice(
			"deferred dsn=4.4.2 relay=127.0.0.1[127.0.0.1]:PORT0 (lost connection with 127.0.0.1[127.0.0.1] while sending end of data -- message may be sent more than once)")},
		{"no SMTP", &peer{reply: map[string]string{"MAIL": "what?"}}, twice(
			`deferred dsn=4.5.0 relay=127.0.0.1[127.0.0.1]:PORT0 (protocol error of 127.0.0.1[127.0.0.1] while sending MAIL FROM: malformed reply: "what?") destination`)},
		{"too big", &peer{ehlo: "250-SIZE 10\r\n"}, twice(
			"bounced dsn=5.3.4 relay=127.0.0.1[127.0.0.1]:PORT0 (message size 17 exceeds size limit 10 of server 127.0.0.1[127.0.0.1])")},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := test.peer.start(t, "tcp")
			a, _ := newAgent(t, nil)
			var got []string
			for _, s := range a.Deliver(context.Background(), request("[127.0.0.1]:"+p.port(), "a@test", "b@test")) {
				got = append(got, show(s, p.port()))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func twice(s string) []string { return []string{s, s} }

func TestSocket(t *testing.T) {
	p := (&peer{lmtp: true, reply: map[string]string{". full@test": "552 5.2.2 full", "RCPT TO:<unknown@test>": "550 5.1.1 unknown"}}).start(t, "unix")
	dir, name := filepath.Split(p.addr)
	a, _ := newAgent(t, func(o *Options) { o.LMTP, o.QueueDirectory = true, dir })
	got := a.Deliver(context.Background(), request("unix:"+name, "a@test", "full@test", "unknown@test"))
	want := []string{
		"sent dsn=2.0.0 relay=me.test[lmtp] (250 2.0.0 <a@test> Saved) mta=me.test diagnostic=250 2.0.0 <a@test> Saved",
		"bounced dsn=5.2.2 relay=me.test[lmtp] (host me.test[lmtp] said: 552 5.2.2 full (in reply to end of DATA command)) mta=me.test diagnostic=552 5.2.2 full",
		"bounced dsn=5.1.1 relay=me.test[lmtp] (host me.test[lmtp] said: 550 5.1.1 unknown (in reply to RCPT TO command)) mta=me.test diagnostic=550 5.1.1 unknown",
	}
	for i := range want {
		if show(got[i]) != want[i] {
			t.Errorf("recipient %d: %s, want %s", i, show(got[i]), want[i])
		}
	}
	got = a.Deliver(context.Background(), request("unix:private/gone", "a@test"))
	if s := show(got[0]); s != "deferred dsn=4.4.1 relay=none (connect to me.test[private/gone]: No such file or directory) destination" {
		t.Errorf("missing socket: %s", s)
	}
}

func TestInetLMTP(t *testing.T) {
	p := (&peer{lmtp: true}).start(t, "tcp")
	a, _ := newAgent(t, func(o *Options) { o.LMTP = true })
	for _, hop := range []string{"inet:127.0.0.1:", "127.0.0.1:", "[127.0.0.1]:", "inet:localhost:"} {
		a.o.Resolver = &dnstest.Map{Host: map[string][]string{"localhost": {"127.0.0.1"}}, MX: map[string][]dns.MX{"localhost": {{Host: "wrong.test"}}}}
		s := a.Deliver(context.Background(), request(hop+p.port(), "a@test"))[0]
		if s.Kind != deliver.Sent || !strings.HasSuffix(s.Relay, "[127.0.0.1]:"+p.port()) {
			t.Errorf("%s: %s", hop, show(s))
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.heard[0] != "LHLO me.test" {
		t.Errorf("first command %q", p.heard[0])
	}
}

func TestConnectionRefused(t *testing.T) {
	a, log := newAgent(t, nil)
	s := a.Deliver(context.Background(), request("[127.0.0.1]:1", "a@test"))[0]
	want := "deferred dsn=4.4.1 relay=none (connect to 127.0.0.1[127.0.0.1]:1: Connection refused) destination"
	if show(s) != want {
		t.Errorf("got %s, want %s", show(s), want)
	}
	if log.String() != "connect to 127.0.0.1[127.0.0.1]:1: Connection refused" {
		t.Errorf("log %q", log)
	}
}

func TestNextAddressIsTried(t *testing.T) {
	for _, test := range []struct {
		name  string
		first *peer
		want  string // outcome for a@test, b@test
		sent  int    // messages to the second server
	}{
		{"greeting 421", &peer{greeting: "421 busy"}, "sent sent", 1},
		{"greeting 554", &peer{greeting: "554 no"}, "sent sent", 1},
		{"HELO 550", &peer{reply: map[string]string{"EHLO": "550 no", "HELO": "550 no"}}, "bounced bounced", 0},
		{"MAIL 451", &peer{reply: map[string]string{"MAIL": "451 no"}}, "sent sent", 1},
		{"MAIL 550", &peer{reply: map[string]string{"MAIL": "550 no"}}, "bounced bounced", 0},
		{"one RCPT 450", &peer{reply: map[string]string{"RCPT TO:<b@test>": "450 no"}}, "sent sent", 1},
		{"one RCPT 550", &peer{reply: map[string]string{"RCPT TO:<b@test>": "550 no"}}, "sent bounced", 0},
		{"421 at RCPT", &peer{reply: map[string]string{"RCPT TO:<b@test>": "421 no"}}, "sent sent", 1},
		{"DATA 451", &peer{reply: map[string]string{"DATA": "451 no"}}, "sent sent", 1},
		{"dropped at DATA", &peer{reply: map[string]string{"DATA": "DROP"}}, "sent sent", 1},
		{"dot 451", &peer{reply: map[string]string{".": "451 no"}}, "sent sent", 1},
		{"dropped behind the dot", &peer{reply: map[string]string{".": "DROP"}}, "deferred deferred", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			first, second := test.first.start(t, "tcp"), (&peer{}).start(t, "tcp")
			a, _ := newAgent(t, nil)
			// A list with blanks and a comma: an address, then another.
			hop := "[127.0.0.1]:" + first.port() + ", [127.0.0.1]:" + second.port()
			var got []string
			for _, s := range a.Deliver(context.Background(), request(hop, "a@test", "b@test")) {
				got = append(got, s.Kind.String())
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if _, sent := second.counts(); sent != test.sent {
				t.Errorf("%d messages went to the second server, want %d", sent, test.sent)
			}
		})
	}
}

func TestSessionLimit(t *testing.T) {
	t.Run("transactions", func(t *testing.T) { sessionLimit(t, &peer{reply: map[string]string{"MAIL": "451 no"}}) })
	t.Run("greetings", func(t *testing.T) { sessionLimit(t, &peer{greeting: "450 busy"}) })
}

func sessionLimit(t *testing.T, p *peer) {
	p.start(t, "tcp")
	names := &dnstest.Map{
		MX:   map[string][]dns.MX{"x.test": {{Host: "a.test", Preference: 1}}},
		Host: map[string][]string{"a.test": {"127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.1"}},
	}
	for limit, want := range map[int]int{1: 1, 2: 2, 0: 4} {
		a, _ := newAgent(t, func(o *Options) { o.Resolver, o.MaxSessions = names, limit })
		before, _ := p.counts()
		if s := a.Deliver(context.Background(), request("x.test:"+p.port(), "a@test"))[0]; s.Kind != deliver.Deferred {
			t.Errorf("limit %d: %s", limit, show(s))
		}
		if after, _ := p.counts(); after-before != want {
			t.Errorf("limit %d: %d sessions, want %d", limit, after-before, want)
		}
	}
}

func TestFallbackRelay(t *testing.T) {
	p := (&peer{}).start(t, "tcp")
	a, _ := newAgent(t, func(o *Options) { o.Fallback = []string{"[127.0.0.1]:" + p.port()} })
	for _, hop := range []string{"[127.0.0.1]:1", "missing.test"} {
		if s := a.Deliver(context.Background(), request(hop, "a@test"))[0]; s.Kind != deliver.Sent {
			t.Errorf("%s: %s", hop, show(s))
		}
	}
	if _, err := New(Options{Resolver: a.o.Resolver, Log: a.o.Log, Fallback: []string{"[x"}}); err == nil || !strings.Contains(err.Error(), "smtp_fallback_relay") {
		t.Errorf("error %v", err)
	}
	if _, err := New(Options{}); err == nil {
		t.Error("an agent without resolver and log")
	}
}

func TestServerWithOurName(t *testing.T) {
	p := (&peer{reply: map[string]string{"EHLO": "250 ME.test hello"}}).start(t, "tcp")
	a, _ := newAgent(t, nil)
	hop := "[127.0.0.1]:" + p.port()
	if s := a.Deliver(context.Background(), request(hop, "a@test"))[0]; s.Kind != deliver.Sent {
		t.Errorf("at another port: %s", show(s))
	}
	a.loopPort = p.port()
	s := a.Deliver(context.Background(), request(hop, "a@test"))[0]
	if s.Kind != deliver.Bounced || s.DSN != "5.4.6" || s.Reason != "mail for 127.0.0.1 loops back to myself" {
		t.Errorf("at the SMTP port: %s", show(s))
	}
}

func TestNotificationParameters(t *testing.T) {
	p := (&peer{ehlo: "250-DSN\r\n"}).start(t, "tcp")
	a, _ := newAgent(t, nil)
	r := request("[127.0.0.1]:"+p.port(), "a@test", "b@test", "c@test")
	e := r.Message.Envelope
	e.EnvID, e.Ret = "id", "HDRS"
	e.Recipients[0].Notify, e.Recipients[0].ORCPT = spool.NotifyNever, "rfc822;orig@test"
	e.Recipients[1].Notify = spool.NotifySuccess | spool.NotifyFailure | spool.NotifyDelay
	r.Recipients[1].Original = "first@test"
	r.Message = spool.Detached("0123456789AB", e, []byte("\n"))
	for _, s := range a.Deliver(context.Background(), r) {
		if s.Kind != deliver.Sent {
			t.Error(show(s))
		}
	}
	want := []string{
		"EHLO me.test", "MAIL FROM:<from@test> RET=HDRS ENVID=id", "RCPT TO:<a@test> NOTIFY=NEVER ORCPT=rfc822;orig@test",
		"RCPT TO:<b@test> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;first@test", "RCPT TO:<c@test>", "DATA",
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if diff := cmp.Diff(want, p.heard[:len(want)]); diff != "" {
		t.Error(diff)
	}
}

func TestContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	a, _ := newAgent(t, nil)
	for _, hop := range []string{"[127.0.0.1]:1", "x.test"} {
		s := a.Deliver(ctx, request(hop, "a@test"))[0]
		if s.Kind != deliver.Deferred || s.DSN != "4.3.2" && s.DSN != "4.4.3" {
			t.Errorf("%s: %s", hop, show(s))
		}
	}
	ctx, cancel = context.WithCancel(context.Background())
	defer cancel()
	hang := (&peer{reply: map[string]string{"RCPT": "250-wait"}, hook: func(line string) string {
		if line == "DATA" {
			cancel()
			return "250-wait"
		}
		return ""
	}}).start(t, "tcp")
	s := a.Deliver(ctx, request("[127.0.0.1]:"+hang.port(), "a@test"))[0]
	if s.Kind != deliver.Deferred || s.DSN != "4.3.2" || s.Destination {
		t.Errorf("in the middle: %s", show(s))
	}
}

func TestMessageThatIsGone(t *testing.T) {
	p := (&peer{}).start(t, "tcp")
	a, log := newAgent(t, nil)
	r := request("[127.0.0.1]:"+p.port(), "a@test")
	r.Message = &spool.Message{ID: "0123456789AB", Envelope: r.Message.Envelope}
	s := a.Deliver(context.Background(), r)[0]
	if s.Kind != deliver.Deferred || s.DSN != "4.3.0" || s.Reason != "queue file read error" {
		t.Errorf("got %s", show(s))
	}
	if !strings.Contains(log.String(), "warning: 0123456789AB: ") {
		t.Errorf("log %q", log)
	}
}

func TestTLSSettingsThatFail(t *testing.T) {
	p := (&peer{}).start(t, "tcp")
	a, log := newAgent(t, func(o *Options) {
		o.TLS = func(_ context.Context, nextHop string, host Host) (smtpc.TLS, error) {
			return smtpc.TLS{}, fmt.Errorf("no file for %s at %s", host.Name, host.Domain)
		}
	})
	s := a.Deliver(context.Background(), request("[127.0.0.1]:"+p.port(), "a@test"))[0]
	if s.Kind != deliver.Deferred || s.DSN != "4.7.5" || s.Reason != "client TLS configuration problem" {
		t.Errorf("got %s", show(s))
	}
	if !strings.Contains(log.String(), "no file for 127.0.0.1 at 127.0.0.1") {
		t.Errorf("log %q", log)
	}
}

func TestNameErrorDoesNotBounceTheDeferred(t *testing.T) {
	p := (&peer{reply: map[string]string{"MAIL": "451 4.7.1 later"}}).start(t, "tcp")
	a, _ := newAgent(t, nil)
	for hop, want := range map[string]string{
		"[127.0.0.1]:1, missing.test":                 "4.4.1 deferred",
		"missing.test, [127.0.0.1]:1":                 "4.4.1 deferred",
		"[127.0.0.1]:" + p.port() + " missing.test":   "4.7.1 deferred",
		"missing.test, gone.test":                     "5.4.4 bounced",
		"[127.0.0.1]:" + p.port() + " [127.0.0.1]:1":  "4.4.1 deferred",
		"[127.0.0.1]:1 [127.0.0.1]:" + p.port() + ",": "4.7.1 deferred",
	} {
		s := a.Deliver(context.Background(), request(hop, "a@test"))[0]
		if got := s.DSN + " " + s.Kind.String(); got != want {
			t.Errorf("%s: %s, want %s", hop, got, want)
		}
	}
}

func TestConnectTimeout(t *testing.T) {
	a, _ := newAgent(t, func(o *Options) {
		o.ConnectTimeout = time.Millisecond
		o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			<-ctx.Done()
			return nil, &net.OpError{Op: "dial", Net: network, Err: ctx.Err()}
		}
	})
	got := show(a.Deliver(context.Background(), request("[192.0.2.1]", "a@test"))[0])
	want := "deferred dsn=4.4.1 relay=none (connect to 192.0.2.1[192.0.2.1]:25: Connection timed out) destination"
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestBindAddress(t *testing.T) {
	p := (&peer{}).start(t, "tcp")
	a, _ := newAgent(t, func(o *Options) { o.Bind4, o.Bind6 = netip.MustParseAddr("127.0.0.5"), netip.IPv6Loopback() })
	if s := a.Deliver(context.Background(), request("[127.0.0.1]:"+p.port(), "a@test"))[0]; s.Kind != deliver.Sent {
		t.Error(show(s))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !strings.HasPrefix(p.from, "127.0.0.5:") {
		t.Errorf("the server saw %s", p.from)
	}
}

func TestBindAddressThatIsNotOurs(t *testing.T) {
	p := (&peer{}).start(t, "tcp")
	for enforce, want := range map[bool]string{
		false: "sent dsn=2.0.0 relay=127.0.0.1[127.0.0.1]:PORT0 (250 2.0.0 Ok: queued as 1) mta=127.0.0.1 diagnostic=250 2.0.0 Ok: queued as 1",
		true:  "deferred dsn=4.4.1 relay=none (connect to 127.0.0.1[127.0.0.1]:PORT0: Cannot assign requested address) destination",
	} {
		a, log := newAgent(t, func(o *Options) { o.Bind4, o.BindOrDefer = netip.MustParseAddr("192.0.2.77"), enforce })
		if got := show(a.Deliver(context.Background(), request("[127.0.0.1]:"+p.port(), "a@test"))[0], p.port()); got != want {
			t.Errorf("enforced %v: %s, want %s", enforce, got, want)
		}
		if strings.Contains(log.String(), "warning: connect to") == enforce {
			t.Errorf("enforced %v: log %q", enforce, log)
		}
	}
}

func TestLongReplyIsCut(t *testing.T) {
	p := (&peer{reply: map[string]string{"MAIL": "550 5.7.1 " + strings.Repeat("ü", 2000)}}).start(t, "tcp")
	a, _ := newAgent(t, nil)
	s := a.Deliver(context.Background(), request("[127.0.0.1]:"+p.port(), "a@test"))[0]
	if len(s.Diagnostic) > maxReplyText+3 || !strings.HasSuffix(s.Diagnostic, "ü...") || s.DSN != "5.7.1" {
		t.Errorf("%d octets: %s", len(s.Diagnostic), s.Diagnostic)
	}
}
