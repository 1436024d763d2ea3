package smtpd

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"
	"unicode/utf8"

	"postern/internal/smtp"
)

// state is what a session expects next.
type state uint8

// States of a session.
const (
	stateStart state = iota // greeted; no HELO or EHLO yet
	stateReady              // HELO or EHLO said, no transaction
	stateMail               // MAIL accepted, no recipient yet
	stateRcpt               // at least one recipient accepted
	stateCount
)

// outcome is what a handler did.
type outcome uint8

// Outcomes.
const (
	bad  outcome = iota // counts as an error
	good                // counts as a success
)

// errQuit ends a session whose end has been logged, or needs no log line.
var errQuit = errors.New("session is over")

// session is one connection. Its fields belong to the goroutine that runs it,
// but for those behind mu.
type session struct {
	server    *Server
	log       Logger
	clientKey string

	conn     net.Conn // TLS or not
	raw      net.Conn // as accepted
	deadline deadlineReader
	in       *smtp.Reader
	room     int    // octets of the buffer that in works on
	out      []byte // replies not sent yet

	profile *Profile
	client  Client
	state   state
	tx      *Transaction // not nil from stateMail on
	body    Body         // not nil from stateRcpt on

	connectEffects, heloEffects []Effect // of the policy, for every transaction

	where    string // last command, for log lines
	refusing bool   // the reply is the policy's
	denied   bool   // refused at connect; only QUIT is heard
	hangup   bool   // end after the replies are sent
	piping   bool   // unauthorised pipelining was logged
	counts   counters
	errors   int // since the last accepted message
	junk     int
	overshot int

	transcript *transcript // nil: nobody wants to know

	mu       sync.Mutex
	waiting  bool // for a command, with no transaction open
	draining bool

	idle  [idleBuffer]byte // what in reads into while the session waits
	small [smallReply]byte // what out begins as
}

func newSession(s *Server, conn net.Conn) *session {
	ss := &session{server: s, log: s.Log, raw: conn, where: "CONNECT"}
	ss.client = newClient(conn)
	ss.clientKey = ss.client.AddrText()
	ss.out = ss.small[:0]
	ss.setConn(conn)
	return ss
}

// setConn makes conn the connection that commands come from, and forgets what
// was read from the one before.
func (ss *session) setConn(conn net.Conn) {
	ss.conn = conn
	ss.deadline.conn = conn
	if ss.in == nil {
		ss.in = smtp.NewReader(&ss.deadline, ss.idle[:])
	}
	ss.in.Reset(&ss.deadline)
}

// deadlineReader gives every read of message text a deadline of its own.
type deadlineReader struct {
	conn    net.Conn
	perRead time.Duration // 0: the deadline that is set
}

func (d *deadlineReader) Read(p []byte) (int, error) {
	if d.perRead > 0 {
		if err := d.conn.SetReadDeadline(time.Now().Add(d.perRead)); err != nil {
			return 0, err
		}
	}
	return d.conn.Read(p)
}

// run speaks with the client until the session is over.
func (ss *session) run(ctx context.Context) {
	defer ss.close()
	ss.profile = ss.server.Profile()
	ss.listen()
	ss.lookUpName(ctx)
	ss.log.Infof("connect from %s", &ss.client)
	err := ss.open(ctx)
	for err == nil {
		err = ss.next(ctx)
	}
	ss.abort()
	if err != errQuit {
		ss.logLoss(err)
	}
	ss.notify(ctx, err)
	ss.log.Infof("disconnect from %s%s", &ss.client, ss.counts.String())
}

// close ends the connection. A TLS session is told, within a moment.
func (ss *session) close() {
	if ss.conn != ss.raw {
		_ = ss.raw.SetDeadline(time.Now().Add(refuseTime))
		_ = ss.conn.Close()
	}
	_ = ss.raw.Close()
	ss.in.Reset(nil)
	ss.read(ss.idle[:])
}

// logLoss says why a session ended that the client did not end with QUIT.
func (ss *session) logLoss(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		ss.log.Infof("timeout after %s from %s", ss.where, &ss.client)
		ss.reply(smtp.R(421, "4.4.2", ss.config().Hostname+" Error: timeout exceeded"))
		_ = ss.flush()
		return
	}
	ss.log.Infof("lost connection after %s from %s", ss.where, &ss.client)
}

func (ss *session) config() *Config { return ss.profile.Config }

// next reads one command and runs it.
func (ss *session) next(ctx context.Context) error {
	if limit := ss.config().HardErrorLimit; limit > 0 && ss.errors >= limit {
		ss.log.Infof("too many errors after %s from %s", ss.where, &ss.client)
		return ss.leave(smtp.R(421, "4.7.0", ss.config().Hostname+" Error: too many errors"))
	}
	line, err := ss.readCommand()
	if err != nil {
		return err
	}
	if ss.tx == nil {
		ss.profile = ss.server.Profile()
	}
	if ss.transcript != nil {
		ss.transcript.hear(string(line.Text))
	}
	if line.BareLF && ss.bareNewline() == smtp.BareNewlineReject {
		ss.logAction("reject", ss.where, "bare <LF> received", nil)
		return ss.leave(ss.bareNewlineReply())
	}
	if ss.config().SMTPUTF8 && !utf8.Valid(line.Text) {
		ss.fail(ctx, badUTF8)
	} else if err := ss.dispatch(ctx, string(line.Text)); err != nil {
		return err
	}
	if ss.hangup {
		return ss.leave(smtp.Reply{})
	}
	return nil
}

