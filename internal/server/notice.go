package server

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/internal/address"
	"postern/internal/config"
	"postern/internal/smtpd"
	"postern/internal/spool"
)

// tellPostmaster queues a message of our own to somebody who looks after the
// server. What it is about goes to the log, and when it cannot be queued, too.
func (s *Server) tellPostmaster(ctx context.Context, to, text, about string) {
	g := s.current.Load()
	e := spool.Envelope{Sender: doubleBounceSender(g.settings).Internal(), Bounce: true,
		Recipients: []spool.Recipient{{Address: to, Notify: spool.NotifyNever}}}
	fresh, err := g.intake.Internal(ctx, e, strings.NewReader(text), int64(len(text)))
	var messages []*spool.Message
	if err == nil {
		messages, err = s.spool.Commit(ctx, spool.Change{New: []spool.New{fresh}})
	}
	if err != nil {
		if fresh.Draft != nil {
			fresh.Draft.Abort()
		}
		s.main.Warningf("<%s> cannot be told: %s: %v", to, about, err)
		return
	}
	s.main.Infof("%s: postmaster notification: %s", messages[0].ID, about)
	s.queue.Add(messages[0])
}

// sessionClasses are the classes of notify_classes of which the transcript of an
// SMTP session tells.
var sessionClasses = []string{"bounce", "data", "policy", "protocol", "software"}

// noticesOf are those that a configuration wants.
func noticesOf(v *config.Settings) map[string]bool {
	wanted := map[string]bool{}
	for _, class := range v.List("notify_classes") {
		if slices.Contains(sessionClasses, class) {
			wanted[class] = true
		}
	}
	return wanted
}

// ownFaults are the classes of which every session may have an error for one and the same
// reason, a table that fails: the postmaster is told of one session a minute.
var ownFaults = []string{"data", "software"}

// sparing lets a notice of each class pass once in a while.
type sparing struct {
	mu   sync.Mutex
	told map[string]time.Time
}

// lets reports whether a notice of that class may be sent now.
func (p *sparing) lets(class string, now time.Time) bool {
	if !slices.Contains(ownFaults, class) {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if last, ok := p.told[class]; ok && now.Sub(last) < time.Minute {
		return false
	}
	if p.told == nil {
		p.told = map[string]time.Time{}
	}
	p.told[class] = now
	return true
}

// noteSession tells the postmaster of a session that went wrong.
func (s *Server) noteSession(ctx context.Context, v *config.Settings, n smtpd.Notice) {
	if !s.told.lets(n.Class, time.Now()) {
		return
	}
	to := complete(v, v.String("error_notice_recipient"))
	s.tellPostmaster(ctx, to, sessionNotice(v, to, n), fmt.Sprintf("errors of class %s from %s", n.Class, n.Client))
}

// sessionNotice is the text of such a notice.
func sessionNotice(v *config.Settings, to string, n smtpd.Notice) string {
	host, end := v.String("myhostname"), ""
	if n.Aborted != "" {
		end = "\nSession aborted, reason: " + ascii(n.Aborted) + "\n"
	}
	return fmt.Sprintf(`From: MAILER-DAEMON@%s (Mail Delivery System)
To: %s
Subject: %s SMTP server: errors from %s
Auto-Submitted: auto-generated

Transcript of session follows (notify_classes: %s).

%s
%s
For other details, see the log of the mail system at host %s.
`, host, address.Split(to), v.String("mail_name"), ascii(n.Client.String()), n.Class, ascii7(n.Lines), end, host)
}

// ascii7 are the lines, each with seven bits.
func ascii7(lines []string) string {
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(ascii(line) + "\n")
	}
	return b.String()
}
