package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

// maxFrame bounds a line of an answer: a message with fifty thousand recipients
// and their reasons is one.
const maxFrame = 256 << 20

// Caller gives commands and receives their answers.
type Caller interface {
	// Stream sends a request and passes what comes before the end of the
	// answer to sink. A command that failed is an *Error.
	Stream(ctx context.Context, r Request, sink Sink) (Response, error)
}

var (
	_ Caller = Socket("")
	_ Caller = Handler(nil)
)

// Socket calls the server that listens at a path. No server: ErrNoServer.
type Socket string

// Stream implements Caller. The end of ctx ends the command in the server too.
func (s Socket) Stream(ctx context.Context, r Request, sink Sink) (Response, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", string(s))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return Response{}, fmt.Errorf("%w (%s)", ErrNoServer, string(s))
	}
	if err != nil {
		return Response{}, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	r.Version = Version
	line, err := json.Marshal(r)
	if err != nil {
		return Response{}, err
	}
	_, sent := c.Write(append(line, '\n'))
	// A server that has no time for anybody answers before it has read, and
	// hangs up.
	resp, err := receive(bufio.NewReaderSize(c, 64<<10), sink)
	var told *Error
	switch {
	case ctx.Err() != nil:
		return Response{}, ctx.Err()
	case sent != nil && !errors.As(err, &told):
		return Response{}, sent
	}
	return resp, err
}

// receive reads an answer to its end.
func receive(r *bufio.Reader, sink Sink) (Response, error) {
	for {
		line, err := readLine(r, maxFrame)
		if err != nil {
			return Response{}, fmt.Errorf("answer of the server: %w", err)
		}
		f, err := parseFrame(line)
		if err != nil {
			return Response{}, err
		}
		if f.End != nil {
			return *f.End, f.End.err()
		}
		if err := sink.take(f); err != nil {
			return Response{}, err
		}
	}
}

func (r *Response) err() error {
	if r.Error == "" {
		return nil
	}
	return &Error{r.Code, r.Error}
}

// Call sends one request to the server at path, for commands without items.
func Call(ctx context.Context, path string, r Request) (Response, error) {
	return Socket(path).Stream(ctx, r, Sink{})
}

// Stream implements Caller without a server: the handler is called here, on
// behalf of this process.
func (h Handler) Stream(ctx context.Context, r Request, sink Sink) (Response, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.Version = Version
	r.Peer = Peer{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()), PID: int32(os.Getpid())}
	out := &local{sink: sink, cancel: cancel}
	resp := h(ctx, r, out)
	if out.err != nil {
		return Response{}, out.err
	}
	return resp, resp.err()
}

// local is the Stream of a handler that is called directly.
type local struct {
	sink   Sink
	cancel context.CancelFunc
	err    error // of the sink
}

func (l *local) Item(v any) error {
	if l.err != nil {
		return l.err
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if l.err = l.sink.take(frame{Item: b}); l.err != nil {
		l.cancel()
	}
	return l.err
}

func (l *local) Progress(done, total int) {
	_ = l.sink.take(frame{Progress: &Progress{done, total}})
}
