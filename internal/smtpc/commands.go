package smtpc

import (
	"strconv"
	"strings"

	"postern/internal/address"
)

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
	case EndOfData:
		w.WriteString("BDAT ")
		w.Write(strconv.AppendInt(w.AvailableBuffer(), int64(len(x.c.text)), 10))
		w.WriteString(" LAST\r\n")
		x.gone = true
		w.Write(x.c.text)
		return
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
