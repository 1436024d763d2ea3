package intake_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"postern/internal/access"
	"postern/internal/address"
	"postern/internal/intake"
	"postern/internal/smtp"
	"postern/internal/spool"
)

func TestHops(t *testing.T) {
	const hop = "received: x\n"
	for _, tt := range []struct {
		main string
		n    int
		want int
	}{
		{"hopcount_limit = 3", 1, 250},
		{"hopcount_limit = 3", 2, 554},
		{"", 48, 250},
		{"", 49, 554},
	} {
		w := newWorld(t, tt.main)
		reply := w.take(fromNetwork(), envelope(), strings.Repeat(hop, tt.n)+"\nReceived: in the body\n")
		if reply.Code != tt.want {
			t.Errorf("%q, %d hops: %s, want %d", tt.main, tt.n, reply, tt.want)
		}
		if tt.want == 554 && (reply.String() != "554 5.4.0 Error: too many hops" || len(w.store.held) != 0) {
			t.Errorf("%d hops: %s, %d messages", tt.n, reply, len(w.store.held))
		}
	}
}

func TestMessageID(t *testing.T) {
	w := newWorld(t, "header_size_limit = 200")
	for in, want := range map[string]string{
		"Message-Id: <m@a>\nMessage-Id: <second>\n\n":              "<m@a>",
		"MESSAGE-ID:\n <m@a>\n\n":                                  "<m@a>",
		"From: a\n\nMessage-Id: <body>\n":                          "",
		"Message-Id: <" + strings.Repeat("m", 300) + ">\n\nbody\n": "",
	} {
		w.take(fromNetwork(), envelope(), in)
		m := w.messages()[0]
		if m.Envelope.MessageID != want {
			t.Errorf("%q: Message-Id %q, want %q", in, m.Envelope.MessageID, want)
		}
		shown := want
		if shown == "" {
			shown = "<>"
		}
		if line := m.ID + ": message-id=" + shown; !strings.Contains(w.Log.Lines(), line) {
			t.Errorf("log %q lacks %q", w.Log.Lines(), line)
		}
	}
}

func TestEnvelope(t *testing.T) {
	w := newWorld(t, `virtual_alias_maps = inline:{ {x@b.test=y@c.test z@c.test} }
canonical_maps = inline:{a@a.test=b@a.test}
always_bcc = copy@d.test
`)
	env := envelope()
	env.Recipients[0].Notify, env.Recipients[0].ORCPT = uint8(spool.NotifyDelay), "rfc822;o@o.test"
	env.Params = smtp.MailParams{Body: "8BITMIME", SMTPUTF8: true, EnvID: "e", Ret: "HDRS"}
	if reply := w.take(fromNetwork(), env, "From: a\n\nbody\n"); reply.Code != 250 {
		t.Fatal(reply)
	}
	e := w.messages()[0].Envelope
	if e.Sender != "b@a.test" || !e.SMTPUTF8 || !e.EightBit || e.EnvID != "e" || e.Ret != "HDRS" || !e.Arrival.Equal(arrival) || e.Bounce {
		t.Errorf("envelope %+v", e)
	}
	want := []spool.Recipient{
		{Address: "y@c.test", Original: "x@b.test", ORCPT: "rfc822;o@o.test", Notify: spool.NotifyDelay},
		{Address: "z@c.test", Original: "x@b.test", ORCPT: "rfc822;o@o.test", Notify: spool.NotifyDelay},
		{Address: "copy@d.test", Original: "copy@d.test", ORCPT: "rfc822;copy@d.test", Notify: spool.NotifyNever},
	}
	if len(e.Recipients) != len(want) {
		t.Fatalf("recipients %+v", e.Recipients)
	}
	for i, r := range e.Recipients {
		if r != want[i] {
			t.Errorf("recipient %d: %+v, want %+v", i, r, want[i])
		}
	}
}

func TestNoAddressMappings(t *testing.T) {
	w := newWorld(t, `receive_override_options = no_address_mappings
virtual_alias_maps = fail:x
canonical_maps = fail:x
always_bcc = copy@d.test
`)
	env := envelope()
	env.Sender, env.Recipients = address.Split("a"), rcpt("x", "x", "y@b.test")
	if reply := w.take(fromNetwork(), env, "From: a\n\nbody\n"); reply.Code != 250 {
		t.Fatal(reply)
	}
	e := w.messages()[0].Envelope
	if got := addresses(e); e.Sender != "a@mx.example.test" || got != "x@mx.example.test y@b.test" {
		t.Errorf("from %s to %s", e.Sender, got)
	}
}

func addresses(e spool.Envelope) string {
	var out []string
	for _, r := range e.Recipients {
		out = append(out, r.Address)
	}
	return strings.Join(out, " ")
}

