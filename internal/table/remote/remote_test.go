package remote

import (
	"bufio"
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/origin"
	"postern/internal/table"
	"postern/internal/table/tabletest"
)

// each runs a test for both types.
func each(t *testing.T, test func(t *testing.T, k kind)) {
	for _, k := range kinds {
		t.Run(k.typ, func(t *testing.T) { test(t, k) })
	}
}

func TestConformance(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		suite := tabletest.Suite{Caseless: true}
		limit := maxReply
		if k.typ == "tcp" {
			limit = readAhead
		}
		suite.Open = func(t *testing.T, use table.Use, rows []tabletest.Row) table.Table {
			values := map[string]string{}
			for _, row := range rows {
				if len(row.Value)+10 > limit { // the protocol cannot say it
					t.Skip("the value is longer than a reply may be")
				}
				values[strings.ToLower(row.Key)] = row.Value
			}
			_, tab := k.start(t, &table.Opener{}, func(key string) string {
				if value, ok := values[strings.ToLower(key)]; ok {
					return k.found(value)
				}
				return k.missing
			})
			return tab
		}
		suite.Run(t)
	})
}

// answer is what a lookup says: the value in brackets, "-" for not found, or
// the failure.
func answer(tab table.Table, key string) string {
	r, err := tab.Lookup(context.Background(), key)
	switch {
	case err == nil:
		return "[" + r.Value + "]"
	case err == table.ErrNotFound:
		return "-"
	}
	return err.Error()
}

// replies are what a server may say, and what is made of it: an answer, or the
// end of a failure.
var replies = map[string][]struct{ reply, want string }{
	"tcp": {
		{"200 a b\n", "[a b]"},
		{"200 a%20%25b\n", "[a %b]"},
		{"200 \n", "[]"},
		{"200\ta\n", "[a]"},
		{"299 a\n", "[a]"},
		{"200 a%00b\n", "[a]"},
		{"200 a\r\n", "[a\r]"},
		{"200 " + strings.Repeat("x", readAhead-5) + "\n", "[" + strings.Repeat("x", readAhead-5) + "]"},
		{"500 x\n", "-"},
		{"599 \n", "-"},
		{"400 try %41gain\n", `the server says "400 try Again"`},
		{"400 \xff\x01\n", `the server says "400 ??"`},
		{"200\n", `malformed reply: "200"`},
		{"\n", `malformed reply: ""`},
		{"20 x\n", `malformed reply: "20 x"`},
		{"2000 x\n", `malformed reply: "2000 x"`},
		{"2x0 x\n", `malformed reply: "2x0 x"`},
		{"200 %4\n", `malformed reply: "200 %4"`},
		{"200 %4g\n", `malformed reply: "200 %4g"`},
		{"200 %\x104\n", `malformed reply: "200 %\x104"`},
		{"300 x\n", `bad status code: "300 x"`},
		{long + "\n", `malformed reply: "` + long[:shown] + `"...`},
		{"200 " + strings.Repeat("x", readAhead) + "\n", `reply longer than 4096 bytes: "200 ` + strings.Repeat("x", 96) + `"...`},
		{"200 a" + hangUpMark, "closed the connection before its reply was complete"},
		{hangUpMark, "closed the connection before its reply was complete"},
	},
	"socketmap": {
		{netstring("OK a b"), "[a b]"},
		{netstring("OK "), "[]"},
		{netstring("OK"), "-"},
		{netstring("OK  a "), "[ a ]"},
		{netstring("OK a\x00b"), "[a]"},
		{"0006:OK a b,", "[a b]"},
		{netstring("OK " + strings.Repeat("x", maxReply-3)), "[" + strings.Repeat("x", maxReply-3) + "]"},
		{netstring("NOTFOUND "), "-"},
		{netstring("NOTFOUND"), "-"},
		{netstring("NOTFOUND who"), "-"},
		{netstring("TEMP not now"), `the server says "TEMP not now"`},
		{netstring("TIMEOUT"), `the server says "TIMEOUT"`},
		{netstring("PERM no\nway"), `the server says "PERM no?way"`},
		{netstring("ok a"), `malformed reply: "ok a"`},
		{netstring(""), `malformed reply: ""`},
		{":,", `malformed reply: ""`},
		{"4:OK ab", `malformed reply: no comma after the 4 bytes "OK a"`},
		{"OK a\n", `malformed reply: "O"... is no netstring`},
		{"12x", `malformed reply: "12x"... is no netstring`},
		{"-1:x,", `malformed reply: "-"... is no netstring`},
		{strings.Repeat("0", 30) + ":,", `malformed reply: "00000000000000000000"... is no netstring`},
		{"100001:", `reply longer than 100000 bytes: length "100001"`},
		{"99999999999999999999:", `reply longer than 100000 bytes: length "999999"`},
		{"9:OK a" + hangUpMark, "closed the connection before its reply was complete"},
		{"9" + hangUpMark, "closed the connection before its reply was complete"},
		{hangUpMark, "closed the connection before its reply was complete"},
	},
}

