package explain_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/access"
	"postern/internal/address"
	"postern/internal/explain"
	"postern/internal/route/routetest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares text with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// example is a configuration with something of everything.
const example = `
mydestination = localhost, local.example.test
myorigin = localhost
virtual_alias_domains = alias.test
virtual_mailbox_domains = texthash:{dir}/domains
virtual_mailbox_maps = texthash:{dir}/boxes
virtual_mailbox_base = /var/vmail
virtual_uid_maps = static:5000
virtual_gid_maps = static:5000
virtual_alias_maps = texthash:{dir}/virtual
relay_domains = relay.test, listed.test
alias_maps = texthash:{dir}/aliases
local_recipient_maps = inline:{john=x, root=x} $alias_maps
transport_maps = inline:{ {held.test=retry:4.2.1 later} {lmtp.test=lmtp:unix:private/box} {gone.test=error:5.9.9 closed} {drop.test=discard:} }
mail_spool_directory = /var/mail
home_mailbox =
recipient_delimiter = +
forward_path = /nonexistent/$user
-- domains --
mbox.test    yes
listed.test  yes
-- boxes --
john@mbox.test   john/
jack@mbox.test   jack
bad@mbox.test    ../bad/
-- virtual --
list@alias.test    john@mbox.test, jack@mbox.test, fred@other.test
sales@mbox.test    john@mbox.test
chain@alias.test   list@alias.test
loop1@alias.test   loop2@alias.test
loop2@alias.test   loop1@alias.test
lost@alias.test    nobody@mbox.test
@mbox.test         john@mbox.test
many@alias.test    john@mbox.test, x@held.test, x@gone.test, x@drop.test, x@lmtp.test, bad@mbox.test, root@localhost
syntax@alias.test  john@mbox.test, x@127.0.0.1
-- aliases --
root:   john
info:   john, fred@other.test, john@mbox.test
trash:  /dev/null
prog:   "|cmd"
half:   john, noone
`

type world struct {
	*routetest.World
	x *explain.Explainer
}

func newWorld(t *testing.T, main string) *world {
	t.Helper()
	w := routetest.New(t, main)
	p, err := access.New(context.Background(), access.Options{Settings: w.Settings, Opener: w.Opener, Router: w.Router, Log: w.Log})
	if err != nil {
		t.Fatal(err)
	}
	return &world{w, &explain.Explainer{Dir: w.Dir, Settings: w.Settings, Router: w.Router, Policy: p, Sender: address.Split("sender@client.example")}}
}

func (w *world) explain(t *testing.T, text string) explain.Explanation {
	t.Helper()
	e, err := w.x.Explain(context.Background(), text)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestJSON(t *testing.T) {
	w := newWorld(t, example)
	var b bytes.Buffer
	for _, in := range []string{"John+x@MBOX.test", "list@alias.test", "fred@other.test", "bad address@[", "nobody@alias.test"} {
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(w.explain(t, in)); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "explain.json", strings.ReplaceAll(b.String(), w.Dir, "DIR"))
}

// TestContract checks the members that the contract requires of every answer.
func TestContract(t *testing.T) {
	w := newWorld(t, example)
	for _, in := range []string{"john@mbox.test", "fred@other.test", "loop1@alias.test", "", "@", "john@127.0.0.1", "info", "postmaster"} {
		text, err := json.Marshal(w.explain(t, in))
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Address, Normalized, Class *string
			ClassReason                *struct {
				Parameter *string
				Also      []json.RawMessage
			} `json:"class_reason"`
			Reply *struct {
				Code           *int
				Enhanced, Text *string
			}
			Steps, Recipients, Findings []json.RawMessage
		}
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		switch {
		case got.Address == nil, *got.Address != in, got.Normalized == nil, got.Class == nil:
			t.Errorf("%q: %s", in, text)
		case got.ClassReason == nil, got.ClassReason.Parameter == nil, got.ClassReason.Also == nil:
			t.Errorf("%q: class_reason in %s", in, text)
		case got.Reply == nil, got.Reply.Code == nil, got.Reply.Enhanced == nil, got.Reply.Text == nil:
			t.Errorf("%q: reply in %s", in, text)
		case got.Steps == nil, got.Recipients == nil, got.Findings == nil:
			t.Errorf("%q: a list is missing in %s", in, text)
		case *got.Reply.Code >= 300 && len(got.Recipients) > 0:
			t.Errorf("%q: recipients of a refused address in %s", in, text)
		}
	}
}