func TestActions(t *testing.T) {
	act := func(verb, text string) access.Action { return access.Action{Verb: verb, Text: text} }
	tests := []struct {
		actions []access.Action
		want    string
	}{
		{nil, "x@b.test"},
		{[]access.Action{act("REDIRECT", "r@r.test")}, "r@r.test"},
		{[]access.Action{act("BCC", "c@c.test")}, "x@b.test c@c.test"},
		{[]access.Action{act("BCC", "c@c.test"), act("BCC", "x@b.test")}, "x@b.test c@c.test x@b.test"},
		{[]access.Action{act("REDIRECT", "r@r.test"), act("REDIRECT", "s@s.test")}, "s@s.test"},
		{[]access.Action{act("PREPEND", "X: y")}, "x@b.test"},
		{[]access.Action{act("BCC", "alias@b.test")}, "x@b.test other@c.test"},
		{[]access.Action{act("DISCARD", "")}, "nothing"},
		{[]access.Action{act("BCC", "c@c.test"), act("DISCARD", "why")}, "nothing"},
	}
	w := newWorld(t, "virtual_alias_maps = inline:{alias@b.test=other@c.test}")
	for _, tt := range tests {
		if reply := w.take(fromNetwork(), envelope(tt.actions...), "From: a\n\nbody\n"); reply.Code != 250 {
			t.Fatal(reply)
		}
		got := "nothing"
		if list := w.messages(); len(list) > 0 {
			got = addresses(list[0].Envelope)
		}
		if got != tt.want {
			t.Errorf("%v: to %s, want %s", tt.actions, got, tt.want)
		}
	}
}

func TestRefused(t *testing.T) {
	tests := []struct{ name, main, want string }{
		{"loop", "virtual_alias_maps = inline:{x@b.test=y@b.test, y@b.test=x@b.test}", "451 4.6.0 Alias expansion error"},
		{"table fails", "virtual_alias_maps = fail:x", "451 4.3.0 Error: queue file write error"},
		{"sender's table fails", "sender_canonical_maps = fail:x", "451 4.3.0 Error: queue file write error"},
	}
	for _, tt := range tests {
		w := newWorld(t, tt.main)
		if reply := w.take(fromNetwork(), envelope(), "From: a\n\nbody\n"); reply.String() != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, reply, tt.want)
		}
		if len(w.store.held) != 0 {
			t.Errorf("%s: a message was kept", tt.name)
		}
		if !strings.Contains(w.Log.Lines(), "message not accepted, try again later") {
			t.Errorf("%s: log %q", tt.name, w.Log.Lines())
		}
	}
	t.Run("nobody", func(t *testing.T) {
		w := newWorld(t, "")
		if reply := w.take(fromNetwork(), intake.Envelope{}, "From: a\n\nbody\n"); reply.String() != "550 5.1.0 Error: no recipients specified" {
			t.Error(reply)
		}
	})
}

func TestStoreFails(t *testing.T) {
	const ill, full = "451 4.3.0 Error: queue file write error", "452 4.3.1 Insufficient system storage"
	broken := errors.New("input/output error")
	tests := []struct {
		name  string
		spoil func(*heldStore)
		want  string
	}{
		{"ill", func(s *heldStore) { s.ill = broken }, ill},
		{"full at the start", func(s *heldStore) { s.full = spool.ErrFull }, full},
		{"broken at the start", func(s *heldStore) { s.full = broken }, ill},
		{"full at the end", func(s *heldStore) { s.broken = spool.ErrFull }, full},
		{"broken at the end", func(s *heldStore) { s.broken = broken }, ill},
	}
	for _, tt := range tests {
		w := newWorld(t, "")
		tt.spoil(w.store)
		if reply := w.take(fromNetwork(), envelope(), "From: a\n\nbody\n"); reply.String() != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, reply, tt.want)
		}
	}
	t.Run("write after the end of the draft", func(t *testing.T) {
		w := newWorld(t, "")
		letter, _ := w.in.Begin(0)
		letter.Start(fromNetwork())
		letter.Abort() // from now on every write fails
		if _, err := letter.Write([]byte("From: a\n\nbody\n")); err == nil {
			t.Error("Write succeeded")
		}
		if reply := letter.Commit(context.Background(), envelope()); reply.String() != ill {
			t.Errorf("reply %s", reply)
		}
	})
}

// TestAdded: every message is announced once it is stored.
func TestAdded(t *testing.T) {
	w := newWorld(t, "")
	var added []string
	in := intake.New(intake.Options{Settings: w.Settings, Router: w.Router, Store: w.store.Spool, Log: w.Log, PickupLog: w.Log,
		Added: func(m *spool.Message) { added = append(added, m.ID) }})
	letter, reply := in.Begin(10)
	if !reply.IsZero() {
		t.Fatal(reply)
	}
	letter.Start(fromNetwork())
	io.WriteString(letter, "From: a\n\nbody\n")
	if reply := letter.Commit(context.Background(), envelope()); reply.Code != 250 {
		t.Fatal(reply)
	}
	if len(added) != 1 || added[0] != letter.ID() {
		t.Errorf("added %v, want %s", added, letter.ID())
	}
}
