package virtual

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"postern/internal/address"
	"postern/internal/deliver"
	"postern/internal/deliver/mailbox"
	"postern/internal/privsep"
	"postern/internal/route"
	"postern/internal/spool"
)

// text is the text of a message in memory.
type text struct {
	*bytes.Reader
	closed *bool
}

func (t text) Close() error { *t.closed = true; return nil }

// asIs does everything as the process itself.
type asIs struct{}

func (asIs) Do(_ privsep.Identity, f func() error) error { return f() }

// resolver knows mailboxes by the address as it is asked for.
type resolver map[string]any

func (r resolver) VirtualMailbox(_ context.Context, addr address.Address, _ *route.Trace) (route.Mailbox, error) {
	switch known := r[addr.Internal()].(type) {
	case route.Mailbox:
		return known, nil
	case error:
		return route.Mailbox{}, known
	}
	return route.Mailbox{}, &route.DeliveryError{DSN: "5.1.1", Reason: fmt.Sprintf("unknown user: %q", addr.Internal())}
}

// log keeps warnings.
type log struct{ lines []string }

func (l *log) Infof(string, ...any) {}

func (l *log) Warningf(format string, args ...any) {
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

const body = "Subject: hello\n\nhello\n"

func newStore(limit int64) *mailbox.Store {
	return mailbox.New(mailbox.Options{
		As: asIs{}, Hostname: "mx.example", Limit: limit,
		Mode: func(string) spool.Mode { return spool.Shared },
		Now:  func() time.Time { return time.Date(2024, 6, 3, 14, 5, 9, 0, time.UTC) },
	})
}

func newRequest(recipients ...deliver.Recipient) *deliver.Request {
	return &deliver.Request{
		Message: &spool.Message{ID: "18D3A5F00C2", Size: int64(len(body)), Envelope: spool.Envelope{
			Sender: "sender@client.example", Arrival: time.Unix(1717423500, 0),
		}},
		Transport: "virtual", NextHop: "example.org", Recipients: recipients,
	}
}

// run delivers with an Agent whose options change may change.
func run(t *testing.T, r resolver, request *deliver.Request, change func(*Options)) ([]deliver.Status, *log) {
	t.Helper()
	lines, closed := &log{}, false
	o := Options{Resolver: r, Store: newStore(0), OriginalRecipient: true, Log: lines,
		Open: func(*spool.Message) (Text, error) { return text{bytes.NewReader([]byte(body)), &closed}, nil }}
	if change != nil {
		change(&o)
	}
	statuses := New(o).Deliver(t.Context(), request)
	if len(statuses) != len(request.Recipients) {
		t.Fatalf("%d statuses for %d recipients", len(statuses), len(request.Recipients))
	}
	if !closed {
		t.Error("the text was not closed")
	}
	return statuses, lines
}

// noApplied leaves out what the tests of package mailbox look at.
var noApplied = cmpopts.IgnoreFields(deliver.Status{}, "Applied")

func TestDeliver(t *testing.T) {
	base := t.TempDir()
	box := func(rel string, f route.Format) route.Mailbox {
		return route.Mailbox{Path: filepath.Join(base, rel), Base: base, Format: f}
	}
	known := resolver{
		"John@Example.org":    box("john", route.Maildir),
		"info@example.org":    box("john", route.Maildir),
		"jack@example.org":    box("jack", route.Mbox),
		"out@example.org":     route.Mailbox{Path: "/elsewhere/x", Base: base},
		"mboxout@example.org": route.Mailbox{Path: "/elsewhere/x", Base: base, Format: route.Mbox},
		"broken@example.org":  &route.DeliveryError{DSN: "4.3.5", Reason: "mail system configuration error", Temporary: true},
		"strange@example.org": errors.New("something else"),
		"two words@x.example": box("words", route.Maildir),
	}
	request := newRequest(
		deliver.Recipient{Index: 0, Address: "John@Example.org", Original: "list@example.org"},
		deliver.Recipient{Index: 1, Address: "info@example.org"},
		deliver.Recipient{Index: 2, Address: "jack@example.org", Original: "jack@example.org"},
		deliver.Recipient{Index: 5, Address: "out@example.org"},
		deliver.Recipient{Index: 6, Address: "mboxout@example.org"},
		deliver.Recipient{Index: 7, Address: "broken@example.org"},
		deliver.Recipient{Index: 8, Address: "strange@example.org"},
		deliver.Recipient{Index: 9, Address: "nobody@example.org"},
		deliver.Recipient{Index: 10, Address: "two words@x.example", Original: "two words@x.example"},
	)
	statuses, lines := run(t, known, request, nil)
	sent := func(reason string) deliver.Status {
		return deliver.Status{Kind: deliver.Sent, DSN: "2.0.0", Reason: reason, Relay: "virtual"}
	}
	leaves := "path /elsewhere/x leaves its base directory " + base
	want := []deliver.Status{
		sent("delivered to maildir"), sent("delivered to maildir"), sent("delivered to mailbox"),
		deferred("4.3.5", "maildir delivery failed: "+leaves),
		deferred("4.3.5", "delivery failed to mailbox /elsewhere/x: "+leaves),
		deferred("4.3.5", "mail system configuration error"),
		deferred("4.3.5", "mail system configuration error"),
		{Kind: deliver.Bounced, DSN: "5.1.1", Reason: `unknown user: "nobody@example.org"`, Relay: "virtual"},
		sent("delivered to maildir"),
	}
	if diff := cmp.Diff(want, statuses, noApplied); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
	for i, maildir := range []bool{0: true, 1: true, 2: false, 8: true} {
		if got := statuses[i].Applied != nil; got != maildir {
			t.Errorf("recipient %d: applied %v, want %v", i, got, maildir)
		}
	}
	if diff := cmp.Diff([]string{"recipient strange@example.org: something else"}, lines.lines); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	const id = "/new/1717423500.Q18D3A5F00C2R"
	for name, content := range map[string]string{
		"john" + id + "0.mx.example": "Return-Path: <sender@client.example>\nX-Original-To: list@example.org\nDelivered-To: John@Example.org\n" + body,
		"john" + id + "1.mx.example": "Return-Path: <sender@client.example>\nDelivered-To: info@example.org\n" + body,
		"words" + id + "10.mx.example": "Return-Path: <sender@client.example>\nX-Original-To: \"two words\"@x.example\n" +
			"Delivered-To: \"two words\"@x.example\n" + body,
		"jack": "From sender@client.example  Mon Jun  3 14:05:09 2024\nReturn-Path: <sender@client.example>\n" +
			"X-Original-To: jack@example.org\nDelivered-To: jack@example.org\n" + body + "\n",
	} {
		got, err := os.ReadFile(filepath.Join(base, name))
		if err != nil {
			t.Error(err)
		} else if diff := cmp.Diff(content, string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestNoOriginalRecipient(t *testing.T) {
	base := t.TempDir()
	known := resolver{"john@example.org": route.Mailbox{Path: base + "/john", Base: base}}
	request := newRequest(deliver.Recipient{Address: "john@example.org", Original: "info@example.org"})
	statuses, _ := run(t, known, request, func(o *Options) { o.OriginalRecipient = false })
	got, err := os.ReadFile(statuses[0].Applied.Path)
	if err != nil || strings.Contains(string(got), "X-Original-To") {
		t.Errorf("file %q, %v", got, err)
	}
}

func TestTooLarge(t *testing.T) {
	base := t.TempDir()
	known := resolver{
		"john@example.org": route.Mailbox{Path: base + "/john", Base: base},
		"jack@example.org": route.Mailbox{Path: base + "/jack", Base: base, Format: route.Mbox},
	}
	request := newRequest(deliver.Recipient{Index: 0, Address: "john@example.org"}, deliver.Recipient{Index: 1, Address: "jack@example.org"})
	statuses, _ := run(t, known, request, func(o *Options) { o.Store = newStore(20) })
	want := []deliver.Status{
		{Kind: deliver.Bounced, DSN: "5.2.2", Reason: "maildir delivery failed: error writing message: File too large", Relay: "virtual"},
		{Kind: deliver.Bounced, DSN: "5.2.2", Reason: "delivery failed to mailbox " + base + "/jack: error writing message: File too large", Relay: "virtual"},
	}
	if diff := cmp.Diff(want, statuses); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
}

// TestAttempt: a later attempt finds a message that its reader has seen already.
func TestAttempt(t *testing.T) {
	base := t.TempDir()
	known := resolver{"john@example.org": route.Mailbox{Path: base + "/john", Base: base}}
	first, _ := run(t, known, newRequest(deliver.Recipient{Address: "john@example.org"}), nil)
	read := strings.Replace(first[0].Applied.Path, "/new/", "/cur/", 1) + ":2,S"
	if err := os.Rename(first[0].Applied.Path, read); err != nil {
		t.Fatal(err)
	}
	second, _ := run(t, known, newRequest(deliver.Recipient{Address: "john@example.org", Attempt: 1}), nil)
	first[0].Applied.Found = true
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("statuses (-first +second):\n%s", diff)
	}
	if _, err := os.Stat(first[0].Applied.Path); err == nil {
		t.Error("the message was delivered twice")
	}
}

func TestUnreadableText(t *testing.T) {
	lines := &log{}
	agent := New(Options{Resolver: resolver{}, Store: newStore(0), Log: lines,
		Open: func(*spool.Message) (Text, error) { return nil, errors.New("torn") }})
	request := newRequest(deliver.Recipient{Address: "a@example.org"}, deliver.Recipient{Address: "b@example.org"})
	problem := deferred("4.3.0", "message text is not readable")
	if diff := cmp.Diff([]deliver.Status{problem, problem}, agent.Deliver(t.Context(), request)); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"18D3A5F00C2: torn"}, lines.lines); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

// TestInterrupted ends ctx while the second of four recipients is looked up:
// nothing was written until then.
func TestInterrupted(t *testing.T) {
	for _, end := range []string{"stop", "late"} {
		base := t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		closed := false
		agent := New(Options{
			Resolver: ending{cancel, route.Mailbox{Path: base + "/john", Base: base}}, Store: newStore(0),
			Open: func(*spool.Message) (Text, error) { return text{bytes.NewReader([]byte(body)), &closed}, nil },
		})
		interrupted := deferred("4.3.2", "delivery was interrupted")
		want := []deliver.Status{
			interrupted, interrupted, interrupted, interrupted,
		}
		got := agent.Deliver(ctx, newRequest(
			deliver.Recipient{Index: 0, Address: "go@example.org"},
			deliver.Recipient{Index: 1, Address: end + "@example.org"},
			deliver.Recipient{Index: 2, Address: "go@example.org"},
			deliver.Recipient{Index: 3, Address: "go@example.org"},
		))
		if diff := cmp.Diff(want, got, noApplied); diff != "" {
			t.Errorf("%s: statuses (-want +got):\n%s", end, diff)
		}
	}
}

// ending resolves every address. At "stop" and "late" it ends a context, and at
// "stop" it notices that itself.
type ending struct {
	cancel context.CancelFunc
	box    route.Mailbox
}

func (e ending) VirtualMailbox(ctx context.Context, addr address.Address, _ *route.Trace) (route.Mailbox, error) {
	switch addr.Local {
	case "stop":
		e.cancel()
		return route.Mailbox{}, ctx.Err()
	case "late":
		e.cancel()
	}
	return e.box, nil
}
