package smtp

import (
	"context"
	"slices"
	"strings"
	"testing"

	"postern/internal/deliver"
	"postern/internal/spool"
)

// letter makes a request for a message with this text.
func letter(hop, sender, text string, utf8 bool, rcpts ...string) *deliver.Request {
	r := request(hop, rcpts...)
	e := r.Message.Envelope
	e.SMTPUTF8, e.Sender = utf8, sender
	r.Message = spool.Detached("0123456789AB", e, []byte(text))
	return r
}

func TestUTF8(t *testing.T) {
	with, without := (&peer{ehlo: "250-SMTPUTF8\r\n250-8BITMIME\r\n"}).start(t, "tcp"), (&peer{ehlo: "250-8BITMIME\r\n"}).start(t, "tcp")
	a, _ := newAgent(t, nil)
	for _, test := range []struct {
		name, sender, rcpts, text string
		utf8                      bool // the client said SMTPUTF8
		want                      string
	}{
		{"plain", "from@test", "a@test", "Subject: x\n\nü\n", true, "sent sent"},
		{"no header", "from@test", "a@test", "\nü\n", true, "sent sent"},
		{"header", "from@test", "a@test", "Subject: ü\n\nx\n", true, "sent bounced"},
		{"header of one who did not say so", "from@test", "a@test", "Subject: ü\n\nx\n", false, "sent sent"},
		{"recipient", "from@test", "ü@test", "\n", true, "sent bounced"},
		{"recipient of an alias", "from@test", "ü@test", "\n", false, "sent bounced"},
		{"one of two recipients", "from@test", "ü@test a@test", "\n", true, "sent,sent bounced,sent"},
		{"sender", "ü@test", "a@test", "\n", true, "sent bounced"},
	} {
		var got []string
		for _, p := range []*peer{with, without} {
			var kinds []string
			for _, s := range a.Deliver(context.Background(), letter("[127.0.0.1]:"+p.port(), test.sender, test.text, test.utf8, strings.Fields(test.rcpts)...)) {
				kinds = append(kinds, s.Kind.String())
				if s.Kind == deliver.Bounced && (s.DSN != "5.6.7" || s.Reason != "SMTPUTF8 is required, but was not offered by host 127.0.0.1[127.0.0.1]") {
					t.Errorf("%s: %s", test.name, show(s))
				}
			}
			got = append(got, strings.Join(kinds, ","))
			if want := strings.ReplaceAll(test.text, "\n", "\r\n"); strings.Contains(got[len(got)-1], "sent") && p.text != want {
				t.Errorf("%s: the server got %q, want %q", test.name, p.text, want)
			}
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
	with.mu.Lock()
	defer with.mu.Unlock()
	for _, want := range []string{"MAIL FROM:<ü@test> SMTPUTF8", "MAIL FROM:<from@test> BODY=8BITMIME SMTPUTF8", "MAIL FROM:<from@test> SMTPUTF8", "MAIL FROM:<from@test> BODY=8BITMIME"} {
		if !slices.Contains(with.heard, want) {
			t.Errorf("the server did not hear %q, but %q", want, with.heard)
		}
	}
}

func TestEightBit(t *testing.T) {
	const (
		text      = "Subject: x\nContent-Transfer-Encoding: 8bit\n\nfor a long time there was nothing but ASCII; then ü\n"
		asIs      = "Subject: x\r\nContent-Transfer-Encoding: 8bit\r\n\r\nfor a long time there was nothing but ASCII; then ü\r\n"
		converted = "Subject: x\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nfor a long time there was nothing but ASCII; then =C3=BC\r\n"
	)
	for _, test := range []struct {
		name, offer string
		keep        bool
		mail, want  string
	}{
		{"offered", "250-8BITMIME\r\n250-SIZE\r\n", false, "MAIL FROM:<from@test> SIZE=97 BODY=8BITMIME", asIs},
		{"offered, with chunks", "250-8BITMIME\r\n250-CHUNKING\r\n", false, "MAIL FROM:<from@test> BODY=8BITMIME", asIs},
		{"not offered", "250-SIZE\r\n", false, "MAIL FROM:<from@test>", converted},
		{"not offered, with chunks", "250-CHUNKING\r\n", false, "MAIL FROM:<from@test>", converted},
		{"not offered, and kept", "", true, "MAIL FROM:<from@test>", asIs},
	} {
		p := (&peer{ehlo: test.offer}).start(t, "tcp")
		a, _ := newAgent(t, func(o *Options) { o.KeepEightBit = test.keep })
		if s := a.Deliver(context.Background(), letter("[127.0.0.1]:"+p.port(), "from@test", text, false, "a@test"))[0]; s.Kind != deliver.Sent {
			t.Errorf("%s: %s", test.name, show(s))
		}
		p.mu.Lock()
		if p.text != test.want || p.heard[1] != test.mail {
			t.Errorf("%s: the server heard %q and got %q, want %q and %q", test.name, p.heard[1], p.text, test.mail, test.want)
		}
		p.mu.Unlock()
	}
}

func TestEightBitScan(t *testing.T) {
	for n := range 40 {
		text := []byte(strings.Repeat("x", 40))
		if n > 0 {
			text[n-1] = 0x80
		}
		var scan eightBitScan
		if _, err := scan.Write(text); scan.found != (n > 0) || (err != nil) != (n > 0) {
			t.Errorf("octet %d: found %v, %v", n-1, scan.found, err)
		}
	}
}

func TestTextThatCannotBeRead(t *testing.T) {
	for _, offer := range []string{"", "250-8BITMIME\r\n250-SMTPUTF8\r\n"} {
		p := (&peer{ehlo: offer}).start(t, "tcp")
		a, log := newAgent(t, nil)
		r := letter("[127.0.0.1]:"+p.port(), "from@test", "\n", true, "a@test")
		r.Message = &spool.Message{ID: "0123456789AB", Envelope: r.Message.Envelope} // its text is gone
		if s := a.Deliver(context.Background(), r)[0]; s.Kind != deliver.Deferred || s.Reason != "queue file read error" {
			t.Errorf("offer %q: %s", offer, show(s))
		}
		if !strings.Contains(log.String(), "warning: 0123456789AB: ") {
			t.Errorf("offer %q: log %q", offer, log)
		}
	}
}

func TestReach(t *testing.T) {
	for _, test := range []struct {
		name, offer string
		lmtp, final bool
		want        deliver.Reach
	}{
		{"plain", "", false, false, deliver.Relayed},
		{"DSN", "250-DSN\r\n", false, false, deliver.Passed},
		{"LMTP", "", true, false, deliver.Relayed},
		{"LMTP, final", "", true, true, deliver.Delivered},
		{"LMTP with DSN", "250-DSN\r\n", true, true, deliver.Passed},
	} {
		p := (&peer{ehlo: test.offer, lmtp: test.lmtp}).start(t, "tcp")
		a, _ := newAgent(t, func(o *Options) { o.LMTP, o.AssumeFinal = test.lmtp, test.final })
		if s := a.Deliver(context.Background(), request("[127.0.0.1]:"+p.port(), "a@test"))[0]; s.Kind != deliver.Sent || s.Reach != test.want {
			t.Errorf("%s: reach %d, want %d; %s", test.name, s.Reach, test.want, show(s))
		}
	}
}

func TestProbe(t *testing.T) {
	p := (&peer{ehlo: "250-CHUNKING\r\n", reply: map[string]string{"RCPT TO:<a@test>": "250 2.1.5 fine", "RCPT TO:<b@test>": "550 5.1.1 no", "RCPT TO:<c@test>": "450 4.2.0 later"}}).start(t, "tcp")
	a := kept(t, nil)
	r := request("[127.0.0.1]:"+p.port(), "a@test", "b@test", "c@test")
	r.Probe = true
	var got []string
	for _, s := range a.Deliver(context.Background(), r) {
		got = append(got, s.Kind.String()+" "+s.DSN+" "+s.Reason)
	}
	want := []string{
		"sent 2.1.5 250 2.1.5 fine",
		"bounced 5.1.1 host 127.0.0.1[127.0.0.1] said: 550 5.1.1 no (in reply to RCPT TO command)",
		"deferred 4.2.0 host 127.0.0.1[127.0.0.1] said: 450 4.2.0 later (in reply to RCPT TO command)",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if s := a.Deliver(context.Background(), request("[127.0.0.1]:"+p.port(), "d@test"))[0]; s.Kind != deliver.Sent || s.ConnUse != 2 {
		t.Errorf("afterwards: use %d, %s", s.ConnUse, show(s))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.messages != 1 || p.heard[5] != "RSET" {
		t.Errorf("%d messages, the server heard %q", p.messages, p.heard)
	}
}
