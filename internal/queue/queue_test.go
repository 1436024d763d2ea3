package queue

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/deliver"
	"postern/internal/spool"
)

func TestLogOfADelivery(t *testing.T) {
	m := newMemory()
	m.agent = func(_ context.Context, r *deliver.Request) []deliver.Status {
		time.Sleep(30 * time.Millisecond)
		s := sent
		s.Setup = 10 * time.Millisecond
		s.ConnUse = 2
		return []deliver.Status{s}
	}
	run(t, m, defaults, func(b *bench) {
		msg := b.sendEnvelope(spool.Envelope{
			Sender: "two words@example.org", Arrival: time.Now().Add(-1230 * time.Millisecond),
			Recipients: []spool.Recipient{{Address: "john@example.com", Original: "all@example.com"}},
		})
		time.Sleep(time.Second)
		want := []string{
			`qmgr: 000000000001: from=<"two words"@example.org>, size=20, nrcpt=1 (queue active)`,
			`virtual: 000000000001: to=<john@example.com>, orig_to=<all@example.com>, relay=virtual, conn_use=2, delay=1.3, delays=1.2/0/0.01/0.02, dsn=2.0.0, status=sent (delivered to maildir)`,
			`qmgr: 000000000001: removed`,
		}
		if diff := cmp.Diff(want, b.log()); diff != "" {
			b.Errorf("log (-want +got):\n%s", diff)
		}
		b.wantSettled(msg, 1)
		if left := b.list(); len(left) != 0 {
			b.Errorf("List() = %v after delivery, want nothing", left)
		}
	})
}

func TestHostileTextStaysOnItsLine(t *testing.T) {
	m := newMemory()
	m.agent = each(func(deliver.Recipient) deliver.Status {
		s := sent
		s.Reason = "250 ok\nJan  1 00:00:00 host postfix/qmgr[1]: forged\x1b[2J"
		return s
	})
	run(t, m, defaults, func(b *bench) {
		b.send("a\nb@example.org", "c\rd@example.com")
		for _, line := range b.log() {
			if strings.ContainsAny(line, "\r\n\x1b") {
				b.Errorf("log line %q holds control characters", line)
			}
		}
	})
}

func TestNextTries(t *testing.T) {
	m := newMemory()
	var tries []time.Duration
	begin := time.Time{}
	m.agent = each(func(deliver.Recipient) deliver.Status {
		tries = append(tries, time.Since(begin).Round(time.Second))
		return late
	})
	run(t, m, defaults, func(b *bench) {
		begin = time.Now()
		msg := b.send("s@example.org", "x@example.com")
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		want := []time.Duration{0, 300, 600, 1200, 2400, 4800, 8800, 12800, 16800}
		for i := range want {
			want[i] *= time.Second
		}
		if diff := cmp.Diff(want, tries); diff != "" {
			b.Errorf("tries (-want +got):\n%s", diff)
		}
		p := b.postpone[msg.ID]
		if p.Attempts != len(want) || !p.Next.Equal(begin.Add(20800*time.Second)) ||
			!slices.Equal(p.Deferrals, []spool.Deferral{{Index: 0, Status: "4.2.0", Reason: "try later"}}) {
			b.Errorf("stored postponement = %+v", p)
		}
		e := b.list()[0]
		if e.State != Deferred || e.Attempts != 9 || e.Recipients[0].Reason != "try later" || e.Recipients[0].Status != "4.2.0" || !e.Next.Equal(p.Next) {
			b.Errorf("List() = %+v", e)
		}
	})
}

// TestEachAtItsTime has messages that are due one after the other, with nothing
// else going on that would make the clock look.
func TestEachAtItsTime(t *testing.T) {
	m := newMemory()
	tries := map[string][]time.Duration{}
	var begin time.Time
	m.agent = each(func(r deliver.Recipient) deliver.Status {
		tries[r.Address] = append(tries[r.Address], time.Since(begin).Round(time.Second))
		return late
	})
	run(t, m, defaults, func(b *bench) {
		begin = time.Now()
		want := map[string][]time.Duration{}
		for i := range 20 {
			to := fmt.Sprintf("x@d%d.example", i)
			at := time.Duration(i) * 7 * time.Second
			want[to] = []time.Duration{at, at + 300*time.Second, at + 600*time.Second}
			b.send("s@example.org", to)
			time.Sleep(7 * time.Second)
		}
		time.Sleep(900*time.Second - time.Since(begin))
		synctest.Wait()
		if diff := cmp.Diff(want, tries); diff != "" {
			b.Errorf("tries (-want +got):\n%s", diff)
		}
	})
}

