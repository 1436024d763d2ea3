package ldap_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/table"
	"postern/internal/table/ldap"
)

// relay is a way to a server that can be blocked and cut.
type relay struct {
	net.Listener
	target string
	mu     sync.Mutex // guards conns and most
	conns  []net.Conn
	most   int64 // connections at a time
	open   atomic.Int64
	dials  atomic.Int64
	mute   atomic.Bool  // takes connections and says nothing
	lost   atomic.Int64 // connections up to this number swallow what is said
}

func newRelay(t *testing.T, target string) *relay {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{Listener: l, target: target}
	t.Cleanup(func() { r.cut(); r.Close() })
	r.run(l)
	return r
}

func (r *relay) run(l net.Listener) {
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go r.serve(c)
		}
	}()
}

// again listens at the same address after Close.
func (r *relay) again(t *testing.T) {
	l, err := net.Listen("tcp", r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	r.Listener = l
	r.run(l)
}

func (r *relay) serve(c net.Conn) {
	r.mu.Lock()
	r.conns = append(r.conns, c)
	number := r.dials.Add(1)
	r.most = max(r.most, r.open.Add(1))
	r.mu.Unlock()
	defer r.open.Add(-1)
	defer c.Close()
	if r.mute.Load() {
		io.Copy(io.Discard, c)
		return
	}
	to, err := net.Dial("tcp", r.target)
	if err != nil {
		return
	}
	go func() { io.Copy(to, c); to.Close() }()
	io.Copy(writer(func(p []byte) (int, error) {
		if number <= r.lost.Load() {
			return len(p), nil
		}
		return c.Write(p)
	}), to)
}

type writer func(p []byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// silence lets no answer through on the connections that are open now.
func (r *relay) silence() { r.lost.Store(r.dials.Load()) }

// cut ends all connections.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		c.Close()
	}
	r.conns = nil
}

// one is a table with the key "k" and the value "v".
func one(t *testing.T, o *table.Opener, s *slapd, lines ...string) table.Table {
	base := s.branch(t)
	s.add(t, "cn=k,"+base, "objectClass", "post", "postKey", "k", "postValue", "v")
	lines = append(lines, "search_base = "+base, "query_filter = (postKey=%s)", "result_attribute = postValue")
	return open(t, o, strings.Join(lines, "\n")+"\n", table.Use{})
}

func want(t *testing.T, tab table.Table, when, want string) {
	t.Helper()
	if got := ask(t, tab, "k"); got != want {
		_, err := tab.Lookup(t.Context(), "k")
		t.Errorf("%s: %q, want %q (%v)", when, got, want, err)
	}
}

// clock is a clock that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// TestServerDown holds what is answered and logged while a server is away.
func TestServerDown(t *testing.T) {
	s := directory(t)
	r := newRelay(t, s.address)
	address := r.Addr().String()
	r.Close()
	log, now := new(recorder), &clock{now: time.Unix(1e9, 0)}
	tab := one(t, &table.Opener{Log: log, Now: now.Now}, s, "server_host = "+address)
	logged := func(when string, want ...string) {
		t.Helper()
		var got []string
		for _, line := range log.take() {
			line = strings.ReplaceAll(line, tab.Name(), "TABLE")
			got = append(got, strings.ReplaceAll(line, address, "ADDRESS"))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: log (-want +got)\n%s", when, diff)
		}
	}
	want(t, tab, "down when it was opened", "error")
	logged("down", "TABLE: ldap://ADDRESS: connection refused: is the directory server running there, and does it listen on this address and port?")

	r.again(t)
	want(t, tab, "up, but not tried yet", "error")
	logged("not tried")
	now.add(5 * time.Second)
	want(t, tab, "up", "v")
	logged("up", "info: LDAP server ldap://ADDRESS answers again")

	r.cut() // as a restart of the server does
	want(t, tab, "after a dead connection", "v")
	want(t, tab, "then", "v")
	logged("dead connection")

	r.Close()
	r.cut()
	for range 20 {
		want(t, tab, "down again", "error")
		now.add(time.Second)
	}
	logged("down again", "TABLE: ldap://ADDRESS: connection refused: is the directory server running there, and does it listen on this address and port?")
	now.add(time.Minute)
	want(t, tab, "still down", "error")
	logged("still down", "TABLE: ldap://ADDRESS: connection refused: is the directory server running there, and does it listen on this address and port? (and 3 times more since the last warning)")
}

