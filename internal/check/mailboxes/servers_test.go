package mailboxes

import (
	"context"
	"fmt"
	"net"
	"os"
	system "os/user"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postern/internal/address"
)

const toSocket = "virtual_transport = lmtp:unix:private/dovecot-lmtp\n"

const john = "john@example.org 1\n"

func TestSockets(t *testing.T) {
	for _, c := range []struct {
		name, more string
		make       func(w *world)
		want       []string
		message    string
	}{
		{"missing", toSocket, nil, []string{"VD403 error main.cf:11"}, "{dir}/spool/private/dovecot-lmtp (relative to queue_directory): no such file"},
		{"directory missing", "virtual_transport = lmtp:unix:{dir}/run/dovecot/lmtp\n", nil, []string{"VD403 error main.cf:11"}, "{dir}/run does not exist"},
		{"no prefix", "virtual_transport = lmtp:private/dovecot-lmtp\n", nil, []string{"VD403 error main.cf:11"}, `"private/dovecot-lmtp" is looked up as the name of a host`},
		{"unix with a port", "virtual_transport = lmtp:unix:127.0.0.1:24\n", nil, []string{"VD403 error main.cf:11"}, "no such file"},
		{"no path", "virtual_transport = lmtp:unix:\n", nil, []string{"VD403 error main.cf:11"}, "unix: without the path"},
		{"no service", "virtual_transport = lmpt:unix:private/dovecot-lmtp\n", nil, []string{"VD403 error main.cf:11"}, `master.cf has no delivery service "lmpt"`},
		{"a file", toSocket, func(w *world) { w.write("spool/private/dovecot-lmtp", "") }, []string{"VD403 error main.cf:11"}, "it is a file, not a socket"},
		{"nobody listens", toSocket, func(w *world) { stale(w.t, w.path("spool/private/dovecot-lmtp")) }, []string{"VD403 error main.cf:11"}, "connection refused"},
		{"not in use", toSocket + "virtual_mailbox_domains =\n", nil, nil, ""},
		{"transport table", "transport_maps = inline:{example.org=lmtp:unix:private/other}\n", nil, []string{"VD403 error main.cf:11"}, "private/other"},
		{"user of a transport table", toSocket + "transport_maps = inline:{example.org=discard:, {john@example.org=lmtp:unix:private/other}}\n", nil, []string{"VD403 error main.cf:12"}, "private/other"},
		{"local users", "virtual_transport = discard:\nmailbox_transport = lmtp:unix:private/other\n", nil, []string{"VD403 error main.cf:12"}, "private/other"},
		{"no local users", "virtual_transport = discard:\nmailbox_transport = lmtp:unix:private/other\nmydestination =\n", nil, nil, ""},
		{"names are not asked for", "virtual_transport = lmtp:inet:mailbox.example.org:24\n", nil, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			if c.make != nil {
				c.make(w)
			}
			got := w.examine(room(), w.open(c.more, john))
			want(t, c.name, got, c.want...)
			if len(got) > 0 && !strings.Contains(got[0].Message, w.fill(c.message)) {
				t.Errorf("message %q, want %q in it", got[0].Message, w.fill(c.message))
			}
		})
	}
}

// TestServicesOfMaster shows that services of a master.cf are found, and that those
// that every Postfix has are not missed.
func TestServicesOfMaster(t *testing.T) {
	for _, c := range []struct {
		name, master, transport string
		want                    []string
	}{
		{"short", "smtp inet n - n - - smtpd\n", "virtual", nil},
		{"pipe", "smtp inet n - n - - smtpd\ndovecot unix - n n - - pipe flags=R user=nobody argv=/bin/cat\n", "dovecot", nil},
		{"lmtp by another name", "inbox unix - - n - - lmtp\n", "inbox:unix:private/x", []string{"VD403 error main.cf:11"}},
		{"commented out", "#dovecot unix - n n - - pipe flags=R user=nobody argv=/bin/cat\n", "dovecot", []string{"VD403 error main.cf:11"}},
	} {
		w := newWorld(t)
		w.write("master.cf", c.master)
		want(t, c.name, w.examine(room(), w.open("virtual_transport = "+c.transport+"\n", "john@example.org x/\n")), c.want...)
	}
}

