package smtpd

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"postern/internal/smtp"
)

// Notice tells the postmaster of a session in which something went wrong
// (postconf notify_classes).
type Notice struct {
	Client  *Client
	Class   string   // of the worst that happened, as notify_classes names it
	Lines   []string // what was said, " Out: 220 ..." and " In:  EHLO ...", printable
	Aborted string   // why the session ended before QUIT; "" otherwise
}

// noticeClass is the class of notify_classes that a reply belongs to, "" for one
// that is no error. refused: the policy has given it. Mail that was refused for
// want of space (class resource) is summed up elsewhere.
func noticeClass(r smtp.Reply, refused bool) string {
	switch {
	case r.Code < 400, r.Code == 421, r.Code == 452:
		return ""
	case r.Enhanced == "4.3.5":
		return "software"
	case r.Enhanced == "4.3.0" && strings.Contains(r.Text, "lookup failure"):
		return "data"
	case r.Enhanced == "4.3.0":
		return "software"
	case refused && (r.Enhanced == "5.1.1" || r.Enhanced == "4.1.1"):
		return "bounce"
	case refused:
		return "policy"
	}
	return "protocol"
}

// Bounds of a transcript: lines at its beginning and at its end, octets of a line.
const (
	transcriptHead = 50
	transcriptTail = 50
	transcriptLine = 200
)

// transcript is what was said in a session, as far as the postmaster wants to hear
// of it.
type transcript struct {
	tell   func(context.Context, Notice) // of the profile that the session began with
	wanted map[string]bool               // of notify_classes
	secret bool                          // somebody is logging in
	class  string                        // of the first error that is wanted
	head   []string
	tail   []string // a ring, once it is full
	more   int      // lines behind head
}

// hear keeps a command. That somebody logs in is kept, but not how: neither what
// stands behind AUTH, nor the lines after it, which may be answers to a question that was
// never asked, up to the next command.
func (t *transcript) hear(text string) {
	switch verb, _ := smtp.SplitCommand(text); {
	case verb == "AUTH":
		text, t.secret = "AUTH ...", true
	case t.secret && !slices.Contains(commandNames[:], strings.ToLower(verb)):
		text = "..."
	default:
		t.secret = false
	}
	t.say(" In:  ", text)
}

// say keeps a line.
func (t *transcript) say(prefix, text string) {
	for line := range strings.SplitSeq(strings.TrimRight(text, "\r\n"), "\n") {
		line = strings.TrimRight(line, "\r")
		if len(line) > transcriptLine {
			line = line[:transcriptLine] + "..."
		}
		line = prefix + printable(line)
		switch {
		case len(t.head) < transcriptHead:
			t.head = append(t.head, line)
			continue
		case len(t.tail) < transcriptTail:
			t.tail = append(t.tail, line)
		default:
			t.tail[t.more%transcriptTail] = line
		}
		t.more++
	}
}

// note keeps the class of an error, if it is the first that is wanted.
func (t *transcript) note(class string) {
	if t.class == "" && t.wanted[class] {
		t.class = class
	}
}

// lines are the lines that were kept, and how many were not.
func (t *transcript) lines() []string {
	lines := append([]string(nil), t.head...)
	if t.more <= transcriptTail {
		return append(lines, t.tail...)
	}
	lines = append(lines, fmt.Sprintf(" ... %d lines are left out ...", t.more-transcriptTail))
	start := t.more % transcriptTail
	return append(append(lines, t.tail[start:]...), t.tail[:start]...)
}

// listen begins the transcript of a session.
func (ss *session) listen() {
	if ss.profile.Notice != nil && len(ss.config().NotifyClasses) > 0 {
		ss.transcript = &transcript{tell: ss.profile.Notice, wanted: ss.config().NotifyClasses}
	}
}

// notify tells the postmaster, at the end of a session, if there is a reason.
func (ss *session) notify(ctx context.Context, end error) {
	t := ss.transcript
	if t == nil || t.class == "" {
		return
	}
	n := Notice{Client: &ss.client, Class: t.class, Lines: t.lines()}
	if end != errQuit {
		n.Aborted = "lost connection after " + ss.where
	}
	t.tell(context.WithoutCancel(ctx), n)
}
