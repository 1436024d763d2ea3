package sql

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/table"
	"postern/internal/table/cf"
)

const (
	maxSessions    = 8                // of one table, to all its servers together
	connectTimeout = 5 * time.Second  // for one attempt to reach one server
	queryTimeout   = 10 * time.Second // for one query
	// A server that is the only one of its table is tried again after
	// singleRetry, others after retryInterval.
	singleRetry   = time.Second
	retryInterval = time.Minute
	idleInterval  = time.Minute
)

// session is a connection to a server, on which one query is asked at a time.
type session interface {
	// ask sends the values and hands over the rows of the answer. A *lostError
	// ends the session; a *refusedError is the server's answer; any other
	// error is one of add.
	ask(values []string, add func(row) error) error
	// list runs a statement that has no values, within a transaction that may
	// only read. Errors are those of ask.
	list(statement string, add func(row) error) error
	close()
}

// lostError is one after which a session is of no use, while another one, or
// one to another server, may well answer.
type lostError struct{ error }

func (e *lostError) Unwrap() error { return e.error }

func isLost(err error) bool {
	var lost *lostError
	return errors.As(err, &lost)
}

// refusedError is what a server says that understood the question and will not
// answer it: the query is wrong, or a right is missing.
type refusedError struct{ error }

func (e *refusedError) Unwrap() error { return e.error }

// dialer opens a session to a server, on a network connection that is returned
// as well. Its errors are for the administrator.
type dialer func(ctx context.Context, h *host) (session, net.Conn, error)

// server is a host with what is known about it.
type server struct {
	host
	told atomic.Bool // something bad about it was logged

	// Guarded by pool.mu.
	failed  error     // why it could not be used, nil: it was not tried or it works
	retry   time.Time // when to try again after a failure
	probing bool      // somebody does so now
}

// link is an open session.
type link struct {
	session
	conn   net.Conn // carries the session; for deadlines
	server *server
	since  time.Time // when it became idle
}

// pool keeps the sessions of one table.
type pool struct {
	opener    *table.Opener
	kind      string // of the servers, for messages: "mysql"
	servers   []*server
	dial      dialer
	idleTime  time.Duration
	retryTime time.Duration
	places    chan struct{} // one for each session that is in use

	mu     sync.Mutex // guards what follows
	idle   []*link    // the last used is the last
	reaper *time.Timer
	closed bool
}

// get returns a session: one that is idle, unless a fresh one is asked for, or
// a new one. The caller must put it back.
func (p *pool) get(ctx context.Context, fresh bool) (*link, error) {
	select {
	case p.places <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	l, err := p.takeIdle(fresh)
	if l == nil && err == nil {
		l, err = p.connect(ctx)
	}
	if err != nil {
		<-p.places
	}
	return l, err
}

// takeIdle returns the idle session that was used last, one through a socket
// when there is one, or nil.
func (p *pool) takeIdle(fresh bool) (*link, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed
	}
	n := len(p.idle)
	if fresh || n == 0 {
		return nil, nil
	}
	best := n - 1
	for i := best; i >= 0 && len(p.servers) > 1; i-- {
		if p.idle[i].server.network == "unix" {
			best = i
			break
		}
	}
	l := p.idle[best]
	p.idle = append(p.idle[:best], p.idle[best+1:]...)
	return l, nil
}

// put takes a session back after a query that ended with err.
func (p *pool) put(l *link, err error) {
	if isLost(err) || !p.keep(l) {
		l.close()
	}
	<-p.places
}

// keep puts a session to the idle ones, unless the pool is closed.
func (p *pool) keep(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	l.since = p.opener.Clock()
	p.idle = append(p.idle, l)
	if p.reaper == nil {
		p.reaper = time.AfterFunc(p.idleTime, p.reap)
	}
	return true
}

// reap closes the sessions that were idle for long.
func (p *pool) reap() {
	before := p.opener.Clock().Add(-p.idleTime)
	p.discard(func(l *link) bool { return !l.since.After(before) })
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reaper = nil
	if len(p.idle) > 0 && !p.closed {
		p.reaper = time.AfterFunc(max(p.idle[0].since.Sub(before), time.Millisecond), p.reap)
	}
}

// drop closes the idle sessions of a server that lost one.
func (p *pool) drop(s *server) { p.discard(func(l *link) bool { return l.server == s }) }

// discard closes the idle sessions that are not wanted.
func (p *pool) discard(unwanted func(l *link) bool) {
	p.mu.Lock()
	var out, kept []*link
	for _, l := range p.idle {
		if unwanted(l) {
			out = append(out, l)
		} else {
			kept = append(kept, l)
		}
	}
	p.idle = kept
	p.mu.Unlock()
	for _, l := range out {
		l.close()
	}
}

