package route_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/address"
	"postern/internal/route"
	"postern/internal/route/routetest"
)

// targets shows what local(8) does with a recipient, one target after another.
func targets(t *testing.T, w *routetest.World, in string) string {
	t.Helper()
	list, err := w.Router.LocalTargets(context.Background(), address.Split(in), nil)
	var d *route.DeliveryError
	if errors.As(err, &d) {
		text := "error " + d.Error()
		if d.Temporary {
			text += " (temporary)"
		}
		return text
	}
	if err != nil {
		t.Fatalf("LocalTargets(%q): %v", in, err)
	}
	var out []string
	for _, x := range list {
		text := ""
		switch x.Kind {
		case route.LocalMailbox:
			text = x.Mailbox.Display()
			if x.Mailbox.File {
				text = "file " + text + as(w, x.Mailbox.UID)
			}
		case route.LocalCommand:
			text = "|" + x.Command.Line + as(w, x.Command.UID)
		case route.LocalTransport:
			text = "by " + x.Transport + ":" + x.NextHop
		case route.LocalForward:
			text = "to " + strings.Join(x.Forward, " ")
		case route.LocalDiscard:
			text = "discard " + x.Reason
		case route.LocalBounce:
			text = "bounce " + x.DSN + " " + x.Reason
		case route.LocalDefer:
			text = "defer " + x.DSN + " " + x.Reason
		default:
			text = fmt.Sprintf("%+v", x)
		}
		if x.Sender != "" {
			text += " from " + x.Sender
		}
		if x.DeliveredTo != in && x.Kind != route.LocalBounce && x.Kind != route.LocalDefer {
			t.Errorf("LocalTargets(%q): Delivered-To %q", in, x.DeliveredTo)
		}
		out = append(out, text)
	}
	return strings.ReplaceAll(strings.Join(out, "; "), w.Dir, "{dir}")
}

// as names those who have a user id; {owner} is the owner of the tables, whom
// nobody stands for when it is root.
func as(w *routetest.World, uid int) string {
	for name, u := range w.Users.ByName {
		switch {
		case u.UID != uid:
		case name == "tester", name == "nobody" && os.Getuid() == 0:
			return " as {owner}"
		default:
			return " as " + name
		}
	}
	return fmt.Sprintf(" as %d", uid)
}

const system = `
myorigin = localhost
mail_spool_directory = /var/mail
recipient_delimiter = +
alias_maps = texthash:{dir}/aliases
virtual_mailbox_domains = mbox.test
`

