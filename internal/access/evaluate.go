package access

import (
	"context"
	"strings"

	"postern/internal/address"
	"postern/internal/config"
	"postern/internal/route"
	"postern/internal/smtp"
)

// The classes in reject texts, "<x>: Recipient address rejected: ...".
const (
	classClient    = "Client host"
	classHelo      = "Helo command"
	classSender    = route.SenderClass
	classRecipient = route.RecipientClass
	classData      = "Data command"
	classEndOfData = "End-of-data"
	classEtrn      = "Etrn command"
)

// decision is the answer of one restriction. The zero decision is "don't know";
// a reply refuses.
type decision struct {
	permit bool
	reply  smtp.Reply
}

var (
	dunno  = decision{}
	permit = decision{permit: true}
	// misconfigured is the answer when a list or an access table says what
	// nobody understands.
	misconfigured = decision{reply: smtp.R(451, "4.3.5", "Server configuration error")}
)

// about is what a restriction speaks of: "<name>: class rejected: ...".
type about struct{ name, class string }

// evaluation is one pass through the lists of one command.
type evaluation struct {
	p     *Policy
	req   *Request
	trace *route.Trace
	class string // of the list that is being read
	about about  // set while the result of an access table is read as a list

	resolved             *route.Resolution // the recipient, once it was asked for
	listed, senderListed bool              // the existence checks were made
	discarded            bool
	warning              bool // warn_if_reject is in force
	ifPermit, ifReject   smtp.Reply
	actions              []Action
	notes                []Note
	hangup               bool
	depth                int
}

// maxNesting bounds restriction classes and access results that name lists.
const maxNesting = 100

// Connect asks the client list, when rejects are not delayed.
func (p *Policy) Connect(ctx context.Context, r *Request) Verdict {
	return p.early(ctx, r, "smtpd_client_restrictions", classClient)
}

// Helo asks the HELO list, when rejects are not delayed.
func (p *Policy) Helo(ctx context.Context, r *Request) Verdict {
	return p.early(ctx, r, "smtpd_helo_restrictions", classHelo)
}

// Mail refuses an impossible sender address, and asks the sender list, when
// rejects are not delayed.
func (p *Policy) Mail(ctx context.Context, r *Request) Verdict {
	if err := p.checkSyntax(ctx, r, r.Sender); err != nil {
		return Verdict{Reply: route.FailureReply(r.Sender, classSender, err)}
	}
	return p.early(ctx, r, "smtpd_sender_restrictions", classSender)
}

// checkSyntax reports an address that no class could take. A domain beyond ASCII
// is one while the client has not asked for SMTPUTF8 (RFC 6531, 3.4).
func (p *Policy) checkSyntax(ctx context.Context, r *Request, a address.Address) error {
	if !r.SMTPUTF8 && strings.IndexFunc(a.Domain, func(c rune) bool { return c > '~' }) >= 0 {
		return &route.SyntaxError{Address: a.Internal()}
	}
	return p.router.CheckSyntax(ctx, a)
}

func (p *Policy) early(ctx context.Context, r *Request, parameter, class string) Verdict {
	if p.delayReject {
		return Verdict{}
	}
	e := &evaluation{p: p, req: r}
	d := e.list(ctx, parameter, class)
	e.ifPermit = smtp.Reply{} // it waits for RCPT
	return e.verdict(d)
}

// earlier finds the defer_if_permit that the lists of the commands before RCPT
// left pending, when rejects are not delayed.
func (p *Policy) earlier(ctx context.Context, r *Request) smtp.Reply {
	past := &evaluation{p: p, req: r}
	for _, s := range earlyStages {
		past.list(ctx, s.parameter, s.class)
	}
	return past.ifPermit
}

// Rcpt asks all lists about one recipient, and whether it exists. "postmaster"
// without a domain is always accepted (RFC 5321, 4.5.1). tr may be nil.
func (p *Policy) Rcpt(ctx context.Context, r *Request, tr *route.Trace) Verdict {
	if r.Recipient.Domain == "" && address.Fold(r.Recipient.Local) == "postmaster" {
		return Verdict{}
	}
	if err := p.checkSyntax(ctx, r, r.Recipient); err != nil {
		return Verdict{Reply: route.FailureReply(r.Recipient, classRecipient, err)}
	}
	e := &evaluation{p: p, req: r, trace: tr, discarded: r.Discarded}
	if !p.delayReject {
		e.ifPermit = p.earlier(ctx, r)
	}
	for _, s := range p.rcptStages {
		d := e.list(ctx, s.parameter, s.class)
		if !d.reply.IsZero() || e.hangup {
			return e.verdict(d)
		}
	}
	// A pending defer_if_permit comes before the question whether the recipient
	// exists.
	if p.rejectUnlisted && !e.discarded && e.ifPermit.IsZero() {
		return e.verdict(rejectUnlistedRecipient(ctx, e))
	}
	return e.verdict(dunno)
}

// stage is a list, or rather what it is about.
type stage struct{ parameter, class string }

// earlyStages are the lists of connect, HELO and MAIL.
var earlyStages = []stage{
	{"smtpd_client_restrictions", classClient},
	{"smtpd_helo_restrictions", classHelo},
	{"smtpd_sender_restrictions", classSender},
}

// rcptStages are the lists that are asked at RCPT, in order.
func rcptStages(s *config.Settings) []stage {
	var order []stage
	if s.Bool("smtpd_delay_reject") {
		order = append(order, earlyStages...)
	}
	relay, rcpt := stage{"smtpd_relay_restrictions", classRecipient}, stage{"smtpd_recipient_restrictions", classRecipient}
	if s.Bool("smtpd_relay_before_recipient_restrictions") {
		return append(order, relay, rcpt)
	}
	return append(order, rcpt, relay)
}

