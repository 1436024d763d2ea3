package local

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

	"postern/internal/address"
	"postern/internal/deliver"
	"postern/internal/deliver/mailbox"
	"postern/internal/privsep"
	"postern/internal/route"
	"postern/internal/spool"
)

// text is the text of a message in memory.
type text struct{ *bytes.Reader }

func (text) Close() error { return nil }

// asIs does everything as the process itself.
type asIs struct{}

func (asIs) Do(_ privsep.Identity, f func() error) error { return f() }

// resolver gives the same targets, or error, to every recipient.
type resolver struct {
	targets []route.LocalTarget
	err     error
}

func (r resolver) LocalTargets(context.Context, address.Address, *route.Trace) ([]route.LocalTarget, error) {
	return r.targets, r.err
}

// log keeps warnings.
type log struct{ lines []string }

func (l *log) Infof(string, ...any) {}

func (l *log) Warningf(format string, args ...any) {
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

const (
	body = "Subject: hello\n\nhello\n"
	ours = "Return-Path: <sender@client.example>\nX-Original-To: team\nDelivered-To: team@local.example\n"
	name = "1717423500.Q18D3A5F00C2R3.mx.example"
)

// newAgent makes an Agent for messages with that text.
func newAgent(r Resolver, message string, change func(*Options)) *Agent {
	o := Options{
		Resolver: r, OriginalRecipient: true,
		Store: mailbox.New(mailbox.Options{
			As: asIs{}, Hostname: "mx.example", Mode: func(string) spool.Mode { return spool.Shared },
			Now: func() time.Time { return time.Date(2024, 6, 3, 14, 5, 9, 0, time.UTC) },
		}),
		Open: func(*spool.Message) (Text, error) { return text{bytes.NewReader([]byte(message))}, nil },
	}
	if change != nil {
		change(&o)
	}
	return New(o)
}

func newRequest(to string) *deliver.Request {
	return &deliver.Request{
		Message: &spool.Message{ID: "18D3A5F00C2", Envelope: spool.Envelope{
			Sender: "sender@client.example", Arrival: time.Unix(1717423500, 0),
		}},
		Transport: "local", NextHop: "mx.example",
		Recipients: []deliver.Recipient{{Index: 3, Address: to, Original: "team"}},
	}
}

func deliverOne(t *testing.T, a *Agent, to string) deliver.Status {
	t.Helper()
	statuses := a.Deliver(t.Context(), newRequest(to))
	if len(statuses) != 1 {
		t.Fatalf("%d statuses for one recipient", len(statuses))
	}
	return statuses[0]
}

func box(base, rel string, f route.Format) route.LocalTarget {
	return route.LocalTarget{
		Kind: route.LocalMailbox, DeliveredTo: "team@local.example",
		Mailbox: route.Mailbox{Path: filepath.Join(base, rel), Base: base, Format: f, UID: 1000, GID: 1000, User: rel},
	}
}

// tree lists the files below dir with their contents.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		files[rel] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestMailbox(t *testing.T) {
	const from = "From sender@client.example  Mon Jun  3 14:05:09 2024\n"
	tests := []struct {
		name    string
		targets func(base string) []route.LocalTarget
		reason  string
		applied bool
		want    map[string]string
	}{
		{"mbox", func(base string) []route.LocalTarget { return []route.LocalTarget{box(base, "john", route.Mbox)} },
			"delivered to mailbox", false, map[string]string{"john": from + ours + body + "\n"}},
		{"maildir", func(base string) []route.LocalTarget { return []route.LocalTarget{box(base, "john", route.Maildir)} },
			"delivered to maildir", true, map[string]string{"john/new/" + name: ours + body}},
		{"several", func(base string) []route.LocalTarget {
			return []route.LocalTarget{box(base, "john", route.Mbox), box(base, "jack", route.Mbox), box(base, "jill", route.Maildir)}
		}, "delivered to mailbox; delivered to maildir", false, map[string]string{
			"john": from + ours + body + "\n", "jack": from + ours + body + "\n", "jill/new/" + name: ours + body,
		}},
		{"owner of an alias", func(base string) []route.LocalTarget {
			target := box(base, "john", route.Maildir)
			target.Sender = "owner-team@local.example"
			return []route.LocalTarget{target}
		}, "delivered to maildir", true, map[string]string{"john/new/" + name: "Return-Path: <owner-team@local.example>\nX-Original-To: team\nDelivered-To: team@local.example\n" + body}},
		{"frozen_delivered_to = no", func(base string) []route.LocalTarget {
			target := box(base, "john", route.Maildir)
			target.DeliveredTo = "john@local.example"
			return []route.LocalTarget{target}
		}, "delivered to maildir", true, map[string]string{"john/new/" + name: "Return-Path: <sender@client.example>\nX-Original-To: team\n" +
			"Delivered-To: john@local.example\n" + body}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			base := t.TempDir()
			got := deliverOne(t, newAgent(resolver{targets: tt.targets(base)}, body, nil), "team@local.example")
			if (got.Applied != nil) != tt.applied {
				t.Errorf("applied is %+v", got.Applied)
			}
			got.Applied = nil
			if diff := cmp.Diff(status(deliver.Sent, "2.0.0", tt.reason), got); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.want, tree(t, base)); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
}

// TestLoop: a message that has been to the recipient before comes back to its
// sender.
func TestLoop(t *testing.T) {
	tests := []struct {
		name, text, to string
		loop           bool
	}{
		{"no header", body, "team@local.example", false},
		{"same", "Delivered-To: team@local.example\n" + body, "team@local.example", true},
		{"other case", "Subject: x\nDELIVERED-TO:  Team@Local.Example \n" + body, "team@local.example", true},
		{"second of two", "Delivered-To: john@example.org\nDelivered-To: team@local.example\n\n", "team@local.example", true},
		{"quoted", "Delivered-To: \"two words\"@local.example\n" + body, "two words@local.example", true},
		{"not quoted", "Delivered-To: two words@local.example\n" + body, "two words@local.example", true},
		{"folded", "Delivered-To:\n\tteam@local.example\n" + body, "team@local.example", true},
		{"other address", "Delivered-To: team2@local.example\n" + body, "team@local.example", false},
		{"other field", "X-Delivered-To: team@local.example\n" + body, "team@local.example", false},
		{"in the text", body + "Delivered-To: team@local.example\n", "team@local.example", false},
		{"long header", "X: " + strings.Repeat("y", 100_000) + "\nDelivered-To: team@local.example\n", "team@local.example", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			agent := newAgent(resolver{targets: []route.LocalTarget{{Kind: route.LocalDiscard, Reason: "discarded"}}}, tt.text, nil)
			want := status(deliver.Sent, "2.0.0", "discarded")
			if tt.loop {
				want = status(deliver.Bounced, "5.4.6", "mail forwarding loop for "+address.Split(tt.to).String())
			}
			if diff := cmp.Diff(want, deliverOne(t, agent, tt.to)); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNoTargets(t *testing.T) {
	configuration := status(deliver.Deferred, "4.3.5", "mail system configuration error")
	tests := []struct {
		name string
		r    resolver
		want deliver.Status
		log  []string
	}{
		{"unknown user", resolver{err: &route.DeliveryError{DSN: "5.1.1", Reason: `unknown user: "team"`}},
			status(deliver.Bounced, "5.1.1", `unknown user: "team"`), nil},
		{"table fails", resolver{err: &route.DeliveryError{DSN: "4.3.0", Reason: "alias database unavailable", Temporary: true}},
			status(deliver.Deferred, "4.3.0", "alias database unavailable"), nil},
		{"strange error", resolver{err: errors.New("x")}, configuration, []string{"recipient team@local.example: x"}},
		{"empty alias", resolver{}, configuration, []string{"recipient team@local.example: no target is left (an empty alias?)"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			lines := &log{}
			got := deliverOne(t, newAgent(tt.r, body, func(o *Options) { o.Log = lines }), "team@local.example")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.log, lines.lines); diff != "" {
				t.Errorf("log (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMailboxFailures(t *testing.T) {
	base := t.TempDir()
	outside := func(f route.Format) route.LocalTarget {
		target := box(base, "john", f)
		target.Mailbox.Path = "/elsewhere/john"
		return target
	}
	root := box(base, "root", route.Mbox)
	root.Mailbox.UID = 0
	leaves := "path /elsewhere/john leaves its base directory " + base
	for _, tt := range []struct {
		target route.LocalTarget
		want   deliver.Status
	}{
		{outside(route.Maildir), status(deliver.Deferred, "4.3.5", "maildir delivery failed: "+leaves)},
		{outside(route.Mbox), status(deliver.Deferred, "4.3.5", "cannot update mailbox /elsewhere/john for user john. "+leaves)},
		{root, status(deliver.Deferred, "4.3.5", "cannot update mailbox "+base+"/root for user root. "+
			"mail is not delivered with the rights of root: name a person in the alias for root")},
	} {
		got := deliverOne(t, newAgent(resolver{targets: []route.LocalTarget{tt.target}}, body, nil), "team@local.example")
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("status (-want +got):\n%s", diff)
		}
	}
	small := newAgent(resolver{targets: []route.LocalTarget{box(base, "john", route.Mbox)}}, body, func(o *Options) {
		o.Store = mailbox.New(mailbox.Options{As: asIs{}, Limit: 10})
	})
	want := status(deliver.Bounced, "5.2.2", "cannot update mailbox "+base+"/john for user john. error writing message: File too large")
	if diff := cmp.Diff(want, deliverOne(t, small, "team@local.example")); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

func TestUnreadableText(t *testing.T) {
	want := status(deliver.Deferred, "4.3.0", "message text is not readable")
	for _, open := range []func(*spool.Message) (Text, error){
		func(*spool.Message) (Text, error) { return nil, errors.New("torn") },
		func(*spool.Message) (Text, error) { return torn{}, nil },
	} {
		lines := &log{}
		a := newAgent(resolver{}, "", func(o *Options) { o.Open, o.Log = open, lines })
		if diff := cmp.Diff(want, deliverOne(t, a, "team@local.example")); diff != "" {
			t.Errorf("status (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"18D3A5F00C2: torn"}, lines.lines); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
	}
}

// torn is a text that cannot be read.
type torn struct{}

func (torn) ReadAt([]byte, int64) (int, error) { return 0, errors.New("torn") }
func (torn) Size() int64                       { return 10 }
func (torn) Close() error                      { return nil }

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got := newAgent(resolver{}, body, nil).Deliver(ctx, newRequest("team@local.example"))
	if diff := cmp.Diff([]deliver.Status{interrupted()}, got); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
	base := t.TempDir()
	ctx, cancel = context.WithCancel(t.Context())
	ending := &stopping{cancel}
	a := newAgent(resolver{targets: []route.LocalTarget{{Kind: route.LocalTransport}, box(base, "john", route.Mbox)}}, body,
		func(o *Options) { o.Agent = func(string) (deliver.Agent, bool) { return ending, true } })
	if diff := cmp.Diff([]deliver.Status{interrupted()}, a.Deliver(ctx, newRequest("team@local.example"))); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
	if files := tree(t, base); len(files) != 0 {
		t.Errorf("written after the end: %v", files)
	}
}

// stopping delivers, and ends a context meanwhile.
type stopping struct{ cancel context.CancelFunc }

func (s *stopping) Deliver(context.Context, *deliver.Request) []deliver.Status {
	s.cancel()
	return []deliver.Status{status(deliver.Sent, "2.0.0", "Ok")}
}
