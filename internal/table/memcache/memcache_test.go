package memcache_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/table"
	"postern/internal/table/compose"
	"postern/internal/table/memcache"
	"postern/internal/table/tabletest"
)

// memcached is a server with a port of its own.
type memcached struct {
	address string
	cmd     *exec.Cmd
}

var shared struct {
	once   sync.Once
	server *memcached
	err    error
	tables atomic.Int64 // to keep the keys of tests apart
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.server != nil {
		shared.server.stop()
	}
	os.Exit(code)
}

// server is the one that most tests share. Without memcached the test is
// skipped, but fails where CI is true.
func server(t testing.TB) *memcached {
	t.Helper()
	program := find(t, "memcached")
	shared.once.Do(func() { shared.server, shared.err = start(program, freePort()) })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server
}

func find(t testing.TB, name string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name} {
		if path, err := exec.LookPath(path); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed", name)
	}
	t.Skipf("%s is not installed", name)
	return ""
}

func freePort() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start runs a server at host:port, or at the path of a socket.
func start(program, address string) (*memcached, error) {
	network, args := "unix", []string{"-s", address}
	if host, port, err := net.SplitHostPort(address); err == nil {
		network, args = "tcp", []string{"-l", host, "-p", port, "-U", "0"}
	}
	if os.Getuid() == 0 {
		args = append(args, "-u", "nobody")
	}
	m := &memcached{address: address, cmd: exec.Command(program, args...)}
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	var err error
	for range 200 {
		var c net.Conn
		if c, err = net.Dial(network, address); err == nil {
			return m, c.Close()
		}
		time.Sleep(20 * time.Millisecond)
	}
	m.stop()
	return nil, fmt.Errorf("memcached does not start: %w", err)
}

func (m *memcached) stop() {
	m.cmd.Process.Kill()
	m.cmd.Wait()
}

// talk sends a command and returns the answer, up to a line that begins with
// end.
func (m *memcached) talk(t testing.TB, command, end string) string {
	t.Helper()
	c, err := net.Dial("tcp", m.address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, command); err != nil {
		t.Fatal(err)
	}
	var answer []byte
	for buf := make([]byte, 4096); ; {
		n, err := c.Read(buf)
		answer = append(answer, buf[:n]...)
		if bytes.HasSuffix(answer, []byte(end+"\r\n")) {
			return string(answer)
		}
		if err != nil {
			t.Fatalf("%.40q: %q, %v", command, answer, err)
		}
	}
}

func (m *memcached) set(t testing.TB, key, value string) {
	t.Helper()
	m.talk(t, fmt.Sprintf("set %s 0 0 %d\r\n%s\r\n", key, len(value), value), "STORED")
}

// get is "flags value", or "-".
func (m *memcached) get(t testing.TB, key string) string {
	t.Helper()
	lines := strings.Split(m.talk(t, "get "+key+"\r\n", "END"), "\r\n")
	if len(lines) < 3 {
		return "-"
	}
	return strings.Split(lines[0], " ")[2] + " " + lines[1]
}

// recorder keeps what is logged.
type recorder struct {
	mu    sync.Mutex
	lines []string
}

func (r *recorder) Infof(format string, args ...any) { r.Warningf("info: "+format, args...) }

func (r *recorder) Warningf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

// take returns the lines since the last call, without dir.
func (r *recorder) take(dir string) (lines []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, line := range r.lines {
		lines = append(lines, strings.ReplaceAll(line, dir+"/", ""))
	}
	r.lines = nil
	return lines
}

