package smtpd

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/smtp"
)

func TestTimeouts(t *testing.T) {
	tests := []struct {
		name  string
		send  []string // pieces, a second apart
		after string
	}{
		{"greeting", nil, "CONNECT"},
		{"command", []string{"NOOP\r\n"}, "NOOP"},
		{"half a command", []string{"NOOP\r\n", "NO"}, "NOOP"},
		{"a command octet by octet", []string{"NOOP\r\n", "N", "O", "O", "P", "x", "x", "x", "x", "x", "x", "x", "x"}, "NOOP"},
		{"transaction", []string{"MAIL FROM:<a@b.example>\r\n", "RCPT TO:<x@a.example>\r\n"}, "RCPT"},
		{"text", []string{"MAIL FROM:<>\r\n", "RCPT TO:<x@a.example>\r\n", "DATA\r\n", "x\r\n"}, "DATA (2 bytes)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse()
				p := h.connect(t)
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					for _, piece := range tt.send {
						time.Sleep(time.Second)
						_, _ = p.Write([]byte(piece))
					}
				}()
				last := ""
				for {
					line, err := p.in.ReadLine(1000)
					if err != nil {
						break
					}
					last = string(line.Text)
				}
				<-p.over
				<-sent
				if want := "421 4.4.2 mx.host.example Error: timeout exceeded"; last != want {
					t.Errorf("last reply %q, want %q", last, want)
				}
				h.log.contains(t, "timeout after "+tt.after+" from unknown[192.0.2.1]")
				if len(h.intake.stored()) > 0 || h.intake.begun != h.intake.aborted {
					t.Errorf("%d messages begun, %d aborted, %v stored", h.intake.begun, h.intake.aborted, h.intake.stored())
				}
			})
		})
	}
}

// A text that comes slowly, but comes, is taken.
func TestSlowText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		p := h.connect(t)
		p.ask("MAIL FROM:<>", "250 2.1.0 Ok")
		p.ask("RCPT TO:<x@a.example>", "250 2.1.5 Ok")
		p.ask("DATA", "354 End data with <CR><LF>.<CR><LF>")
		for range 5 {
			time.Sleep(9 * time.Second)
			p.send("x\r\n")
		}
		p.ask(".", "250 2.0.0 Ok: queued as QID1")
	})
}

// A client that does not read its replies does not hold a session for ever.
func TestReplyTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		p := h.connect(t)
		p.send("NOOP\r\n")
		<-p.over
		h.log.contains(t, "timeout after NOOP from unknown[192.0.2.1]")
	})
}

func TestErrorsAreSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		h.config.SoftErrorLimit, h.config.ErrorSleepTime = 2, 3*time.Second
		p := h.connect(t)
		start := time.Now()
		for i, want := range []time.Duration{0, 0, 3 * time.Second, 6 * time.Second} {
			p.ask("FOO", "500 5.5.2 Error: command not recognized")
			if got := time.Since(start); got != want {
				t.Errorf("error %d is answered after %v, want %v", i+1, got, want)
			}
		}
		p.ask("NOOP", "250 2.0.0 Ok")
		if got, want := time.Since(start), 9*time.Second; got != want {
			t.Errorf("NOOP after the errors is answered after %v, want %v", got, want)
		}
	})
}

func TestShutdownBetweenTransactions(t *testing.T) {
	h := newHouse()
	idle, busy := h.connect(t), h.connect(t)
	idle.ask("NOOP", "250 2.0.0 Ok")
	busy.hello()
	busy.ask("MAIL FROM:<a@b.example>", "250 2.1.0 Ok")
	busy.ask("RCPT TO:<x@a.example>", "250 2.1.5 Ok")
	h.drain()
	idle.want("421 4.3.2 mx.host.example Service not available, closing transmission channel")
	idle.wantEnd()
	busy.ask("DATA", "354 End data with <CR><LF>.<CR><LF>")
	busy.ask("x\r\n.", "250 2.0.0 Ok: queued as QID1")
	busy.want("421 4.3.2 mx.host.example Service not available, closing transmission channel")
	busy.wantEnd()
	late := h.connect(t)
	late.want("421 4.3.2 mx.host.example Service not available, closing transmission channel")
	late.wantEnd()
	if strings.Contains(h.log.String(), "lost connection") || strings.Contains(h.log.String(), "timeout") {
		t.Errorf("the log speaks of trouble:\n%s", &h.log)
	}
}

