package smtpc

import (
	"context"
	"io"
	"strconv"
	"strings"
	"time"

	"postern/internal/address"
	"postern/internal/smtp"
)

// pipelineGroup is the size of a group of pipelined commands. It is far below
// the send buffer of any socket, so that writing a group never waits for the
// server, while the server waits for its replies to be read.
const pipelineGroup = 8 << 10

// Transaction is one message for some recipients.
type Transaction struct {
	Sender     string // internal form; "" is the null sender
	Recipients []Recipient
	Body       io.WriterTo // text with LF line ends
	Size       int64       // octets of the text, or an estimate; 0: unknown
	EightBit   bool        // the text has 8-bit octets
	SMTPUTF8   bool        // addresses or headers may be in UTF-8
	EnvID      string      // ENVID of RFC 3461, decoded; "" is none
	Ret        string      // "FULL", "HDRS" or ""
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
	c.uses++
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
	x.sent = make([]int, 0, len(x.tx.Recipients))
	for i, r := range x.tx.Recipients {
		if r.Address == "" || !writable(r.Address) {
			x.out[i] = Outcome{Phase: Rcpt, Err: &Error{Kind: BadAddress, Phase: Rcpt}}
			continue
		}
		x.sent = append(x.sent, i)
	}
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
	if err := x.envelope(); err != nil {
		return err
	}
	switch {
	case x.c.broken: // 421
		return nil
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
// sent, DATA.
const (
	cmdRset = iota
	cmdMail
	cmdRcpt
)

// envelope sends the commands in groups, and reads the replies of a group
// before it sends the next.
func (x *exchange) envelope() *Error {
	data := cmdRcpt + len(x.sent)
	next := cmdMail
	if x.c.open {
		next = cmdRset
	}
	for next <= data && !x.refused && !x.c.broken {
		first := next
		for next <= data && x.fits(first, next) {
			if next == data && first == data && len(x.accepted) == 0 {
				return nil // nobody to send the message to
			}
			x.write(next)
			next++
		}
		phase, timeout := x.phase(first)
		x.c.begin(phase, timeout)
		if err := x.c.w.Flush(); err != nil {
			return x.c.failure(phase, err)
		}
		for i := first; i < next; i++ {
			phase, timeout := x.phase(i)
			reply, err := x.c.read(phase, timeout)
			if err != nil {
				return err
			}
			x.take(i, phase, reply)
			if x.c.broken {
				break
			}
		}
	}
	return nil
}

// fits reports whether a command may join the group that begins with first.
func (x *exchange) fits(first, next int) bool {
	return next == first || x.c.ext.Pipelining && x.c.w.Buffered() < pipelineGroup
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
		} else {
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

// abandon ends DATA that was accepted although no recipient was. An LMTP server
// answers the final dot once for each of its no recipients, so nothing can be
// read there, and the connection is given up.
func (x *exchange) abandon() *Error {
	if x.c.o.LMTP {
		x.c.broken = true
		return nil
	}
	_, err := x.c.command(EndOfData, x.c.o.Timeouts.DataDone, ".")
	return err
}

// body sends the text without the final dot. When the text cannot be read to
// its end the dot must never follow: the server would take what it has.
func (x *exchange) body() *Error {
	c := x.c
	c.begin(Body, c.o.Timeouts.DataXfer)
	c.written = nil
	text := smtp.NewDotWriter(c.w)
	text.LineLimit = c.o.LineLimit
	if _, err := x.tx.Body.WriteTo(text); err != nil {
		if c.written == nil {
			return c.fail(&Error{Kind: Unreadable, Phase: Body, Err: err})
		}
		return x.lastWords(err)
	}
	c.begin(EndOfData, c.o.Timeouts.DataDone)
	if err := text.Close(); err != nil {
		return c.failure(EndOfData, err)
	}
	return nil
}

// lastWords looks for the reply of a server that closed the connection while
// the text was sent, "552 too big". It counts when it is a refusal.
func (x *exchange) lastWords(err error) *Error {
	c := x.c
	lost := c.failure(Body, err)
	if lost.Kind != Lost {
		return lost
	}
	reply, unread := c.read(Body, grace)
	if unread != nil || reply.Code < 400 {
		return lost
	}
	x.settle(Outcome{Reply: reply, Phase: Body})
	return nil
}

// finish reads what the final dot is answered with.
func (x *exchange) finish() *Error {
	for n, i := range x.accepted {
		if x.out[i].decided() {
			continue // the last words of a lost connection, or 421
		}
		reply, err := x.c.read(EndOfData, x.c.o.Timeouts.DataDone)
		if err != nil {
			return err
		}
		o := Outcome{Reply: reply, Phase: EndOfData}
		if !x.c.o.LMTP || x.c.broken {
			for _, i := range x.accepted[n:] {
				x.out[i] = o
			}
			return nil
		}
		x.out[i] = o
	}
	return nil
}

// write puts a command into the buffer.
func (x *exchange) write(command int) {
	w := x.c.w
	switch phase, _ := x.phase(command); phase {
	case Rset:
		w.WriteString("RSET")
	case Mail:
		w.WriteString("MAIL FROM:<")
		w.WriteString(address.Split(x.tx.Sender).String())
		w.WriteString(">")
		x.mailParameters()
	case Rcpt:
		r := x.tx.Recipients[x.sent[command-cmdRcpt]]
		w.WriteString("RCPT TO:<")
		w.WriteString(address.Split(r.Address).String())
		w.WriteString(">")
		x.rcptParameters(r)
	case Data:
		w.WriteString("DATA")
	}
	w.WriteString("\r\n")
}

// mailParameters writes the parameters of MAIL that the server understands.
func (x *exchange) mailParameters() {
	w, ext, tx := x.c.w, &x.c.ext, x.tx
	if ext.Size && tx.Size > 0 { // an estimate: line ends count once here, twice there (RFC 1870, 5)
		w.WriteString(" SIZE=")
		w.Write(strconv.AppendInt(w.AvailableBuffer(), tx.Size, 10))
	}
	if ext.EightBit && tx.EightBit {
		w.WriteString(" BODY=8BITMIME")
	}
	if ext.SMTPUTF8 && tx.SMTPUTF8 {
		w.WriteString(" SMTPUTF8")
	}
	if ext.DSN && tx.Ret != "" {
		w.WriteString(" RET=")
		w.WriteString(tx.Ret)
	}
	if ext.DSN && tx.EnvID != "" {
		w.WriteString(" ENVID=")
		w.WriteString(xtext(tx.EnvID, false))
	}
}

// rcptParameters writes the parameters of RCPT that the server understands. An
// ORCPT that needs UTF-8 is left out where there is none (RFC 6533, 4).
func (x *exchange) rcptParameters(r Recipient) {
	if !x.c.ext.DSN {
		return
	}
	w := x.c.w
	if r.Notify != "" {
		w.WriteString(" NOTIFY=")
		w.WriteString(r.Notify)
	}
	kind, addr, ok := strings.Cut(r.ORCPT, ";")
	utf8 := x.tx.SMTPUTF8 && x.c.ext.SMTPUTF8
	if !ok || !isAtom(kind) || !utf8 && !isASCII(addr) {
		return
	}
	w.WriteString(" ORCPT=")
	w.WriteString(kind)
	w.WriteString(";")
	w.WriteString(xtext(addr, utf8))
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func isAtom(s string) bool {
	return s != "" && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// xtext encodes text for a parameter (RFC 3461, 4): what is not a visible ASCII
// character, '+' and '=' become +XX. With raw, octets from 128 on stay.
func xtext(s string, raw bool) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c > ' ' && c < 0x7f && c != '+' && c != '=' || raw && c >= 0x80 {
			b.WriteByte(c)
		} else {
			b.WriteByte('+')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}