// TestConfined has a service that Postfix would run with queue_directory as its root.
func TestConfined(t *testing.T) {
	const postfix = "compatibility = postfix\n"
	for _, c := range []struct {
		name, chroot, more, near string
		want                     []string
		fix                      string
	}{
		{"outside", "y", postfix, "{dir}/run/lmtp", []string{"VD403 error main.cf:12"}, "write n in the field chroot of lmtp"},
		{"outside, for Postern", "y", "", "{dir}/run/lmtp", nil, ""},
		{"outside, not confined", "n", postfix, "{dir}/run/lmtp", nil, ""},
		{"by default", "-", postfix, "{dir}/run/lmtp", nil, ""},
		{"relative", "y", postfix, "private/lmtp", nil, ""},
		{"inside, but absolute", "y", postfix, "{dir}/spool/private/lmtp", []string{"VD403 error main.cf:12"}, "write lmtp:unix:private/lmtp"},
	} {
		w := newWorld(t)
		w.mkdir("run", 0o755)
		for _, path := range []string{"run/lmtp", "spool/private/lmtp"} {
			startLMTP(t, "unix", w.path(path), map[string]string{"*": "250 2.1.5 Ok"})
		}
		w.write("master.cf", "smtp inet n - n - - smtpd\nlmtp unix - - "+c.chroot+" - - lmtp\n")
		got := w.examine(room(), w.open(c.more+"virtual_transport = lmtp:unix:"+c.near+"\n", john))
		want(t, c.name, got, c.want...)
		if len(got) > 0 && !strings.Contains(got[0].Fix, c.fix) {
			t.Errorf("%s: fix %q, want %q in it", c.name, got[0].Fix, c.fix)
		}
	}
}

// stale makes a socket at which nobody listens.
func stale(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	check(t, err)
	l.SetUnlinkOnClose(false)
	check(t, l.Close())
}

func TestOtherSocketsAreNear(t *testing.T) {
	w := newWorld(t)
	usual := w.path("dovecot-lmtp-of-another")
	startLMTP(t, "unix", w.path("spool/private/lmtp-inbox"), nil)
	startLMTP(t, "unix", w.path("spool/private/lmtp"), nil) // would be the service of master.cf
	startLMTP(t, "unix", usual, nil)
	stale(t, w.path("spool/private/old-lmtp"))
	r := Room{Sockets: []string{usual, w.path("nothing")}}
	got := w.examine(r, w.open(toSocket, john))
	want(t, "missing", got, "VD403 error main.cf:11")
	if len(got) != 1 {
		return
	}
	if near := []string{"private/lmtp-inbox", w.path("spool/private/lmtp-inbox"), usual}; !slices.Equal(got[0].Near, near) {
		t.Errorf("near %q, want %q", got[0].Near, near)
	}
	if !strings.Contains(got[0].Fix, "lmtp:unix:private/lmtp-inbox") {
		t.Errorf("fix %q", got[0].Fix)
	}
	got = w.examine(r, w.open("virtual_transport = lmtp:unix:spool/private/lmtp-inbox\n", john))
	if len(got) != 1 || !slices.Contains(got[0].Near, "private/lmtp-inbox") {
		t.Errorf("another directory: %+v", got)
	}
	got = w.examine(room(), w.open("virtual_transport = lmpt:unix:x\n", john))
	if len(got) != 1 || !slices.Contains(got[0].Near, "lmtp") {
		t.Errorf("a service that is spelt wrong: %+v", got)
	}
}

func TestSlashInFront(t *testing.T) {
	w := newWorld(t)
	w.mkdir("run", 0o755)
	startLMTP(t, "unix", w.path("run/mailboxes"), nil)
	got := w.examine(room(), w.open("virtual_transport = lmtp:unix:"+strings.TrimPrefix(w.path("run/mailboxes"), "/")+"\n", john))
	if len(got) != 1 || !slices.Equal(got[0].Near, []string{w.path("run/mailboxes")}) {
		t.Errorf("no slash in front: %+v", got)
	}
}

