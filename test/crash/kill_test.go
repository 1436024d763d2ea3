// Package crash ends the server in the hardest way while it works: kill -9 at
// random moments under load. Every message that was acknowledged has to be in
// every mailbox it was for, whole, and once, also when an alias of a local user
// has sent it on. Of what is handed to another server, by SMTP or LMTP, as much
// may arrive twice as was under way at the kills: its answer was not recorded yet.
package crash

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	sessions = 10
	boxes    = 20
	mboxes   = 3    // so many of them, the last ones, are mbox files
	atLeast  = 1000 // acknowledged messages of a run
	patience = 60 * time.Second

	// window bounds the deliveries under way to one destination
	// (default_destination_concurrency_limit).
	window = 20
)

// kills is how often the server is killed: 20, or 200 with POSTERN_SOAK.
func kills() int {
	if os.Getenv("POSTERN_SOAK") != "" {
		return 200
	}
	return 20
}

// world is a server with its folder and what it acknowledged.
type world struct {
	t    *testing.T
	bin  string
	dir  string
	port string
	cmd  *exec.Cmd

	mu    sync.Mutex
	acked map[string][]string // token to mailboxes
	count atomic.Int64
	torn  int // messages in mbox files that are not whole
	peers []*peer
}

const mainCF = `myhostname = mx.host.example
mydestination = local.example
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps = hash:%[1]s/aliases
queue_directory = %[1]s/queue
maillog_file = %[1]s/mail.log
virtual_mailbox_base = %[1]s/mail
virtual_uid_maps = static:%[2]d
virtual_gid_maps = static:%[3]d
virtual_minimum_uid = %[2]d
virtual_mailbox_domains = example.org
virtual_mailbox_maps = texthash:%[1]s/users
virtual_mailbox_lock = fcntl
virtual_alias_maps = inline:{ { all@example.org = box0@example.org, box1@example.org, box2@example.org } }
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
spool_segment_size = 4194304
transport_maps = inline:{ {lmtp.example=%[4]s} {smtp.example=%[5]s} }
relay_domains = lmtp.example, smtp.example
minimal_backoff_time = 1s
maximal_backoff_time = 1s
smtp_dns_support_level = disabled
`

func isMbox(box int) bool { return box >= boxes-mboxes }

