package queue

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/deliver"
	"postern/internal/spool"
)

func TestOneReportForAPass(t *testing.T) {
	run(t, newMemory(), defaults, func(b *bench) {
		msg := b.sendEnvelope(spool.Envelope{Sender: "s@example.org", Arrival: time.Now(), Recipients: []spool.Recipient{
			{Address: "bad1@a.example"}, {Address: "bad2@b.example", Original: "list@b.example"}, {Address: "good@b.example"},
			{Address: "bad3@b.example", Notify: spool.NotifyNever}, {Address: "bad4@b.example", Notify: spool.NotifySuccess},
			{Address: "bad5@c.example", Notify: spool.NotifyFailure, ORCPT: "rfc822;o@c.example"},
		}})
		notices := b.notices()
		if len(notices) != 1 {
			t.Fatalf("%d notifications, want 1", len(notices))
		}
		n := notices[0]
		if n.Envelope.Sender != "" || !n.Envelope.Bounce || n.Envelope.Recipients[0].Address != "s@example.org" {
			t.Errorf("envelope of the notification = %+v", n.Envelope)
		}
		text := b.text(n)
		for _, want := range []string{
			"Final-Recipient: rfc822; bad1@a.example\n", "Final-Recipient: rfc822; bad2@b.example\nOriginal-Recipient: rfc822;list@b.example\n",
			"Final-Recipient: rfc822; bad5@c.example\nOriginal-Recipient: rfc822;o@c.example\n", "\nSubject: test\n\nbody\n",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("notification lacks %q", want)
			}
		}
		for _, never := range []string{"good@", "bad3@", "bad4@"} {
			if strings.Contains(text, never) {
				t.Errorf("notification speaks of %s", never)
			}
		}
		b.wantSettled(msg, 1, 1, 1, 1, 1, 1)
		if want := "bounce: " + msg.ID + ": sender non-delivery notification: " + n.ID; len(b.logged(want)) != 1 {
			t.Errorf("log lacks %q", want)
		}
		together := slices.ContainsFunc(b.changes, func(c spool.Change) bool {
			return len(c.New) == 1 && len(c.Settle) == 1 && len(c.Settle[0].Outcomes) >= 5
		})
		if !together {
			t.Error("the notification and the record of the bounces are not one change")
		}
		b.wantSettled(n, 1) // s@example.org takes it
	})
}

func TestWhoIsTold(t *testing.T) {
	const post, double = "postmaster@example.com", "double-bounce@example.com"
	type notice struct{ from, to, log string }
	for _, test := range []struct {
		name           string
		sender         string
		bounce         bool
		notices        string // notify_classes
		want           []notice
		subjectHas     string
		wholeMessage   bool
		recipientNever bool
	}{
		{name: "sender", sender: "s@example.org", want: []notice{{"", "s@example.org", "sender non-delivery"}}, wholeMessage: true},
		{name: "sender and postmaster", sender: "s@example.org", notices: "bounce",
			want: []notice{{"", "s@example.org", "sender non-delivery"}, {double, post, "postmaster non-delivery"}}, wholeMessage: true},
		{name: "postmaster alone", sender: "s@example.org", notices: "bounce", recipientNever: true,
			want: []notice{{double, post, "postmaster non-delivery"}}, subjectHas: "Postmaster Copy"},
		{name: "nobody for the null sender"},
		{name: "postmaster for the null sender", notices: "2bounce", want: []notice{{double, post, "postmaster non-delivery"}}, subjectHas: "Postmaster Copy", wholeMessage: true},
		{name: "class bounce is not of the null sender", notices: "bounce"},
		{name: "nobody for a notification", sender: "s@example.org", bounce: true},
		{name: "nobody for the double bounce", sender: "Double-Bounce@Example.com", bounce: true, notices: "2bounce"},
		{name: "nor for one at myorigin", sender: "double-bounce@origin.example", bounce: true, notices: "2bounce"},
		{name: "mail from elsewhere is another's", sender: "double-bounce@elsewhere.example", bounce: true, notices: "2bounce",
			want: []notice{{double, post, "postmaster non-delivery"}}, subjectHas: "Postmaster Copy"},
		{name: "NOTIFY=NEVER", sender: "s@example.org", recipientNever: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := defaults
			p.Origin = "origin.example"
			switch test.notices {
			case "bounce":
				p.BounceNotice = post
			case "2bounce":
				p.DoubleBounceNotice = post
			}
			run(t, newMemory(), p, func(b *bench) {
				e := spool.Envelope{Sender: test.sender, Bounce: test.bounce, Arrival: time.Now(),
					Recipients: []spool.Recipient{{Address: "bad@example.com"}}}
				if test.recipientNever {
					e.Recipients[0].Notify = spool.NotifyNever
				}
				msg := b.sendEnvelope(e)
				var got []notice
				for _, n := range b.notices() {
					line := b.logged(msg.ID + ": ")
					i := slices.IndexFunc(line, func(l string) bool { return strings.HasSuffix(l, " notification: "+n.ID) })
					if i < 0 {
						t.Errorf("no log line for the notification %s", n.ID)
						continue
					}
					name := strings.TrimPrefix(line[i], "bounce: "+msg.ID+": ")
					got = append(got, notice{n.Envelope.Sender, n.Envelope.Recipients[0].Address, strings.TrimSuffix(name, " notification: "+n.ID)})
					if !n.Envelope.Bounce {
						t.Error("a notification that is not marked as one")
					}
				}
				if !slices.Equal(got, test.want) {
					t.Errorf("notifications %v, want %v", got, test.want)
				}
				if len(got) > 0 {
					text := b.text(b.notices()[0])
					if !strings.Contains(text, "Subject: "+test.subjectHas) || strings.Contains(text, "\nbody\n") != test.wholeMessage {
						t.Errorf("notification is\n%s", text)
					}
				}
				b.wantSettled(msg, 1)
			})
		})
	}
}

