package local

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/deliver"
	"postern/internal/deliver/command"
	"postern/internal/privsep"
	"postern/internal/route"
)

// runner keeps what it is asked to run and what it reads.
type runner struct {
	result command.Result
	err    error
	spec   command.Spec
	input  string
	times  int
}

func (r *runner) Run(_ context.Context, s command.Spec, stdin *os.File) (command.Result, error) {
	defer stdin.Close()
	b, err := io.ReadAll(stdin)
	r.spec, r.input, r.times = s, string(b), r.times+1
	return r.result, errors.Join(err, r.err)
}

// program is a target that runs a command.
func program(line string) route.LocalTarget {
	return route.LocalTarget{Kind: route.LocalCommand, DeliveredTo: "team@local.example", Recipient: "John+x@local.example", Command: route.Command{
		Line: line, UID: 5, GID: 6, Dir: "/home/john", User: "john", Local: "john+x", Domain: "local.example", Extension: "x$(y)",
		Home: "/home/john", Shell: "/bin/sh"}}
}

func TestCommand(t *testing.T) {
	run := &runner{}
	a := newAgent(resolver{targets: []route.LocalTarget{program("cmd 'a b'")}}, body, func(o *Options) {
		o.Runner, o.Environment, o.CommandLimit, o.Filter = run, []string{"PATH=/bin"}, time.Minute, "abcdefghijklmnopqrstuvwxyzJ0123456789@./+:"
		o.Now = func() time.Time { return time.Date(2024, 6, 3, 14, 5, 9, 0, time.UTC) }
	})
	want := status(deliver.Sent, "2.0.0", "delivered to command: cmd 'a b'")
	if diff := cmp.Diff(want, deliverOne(t, a, "team@local.example")); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	spec := command.Spec{
		As: privsep.Identity{UID: 5, GID: 6}, Argv: []string{"/bin/sh", "-c", "cmd 'a b'"}, Dir: "/home/john", Limit: time.Minute, Output: outputLimit,
		Env: []string{"PATH=/bin", "HOME=/home/john", "LOGNAME=john", "USER=john", "SENDER=sender@client.example",
			"RECIPIENT=John+x@local.example", "LOCAL=john+x", "SHELL=/bin/sh", "DOMAIN=local.example", "EXTENSION=x__y_", "ORIGINAL_RECIPIENT=team"},
	}
	if diff := cmp.Diff(spec, run.spec); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff("From sender@client.example  Mon Jun  3 14:05:09 2024\n"+ours+body, run.input); diff != "" {
		t.Errorf("input (-want +got):\n%s", diff)
	}
}

func TestCommandOfNobody(t *testing.T) {
	run := &runner{}
	target := program("/bin/cmd")
	target.Command.Home, target.Command.Shell, target.Command.Dir, target.Command.Extension = "", "", "", ""
	target.Sender = "owner-team@local.example"
	a := newAgent(resolver{targets: []route.LocalTarget{target}}, body, func(o *Options) {
		o.Runner, o.Shell, o.Directory, o.Plain = run, "/bin/rsh -c", "/queue", Commands
	})
	deliverOne(t, a, "team@local.example")
	if got := strings.Join(run.spec.Argv, "|"); got != "/bin/rsh|-c|/bin/cmd" || run.spec.Dir != "/queue" {
		t.Errorf("runs %s in %s", got, run.spec.Dir)
	}
	for _, name := range []string{"HOME=", "SHELL=", "EXTENSION="} {
		if slices.ContainsFunc(run.spec.Env, func(v string) bool { return strings.HasPrefix(v, name) }) {
			t.Errorf("%s in %q", name, run.spec.Env)
		}
	}
	if !slices.Contains(run.spec.Env, "SENDER=owner-team@local.example") {
		t.Errorf("no owner as sender in %q", run.spec.Env)
	}
	if strings.Contains(run.input, "Delivered-To") || !strings.Contains(run.input, "Return-Path: <owner-team@local.example>\n") {
		t.Errorf("input is\n%s", run.input)
	}
}

func TestCommandFails(t *testing.T) {
	for _, tt := range []struct {
		run  *runner
		want deliver.Status
	}{
		{&runner{result: command.Result{Status: 67}}, deliver.Status{
			Kind: deliver.Bounced, DSN: "5.1.1", Reason: "user unknown", Output: "user unknown", Relay: "local"}},
		{&runner{result: command.Result{Status: 75, Output: []byte("later\n")}}, deliver.Status{
			Kind: deliver.Deferred, DSN: "4.3.0", Reason: "temporary failure. Command output: later", Output: "later", Relay: "local"}},
		{&runner{err: privsep.ErrRoot}, status(deliver.Deferred, "4.3.5", `cannot run command "cmd": refusing to act with the rights of root`)},
		{nil, status(deliver.Deferred, "4.3.0", "delivery to commands is not available: cmd")},
	} {
		a := newAgent(resolver{targets: []route.LocalTarget{program("cmd")}}, body, func(o *Options) {
			if tt.run != nil {
				o.Runner = tt.run
			}
		})
		if diff := cmp.Diff(tt.want, deliverOne(t, a, "team@local.example")); diff != "" {
			t.Errorf("status (-want +got):\n%s", diff)
		}
	}
}