// TestRestart stops and starts a real server.
func TestRestart(t *testing.T) {
	program := find(t, "slapd")
	dir, err := os.MkdirTemp("", "slapd") // short enough for the name of a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s, err := newSlapd(program, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { s.stop() }()
	now := &clock{now: time.Unix(1e9, 0)}
	tab := one(t, &table.Opener{Now: now.Now}, s, "server_host = "+s.address)
	want(t, tab, "before", "v")
	s.stop()
	want(t, tab, "stopped", "error")
	if err := s.start(program); err != nil {
		t.Fatal(err)
	}
	now.add(5 * time.Second)
	want(t, tab, "after", "v")
}

// TestFailover asks the next server while the first is away or mute.
func TestFailover(t *testing.T) {
	s := directory(t)
	first, second := newRelay(t, s.address), newRelay(t, s.address)
	now := &clock{now: time.Unix(1e9, 0)}
	tab := one(t, &table.Opener{Now: now.Now}, s, "timeout = 1", "server_host = "+first.Addr().String()+", ldap://"+second.Addr().String())
	want(t, tab, "both", "v")
	if first.dials.Load() != 1 || second.dials.Load() != 0 {
		t.Errorf("%d and %d connections, want the first server", first.dials.Load(), second.dials.Load())
	}
	first.Close()
	first.cut()
	want(t, tab, "the first is away", "v")
	first.again(t)
	first.mute.Store(true)
	second.cut()
	want(t, tab, "the first was away", "v")
	if first.dials.Load() != 1 || second.dials.Load() != 2 {
		t.Errorf("%d and %d connections, want two of the second server", first.dials.Load(), second.dials.Load())
	}
	second.cut()
	now.add(5 * time.Second)
	want(t, tab, "the first is mute", "v")
	second.mute.Store(true)
	second.cut()
	_, err := tab.Lookup(t.Context(), "k")
	if err == nil || strings.Count(err.Error(), "no answer within the timeout of 1s") != 2 {
		t.Errorf("both are mute: %v", err)
	}
}

// TestTimeout gives up a server that takes the login and then says nothing.
func TestTimeout(t *testing.T) {
	s := directory(t)
	r := newRelay(t, s.address)
	r.mute.Store(true)
	tab := one(t, &table.Opener{Now: (&clock{}).Now}, s, "timeout = 1", "bind = no", "server_host = "+r.Addr().String())
	for _, when := range []string{"first", "at once"} {
		_, err := tab.Lookup(t.Context(), "k")
		if err == nil || !strings.Contains(err.Error(), "no answer within the timeout of 1s") {
			t.Errorf("%s: %v", when, err)
		}
	}
	if r.dials.Load() != 1 {
		t.Errorf("%d connections, want 1", r.dials.Load())
	}
}

// TestGivenUp ends a lookup in the middle.
func TestGivenUp(t *testing.T) {
	s := directory(t)
	r := newRelay(t, s.address)
	tab := one(t, &table.Opener{}, s, "server_host = "+r.Addr().String())
	want(t, tab, "before", "v")
	r.mute.Store(true)
	r.cut()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	_, err := tab.Lookup(ctx, "k")
	var e *table.Error
	if !errors.Is(err, context.Canceled) || !errors.As(err, &e) {
		t.Errorf("given up: %v", err)
	}
	r.mute.Store(false)
	want(t, tab, "a server does not fail because a caller gave up", "v")
}