func TestExpiry(t *testing.T) {
	for _, test := range []struct {
		name     string
		sender   string
		lifetime time.Duration
		bounce   time.Duration
		wait     time.Duration
		reports  int
	}{
		{"after its lifetime", "s@example.org", 24 * time.Hour, time.Hour, 27 * time.Hour, 1},
		{"not before", "s@example.org", 24 * time.Hour, time.Hour, 23 * time.Hour, 0},
		{"one try", "s@example.org", 0, time.Hour, 0, 1},
		{"null sender is told to nobody", "", 24 * time.Hour, time.Hour, 3 * time.Hour, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := defaults
			p.MaximalLifetime, p.BounceLifetime = test.lifetime, test.bounce
			run(t, newMemory(), p, func(b *bench) {
				msg := b.send(test.sender, "late@example.com", "good@example.com")
				time.Sleep(test.wait)
				synctest.Wait()
				notices := b.notices()
				if len(notices) != test.reports {
					b.Fatalf("%d notifications, want %d", len(notices), test.reports)
				}
				expired := test.wait > test.lifetime || test.lifetime == 0 || test.sender == "" && test.wait > test.bounce
				if got := b.logged(msg.ID + ": from=<" + test.sender + ">, status=expired, returned to sender"); (len(got) == 1) != expired {
					b.Errorf("expired lines %q, want one: %v", got, expired)
				}
				if expired {
					b.wantSettled(msg, 1, 1)
				} else {
					b.wantSettled(msg, 0, 1)
				}
				if test.reports == 0 {
					return
				}
				if text := b.text(notices[0]); !strings.Contains(text, "Status: 4.2.0\n") || !strings.Contains(text, "Action: failed\n") || !strings.Contains(text, "try later") {
					b.Errorf("report lacks the last reason:\n%s", text)
				}
			})
		})
	}
}

