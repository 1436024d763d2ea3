package remote

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	maxConns  = 8                 // of one table
	maxIdle   = 10 * time.Second  // a connection without use is closed after this
	maxLife   = 100 * time.Second // and in any case after this
	readAhead = 4096              // bytes; the limit of a reply of tcp:
)

var errClosed = errors.New("table is closed")

// conn is a connection that waits for questions.
type conn struct {
	net.Conn
	in   *bufio.Reader
	born time.Time
	idle *time.Timer // closes it; nil while it is in use for the first time
}

// pool keeps connections to one server.
type pool struct {
	dial  func(ctx context.Context) (net.Conn, error)
	slots chan struct{} // holds one item for each connection in use

	mu     sync.Mutex // guards what follows
	idle   []*conn    // the last one was used last
	closed bool

	failed  error     // why the server is left alone, nil: it is not
	retry   time.Time // when to ask again after that
	probing bool      // somebody does so now
}

func newPool(dial func(ctx context.Context) (net.Conn, error)) *pool {
	return &pool{dial: dial, slots: make(chan struct{}, maxConns)}
}

// do runs one exchange, in its turn. A server that let one run into errTimeout is
// left alone for retryPause, and then asked by one caller; to the others the
// error is that of the one before.
func (p *pool) do(ctx context.Context, exchange func(c *conn) error) error {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	probe, err := p.turn()
	if err != nil {
		return err
	}
	err = p.try(ctx, exchange)
	ended := err != nil && ctx.Err() != nil
	if ended {
		err = context.Cause(ctx)
	}
	p.note(probe, ended, err)
	return err
}

// turn is an error while the server is left alone. probe: the caller is the one
// who finds out whether it answers again.
func (p *pool) turn() (probe bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.failed == nil || p.closed:
		return false, nil
	case p.probing || time.Now().Before(p.retry):
		return false, p.failed
	}
	p.probing = true
	return true, nil
}

// note keeps in mind what an exchange found out about the server: nothing, when
// the caller ended it.
func (p *pool) note(probe, ended bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if probe {
		p.probing = false
	}
	switch {
	case !ended:
		p.failed = nil
	case errors.Is(err, errTimeout):
		p.failed, p.retry = err, time.Now().Add(retryPause)
	}
}

// try runs one exchange. When the server hangs up before the exchange is
// complete, it is run once more on a new connection: an idle one that has died is
// no news, and neither is a server that starts anew. An exchange that fails costs
// its connection.
func (p *pool) try(ctx context.Context, exchange func(c *conn) error) error {
	c, err := p.get(ctx)
	if err != nil {
		return err
	}
	if err = p.run(ctx, c, exchange); !hungUp(err) {
		return err
	}
	p.drop()
	if c, err = p.open(ctx); err != nil {
		return err
	}
	return p.run(ctx, c, exchange)
}

// run runs the exchange and keeps the connection when it can be used again.
func (p *pool) run(ctx context.Context, c *conn, exchange func(c *conn) error) error {
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	err := exchange(c)
	// Bytes that follow a reply would be taken for the next one.
	if stop() && err == nil && c.in.Buffered() == 0 {
		p.put(c)
		return nil
	}
	c.Close()
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// get returns the connection that was used last, or a new one.
func (p *pool) get(ctx context.Context) (*conn, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, errClosed
	}
	if n := len(p.idle); n > 0 {
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		c.idle.Stop()
		p.mu.Unlock()
		return c, nil
	}
	p.mu.Unlock()
	return p.open(ctx)
}

func (p *pool) open(ctx context.Context) (*conn, error) {
	nc, err := p.dial(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	return &conn{Conn: nc, in: bufio.NewReaderSize(nc, readAhead), born: time.Now()}, nil
}

// put keeps a connection for the next lookup.
func (p *pool) put(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	left := min(maxIdle, maxLife-time.Since(c.born))
	if p.closed || left <= 0 {
		c.Close()
		return
	}
	p.idle = append(p.idle, c)
	c.idle = time.AfterFunc(left, func() { p.expire(c) })
}

// expire closes a connection, unless it is in use again.
func (p *pool) expire(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, other := range p.idle {
		if other == c {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			c.Close()
			return
		}
	}
}

// drop closes all connections that are not in use.
func (p *pool) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.idle {
		c.idle.Stop()
		c.Close()
	}
	p.idle = nil
}

// close ends the pool. Exchanges that are under way are not disturbed.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.drop()
}

// hungUp reports whether the server closed the connection.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe)
}