var long = strings.Repeat("x", 200)

func TestReplies(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		for _, tt := range replies[k.typ] {
			s, tab := k.start(t, &table.Opener{}, func(string) string { return tt.reply })
			got := answer(tab, "key")
			if got != tt.want && !strings.HasSuffix(got, ": "+tt.want) && !strings.HasSuffix(got, " has "+tt.want) {
				t.Errorf("reply %.50q: %.200s, want %.200s", tt.reply, got, tt.want)
			}
			tab.Close()
			s.stop()
		}
	})
}

// Only PERM blames the configuration.
func TestConfigErrors(t *testing.T) {
	for status, want := range map[string]bool{"PERM x": true, "TEMP x": false, "TIMEOUT x": false, "x": false} {
		_, tab := kinds[1].start(t, &table.Opener{}, func(string) string { return netstring(status) })
		_, err := tab.Lookup(t.Context(), "key")
		var e *table.Error
		if !errors.As(err, &e) || e.Config != want {
			t.Errorf("%s: %v, Config %v, want %v", status, err, e != nil && e.Config, want)
		}
	}
}

// A bad reply is told of once a minute; good ones in between do not hide it.
func TestBadReplyIsTold(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		log := &journal{}
		s, tab := k.start(t, &table.Opener{Log: log}, func(key string) string {
			if key == "bad" {
				return k.failing
			}
			return k.found(key)
		})
		for range 3 {
			answer(tab, "good")
			_, err := tab.Lookup(t.Context(), "bad")
			if e, ok := errors.AsType[*table.Error](err); !ok || !e.Told {
				t.Errorf("Lookup: %v, want one that is told", err)
			}
		}
		want := "warning: " + tab.Name() + `: asked for "bad": ` + s.listener.Addr().String() + `: the server says "`
		if got := log.text(); !strings.HasPrefix(got, want) || strings.Contains(got, "\n") {
			t.Errorf("log %q, want one line %s...", got, want)
		}
	})
}

// Replies that differ are told of each, but not for each key that they repeat.
func TestBadRepliesAreTold(t *testing.T) {
	log := &journal{}
	s, tab := kinds[0].start(t, &table.Opener{Log: log}, func(key string) string {
		if key == "carl@example.test" {
			return "400 other\n"
		}
		return "400 no " + key + "\n"
	})
	for _, key := range []string{"ann@example.test", "bob@example.test", "carl@example.test"} {
		answer(tab, key)
	}
	address := s.listener.Addr().String()
	want := "warning: tcp:" + address + `: asked for "ann@example.test": ` + address + `: the server says "400 no ann@example.test"` + "\n" +
		"warning: tcp:" + address + `: asked for "carl@example.test": ` + address + `: the server says "400 other"`
	if got := log.text(); got != want {
		t.Errorf("log\n%s\nwant\n%s", got, want)
	}
}

// A server that cannot be reached comes with a cure.
func TestCauses(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		s, tab := k.start(t, &table.Opener{}, k.found)
		s.stop()
		want := map[string]string{
			"tcp":  "connection refused: is the server running there, and does it listen on this address and port?",
			"unix": "there is no such socket: is the server running on this machine, and is this its socket?",
		}[k.network]
		if got := answer(tab, "a"); !strings.HasSuffix(got, s.listener.Addr().String()+": "+want) {
			t.Errorf("Lookup: %s, want %s", got, want)
		}
	})
}

// The place of a value is the table, the key and the question.
func TestPlace(t *testing.T) {
	s, tab := kinds[0].start(t, &table.Opener{}, func(string) string { return "200 v\n" })
	r, err := tab.Lookup(t.Context(), "a b")
	if err != nil || len(r.At) != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	at := r.At[0]
	if at.Table != "tcp:"+s.name || at.Key != "a b" || at.Query != "get a%20b" || at.Row["value"] != "v" {
		t.Errorf("place %+v", at)
	}
}