// TestBound holds that a table has no more than eight connections, and uses
// them again.
func TestBound(t *testing.T) {
	s := directory(t)
	r := newRelay(t, s.address)
	tab := one(t, &table.Opener{}, s, "server_host = "+r.Addr().String())
	var wait sync.WaitGroup
	for range 40 {
		wait.Go(func() {
			for range 10 {
				if got, err := tab.Lookup(t.Context(), "k"); err != nil || got.Value != "v" {
					t.Errorf("Lookup = %q, %v", got.Value, err)
				}
			}
		})
	}
	wait.Wait()
	r.mu.Lock()
	most := r.most
	r.mu.Unlock()
	if most > 8 || r.dials.Load() > 8 {
		t.Errorf("%d connections, %d at a time; want 8 at most", r.dials.Load(), most)
	}
	tab.Close()
	for range 100 {
		if r.open.Load() == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("connections stay open after Close")
}

// TestReferral follows from one branch to another.
func TestReferral(t *testing.T) {
	s := directory(t)
	base, other := s.branch(t), s.branch(t)
	s.add(t, "cn=k,"+other, "objectClass", "post", "postKey", "k", "postValue", "there")
	s.add(t, "ou=r,"+base, "objectClass", "referral", "objectClass", "extensibleObject", "ou", "r", "ref", "ldap://"+s.address+"/"+other)
	s.add(t, "ou=b,"+base, "objectClass", "referral", "objectClass", "extensibleObject", "ou", "b", "ref", "ldap://"+s.address+"/"+other+"??sub?(postKey=x)")
	lost := s.branch(t)
	s.add(t, "ou=l,"+lost, "objectClass", "referral", "objectClass", "extensibleObject", "ou", "l", "ref", "ldap://127.0.0.1:1/"+other)
	circle := s.branch(t)
	s.add(t, "ou=c,"+circle, "objectClass", "referral", "objectClass", "extensibleObject", "ou", "c", "ref", "ldap://"+s.address+"/"+circle)
	tests := []struct{ base, chase, want string }{
		{base, "no", "-"},
		{base, "yes", "there"},
		{"ou=r," + base, "yes", "there"}, // the base itself is elsewhere
		{"ou=r," + base, "no", "error"},
		{lost, "no", "-"},
		{lost, "yes", "error"},
		{circle, "yes", "error"},
	}
	for _, tt := range tests {
		tab := open(t, &table.Opener{}, strings.Join([]string{
			"server_host = " + s.address, "search_base = " + tt.base, "query_filter = (postKey=%s)",
			"result_attribute = postValue", "chase_referrals = " + tt.chase, "",
		}, "\n"), table.Use{})
		want(t, tab, tt.base+", chase_referrals = "+tt.chase, tt.want)
	}
}

// TestOrigin says which entries made a result.
func TestOrigin(t *testing.T) {
	s := directory(t)
	base := s.branch(t)
	s.add(t, "cn=a,"+base, "objectClass", "post", "postKey", "k", "postDN", "cn=b,"+base, "postValue", "1", "postValue", "2", "mail", "x@y.example")
	s.add(t, "cn=b,"+base, "objectClass", "post", "postValue", "3")
	dir := write(t, "server_host = "+s.address+"\nsearch_base = "+base+"\nquery_filter = (postKey=%s)\nresult_attribute = postValue\nspecial_result_attribute = postDN\n")
	tab, err := ldap.Open(t.Context(), &table.Opener{SingleValueStrict: true}, dir+"/t.cf", table.Use{})
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Close()
	got, err := tab.Lookup(t.Context(), "k")
	if err != nil || got.Value != "1,2,3" && got.Value != "3,1,2" {
		t.Fatalf("Lookup = %q, %v", got.Value, err)
	}
	rows := make(map[string]map[string]string)
	for _, at := range got.At {
		if at.Table != tab.Name() || at.Key != "k" || at.Query != "ldapsearch -b '"+base+"' -s sub '(postKey=k)' postValue postDN" {
			t.Errorf("origin %+v", at)
		}
		rows[at.Row["dn"]] = at.Row
	}
	wantRows := map[string]map[string]string{
		"cn=a," + base: {"dn": "cn=a," + base, "postValue": "1, 2"},
		"cn=b," + base: {"dn": "cn=b," + base, "postValue": "3"},
	}
	if diff := cmp.Diff(wantRows, rows); diff != "" {
		t.Errorf("rows (-want +got)\n%s", diff)
	}

	single, err := ldap.Open(t.Context(), &table.Opener{SingleValueStrict: true}, dir+"/t.cf", table.Use{SingleValue: true, Parameter: "virtual_mailbox_maps"})
	if err != nil {
		t.Fatal(err)
	}
	defer single.Close()
	_, err = single.Lookup(t.Context(), "k")
	var e *table.Error
	if !errors.As(err, &e) || e.At.Line != 3 || !strings.Contains(err.Error(), "3 values where virtual_mailbox_maps needs one: ldapsearch -b") {
		t.Errorf("three values: %v", err)
	}
}

// TestTold holds that a failure says whether the log has it, and that tables
// which ask the same server tell of it once.
func TestTold(t *testing.T) {
	s := directory(t)
	r := newRelay(t, s.address)
	log, now := new(recorder), &clock{now: time.Unix(1e9, 0)}
	o := &table.Opener{Log: log, Now: now.Now}
	server := "server_host = " + r.Addr().String()
	first, second := one(t, o, s, server), one(t, o, s, server)
	told := func(tab table.Table, want bool) {
		t.Helper()
		_, err := tab.Lookup(t.Context(), "k")
		var e *table.Error
		if !errors.As(err, &e) || e.Told != want || want && e.At.Line != 1 {
			t.Errorf("Lookup: %+v, want Told = %v, at the line of server_host", e, want)
		}
	}
	r.Close()
	for range 3 {
		told(first, true)
		told(second, true)
		now.add(retry)
	}
	if lines := log.take(); len(lines) != 1 {
		t.Errorf("log of a server that is down: %q, want one line", lines)
	}
	r.again(t)
	want(t, first, "up", "v")
	want(t, second, "up", "v")
	if got, want := log.take(), []string{"info: LDAP server ldap://" + r.Addr().String() + " answers again"}; !cmp.Equal(got, want) {
		t.Errorf("log of a server that is back: %q, want %q", got, want)
	}
	base := s.branch(t)
	told(open(t, o, server+"\nsearch_base = ou=none,"+base+"\nquery_filter = (postKey=%s)\n", table.Use{}), false)
}

const retry = 5 * time.Second

// TestMuteTold holds that a server which takes connections and says nothing is
// not told of as well in between.
func TestMuteTold(t *testing.T) {
	s := directory(t)
	r := newRelay(t, s.address)
	r.mute.Store(true)
	log, now := new(recorder), &clock{now: time.Unix(1e9, 0)}
	tab := one(t, &table.Opener{Log: log, Now: now.Now}, s, "timeout = 1", "bind = no", "server_host = "+r.Addr().String())
	for range 2 {
		want(t, tab, "mute", "error")
		now.add(retry)
	}
	if lines := log.take(); len(lines) != 1 || !strings.HasSuffix(lines[0], "no answer within the timeout of 1s") {
		t.Errorf("log %q, want one line", lines)
	}
}

// TestForgotten holds that connections which a firewall forgot cost one timeout
// for all of them, and no failure.
func TestForgotten(t *testing.T) {
	s := directory(t)
	r := newRelay(t, s.address)
	log := new(recorder)
	tab := one(t, &table.Opener{Log: log}, s, "timeout = 1", "server_host = "+r.Addr().String())
	var wait sync.WaitGroup
	for range 16 {
		wait.Go(func() { ask(t, tab, "k") })
	}
	wait.Wait()
	r.silence()
	before := r.dials.Load()
	for range 3 {
		want(t, tab, "forgotten", "v")
	}
	if n := r.dials.Load() - before; n != 1 || len(log.take()) != 0 {
		t.Errorf("%d new connections, want 1 and an empty log", n)
	}
}

// TestIdle closes a connection after a minute without use.
func TestIdle(t *testing.T) {
	s := directory(t)
	r := newRelay(t, s.address)
	now := &clock{now: time.Unix(1e9, 0)}
	tab := one(t, &table.Opener{Now: now.Now}, s, "server_host = "+r.Addr().String())
	for _, step := range []struct {
		pause time.Duration
		dials int64
	}{{0, 1}, {59 * time.Second, 1}, {59 * time.Second, 1}, {time.Minute, 2}} {
		now.add(step.pause)
		want(t, tab, "after "+step.pause.String(), "v")
		if n := r.dials.Load(); n != step.dials {
			t.Errorf("after %v: %d connections, want %d", step.pause, n, step.dials)
		}
	}
}
