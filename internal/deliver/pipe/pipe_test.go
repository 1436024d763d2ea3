package pipe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/address"
	"postern/internal/deliver"
	"postern/internal/deliver/command"
	"postern/internal/privsep"
	"postern/internal/spool"
)

// text is the text of a message in memory.
type text struct{ *bytes.Reader }

func (text) Close() error { return nil }

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

// log keeps warnings.
type log struct{ lines []string }

func (l *log) Warningf(format string, args ...any) {
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

const body = "Subject: hello\n\n.dot\nFrom here\n"

// play delivers to the recipients by a service with the arguments.
func play(t *testing.T, args, message, sender string, change func(*Options, *deliver.Request), to ...string) (*runner, *log, []deliver.Status) {
	t.Helper()
	attributes, err := Parse(strings.Split(args, " "))
	run, lines := &runner{}, &log{}
	o := Options{
		Service: "svc", At: "master.cf:7", Attributes: attributes, Fault: err, Runner: run, Log: lines,
		Identity:    func(context.Context) (privsep.Identity, error) { return privsep.Identity{UID: 5, GID: 6}, nil },
		Environment: []string{"PATH=/bin"}, Directory: "/queue", Limit: time.Minute,
		Delimiter: address.Delimiter{Set: "+"}, OriginalRecipient: true,
		Open: func(*spool.Message) (Text, error) { return text{bytes.NewReader([]byte(message))}, nil },
		Now:  func() time.Time { return time.Date(2024, 6, 3, 14, 5, 9, 0, time.UTC) },
	}
	r := &deliver.Request{Transport: "svc", NextHop: "Next.Hop", Message: &spool.Message{
		ID: "18D3A5F00C2", Size: 123, Envelope: spool.Envelope{Sender: sender, EnvID: "env"}}}
	for i, a := range to {
		r.Recipients = append(r.Recipients, deliver.Recipient{Index: i, Address: a, Original: "Orig+" + a})
	}
	if change != nil {
		change(&o, r)
	}
	return run, lines, New(o).Deliver(t.Context(), r)
}

func TestArguments(t *testing.T) {
	tests := []struct {
		name, args string
		to         []string
		sender     string
		want       string
	}{
		{"none", "user=u argv=cmd a b", []string{"a@b.test"}, "s@t.test", "cmd|a|b"},
		{"shared", "user=u argv=cmd $sender ${nexthop} $(size) ${queue_id} $envid $$x", []string{"a@b.test"}, "s@t.test", "cmd|s@t.test|Next.Hop|123|18D3A5F00C2|env|$x"},
		{"each recipient", "user=u argv=cmd -f ${sender} <${recipient}> end", []string{"A+x@B.test", "c@d.test"}, "s@t.test", "cmd|-f|s@t.test|<A+x@B.test>|<c@d.test>|end"},
		{"parts", "user=u argv=cmd ${user}/${extension}/${mailbox}/${domain}/${original_recipient}", []string{"A+x@B.test", "c@d.test"}, "", "cmd|A/x/A+x/B.test/Orig+A+x@B.test|c//c/d.test/Orig+c@d.test"},
		{"lower case", "user=u flags=hu argv=cmd ${recipient} ${user} ${domain} ${nexthop}", []string{"A@B.test"}, "", "cmd|a@b.test|a|b.test|next.hop"},
		{"host in lower case", "user=u flags=h argv=cmd ${recipient}", []string{"A@B.test"}, "", "cmd|A@b.test"},
		{"user in lower case", "user=u flags=u argv=cmd ${recipient}", []string{"A@B.test"}, "", "cmd|a@B.test"},
		{"quoted", "user=u flags=q argv=cmd ${recipient} ${user} ${sender}", []string{"a b@c.test"}, "x y@z.test", `cmd|"a b"@c.test|a b|"x y"@z.test`},
		{"null sender", "user=u argv=cmd ${sender}", []string{"a@b.test"}, "", "cmd|MAILER-DAEMON"},
		{"null sender is empty", "user=u null_sender= argv=cmd ${sender}", []string{"a@b.test"}, "", "cmd|"},
		{"an empty user", "user=u argv=cmd ${user} ${mailbox}", []string{"@b.test", "c@d.test"}, "", "cmd|c||c"},
		{"conditions", "user=u argv=cmd ${extension?-x${extension}} ${sasl_username:none}", []string{"a+b@c.test", "d@e.test"}, "", "cmd|-xb||none"},
		{"what the client said", "user=u argv=cmd [${client_address}${client_hostname}${client_helo}${client_port}${client_protocol}${sasl_method}${sasl_sender}]", []string{"a@b.test"}, "", "cmd|[]"},
		{"values are not macros", "user=u argv=cmd ${recipient}", []string{"$sender@b.test"}, "", "cmd|$sender@b.test"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run, lines, _ := play(t, tt.args, body, tt.sender, nil, tt.to...)
			if got := strings.Join(run.spec.Argv, "|"); got != tt.want || len(lines.lines) > 0 {
				t.Errorf("argv %s, want %s; log %q", got, tt.want, lines.lines)
			}
		})
	}
}