func TestConnectionIsKept(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		s, tab := k.start(t, &table.Opener{}, func(key string) string {
			if key == "x" {
				return k.missing
			}
			return k.found(key)
		})
		for range 5 {
			for _, key := range []string{"a", "x", "b"} {
				want := "[" + key + "]"
				if key == "x" {
					want = "-"
				}
				if got := answer(tab, key); got != want {
					t.Errorf("Lookup(%q): %s, want %s", key, got, want)
				}
			}
		}
		if n := s.accepted.Load(); n != 1 {
			t.Errorf("%d connections, want 1", n)
		}
	})
}

// A connection that has died is replaced, and nobody notices.
func TestDeadConnection(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		s, tab := k.start(t, &table.Opener{}, k.found)
		for range 3 {
			if got := answer(tab, "a"); got != "[a]" {
				t.Fatalf("Lookup: %s", got)
			}
			s.hangUp()
		}
		if n := s.accepted.Load(); n != 3 {
			t.Errorf("%d connections, want 3", n)
		}
	})
}

// A reply with something behind it must not answer the next question.
func TestStrayBytes(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		_, tab := k.start(t, &table.Opener{}, func(key string) string { return k.found(key) + k.found("stray") })
		for _, key := range []string{"a", "b", "c"} {
			if got := answer(tab, key); got != "["+key+"]" {
				t.Errorf("Lookup(%q): %s", key, got)
			}
		}
	})
}

// A server that is down is told of once a minute, and when it is back.
func TestServerDown(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		log := &journal{}
		o := &table.Opener{Log: log}
		s, tab := k.start(t, o, k.found)
		if got := answer(tab, "a"); got != "[a]" {
			t.Fatalf("Lookup: %s", got)
		}
		network, address := s.listener.Addr().Network(), s.listener.Addr().String()
		s.stop()
		for range 3 {
			if got := answer(tab, "a"); !strings.Contains(got, `lookup error for "a": connect to `+address+": ") {
				t.Errorf("server down: %s", got)
			}
		}
		again := &server{}
		again.listen(t, network, address, k.ask, k.found)
		if got := answer(tab, "a"); got != "[a]" {
			t.Errorf("server back: %s", got)
		}
		lines := strings.Split(log.text(), "\n")
		if len(lines) != 2 || !strings.HasPrefix(lines[0], "warning: "+tab.Name()+": connect to ") || lines[1] != "info: "+k.typ+" server "+address+" answers again" {
			t.Errorf("log %q", lines)
		}
	})
}

// A slow answer does not hold up others, and 8 connections are the most.
func TestParallel(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		slow := make(chan struct{})
		var mu sync.Mutex
		now, most := 0, 0
		s, tab := k.start(t, &table.Opener{}, func(key string) string {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			if key == "slow" {
				<-slow
			}
			mu.Lock()
			now--
			mu.Unlock()
			return k.found(key)
		})
		var wait sync.WaitGroup
		wait.Go(func() { answer(tab, "slow") })
		for range 30 {
			wait.Go(func() {
				if got := answer(tab, "a"); got != "[a]" {
					t.Errorf("Lookup: %s", got)
				}
			})
		}
		if got := answer(tab, "b"); got != "[b]" {
			t.Errorf("Lookup: %s", got)
		}
		close(slow)
		wait.Wait()
		if n := s.accepted.Load(); most > maxConns || n > maxConns {
			t.Errorf("%d questions at a time on %d connections, want at most %d", most, n, maxConns)
		}
	})
}

// A lookup ends with its context, and the connection with it.
func TestCancel(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		asked, release := make(chan struct{}), make(chan struct{})
		log := &journal{}
		_, tab := k.start(t, &table.Opener{Log: log}, func(key string) string {
			if key == "slow" {
				close(asked)
				<-release
			}
			return k.found(key)
		})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-asked; cancel() }()
		_, err := tab.Lookup(ctx, "slow")
		var e *table.Error
		if !errors.As(err, &e) || !errors.Is(err, context.Canceled) {
			t.Errorf("Lookup: %v, want context.Canceled", err)
		}
		if want := " did not answer before the lookup was given up: context canceled"; err != nil && !strings.HasSuffix(err.Error(), want) {
			t.Errorf("Lookup: %v, want ...%s", err, want)
		}
		close(release)
		if got := answer(tab, "b"); got != "[b]" {
			t.Errorf("Lookup after it: %s", got)
		}
		if log.text() != "" {
			t.Errorf("log %q, want nothing", log.text())
		}
	})
}

