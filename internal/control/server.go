package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds the wait for a request, and for a client to read what it
// asked for.
const patience = 60 * time.Second

// Listen makes a socket of that mode. A socket left behind by a server that is
// gone is replaced; one that answers is an error.
func Listen(path string, mode os.FileMode) (net.Listener, error) {
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
	if err := os.Chmod(path, mode); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Server answers on one socket.
type Server struct {
	Handle     Handler
	Clients    int           // at the same time; 0 is 64
	PerUser    int           // of these, of one user id; 0: as many as there may be
	MaxRequest int           // length of a request line; 0 is 4 MiB
	Patience   time.Duration // for a client to send and to read; 0 is a minute

	mu      sync.Mutex
	clients map[uint32]int // by user id
	total   int
}

// Serve answers requests until ctx ends or the listener is closed, and returns
// when the last answer is given. It closes the listener.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	defer l.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			wg.Go(func() { s.answer(ctx, c) })
		case ctx.Err() != nil, errors.Is(err, net.ErrClosed):
			return nil
		case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ECONNABORTED):
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond): // descriptors come back
			}
		default:
			return err
		}
	}
}

// enter counts a client in; false: there are too many.
func (s *Server) enter(uid uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	limit := s.Clients
	if limit <= 0 {
		limit = 64
	}
	if s.total >= limit || s.PerUser > 0 && s.clients[uid] >= s.PerUser {
		return false
	}
	if s.clients == nil {
		s.clients = map[uint32]int{}
	}
	s.total++
	s.clients[uid]++
	return true
}

func (s *Server) leave(uid uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	if s.clients[uid]--; s.clients[uid] == 0 {
		delete(s.clients, uid)
	}
}

// answer serves one client.
func (s *Server) answer(ctx context.Context, c net.Conn) {
	defer c.Close()
	a := &answer{conn: c, w: bufio.NewWriterSize(c, 32<<10), patience: s.Patience}
	if a.patience <= 0 {
		a.patience = patience
	}
	peer, err := peerOf(c)
	if err != nil {
		a.end(Fail("", err))
		return
	}
	if !s.enter(peer.UID) {
		a.end(Fail(Refused, errors.New("too many commands at the same time, try again")))
		return
	}
	defer s.leave(peer.UID)
	limit := s.MaxRequest
	if limit <= 0 {
		limit = 4 << 20
	}
	_ = c.SetReadDeadline(time.Now().Add(a.patience))
	r := bufio.NewReader(c)
	line, err := readLine(r, limit)
	if err != nil {
		if errors.Is(err, errTooLong) {
			a.end(Fail(Usage, fmt.Errorf("bad request: %w", err)))
		}
		return
	}
	request, err := parseRequest(line)
	if err != nil {
		a.end(Fail(Usage, err))
		return
	}
	request.Peer = peer
	_ = c.SetReadDeadline(time.Time{})
	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer c.Close() // which ends the watch
	defer cancel()
	watch.Go(func() { watchClient(r, cancel) })
	a.end(s.Handle(ctx, request, a))
}

// watchClient waits until the client is gone. What it still sends is dropped.
func watchClient(r *bufio.Reader, gone func()) {
	defer gone()
	for {
		if _, err := r.Discard(1); err != nil {
			return
		}
	}
}

// answer is the Stream of one client. Its lines go out together: when there are
// many, with a progress, and at the end.
type answer struct {
	conn     net.Conn
	patience time.Duration
	mu       sync.Mutex // handlers may report progress from anywhere
	w        *bufio.Writer
	err      error
}

func (a *answer) Item(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return a.send(frame{Item: b}, false)
}

func (a *answer) Progress(done, total int) {
	_ = a.send(frame{Progress: &Progress{done, total}}, true)
}

// end sends the last line. A client that is gone needs none.
func (a *answer) end(r Response) { _ = a.send(frame{End: &r}, true) }

func (a *answer) send(f frame, flush bool) error {
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		return a.err
	}
	if flush || a.w.Available() <= len(b) {
		_ = a.conn.SetWriteDeadline(time.Now().Add(a.patience))
	}
	_, a.err = a.w.Write(append(b, '\n'))
	if a.err == nil && flush {
		a.err = a.w.Flush()
	}
	return a.err
}

// peerOf asks the kernel who is at the other end of a Unix socket.
func peerOf(c net.Conn) (Peer, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return Peer{}, fmt.Errorf("not a Unix socket: %T", c)
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return Peer{}, err
	}
	if credErr != nil {
		return Peer{}, fmt.Errorf("credentials of the client: %w", credErr)
	}
	return Peer{cred.Uid, cred.Gid, cred.Pid}, nil
}