// The settings change between transactions, not inside one.
func TestReload(t *testing.T) {
	h := newHouse()
	p := h.connect(t)
	p.hello()
	p.ask("MAIL FROM:<a@b.example>", "250 2.1.0 Ok")
	next := h.config
	next.Hostname, next.RecipientLimit = "new.host.example", 1
	profile := &Profile{Config: &next, Policy: &h.policy, Intake: &h.intake}
	h.swap(profile)
	p.ask("RCPT TO:<x@a.example>", "250 2.1.5 Ok")
	p.ask("RCPT TO:<y@a.example>", "250 2.1.5 Ok")
	p.ask("RSET", "250 2.0.0 Ok")
	p.ask("MAIL FROM:<a@b.example>", "250 2.1.0 Ok")
	p.ask("RCPT TO:<x@a.example>", "250 2.1.5 Ok")
	p.ask("RCPT TO:<y@a.example>", "452 4.5.3 Error: too many recipients")
	p.ask("HELO x", "250 new.host.example")
}

func TestClientLimit(t *testing.T) {
	h := newHouse()
	h.config.ClientLimit = 2
	first, _ := h.connect(t), h.connect(t)
	third := h.connectSilently(t)
	third.want("421 4.7.0 mx.host.example Error: too many connections from 192.0.2.1")
	third.wantEnd()
	h.log.contains(t, "warning: Connection concurrency limit exceeded: 3 from unknown[192.0.2.1] for service smtp")
	first.ask("QUIT", "221 2.0.0 Bye")
	first.wantEnd()
	h.connect(t)
}

func TestClientLimitExempt(t *testing.T) {
	h := newHouse()
	h.config.ClientLimit = 1
	h.swap(&Profile{Config: &h.config, Policy: &h.policy, Intake: &h.intake,
		Exempt: func(c *Client) bool { return c.AddrText() == "192.0.2.1" }})
	h.connect(t)
	h.connect(t)
}

func TestConnectionLimit(t *testing.T) {
	h := newHouse()
	h.MaxConnections = 1
	first := h.connect(t)
	second := h.connectSilently(t)
	second.want("421 4.3.2 mx.host.example Error: too many connections")
	second.wantEnd()
	h.log.contains(t, "warning: connection limit of 1 sessions reached, refused 192.0.2.1:4711")
	first.ask("QUIT", "221 2.0.0 Bye")
	first.wantEnd()
	h.connect(t)
}

func TestPeerName(t *testing.T) {
	h := newHouse()
	h.swap(&Profile{Config: &h.config, Policy: &h.policy, Intake: &h.intake,
		PeerName: func(_ context.Context, addr netip.Addr) PeerName {
			return PeerName{Name: "client\n.example", Reverse: "rev.example"}
		}})
	p := h.connect(t)
	p.ask("QUIT", "221 2.0.0 Bye")
	p.wantEnd()
	h.log.contains(t, "disconnect from client?.example[192.0.2.1] quit=1 commands=1")
}

// Clients of smtpd_forbid_bare_newline_exclusions may end the text as they like.
func TestBareNewlineExclusion(t *testing.T) {
	h := newHouse()
	h.config.ForbidBareNewline = smtp.BareNewlineReject
	h.swap(&Profile{Config: &h.config, Policy: &h.policy, Intake: &h.intake, BareNewlineOK: func(*Client) bool { return true }})
	p := h.connect(t)
	p.send("MAIL FROM:<>\n")
	p.want("250 2.1.0 Ok")
	p.send("RCPT TO:<x@a.example>\n")
	p.want("250 2.1.5 Ok")
	p.send("DATA\n")
	p.want("354 End data with <CR><LF>.<CR><LF>")
	p.send("x\n.\n")
	p.want("250 2.0.0 Ok: queued as QID1")
}