func TestLocalTargets(t *testing.T) {
	tests := []struct{ name, main, aliases, in, want string }{
		{"user", "", "", "john@localhost", "/var/mail/john"},
		{"user in capitals", "", "", "JOHN@localhost", "/var/mail/john"},
		{"user with extension", "", "", "john+e@localhost", "/var/mail/john"},
		{"unknown", "", "", "who@localhost", `error 5.1.1 unknown user: "who"`},
		{"unknown with extension", "", "", "who+e@localhost", `error 5.1.1 unknown user: "who"`},
		{"no alias table", "alias_maps =", "", "john@localhost", "/var/mail/john"},
		{"maildir below the spool", "mail_spool_directory = /var/mail/", "", "john@localhost", "/var/mail/john/"},
		{"home_mailbox, maildir", "home_mailbox = Maildir/", "", "john@localhost", "/home/john/Maildir/"},
		{"home_mailbox, mbox", "home_mailbox = mbox", "", "john@localhost", "/home/john/mbox"},
		{"no postmaster", "", "", "postmaster@localhost", "discard discarded"},
		{"no mailer-daemon", "", "", "Mailer-Daemon@localhost", "discard discarded"},

		{"alias", "", "info: john", "info@localhost", "/var/mail/john"},
		{"alias in capitals", "", "Info: John", "INFO@localhost", "/var/mail/john"},
		{"alias beats the user", "", "john: jack", "john@localhost", "/var/mail/jack"},
		{"list", "", "info: john, jack , john", "info@localhost", "/var/mail/john; /var/mail/jack"},
		{"list on two lines", "", "info: john,\n jack", "info@localhost", "/var/mail/john; /var/mail/jack"},
		{"alias of an alias", "", "a: b\nb: c\nc: john", "a@localhost", "/var/mail/john"},
		{"other local domain", "", "a: john@local.example.test", "a@localhost", "/var/mail/john"},
		{"address literal", "", "a: john@[192.0.2.10]", "a@localhost", "/var/mail/john"},
		{"routed to a local domain", "", "a: john%localhost@local.example.test", "a@localhost", "/var/mail/john"},
		{"elsewhere", "", "a: fred@other.test, x@mbox.test, john", "a@localhost", "to fred@other.test x@mbox.test; /var/mail/john"},
		{"no domain and myorigin elsewhere", "myorigin = mx.example.test", "a: fred", "a@localhost", "to fred@mx.example.test"},
		{"postmaster", "", "postmaster: root\nroot: john", "postmaster@localhost", "/var/mail/john"},
		{"to itself", "", "john: john, jack", "john@localhost", "/var/mail/john; /var/mail/jack"},
		{"to itself with address", "", "john: john@localhost, fred@other.test", "john@localhost", "/var/mail/john; to fred@other.test"},
		{"backslash has no effect", "", `john: jack` + "\n" + `a: \john`, "a@localhost", "/var/mail/jack"},
		{"backslash in quotes", "", `john: jack` + "\n" + `a: "\\john"`, "a@localhost", "/var/mail/john"},
		{"backslash unknown", "", `a: "\\who", john`, "a@localhost", `bounce 5.1.1 unknown user: "who"; /var/mail/john`},
		{"quoted member", "", `a: "two words"@other.test`, "a@localhost", "to two words@other.test"},

		{"dev null", "", "a: /dev/null", "a@localhost", "discard delivered to file: /dev/null"},
		{"file", "", "a: /var/log/x, john", "a@localhost", "file /var/log/x as {owner}; /var/mail/john"},
		{"command", "", `a: "|cmd a b", john`, "a@localhost", "|cmd a b as {owner}; /var/mail/john"},
		{"unknown member", "", "a: john, who, jack", "a@localhost", `/var/mail/john; bounce 5.1.1 unknown user: "who"; /var/mail/jack`},
		{"bad member", "", "a: john, bad@[x]", "a@localhost", "/var/mail/john; bounce 5.1.3 bad recipient address syntax: bad@[x]"},
		{"loop of two", "", "a: b\nb: a", "a@localhost", "bounce 5.4.6 alias database loop for a"},
		{"loop beside others", "", "a: b\nb: a, john", "a@localhost", "bounce 5.4.6 alias database loop for a; /var/mail/john"},
		{"to itself with an extension", "", "a: a+x", "a@localhost", `bounce 5.1.1 unknown user: "a"`},
		{"an alias met twice", "", "a: b, b, c\nb: fred@other.test\nc: b", "a@localhost", "to fred@other.test"},

		{"extension, alias of its own", "", "a: john\na+x: jack", "a+x@localhost", "/var/mail/jack"},
		{"extension dropped", "", "a: fred@other.test", "a+x@localhost", "to fred@other.test"},
		{"extension propagated", "propagate_unmatched_extensions = alias", "a: fred@other.test, john", "a+x@localhost", "to fred+x@other.test; /var/mail/john"},

		{"owner", "", "a: fred@other.test\nowner-a: jack@other.test", "a@localhost", "to fred@other.test from owner-a@localhost"},
		{"owner expanded", "expand_owner_alias = yes", "a: fred@other.test\nowner-a: jack@other.test", "a@localhost", "to fred@other.test from jack@other.test"},
		{"owner of the outer alias alone", "", "a: b, fred@other.test\nb: bill@other.test\nowner-b: jack", "a@localhost", "to bill@other.test from owner-b@localhost; to fred@other.test"},
		{"the owner itself", "", "owner-a: jack@other.test\nowner-owner-a: x", "owner-a@localhost", "to jack@other.test"},

		{"alias table fails", "alias_maps = fail:x", "", "john@localhost", "error 4.3.0 alias database unavailable (temporary)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := routetest.New(t, system+tt.main+"\n-- aliases --\n"+tt.aliases+"\n")
			if got := targets(t, w, tt.in); got != tt.want {
				t.Errorf("LocalTargets(%q)\n got %s\nwant %s\nlog %s", tt.in, got, tt.want, w.Log.Lines())
			}
		})
	}
}

