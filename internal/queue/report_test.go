package queue

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/deliver"
	"postern/internal/spool"
)

// reaching answers with how far the local part says.
func reaching(r deliver.Recipient) deliver.Status {
	s := obey(r)
	switch {
	case strings.HasPrefix(r.Address, "relayed"):
		s.Reach = deliver.Relayed
	case strings.HasPrefix(r.Address, "passed"):
		s.Reach = deliver.Passed
	case strings.HasPrefix(r.Address, "fwd"):
		s.Forwards = []deliver.Forward{{Recipients: []string{"x@f.example"}, Original: r.Address}}
	}
	return s
}

// actions are the recipients of a report with their actions.
func (b *bench) actions(n *spool.Message) map[string]string {
	found := map[string]string{}
	to := ""
	for line := range strings.Lines(b.text(n)) {
		if _, addr, ok := strings.Cut(line, "Final-Recipient: rfc822; "); ok {
			to = strings.TrimSpace(addr)
		}
		if _, action, ok := strings.Cut(line, "Action: "); ok {
			found[to] = strings.TrimSpace(action)
		}
	}
	return found
}

// reports are the notices with that subject.
func (b *bench) reports(subject string) (list []*spool.Message) {
	for _, n := range b.notices() {
		if strings.Contains(b.text(n), "Subject: "+subject) {
			list = append(list, n)
		}
	}
	return list
}

const (
	success = "Successful Mail Delivery Report"
	status  = "Mail Delivery Status Report"
)

func TestReportOfSuccess(t *testing.T) {
	m := newMemory()
	m.agent = each(reaching)
	run(t, m, defaults, func(b *bench) {
		wanted := []spool.Recipient{
			{Address: "good@a.example", Notify: spool.NotifySuccess}, {Address: "relayed@b.example", Notify: spool.NotifySuccess | spool.NotifyFailure},
			{Address: "passed@a.example", Notify: spool.NotifySuccess}, {Address: "fwd@c.example", Notify: spool.NotifySuccess},
			{Address: "unasked@a.example"}, {Address: "never@a.example", Notify: spool.NotifyNever},
			{Address: "late@a.example", Notify: spool.NotifySuccess},
		}
		msg := b.sendEnvelope(spool.Envelope{Sender: "s@example.org", Arrival: time.Now(), Recipients: wanted})
		n := b.reports(success)
		if len(n) != 1 || len(b.logged("bounce: "+msg.ID+": sender delivery status notification: ")) != 1 {
			t.Fatalf("%d reports of success, want 1; log %q", len(n), b.log())
		}
		want := map[string]string{"good@a.example": "delivered", "relayed@b.example": "relayed", "fwd@c.example": "expanded"}
		if diff := cmp.Diff(want, b.actions(n[0])); diff != "" {
			t.Errorf("actions (-want +got):\n%s", diff)
		}
		if n[0].Envelope.Sender != "" || !n[0].Envelope.Bounce || n[0].Envelope.Recipients[0].Address != "s@example.org" {
			t.Errorf("envelope of the report = %+v", n[0].Envelope)
		}
		for _, f := range b.notices() {
			if r := f.Envelope.Recipients[0]; r.Address == "x@f.example" && r.Notify != spool.NotifyNever {
				t.Errorf("the forward asks for %v again", r.Notify)
			}
		}
		b.sendEnvelope(spool.Envelope{Arrival: time.Now(), Recipients: wanted[:1]})
		if n := b.reports(success); len(n) != 1 {
			t.Error("the null sender is told of a success")
		}
	})
}

func TestASuccessIsOneChange(t *testing.T) {
	run(t, newMemory(), defaults, func(b *bench) {
		b.sendEnvelope(spool.Envelope{Sender: "s@example.org", Arrival: time.Now(),
			Recipients: []spool.Recipient{{Address: "x@a.example", Notify: spool.NotifySuccess}}})
		if c := b.changes[0]; len(c.New) != 1 || len(c.Settle) != 1 {
			t.Errorf("the first change is %+v, want the report and the end of the recipient", c)
		}
	})
}

