package control

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func start(t *testing.T, handle func(context.Context, Request) Response) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "control")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, handle) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
	return path
}

func TestCall(t *testing.T) {
	path := start(t, func(_ context.Context, r Request) Response {
		if r.Command != "status" {
			return Response{Error: "unknown command " + r.Command}
		}
		return Response{Text: strings.Join(r.Args, "+")}
	})
	resp, err := Call(t.Context(), path, Request{Command: "status", Args: []string{"a", "b"}})
	if err != nil || resp.Text != "a+b" {
		t.Errorf("Call(status) = %+v, %v", resp, err)
	}
	if _, err := Call(t.Context(), path, Request{Command: "sing"}); err == nil || err.Error() != "unknown command sing" {
		t.Errorf("Call(sing) = %v", err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode = %v, %v, want 0600", st.Mode(), err)
	}
	if _, err := Listen(path); err == nil {
		t.Error("a second Listen on a live socket succeeded")
	}
}

func TestBadRequest(t *testing.T) {
	path := start(t, func(context.Context, Request) Response { return Response{} })
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write([]byte("no json\n"))
	b := make([]byte, 100)
	n, _ := c.Read(b)
	if !strings.Contains(string(b[:n]), "bad request") {
		t.Errorf("answer = %q", b[:n])
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
	again, err := Listen(path)
	if err != nil {
		t.Fatalf("Listen on a dead socket: %v", err)
	}
	again.Close()
}