func TestInclude(t *testing.T) {
	tests := []struct{ name, aliases, files, want string }{
		{"members", "a: :include:{dir}/list", "-- list --\n# comment\njohn\nfred@other.test, jack # x\n", "to john@localhost fred@other.test jack@localhost #@localhost x@localhost"},
		{"indented first line", "a: :include:{dir}/list", "-- list --\n  john\n", "to john@localhost"},
		{"quoted", `a: ":include:{dir}/list"`, "-- list --\njohn\n", "to john@localhost"},
		{"nested", "a: :include:{dir}/list", "-- list --\n:include:{dir}/more\njohn\n-- more --\njack\n", "to jack@localhost john@localhost"},
		{"backslash", "a: :include:{dir}/list", "-- list --\n\\john\n", "to john@localhost"},
		{"commands and files", "a: :include:{dir}/list", "-- list --\n|cmd\n/file\njohn\n", "bounce 5.7.1 mail to command is restricted; bounce 5.7.1 mail to file is restricted; to john@localhost"},
		{"bad member", "a: :include:{dir}/list", "-- list --\nbad@[x]\njohn\n", "bounce 5.1.3 bad recipient address syntax: bad@[x]; to john@localhost"},
		{"missing, others are served", "a: :include:{dir}/none, jack", "", "bounce 5.3.5 mail system configuration error; /var/mail/jack"},
		{"relative", "a: :include:none", "", "bounce 5.3.5 mail system configuration error"},
		{"unbalanced quotes", "a: :include:{dir}/list", "-- list --\n\"john\njack\n", "to john@localhost jack@localhost"},
		{"empty", "a: :include:{dir}/list, john", "-- list --\n", "/var/mail/john"},
		{"owner", "a: :include:{dir}/list, jack\nowner-a: root", "-- list --\njohn\n", "to john@localhost jack@localhost from owner-a@localhost"},
		{"includes itself", "a: :include:{dir}/list", "-- list --\n:include:{dir}/list\n", "bounce 5.4.6 alias database loop for :include:{dir}/list"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := routetest.New(t, system+"-- aliases --\n"+tt.aliases+"\n"+tt.files)
			if got := targets(t, w, "a@localhost"); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
	t.Run("too large", func(t *testing.T) {
		w := routetest.New(t, system+"-- aliases --\na: :include:{dir}/list\n")
		if err := os.WriteFile(filepath.Join(w.Dir, "list"), []byte(strings.Repeat("john\n", 1<<20)), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, want := targets(t, w, "a@localhost"), "bounce 5.3.5 mail system configuration error"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

// TestAliasesThatDouble: a chain of aliases that each name the next one twice
// would double with every step.
func TestAliasesThatDouble(t *testing.T) {
	var aliases strings.Builder
	for i := range 90 {
		fmt.Fprintf(&aliases, "a%d: a%d, a%[2]d\n", i, i+1)
	}
	aliases.WriteString("a90: john\n")
	w := routetest.New(t, system+"-- aliases --\n"+aliases.String())
	if got := targets(t, w, "a0@localhost"); got != "/var/mail/john" {
		t.Error(got)
	}
}

// TestAliasesThatAllMeet: every alias names every other one, so that each way
// through them ends in a loop.
func TestAliasesThatAllMeet(t *testing.T) {
	const n = 20
	var aliases strings.Builder
	for i := range n {
		fmt.Fprintf(&aliases, "a%d: john", i)
		for j := range n {
			fmt.Fprintf(&aliases, ", a%d", j)
		}
		aliases.WriteString("\n")
	}
	w := routetest.New(t, system+"-- aliases --\n"+aliases.String())
	if got := targets(t, w, "a0@localhost"); !strings.HasPrefix(got, "/var/mail/john; ") || strings.Count(got, "/var/mail/john") != 1 {
		t.Error(got)
	}
}

func TestAliasesTooDeep(t *testing.T) {
	for _, tt := range []struct {
		depth int
		want  string
	}{{99, "/var/mail/john"}, {101, "bounce 5.4.6 alias database loop for a101"}} {
		var aliases strings.Builder
		for i := range tt.depth {
			fmt.Fprintf(&aliases, "a%d: a%d\n", i, i+1)
		}
		fmt.Fprintf(&aliases, "a%d: john\n", tt.depth)
		w := routetest.New(t, system+"-- aliases --\n"+aliases.String())
		if got := targets(t, w, "a0@localhost"); got != tt.want {
			t.Errorf("depth %d: %s, want %s", tt.depth, got, tt.want)
		}
	}
}

func TestLuserRelay(t *testing.T) {
	tests := []struct{ relay, in, want string }{
		{"fred@other.test", "who@localhost", "to fred@other.test"},
		{"fred@other.test", "john@localhost", "/var/mail/john"},
		{"$user@other.test", "who+e@localhost", "to who@other.test"},
		{"$(user)@other.test", "Who+e@localhost", "to who@other.test"},
		{"${local}@other.test", "who+e@localhost", "to who+e@other.test"},
		{"x.$domain@other.test", "who@localhost", "to x.localhost@other.test"},
		{"$extension@other.test", "who+e@localhost", "to e@other.test"},
		{"$user${recipient_delimiter}lost@other.test", "who@localhost", "to who+lost@other.test"},
		{"u${extension?-$extension}@other.test", "who@localhost", "to u@other.test"},
		{"u${extension?-e}@other.test", "who+e@localhost", "to u-e@other.test"},
		{"u${extension:-none}@other.test", "who@localhost", "to u-none@other.test"},
		{"u${extension:-none}@other.test", "who+e@localhost", "to u@other.test"},
		{"$recipient", "who@localhost", `error 5.1.1 unknown user: "who"`},
		{"$user@local.example.test", "who@localhost", `error 5.1.1 unknown user: "who"`},
		{"jack", "who@localhost", "/var/mail/jack"},
		{"bad@[x]", "who@localhost", "error 5.1.3 bad recipient address syntax: bad@[x]"},
		{"fred@other.test", "postmaster@localhost", "to fred@other.test"},
		{"", "a@localhost", `bounce 5.1.1 unknown user: "gone"; /var/mail/john`},
		{"$local@other.test", "a@localhost", "to gone@other.test; /var/mail/john"},
	}
	for _, tt := range tests {
		w := routetest.New(t, system+"luser_relay = "+tt.relay+"\n-- aliases --\na: gone, john\n")
		if got := targets(t, w, tt.in); got != tt.want {
			t.Errorf("luser_relay = %s, %s: %s, want %s", tt.relay, tt.in, got, tt.want)
		}
	}
}

func TestUserDatabaseFails(t *testing.T) {
	w := routetest.New(t, system+"-- aliases --\na: john, fred@other.test\n")
	w.Users.Err = routetest.ErrUsers
	if got, want := targets(t, w, "john@localhost"), "error 4.3.0 user database unavailable (temporary)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := targets(t, w, "a@localhost"), "defer 4.3.0 user database unavailable; to fred@other.test"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestLocalDomainsFail(t *testing.T) {
	w := routetest.New(t, system+"mydestination = fail:x\n-- aliases --\na: john\n")
	if got, want := targets(t, w, "a@localhost"), "defer 4.3.0 address resolver failure"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestMailboxOfAUser(t *testing.T) {
	w := routetest.New(t, system+"home_mailbox = Maildir/\n-- aliases --\n")
	list, err := w.Router.LocalTargets(context.Background(), address.Split("John@localhost"), nil)
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	want := route.Mailbox{Path: "/home/john/Maildir", Base: "/home/john", Format: route.Maildir, UID: 71001, GID: 71001, User: "john"}
	if list[0].Mailbox != want {
		t.Errorf("%+v, want %+v", list[0].Mailbox, want)
	}
}

func TestTableUsers(t *testing.T) {
	w := routetest.New(t, "")
	users, err := route.TableUsers(context.Background(), w.Opener)
	if err != nil {
		t.Fatal(err)
	}
	u, ok, err := users.Lookup(context.Background(), "root")
	if err != nil || !ok || u.UID != 0 || u.Home == "" || u.Name != "root" {
		t.Errorf("root: %+v, %v, %v", u, ok, err)
	}
	if _, ok, err := users.Lookup(context.Background(), "no-such-user-here"); ok || err != nil {
		t.Errorf("unknown: %v, %v", ok, err)
	}
}