func TestPermission(t *testing.T) {
	needRoot(t)
	if _, err := system.Lookup("nobody"); err != nil {
		t.Skip("there is no user nobody")
	}
	w := newWorld(t)
	socket := w.path("spool/private/dovecot-lmtp")
	startLMTP(t, "unix", socket, map[string]string{"*": "250 2.1.5 Ok"})
	i := w.open(toSocket+"mail_owner = nobody\n", john)
	want(t, "everybody may", w.examine(room(), i))
	check(t, os.Chmod(socket, 0o600))
	got := w.examine(room(), i)
	want(t, "only root may", got, "VD403 error main.cf:11")
	if len(got) == 1 && !strings.Contains(got[0].Message, "may not connect to "+socket) {
		t.Errorf("message %q", got[0].Message)
	}
	check(t, os.Chmod(socket, 0o666))
	check(t, os.Chmod(w.path("spool/private"), 0o700))
	got = w.examine(room(), i)
	want(t, "a closed directory", got, "VD403 error main.cf:11")
	if len(got) == 1 && !strings.Contains(got[0].Fix, "chmod a+x "+w.path("spool/private")) {
		t.Errorf("fix %q", got[0].Fix)
	}
}

func TestPermissionOfWhoAsks(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may connect to everything")
	}
	w := newWorld(t)
	startLMTP(t, "unix", w.path("spool/private/dovecot-lmtp"), nil)
	check(t, os.Chmod(w.path("spool/private/dovecot-lmtp"), 0))
	got := w.examine(room(), w.open(toSocket+"mail_owner = no-such-user\n", john))
	want(t, "nobody may", got, "VD403 error main.cf:11")
}

func TestNetwork(t *testing.T) {
	refused := func(context.Context, string, string) (net.Conn, error) { return nil, unix.ECONNREFUSED }
	unreachable := func(context.Context, string, string) (net.Conn, error) { return nil, unix.ENETUNREACH }
	silent := func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	strange := func(context.Context, string, string) (net.Conn, error) { return nil, unix.EMFILE }
	for _, c := range []struct {
		name    string
		dial    func(context.Context, string, string) (net.Conn, error)
		next    string
		want    []string
		message string
	}{
		{"refused", refused, "inet:127.0.0.1:24", []string{"VD403 error main.cf:11"}, "127.0.0.1:24: nobody listens"},
		{"localhost", refused, "inet:localhost", []string{"VD403 error main.cf:11"}, "127.0.0.1:24"},
		{"in the hosts file", refused, "inet:mailbox.test:2003", []string{"VD403 error main.cf:11"}, "192.0.2.7:2003"},
		{"IPv6", refused, "[ipv6:::1]:24", []string{"VD403 error main.cf:11"}, "[::1]:24"},
		{"unreachable", unreachable, "[192.0.2.1]", []string{"VD403 error main.cf:11"}, "no way there"},
		{"silent", silent, "inet:192.0.2.1:24", []string{"VD403 error main.cf:11"}, "no answer within 50ms"},
		{"trouble of this process", strange, "inet:192.0.2.1:24", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.write("hosts", "192.0.2.7 mailbox.test\n")
			r := Room{Sockets: []string{}, Dial: c.dial, ServerTime: 50 * time.Millisecond, Hosts: w.path("hosts")}
			got := w.examine(r, w.open("virtual_transport = lmtp:"+c.next+"\n", john))
			want(t, c.name, got, c.want...)
			if len(got) > 0 && !strings.Contains(got[0].Message, c.message) {
				t.Errorf("message %q, want %q in it", got[0].Message, c.message)
			}
		})
	}
}

func TestUsers(t *testing.T) {
	w := newWorld(t)
	s := startLMTP(t, "unix", w.path("spool/private/dovecot-lmtp"), map[string]string{
		"john@example.org": "250 2.1.5 OK", "full@example.org": "452 4.2.2 Mailbox full", "*": "550 5.1.1 User doesn't exist"})
	boxes := "john@example.org 1\njill@example.org 1\nfull@example.org 1\nsent.on@example.org 1\n@example.org 1\n"
	i := w.open(toSocket+"virtual_alias_maps = inline:{sent.on@example.org=a@elsewhere.example}\nvirtual_alias_domains =\n", boxes)
	got := w.examine(room(), i)
	want(t, "Examine", got, "VD203 error mailboxes:2")
	if len(got) == 1 && !strings.Contains(got[0].Message, "jill@example.org") {
		t.Errorf("message %q", got[0].Message)
	}
	if rcpt := s.said("RCPT"); len(rcpt) != 3 {
		t.Errorf("asked for %q", rcpt)
	}
	if from := s.said("MAIL"); !slices.Equal(from, []string{"MAIL FROM:<>"}) {
		t.Errorf("senders %q", from)
	}
	want(t, "jill", w.address(room(), i, "jill@example.org"), "VD203 error mailboxes:2")
	want(t, "john", w.address(room(), i, "john@example.org"))
	if text := append(s.said("DATA"), s.said("BDAT")...); len(text) > 0 {
		t.Errorf("a message was sent: %q", text)
	}
	if len(s.said("QUIT")) == 0 || len(s.said("RSET")) == 0 {
		t.Errorf("no RSET or QUIT: %q", s.lines)
	}
}

