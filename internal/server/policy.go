package server

import (
	"cmp"
	"context"
	"net/netip"
	"strings"
	"time"

	"postern/internal/access"
	"postern/internal/address"
	"postern/internal/header"
	"postern/internal/intake"
	"postern/internal/route"
	"postern/internal/smtp"
	"postern/internal/smtpd"
)

// policy lets a session ask the restriction lists. It holds the generation, so
// that tables stay open as long as a session may ask them.
type policy struct {
	gen    *generation
	access *access.Policy
}

var _ smtpd.Policy = (*policy)(nil)

func clientRequest(c *smtpd.Client, where string) *access.Request {
	addr := c.Addr
	if !addr.IsValid() {
		addr = netip.IPv4Unspecified()
	}
	return &access.Request{Where: where, ClientName: c.Name, ClientAddr: addr, Helo: c.Helo, TLS: c.TLS != nil}
}

func request(t *smtpd.Transaction, where string) *access.Request {
	r := clientRequest(t.Client, where)
	r.Sender, r.HasSender, r.Recipients = t.Sender.Address, true, len(t.Recipients)
	r.SMTPUTF8 = t.Params.SMTPUTF8
	if len(t.Recipients) == 1 {
		r.Recipient, r.HasRcpt = t.Recipients[0].Path.Address, true
	}
	for _, e := range t.Effects {
		r.Discarded = r.Discarded || e.Verb == "DISCARD"
	}
	return r
}

func verdict(v access.Verdict) smtpd.Verdict {
	out := smtpd.Verdict{Reply: v.Reply, Hangup: v.Hangup}
	for _, n := range v.Notes {
		out.Notes = append(out.Notes, smtpd.Note{Action: n.Action, Text: n.Text})
	}
	for _, a := range v.Actions {
		out.Effects = append(out.Effects, smtpd.Effect{Verb: a.Verb, Text: a.Text})
	}
	return out
}

func (p *policy) Connect(ctx context.Context, c *smtpd.Client) smtpd.Verdict {
	return verdict(p.access.Connect(ctx, clientRequest(c, "CONNECT")))
}

func (p *policy) Helo(ctx context.Context, c *smtpd.Client) smtpd.Verdict {
	return verdict(p.access.Helo(ctx, clientRequest(c, "HELO")))
}

func (p *policy) Mail(ctx context.Context, t *smtpd.Transaction) smtpd.Verdict {
	return verdict(p.access.Mail(ctx, request(t, "MAIL")))
}

func (p *policy) Rcpt(ctx context.Context, t *smtpd.Transaction, r *smtpd.Recipient) smtpd.Verdict {
	req := request(t, "RCPT")
	req.Recipient, req.HasRcpt = r.Path.Address, true
	return verdict(p.access.Rcpt(ctx, req, nil))
}

func (p *policy) Data(ctx context.Context, t *smtpd.Transaction) smtpd.Verdict {
	return verdict(p.access.Data(ctx, request(t, "DATA")))
}

func (p *policy) EndOfData(ctx context.Context, t *smtpd.Transaction) smtpd.Verdict {
	return verdict(p.access.EndOfData(ctx, request(t, "END-OF-MESSAGE")))
}

func (p *policy) Vrfy(ctx context.Context, t *smtpd.Transaction, a address.Address) smtpd.Verdict {
	req := clientRequest(t.Client, "VRFY")
	req.Recipient, req.HasRcpt = a, true
	return verdict(p.access.Rcpt(ctx, req, nil))
}

func (p *policy) Etrn(ctx context.Context, c *smtpd.Client, domain string) smtpd.Verdict {
	req := clientRequest(c, "ETRN")
	req.Domain = domain
	return verdict(p.access.Etrn(ctx, req))
}

// inlet lets a session store messages.
type inlet struct {
	gen      *generation
	intake   *intake.Intake
	pressure func() bool   // mail comes in faster than it goes out
	delay    time.Duration // in_flow_delay
	// told is told what every Room was answered.
	told func(ctx context.Context, t *smtpd.Transaction, reply smtp.Reply)
}

var _ smtpd.Intake = (*inlet)(nil)

// Room slows the client down while mail comes in faster than it goes out, and says
// whether there is room for its message.
func (in *inlet) Room(ctx context.Context, t *smtpd.Transaction) smtp.Reply {
	in.wait(ctx)
	reply := in.intake.Room(t.Params.Size)
	in.told(ctx, t, reply)
	return reply
}

// flowSteps is how often in_flow_delay is looked at for its reason to be over.
const flowSteps = 20

// wait takes in_flow_delay, or as much of it as the pressure lasts.
func (in *inlet) wait(ctx context.Context) {
	if in.delay <= 0 || !in.pressure() {
		return
	}
	tick := time.NewTicker(in.delay / flowSteps)
	defer tick.Stop()
	for range flowSteps {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !in.pressure() {
			return
		}
	}
}

// Begin gives the message its queue id.
func (in *inlet) Begin(_ context.Context, t *smtpd.Transaction) (smtpd.Body, smtp.Reply) {
	letter, reply := in.intake.Begin(t.Params.Size)
	if !reply.IsZero() {
		return nil, reply
	}
	return &body{letter: letter}, smtp.Reply{}
}

// body is a message on its way from a session to the spool.
type body struct{ letter *intake.Letter }

func (b *body) QueueID() string { return b.letter.ID() }

func (b *body) Abort() { b.letter.Abort() }

func (b *body) Write(p []byte) (int, error) { return b.letter.Write(p) }

// Start writes the Received header.
func (b *body) Start(t *smtpd.Transaction) {
	c := t.Client
	src := intake.Source{Received: header.Received{
		Helo: c.Helo, Client: c.Name, Address: c.AddrText(), Protocol: c.With(t.Params.SMTPUTF8),
	}}
	if len(t.Recipients) == 1 {
		src.Received.For = t.Recipients[0].Path.Address.String()
	}
	for _, r := range t.Recipients {
		src.Success = src.Success || r.Params.Notify&smtp.NotifySuccess != 0
	}
	for _, e := range t.Effects {
		if e.Verb == "PREPEND" {
			src.Prepend = append(src.Prepend, e.Text)
		}
	}
	b.letter.Start(src)
}

// withoutBrackets is what the client wrote between < and >.
func withoutBrackets(given string) string {
	if inner, ok := strings.CutPrefix(given, "<"); ok {
		return strings.TrimSuffix(inner, ">")
	}
	return given
}

func (b *body) Commit(ctx context.Context, t *smtpd.Transaction) smtp.Reply {
	env := intake.Envelope{Sender: t.Sender.Address, Params: t.Params}
	for _, r := range t.Recipients {
		env.Recipients = append(env.Recipients, route.Recipient{
			Address: r.Path.Address, Original: r.Path.Address.Internal(),
			ORCPT: cmp.Or(r.Params.ORCPT, "rfc822;"+withoutBrackets(r.Path.Given)), Notify: uint8(r.Params.Notify),
		})
	}
	for _, e := range t.Effects {
		if e.Verb != "PREPEND" {
			env.Actions = append(env.Actions, access.Action{Verb: e.Verb, Text: e.Text})
		}
	}
	return b.letter.Commit(ctx, env)
}
