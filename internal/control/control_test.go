package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func start(t *testing.T, s *Server) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "control")
	l, err := Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
	return path
}

func TestCall(t *testing.T) {
	path := start(t, &Server{Handle: func(_ context.Context, r Request, _ Stream) Response {
		if r.Command != "status" {
			return Fail(Usage, errors.New("unknown command "+r.Command))
		}
		return Response{Text: strings.Join(r.Args, "+"), Warnings: []string{"w"}}
	}})
	resp, err := Call(t.Context(), path, Request{Command: "status", Args: []string{"a", "b"}})
	if err != nil || resp.Text != "a+b" || len(resp.Warnings) != 1 {
		t.Errorf("Call(status) = %+v, %v", resp, err)
	}
	_, err = Call(t.Context(), path, Request{Command: "sing"})
	var told *Error
	if !errors.As(err, &told) || told.Code != Usage || told.Text != "unknown command sing" {
		t.Errorf("Call(sing) = %v", err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode = %v, %v, want 0600", st.Mode(), err)
	}
	if _, err := Listen(path, 0o600); err == nil {
		t.Error("a second Listen on a live socket succeeded")
	}
}

// callers are a socket and the handler itself: they have to behave alike.
func callers(t *testing.T, h Handler) map[string]Caller {
	return map[string]Caller{"socket": Socket(start(t, &Server{Handle: h})), "direct": h}
}

func TestStream(t *testing.T) {
	const many = 20000
	h := func(_ context.Context, r Request, out Stream) Response {
		for i := range many {
			if err := out.Item(i); err != nil {
				return Fail("", err)
			}
		}
		out.Progress(many, 0)
		return Response{Data: r.Data}
	}
	for name, c := range callers(t, h) {
		t.Run(name, func(t *testing.T) {
			next := 0
			var last Progress
			resp, err := c.Stream(t.Context(), Request{Command: "x", Data: json.RawMessage(`{"a":1}`)}, Sink{
				Item: func(raw json.RawMessage) error {
					var got int
					if err := json.Unmarshal(raw, &got); err != nil || got != next {
						t.Fatalf("item %d = %s, %v", next, raw, err)
					}
					next++
					return nil
				},
				Progress: func(p Progress) { last = p },
			})
			if err != nil || next != many || string(resp.Data) != `{"a":1}` {
				t.Errorf("%d items, %s, %v", next, resp.Data, err)
			}
			if last != (Progress{Done: many}) {
				t.Errorf("progress = %v", last)
			}
		})
	}
}

// TestPeer: who asks is known from the kernel.
func TestPeer(t *testing.T) {
	h := func(_ context.Context, r Request, _ Stream) Response {
		b, _ := json.Marshal(r.Peer)
		return Response{Data: b}
	}
	want, _ := json.Marshal(Peer{uint32(os.Geteuid()), uint32(os.Getegid()), int32(os.Getpid())})
	for name, c := range callers(t, h) {
		resp, err := c.Stream(t.Context(), Request{}, Sink{})
		if err != nil || string(resp.Data) != string(want) {
			t.Errorf("%s: peer = %s, %v, want %s", name, resp.Data, err, want)
		}
	}
}

// TestClientGone: a handler is told when nobody listens any more.
func TestClientGone(t *testing.T) {
	errEnough := errors.New("enough")
	for name := range map[string]bool{"socket": true, "direct": true} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan error, 1)
			h := Handler(func(ctx context.Context, _ Request, out Stream) Response {
				err := out.Item("one")
				out.Progress(1, 2) // which sends the item
				if err == nil {
					<-ctx.Done()
					err = ctx.Err()
				}
				ended <- err
				return Response{}
			})
			c := Caller(h)
			if name == "socket" {
				c = Socket(start(t, &Server{Handle: h}))
			}
			_, err := c.Stream(t.Context(), Request{}, Sink{Item: func(json.RawMessage) error { return errEnough }})
			if !errors.Is(err, errEnough) {
				t.Errorf("Stream = %v, want what the sink said", err)
			}
			if err := <-ended; err == nil {
				t.Error("the handler was not told")
			}
		})
	}
}

