package smtpd

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"postern/internal/smtp"
)

// Sizes of buffers and waits that are no business of a configuration.
const (
	idleBuffer  = 256      // of a session that waits for a command
	lineBuffer  = 4 << 10  // of one whose client sent more than fits there
	textBuffer  = 64 << 10 // of one that receives a message
	smallReply  = 128      // replies of that many octets need no memory of their own
	flushAt     = 8 << 10  // replies that are collected before they are sent in any case
	refuseTime  = time.Second
	graceTime   = 30 * time.Second
	acceptPause = 10 * time.Millisecond
	acceptLimit = time.Second
)

// Server runs the sessions of one service, on any number of listeners. Its
// fields are set before Serve and not changed after it.
type Server struct {
	// Profile returns the newest settings, never nil. It is called often and
	// must be cheap.
	Profile func() *Profile
	Log     Logger
	// MaxConnections bounds the sessions of all clients; 0: 1000. A client
	// beyond it is told 421 4.3.2 and logged.
	MaxConnections int
	// Grace is how long transactions that are open when Serve's context ends may
	// go on; 0: 30 s. After it their connections are closed.
	Grace time.Duration

	mu       sync.Mutex // guards the fields below
	sessions map[*session]struct{}
	clients  map[string]int // sessions by client address
	draining bool

	lines sync.Pool // of *[lineBuffer]byte
	texts sync.Pool // of *[textBuffer]byte
}

// Serve accepts connections on l until ctx ends, closes l, and returns when the
// sessions of l are over. Sessions without an open transaction are told 421 at
// once, others after it, or after Grace.
//
// It returns nil when ctx ended. Shortage of descriptors or memory is waited out
// and logged. When the listener itself is of no use any more, its error comes
// back, after its sessions are over. The end of one Serve's context ends the
// sessions of all listeners of the Server.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	hard, kill := context.WithCancel(context.WithoutCancel(ctx))
	defer kill()
	var running sync.WaitGroup
	stop := context.AfterFunc(ctx, func() {
		_ = l.Close()
		s.drain()
	})
	defer stop()

	err := s.accept(ctx, hard, l, &running)
	_ = l.Close()
	over := make(chan struct{})
	go func() {
		running.Wait()
		close(over)
	}()
	select {
	case <-over:
		return err
	case <-ctx.Done():
	}
	grace := time.NewTimer(s.grace())
	defer grace.Stop()
	select {
	case <-over:
	case <-grace.C:
		kill()
		<-over
	}
	return err
}

func (s *Server) grace() time.Duration {
	if s.Grace <= 0 {
		return graceTime
	}
	return s.Grace
}

// accept starts a session for each connection until ctx ends or the listener
// fails for good.
func (s *Server) accept(ctx, hard context.Context, l net.Listener, running *sync.WaitGroup) error {
	pause := acceptPause
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = conn.Close()
			}
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil {
			s.Log.Warningf("accept connection: %v", err)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(pause):
			}
			pause = min(2*pause, acceptLimit)
			continue
		}
		pause = acceptPause
		running.Go(func() { s.ServeConn(hard, conn) })
	}
}

// ServeConn runs a session on conn and closes it. It returns when the session is
// over, which the end of ctx hastens without ceremony.
func (s *Server) ServeConn(ctx context.Context, conn net.Conn) {
	ss := newSession(s, conn)
	if !s.add(ss) {
		s.refuse(conn)
		return
	}
	defer s.remove(ss)
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	ss.run(ctx)
}

// refuse turns a connection away that is one too many.
func (s *Server) refuse(conn net.Conn) {
	c := s.Profile().Config
	s.Log.Warningf("connection limit of %d sessions reached, refused %s", s.maxConnections(), conn.RemoteAddr())
	_ = conn.SetDeadline(time.Now().Add(refuseTime))
	r := smtp.R(421, "4.3.2", c.Hostname+" Error: too many connections")
	_, _ = conn.Write(r.AppendTo(nil))
	_ = conn.Close()
}

func (s *Server) maxConnections() int {
	if s.MaxConnections <= 0 {
		return 1000
	}
	return s.MaxConnections
}

// add counts a session in, unless there are too many.
func (s *Server) add(ss *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sessions) >= s.maxConnections() {
		return false
	}
	if s.sessions == nil {
		s.sessions = make(map[*session]struct{})
		s.clients = make(map[string]int)
	}
	s.sessions[ss] = struct{}{}
	s.clients[ss.clientKey]++
	if s.draining {
		ss.drain()
	}
	return true
}

func (s *Server) remove(ss *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, ss)
	if s.clients[ss.clientKey]--; s.clients[ss.clientKey] <= 0 {
		delete(s.clients, ss.clientKey)
	}
}

// sessionsOf counts the sessions of the client of ss, itself included.
func (s *Server) sessionsOf(ss *session) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clients[ss.clientKey]
}

// Sessions is the number of sessions that run.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// drain tells all sessions to end between transactions.
func (s *Server) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	for ss := range s.sessions {
		ss.drain()
	}
}

// lendLine and lendText lend a buffer that sessions share.
func (s *Server) lendLine() []byte {
	if b, ok := s.lines.Get().(*[lineBuffer]byte); ok {
		return b[:]
	}
	return make([]byte, lineBuffer)
}

func (s *Server) lendText() []byte {
	if b, ok := s.texts.Get().(*[textBuffer]byte); ok {
		return b[:]
	}
	return make([]byte, textBuffer)
}

// giveBack takes a buffer back that was lent; others it leaves alone.
func (s *Server) giveBack(b []byte) {
	switch len(b) {
	case lineBuffer:
		s.lines.Put((*[lineBuffer]byte)(b))
	case textBuffer:
		s.texts.Put((*[textBuffer]byte)(b))
	}
}
