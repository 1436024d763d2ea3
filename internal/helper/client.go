package helper

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"postern/internal/deliver/command"
	"postern/internal/deliver/mailbox"
	"postern/internal/privsep"
)

// ErrGone says that the helper is not there any more. Whoever gets it tries
// again later: the server is about to end.
var ErrGone = errors.New("the helper process is gone")

// maxIdle is how many connections are kept without use.
const maxIdle = 64

// Logger takes the log lines of the helper.
type Logger interface {
	Infof(format string, args ...any)
	Warningf(format string, args ...any)
}

// Client is the server's side. It is safe for concurrent use.
type Client struct {
	control *link

	mu   sync.Mutex
	idle []*link
	logs map[string]Logger
	gone bool
}

var (
	_ command.Runner     = (*Client)(nil)
	_ privsep.FileReader = (*Client)(nil)
)

// NewClient returns the client of the helper behind the control socket, which
// it takes over.
func NewClient(control int) *Client {
	return &Client{control: newLink(control), logs: map[string]Logger{}}
}

// Serve passes on the log lines of the helper until the helper is gone or ctx
// ends; of these two, the first is an error. It closes the client.
func (c *Client) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = unix.Shutdown(c.control.fd, unix.SHUT_RDWR) })
	defer stop()
	b := make([]byte, maxPath)
	for {
		n, err := c.control.file.Read(b)
		if err != nil {
			c.close()
			if ctx.Err() != nil {
				return nil
			}
			return ErrGone
		}
		f := fields{b: b[:n]}
		warning, name, text := f.bool(), f.string(1<<10), f.string(maxPath)
		c.mu.Lock()
		log := c.logs[name]
		c.mu.Unlock()
		switch {
		case f.end() != nil || log == nil:
		case warning:
			log.Warningf("%s", text)
		default:
			log.Infof("%s", text)
		}
	}
}

func (c *Client) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
	for _, l := range c.idle {
		l.close()
	}
	c.idle = nil
	c.control.close()
}

// Logs says who takes log lines of stores with this StoreOptions.Log.
func (c *Client) Logs(name string, log Logger) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.logs[name] = log
}

// take returns a connection that nobody uses, or makes one.
func (c *Client) take() (*link, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return nil, ErrGone
	}
	if n := len(c.idle); n > 0 {
		l := c.idle[n-1]
		c.idle = c.idle[:n-1]
		return l, nil
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("connection to the helper: %w", err)
	}
	defer unix.Close(pair[1])
	if err := unix.SetNonblock(pair[0], true); err != nil {
		unix.Close(pair[0])
		return nil, err
	}
	if err := c.control.sendFile(frame(nil, sayInput), pair[1]); err != nil {
		unix.Close(pair[0])
		return nil, gone(err)
	}
	return newLink(pair[0]), nil
}

// release gives a connection back, or ends one that is of no use any more.
func (c *Client) release(l *link, good bool) {
	l.shrink()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !good || l.hung || c.gone || len(c.idle) >= maxIdle {
		l.close()
		return
	}
	c.idle = append(c.idle, l)
}

// call is a request under way.
type call struct {
	c    *Client
	l    *link
	text mailbox.Body // asked of by the helper; nil: none
	read *[]byte      // parts of a file that come before the answer; nil: none do
}

// begin takes a connection and begins a frame on it.
func (c *Client) begin(k kind) (*call, []byte, error) {
	l, err := c.take()
	if err != nil {
		return nil, nil, err
	}
	return &call{c: c, l: l}, frame(l.out, k), nil
}

// exchange sends the request and waits for its end; then done has to be called
// with what became of the answer. When ctx ends first, the helper is told, and
// its answer says how far it came.
func (r *call) exchange(ctx context.Context, b []byte, input *os.File) (*fields, error) {
	if ctx.Done() != nil {
		told := make(chan struct{})
		stop := context.AfterFunc(ctx, func() {
			_ = unix.Shutdown(r.l.fd, unix.SHUT_WR)
			close(told)
		})
		defer func() {
			if !stop() {
				<-told
				r.l.hung = true
			}
		}()
	}
	if err := r.l.send(b); err != nil {
		return nil, cause(ctx, err)
	}
	for {
		k, payload, err := r.l.receive()
		if err != nil {
			return nil, cause(ctx, err)
		}
		f := &fields{b: payload}
		switch {
		case k == answer && f.bool():
			err := f.failure()
			if f.end() != nil {
				return nil, gone(errFrame)
			}
			return nil, &answered{err}
		case k == answer:
			return f, nil
		case k == sayPart && r.read != nil && len(*r.read) < maxListSize:
			*r.read = append(*r.read, payload...)
		case k == wantPiece && r.text != nil:
			err = r.piece(f)
		case k == wantInput && input != nil:
			err = r.l.sendFile(frame(r.l.out, sayInput), int(input.Fd()))
		default:
			err = errFrame
		}
		if err != nil {
			return nil, cause(ctx, err)
		}
	}
}

// cause is why a connection has ended: we have hung up, or the helper has.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return gone(err)
}

