package smtpc

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/internal/smtp"
)

// grace is how long a conversation may go on behind the final dot when its
// context ended, and how long a last word is waited for.
const grace = 5 * time.Second

// Client is one connection to a server. It is used by one goroutine at a time.
type Client struct {
	o      Options
	conn   net.Conn // what is spoken on: the TLS connection once there is one
	r      *bufio.Reader
	w      *bufio.Writer
	ext    Extensions
	server string // first word of the reply to EHLO
	tls    *tls.ConnectionState

	text    []byte // of a message that goes out by BDAT; reused
	uses    int    // transactions begun
	open    bool   // a transaction was left unfinished: RSET comes first
	helo    bool   // EHLO is not said
	broken  bool
	written error     // of the connection, as seen by the last Write
	begun   time.Time // of the text
	sent    int64     // octets of it

	mu          sync.Mutex // guards the deadlines of conn, and:
	phase       Phase
	interrupted bool
}

// New makes a Client of a connection, which it owns from now on. Nothing is
// sent or read yet: see Open.
func New(conn net.Conn, o Options) *Client {
	c := &Client{o: o, conn: conn}
	c.r = bufio.NewReaderSize(conn, 4<<10)
	c.w = bufio.NewWriterSize(wire{c}, 16<<10)
	return c
}

// wire is the connection as the writer sees it. While the text of a message is
// sent, every piece has its own time.
type wire struct{ c *Client }

func (w wire) Write(p []byte) (int, error) {
	if w.c.phase == Body {
		w.c.begin(Body, w.c.pieceTimeout())
	}
	n, err := w.c.conn.Write(p)
	w.c.sent += int64(n)
	if err != nil {
		w.c.written = err
	}
	return n, err
}

// pieceTimeout is the time for the next piece of the text: DataXfer, or with
// MinDataRate what is left of DataXfer for all of it, longer by what the octets
// sent so far may take.
func (c *Client) pieceTimeout() time.Duration {
	limit := c.o.Timeouts.DataXfer
	if c.o.MinDataRate <= 0 || limit <= 0 {
		return limit
	}
	allowed := limit + time.Duration(c.sent/int64(c.o.MinDataRate))*time.Second
	return max(allowed-time.Since(c.begun), 1)
}

// Open reads the greeting, says hello, starts TLS as Options.TLS says, and
// authenticates as Options.Auth says. An
// error is an *Error; the Client must be closed then.
func (c *Client) Open(ctx context.Context) error {
	stop := c.watch(ctx)
	defer stop()
	if c.o.TLS.Wrapper && c.o.TLS.Config != nil {
		if err := c.handshake(ctx); err != nil {
			return err
		}
	}
	reply, err := c.read(Greeting, c.o.Timeouts.Helo)
	if err != nil {
		return err
	}
	if reply.Code/100 != 2 {
		return &Error{Kind: Refused, Phase: Greeting, Reply: reply}
	}
	words := strings.Fields(strings.ToUpper(reply.Text))
	c.helo = !c.o.LMTP && (c.o.EHLO == EhloNever || c.o.EHLO == EhloWhenOffered && !slices.Contains(words, "ESMTP"))
	if err := c.hello(); err != nil {
		return err
	}
	if err := c.startTLS(ctx); err != nil {
		return err
	}
	if err := c.authenticate(ctx); err != nil {
		return err
	}
	return nil
}

// hello says EHLO, and HELO to a server that does not know it; or LHLO.
func (c *Client) hello() *Error {
	phase, verb := Ehlo, "EHLO "
	if c.o.LMTP {
		phase, verb = Lhlo, "LHLO "
	}
	c.ext = Extensions{}
	var reply smtp.Reply
	var err *Error
	if !c.helo {
		if reply, err = c.command(phase, c.o.Timeouts.Helo, verb, c.o.Hello); err != nil {
			return err
		}
		if reply.Code/100 != 2 && (c.o.LMTP || reply.Code == 421) {
			return &Error{Kind: Refused, Phase: phase, Reply: reply}
		}
	}
	if reply.Code/100 == 2 {
		c.ext = parseExtensions(reply.Text, c.o.Discard)
	} else {
		if reply, err = c.command(Helo, c.o.Timeouts.Helo, "HELO ", c.o.Hello); err != nil {
			return err
		}
		if reply.Code/100 != 2 {
			return &Error{Kind: Refused, Phase: Helo, Reply: reply}
		}
	}
	first, _, _ := strings.Cut(reply.Text, "\n")
	c.server, _, _ = strings.Cut(first, " ")
	return nil
}

// startTLS encrypts the connection when it is to be and is not yet, and says
// hello again (RFC 3207, 4.2).
func (c *Client) startTLS(ctx context.Context) *Error {
	if c.o.TLS.Config == nil || c.tls != nil {
		return nil
	}
	if !c.ext.StartTLS {
		if c.o.TLS.Required {
			return &Error{Kind: TLSNotOffered, Phase: StartTLS}
		}
		return nil
	}
	reply, err := c.command(StartTLS, c.o.Timeouts.StartTLS, "STARTTLS")
	if err != nil {
		return err
	}
	if reply.Code/100 != 2 {
		if c.o.TLS.Required || reply.Code == 421 {
			return &Error{Kind: TLSRefused, Phase: StartTLS, Reply: reply}
		}
		return nil
	}
	if c.r.Buffered() > 0 { // text in clear that would pass for protected
		return c.fail(&Error{Kind: Malformed, Phase: StartTLS, Err: errors.New("octets behind the reply to STARTTLS")})
	}
	if err := c.handshake(ctx); err != nil {
		return err
	}
	return c.hello()
}

