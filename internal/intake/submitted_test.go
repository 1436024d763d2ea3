package intake_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"postern/internal/address"
	"postern/internal/intake"
	"postern/internal/maildrop"
	"postern/internal/smtp"
	"postern/internal/spool"
)

func item(e maildrop.Envelope, text string) *maildrop.Item {
	return &maildrop.Item{Envelope: e, UID: 1001, Size: int64(len(text)), Text: strings.NewReader(text)}
}

func TestReadSubmitted(t *testing.T) {
	tests := []struct {
		name     string
		envelope maildrop.Envelope
		text     string
		want     string // recipients, or the error
	}{
		{"recipients", maildrop.Envelope{Recipients: []string{"a@a.test", "b"}}, "", "a@a.test b"},
		{"quoted", maildrop.Envelope{Recipients: []string{`"two words"@a.test`}}, "", "two words@a.test"},
		{"list in one argument", maildrop.Envelope{Recipients: []string{"a@a.test, B <b@b.test>"}}, "", "a@a.test b@b.test"},
		{"header is not asked", maildrop.Envelope{Recipients: []string{"a@a.test"}}, "To: b\n\n", "a@a.test"},
		{"-t", maildrop.Envelope{FromHeader: true}, "To: a@a.test, B <b@b.test>\nSubject: s\ncc: c@c.test\nBcc: d@d.test\n\nTo: body\n", "a@a.test b@b.test c@c.test d@d.test"},
		{"-t and arguments", maildrop.Envelope{FromHeader: true, Recipients: []string{"z@z.test"}}, "To: a@a.test\n\n", "z@z.test a@a.test"},
		{"-t folded", maildrop.Envelope{FromHeader: true}, "To: a@a.test,\n b@b.test\n\n", "a@a.test b@b.test"},
		{"-t resent", maildrop.Envelope{FromHeader: true}, "To: a@a.test\nResent-Cc: b@b.test\nResent-To: c@c.test\n\n", "b@b.test c@c.test"},
		{"-t group", maildrop.Envelope{FromHeader: true}, "To: friends: a@a.test, b@b.test;\n\n", "a@a.test b@b.test"},
		{"-t undisclosed", maildrop.Envelope{FromHeader: true}, "To: undisclosed-recipients:;\nBcc: a@a.test\n\n", "a@a.test"},
		{"-t nobody", maildrop.Envelope{FromHeader: true}, "Subject: s\n\nbody\n", ""},
		{"-t no header", maildrop.Envelope{FromHeader: true}, "", ""},
		{"bad recipient", maildrop.Envelope{Recipients: []string{"a\x01@b.test"}}, "", `recipient "a\x01@b.test": bad address syntax`},
		{"no recipient in an argument", maildrop.Envelope{Recipients: []string{","}}, "", `recipient ",": bad address syntax`},
		{"bad header", maildrop.Envelope{FromHeader: true}, "To: a\x01@b.test\n\n", "header To: "},
		{"bad sender", maildrop.Envelope{Sender: "a@b[c"}, "", `sender "a@b[c": `},
		{"bad notify", maildrop.Envelope{Notify: "SOMETIMES"}, "", `bad notify value "SOMETIMES"`},
		{"bad ret", maildrop.Envelope{Ret: "ALL"}, "", `bad ret value "ALL"`},
		{"bad notify of one", maildrop.Envelope{Recipients: []string{"a@a.test"}, DSN: []maildrop.DSN{{Notify: "NEVER,DELAY"}}}, "",
			`recipient "a@a.test": bad notify value "NEVER,DELAY"`},
		{"bad original recipient", maildrop.Envelope{Recipients: []string{"a@a.test"}, DSN: []maildrop.DSN{{ORCPT: "a@a.test"}}}, "",
			`recipient "a@a.test": bad original recipient "a@a.test"`},
		{"original recipient of two lines", maildrop.Envelope{Recipients: []string{"a@a.test"}, DSN: []maildrop.DSN{{ORCPT: "rfc822;a\nb"}}}, "",
			`recipient "a@a.test": bad original recipient "rfc822;a\nb"`},
		{"bad envelope id", maildrop.Envelope{EnvID: "a\nb"}, "", `bad envelope id "a\nb"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := intake.ReadSubmitted(item(tt.envelope, tt.text))
			if err != nil {
				if tt.want == "" || !strings.HasPrefix(err.Error(), tt.want) {
					t.Errorf("error %q, want %q", err, tt.want)
				}
				return
			}
			var got []string
			for _, r := range m.Recipients {
				if r.Original != r.Address.Internal() {
					t.Errorf("original %q of %q", r.Original, r.Address.Internal())
				}
				got = append(got, r.Address.Internal())
			}
			if text := strings.Join(got, " "); text != tt.want {
				t.Errorf("recipients %q, want %q", text, tt.want)
			}
			if text, err := io.ReadAll(m.Text); err != nil || string(text) != tt.text {
				t.Errorf("text %q, %v, want %q", text, err, tt.text)
			}
		})
	}
}

func TestSubmittedEnvelope(t *testing.T) {
	m, err := intake.ReadSubmitted(item(maildrop.Envelope{
		Sender: `"a b"@a.test`, FullName: "A B", Recipients: []string{"x@b.test"}, Notify: "DELAY,FAILURE", Ret: "HDRS", EnvID: "e",
	}, "hello\n"))
	if err != nil {
		t.Fatal(err)
	}
	if m.Sender != (address.Address{Local: "a b", Domain: "a.test"}) || m.FullName != "A B" || m.UID != 1001 || m.Size != 6 ||
		m.Params.Ret != "HDRS" || m.Params.EnvID != "e" || m.Recipients[0].Notify != uint8(smtp.NotifyDelay|smtp.NotifyFailure) {
		t.Errorf("%+v", m)
	}
}

// TestSubmittedWishes: what was asked for one recipient counts for that one, and
// for all that its argument names.
func TestSubmittedWishes(t *testing.T) {
	m, err := intake.ReadSubmitted(item(maildrop.Envelope{
		Recipients: []string{"a@a.test", "b@a.test, c@a.test", "d@a.test", "e@a.test"}, Notify: "FAILURE", EightBit: true, Verify: true, Report: true,
		DSN: []maildrop.DSN{{ORCPT: "rfc822;A@a.test"}, {Notify: "SUCCESS,DELAY"}, {Notify: "NEVER", ORCPT: "utf-8;d"}},
	}, ""))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range m.Recipients {
		got = append(got, fmt.Sprintf("%s %v %s", r.Address, smtp.Notify(r.Notify), r.ORCPT))
	}
	want := "a@a.test FAILURE rfc822;A@a.test|b@a.test SUCCESS,DELAY |c@a.test SUCCESS,DELAY |d@a.test NEVER utf-8;d|e@a.test FAILURE "
	if text := strings.Join(got, "|"); text != want {
		t.Errorf("recipients\n%s, want\n%s", text, want)
	}
	if m.Params.Body != "8BITMIME" || !m.Verify || !m.Report {
		t.Errorf("%+v", m)
	}
}

// FuzzReadSubmitted: whatever a user has written into the maildrop, what comes out
// can stand in a report.
func FuzzReadSubmitted(f *testing.F) {
	f.Add(`{"version":1,"sender":"a@b.test","recipients":["c@d.test"],"notify":"NEVER","envid":"x"}`, "To: e@f.test\n\n")
	f.Add(`{"recipients":["a, b"],"from_header":true,"dsn":[{"notify":"DELAY","orcpt":"rfc822;x"}],"verify":true}`, "Resent-To: <\n")
	f.Add(`{"recipients":["a"],"dsn":[{"orcpt":"rfc822;x\\ny"}],"ret":"FULL"}`, "")
	f.Fuzz(func(t *testing.T, line, text string) {
		var e maildrop.Envelope
		if json.Unmarshal([]byte(line), &e) != nil {
			return
		}
		m, err := intake.ReadSubmitted(item(e, text))
		if err != nil {
			return
		}
		for _, r := range m.Recipients {
			if strings.ContainsAny(r.ORCPT, "\r\n") {
				t.Errorf("original recipient %q", r.ORCPT)
			}
		}
		if strings.ContainsAny(m.Params.EnvID, "\r\n") || m.Params.Ret != "" && m.Params.Ret != "FULL" && m.Params.Ret != "HDRS" {
			t.Errorf("%+v", m.Params)
		}
		if got, err := io.ReadAll(m.Text); err != nil || string(got) != text {
			t.Errorf("text %q, %v", got, err)
		}
	})
}

func TestSubmittedCannotBeRead(t *testing.T) {
	broken := errors.New("input/output error")
	it := item(maildrop.Envelope{FromHeader: true}, "")
	it.Text = iotest.ErrReader(broken)
	if _, err := intake.ReadSubmitted(it); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

func TestPickup(t *testing.T) {
	w := newWorld(t, "virtual_alias_maps = inline:{john=y@c.test}\nmydestination = mx.example.test\nalways_bcc = all@d.test")
	m, err := intake.ReadSubmitted(item(maildrop.Envelope{Sender: "ann", FullName: "Ann", Recipients: []string{"john"}}, "Subject: s\nBcc: x\n\nbody\n"))
	if err != nil {
		t.Fatal(err)
	}
	if reply := w.in.Pickup(context.Background(), m); reply.Code != 250 {
		t.Fatal(reply)
	}
	got := w.messages()[0]
	if got.Envelope.Sender != "ann@mx.example.test" || addresses(got.Envelope) != "y@c.test all@d.test" {
		t.Errorf("envelope %+v", got.Envelope)
	}
	want := receivedHere + "Subject: s\nMessage-Id: <20261122205157.ID@mx.example.test>\nDate: Sun, 22 Nov 2026 20:51:57 +0000 (UTC)\n" +
		"From: Ann <ann@mx.example.test>\n\nbody\n"
	if text := text(t, got); text != want {
		t.Errorf("text\n%s\nwant\n%s", text, want)
	}
	if line := fmt.Sprintf("info: %s: uid=1001 from=<ann>", got.ID); !strings.Contains(w.Log.Lines(), line) {
		t.Errorf("log %q lacks %q", w.Log.Lines(), line)
	}
}

func TestPickupFails(t *testing.T) {
	submitted := func(text io.Reader, to ...string) intake.Submitted {
		return intake.Submitted{Recipients: rcpt(to...), Text: text}
	}
	tests := []struct {
		name, main string
		m          intake.Submitted
		spoil      func(*heldStore)
		want       string
	}{
		{"text cannot be read", "", submitted(iotest.ErrReader(errors.New("x")), "a@a.test"), nil, "451 4.3.0 Error: queue file write error"},
		{"nobody", "", submitted(strings.NewReader("")), nil, "550 5.1.0 Error: no recipients specified"},
		{"hops", "hopcount_limit = 2", submitted(strings.NewReader("Received: x\n\n"), "a@a.test"), nil, "554 5.4.0 Error: too many hops"},
		{"table fails", "virtual_alias_maps = fail:x", submitted(strings.NewReader(""), "a@a.test"), nil, "451 4.3.0 Error: queue file write error"},
		{"full", "", submitted(strings.NewReader(""), "a@a.test"), func(s *heldStore) { s.full = spool.ErrFull }, "452 4.3.1 Insufficient system storage"},
	}
	for _, tt := range tests {
		w := newWorld(t, tt.main)
		if tt.spoil != nil {
			tt.spoil(w.store)
		}
		if reply := w.in.Pickup(context.Background(), tt.m); reply.String() != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, reply, tt.want)
		}
		if len(w.store.held) != 0 {
			t.Errorf("%s: a message was kept", tt.name)
		}
	}
}

func TestInternal(t *testing.T) {
	w := newWorld(t, `virtual_alias_maps = inline:{x@b.test=y@c.test}
always_bcc = all@d.test
recipient_bcc_maps = static:all@d.test
`)
	const here = "Received: by mx.example.test (Postern)\n\tid ID; Sun, 22 Nov 2026 20:51:57 +0000 (UTC)\n"
	const completed = "Message-Id: <20261122205157.ID@mx.example.test>\nDate: Sun, 22 Nov 2026 20:51:57 +0000 (UTC)\n"
	tests := []struct {
		name     string
		envelope spool.Envelope
		in, want string
	}{
		{"forward", spool.Envelope{Sender: "a@a.test", Recipients: []spool.Recipient{{Address: "x@b.test"}}},
			"Delivered-To: f@e.test\nFrom: a\n\nbody\n", "Delivered-To: f@e.test\nFrom: a\n\nbody\n"},
		{"notification", spool.Envelope{Bounce: true, Recipients: []spool.Recipient{{Address: "x@b.test"}}},
			"From: MAILER-DAEMON\nTo: x@b.test\n\nbody\n", "From: MAILER-DAEMON\nTo: x@b.test\n" + completed + "\nbody\n"},
		{"anew", spool.Envelope{Sender: "a@a.test", Arrival: arrival.Add(-time.Hour), Recipients: []spool.Recipient{{Address: "x@b.test"}}},
			"From: a\n\nbody\n", "From: a\n\nbody\n"},
	}
	for _, tt := range tests {
		since := arrival
		if !tt.envelope.Arrival.IsZero() {
			since = tt.envelope.Arrival
		}
		made, err := w.in.Internal(context.Background(), tt.envelope, strings.NewReader(tt.in), int64(len(tt.in)))
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if len(w.store.held) != 0 {
			t.Errorf("%s: committed by Internal", tt.name)
		}
		w.store.held = []spool.New{made}
		m := w.messages()[0]
		if got := text(t, m); got != here+tt.want {
			t.Errorf("%s: text %q, want %q", tt.name, got, here+tt.want)
		}
		if got := addresses(m.Envelope); got != "y@c.test" || m.Envelope.Bounce != tt.envelope.Bounce || !m.Envelope.Arrival.Equal(since) {
			t.Errorf("%s: envelope %+v", tt.name, m.Envelope)
		}
	}
}

// brokenText fails while it is written.
type brokenText struct{}

var errText = errors.New("no text")

func (brokenText) WriteTo(io.Writer) (int64, error) { return 0, errText }

func TestInternalFails(t *testing.T) {
	ctx := context.Background()
	to := spool.Envelope{Recipients: []spool.Recipient{{Address: "x@b.test"}}}
	w := newWorld(t, "")
	if _, err := w.in.Internal(ctx, to, brokenText{}, 0); !errors.Is(err, errText) {
		t.Errorf("no text: %v", err)
	}
	w.store.full = spool.ErrFull
	if _, err := w.in.Internal(ctx, to, strings.NewReader("x"), 0); err == nil {
		t.Error("full: no error")
	}
	w = newWorld(t, "virtual_alias_maps = fail:x")
	if _, err := w.in.Internal(ctx, to, strings.NewReader("x"), 0); err == nil {
		t.Error("table fails: no error")
	}
}