func newWorld(t *testing.T) *world {
	t.Helper()
	bin := os.Getenv("POSTERN_BIN")
	if bin == "" {
		bin = "../../bin/postern"
	}
	bin, err := filepath.Abs(bin)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(bin); err != nil {
		t.Fatalf("%v: make build first", err)
	}
	w := &world{t: t, bin: bin, dir: t.TempDir(), acked: map[string][]string{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, w.port, _ = net.SplitHostPort(l.Addr().String())
	l.Close()
	uid, gid := os.Getuid(), os.Getgid()
	mail := filepath.Join(w.dir, "mail")
	if err := os.Mkdir(mail, 0o755); err != nil {
		t.Fatal(err)
	}
	if uid == 0 {
		uid, gid = 5000, 5000
		if err := os.Chown(mail, uid, gid); err != nil {
			t.Fatal(err)
		}
		for dir := w.dir; strings.HasPrefix(dir, filepath.Clean(os.TempDir())+"/"); dir = filepath.Dir(dir) {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.peers = []*peer{newPeer(t, "lmtp", true), newPeer(t, "smtp", false)}
	var users strings.Builder
	for i := range boxes {
		slash := "/"
		if isMbox(i) {
			slash = ""
		}
		fmt.Fprintf(&users, "box%d@example.org box%d%s\n", i, i, slash)
	}
	for name, text := range map[string]string{
		"main.cf": fmt.Sprintf(mainCF, w.dir, uid, gid, w.peers[0].nextHop(), w.peers[1].nextHop()), "users": users.String(),
		"aliases": "team: box0@example.org, box3@example.org\n",
		"master.cf": "127.0.0.1:" + w.port + " inet n - n - - smtpd\nvirtual unix - n n - - virtual\nlocal unix - n n - - local\n" +
			"lmtp unix - - n - - lmtp\nsmtp unix - - n - - smtp\n",
	} {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(w.kill)
	return w
}

func (w *world) start() {
	w.t.Helper()
	log, err := os.OpenFile(filepath.Join(w.dir, "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		w.t.Fatal(err)
	}
	defer log.Close()
	w.cmd = exec.Command(w.bin, "serve", "-c", w.dir)
	w.cmd.Stdout, w.cmd.Stderr = log, log
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := w.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if c, err := net.Dial("tcp", "127.0.0.1:"+w.port); err == nil {
			c.Close()
			return
		}
	}
	text, _ := os.ReadFile(filepath.Join(w.dir, "server.log"))
	w.t.Fatalf("the server does not start:\n%s", text)
}

func (w *world) kill() {
	if w.cmd == nil {
		return
	}
	// The whole group: the server and, when root runs the test, its helper.
	_ = syscall.Kill(-w.cmd.Process.Pid, syscall.SIGKILL)
	_ = w.cmd.Wait()
	w.cmd = nil
}

// load sends messages over one connection until it breaks.
func (w *world) load(rng *rand.Rand) {
	c, err := net.Dial("tcp", "127.0.0.1:"+w.port)
	if err != nil {
		return
	}
	defer c.Close()
	r := bufio.NewReader(c)
	ask := func(text string) error {
		if text != "" {
			if _, err := c.Write([]byte(text)); err != nil {
				return err
			}
		}
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return err
			}
			if line[0] != '2' && line[0] != '3' {
				return errors.New(line)
			}
			if line[3] != '-' {
				return nil
			}
		}
	}
	if ask("") != nil || ask("EHLO client.example\r\n") != nil {
		return
	}
	for w.message(rng, ask) == nil {
	}
}

// message sends one message and remembers it when it was acknowledged.
func (w *world) message(rng *rand.Rand, ask func(string) error) error {
	token := fmt.Sprintf("token-%016x", rng.Uint64())
	to, places := []string{}, []string{}
	switch rng.IntN(10) {
	case 0:
		to, places = []string{"all@example.org"}, []string{"box0", "box1", "box2"}
	case 1:
		to, places = []string{"team@local.example"}, []string{"box0", "box3"}
	case 2:
		to, places = []string{"any@lmtp.example", "box4@example.org"}, []string{"lmtp", "box4"}
	case 3:
		to, places = []string{"any@smtp.example"}, []string{"smtp"}
	default:
		for range 1 + rng.IntN(2) {
			box := "box" + strconv.Itoa(3+rng.IntN(boxes-3))
			if len(places) == 0 || places[0] != box {
				to, places = append(to, box+"@example.org"), append(places, box)
			}
		}
	}
	if err := ask("MAIL FROM:<>\r\n"); err != nil {
		return err
	}
	for _, a := range to {
		if err := ask("RCPT TO:<" + a + ">\r\n"); err != nil {
			return err
		}
	}
	if err := ask("DATA\r\n"); err != nil {
		return err
	}
	if err := ask(strings.ReplaceAll(body(token, rng), "\n", "\r\n") + ".\r\n"); err != nil {
		return err
	}
	w.mu.Lock()
	w.acked[token] = places
	w.mu.Unlock()
	w.count.Add(1)
	return nil
}

// body is a text that shows whether all of it is there.
func body(token string, rng *rand.Rand) string {
	lines := 1 + rng.IntN(60)
	if rng.IntN(50) == 0 {
		lines = 6000 // in a file of its own
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Subject: %s\nX-Lines: %d\n\n", token, lines)
	for i := range lines {
		fmt.Fprintf(&b, "%s line %d of a message that has to arrive as it was sent\n", token, i)
	}
	return b.String()
}

// whole checks a delivered message and returns its token.
func whole(text []byte) (string, error) {
	token := field(text, "Subject: ")
	lines, err := strconv.Atoi(field(text, "X-Lines: "))
	if err != nil || !strings.HasPrefix(token, "token-") {
		return token, fmt.Errorf("header is damaged: %.200q", text)
	}
	_, rest, _ := bytes.Cut(text, []byte("\n\n"))
	var want strings.Builder
	for i := range lines {
		fmt.Fprintf(&want, "%s line %d of a message that has to arrive as it was sent\n", token, i)
	}
	if string(rest) != want.String() {
		return token, fmt.Errorf("%s: %d octets of text, want %d", token, len(rest), want.Len())
	}
	return token, nil
}

func field(text []byte, name string) string {
	i := bytes.Index(text, []byte("\n"+name))
	if i < 0 {
		return ""
	}
	line, _, _ := bytes.Cut(text[i+1+len(name):], []byte("\n"))
	return string(line)
}

// finds is what mailboxes hold: token to mailboxes, with a count of each.
type finds map[string]map[string]int

func (f finds) add(token, box string) {
	if f[token] == nil {
		f[token] = map[string]int{}
	}
	f[token][box]++
}

// mbox reads an mbox file. It returns how many messages in it are torn.
func (f finds) mbox(dir, box string) (torn int, err error) {
	text, err := os.ReadFile(filepath.Join(dir, box))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	for i, part := range bytes.Split(append([]byte("\n"), text...), []byte("\nFrom MAILER-DAEMON  ")) {
		if i == 0 {
			continue
		}
		if token, err := whole(append(bytes.TrimRight(part, "\n"), '\n')); err == nil {
			f.add(token, box)
		} else {
			torn++
		}
	}
	return torn, err
}

// found reads all mailboxes.
func (w *world) found() (finds, error) {
	all := finds{}
	w.torn = 0
	for i := range boxes {
		box := "box" + strconv.Itoa(i)
		if isMbox(i) {
			torn, err := all.mbox(filepath.Join(w.dir, "mail"), box)
			if err != nil {
				return nil, err
			}
			w.torn += torn
			continue
		}
		dir := filepath.Join(w.dir, "mail", box, "new")
		entries, err := os.ReadDir(dir)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			text, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				return nil, err
			}
			token, err := whole(text)
			if err != nil {
				return nil, fmt.Errorf("%s/%s: %w", box, e.Name(), err)
			}
			all.add(token, box)
		}
	}
	for _, p := range w.peers {
		if err := p.copyTo(all); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// missing counts acknowledged deliveries that are not there yet.
func (w *world) missing(found finds) (n int, example string) {
	for token, places := range w.acked {
		for _, box := range places {
			if found[token][box] == 0 {
				n, example = n+1, token+" in "+box
			}
		}
	}
	return n, example
}

func TestKill(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("POSTERN_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("seed %d (repeat with POSTERN_SEED=%d)", seed, seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(t)
	n := 0
	for ; n < kills() || w.count.Load() < atLeast; n++ {
		if n > 10*kills() {
			t.Fatalf("only %d messages acknowledged in %d rounds", w.count.Load(), n)
		}
		w.round(rng)
	}
	w.start()
	var found finds
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		var err error
		if found, err = w.found(); err != nil {
			t.Fatal(err)
		}
		if missing, _ := w.missing(found); missing == 0 {
			break
		}
	}
	w.judge(n, found)
}

// round starts the server, loads it, and kills it at a random moment. In some
// rounds it is told to read its configuration again meanwhile.
func (w *world) round(rng *rand.Rand) {
	w.start()
	var wg sync.WaitGroup
	for range sessions {
		r := rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64()))
		wg.Go(func() { w.load(r) })
	}
	for range rng.IntN(3) {
		time.Sleep(time.Duration(rng.IntN(100)) * time.Millisecond)
		if err := w.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			w.t.Fatal(err)
		}
	}
	time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond)
	w.kill()
	wg.Wait()
}

