package addresses

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"postern/internal/address"
	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/route"
)

// judge reports what is wrong with the ways of a path and with its ends.
func (g *graph) judge(ctx context.Context, p *path) {
	if p.loop != nil {
		g.circular(ctx, p)
	}
	if p.failed {
		return
	}
	for _, h := range p.hops {
		if h.prev != nil && sameRow(h, h.prev) && !h.isFinal() && p.loop == nil && g.isPattern(ctx, h) {
			g.ownOutput(h.prev, finding.Warning)
		}
	}
	for _, e := range p.ends {
		g.judgeEnd(ctx, e)
	}
}

// isFinal reports an alias that has itself among its targets.
func (h *hop) isFinal() bool { return slices.Contains(h.to, address.Fold(h.from)) }

// circular reports a circle, or an alias that is too large.
func (g *graph) circular(ctx context.Context, p *path) {
	n := note{code: "VD207", severity: finding.Error, domain: address.Fold(p.given.Domain), name: p.given.Internal()}
	if p.limit != "" {
		row, limit := p.loop[0], g.settings.Int(p.limit)
		n.at = []origin.At{row.place(g), g.parameter(p.limit)}
		n.message = func(string, int) string {
			if len(row.to) > limit {
				return fmt.Sprintf("%s expands to %d addresses, and %s is %d: its mail is deferred until it is given up",
					cut(row.from), len(row.to), p.limit, limit)
			}
			return fmt.Sprintf("%s expands beyond %s = %d: its mail is deferred until it is given up", cut(row.from), p.limit, limit)
		}
		n.fix = "make " + cut(row.from) + " smaller or a list of its own, or raise " + p.limit
		g.notes.add(n)
		return
	}
	rows := turned(p.loop)
	for _, h := range rows {
		n.at = append(n.at, h.place(g))
	}
	if p.grown != "" {
		g.growing(p, n)
	} else {
		n.message = func(string, int) string {
			return fmt.Sprintf("aliases lead in a circle: %s; mail for them cannot be delivered", chain(rows, rows[0].from))
		}
		n.fix = fmt.Sprintf("let %s lead to a mailbox, or take it out of %v", cut(rows[0].from), n.at[0].RelativeTo(g.setup.Dir))
		g.notes.add(n)
	}
	for _, h := range rows {
		if g.isPattern(ctx, h) {
			g.ownOutput(h, finding.Error)
		}
	}
}

// growing reports aliases that make an address longer each time.
func (g *graph) growing(p *path, n note) {
	first := p.loop[0]
	n.message = func(string, int) string {
		return fmt.Sprintf("an alias answers its own result, and the address gets longer each time: %s, and so on; mail for it cannot be delivered",
			chain(p.loop, p.grown))
	}
	n.fix = fmt.Sprintf("let the row for %s lead to an address that it does not answer itself", cut(first.key))
	if own := g.extended(first); own != "" {
		n.fix = fmt.Sprintf("add an alias of %s to itself, or take the extension out of the row for %s", cut(own), cut(first.key))
	}
	g.notes.add(n)
}

// extended is the target of a row that is its key with an extension, "" without one.
func (g *graph) extended(h *hop) string {
	list, _ := address.ParseList(h.raw) // the resolver has said what is wrong with it
	for _, t := range list {
		t = g.router.Rewrite(t)
		user, ext := g.router.Extension(t.Local)
		if base := (address.Address{Local: user, Domain: t.Domain}); ext != "" && address.Fold(base.Internal()) == h.key {
			return t.Internal()
		}
	}
	return ""
}

// chain are the addresses of rows and the last result, for reading.
func chain(rows []*hop, result string) string {
	names := make([]string, 0, len(rows)+1)
	for _, h := range rows {
		names = append(names, cut(h.from))
	}
	return strings.Join(append(names, cut(result)), " -> ")
}

// maxShown is how much of an address a message shows.
const maxShown = 60

// cut is shown, shortened where it is too long to be read.
func cut(text string) string {
	if text = shown(text); len(text) <= maxShown {
		return text
	}
	return strings.ToValidUTF8(text[:maxShown], "") + "..."
}

// place is the place of the row, or of the parameter that names its table.
func (h *hop) place(g *graph) origin.At {
	if len(h.at) > 0 {
		return h.at[0]
	}
	return g.parameter(h.parameter)
}

// judgeEnd reports an end at which no mail can arrive.
func (g *graph) judgeEnd(ctx context.Context, e end) {
	if e.by == nil {
		return // the address itself is unknown: nobody promised anything
	}
	if g.originEnd(e) {
		return
	}
	switch {
	case e.err != nil:
		e.refusal, e.permanent, e.class = "it is no address that can exist", true, route.Default
	case e.refusal == "":
		if e.class == route.Default && g.isBare(e) && e.res.TransportBy == "default_transport" && !g.onlySends(ctx) {
			g.bareTarget(e)
		}
		return
	case !e.permanent, g.onPurpose(e), g.isVeiled(ctx, e.address):
		return
	}
	switch {
	case g.isBare(e):
		g.bareTarget(e)
	case e.class == route.VirtualAlias && e.err == nil:
		g.aliasDomainEnd(ctx, e)
	case g.sameUser(ctx, e):
		g.domainOntoDomain(ctx, e)
	default:
		g.deadEnd(ctx, e)
	}
}

