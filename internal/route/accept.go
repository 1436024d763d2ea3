package route

import (
	"context"
	"errors"
	"strings"

	"postern/internal/address"
	"postern/internal/smtp"
)

// Verdict is what a client is told about an address, and why.
type Verdict struct {
	Resolution Resolution
	Reply      smtp.Reply // zero: the address is good
}

// The two sides of an envelope as replies name them.
const (
	RecipientClass = "Recipient address"
	SenderClass    = "Sender address"
)

// side is how one side of an envelope is checked.
type side struct {
	class, unknownDSN string
	canonical         []string // a row in any of these maps makes an address exist
}

var (
	recipientSide = side{RecipientClass, "5.1.1", []string{"recipient_canonical_maps", "canonical_maps"}}
	senderSide    = side{SenderClass, "5.1.0", []string{"recipient_canonical_maps", "sender_canonical_maps", "canonical_maps"}}
)

// CheckRecipient says whether a recipient exists (reject_unlisted_recipient).
// given is the address as the client wrote it; the reply shows it. An alias of
// any class makes an address exist. In the default class everything does, unless
// the transport for the sender's mail refuses it.
func (r *Router) CheckRecipient(ctx context.Context, sender, given address.Address, tr *Trace) Verdict {
	res, err := r.ResolveGiven(ctx, sender, given, tr)
	return r.CheckResolved(ctx, given, res, err, tr)
}

// CheckSender is CheckRecipient for the envelope sender
// (reject_unlisted_sender). The null sender is good.
func (r *Router) CheckSender(ctx context.Context, given address.Address, tr *Trace) Verdict {
	if given.IsNull() {
		return Verdict{}
	}
	res, err := r.ResolveGiven(ctx, address.Address{}, given, tr)
	return r.check(ctx, given, res, err, senderSide, tr)
}

// ResolveGiven is Resolve for an address as a client wrote it.
func (r *Router) ResolveGiven(ctx context.Context, sender, given address.Address, tr *Trace) (Resolution, error) {
	return r.Resolve(ctx, r.Rewrite(given), sender, tr)
}

// CheckResolved is CheckRecipient for who has asked ResolveGiven already, and what
// it said.
func (r *Router) CheckResolved(ctx context.Context, given address.Address, res Resolution, err error, tr *Trace) Verdict {
	return r.check(ctx, given, res, err, recipientSide, tr)
}

func (r *Router) check(ctx context.Context, given address.Address, res Resolution, err error, s side, tr *Trace) Verdict {
	if err != nil {
		return Verdict{res, FailureReply(given, s.class, err)}
	}
	// smtpd(8) asks with the address in lower case; a pattern may mind.
	res.Address = address.Address{Local: address.Fold(res.Address.Local), Domain: address.Fold(res.Address.Domain)}
	mapped, err := r.hasMapping(ctx, res.Address, s, tr)
	if err != nil {
		return Verdict{res, FailureReply(given, s.class, err)}
	}
	if mapped {
		reply := smtp.Reply{}
		if s.class == RecipientClass && r.p.rejectUnlistedTarget {
			reply = r.checkTargets(ctx, given, tr)
		}
		return Verdict{res, reply}
	}
	text, code, dsn, err := r.exists(ctx, res, s, tr)
	switch {
	case err != nil:
		return Verdict{res, FailureReply(given, s.class, err)}
	case text != "":
		return Verdict{res, Rejection(given.Internal(), s.class, code, dsn, text)}
	}
	return Verdict{Resolution: res}
}

// FailureReply is the reply when an address could not be judged: 451 after a
// table failed, 501 for an impossible address. class is RecipientClass or
// SenderClass.
func FailureReply(given address.Address, class string, err error) smtp.Reply {
	var syntax *SyntaxError
	if errors.As(err, &syntax) {
		if class == SenderClass {
			return smtp.R(501, "5.1.7", "Bad sender address syntax")
		}
		return smtp.R(501, "5.1.3", "Bad recipient address syntax")
	}
	var f *Failure
	if errors.As(err, &f) && f.Config {
		return smtp.R(451, "4.3.5", "Server configuration error")
	}
	return smtp.R(451, "4.3.0", "<"+given.Internal()+">: Temporary lookup failure")
}

// hasMapping reports whether a canonical or alias table has a row for the
// address. What the row says does not matter.
func (r *Router) hasMapping(ctx context.Context, a address.Address, s side, tr *Trace) (bool, error) {
	for _, parameter := range s.canonical {
		if _, ok, err := r.lookupExternal(ctx, parameter, a, tr); ok || err != nil {
			return ok, err
		}
	}
	_, ok, err := r.lookupAlias(ctx, a, tr)
	return ok, err
}