func TestWithProtocol(t *testing.T) {
	tests := []struct {
		esmtp, tls, utf8 bool
		want             string
	}{
		{false, false, false, "SMTP"}, {true, false, false, "ESMTP"}, {true, true, false, "ESMTPS"},
		{true, false, true, "UTF8SMTP"}, {true, true, true, "UTF8SMTPS"}, {false, true, false, "SMTP"},
	}
	for _, tt := range tests {
		c := Client{ESMTP: tt.esmtp}
		if tt.tls {
			c.TLS = &tls.ConnectionState{}
		}
		if got := c.With(tt.utf8); got != tt.want {
			t.Errorf("With(%v) of %+v = %q, want %q", tt.utf8, tt, got, tt.want)
		}
	}
}

// A large pipelined group is answered in full, and the large buffer goes back.
func TestLongPipeline(t *testing.T) {
	h := newHouse()
	h.config.RecipientLimit = 0
	p := h.connect(t)
	p.hello()
	const n = 3000
	var group strings.Builder
	group.WriteString("MAIL FROM:<a@b.example>\r\n")
	for i := range n {
		fmt.Fprintf(&group, "RCPT TO:<x%d@a.example>\r\n", i)
	}
	group.WriteString("DATA\r\n")
	go func() { _, _ = p.Write([]byte(group.String())) }()
	p.want("250 2.1.0 Ok")
	for range n {
		p.want("250 2.1.5 Ok")
	}
	p.want("354 End data with <CR><LF>.<CR><LF>")
	p.ask(".", "250 2.0.0 Ok: queued as QID1")
	if got := len(h.intake.stored()[0].recipients); got != n {
		t.Errorf("%d recipients are stored, want %d", got, n)
	}
}

// What the policy says of a client or a HELO name counts for all its messages.
func TestEffectsOfTheSession(t *testing.T) {
	h := newHouse()
	h.policy.connect = Verdict{Effects: []Effect{{"PREPEND", "X-Client: known"}}}
	p := h.connect(t)
	p.hello()
	p.hello()
	for i := range 2 {
		p.ask("MAIL FROM:<a@b.example>", "250 2.1.0 Ok")
		p.ask("RCPT TO:<hold@a.example>", "250 2.1.5 Ok")
		p.ask("DATA", "354 End data with <CR><LF>.<CR><LF>")
		p.ask(".", fmt.Sprintf("250 2.0.0 Ok: queued as QID%d", i+1))
	}
	want := []Effect{{"PREPEND", "X-Client: known"}, {"HOLD", "action"}}
	for _, m := range h.intake.stored() {
		if !slices.Equal(m.effects, want) {
			t.Errorf("effects %v, want %v", m.effects, want)
		}
	}
}

// A body that takes back a failed Write is not believed.
func TestPositiveReplyAfterWriteError(t *testing.T) {
	h := newHouse()
	h.intake.writeErr = errDisk
	p := h.connect(t)
	p.ask("MAIL FROM:<a@b.example>", "250 2.1.0 Ok")
	p.ask("RCPT TO:<x@a.example>", "250 2.1.5 Ok")
	p.ask("DATA", "354 End data with <CR><LF>.<CR><LF>")
	p.ask("x\r\n.", "451 4.3.0 Error: queue file write error")
}

// A client that is refused with 421 at connect is not asked for more.
func TestConnectHangup(t *testing.T) {
	for _, v := range []Verdict{{Reply: smtp.R(421, "4.7.0", "go away")}, {Hangup: true}} {
		h := newHouse()
		h.policy.connect = v
		p := h.connectSilently(t)
		if !v.Reply.IsZero() {
			p.want(v.Reply.String())
		}
		p.wantEnd()
	}
}