func (c *Client) handshake(ctx context.Context) *Error {
	c.begin(StartTLS, c.o.Timeouts.StartTLS)
	secure := tls.Client(c.conn, c.o.TLS.Config)
	if err := secure.HandshakeContext(ctx); err != nil {
		e := &Error{Kind: TLSHandshake, Phase: StartTLS, Err: err}
		if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
			e.Kind = TLSUnverified
		} else if isTimeout(err) {
			e.Kind = TimedOut
		}
		return c.fail(e)
	}
	state := secure.ConnectionState()
	c.mu.Lock()
	c.conn, c.tls = secure, &state
	c.mu.Unlock()
	c.r.Reset(secure)
	return nil
}

// Extensions returns what the server offers.
func (c *Client) Extensions() Extensions { return c.ext }

// ServerName returns the name by which the server introduced itself in its
// reply to EHLO, HELO or LHLO.
func (c *Client) ServerName() string { return c.server }

// TLS returns the state of the encryption, or nil when there is none.
func (c *Client) TLS() *tls.ConnectionState { return c.tls }

// Uses counts the transactions begun on this connection.
func (c *Client) Uses() int { return c.uses }

// Usable reports whether another transaction can be tried.
func (c *Client) Usable() bool { return !c.broken }

// Quit ends the conversation politely, as far as the server lets it, and closes
// the connection. It takes a few seconds at most, whatever Timeouts.Quit says.
func (c *Client) Quit() {
	if !c.broken {
		timeout := c.o.Timeouts.Quit
		if timeout <= 0 || timeout > grace {
			timeout = grace
		}
		c.begin(Quit, timeout)
		c.w.WriteString("QUIT\r\n")
		if c.w.Flush() == nil && c.o.WaitQuit {
			_, _ = smtp.ReadReply(c.r)
		}
	}
	c.Close()
}

// Close closes the connection without a word.
func (c *Client) Close() {
	c.broken = true
	_ = c.conn.Close() // nothing was promised that this error could break
}

// command sends a command alone and reads its reply.
func (c *Client) command(p Phase, timeout time.Duration, words ...string) (smtp.Reply, *Error) {
	c.begin(p, timeout)
	for _, word := range words {
		c.w.WriteString(word)
	}
	c.w.WriteString("\r\n")
	if err := c.w.Flush(); err != nil {
		return smtp.Reply{}, c.failure(p, err)
	}
	return c.read(p, timeout)
}

// read reads one reply.
func (c *Client) read(p Phase, timeout time.Duration) (smtp.Reply, *Error) {
	if c.r.Buffered() == 0 { // the replies of a group arrive together, and share its time
		c.begin(p, timeout)
	}
	reply, err := smtp.ReadReply(c.r)
	if err != nil {
		return smtp.Reply{}, c.failure(p, err)
	}
	if reply.Code == 421 { // RFC 5321, 3.8: the server closes the channel
		c.broken = true
	}
	return reply, nil
}

// failure makes an Error of what reading or writing said.
func (c *Client) failure(p Phase, err error) *Error {
	e := &Error{Kind: Lost, Phase: p, Err: err}
	switch {
	case isTimeout(err):
		e.Kind = TimedOut
	case errors.Is(err, smtp.ErrMalformedReply):
		e.Kind = Malformed
	}
	return c.fail(e)
}

// fail notes that the connection is of no use any more.
func (c *Client) fail(e *Error) *Error {
	c.broken = true
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.interrupted {
		e.Kind = Canceled
	}
	return e
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

// begin enters a phase: what is read and written from now on must be done
// within timeout.
func (c *Client) begin(p Phase, timeout time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.interrupted && p == EndOfData && c.phase == EndOfData {
		return // the grace that interrupt gave runs on
	}
	c.phase = p
	var deadline time.Time
	switch {
	case c.interrupted:
		deadline = time.Unix(1, 0)
	case timeout > 0:
		deadline = time.Now().Add(timeout)
	}
	_ = c.conn.SetDeadline(deadline) // on a closed connection the next Read or Write says so
}

// watch ends the conversation when ctx ends, until the returned function is
// called.
func (c *Client) watch(ctx context.Context) func() {
	stop := context.AfterFunc(ctx, c.interrupt)
	return func() {
		if !stop() {
			c.broken = true
		}
	}
}

// interrupt makes reading and writing fail from now on, or after grace
// behind the final dot.
func (c *Client) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.interrupted = true
	deadline := time.Unix(1, 0)
	if c.phase == EndOfData {
		deadline = time.Now().Add(grace)
	}
	_ = c.conn.SetDeadline(deadline)
}
