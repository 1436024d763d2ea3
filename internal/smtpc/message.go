package smtpc

import (
	"time"

	"postern/internal/smtp"
)

// chunkLimit is the size of a text up to which it goes out by BDAT, in one
// piece and if possible in the same write as the envelope. DATA takes one round
// trip more, which does not matter for a longer text; the whole of which would
// be sent in vain when no recipient is accepted.
const chunkLimit = 32 << 10

// makeChunk gets a text that is to go out by BDAT ready (RFC 3030): its size
// comes first on the wire.
func (x *exchange) makeChunk() *Error {
	c := x.c
	if x.tx.Probe || !c.ext.Chunking || x.tx.Size <= 0 || x.tx.Size > chunkLimit {
		return nil
	}
	text := chunk{buf: c.text[:0], text: smtp.WireText{LineLimit: c.o.LineLimit}}
	if _, err := x.tx.Body.WriteTo(&text); err != nil {
		return c.fail(&Error{Kind: Unreadable, Phase: Body, Err: err})
	}
	c.text = text.text.End(text.buf)
	x.chunk = true
	return nil
}

// chunk is a text in its wire form.
type chunk struct {
	buf  []byte
	text smtp.WireText
}

func (t *chunk) Write(p []byte) (int, error) {
	t.buf = t.text.Append(t.buf, p)
	return len(p), nil
}

// certain reports whether a text may go out together with its envelope: a
// server that closes a connection that was idle must be told from one that took
// the message and died before it said so. A connection that has anything to
// read now has an end, or a 421: the text goes out behind the replies then.
func (x *exchange) certain() bool {
	return x.c.uses == 1 || x.c.r.Buffered() == 0 && quiet(x.c.conn)
}

// reset ends a probe.
func (x *exchange) reset() *Error {
	x.c.open = true
	if reply, err := x.c.command(Rset, x.c.o.Timeouts.Rset, "RSET"); err == nil && reply.Code/100 == 2 {
		x.c.open = false
	}
	return nil
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
	c.begun, c.sent, c.written = time.Now(), 0, nil
	c.begin(Body, c.o.Timeouts.DataXfer)
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

// finish reads what the end of the text is answered with. A text that went out
// with its envelope, of which no recipient was accepted, is answered with one
// reply that means nothing (RFC 3030, 4.2); in LMTP with none or with one.
func (x *exchange) finish() *Error {
	c := x.c
	if len(x.accepted) == 0 {
		c.open, c.broken = true, c.broken || c.o.LMTP
		if !c.broken {
			_, err := c.read(EndOfData, c.o.Timeouts.DataDone)
			return err
		}
		return nil
	}
	for n, i := range x.accepted {
		if x.out[i].decided() {
			continue // the last words of a lost connection, or 421
		}
		reply, err := c.read(EndOfData, c.o.Timeouts.DataDone)
		if err != nil {
			return err
		}
		o := Outcome{Reply: reply, Phase: EndOfData}
		if !c.o.LMTP || c.broken {
			for _, i := range x.accepted[n:] {
				x.out[i] = o
			}
			return nil
		}
		x.out[i] = o
	}
	return nil
}