func write(t testing.TB, cf string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(dir+"/t.cf", []byte(cf), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// open opens a table of that configuration, with inline: tables for backups.
func open(t testing.TB, o *table.Opener, cf string, use table.Use) (tab table.Table, dir string) {
	t.Helper()
	dir = write(t, cf)
	o.Types = map[string]table.Constructor{"inline": compose.Inline, "fail": compose.Fail, "memcache": memcache.Open}
	tab, err := o.Open(context.Background(), "memcache:"+dir+"/t.cf", use)
	if err != nil {
		t.Fatalf("open %s: %v", cf, err)
	}
	t.Cleanup(func() { o.Close() })
	return tab, dir
}

// ask returns the value of a key, "-" when it is not found, and "error" when
// the lookup failed.
func ask(t testing.TB, tab table.Table, key string) string {
	t.Helper()
	got, err := tab.Lookup(context.Background(), key)
	var e *table.Error
	switch {
	case err == nil:
		return got.Value
	case err == table.ErrNotFound:
		return "-"
	case errors.As(err, &e):
		return "error"
	}
	t.Fatalf("Lookup(%q): %v is no *table.Error", key, err)
	return ""
}

func TestConformance(t *testing.T) {
	m := server(t)
	tabletest.Suite{
		Stored: []string{"john@example.test", "@example.test", `"quoted"@example.test`, "o'neil@example.test", "example.test"},
		Open: func(t *testing.T, use table.Use, rows []tabletest.Row) table.Table {
			prefix := fmt.Sprintf("t%d:", shared.tables.Add(1))
			for _, r := range rows {
				m.set(t, prefix+r.Key, r.Value)
			}
			dir := write(t, "memcache = inet:"+m.address+"\nkey_format = "+prefix+"%s\ndata_size_limit = 100000\n")
			tab, err := memcache.Open(t.Context(), &table.Opener{}, dir+"/t.cf", use)
			if err != nil {
				t.Fatal(err)
			}
			return tab
		},
	}.Run(t)
}

const backup = "backup = inline:{john@example.test=backup, {two@example.test = a b}, long@example.test=0123456789}\n"

func TestBackup(t *testing.T) {
	m := server(t)
	prefix := fmt.Sprintf("b%d:", shared.tables.Add(1))
	log := new(recorder)
	tab, dir := open(t, &table.Opener{Log: log}, "memcache = inet:"+m.address+"\nkey_format = "+prefix+"%s\nflags = 7\ndata_size_limit = 9\n"+backup, table.Use{Fold: true})
	m.set(t, prefix+"only@example.test", "cached")
	for key, want := range map[string]string{
		"only@example.test": "cached", "John@example.test": "backup", "two@example.test": "a b", "long@example.test": "0123456789",
		"none@example.test": "-", strings.Repeat("x", 300): "-",
	} {
		if got := ask(t, tab, key); got != want {
			t.Errorf("Lookup(%.40q) = %q, want %q", key, got, want)
		}
	}
	for key, want := range map[string]string{"john@example.test": "7 backup", "two@example.test": "7 a b", "long@example.test": "-", "none@example.test": "-"} {
		if got := m.get(t, prefix+key); got != want {
			t.Errorf("stored under %q: %q, want %q", key, got, want)
		}
	}
	m.set(t, prefix+"john@example.test", "changed")
	if got := ask(t, tab, "john@example.test"); got != "changed" {
		t.Errorf("after a change in memcached: %q", got)
	}
	want := []string{`memcache:t.cf: the value of "` + prefix + `long@example.test" is not stored, it has 10 bytes: data_size_limit = 9`}
	if diff := cmp.Diff(want, log.take(dir)); diff != "" {
		t.Errorf("log (-want +got)\n%s", diff)
	}
}

// TestExpiry holds that ttl is passed on: what has run out at once is not kept.
func TestExpiry(t *testing.T) {
	m := server(t)
	prefix := fmt.Sprintf("e%d:", shared.tables.Add(1))
	const past = "2592001" // more than 30 days are a time, of the year 1970
	tab, _ := open(t, &table.Opener{}, "memcache = inet:"+m.address+"\nkey_format = "+prefix+"%s\nttl = "+past+"\n"+backup, table.Use{})
	if got := ask(t, tab, "john@example.test"); got != "backup" {
		t.Errorf("Lookup = %q, want backup", got)
	}
	if got := m.get(t, prefix+"john@example.test"); got != "-" {
		t.Errorf("stored: %q, want nothing", got)
	}
}

// TestServerDown holds what is answered and logged while the server is away,
// with and without a backup.
func TestServerDown(t *testing.T) {
	program := find(t, "memcached")
	address := freePort()
	now := time.Unix(1e9, 0)
	o := func(log *recorder) *table.Opener {
		return &table.Opener{Log: log, Now: func() time.Time { return now }}
	}
	cf := "memcache = inet:" + address + "\n"
	log, logBackup := new(recorder), new(recorder)
	alone, dir := open(t, o(log), cf, table.Use{})
	backed, dirBacked := open(t, o(logBackup), cf+backup, table.Use{})
	step := func(when, want, wantBacked string, lines ...string) {
		t.Helper()
		if got := ask(t, alone, "john@example.test"); got != want {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
		if got := ask(t, backed, "john@example.test"); got != wantBacked {
			t.Errorf("%s, with a backup: %q, want %q", when, got, wantBacked)
		}
		for i, line := range lines {
			lines[i] = strings.ReplaceAll(line, "ADDRESS", address)
		}
		if diff := cmp.Diff(lines, log.take(dir)); diff != "" {
			t.Errorf("%s: log (-want +got)\n%s", when, diff)
		}
		if diff := cmp.Diff(lines, logBackup.take(dirBacked)); diff != "" {
			t.Errorf("%s: log (-want +got)\n%s", when, diff)
		}
	}
	const refused = "memcache:t.cf: t.cf, line 1: memcache: ADDRESS: connection refused: is memcached running there, and does it listen on this address and port (its options -l and -p)?"
	step("down when it was opened", "error", "backup", refused)
	step("still", "error", "backup")
	m, err := start(program, address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { m.stop() }()
	step("up, but not tried yet", "error", "backup")
	now = now.Add(time.Second)
	m.set(t, "john@example.test", "cached")
	step("up", "cached", "cached", "info: memcached server ADDRESS answers again")
	m.stop()
	if m, err = start(program, address); err != nil {
		t.Fatal(err)
	}
	m.set(t, "john@example.test", "restarted")
	step("restarted", "restarted", "restarted")
	m.stop()
	step("stopped", "error", "backup", refused)
}

// TestTold holds that a failure says that the log has it, and that tables which
// ask the same server tell of it once.
func TestTold(t *testing.T) {
	large, _ := strange(t, "VALUE k 0 20000\r\n")
	for server, tellers := range map[string]int{freePort(): 1, large: 2} {
		log := new(recorder)
		o := &table.Opener{Log: log}
		first, _ := open(t, o, "memcache = inet:"+server+"\n", table.Use{})
		second, _ := open(t, o, "memcache = inet:"+server+"\n", table.Use{})
		for range 3 {
			for _, tab := range []table.Table{first, second} {
				_, err := tab.Lookup(t.Context(), "k")
				var e *table.Error
				if !errors.As(err, &e) || !e.Told {
					t.Errorf("Lookup: %v, want a failure that is told", err)
				}
			}
		}
		if lines := log.take(""); len(lines) != tellers {
			t.Errorf("log %q, want %d lines", lines, tellers)
		}
	}
}

// TestIdle closes a connection after a minute without use.
func TestIdle(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var dials atomic.Int64
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			dials.Add(1)
			go func() {
				defer c.Close()
				for buf := make([]byte, 100); ; {
					if _, err := c.Read(buf); err != nil {
						return
					}
					io.WriteString(c, "END\r\n")
				}
			}()
		}
	}()
	now := time.Unix(1e9, 0)
	tab, _ := open(t, &table.Opener{Now: func() time.Time { return now }}, "memcache = inet:"+l.Addr().String()+"\n", table.Use{})
	for _, step := range []struct {
		pause time.Duration
		dials int64
	}{{0, 1}, {59 * time.Second, 1}, {59 * time.Second, 1}, {time.Minute, 2}} {
		now = now.Add(step.pause)
		if got := ask(t, tab, "k"); got != "-" || dials.Load() != step.dials {
			t.Errorf("after %v: %s on connection %d, want - on %d", step.pause, got, dials.Load(), step.dials)
		}
	}
}

func TestSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "memcached") // short enough for the name of a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	m, err := start(find(t, "memcached"), dir+"/socket")
	if err != nil {
		t.Fatal(err)
	}
	defer m.stop()
	tab, _ := open(t, &table.Opener{}, "memcache = unix:"+dir+"/socket\n"+backup, table.Use{})
	for range 2 {
		if got := ask(t, tab, "john@example.test"); got != "backup" {
			t.Errorf("Lookup = %q, want backup", got)
		}
	}
	got, err := tab.Lookup(t.Context(), "john@example.test")
	if err != nil || len(got.At) != 1 || got.At[0].Query != "get john@example.test" {
		t.Errorf("Lookup = %+v, %v; want an answer of memcached", got, err)
	}
}

