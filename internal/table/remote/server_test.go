package remote

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"postern/internal/table"
)

// server is a server for tests. It takes questions and says what reply says,
// bytes as they are; "" hangs up.
type server struct {
	name     string // what follows the type, without the name of a socketmap
	accepted atomic.Int32
	listener net.Listener

	mu    sync.Mutex
	conns []net.Conn
}

// asker reads one question off a connection.
type asker func(in *bufio.Reader) (key string, err error)

// askTCP reads "get KEY".
func askTCP(in *bufio.Reader) (string, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return "", err
	}
	rest, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "get ")
	if !ok {
		return "", fmt.Errorf("question %q", line)
	}
	return url.PathUnescape(rest)
}

// askSocketmap reads a netstring "map KEY".
func askSocketmap(in *bufio.Reader) (string, error) {
	text, err := readNetstring(in)
	if err != nil {
		return "", err
	}
	rest, ok := strings.CutPrefix(text, "map ")
	if !ok {
		return "", fmt.Errorf("question %q", text)
	}
	return rest, nil
}

func netstring(text string) string { return fmt.Sprintf("%d:%s,", len(text), text) }

// serve starts a server. Connections end with the test.
func serve(t *testing.T, network string, ask asker, reply func(key string) string) *server {
	t.Helper()
	s := &server{}
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	s.listen(t, network, address, ask, reply)
	s.name = s.listener.Addr().String()
	if network == "unix" {
		s.name = "unix:" + s.name
	}
	return s
}

func (s *server) listen(t *testing.T, network, address string, ask asker, reply func(key string) string) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	s.listener = l
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.accepted.Add(1)
			s.mu.Lock()
			s.conns = append(s.conns, c)
			s.mu.Unlock()
			wait.Go(func() { talk(c, ask, reply) })
		}
	})
	t.Cleanup(func() { s.stop(); wait.Wait() })
}

// stop closes the listener and all connections.
func (s *server) stop() {
	s.listener.Close()
	s.hangUp()
}

// hangUp closes all connections.
func (s *server) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		c.Close()
	}
	s.conns = nil
}

func talk(c net.Conn, ask asker, reply func(key string) string) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		key, err := ask(in)
		if err != nil {
			return
		}
		text := reply(key)
		last := strings.HasSuffix(text, hangUpMark)
		if _, err := io.WriteString(c, strings.TrimSuffix(text, hangUpMark)); err != nil || last {
			return
		}
	}
}

// hangUpMark at the end of a reply closes the connection.
const hangUpMark = "\x00HANG UP\x00"

// kind is one of the two types in tests.
type kind struct {
	typ     string
	open    table.Constructor
	ask     asker
	network string
	suffix  string // of the table's name
	found   func(value string) string
	missing string
	failing string
}

var kinds = []kind{
	{"tcp", TCP, askTCP, "tcp", "", func(v string) string { return "200 " + encode(v) + "\n" }, "500 no\n", "400 later\n"},
	{"socketmap", Socketmap, askSocketmap, "unix", ":map", func(v string) string { return netstring("OK " + v) }, netstring("NOTFOUND "), netstring("TEMP later")},
}

// address is the name of a table whose server listens there.
func (k kind) address(hostPort string) string {
	if k.typ == "tcp" {
		return hostPort
	}
	return "inet:" + hostPort + k.suffix
}

// start starts a server of this kind and opens a table that asks it.
func (k kind) start(t *testing.T, o *table.Opener, reply func(key string) string) (*server, table.Table) {
	t.Helper()
	s := serve(t, k.network, k.ask, reply)
	return s, k.table(t, o, s)
}

// table opens a table that asks the server.
func (k kind) table(t *testing.T, o *table.Opener, s *server) table.Table {
	t.Helper()
	tab, err := k.open(t.Context(), o, s.name+k.suffix, table.Use{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tab.Close() })
	return tab
}

// journal keeps what is logged.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) Infof(format string, args ...any)    { j.add("info: "+format, args) }
func (j *journal) Warningf(format string, args ...any) { j.add("warning: "+format, args) }

func (j *journal) add(format string, args []any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

func (j *journal) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines, "\n")
}