// onPurpose reports an end that a row of transport_maps or relocated_maps decided
// about: such an address is closed, or known elsewhere.
func (g *graph) onPurpose(e end) bool {
	switch e.res.TransportBy {
	case "relocated_maps":
		return true
	case "transport_maps":
		return e.res.Transport == "error" || !g.settings.Bool("smtpd_reject_unlisted_target")
	}
	return false
}

// isBare reports an end that was written without a domain in a table in which that
// means myorigin. In aliases(5) it means a local user, as it should.
func (g *graph) isBare(e end) bool {
	if e.by.parameter == "alias_maps" || address.Fold(e.address.Domain) != address.Fold(g.settings.String("myorigin")) {
		return false
	}
	words, _ := address.ParseList(e.by.raw) // the resolver has said what is wrong with it
	user, _ := g.router.Extension(e.address.Local)
	for _, w := range words {
		if w.Domain == "" && (w.Local == e.address.Local || w.Local == user) {
			return true
		}
	}
	return false
}

// bareTarget is VD209.
func (g *graph) bareTarget(e end) {
	bare := e.address.Local
	why := "which is not local"
	if e.class != route.Default {
		why = "and there is no such user"
	}
	g.notes.addTo("VD209 "+e.by.parameter+why, note{code: "VD209", severity: finding.Error, domain: address.Fold(e.address.Domain),
		name: fmt.Sprintf("%q", bare), at: []origin.At{e.by.place(g)},
		message: func(names string, n int) string {
			if n > 1 {
				return fmt.Sprintf("%s in %s have no domain and get that of myorigin, as in %s, %s", names, e.by.parameter, e.address, why)
			}
			return fmt.Sprintf("%s, which %s names for %s, becomes %s (myorigin), %s", names, e.by.parameter, shown(e.sender), e.address, why)
		},
		fix: fmt.Sprintf("write the whole address in the place of %q, with its domain", bare)})
}

// originEnd is VD209 where myorigin is no domain (the name of a file), so that every
// name without a domain becomes no address. It reports whether that is so.
func (g *graph) originEnd(e end) bool {
	domain := address.Fold(g.settings.String("myorigin"))
	if route.ValidHostname(domain) || route.ValidLiteral(domain) ||
		!strings.Contains(address.Fold(e.address.Internal()+" "+e.refusal), "@"+domain) {
		return false
	}
	g.notes.add(note{code: "VD209", severity: finding.Error, domain: domain, name: shown(e.sender),
		at: []origin.At{g.parameter("myorigin"), e.by.place(g)},
		message: func(names string, _ int) string {
			return fmt.Sprintf("myorigin is %q, which is no domain: targets without a domain become no addresses, and mail for %s bounces", domain, names)
		},
		fix: "write a domain: myorigin = " + g.settings.String("myhostname")})
	return true
}

// aliasDomainEnd is VD202.
func (g *graph) aliasDomainEnd(ctx context.Context, e end) {
	domain := address.Fold(e.address.Domain)
	if g.byPattern(ctx, e.res.Why) && g.isMaps(e.res.Why, "virtual_alias_maps") {
		g.patternDomain(domain, e.res.Why, "virtual_alias_maps", false)
		return // which makes it an alias domain by mistake
	}
	near := g.nearTarget(ctx, e)
	if address.Fold(e.sender) == address.Fold(e.address.Internal()) && !strings.HasPrefix(e.by.key, "@") {
		g.notes.add(note{code: "VD202", severity: finding.Error, domain: domain, name: e.address.Internal(), near: near,
			at:      []origin.At{e.by.place(g), e.res.Why.At},
			message: says("%s has an alias that leads to itself and nowhere else: " + domain + " is an alias domain, which has no mailboxes"),
			fix:     fmt.Sprintf("point %s at a mailbox or at an address elsewhere, or make %s a mailbox domain", shown(e.sender), domain)})
		return
	}
	r := g.reviveAddress(ctx, e.address, e.class)
	cure := cmp.Or(r.cure, fmt.Sprintf("add a row for %s to virtual_alias_maps", e.address))
	g.notes.add(note{code: "VD202", severity: finding.Error, domain: domain, name: e.address.Internal(), near: near,
		at: append([]origin.At{e.by.place(g), e.res.Why.At}, r.at...),
		message: func(names string, n int) string {
			return fmt.Sprintf("%s -> %s: %s is an alias domain, which has no mailboxes, and has no row for %s%s",
				shown(e.sender), names, domain, them(n), r.because)
		},
		fix: fmt.Sprintf("point %s at a mailbox or at an address elsewhere, or %s", shown(e.sender), cure)})
}

func them(n int) string {
	if n > 1 {
		return "them"
	}
	return "it"
}

