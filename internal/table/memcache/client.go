package memcache

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	maxConnections = 8           // of one table
	maxIdle        = time.Minute // a connection without use is closed after this
)

var (
	errClosed = errors.New("table is closed")
	errMiss   = errors.New("no such key")
)

// client asks one server.
type client struct {
	network, address string
	timeout, pause   time.Duration
	tries            int
	limits           limits
	now              func() time.Time
	slots            chan struct{} // one for each connection in use

	mu     sync.Mutex // guards what follows
	idle   []*conn    // the last one used is last
	reaper *time.Timer
	closed bool
	down   error     // why the server took no connection the last time
	until  time.Time // it is not to be tried before
}

// limits bound what a server may say.
type limits struct {
	line, data int // bytes of a line, and of a value
}

type conn struct {
	net.Conn
	r     *bufio.Reader
	since time.Time // when it became idle
}

// downError is the error of a server that takes no connection.
type downError struct{ error }

// get returns the value of a key, errMiss when there is none.
func (c *client) get(ctx context.Context, key string) (value string, err error) {
	err = c.do(ctx, "get "+key+"\r\n", func(r *bufio.Reader) (err error) {
		value, err = c.limits.readValue(r, key)
		return err
	})
	return value, err
}

// set stores a value.
func (c *client) set(ctx context.Context, key, value string, flags, ttl int) error {
	command := fmt.Sprintf("set %s %d %d %d\r\n%s\r\n", key, flags, ttl, len(value), value)
	return c.do(ctx, command, func(r *bufio.Reader) error {
		line, err := c.limits.readLine(r)
		if err == nil && line != "STORED" {
			err = unexpected(line)
		}
		return err
	})
}

// do sends a command and reads the answer. It tries again when that fails, but
// not when the server takes no connection.
func (c *client) do(ctx context.Context, command string, read func(*bufio.Reader) error) error {
	if err := c.enter(ctx); err != nil {
		return err
	}
	defer func() { <-c.slots }()
	if old := c.take(); old != nil {
		err := c.try(ctx, old, command, read)
		if isAnswer(err) || ctx.Err() != nil {
			return err
		}
		c.drop() // the others will be dead, too
	}
	for n := 1; ; n++ {
		fresh, err := c.dial(ctx)
		if err != nil {
			return err
		}
		err = c.try(ctx, fresh, command, read)
		if isAnswer(err) || n == c.tries || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(c.pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// isAnswer reports whether the server would say the same again.
func isAnswer(err error) bool {
	var large *tooLargeError
	return err == nil || errors.Is(err, errMiss) || errors.As(err, &large)
}

// try sends a command once, and keeps the connection if it is well.
func (c *client) try(ctx context.Context, conn *conn, command string, read func(*bufio.Reader) error) error {
	conn.SetDeadline(time.Now().Add(c.timeout))
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	_, err := io.WriteString(conn, command)
	if err == nil {
		err = read(conn.r)
	}
	if err != nil {
		err = c.plain(err)
	}
	if !stop() {
		err = ctx.Err() // the deadline may strike yet
	}
	if (err == nil || errors.Is(err, errMiss)) && c.put(conn) {
		return err
	}
	conn.Close()
	return err
}

// enter waits until fewer than maxConnections are in use.
func (c *client) enter(ctx context.Context) error {
	timer := time.NewTimer(c.timeout)
	defer timer.Stop()
	select {
	case c.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return fmt.Errorf("all %d connections are busy", maxConnections)
	}
}

// take returns a connection that was used before, nil when there is none. What
// was idle for long is closed first: a firewall may have forgotten it.
func (c *client) take() *conn {
	c.expire()
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.idle)
	if n == 0 {
		return nil
	}
	last := c.idle[n-1]
	c.idle = c.idle[:n-1]
	return last
}

// put keeps a connection for later, and reports whether it does.
func (c *client) put(conn *conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	conn.since = c.now()
	c.idle = append(c.idle, conn)
	if c.reaper == nil {
		c.reaper = time.AfterFunc(maxIdle, c.reap)
	}
	return true
}

// reap expires connections, and comes again while there are others.
func (c *client) reap() {
	c.expire()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reaper = nil
	if len(c.idle) > 0 && !c.closed {
		c.reaper = time.AfterFunc(maxIdle, c.reap)
	}
}

// expire closes the connections that were idle for long.
func (c *client) expire() {
	before := c.now().Add(-maxIdle)
	c.discard(func(conn *conn) bool { return !conn.since.After(before) })
}

// drop closes the connections that are not in use.
func (c *client) drop() { c.discard(func(*conn) bool { return true }) }

// discard closes the idle connections that are not wanted.
func (c *client) discard(unwanted func(conn *conn) bool) {
	c.mu.Lock()
	var out, kept []*conn
	for _, conn := range c.idle {
		if unwanted(conn) {
			out = append(out, conn)
		} else {
			kept = append(kept, conn)
		}
	}
	c.idle = kept
	c.mu.Unlock()
	for _, conn := range out {
		conn.Close()
	}
}

func (c *client) close() {
	c.mu.Lock()
	c.closed = true
	if c.reaper != nil {
		c.reaper.Stop()
	}
	c.mu.Unlock()
	c.drop()
}

// usable is an error once the client is closed.
func (c *client) usable() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errClosed
	}
	return nil
}

