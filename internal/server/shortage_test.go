package server

import (
	"context"
	"strings"
	"testing"
	"time"

	"postern/internal/address"
	"postern/internal/queue"
	"postern/internal/smtp"
	"postern/internal/smtpd"
)

// notices lists what is queued for somebody.
func (s *Server) notices(t *testing.T, to string) (ids []string) {
	t.Helper()
	for e, err := range s.queue.List(context.Background(), queue.Filter{Recipient: to}) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, e.ID)
	}
	return ids
}

// TestShortageNotice: the postmaster is told once what was refused for want of
// space, when mail is accepted again.
func TestShortageNotice(t *testing.T) {
	full, room := smtp.R(452, "4.3.1", "Insufficient system storage"), smtp.Reply{}
	mail := &smtpd.Transaction{Client: &smtpd.Client{Name: "client.example"}, Sender: smtp.Path{Address: address.Split("jürgen@far.example")}}
	for classes, want := range map[string]int{"bounce, resource": 1, "bounce": 0} {
		t.Run(classes, func(t *testing.T) {
			s := running(t, "myhostname = mx.host.example\nmyorigin = origin.example\nmydestination =\nnotify_classes = "+classes+
				"\nerror_notice_recipient = ops\ndefault_transport = smtp:[127.0.0.1]:9\nsmtp_dns_support_level = disabled\n")
			const to = "ops@origin.example"
			s.noteRoom(t.Context(), mail, room)
			s.noteRoom(t.Context(), mail, full)
			s.noteRoom(t.Context(), mail, smtp.R(451, "4.3.0", "Error: queue file write error"))
			s.noteRoom(t.Context(), mail, full)
			if ids := s.notices(t, to); len(ids) != 0 {
				t.Errorf("%d notices while there is no space", len(ids))
			}
			s.noteRoom(t.Context(), mail, room)
			s.noteRoom(t.Context(), mail, full)
			s.noteRoom(t.Context(), mail, room)
			ids := s.notices(t, to)
			if len(ids) != want {
				t.Fatalf("%d notices, want %d", len(ids), want)
			}
			if want == 0 {
				return
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
			for _, part := range []string{"\nFrom: MAILER-DAEMON@mx.host.example (", "\nTo: ops@origin.example\n", "\nDate: ", "\nMessage-Id: <",
				"Refusals: 2.", "\n<j?rgen@far.example> by client.example[unknown].\n"} {
				if !strings.Contains(text.String(), part) {
					t.Errorf("the notice lacks %q:\n%s", part, text.String())
				}
			}
		})
	}
}

// TestShortageRate: what comes within ten minutes of a notice waits for the next.
func TestShortageRate(t *testing.T) {
	var h shortage
	at := func(minutes int) time.Time { return time.Unix(1e9, 0).Add(time.Duration(minutes) * time.Minute) }
	if r := h.take(at(0)); r.count != 0 {
		t.Errorf("take = %+v before anything was refused", r)
	}
	if !h.note(at(1), "a") || h.note(at(2), "b") {
		t.Error("note should report the first refusal, and no other")
	}
	if r := h.take(at(3)); r != (refusals{at(1), at(2), 2, "b"}) {
		t.Errorf("take = %+v", r)
	}
	if h.pending.Load() {
		t.Error("still pending when all was told")
	}
	h.note(at(4), "c")
	if r := h.take(at(12)); r.count != 0 || !h.pending.Load() {
		t.Errorf("take = %+v nine minutes after a notice", r)
	}
	if r := h.take(at(13)); r != (refusals{at(4), at(4), 1, "c"}) {
		t.Errorf("take = %+v ten minutes after a notice", r)
	}
}
