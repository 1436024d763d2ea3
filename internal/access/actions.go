package access

import (
	"context"
	"errors"
	"strings"

	"postern/internal/address"
	"postern/internal/smtp"
	"postern/internal/table"
)

func checkClient(c *compiler, m *table.Maps) func(context.Context, *evaluation) decision {
	return func(ctx context.Context, e *evaluation) decision {
		name, ip := e.req.ClientName, e.req.ClientAddr.String()
		if found, d, ok := e.find(ctx, m, table.HostKeys(name, c.p.parentsWithoutDot), e.client(), classClient); ok {
			return e.act(ctx, found, d, e.client(), classClient)
		}
		found, d, ok := e.find(ctx, m, table.NetKeys(ip), e.client(), classClient)
		if !ok {
			return dunno
		}
		return e.act(ctx, found, d, e.client(), classClient)
	}
}

func checkHelo(c *compiler, m *table.Maps) func(context.Context, *evaluation) decision {
	return func(ctx context.Context, e *evaluation) decision {
		if e.req.Helo == "" {
			return dunno
		}
		found, d, ok := e.find(ctx, m, table.HostKeys(e.req.Helo, c.p.parentsWithoutDot), e.req.Helo, classHelo)
		if !ok {
			return dunno
		}
		return e.act(ctx, found, d, e.req.Helo, classHelo)
	}
}

func checkSender(c *compiler, m *table.Maps) func(context.Context, *evaluation) decision {
	return func(ctx context.Context, e *evaluation) decision {
		if !e.req.HasSender {
			return dunno
		}
		return e.checkAddress(ctx, c, m, e.req.Sender, classSender)
	}
}

func checkRecipient(c *compiler, m *table.Maps) func(context.Context, *evaluation) decision {
	return func(ctx context.Context, e *evaluation) decision {
		if !e.req.HasRcpt {
			return dunno
		}
		d := e.checkAddress(ctx, c, m, e.req.Recipient, classRecipient)
		if d.permit && strings.ContainsAny(e.req.Recipient.Local, "@!%") && !c.p.allowUntrustedRouting {
			return dunno // the row speaks for the outer domain, not for where the mail would go
		}
		return d
	}
}

func (e *evaluation) checkAddress(ctx context.Context, c *compiler, m *table.Maps, a address.Address, class string) decision {
	keys := table.AccessAddressKeys(e.p.router.Rewrite(a), c.p.delimiter, c.p.parentsWithoutDot)
	if a.IsNull() {
		keys = table.OnlyKey(c.p.nullKey)
	}
	found, d, ok := e.find(ctx, m, keys, a.Internal(), class)
	if !ok {
		return dunno
	}
	return e.act(ctx, found, d, a.Internal(), class)
}

// find asks an access table. ok is false when it has no row; the decision is
// set when the table failed.
func (e *evaluation) find(ctx context.Context, m *table.Maps, keys func(func(table.Key) bool), name, class string) (table.Found, decision, bool) {
	found, err := m.Find(ctx, keys, e.observer())
	switch {
	case err == nil:
		return found, dunno, true
	case errors.Is(err, table.ErrNotFound):
		return found, dunno, false
	}
	e.p.log.Warningf("%s: %v", m.Parameter, err)
	return found, e.rejectAs(name, class, 451, "4.3.5", "Server configuration error"), true
}

func (e *evaluation) observer() table.Observer { return e.trace.Observer() }

// act carries out the result of an access(5) table.
func (e *evaluation) act(ctx context.Context, found table.Found, failed decision, name, class string) decision {
	if !failed.reply.IsZero() {
		return failed
	}
	value := strings.TrimSpace(found.Value)
	verb, text, _ := strings.Cut(value, " ")
	text = strings.TrimSpace(text)
	verb = strings.ToUpper(verb)
	switch verb {
	case "OK", "RELAY":
		return permit
	case "DUNNO":
		return dunno
	case "REJECT":
		return e.refuse(name, class, e.p.codes["access_map_reject_code"], "5.7.1", text, "Access denied")
	case "DEFER":
		return e.refuse(name, class, e.p.codes["access_map_defer_code"], "4.7.1", text, "Access denied")
	case "DEFER_IF_PERMIT":
		e.deferIfPermit(e.refuse(name, class, 450, "4.7.1", text, "Service unavailable").reply)
		return dunno
	case "DEFER_IF_REJECT":
		e.deferIfReject(e.refuse(name, class, 450, "4.7.1", text, "Service unavailable").reply)
		return dunno
	case "HANGUP":
		e.hangup = true
		return e.rejectAs(name, class, 521, "5.7.1", "Access denied")
	case "INFO", "WARN":
		e.note(strings.ToLower(verb), text)
		return dunno
	case "PREPEND", "REDIRECT", "BCC", "DISCARD":
		return e.effect(verb, text, name, class)
	case "HOLD", "FILTER":
		e.p.log.Warningf("%s: action %s of %s is not available", found.Table.Name(), verb, name)
		return e.rejectAs(name, class, 451, "4.3.5", "Server configuration error")
	}
	if allDigits(value) {
		return permit
	}
	if d, ok := e.numeric(verb, text, name, class, found); ok {
		return d
	}
	return e.asList(ctx, value, name, class, found)
}

