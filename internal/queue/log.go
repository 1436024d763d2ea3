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
func (q *Queue) logDelivery(log Logger, it *item, rcpt deliver.Recipient, s *deliver.Status, word, transport string, began time.Time) {
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
	d := Delays{
		Before: it.pass.began.Sub(it.message.Envelope.Arrival), Queue: began.Sub(it.pass.began),
		Setup: s.Setup, Transmission: now.Sub(began) - s.Setup,
	}
	digits := int(q.resolution.Load())
	b = append(b, ", delay="...)
	b = appendDelay(b, now.Sub(it.message.Envelope.Arrival), digits)
	separator := ", delays="
	for _, part := range [...]time.Duration{d.Before, d.Queue, d.Setup, d.Transmission} {
		b = append(b, separator...)
		b = appendDelay(b, part, digits)
		separator = "/"
	}
	b = append(b, ", dsn="...)
	b = append(b, s.DSN...)
	b = append(b, ", status="...)
	b = append(b, word...)
	b = append(b, " ("...)
	b = append(b, s.Reason...)
	b = append(b, ')')
	log.Infof("%s", printable(b))
	if o := q.options.Observe; o != nil {
		o.Delivered(transport, s.Kind, d)
	}
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

// appendDelay appends seconds with two significant digits and at most so many
// decimals (delay_logging_resolution_limit), without trailing zeros: 0.02, 1.2,
// 30. Times below the resolution, and negative ones, are 0.
func appendDelay(b []byte, d time.Duration, decimals int) []byte {
	us := max(0, d.Microseconds())
	unit := int64(1_000_000) // what the last digit stands for
	if us < unit {
		for unit > 1 && us < unit {
			unit /= 10
		}
		unit /= 10
	} else if us < 10*unit {
		unit /= 10
	}
	least := int64(1_000_000)
	for range min(decimals, 6) {
		least /= 10
	}
	unit = max(unit, least)
	us = (us + unit/2) / unit * unit
	b = strconv.AppendInt(b, us/1_000_000, 10)
	rest := us % 1_000_000
	if rest == 0 {
		return b
	}
	b = append(b, '.')
	for place := int64(100_000); rest > 0; place /= 10 {
		b = append(b, byte('0'+rest/place))
		rest %= place
	}
	return b
}
