package ldap

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"postern/internal/table"
	"postern/internal/table/cf"
)

const (
	maxConnections = 8               // of one table
	retryPause     = 5 * time.Second // before a server that failed is tried again
	maxIdle        = time.Minute     // a connection without use is closed after this
)

var errClosed = errors.New("table is closed")

// pool holds the connections of a table.
type pool struct {
	*login
	name   string // of the table
	opener *table.Opener
	slots  chan struct{} // one for each connection in use

	mu     sync.Mutex // guards what follows, and the state of the servers
	idle   []*conn    // the last one used is last
	reaper *time.Timer
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
		err := fmt.Errorf("all %d connections are busy", maxConnections)
		p.opener.Troubles.Tell(p.opener, p.name+" connections", "%s: %v", p.name, err)
		return &cf.ToldError{Err: err}
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

// take returns a connection that was used before, nil when there is none. What
// was idle for long is closed first: a firewall may have forgotten it.
func (p *pool) take() *conn {
	p.expire()
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
		c.since = p.opener.Clock()
		p.idle = append(p.idle, c)
		if p.reaper == nil {
			p.reaper = time.AfterFunc(maxIdle, p.reap)
		}
	}
	p.mu.Unlock()
	if !keep {
		c.Close()
	}
}

// expire closes the connections that were idle for long.
func (p *pool) expire() {
	before := p.opener.Clock().Add(-maxIdle)
	p.discard(func(c *conn) bool { return !c.since.After(before) })
}

// reap expires connections, and comes again while there are others.
func (p *pool) reap() {
	p.expire()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reaper = nil
	if len(p.idle) > 0 && !p.closed {
		p.reaper = time.AfterFunc(maxIdle, p.reap)
	}
}

// drop closes the idle connections to a server.
func (p *pool) drop(s *server) { p.discard(func(c *conn) bool { return c.server == s }) }

// discard closes the idle connections that are not wanted.
func (p *pool) discard(unwanted func(c *conn) bool) {
	p.mu.Lock()
	var out, kept []*conn
	for _, c := range p.idle {
		if unwanted(c) {
			out = append(out, c)
		} else {
			kept = append(kept, c)
		}
	}
	p.idle = kept
	p.mu.Unlock()
	for _, c := range out {
		c.Close()
	}
}

// dial connects to the first server that lets us. Servers that failed a moment
// ago are passed over; when that leaves none, the error says why they failed,
// and was told.
func (p *pool) dial(ctx context.Context) (*conn, error) {
	var errs []error
	for _, s := range p.servers {
		err := p.turn(s)
		if err == nil {
			var c *conn
			if c, err = p.login.dial(ctx, s); err == nil {
				return c, nil
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			p.fails(s, err)
		}
		errs = append(errs, err)
	}
	return nil, &cf.ToldError{Err: oneLine(errs)}
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

// works notes that a server answered on a new connection.
func (p *pool) works(s *server) {
	p.mu.Lock()
	s.err = nil
	p.mu.Unlock()
	p.opener.Troubles.Over(p.opener, thing(s), "%s answers again", thing(s))
	p.opener.Troubles.Over(p.opener, p.thing(s), "%s: %s lets us in again", p.name, s.url)
}

// fails notes and logs that a server cannot be used.
func (p *pool) fails(s *server, err error) {
	p.mu.Lock()
	s.err, s.until = err, p.opener.Clock().Add(retryPause)
	p.mu.Unlock()
	about := thing(s)
	if isPlaced(err) {
		about = p.thing(s)
	}
	p.opener.Troubles.Tell(p.opener, about, "%s: %v", p.name, err)
}

// thing is what the trouble with a server is about, of all tables that ask it.
func thing(s *server) string { return "LDAP server " + s.url }

// thing is what a trouble is about that a line of the table brings about: other
// tables may get on with the server.
func (p *pool) thing(s *server) string { return p.name + " at " + s.url }

// close closes what is idle. What is in use is closed when it is put back.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	if p.reaper != nil {
		p.reaper.Stop()
	}
	p.mu.Unlock()
	p.discard(func(*conn) bool { return true })
}
