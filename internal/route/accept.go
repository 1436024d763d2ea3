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

// texts of the two sides of an envelope.
type side struct {
	class, unknownDSN, aliasDSN string
	canonical                   string // maps of this side alone
}

var (
	recipientSide = side{"Recipient address", "5.1.1", "5.1.1", "recipient_canonical_maps"}
	senderSide    = side{"Sender address", "5.1.0", "5.1.7", "sender_canonical_maps"}
)

// CheckRecipient says whether a recipient exists (reject_unlisted_recipient).
// given is the address as the client wrote it; the reply shows it. An alias of
// any class makes an address exist. In the default class everything does.
func (r *Router) CheckRecipient(ctx context.Context, given address.Address, tr *Trace) Verdict {
	return r.check(ctx, given, recipientSide, tr)
}

// CheckSender is CheckRecipient for the envelope sender
// (reject_unlisted_sender). The null sender is good.
func (r *Router) CheckSender(ctx context.Context, given address.Address, tr *Trace) Verdict {
	if given.IsNull() {
		return Verdict{}
	}
	return r.check(ctx, given, senderSide, tr)
}

func (r *Router) check(ctx context.Context, given address.Address, s side, tr *Trace) Verdict {
	res, err := r.Resolve(ctx, r.Rewrite(given), address.Address{}, tr)
	if err != nil {
		return Verdict{res, FailureReply(given, s.class, err)}
	}
	mapped, err := r.hasMapping(ctx, res.Address, s, tr)
	if err != nil {
		return Verdict{res, FailureReply(given, s.class, err)}
	}
	if mapped {
		reply := smtp.Reply{}
		if s.class == recipientSide.class && r.p.rejectUnlistedTarget {
			reply = r.checkTargets(ctx, given, tr)
		}
		return Verdict{res, reply}
	}
	text, code, dsn, err := r.exists(ctx, res, s, tr)
	switch {
	case err != nil:
		return Verdict{res, FailureReply(given, s.class, err)}
	case text != "":
		return Verdict{res, rejection(given, s.class, code, dsn, text)}
	}
	return Verdict{Resolution: res}
}

// rejection is the reply to an address, as Postfix words it.
func rejection(given address.Address, class string, code int, dsn, text string) smtp.Reply {
	return smtp.R(code, dsn, "<"+given.Internal()+">: "+class+" rejected: "+text)
}

// FailureReply is the reply when an address could not be judged: 451 after a
// table failed, 501 for an impossible address. class is "Recipient address" or
// "Sender address".
func FailureReply(given address.Address, class string, err error) smtp.Reply {
	var syntax *SyntaxError
	if errors.As(err, &syntax) {
		if class == senderSide.class {
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
	for _, parameter := range []string{s.canonical, "canonical_maps"} {
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
		dsn, text := smtp.SplitEnhanced(res.NextHop, "5.1.1")
		if res.Class == VirtualAlias {
			return text, r.p.codeAlias, s.forAlias(dsn), nil
		}
		return text, 550, dsn, nil
	case "retry":
		dsn, text := smtp.SplitEnhanced(res.NextHop, "4.1.1")
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
	return r.unknownUser(res.Class), code, matchDSN(code, s.unknownDSN), nil
}

func (s side) forAlias(dsn string) string {
	if dsn == "5.1.1" {
		return s.aliasDSN
	}
	return dsn
}

// matchDSN makes the first digit of an enhanced code that of the reply code
// (RFC 3463, 2: the class is that of the reply).
func matchDSN(code int, dsn string) string {
	return string(rune('0'+code/100)) + strings.TrimLeft(dsn, "245")
}

// checkTargets is smtpd_reject_unlisted_target: an alias is refused when every
// address it leads to lies in our own domains and does not exist. An expansion
// that fails is refused for now.
func (r *Router) checkTargets(ctx context.Context, given address.Address, tr *Trace) smtp.Reply {
	targets, err := r.Expand(ctx, []Recipient{{Address: given, Original: given.Internal()}}, nil)
	if err != nil {
		return r.expansionReply(given, err)
	}
	var refused smtp.Reply
	for _, t := range targets {
		res, err := r.Resolve(ctx, t.Address, address.Address{}, nil)
		if err != nil {
			return FailureReply(given, recipientSide.class, err)
		}
		text, _, dsn, err := r.exists(ctx, res, recipientSide, nil)
		if err != nil {
			return FailureReply(given, recipientSide.class, err)
		}
		if text == "" || strings.HasPrefix(dsn, "4") {
			return smtp.Reply{}
		}
		if refused.IsZero() {
			refused = rejection(given, recipientSide.class, 550, "5.1.1", text)
		}
	}
	return refused
}

// expansionReply words a failed expansion for one recipient.
func (r *Router) expansionReply(given address.Address, err error) smtp.Reply {
	var e *ExpansionError
	if errors.As(err, &e) && e.Err == nil {
		return smtp.R(451, "4.6.0", "<"+given.Internal()+">: Alias expansion error")
	}
	return FailureReply(given, recipientSide.class, err)
}

// Authorized reports whether mail for a recipient may come from anybody: its
// domain is one of ours and the local part does not send it elsewhere
// (permit_auth_destination). The error is a *Failure or a *SyntaxError.
func (r *Router) Authorized(ctx context.Context, given address.Address, tr *Trace) (bool, error) {
	res, err := r.Resolve(ctx, r.Rewrite(given), address.Address{}, tr)
	if err != nil {
		return false, err
	}
	return res.Class != Default && (!res.Routed || r.p.allowUntrustedRouting), nil
}