// strange is a server that answers each command with what a test says.
func strange(t *testing.T, answers ...string) (address string, commands *atomic.Int64) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	commands = new(atomic.Int64)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			buf := make([]byte, 1000)
			c.Read(buf)
			n := commands.Add(1)
			if answer := answers[min(int(n), len(answers))-1]; answer != "" {
				io.WriteString(c, answer)
				c.Close()
			}
		}
	}()
	return l.Addr().String(), commands
}

// TestRetry holds how often a command is tried.
func TestRetry(t *testing.T) {
	good := "VALUE k 0 1\r\nv\r\nEND\r\n"
	tests := []struct {
		name     string
		answers  []string
		want     string
		commands int64
	}{
		{"garbage once", []string{"ERROR\r\n", good}, "v", 2},
		{"garbage", []string{"ERROR\r\n"}, "error", 2},
		{"closed once", []string{"VALUE k 0 1\r\n", good}, "v", 2},
		{"miss", []string{"END\r\n"}, "-", 1},
		{"too large", []string{"VALUE k 0 10241\r\n"}, "error", 1},
		{"other key", []string{"VALUE kk 0 1\r\nv\r\nEND\r\n", good}, "v", 2},
		{"mute once", []string{"", good}, "v", 2},
	}
	var wait sync.WaitGroup // each waits for a second
	for _, tt := range tests {
		address, commands := strange(t, tt.answers...)
		tab, _ := open(t, &table.Opener{}, "memcache = inet:"+address+"\ntimeout = 1\n", table.Use{})
		wait.Go(func() {
			if got := ask(t, tab, "k"); got != tt.want || commands.Load() != tt.commands {
				t.Errorf("%s: Lookup = %q with %d commands, want %q with %d", tt.name, got, commands.Load(), tt.want, tt.commands)
			}
		})
	}
	wait.Wait()
}

