// Package logline reads lines of a mail log, of Postfix or of Postern, and says
// which of the known failures one shows and what it is about:
//
//	Nov 22 20:51:57 mx postfix/smtpd[812]: NOQUEUE: reject: RCPT from a.example[192.0.2.7]:
//	  550 5.1.1 <jon@example.org>: Recipient address rejected: User unknown in virtual mailbox table; ...
//
// is VD201, about the recipient jon@example.org. Several codes may be behind the
// same words; only the configuration knows which one it is, so Event.Codes names
// all, the most likely first.
//
// What another host says of its own mailboxes is not taken for a failure of ours: a
// mailbox that is full over there has no code, only an Advice. A host is ours when it
// is spoken to with LMTP, by a socket, or at a loopback or private address.
//
// The front of a line may be that of syslog (RFC 3164, RFC 5424), of maillog_file, of
// journalctl (also its JSON form), of a container's log, or missing: what an
// administrator copies from a terminal, from a bounce message or from an SMTP
// session is understood too.
//
// Not here: what the configuration says about it, and the cure.
//
// It imports only the standard library.
package logline

import (
	"encoding/json"
	"strings"
)

// Kind is what became of the message or the command.
type Kind string

// The kinds of events.
const (
	Rejected Kind = "rejected" // a client was told no, or not now
	Bounced  Kind = "bounced"
	Deferred Kind = "deferred"
	Sent     Kind = "sent"
	Warning  Kind = "warning" // the server complains of its configuration or of a table
)

// Event is what a log line says.
type Event struct {
	Kind    Kind
	Codes   []string // the failures that show themselves so, the most likely first; nil: no code names it
	Symptom string   // the words of the log that show it; the same for all lines of one failure
	Reason  string   // what was logged, without the front of the line
	Advice  string   // what to do where no code names it and nothing here is wrong: a host of others refused

	// What it is about, as far as the line says: each may be empty.
	Recipient string // as the sender wrote it: the address before aliases
	Final     string // the address after aliases, if it is another one
	Sender    string
	Domain    string
	Table     string // type:name, or only the type
	Parameter string
	File      string // of the configuration
}

// MaxLine is how much of a line is looked at.
const MaxLine = 16 << 10

// Parse reads one line. It is false for a line that shows neither a failure nor a
// delivery: connections, messages that enter the queue, statistics.
func Parse(line string) (Event, bool) {
	if len(line) > MaxLine {
		line = line[:MaxLine]
	}
	text := Text(line)
	e := Event{Reason: text}
	r, ours := find(text, func() bool { return isElsewhere(line, text) })
	if r == nil && ours != nil {
		e.Advice = ours.advice()
	}
	e.Kind = kindOf(text, r != nil || e.Advice != "")
	if e.Kind == "" {
		return Event{}, false
	}
	e.addresses()
	switch {
	case e.Advice != "":
		e.Symptom = ours.words[0]
		return e, true
	case r == nil:
		e.Symptom = plainSymptom(e)
		return e, true
	}
	e.Codes, e.Symptom = r.codes, r.words[0]
	if r.subject != nil {
		r.subject(&e, text)
	}
	return e, true
}

// Interesting says quickly that a line of a log may be an event other than a
// delivery that went well.
func Interesting(line string) bool {
	for _, word := range []string{"reject:", "status=bounced", "status=deferred", "warning:", "error:", "fatal:", "panic:"} {
		if strings.Contains(line, word) {
			return true
		}
	}
	return false
}

// kindOf tells what kind of event a text is, "" for none.
func kindOf(text string, known bool) Kind {
	switch {
	case strings.Contains(text, "status=bounced"), strings.Contains(text, "status=expired"), strings.Contains(text, "(expanded from <"):
		return Bounced
	case strings.Contains(text, "status=deferred"), strings.Contains(text, "status=SOFTBOUNCE"):
		return Deferred
	case strings.Contains(text, "status=sent"):
		return Sent
	case strings.Contains(text, "reject: "), strings.Contains(text, "reject_warning: "), isReply(text):
		return Rejected
	case known:
		return Warning
	}
	for _, word := range severities {
		if strings.Contains(text, word) {
			return Warning
		}
	}
	return ""
}

var severities = []string{"warning: ", "error: ", "fatal: ", "panic: "}

// plainSymptom is the symptom of an event that no rule knows: its reply, or its
// complaint without what is in front of it.
func plainSymptom(e Event) string {
	text := e.Reason
	switch e.Kind {
	case Sent:
		return "sent"
	case Bounced, Deferred:
		if i := strings.IndexByte(text, '('); i >= 0 {
			return strings.TrimSuffix(text[i+1:], ")")
		}
	case Rejected:
		if _, rest, ok := cutReply(text); ok {
			text = rest
		}
		text, _, _ = strings.Cut(text, "; from=<")
		if i := strings.Index(text, ">: "); i >= 0 {
			text = text[i+3:]
		}
	}
	return text
}

// Text is a line without its front: the time, the host, the program.
func Text(line string) string {
	line = strings.TrimSpace(strings.TrimPrefix(line, "\ufeff"))
	if strings.HasPrefix(line, "{") {
		var entry struct{ Message, Log string } // of journalctl -o json; of a container
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Message+entry.Log != "" {
			line = strings.TrimSpace(entry.Message + entry.Log)
		}
	}
	if rest, ok := cutRFC5424(line); ok {
		return rest
	}
	return cutProgram(line)
}

// cutRFC5424 cuts "<22>1 TIME HOST PROGRAM PID MSGID DATA " off (RFC 5424, 6).
func cutRFC5424(line string) (string, bool) {
	rest, ok := strings.CutPrefix(line, "<")
	if !ok {
		return "", false
	}
	_, rest, ok = strings.Cut(rest, ">1 ")
	if !ok {
		return "", false
	}
	for range 5 {
		if _, rest, ok = strings.Cut(rest, " "); !ok {
			return "", false
		}
	}
	switch {
	case strings.HasPrefix(rest, "- "):
		rest = rest[2:]
	case strings.HasPrefix(rest, "["):
		_, rest, _ = strings.Cut(rest, "] ")
	}
	return strings.TrimPrefix(rest, "\ufeff"), true
}

// cutProgram cuts off what ends with "postfix/smtpd[812]: ", or what stands in
// front of a complaint: "postmap: fatal: ".
func cutProgram(line string) string {
	for at := 0; ; {
		i := strings.Index(line[at:], ": ")
		if i < 0 {
			break
		}
		at += i + 2
		if isProgram(line[:at-2]) {
			return strings.TrimSpace(line[at:])
		}
	}
	for _, word := range severities {
		if i := strings.Index(line, word); i > 0 && line[i-1] == ' ' && !strings.ContainsAny(line[:i], "<(") {
			return line[i:]
		}
	}
	return line
}

// isProgram says whether a text ends with a process: "mx postfix/smtpd[812]".
func isProgram(text string) bool {
	rest, ok := strings.CutSuffix(text, "]")
	if !ok {
		return false
	}
	digits := strings.TrimRight(rest, "0123456789")
	name, ok := strings.CutSuffix(digits, "[")
	if !ok || digits == rest || name == "" {
		return false
	}
	// connect to mx.example.org[192.0.2.1]: is no program, nor is [1]: alone.
	if i := strings.LastIndexAny(name, " \t"); i >= 0 {
		name = name[i+1:]
	}
	return name != "" && !strings.ContainsAny(name, "<>=")
}