// TestContextEnds: the end of the caller's context ends the command.
func TestContextEnds(t *testing.T) {
	begun, ended := make(chan bool), make(chan bool)
	path := start(t, &Server{Handle: func(ctx context.Context, _ Request, _ Stream) Response {
		begun <- true
		<-ctx.Done()
		close(ended)
		return Response{}
	}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-begun; cancel() }()
	if _, err := Call(ctx, path, Request{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Call = %v, want the context's error", err)
	}
	<-ended
}

func TestTooManyClients(t *testing.T) {
	begun, release := make(chan bool), make(chan bool)
	path := start(t, &Server{PerUser: 1, Handle: func(context.Context, Request, Stream) Response {
		begun <- true
		<-release
		return Response{}
	}})
	first := make(chan error, 1)
	go func() {
		_, err := Call(context.Background(), path, Request{})
		first <- err
	}()
	<-begun
	_, err := Call(t.Context(), path, Request{})
	var told *Error
	if !errors.As(err, &told) || told.Code != Refused {
		t.Errorf("second Call = %v, want a refusal", err)
	}
	close(release)
	if err := <-first; err != nil {
		t.Errorf("first Call = %v", err)
	}
}

// TestBadRequest: what a server says to what is no request.
func TestBadRequest(t *testing.T) {
	path := start(t, &Server{MaxRequest: 1000, Handle: func(context.Context, Request, Stream) Response { return Response{} }})
	for _, test := range []struct{ line, want string }{
		{"no json\n", "bad request"},
		{`{"version":9,"command":"status"}` + "\n", "version 9"},
		{`{"command":"status"}` + "\n", "version 0"},
		{strings.Repeat("x", 1001) + "\n", "too long"},
		{`{"version":1}` + "\n", `{"end":{}}`},
	} {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte(test.line)); err != nil {
			t.Fatal(err)
		}
		got, _ := bufio.NewReader(c).ReadString('\n')
		if !strings.Contains(got, test.want) {
			t.Errorf("answer to %.40q = %q, want %q in it", test.line, got, test.want)
		}
		c.Close()
	}
}

// TestBadAnswer: what a client says to what is no answer.
func TestBadAnswer(t *testing.T) {
	for _, test := range []struct {
		text string
		want string
	}{
		{"", "unexpected EOF"},
		{`{"item":1}` + "\n", "unexpected EOF"},
		{`{"end":{}}`, "unexpected EOF"},
		{"nonsense\n", errAnswer.Error()},
		{"{}\n", errAnswer.Error()},
		{`{"item":1,"end":{}}` + "\n", errAnswer.Error()},
		{`{"end":{"error":"no","code":"denied"}}` + "\n", "no"},
	} {
		_, err := receive(bufio.NewReader(strings.NewReader(test.text)), Sink{})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("receive(%q) = %v, want %q in it", test.text, err, test.want)
		}
	}
}

func TestNoServer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control")
	if _, err := Call(t.Context(), path, Request{Command: "status"}); !errors.Is(err, ErrNoServer) {
		t.Errorf("Call without socket = %v, want ErrNoServer", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close() // a socket without a server, as after a crash
	if _, err := Call(t.Context(), path, Request{Command: "status"}); !errors.Is(err, ErrNoServer) {
		t.Errorf("Call on a dead socket = %v, want ErrNoServer", err)
	}
	again, err := Listen(path, 0o666)
	if err != nil {
		t.Fatalf("Listen on a dead socket: %v", err)
	}
	again.Close()
}

func FuzzParseRequest(f *testing.F) {
	for _, seed := range []string{`{"version":1,"command":"queue.list","data":{"sender":"<>"}}`, `{"version":1,"args":["a"]}`,
		`{}`, `null`, `[]`, `{"version":1e9}`, "\x00", `{"version":1,"command":"\ud800"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := parseRequest(line)
		if err != nil {
			return
		}
		if r.Peer != (Peer{}) {
			t.Fatalf("parseRequest(%q) says who asks: %+v", line, r.Peer)
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		r2, err := parseRequest(again)
		if err != nil || r2.Command != r.Command || !cmp.Equal(r2.Args, r.Args) && len(r.Args) > 0 {
			t.Fatalf("parseRequest(%q) = %+v, printed and read again %+v, %v", line, r, r2, err)
		}
	})
}

func FuzzReceive(f *testing.F) {
	for _, seed := range []string{`{"item":1}` + "\n" + `{"end":{}}` + "\n", `{"progress":{"done":1,"total":2}}` + "\n", "\n", `{"end":{"error":"x"}}` + "\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		items := 0
		_, err := receive(bufio.NewReaderSize(strings.NewReader(text), 16), Sink{Item: func(raw json.RawMessage) error {
			items++
			if !json.Valid(raw) {
				t.Fatalf("item %q is no JSON", raw)
			}
			return nil
		}})
		if err == nil && !strings.Contains(text, "\n") {
			t.Fatalf("receive(%q) found an end", text)
		}
		if items > strings.Count(text, "\n") {
			t.Fatalf("%d items in %q", items, text)
		}
	})
}