// TestCommandOnce: a command that took the message does not get it again when
// another target has to wait.
func TestCommandOnce(t *testing.T) {
	run := &runner{}
	a := newAgent(resolver{targets: []route.LocalTarget{program("one"), program("two"), {Kind: route.LocalDefer, DSN: "4.2.0", Reason: "later"}}}, body,
		func(o *Options) { o.Runner = run })
	for range 3 {
		deliverOne(t, a, "team@local.example")
	}
	if run.times != 2 {
		t.Errorf("ran %d times, want 2", run.times)
	}
}

// TestMemberLoop: the message has been to a member of the list.
func TestMemberLoop(t *testing.T) {
	run := &runner{}
	a := newAgent(resolver{targets: []route.LocalTarget{program("one")}}, "Delivered-To: john+X@local.example\n"+body, func(o *Options) { o.Runner = run })
	want := status(deliver.Bounced, "5.4.6", "mail forwarding loop for John+x@local.example")
	if diff := cmp.Diff(want, deliverOne(t, a, "team@local.example")); diff != "" || run.times != 0 {
		t.Errorf("ran %d times, status (-want +got):\n%s", run.times, diff)
	}
}

// TestProbe says what would be done and touches nothing.
func TestProbe(t *testing.T) {
	base := t.TempDir()
	file := box(base, "file", route.Mbox)
	file.Mailbox.File = true
	tests := []struct {
		target route.LocalTarget
		want   deliver.Status
	}{
		{box(base, "john", route.Maildir), status(deliver.Sent, "2.0.0", "delivers to maildir")},
		{box(base, "john", route.Mbox), status(deliver.Sent, "2.0.0", "delivers to mailbox")},
		{file, status(deliver.Sent, "2.0.0", "delivers to file: "+base+"/file")},
		{program("cmd a"), status(deliver.Sent, "2.0.0", "delivers to command: cmd a")},
		{route.LocalTarget{Kind: route.LocalForward, Forward: []string{"a@b.test", "c@d.test"}}, status(deliver.Sent, "2.0.0", "forwards to a@b.test, c@d.test")},
		{route.LocalTarget{Kind: route.LocalBounce, DSN: "5.1.1", Reason: "no"}, status(deliver.Bounced, "5.1.1", "no")},
	}
	for _, tt := range tests {
		a := newAgent(resolver{targets: []route.LocalTarget{tt.target}}, body, nil)
		r := newRequest("team@local.example")
		r.Probe = true
		if diff := cmp.Diff([]deliver.Status{tt.want}, a.Deliver(t.Context(), r)); diff != "" {
			t.Errorf("status (-want +got):\n%s", diff)
		}
	}
	if files := tree(t, base); len(files) != 0 {
		t.Errorf("written: %v", files)
	}
	other := &agent{status: status(deliver.Sent, "2.0.0", "delivers to somebody")}
	a := newAgent(resolver{targets: []route.LocalTarget{{Kind: route.LocalTransport, Transport: "x", Recipient: "john@local.example"}}}, body,
		func(o *Options) { o.Agent = func(string) (deliver.Agent, bool) { return other, true } })
	r := newRequest("team@local.example")
	r.Probe, r.NextHop = true, "the.next"
	a.Deliver(t.Context(), r)
	if got := other.asked[0]; !got.Probe || got.NextHop != "the.next" || got.Recipients[0].Address != "john@local.example" {
		t.Errorf("the other agent was asked %+v", got)
	}
}

// TestFile has results of its own, for files that lists name.
func TestFile(t *testing.T) {
	base := t.TempDir()
	target := box(base, "file", route.Mbox)
	target.Mailbox.File = true
	plain := newAgent(resolver{targets: []route.LocalTarget{target}}, body, func(o *Options) { o.Plain = Files })
	want := status(deliver.Sent, "2.0.0", "delivered to file: "+base+"/file")
	if diff := cmp.Diff(want, deliverOne(t, plain, "team@local.example")); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	if got := tree(t, base)["file"]; strings.Contains(got, "Delivered-To") || !strings.Contains(got, "X-Original-To") {
		t.Errorf("the file is\n%s", got)
	}
	if err := os.Chmod(base+"/file", 0o755); err != nil {
		t.Fatal(err)
	}
	want = status(deliver.Bounced, "5.7.1", "cannot append message to file "+base+"/file: file is executable")
	if diff := cmp.Diff(want, deliverOne(t, plain, "team@local.example")); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

func TestPlainForward(t *testing.T) {
	a := newAgent(resolver{targets: []route.LocalTarget{{Kind: route.LocalForward, Forward: []string{"a@b.test"}}}}, body, func(o *Options) { o.Plain = Forwards })
	if got := deliverOne(t, a, "team@local.example"); len(got.Forwards) != 1 || got.Forwards[0].Prepend != "" || got.Reach != deliver.Expanded {
		t.Errorf("status is %+v", got)
	}
}
