package smtpc

import (
	"context"
	"io"
	"time"

	"postern/internal/smtp"
)

const (
	// pipelineGroup is the size of a group of pipelined commands. It is far below
	// the send buffer of any socket, so that writing a group never waits for the
	// server, while the server waits for its replies to be read.
	pipelineGroup = 8 << 10
	// chunkGroup is how many commands may go out together with the text, for the
	// same reason: their replies wait until all of the text is written.
	chunkGroup = 50
)

// Transaction is one message for some recipients.
type Transaction struct {
	Sender     string // internal form; "" is the null sender
	Recipients []Recipient
	Body       io.WriterTo // text with LF line ends; written once
	Size       int64       // octets of the text, or an estimate; 0: unknown
	EightBit   bool        // the text has 8-bit octets
	SMTPUTF8   bool        // addresses or headers may be in UTF-8
	EnvID      string      // ENVID of RFC 3461, decoded; "" is none
	Ret        string      // "FULL", "HDRS" or ""
	// Probe ends the transaction behind the recipients: no text is sent, and the
	// outcome of a recipient that is accepted is the reply to RCPT.
	Probe bool
}

// Recipient is one recipient of a Transaction.
type Recipient struct {
	Address string // internal form
	Notify  string // NOTIFY of RFC 3461: "NEVER", "SUCCESS,FAILURE"; "" is none
	ORCPT   string // "rfc822;john@example.test", decoded; "" is none
}

// Send runs a transaction and returns what became of each recipient, by index.
// When no recipient could be written into a command nothing is sent. After a
// failure of the connection, see Usable, all recipients without a last word
// share its Error.
func (c *Client) Send(ctx context.Context, tx *Transaction) []Outcome {
	x := &exchange{c: c, tx: tx, out: make([]Outcome, len(tx.Recipients))}
	if !x.prepare() {
		return x.out
	}
	stop := c.watch(ctx)
	defer stop()
	if err := x.run(); err != nil {
		x.settle(Outcome{Phase: err.Phase, Err: err})
	}
	return x.out
}

// exchange is a transaction on its way.
type exchange struct {
	c        *Client
	tx       *Transaction
	out      []Outcome
	sent     []int // recipients that are sent to the server
	accepted []int // those that it accepted
	refused  bool  // the sender
	goAhead  bool  // reply to DATA
	chunk    bool  // the text goes out by BDAT, and is in c.text
	gone     bool  // it is on its way: the server may take the message now
}

// prepare sorts out what needs no server, and reports whether anything is left.
func (x *exchange) prepare() bool {
	if !writable(x.tx.Sender) {
		x.settle(Outcome{Phase: Mail, Err: &Error{Kind: BadAddress, Phase: Mail}})
		return false
	}
	if limit := x.c.ext.SizeLimit; limit > 0 && x.tx.Size > limit { // RFC 1870, 6.1
		x.settle(Outcome{Phase: Mail, Err: &Error{Kind: TooBig, Phase: Mail, Size: x.tx.Size, Limit: limit}})
		return false
	}
	x.sent = make([]int, 0, 2*len(x.tx.Recipients)) // and accepted
	for i, r := range x.tx.Recipients {
		if r.Address == "" || !writable(r.Address) {
			x.out[i] = Outcome{Phase: Rcpt, Err: &Error{Kind: BadAddress, Phase: Rcpt}}
			continue
		}
		x.sent = append(x.sent, i)
	}
	x.accepted = x.sent[len(x.sent):]
	return len(x.sent) > 0
}

// writable reports whether an address can stand in a command: a control
// character could end it and begin another.
func writable(addr string) bool {
	for i := 0; i < len(addr); i++ {
		if addr[i] < ' ' || addr[i] == 0x7f {
			return false
		}
	}
	return true
}

// settle decides all recipients that have no outcome.
func (x *exchange) settle(o Outcome) {
	for i := range x.out {
		if !x.out[i].decided() {
			x.out[i] = o
		}
	}
}

