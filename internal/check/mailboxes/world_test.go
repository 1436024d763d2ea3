package mailboxes

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/check/inventory"
	"postern/internal/explain"
	"postern/internal/finding"
	"postern/internal/setup"
)

// world is a configuration directory that a test made.
type world struct {
	t        *testing.T
	dir      string
	uid, gid int
}

// head is in front of every main.cf: what is not tested is as in a sound
// configuration.
const head = `compatibility_level = 3.6
myhostname = mail.example.net
mydestination = localhost
alias_maps =
queue_directory = {dir}/spool
virtual_mailbox_domains = example.org
virtual_mailbox_maps = texthash:{dir}/mailboxes
virtual_mailbox_base = {dir}/vmail
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
`

// newWorld makes a directory that every user may enter, with vmail of the owner of
// mailboxes, and spool/private.
func newWorld(t *testing.T) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "mailboxes")
	check(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	check(t, os.Chmod(dir, 0o755))
	w := &world{t: t, dir: dir, uid: os.Getuid(), gid: os.Getgid()}
	if w.uid == 0 {
		w.uid, w.gid = 5000, 5000
	}
	w.mkdir("vmail", 0o755)
	w.own("vmail")
	w.mkdir("spool/private", 0o755)
	return w
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) mkdir(name string, mode os.FileMode) {
	w.t.Helper()
	check(w.t, os.MkdirAll(w.path(name), 0o755))
	check(w.t, os.Chmod(w.path(name), mode))
}

// own gives a file to the owner of mailboxes.
func (w *world) own(name string) {
	w.t.Helper()
	check(w.t, os.Lchown(w.path(name), w.uid, w.gid))
}

func (w *world) fill(text string) string {
	return strings.NewReplacer("{dir}", w.dir, "{uid}", fmt.Sprint(w.uid), "{gid}", fmt.Sprint(w.gid)).Replace(text)
}

func (w *world) write(name, text string) {
	w.t.Helper()
	check(w.t, os.WriteFile(w.path(name), []byte(w.fill(text)), 0o644))
}

// open reads the configuration: head and more, with these mailboxes.
func (w *world) open(more, boxes string) *inventory.Inventory {
	w.t.Helper()
	w.write("main.cf", head+more)
	w.write("mailboxes", boxes)
	s, err := setup.Open(w.t.Context(), w.dir, setup.Options{})
	check(w.t, err)
	w.t.Cleanup(func() { _ = s.Close() })
	return inventory.New(s)
}

// room is a Room whose answers do not depend on the machine.
func room() Room { return Room{Sockets: []string{}} }

func (w *world) examine(r Room, i *inventory.Inventory) []finding.Finding {
	w.t.Helper()
	var list []finding.Finding
	r.Examine(w.t.Context(), i, func(f finding.Finding) { list = append(list, f.RelativeTo(w.dir)) })
	return list
}

// address is the other door, for one explained address.
func (w *world) address(r Room, i *inventory.Inventory, addr string) []finding.Finding {
	w.t.Helper()
	x := explain.Explainer{Dir: w.dir, Settings: i.Setup.Settings, Router: i.Setup.Router, Policy: i.Setup.Policy}
	e, err := x.Explain(w.t.Context(), addr)
	check(w.t, err)
	var list []finding.Finding
	r.Address(w.t.Context(), i, &e, func(f finding.Finding) { list = append(list, f.RelativeTo(w.dir)) })
	return list
}

// brief are findings as "VD401 error mailboxes:1", with the first place.
func brief(list []finding.Finding) []string {
	out := []string{}
	for _, f := range list {
		at := "nowhere"
		if len(f.At) > 0 {
			at = f.At[0].String()
		}
		out = append(out, fmt.Sprintf("%s %s %s", f.Code, f.Severity, at))
	}
	return out
}

// want compares findings with what they should be, and looks at their form.
func want(t *testing.T, what string, got []finding.Finding, brief_ ...string) {
	t.Helper()
	if !slices.Equal(brief(got), brief_) && len(got)+len(brief_) > 0 {
		t.Errorf("%s: got %q, want %q", what, brief(got), brief_)
		for _, f := range got {
			t.Logf("  %s\n  fix: %s\n  near: %q", f.Message, f.Fix, f.Near)
		}
	}
	for _, f := range got {
		if f.Message == "" || f.Fix == "" || len(f.At) == 0 || strings.Contains(f.Message+f.Fix, "%!") {
			t.Errorf("%s: incomplete finding %+v", what, f)
		}
	}
}

// lmtpServer is a mailbox server that a test made. It knows the users of a list.
type lmtpServer struct {
	net.Listener
	known map[string]string // replies to RCPT

	mu    sync.Mutex
	lines []string // of all clients
}

func startLMTP(t *testing.T, network, address string, known map[string]string) *lmtpServer {
	t.Helper()
	l, err := net.Listen(network, address)
	check(t, err)
	if network == "unix" {
		check(t, os.Chmod(address, 0o666))
	}
	s := &lmtpServer{Listener: l, known: known}
	var clients sync.WaitGroup
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			clients.Go(func() { s.serve(c) })
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
		clients.Wait()
	})
	return s
}

func (s *lmtpServer) serve(c net.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprintf(c, "220 mail.example.org LMTP\r\n")
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		line := lines.Text()
		s.mu.Lock()
		s.lines = append(s.lines, line)
		s.mu.Unlock()
		switch verb, _, _ := strings.Cut(strings.ToUpper(line), " "); verb {
		case "LHLO":
			fmt.Fprintf(c, "250-mail.example.org\r\n250 PIPELINING\r\n")
		case "RCPT":
			addr := strings.TrimSuffix(strings.TrimPrefix(line, "RCPT TO:<"), ">")
			reply, ok := s.known[addr]
			if !ok {
				reply = s.known["*"]
			}
			fmt.Fprintf(c, "%s\r\n", reply)
		case "DATA", "BDAT":
			fmt.Fprintf(c, "554 5.5.1 no text was to come\r\n")
		case "QUIT":
			fmt.Fprintf(c, "221 2.0.0 Bye\r\n")
			return
		default:
			fmt.Fprintf(c, "250 2.0.0 Ok\r\n")
		}
	}
}

// said are the lines of all clients that begin with a word.
func (s *lmtpServer) said(word string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for _, l := range s.lines {
		if strings.HasPrefix(l, word) {
			list = append(list, l)
		}
	}
	return list
}

// needRoot skips what only root can show; where everything has to run, it fails.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("needs root")
	}
	t.Skip("needs root")
}

func TestEndedContext(t *testing.T) {
	w := newWorld(t)
	i := w.open("virtual_transport = lmtp:unix:private/nothing\n", "john@example.org 1\n")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	room().Examine(ctx, i, func(f finding.Finding) {
		if f.Code == "VD203" {
			t.Errorf("an ended context found %+v", f)
		}
	})
}

func TestRouterThatCouldNotBeMade(t *testing.T) {
	w := newWorld(t)
	i := w.open("virtual_transport =\n", "john@example.org 1\n")
	if i.Setup.Router != nil {
		t.Fatal("the case has a router")
	}
	want(t, "Examine", w.examine(room(), i))
	room().Address(t.Context(), i, &explain.Explanation{}, func(f finding.Finding) { t.Errorf("Address found %+v", f) })
}
