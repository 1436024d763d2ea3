package intake_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/access"
	"postern/internal/address"
	"postern/internal/header"
	"postern/internal/intake"
	"postern/internal/route"
	"postern/internal/route/routetest"
	"postern/internal/smtp"
	"postern/internal/spool"
)

// arrival is the time of every message.
var arrival = time.Date(2026, 11, 22, 20, 51, 57, 0, time.UTC)

// heldStore is a spool that keeps commits back, so that one sync does for many
// messages, and that fails when it is told to.
type heldStore struct {
	*spool.Spool
	held              []spool.New
	ill, full, broken error // of Err, Create and Commit
	narrow            error // of Room
}

func (s *heldStore) Room() error { return s.narrow }

func (s *heldStore) Err() error {
	if s.ill != nil {
		return s.ill
	}
	return s.Spool.Err()
}

func (s *heldStore) Create(hint int64) (*spool.Draft, error) {
	if s.full != nil {
		return nil, s.full
	}
	return s.Spool.Create(hint)
}

func (s *heldStore) Commit(_ context.Context, c spool.Change) ([]*spool.Message, error) {
	if s.broken != nil {
		return nil, s.broken
	}
	s.held = append(s.held, c.New...)
	return nil, nil
}

// world is an intake with the spool behind it.
type world struct {
	*routetest.World
	t     testing.TB
	store *heldStore
	in    *intake.Intake
}