// judge says what was lost and what is there twice.
func (w *world) judge(rounds int, found finds) {
	lost, example := w.missing(found)
	twice, mboxTwice, handedTwice := 0, 0, 0
	for token, places := range found {
		for box, n := range places {
			number, err := strconv.Atoi(strings.TrimPrefix(box, "box"))
			switch {
			case n < 2:
			case err != nil:
				handedTwice += n - 1
			case isMbox(number):
				mboxTwice += n - 1
			default:
				twice++
				example = token + " in " + box
			}
		}
	}
	w.t.Logf("%d kills, %d messages acknowledged, %d lost, %d twice; in mbox files %d twice, %d torn; %d handed to other servers twice",
		rounds, w.count.Load(), lost, twice, mboxTwice, w.torn, handedTwice)
	if most := len(w.peers) * window * rounds; handedTwice > most {
		w.t.Errorf("%d messages handed over twice, want at most %d", handedTwice, most)
	}
	if mboxTwice+w.torn > 0 {
		w.t.Errorf("%d messages twice and %d torn in mbox files, want none", mboxTwice, w.torn)
	}
	if lost > 0 || twice > 0 {
		log, _ := os.ReadFile(filepath.Join(w.dir, "mail.log"))
		w.t.Errorf("for example %s\n%s", example, log[max(0, len(log)-3000):])
	}
}
