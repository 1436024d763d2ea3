package intake_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/access"
	"postern/internal/address"
	"postern/internal/bounce"
	"postern/internal/intake"
	"postern/internal/route"
	"postern/internal/smtp"
	"postern/internal/spool"
)

const aliases = `virtual_alias_domains = b.test
virtual_alias_maps = inline:{ {one@b.test=x@c.test}, {two@b.test=x@c.test, y@c.test}, {self@b.test=self@b.test} }
`

// asked is a recipient whose sender asked for reports.
func asked(addr string, notify spool.Notify) route.Recipient {
	return route.Recipient{Address: address.Split(addr), Original: addr, Notify: uint8(notify)}
}

// TestExpandedReport: where aliases take the place of a recipient, its report of
// success is made with the message, and others are not asked for theirs.
func TestExpandedReport(t *testing.T) {
	w := newWorld(t, aliases)
	env := envelope()
	env.Recipients = []route.Recipient{
		asked("one@b.test", spool.NotifySuccess), asked("two@b.test", spool.NotifySuccess|spool.NotifyDelay),
		asked("self@b.test", spool.NotifySuccess), asked("one@b.test", spool.NotifyFailure), asked("z@c.test", spool.NotifySuccess),
	}
	env.Params.EnvID = "order 66"
	src := fromNetwork()
	src.Success = true
	if reply := w.take(src, env, "Subject: x\n", "Message-Id: <m@a.test>\n\nthe body\n"); !reply.Positive() {
		t.Fatal(reply)
	}
	list := w.messages()
	if len(list) != 2 {
		t.Fatalf("%d messages, want the message and a report", len(list))
	}
	var got []string
	for _, r := range list[0].Envelope.Recipients {
		got = append(got, fmt.Sprintf("%s %d", r.Address, r.Notify))
	}
	want := []string{"x@c.test 1", "x@c.test 8", "y@c.test 8", "self@b.test 2", "x@c.test 4", "z@c.test 2"}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("recipients and NOTIFY\n%q, want\n%q", got, want)
	}
	e := list[1].Envelope
	if e.Sender != "" || !e.Bounce || len(e.Recipients) != 1 || e.Recipients[0].Address != "a@a.test" || e.Recipients[0].Original != "a@a.test" || e.Recipients[0].Notify != spool.NotifyNever {
		t.Errorf("envelope of the report: %+v", e)
	}
	report := text(t, list[1])
	for _, part := range []string{
		"Subject: Successful Mail Delivery Report\n", "Original-Envelope-Id: order 66\n", "X-Postfix-Queue-ID: " + list[0].ID + "\n",
		"Final-Recipient: rfc822; one@b.test\nOriginal-Recipient: rfc822;one@b.test\nAction: expanded\nStatus: 2.0.0\nDiagnostic-Code: X-Postfix; alias expanded\n",
		"Final-Recipient: rfc822; two@b.test\n", "Content-Type: text/rfc822-headers\n", "\nSubject: x\nMessage-Id: <m@a.test>\n",
	} {
		if !strings.Contains(report, part) {
			t.Errorf("the report lacks %q:\n%s", part, report)
		}
	}
	for _, part := range []string{"the body", "self@b.test", "z@c.test", "x@c.test"} {
		if strings.Contains(report, part) {
			t.Errorf("the report contains %q:\n%s", part, report)
		}
	}
}

// TestNoExpandedReport: nobody is told who did not ask, or cannot be told.
func TestNoExpandedReport(t *testing.T) {
	for name, change := range map[string]func(*intake.Envelope){
		"not asked":   func(e *intake.Envelope) { e.Recipients[0].Notify = uint8(spool.NotifyFailure) },
		"no sender":   func(e *intake.Envelope) { e.Sender = address.Address{} },
		"only a test": func(e *intake.Envelope) { e.Verify = true },
		"discarded":   func(e *intake.Envelope) { e.Actions = []access.Action{{Verb: "DISCARD"}} },
	} {
		w := newWorld(t, aliases)
		env := envelope()
		env.Recipients = []route.Recipient{asked("two@b.test", spool.NotifySuccess)}
		change(&env)
		src := fromNetwork()
		src.Success = true
		if reply := w.take(src, env, "Subject: x\n\n"); !reply.Positive() {
			t.Errorf("%s: %v", name, reply)
		}
		if n := len(w.messages()); n > 1 || n == 0 && name != "discarded" {
			t.Errorf("%s: %d messages", name, n)
		}
	}
}