// readCommand sends the replies that wait, unless the client sent more commands
// already (RFC 2920, 3.2), and reads a line. The whole line has to come within
// smtpd_timeout.
func (ss *session) readCommand() (smtp.Line, error) {
	if !ss.in.HasLine() {
		if err := ss.flush(); err != nil {
			return smtp.Line{}, err
		}
		ss.rest()
		if draining, err := ss.startWaiting(); draining {
			return smtp.Line{}, ss.shutDown()
		} else if err != nil {
			return smtp.Line{}, err
		}
	}
	line, err := ss.readLine()
	if ss.stopWaiting() && err != nil {
		err = ss.shutDown()
	}
	return line, err
}

// readLine reads a command. Most fit into the buffer that every session has; when
// the client has sent more than that at once, a larger one is lent.
func (ss *session) readLine() (smtp.Line, error) {
	if !ss.in.HasLine() {
		if err := ss.in.More(); err != nil {
			return smtp.Line{}, err
		}
		full := len(ss.in.Buffered()) == idleBuffer
		if full || !ss.in.HasLine() {
			ss.read(ss.server.lendLine())
		}
		if full && ss.client.TLS == nil && pending(ss.raw) {
			_ = ss.in.More() // an error shows when what came before it is read
		}
	}
	return ss.in.ReadLine(ss.config().lineLimit())
}

// rest gives the buffer back that was lent, before the session waits: all of it
// when the client has said nothing more, the large one in any case.
func (ss *session) rest() {
	switch {
	case len(ss.in.Buffered()) == 0:
		ss.read(ss.idle[:])
	case ss.room == textBuffer:
		ss.read(ss.server.lendLine())
	}
}

// startWaiting sets the deadline for a command, unless the session has to end
// instead.
func (ss *session) startWaiting() (draining bool, err error) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.waiting = ss.tx == nil
	if ss.waiting && ss.draining {
		return true, nil
	}
	return false, ss.conn.SetReadDeadline(time.Now().Add(ss.config().timeout()))
}

// stopWaiting reports whether drain has cut the wait for a command short.
func (ss *session) stopWaiting() bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	cut := ss.waiting && ss.draining
	ss.waiting = false
	return cut
}

// drain makes the session end as soon as no transaction is open. It is called by
// the server's goroutine.
func (ss *session) drain() {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.draining = true
	if ss.waiting {
		_ = ss.raw.SetReadDeadline(time.Unix(1, 0))
	}
}

// shutDown says good-bye for the server (RFC 5321, 3.8).
func (ss *session) shutDown() error {
	return ss.leave(smtp.R(421, "4.3.2", ss.config().Hostname+" Service not available, closing transmission channel"))
}

// leave sends a last reply, when there is one, and ends the session.
func (ss *session) leave(last smtp.Reply) error {
	if !last.IsZero() {
		ss.reply(last)
	}
	_ = ss.flush()
	return errQuit
}

// reply collects a reply. Replies with code 421 or 521 end the session.
func (ss *session) reply(r smtp.Reply) {
	if ss.config().SoftBounce {
		r = r.Soft()
	}
	ss.hangup = ss.hangup || r.Code == 421 || r.Code == 521
	before := len(ss.out)
	ss.out = r.AppendTo(ss.out)
	if ss.transcript != nil {
		ss.transcript.note(noticeClass(r, ss.refusing))
		ss.transcript.say(" Out: ", string(ss.out[before:]))
	}
	if len(ss.out) >= flushAt {
		_ = ss.flush() // an error shows at the next read
	}
}

// slowReply is reply for clients that make errors: from smtpd_soft_error_limit
// on they wait for it.
func (ss *session) slowReply(ctx context.Context, r smtp.Reply) {
	c := ss.config()
	if c.SoftErrorLimit > 0 && ss.errors >= c.SoftErrorLimit && c.ErrorSleepTime > 0 {
		_ = ss.flush()
		wait := time.NewTimer(c.ErrorSleepTime)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
		}
	}
	ss.reply(r)
}

// fail replies and counts an error.
func (ss *session) fail(ctx context.Context, r smtp.Reply) {
	ss.slowReply(ctx, r)
	ss.errors++
}

// flush sends the replies that were collected.
func (ss *session) flush() error {
	if len(ss.out) == 0 {
		return nil
	}
	if err := ss.conn.SetWriteDeadline(time.Now().Add(ss.config().timeout())); err != nil {
		return err
	}
	_, err := ss.conn.Write(ss.out)
	if cap(ss.out) > smallReply {
		ss.out = ss.small[:]
	}
	ss.out = ss.out[:0]
	return err
}

// read goes on reading with buf, and gives back the buffer before it if it was
// lent. When buf has no room for what is read already, nothing changes.
func (ss *session) read(buf []byte) {
	old, ok := ss.in.Swap(buf)
	if !ok {
		old = buf
	} else {
		ss.room = len(buf)
	}
	ss.server.giveBack(old)
}

// abort ends an open transaction.
func (ss *session) abort() {
	if ss.body != nil {
		ss.body.Abort()
	}
	ss.endTransaction()
}

// endTransaction forgets the transaction; its body is done with.
func (ss *session) endTransaction() {
	ss.body, ss.tx, ss.overshot = nil, nil, 0
	if ss.state = stateReady; ss.client.Helo == "" {
		ss.state = stateStart
	}
}
