package ldap

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"postern/internal/table"
)

const (
	maxConnections = 8               // of one table
	retryPause     = 5 * time.Second // before a server that failed is tried again
)

var errClosed = errors.New("table is closed")

// pool holds the connections of a table.
type pool struct {
	*login
	name   string // of the table
	opener *table.Opener
	slots  chan struct{} // one for each connection in use

	troubles table.Troubles

	mu     sync.Mutex // guards what follows, and the state of the servers
	idle   []*conn    // the last one used is last
	closed bool
}

func newPool(o *table.Opener, name string, l *login) *pool {
	return &pool{login: l, name: name, opener: o, slots: make(chan struct{}, maxConnections)}
}

// enter waits until fewer than maxConnections are in use. leave must follow.
func (p *pool) enter(ctx context.Context) error {
	select {
	case p.slots <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(p.timeout)
	defer timer.Stop()
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return fmt.Errorf("all %d connections are busy", maxConnections)
	}
}

func (p *pool) leave() { <-p.slots }

// usable is an error once the pool is closed.
func (p *pool) usable() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errClosed
	}
	return nil
}

// take returns a connection that was used before, nil when there is none.
func (p *pool) take() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := len(p.idle); n > 0; n = len(p.idle) {
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		if !c.IsClosing() {
			return c
		}
	}
	return nil
}

// put takes a connection back. It is closed when err says that something went
// wrong with it.
func (p *pool) put(c *conn, err error) {
	p.mu.Lock()
	keep := err == nil && !p.closed && !c.IsClosing()
	if keep {
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
	if !keep {
		c.Close()
	}
}

// dial connects to the first server that lets us. Servers that failed a moment
// ago are passed over; when that leaves none, the error says why they failed.
func (p *pool) dial(ctx context.Context) (*conn, error) {
	var errs []error
	for _, s := range p.servers {
		err := p.turn(s)
		if err == nil {
			var c *conn
			if c, err = p.login.dial(ctx, s); err == nil {
				p.works(s)
				return c, nil
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			p.fails(s, err)
		}
		errs = append(errs, err)
	}
	return nil, oneLine(errs)
}

// oneLine joins errors with semicolons: a log has one line for all.
func oneLine(errs []error) error {
	err := errs[0]
	for _, e := range errs[1:] {
		err = fmt.Errorf("%w; %w", err, e)
	}
	return err
}

// turn reports why a server is not to be tried now. Of those who ask for one
// that failed, one in each pause may try it.
func (p *pool) turn(s *server) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.err == nil {
		return nil
	}
	now := p.opener.Clock()
	if now.Before(s.until) {
		return s.err
	}
	s.until = now.Add(retryPause)
	return nil
}

func (p *pool) works(s *server) {
	p.mu.Lock()
	s.err = nil
	p.mu.Unlock()
	p.troubles.Over(p.opener, s.url, "%s: %s answers again", p.name, s.url)
}

func (p *pool) fails(s *server, err error) {
	p.mu.Lock()
	s.err, s.until = err, p.opener.Clock().Add(retryPause)
	p.mu.Unlock()
	p.troubles.Tell(p.opener, s.url, "%s: %v", p.name, err)
}

// close closes what is idle. What is in use is closed when it is put back.
func (p *pool) close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	for _, c := range idle {
		c.Close()
	}
}