func (x *exchange) run() *Error {
	x.c.uses++
	if err := x.makeChunk(); err != nil {
		return err
	}
	if err := x.envelope(); err != nil {
		return err
	}
	switch {
	case x.c.broken: // 421
		return nil
	case x.tx.Probe:
		return x.reset()
	case x.gone:
		return x.finish()
	case !x.goAhead:
		x.c.open = true
		return nil
	case len(x.accepted) == 0:
		return x.abandon()
	}
	if err := x.body(); err != nil {
		return err
	}
	return x.finish()
}

// The commands of an envelope have numbers: RSET, MAIL, one RCPT for each of
// sent, and the last one: DATA, BDAT with the text, or in a probe none.
const (
	cmdRset = iota
	cmdMail
	cmdRcpt
)

// envelope sends the commands in groups, and reads the replies of a group
// before it sends the next.
func (x *exchange) envelope() *Error {
	last := cmdRcpt + len(x.sent)
	end := last + 1
	if x.tx.Probe {
		end--
	}
	next := cmdMail
	if x.c.open {
		next = cmdRset
	}
	for next < end && !x.refused && !x.c.broken {
		first := next
		if first == last && len(x.accepted) == 0 {
			return nil // nobody to send the message to
		}
		for next < end && x.fits(first, next, last) {
			x.write(next)
			next++
		}
		if err := x.flush(first); err != nil {
			return err
		}
		if x.gone {
			next-- // its replies are read by finish
		}
		if err := x.replies(first, next); err != nil || x.gone {
			return err
		}
	}
	return nil
}

// fits reports whether a command may join the group that begins with first.
func (x *exchange) fits(first, next, last int) bool {
	switch {
	case next == first:
		return true
	case !x.c.ext.Pipelining || x.c.w.Buffered() >= pipelineGroup:
		return false
	}
	return next < last || !x.chunk || next-first <= chunkGroup && x.certain()
}

// flush writes a group. When the text is part of it, the server may have the
// message once the write succeeds, and not before.
func (x *exchange) flush(first int) *Error {
	phase, timeout := x.phase(first)
	if x.gone {
		phase, timeout = EndOfData, x.c.o.Timeouts.DataDone
	}
	x.c.begin(phase, timeout)
	if err := x.c.w.Flush(); err != nil {
		if x.gone {
			phase = Body
		}
		return x.c.failure(phase, err)
	}
	return nil
}

// replies reads those to the commands of a group.
func (x *exchange) replies(first, next int) *Error {
	for i := first; i < next && !x.c.broken; i++ {
		phase, timeout := x.phase(i)
		reading := phase
		if x.gone {
			reading, timeout = EndOfData, x.c.o.Timeouts.DataDone
		}
		reply, err := x.c.read(reading, timeout)
		if err != nil {
			return err
		}
		x.take(i, phase, reply)
	}
	return nil
}

func (x *exchange) phase(command int) (Phase, time.Duration) {
	t := &x.c.o.Timeouts
	switch {
	case command == cmdRset:
		return Rset, t.Rset
	case command == cmdMail:
		return Mail, t.Mail
	case command < cmdRcpt+len(x.sent):
		return Rcpt, t.Rcpt
	case x.chunk:
		return EndOfData, t.DataDone
	}
	return Data, t.DataInit
}

// take records the reply to a command. A recipient that is refused is decided;
// a sender that is refused decides all.
func (x *exchange) take(command int, phase Phase, reply smtp.Reply) {
	o := Outcome{Reply: reply, Phase: phase}
	positive := reply.Code/100 == 2
	switch {
	case reply.Code == 421:
		x.settle(o)
	case phase == Mail && !positive:
		x.refused = true
		x.settle(o)
	case phase == Rcpt && !x.refused:
		i := x.sent[command-cmdRcpt]
		if positive {
			x.accepted = append(x.accepted, i)
		}
		if !positive || x.tx.Probe {
			x.out[i] = o
		}
	case phase == Data:
		x.goAhead = reply.Code/100 == 3
		if !x.goAhead {
			x.settle(o)
		}
	case phase == Rset && positive:
		x.c.open = false
	}
}