// bubble is a table whose connections are pipes, for time that stands still.
func bubble(k kind, reply func(key string) string) (t *client, dialled *atomic.Int32) {
	tab, err := k.open(context.Background(), &table.Opener{}, k.address("127.0.0.1:1"), table.Use{})
	if err != nil {
		panic(err)
	}
	t, dialled = tab.(*client), new(atomic.Int32)
	t.pool.dial = func(context.Context) (net.Conn, error) {
		dialled.Add(1)
		ours, theirs := net.Pipe()
		go talk(theirs, k.ask, reply)
		return ours, nil
	}
	return t, dialled
}

// A connection lives 10 seconds without use, and 100 in all.
func TestLifetime(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		synctest.Test(t, func(t *testing.T) {
			tab, dialled := bubble(k, k.found)
			defer tab.Close()
			start := time.Now()
			for time.Since(start) < maxLife+maxIdle {
				answer(tab, "a")
				time.Sleep(maxIdle - time.Second)
			}
			if n := dialled.Load(); n != 2 {
				t.Errorf("%d connections in use for %v, want 2", n, time.Since(start))
			}
			answer(tab, "a")
			dialled.Store(0)
			time.Sleep(maxIdle + time.Second)
			synctest.Wait()
			if n := len(tab.pool.idle); n != 0 {
				t.Errorf("%d idle connections after %v, want none", n, maxIdle)
			}
			answer(tab, "a")
			if n := dialled.Load(); n != 1 {
				t.Errorf("%d new connections after a pause, want 1", n)
			}
		})
	})
}

// A server that says nothing is given up after a while.
func TestTimeout(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		synctest.Test(t, func(t *testing.T) {
			stuck := make(chan struct{})
			tab, _ := bubble(k, func(string) string { <-stuck; return "" })
			start := time.Now()
			want := `lookup error for "a": 127.0.0.1:1: no answer within 1m40s: `
			if got := answer(tab, "a"); !strings.Contains(got, want) {
				t.Errorf("Lookup: %s, want %s...", got, want)
			}
			if d := time.Since(start); d != timeout {
				t.Errorf("given up after %v, want %v", d, timeout)
			}
			close(stuck)
			tab.Close()
		})
	})
}

// A server that hangs is left alone for a while, and then asked by one.
func TestHungServer(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		synctest.Test(t, func(t *testing.T) {
			stuck := make(chan struct{})
			var asked atomic.Int32
			tab, _ := bubble(k, func(key string) string { asked.Add(1); <-stuck; return k.found(key) })
			log := &journal{}
			tab.opener.Log = log
			many := func(lookups int) (took time.Duration) {
				start := time.Now()
				var wait sync.WaitGroup
				for range lookups {
					wait.Go(func() {
						_, err := tab.Lookup(t.Context(), "a")
						if e, ok := errors.AsType[*table.Error](err); !ok || !e.Told || !errors.Is(err, errTimeout) {
							t.Errorf("Lookup: %v, want a timeout that is told", err)
						}
					})
				}
				wait.Wait()
				return time.Since(start)
			}
			if d := many(3 * maxConns); d != timeout {
				t.Errorf("all gave up after %v, want %v", d, timeout)
			}
			if d := many(20); d != 0 {
				t.Errorf("a server that hangs held up lookups for %v", d)
			}
			time.Sleep(retryPause)
			synctest.Wait()
			asked.Store(0)
			many(20)
			if n := asked.Load(); n != 1 {
				t.Errorf("asked %d times after %v, want once", n, retryPause)
			}
			if lines := strings.Split(log.text(), "\n"); len(lines) != 2 || !strings.Contains(lines[1], "times more") {
				t.Errorf("log %q, want a line for each minute with failures", lines)
			}
			close(stuck)
			time.Sleep(retryPause)
			for range 2 {
				if got := answer(tab, "a"); got != "[a]" {
					t.Errorf("Lookup when the server answers again: %s", got)
				}
			}
			tab.Close()
		})
	})
}

