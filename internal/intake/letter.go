package intake

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"postern/internal/access"
	"postern/internal/address"
	"postern/internal/bounce"
	"postern/internal/header"
	"postern/internal/route"
	"postern/internal/smtp"
	"postern/internal/spool"
)

// Letter is one message on its way in. It belongs to one goroutine.
type Letter struct {
	in    *Intake
	draft *spool.Draft

	local  bool   // submitted here: the header is completed
	from   string // for a missing From header
	head   section
	keep   bool   // a report may need the header
	kept   []byte // what of it was passed on, when keep is set
	inBody bool

	expanded []bounce.Recipient // recipients that aliases replaced, for the report
	err      error              // of the first write that failed
	arrival  time.Time
}

// Source is where a message comes from, for its Received header.
type Source struct {
	Received header.Received // Hostname, Software, ID and Date are filled in here
	// Local completes the header: Date, Message-Id and From are added when they
	// are missing. FullName goes with the added From.
	Local    bool
	FullName string
	Sender   address.Address
	Prepend  []string // header lines of access tables (PREPEND), put first
	// Success: a recipient asked for a report of success (RFC 3461, 4.1).
	Success bool
}

// ID is the queue id.
func (l *Letter) ID() string { return l.draft.ID() }

// Start writes what stands in front of the message's own header.
func (l *Letter) Start(s Source) {
	l.arrival = l.in.now()
	l.keep = s.Success
	l.local = s.Local || l.in.alwaysAdd
	if l.local {
		l.from = fromHeader(s, l.in.myorigin)
		l.head.have = map[string]bool{}
	}
	r := s.Received
	r.Hostname, r.Software, r.ID, r.Date = l.in.hostname, l.in.software, l.ID(), l.arrival
	var buf []byte
	for _, line := range s.Prepend {
		buf = append(append(buf, line...), '\n')
	}
	l.put(r.AppendTo(buf))
}

func fromHeader(s Source, origin string) string {
	from := s.Sender
	if from.IsNull() {
		from = address.Address{Local: "MAILER-DAEMON"}
	}
	if from.Domain == "" {
		from.Domain = origin
	}
	if s.FullName == "" {
		return "From: " + from.String() + "\n"
	}
	return "From: " + quotePhrase(s.FullName) + " <" + from.String() + ">\n"
}

// quotePhrase quotes a display name where it needs it (RFC 5322, 3.2.5).
// Control characters, which would end the field, become blanks.
func quotePhrase(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, name)
	if !strings.ContainsAny(name, `()<>[]:;@\,."`) {
		return name
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
}

// Write takes the next piece of the text, LF line ends, header first. It fails
// when the spool has no room; Commit then gives the reply.
func (l *Letter) Write(p []byte) (int, error) {
	if l.inBody {
		l.put(p)
		return len(p), l.err
	}
	l.header(p)
	return len(p), l.err
}

// put hands text to the spool and remembers the first failure.
func (l *Letter) put(p []byte) {
	if l.err == nil && len(p) > 0 {
		_, l.err = l.draft.Write(p)
	}
	if l.keep && !l.inBody {
		l.kept = append(l.kept, p[:min(len(p), maxKept-len(l.kept))]...)
	}
}

// Abort gives the letter up. Nothing of it stays.
func (l *Letter) Abort() { l.draft.Abort() }

// Commit ends the letter. A positive reply means that the message will survive
// a power cut; with any other nothing of it was accepted.
func (l *Letter) Commit(ctx context.Context, env Envelope) smtp.Reply {
	if !l.inBody {
		l.endHeader()
	}
	if l.err != nil {
		l.in.log.Warningf("%s: write queue file: %v", l.ID(), l.err)
		l.Abort()
		return storeReply(l.err)
	}
	l.in.logMessageID(l)
	if l.head.hops+1 >= l.in.hops {
		l.Abort()
		return replyHops
	}
	for _, a := range env.Actions {
		if a.Verb == "DISCARD" {
			l.Abort()
			return queuedAs(l.ID())
		}
	}
	e, reply := l.envelope(ctx, env)
	if !reply.IsZero() {
		l.Abort()
		return reply
	}
	e.Verify, e.Report = env.Verify, env.Report
	return l.store(ctx, e, slices.ContainsFunc(env.Actions, func(a access.Action) bool { return a.Verb == "HOLD" }))
}