func TestInput(t *testing.T) {
	const from = "From s@t.test  Mon Jun  3 14:05:09 2024\n"
	for _, tt := range []struct{ flags, sender, want string }{
		{"", "s@t.test", body},
		{"flags=F", "s@t.test", from + body},
		{"flags=R", "s@t.test", "Return-Path: <s@t.test>\n" + body},
		{"flags=R", "", "Return-Path: <MAILER-DAEMON>\n" + body},
		{"null_sender= flags=RF", "", strings.Replace(from, "s@t.test", "MAILER-DAEMON", 1) + "Return-Path: <>\n" + body},
		{"flags=DROF", "s@t.test", from + "Return-Path: <s@t.test>\nX-Original-To: Orig+a@b.test\nDelivered-To: a@b.test\n" + body},
		{"flags=B", "s@t.test", body + "\n"},
		{"flags=.", "s@t.test", strings.Replace(body, "\n.dot", "\n..dot", 1)},
		{"flags=>", "s@t.test", strings.Replace(body, "\nFrom here", "\n>From here", 1)},
		{`flags=R eol=\r\n`, "s@t.test", strings.ReplaceAll("Return-Path: <s@t.test>\n"+body, "\n", "\r\n")},
	} {
		run, _, _ := play(t, "user=u "+strings.TrimSpace(tt.flags+" argv=cmd"), body, tt.sender, nil, "a@b.test")
		if tt.flags == "" {
			run, _, _ = play(t, "user=u argv=cmd", body, tt.sender, nil, "a@b.test")
		}
		if diff := cmp.Diff(tt.want, run.input); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.flags, diff)
		}
	}
	want := command.Spec{As: privsep.Identity{UID: 5, GID: 6}, Argv: []string{"cmd"}, Env: []string{"PATH=/bin"}, Dir: "/queue", Limit: time.Minute, Output: outputLimit}
	run, _, _ := play(t, "user=u argv=cmd", body, "", nil, "a@b.test")
	if diff := cmp.Diff(want, run.spec); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
	if run, _, _ := play(t, "user=u directory=/d argv=cmd", body, "", nil, "a@b.test"); run.spec.Dir != "/d" {
		t.Errorf("directory is %s", run.spec.Dir)
	}
}

func TestResults(t *testing.T) {
	wait := deliver.Status{Kind: deliver.Deferred, DSN: "4.3.5", Reason: "mail system configuration error", Relay: "svc"}
	sent := deliver.Status{Kind: deliver.Sent, Reach: deliver.Relayed, DSN: "2.0.0", Reason: "delivered via svc service", Relay: "svc"}
	final, said := sent, sent
	final.Reach, said.Reason = deliver.Delivered, "delivered via svc service (all well)"
	output := func(s string) func(*Options, *deliver.Request) {
		return func(o *Options, _ *deliver.Request) { o.Runner.(*runner).result.Output = []byte(s) }
	}
	tests := []struct {
		name, args, message string
		change              func(*Options, *deliver.Request)
		to                  string
		want                deliver.Status
		warning             string
		runs                int
	}{
		{"sent", "user=u argv=cmd", body, nil, "a@b.test c@d.test", sent, "", 1},
		{"sent, final", "user=u flags=X argv=cmd", body, nil, "a@b.test", final, "", 1},
		{"sent, with output", "user=u argv=cmd", body, output("all well\n"), "a@b.test", said, "", 1},
		{"exit status", "user=u argv=cmd x", body, func(o *Options, _ *deliver.Request) {
			o.Runner.(*runner).result = command.Result{Status: 9, Output: []byte("from pipe\n")}
		}, "a@b.test c@d.test", deliver.Status{Kind: deliver.Bounced, DSN: "5.3.0", Relay: "svc", Output: "from pipe",
			Reason: `Command died with status 9: "cmd". Command output: from pipe`}, "", 1},
		{"too large", "user=u size=122 argv=cmd", body, nil, "a@b.test", deliver.Status{Kind: deliver.Bounced, DSN: "5.2.3", Reason: "message too large", Relay: "svc"}, "", 0},
		{"not too large", "user=u size=123 argv=cmd", body, nil, "a@b.test", sent, "", 1},
		{"D for several", "user=u flags=D argv=cmd", body, nil, "a@b.test c@d.test", wait, "master.cf:7: service svc: pipe flag `D' requires svc_destination_recipient_limit = 1", 0},
		{"O for several", "user=u flags=O argv=cmd", body, nil, "a@b.test c@d.test", wait, "master.cf:7: service svc: pipe flag `O' requires svc_destination_recipient_limit = 1", 0},
		{"loop", "user=u flags=D argv=cmd", "Delivered-To: A@b.test\n" + body, nil, "a@b.test", deliver.Status{Kind: deliver.Bounced, DSN: "5.4.6", Reason: "mail forwarding loop for a@b.test", Relay: "svc"}, "", 0},
		{"no loop without D", "user=u argv=cmd", "Delivered-To: a@b.test\n" + body, nil, "a@b.test", sent, "", 1},
		{"fault", "user=u flags=Z argv=cmd", body, nil, "a@b.test", wait, "master.cf:7: service svc: unknown flag: Z", 0},
		{"user", "user=u argv=cmd", body, func(o *Options, _ *deliver.Request) {
			o.Identity = func(context.Context) (privsep.Identity, error) {
				return privsep.Identity{}, errors.New("unknown username: u")
			}
		}, "a@b.test", wait, "master.cf:7: service svc: unknown username: u", 0},
		{"unreadable text", "user=u argv=cmd", body, func(o *Options, _ *deliver.Request) {
			o.Open = func(*spool.Message) (Text, error) { return nil, errors.New("torn") }
		}, "a@b.test", deliver.Status{Kind: deliver.Deferred, DSN: "4.3.0", Reason: "message text is not readable", Relay: "svc"}, "18D3A5F00C2: torn", 0},
		{"probe", "user=u argv=cmd x", body, func(_ *Options, r *deliver.Request) { r.Probe = true }, "a@b.test",
			deliver.Status{Kind: deliver.Sent, DSN: "2.0.0", Reason: "delivers to command: cmd", Relay: "svc"}, "", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			to := strings.Fields(tt.to)
			run, lines, got := play(t, tt.args, tt.message, "s@t.test", tt.change, to...)
			want := make([]deliver.Status, len(to))
			for i := range want {
				want[i] = tt.want
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("statuses (-want +got):\n%s", diff)
			}
			if warning := strings.Join(lines.lines, "; "); warning != tt.warning || run.times != tt.runs {
				t.Errorf("log %q, want %q; ran %d times", warning, tt.warning, run.times)
			}
		})
	}
}

