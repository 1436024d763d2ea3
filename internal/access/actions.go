package access

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"postern/internal/address"
	"postern/internal/header"
	"postern/internal/route"
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

// checkEtrn looks up the domain of ETRN.
func checkEtrn(c *compiler, m *table.Maps) func(context.Context, *evaluation) decision {
	return func(ctx context.Context, e *evaluation) decision {
		if e.req.Domain == "" {
			return dunno
		}
		found, d, ok := e.find(ctx, m, table.HostKeys(e.req.Domain, c.p.parentsWithoutDot), e.req.Domain, classEtrn)
		if !ok {
			return dunno
		}
		return e.act(ctx, found, d, e.req.Domain, classEtrn)
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
		return e.checkAddress(ctx, c, m, e.req.Recipient, classRecipient)
	}
}

// checkAddress looks an address up as it is resolved: john%example.org@localhost
// is john@example.org. A row never permits a recipient that wants to be sent on,
// for it speaks of the outer domain.
func (e *evaluation) checkAddress(ctx context.Context, c *compiler, m *table.Maps, a address.Address, class string) decision {
	asked := e.p.router.Rewrite(a)
	routed := false
	if strings.ContainsAny(asked.Local, "@!%") {
		res, err := e.p.router.Resolve(ctx, asked, address.Address{}, e.trace)
		var f *route.Failure
		if errors.As(err, &f) {
			return decision{reply: route.FailureReply(a, class, err)}
		}
		if err == nil {
			asked, routed = res.Address, res.Routed
		}
	}
	asked = address.Address{Local: address.Fold(asked.Local), Domain: address.Fold(asked.Domain)}
	keys := table.AccessAddressKeys(asked, c.p.delimiter, c.p.parentsWithoutDot)
	if a.IsNull() {
		keys = table.OnlyKey(c.p.nullKey)
	}
	found, d, ok := e.find(ctx, m, keys, a.Internal(), class)
	if !ok {
		return dunno
	}
	d = e.act(ctx, found, d, a.Internal(), class)
	if d.permit && routed && class == classRecipient && !c.p.allowUntrustedRouting {
		return dunno
	}
	return d
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
	verb, text := value, ""
	if i := strings.IndexAny(value, " \t"); i >= 0 {
		verb, text = value[:i], strings.TrimSpace(value[i:])
	}
	switch verb = strings.ToUpper(verb); verb {
	case "OK", "RELAY":
		return permit
	case "DUNNO":
		return dunno
	case "REJECT":
		return e.refuse(name, class, e.p.codes["access_map_reject_code"], "5.7.1", text, "Access denied")
	case "DEFER":
		return e.refuse(name, class, e.p.codes["access_map_defer_code"], "4.7.1", text, "Access denied")
	case "DEFER_IF_PERMIT":
		e.deferIfPermit(e.refuse(name, class, e.p.codes["access_map_defer_code"], "4.7.1", text, "Service unavailable").reply)
		return dunno
	case "DEFER_IF_REJECT":
		e.deferIfReject(e.refuse(name, class, e.p.codes["access_map_defer_code"], "4.7.1", text, "Service unavailable").reply)
		return dunno
	case "HANGUP":
		e.hangup = true
		return e.rejectAs(name, class, 521, "5.7.1", "Access denied")
	case "INFO", "WARN":
		e.note(strings.ToLower(verb), text)
		return dunno
	case "PREPEND", "REDIRECT", "BCC", "DISCARD", "HOLD":
		return e.effect(verb, text, name, class)
	case "FILTER":
		e.p.log.Warningf("%s: action %s of %s is not available", found.Table.Name(), verb, name)
		return misconfigured
	}
	if allDigits(value) {
		return permit
	}
	if len(verb) == 3 && (verb[0] == '4' || verb[0] == '5') && allDigits(verb) {
		code := int(verb[0]-'0')*100 + int(verb[1]-'0')*10 + int(verb[2]-'0')
		return e.refuse(name, class, code, verb[:1]+".7.1", text, "Access denied")
	}
	return e.asList(ctx, value, name, class, found)
}

// effect records a side effect for the whole message. Where there is no
// message, because rejects are not delayed, it is left out with a warning.
func (e *evaluation) effect(verb, text, name, class string) decision {
	if !e.req.HasSender {
		e.p.log.Warningf("access action %s for %s: there is no effect on mail before MAIL FROM", verb, name)
		return dunno
	}
	good := true
	switch verb {
	case "PREPEND":
		good = header.Len([]byte(text)) == len(text) && text != ""
	case "REDIRECT", "BCC":
		good = strings.Contains(text, "@")
	}
	if !good {
		e.p.log.Warningf("access action %s for %s: missing or bad argument %q", verb, name, text)
		return dunno
	}
	e.actions = append(e.actions, Action{verb, text})
	if verb == "PREPEND" {
		return dunno
	}
	what := "triggers " + verb + " " + text
	if verb == "DISCARD" || verb == "HOLD" {
		what = cmp.Or(text, "triggers "+verb+" action")
	}
	e.note(strings.ToLower(verb), "<"+name+">: "+class+" "+what)
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

// asList takes a result for a list of restrictions that need no argument. They
// speak of what was looked up: "<NAME>: CLASS rejected: ...".
func (e *evaluation) asList(ctx context.Context, value, name, class string, found table.Found) decision {
	if e.depth >= maxNesting || strings.Contains(value, ":") {
		e.p.log.Warningf("%s: %q for %s is neither an action nor a list of restrictions", found.Table.Name(), found.Value, name)
		return misconfigured
	}
	before := e.about
	e.about = about{name, class}
	e.depth++
	defer func() { e.depth, e.about = e.depth-1, before }()
	var list []restriction
	warn := false
	for _, w := range words(value) {
		w = newName(strings.ToLower(w))
		r := restriction{name: w, warn: warn}
		warn = w == "warn_if_reject"
		if warn {
			continue
		}
		if r.check = builtin[w]; r.check == nil {
			r.check = e.byName(w, found)
		}
		list = append(list, r)
	}
	return e.run(ctx, list)
}

// byName is the check of a word in an access table that is no restriction of
// the manual: one of smtpd_restriction_classes, or a mistake.
func (e *evaluation) byName(name string, found table.Found) func(context.Context, *evaluation) decision {
	if _, ok := e.p.classes[name]; ok {
		return func(ctx context.Context, e *evaluation) decision { return e.nested(ctx, name) }
	}
	if _, ok := absent[name]; ok {
		return func(context.Context, *evaluation) decision { return dunno }
	}
	return func(_ context.Context, e *evaluation) decision {
		e.p.log.Warningf("%s: unknown smtpd restriction: %q", found.Table.Name(), name)
		return misconfigured
	}
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