// TestGivenUp ends a lookup in the middle.
func TestGivenUp(t *testing.T) {
	address, _ := strange(t, "", "END\r\n")
	tab, _ := open(t, &table.Opener{}, "memcache = inet:"+address+"\n"+backup, table.Use{})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	_, err := tab.Lookup(ctx, "john@example.test")
	var e *table.Error
	if !errors.Is(err, context.Canceled) || !errors.As(err, &e) {
		t.Errorf("given up: %v", err)
	}
	if got := ask(t, tab, "john@example.test"); got != "backup" {
		t.Errorf("then: %q, want backup", got)
	}
}

var update = flag.Bool("update", false, "rewrite the golden files")

var wrong = []struct {
	name, cf string
	use      table.Use
	ask      bool
}{
	{name: "missing file"},
	{name: "unknown key", cf: "memcached = inet:127.0.0.1:11211\nresult_format = %s\n"},
	{name: "no equals sign", cf: "memcache inet:127.0.0.1:11211\n"},
	{name: "server", cf: "memcache = localhost:11211\n"},
	{name: "address", cf: "memcache = inet:::1:11211\n"},
	{name: "empty server", cf: "memcache =\n"},
	{name: "key_format", cf: "key_format = aliases:%x\n"},
	{name: "key_format without a letter", cf: "key_format = aliases\n"},
	{name: "timeout", cf: "timeout = 2s\n"},
	{name: "max_try", cf: "max_try = 0\n"},
	{name: "backup", cf: "backup = hash:/etc/postfix/virtual\n"},
	{name: "backup without a type", cf: "backup = virtual\n"},
	{name: "circle", cf: "backup = memcache:{dir}/t.cf\n"},
	{name: "security", cf: "memcache = inet:127.0.0.1:11211\n", use: table.Use{NoRemote: true}},
	{name: "server down", cf: "memcache = inet:{closed}\n", ask: true},
	{name: "no socket", cf: "memcache = unix:/none/memcached\n", ask: true},
	{name: "mute server", cf: "memcache = inet:{mute}\ntimeout = 1\nmax_try = 1\n", ask: true},
	{name: "not memcached", cf: "memcache = inet:{garbage}\nmax_try = 1\n", ask: true},
	{name: "value too large", cf: "memcache = inet:{large}\n", ask: true},
}

// TestMessages compares what is said of wrong configurations with
// testdata/messages.
func TestMessages(t *testing.T) {
	closed := freePort()
	mute, _ := strange(t, "")
	garbage, _ := strange(t, "HTTP/1.1 400 Bad Request\r\n")
	large, _ := strange(t, "VALUE k 0 20000\r\n")
	var out strings.Builder
	for _, tt := range wrong {
		dir, log := t.TempDir(), new(recorder)
		if tt.cf != "" {
			cf := strings.NewReplacer("{dir}", dir, "{closed}", closed, "{mute}", mute, "{garbage}", garbage, "{large}", large).Replace(tt.cf)
			if err := os.WriteFile(dir+"/t.cf", []byte(cf), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		o := &table.Opener{Log: log, Types: map[string]table.Constructor{"memcache": memcache.Open}}
		tab, err := o.Open(t.Context(), "memcache:"+dir+"/t.cf", tt.use)
		if tt.ask {
			_, err = tab.Lookup(t.Context(), "k")
		}
		o.Close()
		fmt.Fprintf(&out, "== %s\n%s", tt.name, tt.cf)
		for _, line := range log.take(dir) {
			fmt.Fprintf(&out, "-> warning: %s\n", line)
		}
		if err != nil {
			fmt.Fprintf(&out, "-> error: %s\n", err)
		}
		out.WriteString("\n")
		text := strings.NewReplacer(dir+"/", "", closed, "ADDRESS", mute, "ADDRESS", garbage, "ADDRESS", large, "ADDRESS").Replace(out.String())
		out.Reset()
		out.WriteString(text)
	}
	got := out.String()
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("testdata/messages", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/messages")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("testdata/messages (-want +got; -update accepts it)\n%s", diff)
	}
}