// dial makes a new connection. When that failed a moment ago, it fails at once.
func (c *client) dial(ctx context.Context) (*conn, error) {
	c.mu.Lock()
	down, now := c.down, c.now()
	if down != nil && !now.Before(c.until) {
		down, c.until = nil, now.Add(c.pause) // the others wait for what we find
	}
	c.mu.Unlock()
	if down != nil {
		return nil, down
	}
	dialer := net.Dialer{Timeout: c.timeout}
	nc, err := dialer.DialContext(ctx, c.network, c.address)
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		err = &downError{c.plain(err)}
	}
	c.mu.Lock()
	c.down, c.until = err, c.now().Add(c.pause)
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: nc, r: bufio.NewReader(nc)}, nil
}

// unexpected is the error of an answer that is not understood.
func unexpected(line string) error {
	return fmt.Errorf("unexpected answer %.60q", line)
}

// tooLargeError is the error of a value that is larger than data_size_limit.
type tooLargeError struct {
	key  string
	size int
}

func (e *tooLargeError) Error() string {
	return fmt.Sprintf("the value of %q has %d bytes", e.key, e.size)
}

// readLine reads a line without its end. It does not read more than the limit.
func (l limits) readLine(r *bufio.Reader) (string, error) {
	var line strings.Builder
	for line.Len() < l.line {
		b, err := r.ReadByte()
		if err != nil {
			return "", err
		}
		if b == '\n' {
			return strings.TrimSuffix(line.String(), "\r"), nil
		}
		line.WriteByte(b)
	}
	return "", fmt.Errorf("%w is longer than line_size_limit = %d", unexpected(line.String()), l.line)
}

// readValue reads the answer to "get key": errMiss is "END". Otherwise it is
// "VALUE key flags bytes", the value, and "END". A value ends at its first NUL,
// as in Postfix.
func (l limits) readValue(r *bufio.Reader, key string) (string, error) {
	line, err := l.readLine(r)
	if err != nil {
		return "", err
	}
	if line == "END" {
		return "", errMiss
	}
	fields := strings.Split(line, " ")
	if len(fields) < 4 || fields[0] != "VALUE" || fields[1] != key {
		return "", unexpected(line)
	}
	size, err := strconv.Atoi(fields[3])
	if err != nil || size < 0 {
		return "", unexpected(line)
	}
	if size > l.data {
		return "", &tooLargeError{key, size}
	}
	text := make([]byte, size+len("\r\n"))
	if _, err := io.ReadFull(r, text); err != nil {
		return "", err
	}
	value, ok := strings.CutSuffix(string(text), "\r\n")
	if !ok {
		return "", errors.New("a value does not end where it should")
	}
	if line, err = l.readLine(r); err == nil && line != "END" {
		err = unexpected(line)
	}
	if err != nil {
		return "", err
	}
	value, _, _ = strings.Cut(value, "\x00")
	return value, nil
}
