package queue

import (
	"strconv"
	"strings"
	"time"

	"postern/internal/address"
	"postern/internal/deliver"
)

// external is an address as logs show it.
func external(internal string) string {
	return printable([]byte(address.Split(internal).String()))
}

// logActive says that an item begins a pass:
//
//	QID: from=<s>, size=285, nrcpt=5 (queue active)
func (q *Queue) logActive(it *item) {
	var space [256]byte
	b := append(space[:0], it.message.ID...)
	b = append(b, ": from=<"...)
	b = append(b, address.Split(it.message.Envelope.Sender).String()...)
	b = append(b, ">, size="...)
	b = strconv.AppendInt(b, it.message.Size, 10)
	b = append(b, ", nrcpt="...)
	b = strconv.AppendInt(b, int64(it.pass.left), 10)
	b = append(b, " (queue active)"...)
	q.logs.qmgr.Infof("%s", printable(b))
}

// logDelivery says what became of a recipient:
//
//	QID: to=<a>, orig_to=<b>, relay=virtual, delay=0.02,
//	delays=0.01/0.01/0/0, dsn=2.0.0, status=sent (delivered to maildir)
//
// all on one line. orig_to is left out where it does not differ.
func (q *Queue) logDelivery(log Logger, it *item, rcpt deliver.Recipient, s *deliver.Status, word string, began time.Time) {
	var space [512]byte
	now := q.options.Now()
	b := append(space[:0], it.message.ID...)
	b = append(b, ": to=<"...)
	b = append(b, address.Split(rcpt.Address).String()...)
	if rcpt.Original != "" && !strings.EqualFold(rcpt.Original, rcpt.Address) {
		b = append(b, ">, orig_to=<"...)
		b = append(b, address.Split(rcpt.Original).String()...)
	}
	b = append(b, ">, relay="...)
	b = append(b, s.Relay...)
	if s.ConnUse > 1 {
		b = append(b, ", conn_use="...)
		b = strconv.AppendInt(b, int64(s.ConnUse), 10)
	}
	b = append(b, ", delay="...)
	b = appendDelay(b, now.Sub(it.message.Envelope.Arrival))
	b = append(b, ", delays="...)
	b = appendDelay(b, it.pass.began.Sub(it.message.Envelope.Arrival))
	b = append(b, '/')
	b = appendDelay(b, began.Sub(it.pass.began))
	b = append(b, '/')
	b = appendDelay(b, s.Setup)
	b = append(b, '/')
	b = appendDelay(b, now.Sub(began)-s.Setup)
	b = append(b, ", dsn="...)
	b = append(b, s.DSN...)
	b = append(b, ", status="...)
	b = append(b, word...)
	b = append(b, " ("...)
	b = append(b, s.Reason...)
	b = append(b, ')')
	log.Infof("%s", printable(b))
}

// printable replaces control characters: addresses and reasons come from
// outside.
func printable(b []byte) string {
	for i, c := range b {
		if c < ' ' || c == 0x7f {
			b[i] = '?'
		}
	}
	return string(b)
}

// appendDelay appends seconds with two significant digits and at most two
// decimals (delay_logging_resolution_limit), without trailing zeros: 0.02, 1.2,
// 30. Times below the resolution, and negative ones, are 0.
func appendDelay(b []byte, d time.Duration) []byte {
	const (
		cs = 10 * time.Millisecond
		ds = 100 * time.Millisecond
	)
	switch {
	case d >= 9950*time.Millisecond:
		return strconv.AppendInt(b, int64((d+time.Second/2)/time.Second), 10)
	case d >= 995*time.Millisecond:
		return appendHundredths(b, int64((d+ds/2)/ds)*10)
	case d > 0:
		return appendHundredths(b, int64((d+cs/2)/cs))
	}
	return append(b, '0')
}

// appendHundredths appends n hundredths as a decimal number.
func appendHundredths(b []byte, n int64) []byte {
	b = strconv.AppendInt(b, n/100, 10)
	if n %= 100; n == 0 {
		return b
	}
	b = append(b, '.', byte('0'+n/10))
	if n %= 10; n != 0 {
		b = append(b, byte('0'+n))
	}
	return b
}