func TestSample(t *testing.T) {
	w := newWorld(t)
	s := startLMTP(t, "unix", w.path("spool/private/dovecot-lmtp"), map[string]string{"*": "550 5.1.1 no"})
	var boxes strings.Builder
	for n := range 200 {
		fmt.Fprintf(&boxes, "u%d@example.org 1\n", n)
	}
	r := Room{Sockets: []string{}, Perm: func(n int) []int {
		list := make([]int, n)
		for k := range list {
			list[k] = n - 1 - k
		}
		return list
	}}
	got := w.examine(r, w.open(toSocket, boxes.String()))
	want(t, "200 users", got, "VD203 error mailboxes:200")
	rcpt := s.said("RCPT")
	if len(rcpt) != Sample || rcpt[0] != "RCPT TO:<u199@example.org>" {
		t.Errorf("%d recipients, the first is %q", len(rcpt), rcpt)
	}
	if len(got) == 1 && !strings.Contains(got[0].Message, "20 of 20") {
		t.Errorf("message %q", got[0].Message)
	}
}

func TestSilentServer(t *testing.T) {
	w := newWorld(t)
	l, err := net.Listen("unix", w.path("spool/private/dovecot-lmtp"))
	check(t, err)
	defer l.Close()
	check(t, os.Chmod(w.path("spool/private/dovecot-lmtp"), 0o666))
	r := room()
	r.ServerTime = 50 * time.Millisecond
	want(t, "a server that says nothing", w.examine(r, w.open(toSocket, john)))
}

func TestCureOf(t *testing.T) {
	a := address.Address{Local: "john", Domain: "example.org"}
	for reply, want := range map[string]string{
		"550 5.1.1 <john@example.org> User doesn't exist: john":             "auth_username_format",
		"550 5.1.1 <john@example.org> User doesn't exist: john@example.org": "one list of users",
		"552 5.2.2 <john@example.org> Quota exceeded":                       "make room",
		"550 5.2.2 full": "make room",
		"550":            "one list of users",
	} {
		if got := cureOf(a, reply); !strings.Contains(got, want) {
			t.Errorf("cureOf(%q) = %q, want %q in it", reply, got, want)
		}
	}
}

func TestParseEndpoint(t *testing.T) {
	for text, want := range map[string]endpoint{
		"unix:private/lmtp":            {unix: "private/lmtp"},
		"unix:/run/lmtp":               {unix: "/run/lmtp"},
		"inet:127.0.0.1:2003":          {host: "127.0.0.1", port: "2003"},
		"inet:[::1]:lmtp":              {host: "::1", port: "24"},
		"[ipv6:::1]":                   {host: "::1", port: "24"},
		"mail.example.org":             {host: "mail.example.org", port: "24"},
		"mail.example.org:24":          {host: "mail.example.org", port: "24"},
		"unix:a, unix:b":               {unix: "a"},
		"inet:mail.example.org, other": {host: "mail.example.org", port: "24"},
	} {
		if got, err := parseEndpoint(text, "24"); err != nil || got != want {
			t.Errorf("parseEndpoint(%q) = %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "unix:", "inet:", "[]", ":24"} {
		if got, err := parseEndpoint(text, "24"); err == nil {
			t.Errorf("parseEndpoint(%q) = %+v", text, got)
		}
	}
}

func FuzzParseEndpoint(f *testing.F) {
	for _, s := range []string{"unix:private/lmtp", "inet:[::1]:24", "[ipv6:::1]", "a:b:c", ",", "inet:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := parseEndpoint(text, "24")
		if err == nil && (e.unix == "") == (e.host == "") {
			t.Errorf("parseEndpoint(%q) = %+v", text, e)
		}
	})
}

func FuzzReply(f *testing.F) {
	f.Add("john", "550 5.1.1 User doesn't exist: john")
	f.Fuzz(func(t *testing.T, local, reply string) {
		if cureOf(address.Address{Local: local, Domain: "example.org"}, reply) == "" {
			t.Errorf("no cure for %q", reply)
		}
	})
}