func TestRecovery(t *testing.T) {
	m := newMemory()
	attempts := make(chan [2]int, 10)
	m.agent = each(func(r deliver.Recipient) deliver.Status {
		attempts <- [2]int{r.Index, r.Attempt}
		return sent
	})
	synctest.Test(t, func(t *testing.T) {
		envelope := func() spool.Envelope {
			return spool.Envelope{Sender: "s@example.org", Arrival: time.Now(), Recipients: []spool.Recipient{
				{Address: "a@example.com"}, {Address: "b@example.com"},
			}}
		}
		untried, done := m.put(envelope(), nil), m.put(envelope(), nil)
		m.states[untried.Number].Done[0] = true
		*m.states[done.Number] = spool.Pending{Message: done, Done: []bool{false, true}, Attempts: 3, Next: time.Now().Add(time.Hour),
			Deferrals: []spool.Deferral{{Index: 0, Status: "4.4.1", Reason: "was down"}}}
		q := New(m.options(defaults))
		if list := listed(t, q, Filter{}); len(list) != 2 || list[1].Recipients[0].Reason != "was down" || list[0].Recipients[0].Address != "b@example.com" {
			t.Errorf("List() before Run = %+v", list)
		}
		ctx, cancel := context.WithCancel(t.Context())
		q.Add(untried) // known already, and not delivered yet
		go q.Run(ctx)
		synctest.Wait()
		if got, want := <-attempts, [2]int{1, 1}; got != want {
			t.Errorf("index and attempt of the first delivery = %v, want %v", got, want)
		}
		if len(attempts) != 0 {
			t.Error("a message was tried before its time")
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if got, want := <-attempts, [2]int{0, 3}; got != want {
			t.Errorf("index and attempt of the second delivery = %v, want %v", got, want)
		}
		cancel()
		synctest.Wait()
	})
}

func TestUnroutable(t *testing.T) {
	m := newMemory()
	m.route = func(_, rcpt string) (Routed, error) {
		switch {
		case strings.HasPrefix(rcpt, "table"):
			return Routed{}, fmt.Errorf("transport_maps: %w", errTable)
		case strings.HasPrefix(rcpt, "syntax"):
			return Routed{}, errSyntax
		case strings.HasPrefix(rcpt, "nowhere"):
			return Routed{Transport: "nowhere", NextHop: "x"}, nil
		}
		return Routed{Transport: "virtual", NextHop: "x", Address: "new@example.com"}, nil
	}
	run(t, m, defaults, func(b *bench) {
		msg := b.send("s@example.org", "table@x.example", "syntax@x.example", "nowhere@x.example", "old@x.example")
		for _, want := range []string{
			"error: " + msg.ID + ": to=<table@x.example>, relay=none, delay=0, delays=0/0/0/0, dsn=4.3.0, status=deferred (address resolver failure)",
			"error: " + msg.ID + ": to=<syntax@x.example>, relay=none, delay=0, delays=0/0/0/0, dsn=5.1.3, status=bounced (bad address syntax)",
			"error: " + msg.ID + ": to=<nowhere@x.example>, relay=none, delay=0, delays=0/0/0/0, dsn=4.3.0, status=deferred (mail transport unavailable)",
			"virtual: " + msg.ID + ": to=<new@example.com>, relay=virtual, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (delivered to maildir)",
			"qmgr: warning: " + msg.ID + ": transport_maps: table is down",
			"qmgr: warning: transport nowhere is not in master.cf",
		} {
			if len(b.logged(want)) != 1 {
				b.Errorf("log lacks %q", want)
			}
		}
		b.wantSettled(msg, 0, 1, 0, 1)
		if p := b.postpone[msg.ID]; len(p.Deferrals) != 2 {
			b.Errorf("deferrals = %v, want those of recipients 0 and 2", p.Deferrals)
		}
	})
}

func TestFlush(t *testing.T) {
	m := newMemory()
	tries := make(chan string, 10)
	m.agent = each(func(r deliver.Recipient) deliver.Status {
		tries <- r.Address
		return late
	})
	run(t, m, defaults, func(b *bench) {
		one := b.send("s@example.org", "a@One.example")
		b.send("s@example.org", "b@two.example")
		expect := func(what string, want ...string) {
			b.Helper()
			synctest.Wait()
			var tried []string
			for len(tries) > 0 {
				tried = append(tried, <-tries)
			}
			slices.Sort(tried)
			if !slices.Equal(tried, want) {
				b.Errorf("after %s tried %q, want %q", what, tried, want)
			}
		}
		expect("arrival", "a@One.example", "b@two.example")
		b.q.Flush()
		expect("Flush", "a@One.example", "b@two.example")
		b.q.FlushDestination("one.EXAMPLE")
		expect("FlushDestination", "a@One.example")
		b.q.FlushDestination("example")
		expect("FlushDestination of a parent")
		if !b.q.FlushMessage(one.ID) || b.q.FlushMessage("FFF") {
			b.Error("FlushMessage does not know its messages")
		}
		expect("FlushMessage", "a@One.example")
	})
}

func TestAMessageWithNothingToDo(t *testing.T) {
	run(t, newMemory(), defaults, func(b *bench) {
		b.send("s@example.org")
		if list := b.list(); len(list) != 0 {
			b.Errorf("List() = %v, want nothing", list)
		}
	})
}

func TestAnAgentThatForgetsRecipients(t *testing.T) {
	m := newMemory()
	m.agent = func(_ context.Context, r *deliver.Request) []deliver.Status { return []deliver.Status{sent} }
	run(t, m, defaults, func(b *bench) {
		msg := b.send("s@example.org", "a@example.com", "b@example.com")
		b.wantSettled(msg, 1, 0)
		if d := b.postpone[msg.ID].Deferrals; len(d) != 1 || d[0].Reason != "unknown mail transport error" {
			b.Errorf("deferrals = %v", d)
		}
	})
}

func TestAppendDelay(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0", -time.Second: "0", 4 * time.Millisecond: "0", 5 * time.Millisecond: "0.01",
		20 * time.Millisecond: "0.02", 100 * time.Millisecond: "0.1", 123 * time.Millisecond: "0.12",
		994 * time.Millisecond: "0.99", 996 * time.Millisecond: "1", 1249 * time.Millisecond: "1.2",
		9949 * time.Millisecond: "9.9", 9950 * time.Millisecond: "10", 12499 * time.Millisecond: "12",
		300 * time.Second: "300", 101 * time.Second: "101",
	} {
		if got := string(appendDelay(nil, d, 2)); got != want {
			t.Errorf("appendDelay(%v, 2) = %q, want %q", d, got, want)
		}
	}
	for _, test := range []struct {
		us       int
		decimals int
		want     string
	}{
		{1234, 6, "0.0012"}, {1234, 3, "0.001"}, {1264, 4, "0.0013"}, {12345, 3, "0.012"}, {3, 6, "0.000003"},
		{12, 6, "0.000012"}, {123, 6, "0.00012"}, {999999, 6, "1"}, {1050000, 6, "1.1"}, {1050000, 0, "1"},
		{400000, 0, "0"}, {600000, 0, "1"}, {99600, 6, "0.1"}, {12345678, 6, "12"}, {99, 1, "0"}, {1, 9, "0.000001"},
	} {
		if got := string(appendDelay(nil, time.Duration(test.us)*time.Microsecond, test.decimals)); got != test.want {
			t.Errorf("appendDelay(%d us, %d) = %q, want %q", test.us, test.decimals, got, test.want)
		}
	}
}