func newWorld(t testing.TB, main string) *world {
	t.Helper()
	w := &world{World: routetest.New(t, main), t: t}
	s, err := spool.Open(filepath.Join(t.TempDir(), "spool"), spool.Options{SegmentSize: 4 << 20, FS: hasty{spool.OS()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	w.store = &heldStore{Spool: s}
	w.in = intake.New(intake.Options{
		Settings: w.Settings, Router: w.Router, Store: w.store, Log: w.Log, PickupLog: w.Log, BounceLog: w.Log,
		Added: func(*spool.Message) {}, Now: func() time.Time { return arrival },
	})
	return w
}

// hasty is a file system that syncs nothing: what lasts is tested elsewhere.
type hasty struct{ spool.FS }

func (h hasty) Open(name string, flag int) (spool.File, error) {
	f, err := h.FS.Open(name, flag)
	if err != nil {
		return nil, err
	}
	return hastyFile{f}, nil
}

func (hasty) SyncDir(string) error { return nil }

type hastyFile struct{ spool.File }

func (hastyFile) Reserve(int64) error { return nil }
func (hastyFile) Datasync() error     { return nil }

// messages commits what was held back and returns it.
func (w *world) messages() []*spool.Message {
	w.t.Helper()
	if len(w.store.held) == 0 {
		return nil
	}
	list, err := w.store.Spool.Commit(context.Background(), spool.Change{New: w.store.held})
	if err != nil {
		w.t.Fatal(err)
	}
	w.store.held = nil
	return list
}

// settle takes a message with one recipient out of the spool.
func (w *world) settle(m *spool.Message) {
	w.t.Helper()
	done := spool.Settlement{Message: m, Outcomes: []spool.Outcome{{Index: 0}}}
	if _, err := w.store.Spool.Commit(context.Background(), spool.Change{Settle: []spool.Settlement{done}}); err != nil {
		w.t.Fatal(err)
	}
}

// text is the text of a message, with its queue id as ID.
func text(t testing.TB, m *spool.Message) string {
	t.Helper()
	body, err := m.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	var b strings.Builder
	if _, err := body.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(b.String(), m.ID, "ID")
}

// received is the first field of every message of these tests.
const received = "Received: from helo.test (client.test [192.0.2.7])\n\tby mx.example.test (Postern) with ESMTP id ID\n\tfor <x@b.test>; Sun, 22 Nov 2026 20:51:57 +0000 (UTC)\n"

// fromNetwork is a message of an SMTP client.
func fromNetwork() intake.Source {
	return intake.Source{Received: header.Received{Helo: "helo.test", Client: "client.test", Address: "192.0.2.7", Protocol: "ESMTP", For: "x@b.test"}}
}

// fromHere is a message of the sendmail command.
func fromHere() intake.Source {
	return intake.Source{Local: true, Sender: address.Split("john@mx.example.test"), Received: header.Received{Local: true, UserID: 1001}}
}

// receivedHere is what fromHere makes of the Received field.
const receivedHere = "Received: by mx.example.test (Postern, from userid 1001)\n\tid ID; Sun, 22 Nov 2026 20:51:57 +0000 (UTC)\n"

// envelope is from a@a.test to x@b.test.
func envelope(actions ...access.Action) intake.Envelope {
	return intake.Envelope{Sender: address.Split("a@a.test"), Recipients: rcpt("x@b.test"), Actions: actions}
}

func rcpt(list ...string) []route.Recipient {
	var out []route.Recipient
	for _, text := range list {
		out = append(out, route.Recipient{Address: address.Split(text), Original: text})
	}
	return out
}

// take takes a message in, piece by piece.
func (w *world) take(src intake.Source, env intake.Envelope, pieces ...string) smtp.Reply {
	w.t.Helper()
	letter, reply := w.in.Begin(0)
	if !reply.IsZero() {
		return reply
	}
	letter.Start(src)
	for _, p := range pieces {
		if n, err := letter.Write([]byte(p)); n != len(p) || err != nil {
			w.t.Fatalf("Write = %d, %v", n, err)
		}
	}
	reply = letter.Commit(context.Background(), env)
	if reply.Positive() && reply.String() != "250 2.0.0 Ok: queued as "+letter.ID() {
		w.t.Errorf("reply %s of message %s", reply, letter.ID())
	}
	return reply
}

// taken is the text of a message that was taken in whole.
func (w *world) taken(src intake.Source, message string) string {
	w.t.Helper()
	if reply := w.take(src, envelope(), message); reply.Code != 250 {
		w.t.Fatalf("reply %s", reply)
	}
	m := w.messages()[0]
	defer w.settle(m)
	return text(w.t, m)
}

// network are messages of SMTP clients and what becomes of them behind the
// Received field.
var network = []struct{ name, in, want string }{
	{"plain", "From: a\nTo: b\n\nbody\n", "From: a\nTo: b\n\nbody\n"},
	{"nothing", "", ""},
	{"empty line only", "\n", "\n"},
	{"no header", "\nbody\n", "\nbody\n"},
	{"no body", "From: a\n\n", "From: a\n\n"},
	{"no empty line at the end", "From: a\n", "From: a\n"},
	{"no line end at the end", "From: a", "From: a\n"},
	{"no line end at the end of the body", "From: a\n\nbody", "From: a\n\nbody"},
	{"folded", "Subject: a\n b\n\tc\n\nbody\n", "Subject: a\n b\n\tc\n\nbody\n"},
	{"empty line is missing", "From: a\nbody is here\nBcc: x\n", "From: a\n\nbody is here\nBcc: x\n"},
	{"body only", "hello world\nBcc: x\n\nmore\n", "\nhello world\nBcc: x\n\nmore\n"},
	{"starts with a folded line", " folded\nFrom: a\n\nbody\n", "\n folded\nFrom: a\n\nbody\n"},
	{"dropped", "Bcc: x\nReturn-Path: <y>\nContent-Length: 5\nResent-Bcc: z\nFrom: a\n\nbody\n", "From: a\n\nbody\n"},
	{"dropped in between", "From: a\nBCC : x,\n y\nTo: b\nbcc: z\n\nBcc: body\n", "From: a\nTo: b\n\nBcc: body\n"},
	{"dropped at the end", "From: a\nBcc: x\n", "From: a\n"},
	{"dropped without line end", "From: a\nBcc: x", "From: a\n"},
	{"all dropped", "Bcc: x\n\nbody\n", "\nbody\n"},
	{"a name that begins like one", "Bcc-Not: x\nXBcc: y\n\nbody\n", "Bcc-Not: x\nXBcc: y\n\nbody\n"},
	{"8-bit and NUL", "From: \xff\x00\n\n\x00\xff\n", "From: \xff\x00\n\n\x00\xff\n"},
	{"blanks before the colon", "To \t: a\n\nbody\n", "To \t: a\n\nbody\n"},
	{"white line", "From: a\n \n\nbody\n", "From: a\n \n\nbody\n"},
	{"empty lines in the body", "From: a\n\n\n\nbody\n\n", "From: a\n\n\n\nbody\n\n"},
	{"mbox line", "From a@b Mon\nBcc: x\nTo: b\n\nbody\n", "X-Mailbox-Line: From a@b Mon\nTo: b\n\nbody\n"},
	{"quoted mbox line", ">From a@b Mon\nTo: b\n\nbody\n", "X-Mailbox-Line: >From a@b Mon\nTo: b\n\nbody\n"},
	{"folded mbox line", "From a@b\n Mon\nTo: b\n\nbody\n", "X-Mailbox-Line: From a@b\n Mon\nTo: b\n\nbody\n"},
	{"mbox line alone", "From a@b Mon", "X-Mailbox-Line: From a@b Mon\n"},
	{"mbox line later", "To: b\nFrom a@b Mon\nBcc: x\n\nbody\n", "To: b\n\nFrom a@b Mon\nBcc: x\n\nbody\n"},
}

func TestHeader(t *testing.T) {
	w := newWorld(t, "")
	for _, tt := range network {
		t.Run(tt.name, func(t *testing.T) {
			if got := w.taken(fromNetwork(), tt.in); got != received+tt.want {
				t.Errorf("%q became %q, want %q", tt.in, got, received+tt.want)
			}
		})
	}
}

func TestDropHeaders(t *testing.T) {
	w := newWorld(t, "message_drop_headers = X-Secret")
	want := received + "Bcc: x\n\nbody\n"
	if got := w.taken(fromNetwork(), "x-SECRET: 1\nBcc: x\n\nbody\n"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPrepend(t *testing.T) {
	w := newWorld(t, "")
	src := fromNetwork()
	src.Prepend = []string{"X-One: 1", "X-Two: 2"}
	want := "X-One: 1\nX-Two: 2\n" + received + "From: a\n\nbody\n"
	if got := w.taken(src, "From: a\n\nbody\n"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestComplete is mail submitted here: what its header lacks is added.
func TestComplete(t *testing.T) {
	const (
		id   = "Message-Id: <20261122205157.ID@mx.example.test>\n"
		date = "Date: Sun, 22 Nov 2026 20:51:57 +0000 (UTC)\n"
		from = "From: john@mx.example.test\n"
		to   = "To: undisclosed-recipients:;\n"
	)
	tests := []struct{ name, main, in, want string }{
		{"all there", "", "From: a\nTo: b\nDate: d\nMessage-Id: <m>\n\nbody\n", "From: a\nTo: b\nDate: d\nMessage-Id: <m>\n\nbody\n"},
		{"nothing there", "", "body is here\n", id + date + from + "\nbody is here\n"},
		{"empty header", "", "\nbody\n", id + date + from + "\nbody\n"},
		{"nothing at all", "", "", id + date + from},
		{"added at the end", "", "Subject: s\n\nbody\n", "Subject: s\n" + id + date + from + "\nbody\n"},
		{"names without regard to case", "", "FROM: a\nDATE: d\nmessage-ID: <m>\n\nbody\n", "FROM: a\nDATE: d\nmessage-ID: <m>\n\nbody\n"},
		{"last line open", "", "Subject: s", "Subject: s\n" + id + date + from},
		{"undisclosed", "undisclosed_recipients_header = To: undisclosed-recipients:;", "From: a\nDate: d\nMessage-Id: <m>\n\nbody\n", "From: a\nDate: d\nMessage-Id: <m>\n" + to + "\nbody\n"},
		{"disclosed by Cc", "undisclosed_recipients_header = To: undisclosed-recipients:;", "From: a\nDate: d\nCc: c\nMessage-Id: <m>\n\nbody\n", "From: a\nDate: d\nCc: c\nMessage-Id: <m>\n\nbody\n"},
		{"disclosed by Resent-To", "undisclosed_recipients_header = To: undisclosed-recipients:;", "Resent-To: c\nResent-From: a\nResent-Date: d\nResent-Message-Id: <m>\n\nbody\n", "Resent-To: c\nResent-From: a\nResent-Date: d\nResent-Message-Id: <m>\n\nbody\n"},
		{"Bcc discloses nothing", "undisclosed_recipients_header = To: undisclosed-recipients:;", "From: a\nDate: d\nBcc: c\nMessage-Id: <m>\n\nbody\n", "From: a\nDate: d\nMessage-Id: <m>\n" + to + "\nbody\n"},
		{"resent", "", "Resent-To: b\nFrom: a\nDate: d\n\nbody\n", "Resent-To: b\nFrom: a\nDate: d\nResent-" + id + "Resent-" + date + "Resent-" + from + "\nbody\n"},
		{"resent by", "", "Resent-From: b\n\nbody\n", "Resent-From: b\nResent-" + id + "Resent-" + date + "\nbody\n"},
		{"resent on", "", "Resent-Date: b\n\nbody\n", "Resent-Date: b\nResent-" + id + "Resent-" + from + "\nbody\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, tt.main)
			if got := w.taken(fromHere(), tt.in); got != receivedHere+tt.want {
				t.Errorf("%q became\n%s\nwant\n%s", tt.in, got, receivedHere+tt.want)
			}
		})
	}
	t.Run("of a client", func(t *testing.T) {
		w := newWorld(t, "always_add_missing_headers = yes")
		src := fromNetwork()
		src.Sender = address.Split("a@a.test")
		want := received + id + date + "From: a@a.test\n\nbody\n"
		if got := w.taken(src, "\nbody\n"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestFromHeader(t *testing.T) {
	for _, tt := range []struct{ sender, name, want string }{
		{"john@b.test", "", "From: john@b.test\n"},
		{"john", "", "From: john@mx.example.test\n"},
		{"", "", "From: MAILER-DAEMON@mx.example.test\n"},
		{"two words@b.test", "", "From: \"two words\"@b.test\n"},
		{"john@b.test", "John Doe", "From: John Doe <john@b.test>\n"},
		{"john@b.test", "J. Doe", "From: \"J. Doe\" <john@b.test>\n"},
		{"john@b.test", `a"b\c`, "From: \"a\\\"b\\\\c\" <john@b.test>\n"},
		{"john@b.test", "a\nBcc: b", "From: \"a Bcc: b\" <john@b.test>\n"},
	} {
		w := newWorld(t, "")
		src := fromHere()
		src.Sender, src.FullName = address.Split(tt.sender), tt.name
		if got := w.taken(src, "Date: d\nMessage-Id: <m>\n\nbody\n"); got != receivedHere+"Date: d\nMessage-Id: <m>\n"+tt.want+"\nbody\n" {
			t.Errorf("%q, %q: %q lacks %q", tt.sender, tt.name, got, tt.want)
		}
	}
}