func TestReplies(t *testing.T) {
	tests := []struct {
		main, in, class, reply string
		status                 int
	}{
		{"", "john@mbox.test", "virtual-mailbox", "250 2.1.5 Ok", 0},
		{"", "nobody@mbox.test", "virtual-mailbox", "250 2.1.5 Ok", 0}, // the catch-all
		{"", "nobody@alias.test", "virtual-alias", "550 5.1.1 <nobody@alias.test>: Recipient address rejected: User unknown in virtual alias table", 1},
		{"", "fred@other.test", "default", "454 4.7.1 <fred@other.test>: Relay access denied", 2},
		{"smtpd_relay_restrictions = reject_unauth_destination", "fred@other.test", "default", "554 5.7.1 <fred@other.test>: Relay access denied", 1},
		{"", "x@relay.test", "relay", "250 2.1.5 Ok", 0},
		{"", "john", "local", "250 2.1.5 Ok", 0},
		{"", "<john@localhost>", "local", "250 2.1.5 Ok", 0},
		{"", "postmaster", "local", "250 2.1.5 Ok", 0},
		{"", "loop1@alias.test", "virtual-alias", "451 4.6.0 <loop1@alias.test>: Alias expansion error", 2},
		{"", "x@127.0.0.1", "default", "501 5.1.3 Bad recipient address syntax", 1},
		{"", "", "default", "501 5.1.3 Bad recipient address syntax", 1},
		{"", "a\x01@b.test", "default", "501 5.1.3 Bad recipient address syntax", 1},
		{"", "jörg@bücher.test", "default", "454 4.7.1 <jörg@bücher.test>: Relay access denied", 2},
		{"virtual_mailbox_domains = fail:x", "john@mbox.test", "default", "451 4.3.0 <john@mbox.test>: Temporary lookup failure", 2},
		{"virtual_alias_domains = fail:x", "john@mbox.test", "virtual-mailbox", "451 4.3.0 <john@mbox.test>: Temporary lookup failure", 2},
	}
	for _, tt := range tests {
		w := newWorld(t, strings.Replace(example, "\n-- domains --", "\n"+tt.main+"\n-- domains --", 1))
		e := w.explain(t, tt.in)
		got := strings.TrimSpace(string(rune('0'+e.Reply.Code/100)) + string(rune('0'+e.Reply.Code/10%10)) + string(rune('0'+e.Reply.Code%10)) + " " + e.Reply.Enhanced + " " + e.Reply.Text)
		if got != tt.reply || e.Class != tt.class || e.ExitStatus() != tt.status {
			t.Errorf("%s %q: %s, %s, exit status %d; want %s, %s, %d", tt.main, tt.in, e.Class, got, e.ExitStatus(), tt.class, tt.reply, tt.status)
		}
	}
}

// TestAlso: lists that match but lost.
func TestAlso(t *testing.T) {
	w := newWorld(t, example)
	e := w.explain(t, "x@listed.test")
	if len(e.ClassReason.Also) != 1 || e.ClassReason.Also[0].Class != "relay" || e.ClassReason.Also[0].Parameter != "relay_domains" ||
		e.ClassReason.Also[0].At.File != "main.cf" {
		t.Errorf("also %+v", e.ClassReason.Also)
	}
	if e.ClassReason.At == nil || e.ClassReason.At.String() != "domains:2" || e.ClassReason.Key != "listed.test" {
		t.Errorf("reason %+v", e.ClassReason)
	}
}

// TestSender: the envelope sender chooses relay hosts and copies.
func TestSender(t *testing.T) {
	w := newWorld(t, "sender_dependent_relayhost_maps = inline:{ann@a.test=[r.test]}\nsender_bcc_maps = inline:{ann@a.test=copy@c.test}\nmynetworks = 203.0.113.1")
	w.x.Sender = address.Split("ann@a.test")
	var got []string
	for _, r := range w.explain(t, "x@other.test").Recipients {
		got = append(got, r.Address+" "+r.Transport+" "+r.NextHop)
	}
	if text := strings.Join(got, "; "); text != "x@other.test smtp [r.test]; copy@c.test smtp [r.test]" {
		t.Error(text)
	}
}

func TestPrint(t *testing.T) {
	w := newWorld(t, example)
	var b bytes.Buffer
	for _, in := range []string{"john@mbox.test", "chain@alias.test", "many@alias.test", "syntax@alias.test", "info@localhost", "half@localhost",
		"trash@localhost", "prog@localhost", "fred@other.test", "x@listed.test", "loop1@alias.test", "lost@alias.test", ""} {
		w.explain(t, in).Print(&b, explain.Style{})
		b.WriteString("\n")
	}
	golden(t, "explain.txt", strings.ReplaceAll(b.String(), w.Dir, "DIR"))
}

// TestForward: a .forward file is shown with its lines, and so is what it leads
// to.
func TestForward(t *testing.T) {
	main := strings.Replace(example, "forward_path = /nonexistent/$user", "forward_path = {dir}/$user.forward\nlocal_recipient_maps =\nmailbox_transport_maps = inline:{john=lmtp:unix:x}", 1)
	w := newWorld(t, main+"-- jack.forward --\n# away\nfred@other.test, john\n\"|cmd a\"\n/tmp/copy\n")
	if uid := os.Getuid(); uid != 0 {
		jack := w.Users.ByName["jack"]
		jack.UID, jack.GID = uid, os.Getgid()
		w.Users.ByName["jack"] = jack
	}
	var b bytes.Buffer
	w.explain(t, "jack@localhost").Print(&b, explain.Style{})
	w.explain(t, "john@localhost").Print(&b, explain.Style{})
	for _, want := range []string{
		"jack.forward   fred@other.test, john   jack.forward:2\n", "jack.forward   \"|cmd a\"   jack.forward:3\n",
		"|- fred@other.test   class default, smtp to other.test\n", "|- jack@localhost   class local, local: delivers to command: cmd a\n",
		"|- jack@localhost   class local, local to /tmp/copy\n", "`- john@localhost   class local, lmtp to unix:x\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
}

// TestFailingTable: the step that failed is shown with its reason.
func TestFailingTable(t *testing.T) {
	w := newWorld(t, strings.Replace(example, "\n-- domains --", "\nvirtual_alias_maps = texthash:{dir}/none\n-- domains --", 1))
	e := w.explain(t, "john@mbox.test")
	last := e.Steps[len(e.Steps)-1]
	if e.Reply.Code != 451 || last.Parameter != "virtual_alias_maps" || !strings.Contains(last.Error, "No such file or directory") {
		t.Errorf("reply %+v, last step %+v", e.Reply, last)
	}
}