func TestSoftBounce(t *testing.T) {
	p := defaults
	p.SoftBounce = true
	run(t, newMemory(), p, func(b *bench) {
		msg := b.send("s@example.org", "bad@example.com")
		b.wantSettled(msg, 0)
		if len(b.logged("dsn=4.1.1, status=SOFTBOUNCE (unknown user)")) != 1 {
			t.Errorf("log %q lacks the soft bounce", b.log())
		}
	})
}

func TestDelayWarning(t *testing.T) {
	p := defaults
	p.DelayWarning = time.Hour
	p.DelayNotice = "postmaster@example.com"
	run(t, newMemory(), p, func(b *bench) {
		b.sendEnvelope(spool.Envelope{Sender: "s@example.org", Arrival: time.Now(), Recipients: []spool.Recipient{
			{Address: "late1@example.com"}, {Address: "late2@example.com", Notify: spool.NotifyFailure}, {Address: "good@example.com"},
		}})
		b.send("", "late@example.com")
		time.Sleep(50 * time.Minute)
		synctest.Wait()
		if n := b.notices(); len(n) != 0 {
			t.Fatalf("%d warnings before their time", len(n))
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		n := b.notices()
		if len(n) != 2 || n[0].Envelope.Recipients[0].Address != "s@example.org" || n[1].Envelope.Sender != p.DoubleBounceSender {
			t.Fatalf("warnings = %v, want one to the sender and one to the postmaster", n)
		}
		if text := b.text(n[0]); !strings.Contains(text, "Action: delayed\n") || !strings.Contains(text, "Will-Retry-Until: ") ||
			strings.Contains(text, "late2") || strings.Contains(text, "good") {
			t.Errorf("warning is\n%s", text)
		}
		if len(b.logged("sender delay notification: ")) != 1 || len(b.logged("postmaster delay notification: ")) != 1 {
			t.Errorf("log lacks the notifications")
		}
	})
}

func TestADelayWarningThatCannotBeMade(t *testing.T) {
	p := defaults
	p.DelayWarning = time.Hour
	m := newMemory()
	m.noSubmit = errTable
	run(t, m, p, func(b *bench) {
		b.send("s@example.org", "late@example.com")
		time.Sleep(90 * time.Minute)
		synctest.Wait()
		if len(b.logged("no delay warning can be made: table is down")) == 0 {
			t.Error("the log does not say that there is no warning")
		}
		m.mu.Lock()
		m.noSubmit = nil
		m.mu.Unlock()
		time.Sleep(12 * time.Hour)
		synctest.Wait()
		if n := b.notices(); len(n) != 1 {
			t.Errorf("%d warnings, want the one that could not be made before", len(n))
		}
	})
}

func TestANotificationThatCannotBeMade(t *testing.T) {
	m := newMemory()
	m.noSubmit = errors.New("alias table is down")
	run(t, m, defaults, func(b *bench) {
		msg := b.send("s@example.org", "bad@example.com", "good@example.com")
		b.wantSettled(msg, 0, 1)
		if d := b.postpone[msg.ID].Deferrals; len(d) != 1 || d[0].Reason != "unknown user" || d[0].Status != "5.1.1" {
			t.Errorf("deferrals = %v, want the bounce to be tried again with its reason", d)
		}
		m.mu.Lock()
		m.noSubmit = nil
		m.mu.Unlock()
		b.q.Flush()
		synctest.Wait()
		b.wantSettled(msg, 1, 1)
		if n := b.notices(); len(n) != 1 {
			t.Errorf("%d notifications, want 1", len(n))
		}
	})
}

func TestANotificationThatCannotBeWritten(t *testing.T) {
	m := newMemory()
	m.refuse = func(c spool.Change) error {
		if len(c.New) > 0 {
			return spool.ErrFull
		}
		return nil
	}
	run(t, m, defaults, func(b *bench) {
		msg := b.send("s@example.org", "bad@example.com", "good@example.com")
		b.wantSettled(msg, 0, 1)
		if d := b.postpone[msg.ID]; len(d.Deferrals) != 1 || !d.Next.After(time.Now()) {
			t.Errorf("postponement = %+v", d)
		}
		m.mu.Lock()
		m.refuse = nil
		m.mu.Unlock()
		time.Sleep(301 * time.Second)
		synctest.Wait()
		b.wantSettled(msg, 1, 1)
	})
}

func TestAMessageWithoutText(t *testing.T) {
	run(t, newMemory(), defaults, func(b *bench) {
		msg := &spool.Message{Number: 0xABCDEF, ID: "000000ABCDEF", Envelope: spool.Envelope{Sender: "s@example.org", Arrival: time.Now(),
			Recipients: []spool.Recipient{{Address: "bad@example.com"}}}}
		b.mu.Lock()
		b.adopt(msg)
		b.mu.Unlock()
		b.q.Add(msg)
		synctest.Wait()
		if n := b.notices(); len(n) != 1 || !strings.Contains(b.text(n[0]), "bad@example.com") {
			t.Error("the sender is not told of a message whose text is lost")
		}
	})
}

// forwarding answers with a forward for "fwd", and for "part" with a forward
// and a refusal.
func forwarding(r deliver.Recipient) deliver.Status {
	s := obey(r)
	if strings.HasPrefix(r.Address, "fwd") {
		s.Reason = "forwarded"
	}
	if strings.HasPrefix(r.Address, "part") {
		s = bad
	}
	if strings.HasPrefix(r.Address, "fwd") || strings.HasPrefix(r.Address, "part") || strings.HasPrefix(r.Address, "copy") {
		s.Forwards = []deliver.Forward{{
			Sender: "owner@example.com", Recipients: []string{"x@a.example", "y@a.example"}, Original: r.Address,
			Prepend: "Delivered-To: " + r.Address + "\n",
		}}
	}
	return s
}

func TestForwards(t *testing.T) {
	m := newMemory()
	m.agent = each(forwarding)
	run(t, m, defaults, func(b *bench) {
		msg := b.sendEnvelope(spool.Envelope{Sender: "s@example.org", Arrival: time.Now(), EnvID: "e1", Ret: "HDRS", Recipients: []spool.Recipient{
			{Address: "fwd@a.example", Notify: spool.NotifyNever, ORCPT: "rfc822;o@a.example"}, {Address: "copy@b.example"},
		}})
		b.wantSettled(msg, 1, 1)
		n := b.notices()
		if len(n) != 2 {
			t.Fatalf("%d new messages, want 2", len(n))
		}
		if n[0].Envelope.Recipients[0].Original != "fwd@a.example" {
			n[0], n[1] = n[1], n[0]
		}
		e := n[0].Envelope
		if e.Sender != "owner@example.com" || e.EnvID != "e1" || e.Ret != "HDRS" || e.Bounce || len(e.Recipients) != 2 ||
			e.Recipients[1] != (spool.Recipient{Address: "y@a.example", Original: "fwd@a.example", ORCPT: "rfc822;o@a.example", Notify: spool.NotifyNever}) {
			t.Errorf("envelope of the forward = %+v", e)
		}
		if text := b.text(n[0]); text != "Delivered-To: fwd@a.example\nSubject: test\n\nbody\n" {
			t.Errorf("text of the forward = %q", text)
		}
		for _, want := range []string{"status=sent (forwarded as " + n[0].ID + ")", "status=sent (delivered to maildir; forwarded as " + n[1].ID + ")"} {
			if len(b.logged(want)) != 1 {
				t.Errorf("log lacks %q", want)
			}
		}
		b.wantSettled(n[0], 1, 1)
		for _, c := range b.changes {
			if len(c.New) > 0 && len(c.Settle) != 1 {
				t.Error("a forward is written without the record of it")
			}
		}
	})
}

func TestAForwardOfWhatBounced(t *testing.T) {
	m := newMemory()
	m.agent = each(forwarding)
	run(t, m, defaults, func(b *bench) {
		msg := b.send("s@example.org", "part@a.example")
		b.wantSettled(msg, 1)
		n := b.notices()
		if len(n) != 2 || n[0].Envelope.Sender != "owner@example.com" || !n[1].Envelope.Bounce {
			t.Fatalf("new messages %v, want a forward and a notification", n)
		}
		if len(b.logged(": to=<part@a.example>")) != 1 {
			t.Errorf("log %q, want one line for the recipient", b.log())
		}
	})
}

func TestAForwardThatCannotBeMade(t *testing.T) {
	for _, test := range []struct {
		name       string
		recipients []string
		refuse     bool
	}{
		{"alone", []string{"fwd@a.example"}, false},
		{"beside others", []string{"good@a.example", "fwd@b.example", "late@c.example"}, false},
		{"not written", []string{"good@a.example", "fwd@b.example"}, true},
		{"in part", []string{"part@b.example"}, false},
		{"in part, not written", []string{"part@b.example"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newMemory()
			m.agent = each(forwarding)
			if test.refuse {
				m.refuse = func(c spool.Change) error {
					if len(c.New) > 0 {
						return spool.ErrFull
					}
					return nil
				}
			} else {
				m.noSubmit = errTable
			}
			run(t, m, defaults, func(b *bench) {
				msg := b.send("s@example.org", test.recipients...)
				for i, r := range test.recipients {
					want := 1
					if !strings.HasPrefix(r, "good") {
						want = 0
					}
					if got := b.settled[msg.ID][i]; got != want {
						t.Errorf("%s settled %d times, want %d", r, got, want)
					}
				}
				if list := b.list(); len(list) != 1 || list[0].State != Deferred {
					t.Fatalf("List() = %+v, want the message deferred", list)
				}
				m.mu.Lock()
				m.noSubmit, m.refuse = nil, nil
				m.mu.Unlock()
				b.q.Flush()
				synctest.Wait()
				for i, r := range test.recipients {
					if got := b.settled[msg.ID][i]; got != 1 && !strings.HasPrefix(r, "late") {
						t.Errorf("%s settled %d times at last, want once", r, got)
					}
				}
			})
		})
	}
}

func TestAForwardOfALostText(t *testing.T) {
	m := newMemory()
	m.agent = each(forwarding)
	run(t, m, defaults, func(b *bench) {
		msg := &spool.Message{Number: 0xABCDEF, ID: "000000ABCDEF", Envelope: envelopeTo("s@example.org", "fwd@a.example")}
		b.mu.Lock()
		b.adopt(msg)
		b.mu.Unlock()
		b.q.Add(msg)
		synctest.Wait()
		if lines := b.logged("dsn=4.3.0, status=deferred (cannot forward: mail system error)"); len(lines) != 1 {
			t.Errorf("log %q, want the recipient deferred", b.log())
		}
		b.wantSettled(msg, 0)
	})
}

// TestNoticesFailTogether: where one of two notifications cannot be made, none
// is, and the forward beside them goes all the same.
func TestNoticesFailTogether(t *testing.T) {
	m := newMemory()
	m.agent = each(forwarding)
	m.notFor = "postmaster@example.com"
	p := defaults
	p.BounceNotice = m.notFor
	run(t, m, p, func(b *bench) {
		msg := b.send("s@example.org", "bad@a.example", "fwd@a.example")
		b.wantSettled(msg, 0, 1)
		if n := b.notices(); len(n) != 1 || n[0].Envelope.Bounce {
			t.Errorf("new messages %v, want the forward alone", n)
		}
	})
}