// Types that anybody could answer are refused where that matters.
func TestNoRemote(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		name := k.address("127.0.0.1:1")
		o := &table.Opener{Types: map[string]table.Constructor{k.typ: k.open}}
		defer o.Close()
		tab, err := o.Open(t.Context(), k.typ+":"+name, table.Use{NoRemote: true, At: origin.At{File: "main.cf", Line: 3}})
		want := k.typ + ":" + name + " is unavailable. " + k.typ + ":" + name + " map is not allowed for security sensitive data"
		if err == nil || err.Error() != want {
			t.Errorf("Open: %v, want %s", err, want)
		}
		if _, err := tab.Lookup(t.Context(), "key"); err == nil || err.Error() != want {
			t.Errorf("Lookup: %v, want %s", err, want)
		}
	})
}

func TestNames(t *testing.T) {
	o := &table.Opener{Param: func(name string) (string, origin.At, bool) {
		return "/var/spool/mail", origin.At{}, name == "queue_directory"
	}}
	tests := []struct {
		open       table.Constructor
		name, want string // network and address, or the error
	}{
		{TCP, "host.test:25", "tcp host.test:25"},
		{TCP, "[::1]:25", "tcp [::1]:25"},
		{TCP, "[ipv6:::1]:25", "tcp [::1]:25"},
		{TCP, "::1:25", "tcp [::1]:25"},
		{TCP, ":smtp", "tcp localhost:smtp"},
		{TCP, "25", "tcp localhost:25"},
		{TCP, "host.test:", "host.test:: missing service information"},
		{TCP, "[::1", `[::1: missing "]"`},
		{TCP, "[::1]25", `[::1]25: garbage after "]"`},
		{TCP, "[::1]", `[::1]: missing service information`},
		{Socketmap, "inet:127.0.0.1:25:x", "tcp 127.0.0.1:25"},
		{Socketmap, "inet:25:x", "tcp localhost:25"},
		{Socketmap, "unix:/run/x:y", "unix /run/x"},
		{Socketmap, "local:/run/x:", "unix /run/x"},
		{Socketmap, "unix:private/x:y", "unix /var/spool/mail/private/x"},
		{Socketmap, "x", "socketmap requires server:socketmap argument"},
		{Socketmap, "inet:25", `need service transport:endpoint instead of "inet"`},
		{Socketmap, "unix::x", `need service transport:endpoint instead of "unix:"`},
		{Socketmap, "tcp:25:x", "invalid transport name: tcp in service: tcp:25"},
	}
	for _, tt := range tests {
		tab, err := tt.open(t.Context(), o, tt.name, table.Use{})
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = endpointOf(t, tab.(*client))
		}
		if got != tt.want {
			t.Errorf("open(%q): %s, want %s", tt.name, got, tt.want)
		}
	}
}

// endpointOf says where a table would connect to.
func endpointOf(t *testing.T, c *client) string {
	t.Helper()
	network := "tcp"
	if filepath.IsAbs(c.server) {
		network = "unix"
	}
	return network + " " + c.server
}

// FuzzReply holds that any bytes are an answer or a failure, and never more
// than one answer.
func FuzzReply(f *testing.F) {
	for _, seed := range []string{"200 a%20b\n", "500 x\n", "400 y\n", "200\n", "6:OK a b,", "9:NOTFOUND ,", "6:TEMP x,", "3:OK", "1", "99999999:", "200 %", "20:OK \x00\xff,"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, reply string) {
		for _, p := range []protocol{tcp{}, socketmap{"map"}} {
			ours, theirs := net.Pipe()
			done := make(chan struct{})
			go func() {
				defer close(done)
				buffer := make([]byte, 100)
				theirs.Read(buffer)
				theirs.Write([]byte(reply))
				theirs.Close()
			}()
			c := &conn{Conn: ours, in: bufio.NewReaderSize(ours, readAhead)}
			value, err := p.exchange(c, "key")
			ours.Close()
			<-done
			if err != nil && value != "" {
				t.Errorf("%T: reply %q: %q and %v", p, reply, value, err)
			}
			if len(value) > len(reply) || strings.Contains(value, "\x00") {
				t.Errorf("%T: reply %q: %q", p, reply, value)
			}
		}
	})
}

// What is encoded can be decoded, and is visible ASCII.
func FuzzEncode(f *testing.F) {
	f.Add("a b%\x00\xff\n")
	f.Fuzz(func(t *testing.T, text string) {
		encoded := encode(text)
		if strings.ContainsFunc(encoded, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("encode(%q) = %q", text, encoded)
		}
		if back, ok := decode(encoded); !ok || back != text {
			t.Errorf("decode(%q) = %q, %v, want %q", encoded, back, ok, text)
		}
	})
}