func TestASuccessThatNobodyCanBeToldOf(t *testing.T) {
	m := newMemory()
	m.noSubmit = errTable
	run(t, m, defaults, func(b *bench) {
		msg := b.sendEnvelope(spool.Envelope{Sender: "s@example.org", Arrival: time.Now(),
			Recipients: []spool.Recipient{{Address: "x@a.example", Notify: spool.NotifySuccess}}})
		b.wantSettled(msg, 1)
		b.wantGone(msg)
	})
}

func TestDelayCleared(t *testing.T) {
	for _, confirm := range []bool{false, true} {
		m := newMemory()
		works := false
		m.agent = each(func(deliver.Recipient) deliver.Status {
			m.mu.Lock()
			defer m.mu.Unlock()
			if works {
				return sent
			}
			return late
		})
		p := defaults
		p.DelayWarning, p.ConfirmDelayCleared = time.Hour, confirm
		run(t, m, p, func(b *bench) {
			b.sendEnvelope(spool.Envelope{Sender: "s@example.org", Arrival: time.Now(), Recipients: []spool.Recipient{
				{Address: "x@a.example"}, {Address: "y@a.example", Notify: spool.NotifyNever},
			}})
			time.Sleep(61 * time.Minute)
			if n := b.reports("Delayed Mail"); len(n) != 1 {
				t.Fatalf("%d warnings a minute after the hour, want 1", len(n))
			}
			m.mu.Lock()
			works = true
			m.mu.Unlock()
			time.Sleep(5 * time.Hour)
			n := b.reports(success)
			if want := map[bool]int{true: 1}[confirm]; len(n) != want {
				t.Fatalf("confirm_delay_cleared = %v: %d reports of success, want %d", confirm, len(n), want)
			}
			if confirm {
				if diff := cmp.Diff(map[string]string{"x@a.example": "delivered"}, b.actions(n[0])); diff != "" {
					t.Errorf("actions (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestVerify(t *testing.T) {
	m := newMemory()
	m.agent = each(obey)
	m.route = func(_, rcpt string) (Routed, error) {
		if strings.HasPrefix(rcpt, "syntax") {
			return Routed{}, errSyntax
		}
		return Routed{Transport: "virtual", NextHop: "x"}, nil
	}
	run(t, m, defaults, func(b *bench) {
		e := envelopeTo("s@example.org", "good@a.example", "bad@a.example", "late@a.example", "syntax@a.example")
		e.Verify = true
		msg := b.sendEnvelope(e)
		b.wantSettled(msg, 1, 1, 1, 1)
		n := b.notices()
		if len(n) != 1 || len(b.reports(status)) != 1 {
			t.Fatalf("%d reports, want one", len(n))
		}
		want := map[string]string{"good@a.example": "deliverable", "bad@a.example": "undeliverable",
			"late@a.example": "undeliverable", "syntax@a.example": "undeliverable"}
		if diff := cmp.Diff(want, b.actions(n[0])); diff != "" {
			t.Errorf("actions (-want +got):\n%s", diff)
		}
		for _, want := range []string{"dsn=2.0.0, status=deliverable (", "dsn=5.1.1, status=undeliverable (", "dsn=4.2.0, status=undeliverable (",
			msg.ID + ": sender delivery status notification: " + n[0].ID, msg.ID + ": removed"} {
			if len(b.logged(want)) != 1 {
				t.Errorf("log lacks %q", want)
			}
		}
	})
}

func TestAProbeIsMarked(t *testing.T) {
	m := newMemory()
	probes := 0
	m.agent = each(obey)
	inner := m.agent
	m.agent = func(ctx context.Context, r *deliver.Request) []deliver.Status {
		if r.Probe {
			probes++
		}
		return inner(ctx, r)
	}
	run(t, m, defaults, func(b *bench) {
		e := envelopeTo("s@example.org", "x@a.example")
		e.Verify = true
		b.sendEnvelope(e)
		b.send("s@example.org", "x@a.example")
		if probes != 1 {
			t.Errorf("%d probes, want 1", probes)
		}
	})
}

func TestAVerifyReportThatCannotBeMade(t *testing.T) {
	m := newMemory()
	m.noSubmit = errors.New("alias table is down")
	run(t, m, defaults, func(b *bench) {
		e := envelopeTo("s@example.org", "x@a.example")
		e.Verify = true
		msg := b.sendEnvelope(e)
		b.wantSettled(msg, 0)
		m.mu.Lock()
		m.noSubmit = nil
		m.mu.Unlock()
		b.q.Flush()
		synctest.Wait()
		b.wantSettled(msg, 1)
		if n := b.reports(status); len(n) != 1 {
			t.Errorf("%d reports, want one", len(n))
		}
	})
}

func TestReportOfEveryResult(t *testing.T) {
	m := newMemory()
	m.agent = each(reaching)
	run(t, m, defaults, func(b *bench) {
		e := envelopeTo("s@example.org", "good@a.example", "passed@a.example", "bad@a.example", "late@a.example", "fwd@a.example")
		e.Report = true
		b.sendEnvelope(e)
		n := b.reports(status)
		if len(n) != 1 {
			t.Fatalf("%d reports, want 1", len(n))
		}
		want := map[string]string{"good@a.example": "delivered", "passed@a.example": "relayed", "bad@a.example": "failed",
			"late@a.example": "delayed", "fwd@a.example": "expanded"}
		if diff := cmp.Diff(want, b.actions(n[0])); diff != "" {
			t.Errorf("actions (-want +got):\n%s", diff)
		}
		if len(b.reports("Undelivered Mail")) != 1 {
			t.Error("the failure is not reported by itself")
		}
		time.Sleep(24 * time.Hour)
		if n := b.reports(status); len(n) != 1 {
			t.Errorf("%d reports after more tries, want 1", len(n))
		}
		for _, f := range b.notices() {
			if f.Envelope.Report {
				t.Error("a message made here asks for a report itself")
			}
		}
	})
}

// TestANoticeDeliveredHere: the recipient of a notice is given as one of any other
// message, so X-Original-To is written when it is delivered here.
func TestANoticeDeliveredHere(t *testing.T) {
	run(t, newMemory(), defaults, func(b *bench) {
		b.sendEnvelope(spool.Envelope{Sender: "s@example.org", Arrival: time.Now(), Recipients: []spool.Recipient{{Address: "bad@a.example"}}})
		notices := b.notices()
		if len(notices) != 1 {
			t.Fatalf("%d notifications, want 1", len(notices))
		}
		want := []spool.Recipient{{Address: "s@example.org", Original: "s@example.org", Notify: spool.NotifyNever}}
		if diff := cmp.Diff(want, notices[0].Envelope.Recipients); diff != "" {
			t.Errorf("recipients (-want +got):\n%s", diff)
		}
	})
}

// TestReportOfACommand: what a program said is its diagnostic.
func TestReportOfACommand(t *testing.T) {
	m := newMemory()
	m.agent = each(func(deliver.Recipient) deliver.Status {
		return deliver.Status{Kind: deliver.Bounced, DSN: "5.3.0", Reason: "service unavailable. Command output: some output", Output: "some output"}
	})
	run(t, m, defaults, func(b *bench) {
		b.sendEnvelope(spool.Envelope{Sender: "s@example.org", Arrival: time.Now(), Recipients: []spool.Recipient{{Address: "cmd@a.example"}}})
		for _, n := range b.notices() {
			if strings.Contains(b.text(n), "\nDiagnostic-Code: x-unix; some output\n") {
				return
			}
		}
		t.Error("no report has the output of the program")
	})
}
