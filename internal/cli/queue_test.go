package cli

import (
	"bufio"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/control/mailq"
)

func TestQueueTable(t *testing.T) {
	now := arrival.Add(3 * time.Hour)
	next := now.Add(10 * time.Minute)
	list := entries()
	list[2].Next, list[2].Attempts = &next, 4
	list[1].Recipients = nil
	list[1].Error = "damaged"
	for _, test := range []struct {
		aligned bool
		want    string
	}{
		{false, "4jXv0V5v46z1SRwP\thold\t10800\t317\t0\t\t\"we ird\"@one.test\tq@far.test\t1\tconnect to 127.0.0.1[127.0.0.1]:9: Connection refused\n" +
			"4jXv0V5sbbz1SRwN\tdeferred\t10800\t9304\t0\t\t<>\t\t0\tdamaged\n" +
			"4jXv0V5r9Mz1SRwC\tactive\t10800\t315\t4\t600\ta@one.test\tx@far.test\t2\tconnect to 127.0.0.1[127.0.0.1]:9: Connection refused\n"},
		{true, "ID            STATE       AGE    SIZE  TRIES    NEXT  SENDER                        RECIPIENT                     REASON\n" +
			"4jXv0V5v46z1SRwP  hold         3h    317B      0          \"we ird\"@one.test             q@far.test                    connect to 127.0.0.1[127.0.0.1]:9: Connection refused\n" +
			"4jXv0V5sbbz1SRwN  deferred     3h   9304B      0          <>                                                          damaged\n" +
			"4jXv0V5r9Mz1SRwC  active       3h    315B      4     10m  a@one.test                    x@far.test +1                 connect to 127.0.0.1[127.0.0.1]:9: Connection refused\n"},
	} {
		var b strings.Builder
		table := &queueTable{w: &b, aligned: test.aligned, now: now}
		for i := range list {
			if err := table.row(&list[i]); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(test.want, b.String()); diff != "" {
			t.Errorf("aligned %t (-want +got):\n%s", test.aligned, diff)
		}
	}
}

func TestShowWhy(t *testing.T) {
	now := arrival.Add(time.Hour)
	later := now.Add(5 * time.Minute)
	y := mailq.Why{
		Entry: entries()[2], Sentence: "1 try failed", Recipient: "x@far.test", Status: "4.4.1", Reason: "refused\x1b",
		Transport: "smtp", NextHop: "far.test", Next: &later, DeadUntil: &later, Busy: 2, Window: 2, Ahead: 7, Advice: "Wait.",
	}
	want := `4jXv0V5r9Mz1SRwC: 1 try failed.
  recipient  x@far.test
  said       4.4.1 refused?
  goes by    smtp to far.test
  dead       the destination is not tried until ` + later.Format(time.RFC1123Z) + ` (in 5m)
  busy       2 deliveries to the destination are under way, as many as there may be
  ahead      7 messages wait for the same destination
  next try   ` + later.Format(time.RFC1123Z) + ` (in 5m)
  to do      Wait.
`
	var b strings.Builder
	showWhy(&b, &y, now)
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("why (-want +got):\n%s", diff)
	}
}

func TestShowEntry(t *testing.T) {
	now := arrival.Add(time.Hour)
	next := now.Add(-time.Second)
	e := entries()[1]
	e.Next, e.Warned, e.Done, e.Attempts = &next, true, 2, 3
	e.Recipients[0].Original, e.Recipients[0].Status = "w@old.test", "4.4.1"
	want := `id           4jXv0V5sbbz1SRwN
state        deferred
sender       <>
size         9304 octets
arrived      ` + arrival.Format(time.RFC1123Z) + ` (60m ago)
tries        3
next try     ` + next.Format(time.RFC1123Z) + ` (now)
expired      by order: it goes back with the next try that fails
warned       the sender was told of the delay
done         2 recipients
recipient    z@other.test (was w@old.test)
               4.4.1 connect to 127.0.0.1[127.0.0.1]:9: Connection refused
`
	var b strings.Builder
	showEntry(&b, &e, now)
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("show (-want +got):\n%s", diff)
	}
}

func TestParseAge(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": 0, "90": 90 * time.Second, "90s": 90 * time.Second, "30m": 30 * time.Minute, "2H": 2 * time.Hour, "3d": 72 * time.Hour, "1w": 168 * time.Hour,
	} {
		if got, err := parseAge(text); err != nil || got != want {
			t.Errorf("parseAge(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"d", "-1d", "1y", "1.5h", "99999999999", "2147483647w", " 1d"} {
		if got, err := parseAge(text); err == nil {
			t.Errorf("parseAge(%q) = %v, want an error", text, got)
		}
	}
}

func TestWords(t *testing.T) {
	for s, want := range map[string]bool{"4jXv0V5v46z1SRwP": true, "ABC123": true, "": false, "a/b": false, "A B": false, "ä": false, strings.Repeat("A", 101): false} {
		if got := idLike(s); got != want {
			t.Errorf("idLike(%q) = %t", s, got)
		}
	}
	for s, want := range map[string]bool{"far.test": true, "[far.test]": true, "[192.0.2.1]": true, "[2001:db8::1]": true, "bücher.example": true,
		"": false, "bad_/x": false, "[": false, "[]": false, "[far.test": false, ".test": false, "-x": false} {
		if got := siteLike(s); got != want {
			t.Errorf("siteLike(%q) = %t", s, got)
		}
	}
	for d, want := range map[time.Duration]string{-1: "0s", time.Minute: "60s", time.Hour: "60m", 3 * time.Hour: "3h", 72 * time.Hour: "3d"} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %q, want %q", d, got, want)
		}
	}
	if got := clip("äöüß", 3); got != "äö…" {
		t.Errorf("clip = %q", got)
	}
	for n, want := range map[int64]string{9000: "9000B", 20 << 10: "20K", 30 << 20: "30M"} {
		if got := octets(n); got != want {
			t.Errorf("octets(%d) = %q, want %q", n, got, want)
		}
	}
}

// TestPostcatText: header and body are told apart wherever the text is cut.
func TestPostcatText(t *testing.T) {
	const text = "Subject: hi\n\tthere\nX-A : b\n\nbody: not a field\nlast"
	const noBlank = "Subject: hi\nno field here\nmore: x\n"
	for _, test := range []struct {
		text         string
		header, body bool
		want         string
	}{
		{text, true, true, text + "\n"},
		{text, true, false, "Subject: hi\n\tthere\nX-A : b\n"},
		{text, false, true, "\nbody: not a field\nlast\n"},
		{noBlank, true, false, "Subject: hi\n"},
		{noBlank, false, true, "no field here\nmore: x\n"},
		{"Subject: no end", true, false, "Subject: no end\n"},
		{"", true, true, ""},
	} {
		for cut := 1; cut <= len(test.text)+1; cut++ {
			var b strings.Builder
			tool := &postcatTool{header: test.header, body: test.body, w: bufio.NewWriter(&b)}
			x := &messageText{tool: tool, header: true}
			for rest := []byte(test.text); len(rest) > 0; rest = rest[min(cut, len(rest)):] {
				if err := x.write(rest[:min(cut, len(rest))]); err != nil {
					t.Fatal(err)
				}
			}
			if err := x.end(); err != nil {
				t.Fatal(err)
			}
			tool.w.Flush()
			if b.String() != test.want {
				t.Errorf("%q in pieces of %d, header %t, body %t = %q, want %q", test.text, cut, test.header, test.body, b.String(), test.want)
			}
		}
	}
}
