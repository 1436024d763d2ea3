// Package control is the socket by which commands reach the running server:
//
//	$queue_directory/postern/control
//
// A client connects, sends one Request as a line of JSON and reads one Response
// as a line of JSON. Who may connect is decided by the socket's mode, 0600: the
// user that the server runs as, and root. Nothing that was sent is executed;
// the server knows its commands by name.
//
// It imports only the standard library.
package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// maxLine bounds a request and a response.
const maxLine = 64 << 20

// callTimeout bounds a request on the server's side.
const callTimeout = 60 * time.Second

// Request is one command.
type Request struct {
	Command string   `json:"command"` // "reload", "flush", "status", "stop"
	Args    []string `json:"args,omitempty"`
}

// Response is the answer. Error is set when the command failed.
type Response struct {
	Error string          `json:"error,omitempty"`
	Text  string          `json:"text,omitempty"` // for people
	Data  json.RawMessage `json:"data,omitempty"` // for programs
}

// ErrNoServer says that no server listens on the socket.
var ErrNoServer = errors.New("no server is running")

// Call sends one request to the server at path. No server: ErrNoServer. A
// command that failed: an error with the server's words.
func Call(ctx context.Context, path string, r Request) (Response, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return Response{}, fmt.Errorf("%w (%s)", ErrNoServer, path)
	}
	if err != nil {
		return Response{}, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	line, err := json.Marshal(r)
	if err != nil {
		return Response{}, err
	}
	if _, err := c.Write(append(line, '\n')); err != nil {
		return Response{}, err
	}
	var resp Response
	if err := json.NewDecoder(io.LimitReader(c, maxLine)).Decode(&resp); err != nil {
		return Response{}, fmt.Errorf("answer of the server: %w", err)
	}
	if resp.Error != "" {
		return resp, errors.New(resp.Error)
	}
	return resp, nil
}

// Listen makes the socket. A socket left behind by a server that is gone is
// replaced; one that answers is an error.
func Listen(path string) (net.Listener, error) {
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return nil, fmt.Errorf("%s: another server is listening", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Serve answers requests until ctx ends or the listener is closed, and returns
// when the last answer is given. It closes the listener.
func Serve(ctx context.Context, l net.Listener, handle func(context.Context, Request) Response) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	defer l.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		wg.Go(func() { answer(ctx, c, handle) })
	}
}

func answer(ctx context.Context, c net.Conn, handle func(context.Context, Request) Response) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(callTimeout))
	line, err := bufio.NewReader(io.LimitReader(c, 1<<20)).ReadBytes('\n')
	if err != nil {
		return
	}
	var r Request
	resp := Response{}
	if err := json.Unmarshal(line, &r); err != nil {
		resp.Error = "bad request: " + err.Error()
	} else {
		resp = handle(ctx, r)
	}
	if b, err := json.Marshal(resp); err == nil {
		c.Write(append(b, '\n'))
	}
}