// TestExpandedReportFails: the message is taken all the same.
func TestExpandedReportFails(t *testing.T) {
	w := newWorld(t, aliases+"virtual_alias_expansion_limit = 1\n")
	env := envelope()
	env.Sender = address.Split("two@b.test") // cannot be expanded
	env.Recipients = []route.Recipient{asked("one@b.test", spool.NotifySuccess)}
	src := fromNetwork()
	src.Success = true
	if reply := w.take(src, env, "Subject: x\n\n"); !reply.Positive() {
		t.Fatal(reply)
	}
	if n := len(w.messages()); n != 1 || !strings.Contains(w.Log.Lines(), "no report of success can be made") {
		t.Errorf("%d messages, log %q", n, w.Log.Lines())
	}
}

// TestBothAreAborted: when the spool does not take message and report, nothing of
// either stays.
func TestBothAreAborted(t *testing.T) {
	w := newWorld(t, aliases)
	w.store.broken = spool.ErrFull
	env := envelope()
	env.Recipients = []route.Recipient{asked("two@b.test", spool.NotifySuccess)}
	src := fromNetwork()
	src.Success = true
	if reply := w.take(src, env, "Subject: x\n\n"); reply.Code != 452 {
		t.Errorf("reply %v, want 452", reply)
	}
}

// TestHeld: HOLD puts the message into the spool, and nobody is told to deliver it.
func TestHeld(t *testing.T) {
	for _, hold := range []bool{false, true} {
		w := newWorld(t, "")
		s, err := spool.Open(filepath.Join(t.TempDir(), "spool"), spool.Options{SegmentSize: 4 << 20})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		added := 0
		in := intake.New(intake.Options{Settings: w.Settings, Router: w.Router, Store: s, Log: w.Log, BounceLog: w.Log,
			Templates: bounce.BuiltIn(), Added: func(*spool.Message) { added++ }})
		letter, reply := in.Begin(0)
		if !reply.IsZero() {
			t.Fatal(reply)
		}
		letter.Start(fromNetwork())
		if _, err := letter.Write([]byte("Subject: x\n\n")); err != nil {
			t.Fatal(err)
		}
		env := envelope()
		if hold {
			env.Actions = []access.Action{{Verb: "HOLD", Text: "because"}}
		}
		if reply := letter.Commit(context.Background(), env); !reply.Positive() {
			t.Fatal(reply)
		}
		for p := range s.Pending() {
			if p.Held != hold || (added == 0) != hold {
				t.Errorf("HOLD %v: held %v, %d messages are to be delivered", hold, p.Held, added)
			}
		}
	}
}

// TestReportsAsked: what sendmail -bv and -v ask for goes into the envelope.
func TestReportsAsked(t *testing.T) {
	w := newWorld(t, "")
	for _, m := range []intake.Submitted{{Verify: true}, {Report: true}, {}} {
		m.Sender, m.Recipients, m.Text = address.Split("a@a.test"), rcpt("x@c.test"), strings.NewReader("Subject: x\n\n")
		if reply := w.in.Pickup(context.Background(), m); !reply.Positive() {
			t.Fatal(reply)
		}
		if e := w.messages()[0].Envelope; e.Verify != m.Verify || e.Report != m.Report {
			t.Errorf("Verify %v, Report %v; want %v, %v", e.Verify, e.Report, m.Verify, m.Report)
		}
	}
}

// TestRoom is the answer to MAIL.
func TestRoom(t *testing.T) {
	broken := errors.New("input/output error")
	for _, tt := range []struct {
		name  string
		set   func(*heldStore)
		size  int64
		reply smtp.Reply
	}{
		{"room", func(*heldStore) {}, 0, smtp.Reply{}},
		{"room for a large one", func(*heldStore) {}, 2 << 20, smtp.Reply{}},
		{"full", func(s *heldStore) { s.narrow = fmt.Errorf("spool: %w", spool.ErrFull) }, 0, smtp.R(452, "4.3.1", "Insufficient system storage")},
		{"ill", func(s *heldStore) { s.ill = broken }, 0, smtp.R(451, "4.3.0", "Error: queue file write error")},
		{"cannot tell", func(s *heldStore) { s.narrow = broken }, 0, smtp.R(451, "4.3.0", "Error: queue file write error")},
		{"not for a large one", func(s *heldStore) { s.full = spool.ErrFull }, 2 << 20, smtp.R(452, "4.3.1", "Insufficient system storage")},
		{"but for a small one", func(s *heldStore) { s.full = spool.ErrFull }, 1 << 10, smtp.Reply{}},
	} {
		w := newWorld(t, "")
		tt.set(w.store)
		if got := w.in.Room(tt.size); got.String() != tt.reply.String() {
			t.Errorf("%s: Room(%d) = %q, want %q", tt.name, tt.size, got, tt.reply)
		}
	}
}