// Data asks the list of the DATA command.
func (p *Policy) Data(ctx context.Context, r *Request) Verdict {
	return p.late(ctx, r, "smtpd_data_restrictions", classData)
}

// EndOfData asks the list of the end of the message.
func (p *Policy) EndOfData(ctx context.Context, r *Request) Verdict {
	return p.late(ctx, r, "smtpd_end_of_data_restrictions", classEndOfData)
}

// Etrn asks whether a client may have its domain's mail sent (ETRN, RFC 1985): the
// lists of client and HELO, when rejects are delayed, and the list of the command.
func (p *Policy) Etrn(ctx context.Context, r *Request) Verdict {
	e := &evaluation{p: p, req: r}
	if p.delayReject {
		for _, s := range earlyStages[:2] {
			if d := e.list(ctx, s.parameter, s.class); !d.reply.IsZero() || e.hangup {
				return e.verdict(d)
			}
		}
	}
	return e.verdict(e.list(ctx, "smtpd_etrn_restrictions", classEtrn))
}

func (p *Policy) late(ctx context.Context, r *Request, parameter, class string) Verdict {
	e := &evaluation{p: p, req: r, discarded: r.Discarded}
	return e.verdict(e.list(ctx, parameter, class))
}

// list reads one list from left to right. smtpd_reject_unlisted_sender stands
// at the end of the sender list. A pending defer_if_reject ends with the
// lists of its class.
func (e *evaluation) list(ctx context.Context, parameter, class string) decision {
	if class != e.class {
		e.class, e.ifReject = class, smtp.Reply{}
	}
	d := e.run(ctx, e.p.lists[parameter])
	if class == classSender && e.p.rejectUnlistedSender && d.reply.IsZero() && !e.discarded {
		return rejectUnlistedSender(ctx, e)
	}
	return d
}

// run reads restrictions until one decides. After DISCARD none is read; nor
// are more once both a permit and a reject would be turned into a deferral.
func (e *evaluation) run(ctx context.Context, list []restriction) decision {
	for i := range list {
		r := &list[i]
		if e.discarded || !e.ifPermit.IsZero() && !e.ifReject.IsZero() {
			break
		}
		pending, outer := e.ifPermit, e.warning
		e.warning = outer || r.warn
		d := r.check(ctx, e)
		if e.hangup {
			return d
		}
		if e.warning {
			d = e.warn(d, pending)
		}
		e.warning = outer
		if d != dunno {
			return d
		}
	}
	return dunno
}

// warn makes a note of what warn_if_reject keeps a restriction from doing. A
// permit counts all the same, and so do defer_if_reject and a refusal because
// a table or the configuration does not work.
func (e *evaluation) warn(d decision, pending smtp.Reply) decision {
	if e.ifPermit != pending {
		e.note("reject_warning", e.ifPermit.String())
		e.ifPermit = pending
	}
	if !d.reply.IsZero() && !isFault(d.reply) {
		e.note("reject_warning", d.reply.String())
		return dunno
	}
	return d
}

// isFault reports a reply that is nobody's judgement of the client: those all
// read "<x>: CLASS rejected: ...".
func isFault(r smtp.Reply) bool {
	return r.Code == 451 && !strings.Contains(r.String(), " rejected: ")
}

// nested reads a list of smtpd_restriction_classes.
func (e *evaluation) nested(ctx context.Context, class string) decision {
	if e.depth >= maxNesting {
		e.p.log.Warningf("restriction class %s: nesting of more than %d", class, maxNesting)
		return misconfigured
	}
	e.depth++
	defer func() { e.depth-- }()
	return e.run(ctx, e.p.classes[class])
}

// verdict adds what was only pending: defer_if_permit and defer_if_reject.
func (e *evaluation) verdict(d decision) Verdict {
	switch {
	case d.reply.IsZero() && !e.ifPermit.IsZero():
		d.reply = e.ifPermit
	case d.reply.Permanent() && !e.ifReject.IsZero():
		d.reply = e.ifReject
	}
	return Verdict{Reply: d.reply, Hangup: e.hangup, Actions: e.actions, Notes: e.notes}
}

func (e *evaluation) deferIfPermit(r smtp.Reply) {
	if e.ifPermit.IsZero() {
		e.ifPermit = r
	}
}

func (e *evaluation) deferIfReject(r smtp.Reply) {
	if e.ifReject.IsZero() {
		e.ifReject = r
	}
}

// subject is what the list at hand is about, as it stands in reject texts.
func (e *evaluation) subject() (name, class string) {
	if e.about != (about{}) {
		return e.about.name, e.about.class
	}
	switch e.class {
	case classClient:
		return e.client(), classClient
	case classHelo:
		return e.req.Helo, classHelo
	case classSender:
		return e.req.Sender.Internal(), classSender
	case classRecipient:
		return e.req.Recipient.Internal(), classRecipient
	case classData:
		return "DATA", classData
	case classEtrn:
		return e.req.Domain, classEtrn
	case classEndOfData:
		return "END-OF-MESSAGE", classEndOfData
	}
	return e.req.Where, e.class
}

func (e *evaluation) client() string {
	return e.req.ClientName + "[" + e.req.ClientAddr.String() + "]"
}

func (e *evaluation) reject(code int, dsn, text string) decision {
	name, class := e.subject()
	return e.rejectAs(name, class, code, dsn, text)
}

func (e *evaluation) rejectAs(name, class string, code int, dsn, text string) decision {
	return decision{reply: route.Rejection(name, class, code, dsn, text)}
}

// note is a line for the log beside the verdict: warn_if_reject, INFO, REDIRECT.
func (e *evaluation) note(action, text string) {
	e.notes = append(e.notes, Note{action, text})
}
