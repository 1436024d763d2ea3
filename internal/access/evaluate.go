package access

import (
	"context"

	"postern/internal/address"
	"postern/internal/route"
	"postern/internal/smtp"
)

// The classes in reject texts, "<x>: Recipient address rejected: ...".
const (
	classClient    = "Client host"
	classHelo      = "Helo command"
	classSender    = "Sender address"
	classRecipient = "Recipient address"
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
)

// evaluation is one pass through the lists of one command.
type evaluation struct {
	p     *Policy
	req   *Request
	trace *route.Trace
	class string // of the list that is being read

	listed, senderListed bool // the existence checks were made
	discarded            bool
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

// Mail asks the sender list, when rejects are not delayed.
func (p *Policy) Mail(ctx context.Context, r *Request) Verdict {
	return p.early(ctx, r, "smtpd_sender_restrictions", classSender)
}

func (p *Policy) early(ctx context.Context, r *Request, parameter, class string) Verdict {
	if p.delayReject {
		return Verdict{}
	}
	e := &evaluation{p: p, req: r}
	return e.verdict(e.list(ctx, parameter, class))
}

// Rcpt asks all lists about one recipient, and whether it exists. "postmaster"
// without a domain is always accepted (RFC 5321, 4.5.1). tr may be nil.
func (p *Policy) Rcpt(ctx context.Context, r *Request, tr *route.Trace) Verdict {
	if r.Recipient.Domain == "" && address.Fold(r.Recipient.Local) == "postmaster" {
		return Verdict{}
	}
	e := &evaluation{p: p, req: r, trace: tr}
	type stage struct{ parameter, class string }
	var order []stage
	if p.delayReject {
		order = append(order, stage{"smtpd_client_restrictions", classClient},
			stage{"smtpd_helo_restrictions", classHelo}, stage{"smtpd_sender_restrictions", classSender})
	}
	relay, rcpt := stage{"smtpd_relay_restrictions", classRecipient}, stage{"smtpd_recipient_restrictions", classRecipient}
	if p.relayFirst {
		order = append(order, relay, rcpt)
	} else {
		order = append(order, rcpt, relay)
	}
	for _, s := range order {
		if d := e.list(ctx, s.parameter, s.class); !d.reply.IsZero() {
			return e.verdict(d)
		}
	}
	if p.rejectUnlistedSender {
		if d := rejectUnlistedSender(ctx, e); !d.reply.IsZero() {
			return e.verdict(d)
		}
	}
	if p.rejectUnlisted && !p.unlistedOff && !e.discarded {
		if d := rejectUnlistedRecipient(ctx, e); !d.reply.IsZero() {
			return e.verdict(d)
		}
	}
	return e.verdict(dunno)
}

// Data asks the list of the DATA command.
func (p *Policy) Data(ctx context.Context, r *Request) Verdict {
	return p.late(ctx, r, "smtpd_data_restrictions", classData)
}

// EndOfData asks the list of the end of the message.
func (p *Policy) EndOfData(ctx context.Context, r *Request) Verdict {
	return p.late(ctx, r, "smtpd_end_of_data_restrictions", classEndOfData)
}

func (p *Policy) late(ctx context.Context, r *Request, parameter, class string) Verdict {
	e := &evaluation{p: p, req: r}
	return e.verdict(e.list(ctx, parameter, class))
}

// list reads one list from left to right.
func (e *evaluation) list(ctx context.Context, parameter, class string) decision {
	e.class = class
	return e.run(ctx, e.p.lists[parameter])
}

func (e *evaluation) run(ctx context.Context, list []restriction) decision {
	for i := range list {
		r := &list[i]
		d := r.check(ctx, e)
		if !d.reply.IsZero() && r.warn {
			e.note("reject_warning", d.reply.String())
			continue
		}
		if d != dunno || e.hangup {
			return d
		}
	}
	return dunno
}

// nested reads a list of smtpd_restriction_classes.
func (e *evaluation) nested(ctx context.Context, class string) decision {
	if e.depth >= maxNesting {
		e.p.log.Warningf("restriction class %s: nesting of more than %d", class, maxNesting)
		return e.fail("Server configuration error")
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
	case classEndOfData:
		return "END-OF-MESSAGE", classEndOfData
	}
	return e.req.Where, e.class
}

func (e *evaluation) client() string {
	return e.req.ClientName + "[" + e.req.ClientAddr.String() + "]"
}

// itself is a text about the subject of the list.
func (e *evaluation) itself(text string) string {
	name, class := e.subject()
	return "<" + name + ">: " + class + " rejected: " + text
}

func (e *evaluation) reject(code int, dsn, text string) decision {
	name, class := e.subject()
	return e.rejectAs(name, class, code, dsn, text)
}

func (e *evaluation) rejectAs(name, class string, code int, dsn, text string) decision {
	return decision{reply: smtp.R(code, fitDSN(code, dsn, class), "<"+name+">: "+class+" rejected: "+text)}
}

// fail refuses for now, because the configuration or a table does not work.
func (e *evaluation) fail(text string) decision {
	return e.reject(451, "4.3.5", text)
}

// note is a line for the log beside the verdict: warn_if_reject, INFO, REDIRECT.
func (e *evaluation) note(action, text string) {
	e.notes = append(e.notes, Note{action, text})
}
