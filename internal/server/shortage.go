package server

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/address"
	"postern/internal/config"
	"postern/internal/smtp"
	"postern/internal/smtpd"
)

// shortageInterval is how often the postmaster is told of refused mail at most.
const shortageInterval = 10 * time.Minute

// shortage counts the messages that were refused for want of space, until the
// postmaster is told (notify_classes: resource). While there is no space his notice
// has none either: it is made when mail is accepted again.
type shortage struct {
	pending atomic.Bool // there is something to tell
	mu      sync.Mutex
	told    time.Time // when he was told last
	refused refusals
}

// refusals are what he is told of.
type refusals struct {
	first, last time.Time
	count       int
	example     string // who was refused last
}

// note counts a refusal. It reports whether it is the first since the last notice.
func (h *shortage) note(now time.Time, example string) (first bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := &h.refused
	if first = r.count == 0; first {
		r.first = now
		h.pending.Store(true)
	}
	r.last, r.example = now, example
	r.count++
	return first
}

// take returns what there is to tell now; a count of 0: nothing, or not yet.
func (h *shortage) take(now time.Time) refusals {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now.Sub(h.told) < shortageInterval {
		return refusals{}
	}
	r := h.refused
	if r.count > 0 {
		h.told = now
	}
	h.refused = refusals{}
	h.pending.Store(false)
	return r
}

// noteRoom sees the answer to every MAIL about space.
func (s *Server) noteRoom(ctx context.Context, t *smtpd.Transaction, reply smtp.Reply) {
	switch {
	case reply.Code == 452:
		if s.shortage.note(time.Now(), fmt.Sprintf("<%s> by %s", ascii(t.Sender.Address.String()), ascii(t.Client.String()))) {
			s.main.Warningf("not enough free space in the queue file system: mail is refused with %q", reply)
		}
	case reply.IsZero() && s.shortage.pending.Load():
		if r := s.shortage.take(time.Now()); r.count > 0 {
			s.tellShortage(ctx, r)
		}
	}
}

// tellShortage sends the notice, if notify_classes has the class.
func (s *Server) tellShortage(ctx context.Context, r refusals) {
	v := s.current.Load().settings
	if slices.Contains(v.List("notify_classes"), "resource") {
		to := complete(v, v.String("error_notice_recipient"))
		s.tellPostmaster(ctx, to, r.notice(v, to), fmt.Sprintf("mail was refused %d times for want of space", r.count))
	}
}

// ascii replaces what a text of seven bits cannot have.
func ascii(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, s)
}

// notice is the text of the notice.
func (r *refusals) notice(v *config.Settings, to string) string {
	host := v.String("myhostname")
	return fmt.Sprintf(`From: MAILER-DAEMON@%s (Mail Delivery System)
To: %s
Subject: %s SMTP server: mail was refused for want of space
Auto-Submitted: auto-generated

This is the mail system at host %s.

From %s
to   %s
mail was refused with "452 4.3.1 Insufficient system storage". Refusals: %d. The
last one was of mail from
%s.

The clients are expected to try again, and mail is accepted now. It is refused
when the file system of %s has less than
%d bytes free (queue_minfree, or 1.5 times message_size_limit), less than
1.5 times the size of the message, or no free inodes.
`, host, address.Split(to), v.String("mail_name"), host, r.first.Format(time.RFC1123Z), r.last.Format(time.RFC1123Z), r.count, r.example,
		spoolDirectory(v), queueMinFree(v))
}