// deadEnd is VD208, cases (b) and (c).
func (g *graph) deadEnd(ctx context.Context, e end) {
	n := note{code: "VD208", severity: finding.Error, domain: address.Fold(e.address.Domain), name: e.address.Internal(),
		at: []origin.At{e.by.place(g)}}
	if address.Fold(e.sender) == address.Fold(e.address.Internal()) {
		if !strings.HasPrefix(e.by.key, "@") {
			g.selfOnly(ctx, e, n)
			return
		}
		e.sender = e.by.key // a catch-all that catches its own target
	}
	n.near = g.nearTarget(ctx, e)
	r := g.reviveAddress(ctx, e.address, e.class)
	n.at = append(n.at, r.at...)
	n.message = func(names string, _ int) string {
		return fmt.Sprintf("%s -> %s: %s%s; mail is refused, or bounces after it was accepted", shown(e.sender), names, e.refusal, r.because)
	}
	switch near := likely(n.near, e.address.Internal()); {
	case r.cure != "":
		n.fix = fmt.Sprintf("%s, or take %s out of the row for %s", r.cure, e.address, shown(e.sender))
	case near != "":
		n.fix = fmt.Sprintf("write %s in the place of %s, or add %[2]s to %s", near, e.address, recipientMaps(e.class))
	default:
		n.fix = fmt.Sprintf("add %s to %s, or take it out of the row for %s", e.address, recipientMaps(e.class), shown(e.sender))
	}
	g.notes.add(n)
}

// nearTarget are the addresses that a row may have meant by its target: not its own.
func (g *graph) nearTarget(ctx context.Context, e end) []string {
	return slices.DeleteFunc(g.list.Near(ctx, e.address.Internal()), func(near string) bool {
		return address.Fold(near) == address.Fold(e.by.key) || address.Fold(near) == address.Fold(e.sender)
	})
}

// selfOnly is VD208, case (b).
func (g *graph) selfOnly(ctx context.Context, e end, n note) {
	r := g.reviveAddress(ctx, e.address, e.class)
	n.at = append(n.at, r.at...)
	n.message = says("%s has an alias to itself and no mailbox: mail for it is refused, or bounces after it was accepted" + r.because)
	cure := cmp.Or(r.cure, fmt.Sprintf("add %s to %s", e.address, recipientMaps(e.class)))
	n.fix = fmt.Sprintf("%s, or take out the row %v", cure, n.at[0].RelativeTo(g.setup.Dir))
	g.notes.add(n)
}

// recipientMaps is where the recipients of a class are listed.
func recipientMaps(c route.Class) string {
	switch c {
	case route.Local:
		return "local_recipient_maps"
	case route.VirtualAlias:
		return "virtual_alias_maps"
	case route.Relay:
		return "relay_recipient_maps"
	}
	return "virtual_mailbox_maps"
}

// sameUser reports whether a row for a whole domain has sent the user on to the same
// name elsewhere.
func (g *graph) sameUser(ctx context.Context, e end) bool {
	asked := address.Split(e.sender)
	user, _ := g.router.Extension(asked.Local)
	local := address.Fold(e.address.Local)
	if local != address.Fold(asked.Local) && local != address.Fold(user) || e.by.parameter == "alias_maps" ||
		address.Fold(asked.Domain) == address.Fold(e.address.Domain) {
		return false
	}
	return strings.HasPrefix(e.by.key, "@") || g.isGeneral(ctx, asked.Domain, e.by)
}

// domainOntoDomain is VD208, case (d).
func (g *graph) domainOntoDomain(ctx context.Context, e end) {
	from, to := address.Fold(address.Split(e.sender).Domain), address.Fold(e.address.Domain)
	g.notes.add(note{code: "VD208", severity: finding.Warning, domain: to, name: from, at: []origin.At{e.by.place(g)},
		message: func(string, int) string {
			return fmt.Sprintf("every address of %s has an alias in %s, also those that do not exist there: "+
				"mail for them is refused only where the target is looked up, else it bounces after it was accepted", from, to)
		},
		fix: fmt.Sprintf("list the addresses of %s one by one, or let the alias table answer only for users that exist in %s", from, to)})
}

// judgeForwarding is VD512 and VD502: what is special about mail that goes outside.
func (g *graph) judgeForwarding(p *path) {
	_, ext := g.router.Extension(p.given.Local)
	for _, e := range p.ends {
		if e.by == nil || e.class != route.Default || e.refusal != "" || e.err != nil || g.isHost(address.Fold(e.address.Domain)) {
			continue
		}
		g.forwarded(shown(e.sender), e.by.place(g))
		if _, kept := g.router.Extension(e.address.Local); ext != "" && kept == ext {
			g.notes.add(note{code: "VD512", severity: finding.Info, domain: address.Fold(p.given.Domain), name: e.address.Internal(),
				at: []origin.At{e.by.place(g)}, message: func(names string, _ int) string {
					return fmt.Sprintf("the extension %s goes on to %s, and whether that server knows extensions is not known here", ext, names)
				},
				fix: "take virtual out of propagate_unmatched_extensions if mail for it is refused there"})
		}
	}
}