func TestParse(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"user=u argv=cmd", ""},
		{"USER=u:g Flags=DR. ArGv=cmd", ""},
		{"argv=cmd", "missing user= command-line attribute"},
		{"user=u", "missing argv= command-line attribute"},
		{"user=u argv=", "missing argv= command-line attribute"},
		{"user=u cmd", "unknown attribute name: cmd"},
		{"user=u color=red argv=cmd", "unknown attribute name: color"},
		{"user=u flags=x argv=cmd", "unknown flag: x"},
		{"user=u size=-1 argv=cmd", "bad size= value: -1"},
		{"user=u size=1k argv=cmd", "bad size= value: 1k"},
		{"user=u chroot=/x argv=cmd", "chroot= is not supported: programs run in the file system of the server"},
		{"user=u argv=cmd ${nosuch}", `unknown macro name: "nosuch"`},
		{"user=u argv=cmd ${sender?${nosuch}}", `unknown macro name: "nosuch"`},
		{"user=u argv=cmd ${sender:${nosuch}}", `unknown macro name: "nosuch"`},
		{"user=u argv=cmd ${sender", `argument "${sender": macro syntax error: truncated macro reference: "${sender"`},
	} {
		_, err := Parse(strings.Fields(tt.args))
		if got := fmt.Sprint(err); got != tt.want && (err != nil || tt.want != "") {
			t.Errorf("Parse(%q) = %v, want %q", tt.args, err, tt.want)
		}
	}
	got, _ := Parse([]string{"user=u:g", `eol=\r\n\t\101\\x\9\`, "null_sender=<>", "directory=/d", "argv=cmd", "user=x"})
	want := Attributes{User: "u", Group: "g", EOL: "\r\n\tA\\x9\\", NullSender: "<>", Directory: "/d", Argv: []string{"cmd", "user=x"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
}

// FuzzExpand: no argument and no address makes more arguments than there are
// recipients for each, and none is lost unless its user is empty.
func FuzzExpand(f *testing.F) {
	f.Add("${recipient}", "a+b@c.test", "hqu")
	f.Add("x$(sender)${user}", "+x@y", "")
	f.Add("$$${mailbox?{a}:{b}}", "$user", "q")
	f.Fuzz(func(t *testing.T, arg, to, flags string) {
		attributes, err := Parse([]string{"user=u", "argv=cmd", arg})
		if err != nil {
			return
		}
		attributes.Flags = flags
		list := []deliver.Recipient{{Address: to}, {Address: "plain@b.test"}}
		argv := attributes.expand(map[string]string{"sender": "s"}, list, address.Delimiter{Set: "+"})
		if len(argv) < 2 || len(argv) > 3 || argv[0] != "cmd" {
			t.Errorf("%q for %q: %q", arg, to, argv)
		}
	})
}
