package smtp

import (
	"encoding/binary"
	"errors"
	"io"

	"postern/internal/deliver"
	"postern/internal/deliver/smtp/sevenbit"
	"postern/internal/spool"
)

// text is a message as a certain server gets it.
type text struct {
	spool.Body
	size     int64 // 0: not known, for it is converted
	eightBit bool  // it has octets beyond ASCII, as it goes out
	convert  bool  // 8-bit parts become quoted-printable
}

// WriteTo implements io.WriterTo.
func (t *text) WriteTo(w io.Writer) (int64, error) {
	if !t.convert {
		return t.Body.WriteTo(w)
	}
	converter := sevenbit.NewWriter(w)
	n, err := t.Body.WriteTo(converter)
	if err == nil {
		err = converter.Close()
	}
	return n, err
}

// prepare opens the text for the server of a session, and takes those
// recipients out that this server cannot have it for: the message, or their
// address, needs SMTPUTF8, and it has none (RFC 6531, 3.2).
func (d *delivery) prepare(s *session) (*text, error) {
	m, offer := d.r.Message, s.client.Extensions()
	t := &text{size: m.Size, eightBit: m.Envelope.EightBit}
	if !offer.SMTPUTF8 {
		if err := d.withoutUTF8(s); err != nil {
			return nil, err
		}
	}
	if !t.eightBit && !d.r.Probe {
		var scan eightBitScan
		if err := d.scan(&scan); err != nil {
			return nil, err
		}
		t.eightBit = scan.found
	}
	if t.eightBit && !offer.EightBit && !d.a.o.KeepEightBit {
		t.convert, t.size, t.eightBit = true, 0, false
	}
	var err error
	t.Body, err = m.Open()
	return t, err
}

// withoutUTF8 bounces the recipients that are left and need SMTPUTF8.
func (d *delivery) withoutUTF8(s *session) error {
	e := &d.r.Message.Envelope
	all := hasUTF8(e.Sender)
	if e.SMTPUTF8 && !all {
		h := headerScan{empty: true}
		if err := d.scan(&h); err != nil {
			return err
		}
		all = h.utf8
	}
	var left []int
	for _, i := range d.left {
		if !all && !hasUTF8(d.r.Recipients[i].Address) {
			left = append(left, i)
			continue
		}
		d.status[i] = deliver.Status{
			Kind: deliver.Bounced, DSN: "5.6.7", Relay: s.target.relay, Setup: s.setup,
			Reason: "SMTPUTF8 is required, but was not offered by host " + s.target.label,
		}
	}
	d.left = left
	return nil
}

// errSeen stops the writer of a text when enough of it was seen.
var errSeen = errors.New("enough of the text was seen")

// scan shows the text to w, until it returns errSeen.
func (d *delivery) scan(w io.Writer) error {
	body, err := d.r.Message.Open()
	if err != nil {
		return err
	}
	defer body.Close()
	if _, err := body.WriteTo(w); err != nil && !errors.Is(err, errSeen) {
		return err
	}
	return nil
}

// eightBitScan looks for octets beyond ASCII in a text that is written to it.
type eightBitScan struct{ found bool }

func (e *eightBitScan) Write(p []byte) (int, error) {
	rest := p
	for ; len(rest) >= 8; rest = rest[8:] {
		if binary.LittleEndian.Uint64(rest)&0x8080808080808080 != 0 {
			e.found = true
			return 0, errSeen
		}
	}
	for _, c := range rest {
		if c >= 0x80 {
			e.found = true
			return 0, errSeen
		}
	}
	return len(p), nil
}

// headerScan looks for octets beyond ASCII in the headers of a text that is
// written to it.
type headerScan struct {
	utf8  bool
	empty bool // the line has no octet yet
}

func (h *headerScan) Write(p []byte) (int, error) {
	for i, c := range p {
		switch {
		case c >= 0x80:
			h.utf8 = true
			return i, errSeen
		case c == '\n' && h.empty:
			return i, errSeen
		}
		h.empty = c == '\n'
	}
	return len(p), nil
}

func hasUTF8(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return true
		}
	}
	return false
}
