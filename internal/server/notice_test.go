package server

import (
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/smtpd"
)

// TestSessionNotice: the transcript of a session reaches the postmaster as mail
// that never causes another notice.
func TestSessionNotice(t *testing.T) {
	s := running(t, "myhostname = mx.host.example\nmyorigin = origin.example\nmydestination =\nnotify_classes = protocol, delay\n"+
		"error_notice_recipient = ops\ndefault_transport = smtp:[127.0.0.1]:9\nsmtp_dns_support_level = disabled\n")
	conn, err := net.Dial("tcp", s.listening.addresses()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 200)); err != nil { // the greeting
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "RUBBISH\r\nQUIT\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(conn); err != nil { // it ends when the notice is queued
		t.Fatal(err)
	}
	ids := s.notices(t, "ops@origin.example")
	if len(ids) != 1 {
		t.Fatalf("%d notices, want 1", len(ids))
	}
	p, err := s.queue.Message(ids[0])
	if err != nil {
		t.Fatal(err)
	}
	if e := p.Message.Envelope; e.Sender != "double-bounce@mx.host.example" || !e.Bounce {
		t.Errorf("envelope = %+v, want one that never causes another notice", e)
	}
	body, err := p.Message.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	var text strings.Builder
	if _, err := body.WriteTo(&text); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"\nTo: ops@origin.example\n", " SMTP server: errors from unknown[127.0.0.1]\n", "\n In:  RUBBISH\n Out: 500 5.5.2 ", "\nDate: "} {
		if !strings.Contains(text.String(), part) {
			t.Errorf("the notice lacks %q:\n%s", part, text.String())
		}
	}
}

func TestNoticesOf(t *testing.T) {
	for mainCF, want := range map[string][]string{
		"":                                     {"software"},
		"notify_classes =\n":                   nil,
		"notify_classes = bounce, policy\n":    {"bounce", "policy"},
		"notify_classes = resource, 2bounce\n": nil,
	} {
		var got []string
		for class := range noticesOf(settingsOf(t, mainCF)) {
			got = append(got, class)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", mainCF, got, want)
		}
	}
}

func TestSessionNoticeText(t *testing.T) {
	v := settingsOf(t, "mail_name = Mail\n")
	text := sessionNotice(v, "ops@origin.example", smtpd.Notice{Client: &smtpd.Client{Name: "jürgen.example"}, Class: "policy",
		Lines: []string{" Out: 220 x", " In:  jürgen"}, Aborted: "lost connection after DATA"})
	for _, part := range []string{"errors from j?rgen.example[unknown]\n", "\n In:  j?rgen\n", "\nSession aborted, reason: lost connection after DATA\n"} {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in:\n%s", part, text)
		}
	}
}

func TestSparing(t *testing.T) {
	var p sparing
	at := func(seconds int) time.Time { return time.Unix(1e9, 0).Add(time.Duration(seconds) * time.Second) }
	for _, test := range []struct {
		class   string
		seconds int
		want    bool
	}{{"software", 0, true}, {"software", 59, false}, {"data", 59, true}, {"software", 60, true}, {"policy", 61, true}, {"policy", 61, true}} {
		if got := p.lets(test.class, at(test.seconds)); got != test.want {
			t.Errorf("%s after %d s: %v, want %v", test.class, test.seconds, got, test.want)
		}
	}
}