// close closes the idle sessions; the others are closed by put.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	if p.reaper != nil {
		p.reaper.Stop()
	}
	p.mu.Unlock()
	p.discard(func(*link) bool { return true })
}

// connect opens a session to one of the servers that may be tried now. When
// there is none, it fails at once with what they failed with.
func (p *pool) connect(ctx context.Context) (*link, error) {
	var tried []*server
	var last error
	for {
		s, failed := p.choose(tried)
		if s == nil {
			return nil, &cf.ToldError{Err: cmp.Or(failed, last)}
		}
		tried = append(tried, s)
		l, err := p.open(ctx, s)
		if err == nil {
			return l, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		last = err
	}
}

// choose returns a server to try: one behind a socket before the others, a
// random one of several. One that failed is left alone until its time has come,
// and then tried by one caller. failed is what is wrong when there is none.
func (p *pool) choose(tried []*server) (s *server, failed error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var sockets, others []*server
	now := p.opener.Clock()
	for _, s := range p.servers {
		switch {
		case s.failed != nil && failed == nil:
			failed = s.failed
		case s.failed != nil:
			failed = fmt.Errorf("%w; %w", failed, s.failed)
		}
		switch {
		case slices.Contains(tried, s) || s.failed != nil && (s.probing || now.Before(s.retry)):
		case s.network == "unix":
			sockets = append(sockets, s)
		default:
			others = append(others, s)
		}
	}
	if len(sockets) > 0 {
		others = sockets
	}
	if len(others) == 0 {
		return nil, failed
	}
	s = others[p.opener.Random(len(others))]
	s.probing = true
	return s, nil
}

// open makes a session to a server. When that fails, the server is not tried
// again for a while.
func (p *pool) open(ctx context.Context, s *server) (*link, error) {
	within, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	session, conn, err := p.dial(within, &s.host)
	if err == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		s.failed, s.probing = nil, false
		return &link{session: session, conn: conn, server: s}, nil
	}
	if ctx.Err() != nil { // the caller went away, which says nothing about the server
		p.mu.Lock()
		defer p.mu.Unlock()
		s.probing = false
		return nil, err
	}
	p.fail(s, err)
	return nil, err
}

// fail notes and logs that a server cannot be used.
func (p *pool) fail(s *server, err error) {
	p.mu.Lock()
	s.failed, s.probing = err, false
	s.retry = p.opener.Clock().Add(p.retryTime)
	p.mu.Unlock()
	s.told.Store(true)
	p.opener.Troubles.Tell(p.opener, p.thing(s), "%v", err)
}

// well notes that a server answered.
func (p *pool) well(s *server) {
	if s.told.Load() && s.told.CompareAndSwap(true, false) {
		p.opener.Troubles.Over(p.opener, p.thing(s), "%s answers again", p.thing(s))
	}
}

// names are those of the servers.
func (p *pool) names() string {
	var list []string
	for _, s := range p.servers {
		list = append(list, s.name)
	}
	return strings.Join(list, ", ")
}

// thing is what a lasting trouble is about.
func (p *pool) thing(s *server) string { return p.kind + " server " + s.name }

// past is a deadline that ends every wait.
var past = time.Unix(1, 0)

// ask asks the query on a session, for queryTimeout and until ctx ends.
func (l *link) ask(ctx context.Context, values []string, add func(row) error) error {
	return l.within(ctx, func() error { return l.session.ask(values, add) })
}

// list runs a statement, as long as a query may take.
func (l *link) list(ctx context.Context, statement string, add func(row) error) error {
	return l.within(ctx, func() error { return l.session.list(statement, add) })
}

// within bounds the time of what is done on a session.
func (l *link) within(ctx context.Context, do func() error) error {
	deadline := time.Now().Add(queryTimeout)
	if err := l.conn.SetDeadline(deadline); err != nil {
		return &lostError{err}
	}
	stop := context.AfterFunc(ctx, func() { _ = l.conn.SetDeadline(past) })
	err := do()
	if !stop() {
		return &lostError{ctx.Err()}
	}
	if isLost(err) && !time.Now().Before(deadline) {
		return &lostError{errNoAnswer}
	}
	return err
}

var errNoAnswer = fmt.Errorf("no answer within %v", queryTimeout)

// close closes the session in order, if that is quick.
func (l *link) close() {
	_ = l.conn.SetDeadline(time.Now().Add(time.Second))
	l.session.close()
}