// exists says whether a resolved address that has no alias exists in its
// class. text is "" when it does.
func (r *Router) exists(ctx context.Context, res Resolution, s side, tr *Trace) (text string, code int, dsn string, err error) {
	switch res.Transport {
	case "error":
		dsn, text := smtp.SplitEnhanced(res.NextHop, s.unknownDSN)
		if res.Class == VirtualAlias {
			return text, r.p.codeAlias, dsn, nil
		}
		return text, 550, dsn, nil
	case "retry":
		dsn, text := smtp.SplitEnhanced(res.NextHop, s.unknownDSN)
		return text, 450, dsn, nil
	}
	parameter, code := "", 0
	switch res.Class {
	case Local:
		if address.IsSpecialLocal(res.Address.Local, r.p.doubleBounceSender) {
			return "", 0, "", nil
		}
		parameter, code = "local_recipient_maps", r.p.codeLocal
	case VirtualMailbox:
		parameter, code = "virtual_mailbox_maps", r.p.codeMailbox
	case Relay:
		parameter, code = "relay_recipient_maps", r.p.codeRelay
	default:
		return "", 0, "", nil
	}
	if r.maps[parameter].Empty() {
		return "", 0, "", nil
	}
	_, ok, err := r.lookup(ctx, parameter, res.Address, tr)
	if ok || err != nil {
		return "", 0, "", err
	}
	return r.unknownUser(res.Class), code, s.unknownDSN, nil
}

// checkTargets is smtpd_reject_unlisted_target: an alias is refused when every
// address it leads to lies in our own domains and does not exist, or is none.
// An expansion that fails is refused for the present.
func (r *Router) checkTargets(ctx context.Context, given address.Address, tr *Trace) smtp.Reply {
	targets, err := r.Expand(ctx, []Recipient{{Address: given, Original: given.Internal()}}, tr)
	if err != nil {
		return r.expansionReply(given, err)
	}
	var refused smtp.Reply
	for _, t := range targets {
		reply, err := r.checkTarget(ctx, given, t.Address, tr)
		if err != nil {
			return FailureReply(given, RecipientClass, err)
		}
		if reply.IsZero() {
			return reply
		}
		if refused.IsZero() {
			refused = reply
		}
	}
	return refused
}

// checkTarget words why mail for one target of an alias would bounce; the
// reply is zero when it would not.
func (r *Router) checkTarget(ctx context.Context, given, target address.Address, tr *Trace) (smtp.Reply, error) {
	res, err := r.Resolve(ctx, target, address.Address{}, tr)
	var syntax *SyntaxError
	if errors.As(err, &syntax) {
		return Rejection(given.Internal(), RecipientClass, 550, "5.1.3", "bad address syntax"), nil
	}
	if err != nil {
		return smtp.Reply{}, err
	}
	text, code, _, err := r.exists(ctx, res, recipientSide, tr)
	if err != nil || text == "" || code < 500 {
		return smtp.Reply{}, err
	}
	return Rejection(given.Internal(), RecipientClass, 550, "5.1.1", text), nil
}

// expansionReply words a failed expansion for one recipient.
func (r *Router) expansionReply(given address.Address, err error) smtp.Reply {
	var e *ExpansionError
	if errors.As(err, &e) && e.Err == nil {
		return smtp.R(451, "4.6.0", "<"+given.Internal()+">: Alias expansion error")
	}
	return FailureReply(given, RecipientClass, err)
}

// CheckSyntax reports an address that no class could take, before anything else
// is asked of it: MAIL FROM and RCPT TO with one are answered 501. The error is
// a *SyntaxError. The null address is good, and so is one that cannot be judged
// because a table fails.
func (r *Router) CheckSyntax(ctx context.Context, given address.Address) error {
	if given.IsNull() {
		return nil
	}
	a := r.Rewrite(given)
	var err error
	if a.Domain == "" || strings.ContainsAny(a.Local, routing) {
		_, err = r.Resolve(ctx, a, address.Address{}, nil)
	} else {
		a, err = r.checkDomain(a)
		if err == nil && r.startsWithMinus(a) {
			err = &SyntaxError{a.Internal()}
		}
	}
	var syntax *SyntaxError
	if errors.As(err, &syntax) {
		return syntax
	}
	return nil
}

// Authorized reports whether mail for a resolved recipient may come from anybody: its
// domain is one of ours and the local part does not send it elsewhere
// (permit_auth_destination).
func (r *Router) Authorized(res *Resolution) bool {
	return res.Class != Default && (!res.Routed || r.p.allowUntrustedRouting)
}