func queuedAs(id string) smtp.Reply { return smtp.R(250, "2.0.0", "Ok: queued as "+id) }

// store makes the message durable, and with it the report that aliases took the
// place of recipients.
func (l *Letter) store(ctx context.Context, e spool.Envelope, held bool) smtp.Reply {
	id := l.ID()
	change := spool.Change{New: []spool.New{{Draft: l.draft, Envelope: e, Held: held}}}
	if report, ok := l.reportExpanded(ctx, &e); ok {
		change.New = append(change.New, report)
	}
	msgs, err := l.in.store.Commit(ctx, change)
	if err != nil {
		l.in.log.Warningf("%s: write queue file: %v", id, err)
		for i := range change.New {
			change.New[i].Draft.Abort()
		}
		return storeReply(err)
	}
	for i, m := range msgs {
		if i > 0 {
			l.in.bounceLog.Infof("%s: sender delivery status notification: %s", id, m.ID)
		}
		if !change.New[i].Held {
			l.in.added(m)
		}
	}
	return queuedAs(id)
}

// envelope works out sender and final recipients. The reply is zero on success.
func (l *Letter) envelope(ctx context.Context, env Envelope) (spool.Envelope, smtp.Reply) {
	e := spool.Envelope{
		Arrival: l.arrival, SMTPUTF8: env.Params.SMTPUTF8, EightBit: env.Params.Body == "8BITMIME",
		EnvID: env.Params.EnvID, Ret: env.Params.Ret, MessageID: l.head.messageID,
	}
	given := withCopies(env.Recipients, env.Actions)
	if len(given) == 0 {
		return e, replyNoRcpt
	}
	if l.in.noMapping {
		e.Sender = l.in.router.Rewrite(env.Sender).Internal()
		e.Recipients = spoolRecipients(l.redirect(l.in.router.Complete(given), env.Actions))
		return e, smtp.Reply{}
	}
	sender, err := l.in.router.Sender(ctx, env.Sender, nil)
	if err != nil {
		return e, l.expansionReply(err)
	}
	e.Sender = sender.Internal()
	list, err := l.in.router.ExpandWithSender(ctx, sender, given, nil)
	if err != nil {
		return e, l.expansionReply(err)
	}
	l.noteExpanded(list)
	e.Recipients = spoolRecipients(l.redirect(list, env.Actions))
	return e, smtp.Reply{}
}

// expansionReply logs and words why the recipients could not be worked out.
func (l *Letter) expansionReply(err error) smtp.Reply {
	l.in.log.Warningf("%s: %v", l.ID(), err)
	var e *route.ExpansionError
	if errors.As(err, &e) {
		return e.Reply
	}
	return replyTemporary
}

// withCopies adds the recipients that access tables asked for with BCC. Nobody is
// told about them, but for the first: Postfix writes the NOTIFY of a copy behind
// its recipient, where it counts for the next.
func withCopies(given []route.Recipient, actions []access.Action) []route.Recipient {
	given = given[:len(given):len(given)]
	notify := uint8(0)
	for _, a := range actions {
		if a.Verb == "BCC" {
			to := address.Split(a.Text)
			given = append(given, route.Recipient{Address: to, Original: to.Internal(), Notify: notify})
			notify = uint8(spool.NotifyNever)
		}
	}
	return given
}

// redirect sends the message to one address instead of all, as an access table
// asked with REDIRECT; the last one counts. It takes the place of the recipient
// that comes first by domain and address, and no alias applies to it.
func (l *Letter) redirect(list []route.Recipient, actions []access.Action) []route.Recipient {
	for _, a := range slices.Backward(actions) {
		if a.Verb == "REDIRECT" && len(list) > 0 {
			one := slices.MinFunc(list, func(a, b route.Recipient) int {
				return cmp.Or(strings.Compare(a.Address.Domain, b.Address.Domain), strings.Compare(a.Address.Local, b.Address.Local))
			})
			one.Address = l.in.router.Rewrite(address.Split(a.Text))
			return []route.Recipient{one}
		}
	}
	return list
}

// logMessageID writes the line that ties a queue id to a message.
func (in *Intake) logMessageID(l *Letter) {
	id := l.head.messageID
	if id == "" {
		id = "<>"
	}
	in.log.Infof("%s: message-id=%s", l.ID(), id)
}