// answered is an error that is the answer: the connection is good.
type answered struct{ err error }

func (e *answered) Error() string { return e.err.Error() }

// done ends the call and returns the error for the caller.
func (r *call) done(f *fields, err error) error {
	var said *answered
	if errors.As(err, &said) {
		r.c.release(r.l, true)
		return said.err
	}
	if err == nil {
		if err = f.end(); err != nil {
			err = gone(err)
		}
	}
	r.c.release(r.l, err == nil)
	return err
}

func gone(err error) error { return fmt.Errorf("%w: %w", ErrGone, err) }

// piece sends a piece of the text, or why there is none.
func (r *call) piece(f *fields) error {
	off, n := f.int(), int(f.uint(maxPiece))
	if err := f.end(); err != nil {
		return err
	}
	b := frame(r.l.out, sayPiece)
	b = append(b, make([]byte, n)...)
	if got, err := r.text.ReadAt(b[headLength:], off); got < n {
		b = append(frame(b, sayFailed), clip(fmt.Sprintf("message text: %v", err))...)
	}
	return r.l.send(b)
}

// simple is a request with a short answer.
func (c *Client) simple(ctx context.Context, k kind, build func([]byte) []byte, parse func(*fields)) error {
	r, b, err := c.begin(k)
	if err != nil {
		return err
	}
	if build != nil {
		b = build(b)
	}
	f, err := r.exchange(ctx, b, nil)
	if err == nil && parse != nil {
		parse(f)
	}
	return r.done(f, err)
}

// Present asks for the helper. One that has been killed does not answer, also
// while the end of it has not been noticed: then the error is ErrGone.
func (c *Client) Present() error { return c.simple(context.Background(), askPresent, nil, nil) }

// Refresh has the helper read the configuration again. Until Commit or Abort it
// opens files and listeners that the old or the new one has; all else is judged
// by the old one. After an error there is nothing to commit.
func (c *Client) Refresh() error { return c.refresh(refreshPrepare) }

// Commit puts the configuration of the last Refresh in force.
func (c *Client) Commit() error { return c.refresh(refreshCommit) }

// Abort has the helper forget the configuration of the last Refresh.
func (c *Client) Abort() error { return c.refresh(refreshAbort) }

func (c *Client) refresh(step uint64) error {
	return c.simple(context.Background(), askRefresh, func(b []byte) []byte { return appendUint(b, step) }, nil)
}

// Run implements command.Runner.
func (c *Client) Run(ctx context.Context, s command.Spec, stdin *os.File) (result command.Result, err error) {
	defer stdin.Close()
	r, b, err := c.begin(askRun)
	if err != nil {
		return result, err
	}
	s.Output = min(s.Output, maxResult/2)
	f, err := r.exchange(ctx, appendSpec(b, &s), stdin)
	if err == nil {
		result = f.result()
	}
	return result, r.done(f, err)
}

// ReadFile implements privsep.FileReader.
func (c *Client) ReadFile(ctx context.Context, id privsep.Identity, path string, limit int64) (content []byte, info privsep.FileInfo, err error) {
	r, b, err := c.begin(askRead)
	if err != nil {
		return nil, info, err
	}
	r.read = &content
	f, err := r.exchange(ctx, appendInt(appendString(appendIdentity(b, id), path), limit), nil)
	if err == nil {
		info = f.fileInfo()
		content = append(content, f.bytes(maxResult)...)
	}
	return content, info, r.done(f, err)
}

// IsMaildir says whether there is a Maildir at path.
func (c *Client) IsMaildir(path string) (is bool) {
	err := c.simple(context.Background(), askMaildir, func(b []byte) []byte { return appendString(b, path) },
		func(f *fields) { is = f.bool() })
	return err == nil && is
}

// descriptor is a request whose answer brings a descriptor.
func (c *Client) descriptor(k kind, name string) (file *os.File, err error) {
	l, err := c.take()
	if err != nil {
		return nil, err
	}
	good := false
	defer func() { c.release(l, good) }()
	if err := l.send(appendString(frame(l.out, k), name)); err != nil {
		return nil, gone(err)
	}
	got, payload, fd, err := l.receiveFile()
	if err != nil {
		return nil, gone(err)
	}
	f := fields{b: payload}
	switch failed := f.bool(); {
	case got == answer && failed && fd < 0:
		err = f.failure()
	case got != answer || fd < 0 || failed:
		f.fail()
	}
	if f.end() != nil {
		closeFile(fd)
		return nil, gone(errFrame)
	}
	good = true
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// OpenFile opens a file that the configuration names, for reading.
func (c *Client) OpenFile(name string) (*os.File, error) { return c.descriptor(askOpen, name) }

// OpenLog opens the log file, for appending.
func (c *Client) OpenLog(name string) (*os.File, error) { return c.descriptor(askLog, name) }

// Listen opens a listener that master.cf names, on a network of package net.
func (c *Client) Listen(network, address string) (net.Listener, error) {
	file, err := c.descriptor(askListen, network+" "+address)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return net.FileListener(file)
}