// effect records a side effect for the whole message.
func (e *evaluation) effect(verb, text, name, class string) decision {
	if verb != "DISCARD" && text == "" || verb == "PREPEND" && !strings.Contains(text, ":") {
		e.p.log.Warningf("access action %s for %s: missing or bad argument %q", verb, name, text)
		return dunno
	}
	e.actions = append(e.actions, Action{verb, text})
	if verb == "PREPEND" {
		return dunno
	}
	e.note(strings.ToLower(verb), "<"+name+">: "+class+" triggers "+verb+" "+text)
	if verb == "DISCARD" {
		e.discarded = true
		return permit
	}
	return dunno
}

// refuse words a reject with an optional enhanced code at the front of text.
func (e *evaluation) refuse(name, class string, code int, dsn, text, fallback string) decision {
	if word, rest, _ := strings.Cut(text, " "); smtp.ValidEnhanced(word) {
		dsn, text = word, strings.TrimSpace(rest)
	}
	if text == "" {
		text = fallback
	}
	return e.rejectAs(name, class, code, dsn, text)
}

// numeric handles "4NN text" and "5NN text".
func (e *evaluation) numeric(verb, text, name, class string, found table.Found) (decision, bool) {
	if len(verb) != 3 || !allDigits(verb) {
		return dunno, false
	}
	code := int(verb[0]-'0')*100 + int(verb[1]-'0')*10 + int(verb[2]-'0')
	if code < 400 || code > 599 || text == "" {
		e.p.log.Warningf("%s: SMTP reply code configuration error: %s", found.Table.Name(), found.Value)
		return decision{reply: smtp.R(450, "4.7.1", "Service unavailable")}, true
	}
	return e.refuse(name, class, code, string(verb[0])+".7.1", text, "Access denied"), true
}

// asList takes a result for a list of restrictions that need no argument.
func (e *evaluation) asList(ctx context.Context, value, name, class string, found table.Found) decision {
	if e.depth >= maxNesting || strings.Contains(value, ":") {
		e.p.log.Warningf("%s: %q for %s is neither an action nor a list of restrictions", found.Table.Name(), found.Value, name)
		return e.rejectAs(name, class, 451, "4.3.5", "Server configuration error")
	}
	e.depth++
	defer func() { e.depth-- }()
	for _, w := range words(value) {
		w = strings.ToLower(w)
		var d decision
		if check, ok := builtin[w]; ok {
			d = check(ctx, e)
		} else if _, ok := e.p.classes[w]; ok {
			d = e.nested(ctx, w)
		} else {
			e.p.log.Warningf("%s: unknown smtpd restriction: %q", found.Table.Name(), w)
			return e.rejectAs(name, class, 451, "4.3.5", "Server configuration error")
		}
		if d != dunno {
			return d
		}
	}
	return dunno
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// fitDSN makes an enhanced code fit the reply code and what is refused: a x.1.y
// about a sender is not one about a recipient.
func fitDSN(code int, dsn, class string) string {
	first := string(rune('0' + code/100))
	detail, ok := strings.CutPrefix(dsn[1:], ".1.")
	if !ok {
		return first + dsn[1:]
	}
	fits := "" // what each detail from 0 to 8 becomes
	switch class {
	case classSender:
		fits = "078770778"
	case classRecipient:
		fits = "012345632"
	default:
		return first + ".0.0"
	}
	if len(detail) != 1 || detail[0] < '1' || detail[0] > '8' {
		return first + ".1.0"
	}
	return first + ".1." + fits[detail[0]-'0':][:1]
}
