package addresses

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"postern/internal/access"
	"postern/internal/address"
	"postern/internal/check/inventory"
	"postern/internal/config"
	"postern/internal/explain"
	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/route"
	"postern/internal/table"
)

// domainLists are the parameters that decide about the class of a domain.
var domainLists = []string{"mydestination", "virtual_alias_domains", "virtual_mailbox_domains", "relay_domains"}

// examineDomains looks at every domain that a list has.
func (g *graph) examineDomains(ctx context.Context) {
	for _, d := range g.list.Domains(ctx) {
		if ctx.Err() != nil {
			return
		}
		g.judgeDomain(ctx, d.Name)
		g.duties(ctx, d)
		if d.Class != route.Default {
			g.judgeStranger(ctx, d)
		}
	}
	g.judgeOpenEnds(ctx)
	if !g.onlySends(ctx) {
		g.judgeDomain(ctx, anyDomain)
	}
}

// anyDomain is a domain that nobody has.
const anyDomain = "nosuchdomain7f3k9q2zx.example"

// explainDomain looks at the domain of one address.
func (g *graph) explainDomain(ctx context.Context, a address.Address, e *explain.Explanation) {
	class, _, ok := g.class(ctx, a.Domain)
	if !ok {
		return
	}
	if class == route.Default {
		g.explainNowhere(ctx, a, e)
		return
	}
	g.judgeDomain(ctx, a.Domain)
	if class == route.VirtualMailbox {
		g.judgeOpenEnds(ctx)
	}
}

// judgeDomain reports a domain that has more than one class.
func (g *graph) judgeDomain(ctx context.Context, domain string) {
	domain = address.Fold(domain)
	listed := g.router.Listed(ctx, domain)
	by := map[route.Class]route.Why{}
	for _, why := range listed {
		by[why.Class] = why
	}
	local, isLocal := by[route.Local]
	alias, isAlias := by[route.VirtualAlias]
	box, isBox := by[route.VirtualMailbox]
	relay, isRelay := by[route.Relay]
	patterned := isAlias && g.byPattern(ctx, alias)
	if isLocal && isBox {
		g.twoClasses(domain, local, box)
	} else if isLocal && isAlias && !patterned {
		g.twoClasses(domain, local, alias)
	}
	switch {
	case isAlias && isBox:
		g.alsoAlias(domain, alias, box)
	case isAlias && isRelay && !isLocal && !g.byPattern(ctx, relay) && !strings.HasPrefix(relay.Table, "static:") && address.Fold(strings.TrimPrefix(relay.Key, ".")) == domain:
		g.alsoAlias(domain, alias, relay)
	}
	if patterned {
		g.patternDomain(domain, alias, "virtual_alias_maps", isBox || isRelay)
	}
	if isBox && !isLocal && g.byPattern(ctx, box) {
		g.patternDomain(domain, box, "virtual_mailbox_maps", true)
	}
}

// places are where a list has a domain: the row or word, and the parameter.
func (g *graph) places(why route.Why) []origin.At {
	at := g.parameter(why.Parameter)
	switch {
	case why.At.IsZero():
		return []origin.At{at}
	case why.At.File == at.File && why.At.Line == at.Line:
		return []origin.At{why.At}
	}
	return []origin.At{why.At, at}
}

// twoClasses is VD101.
func (g *graph) twoClasses(domain string, local, virtual route.Why) {
	g.notes.add(note{code: "VD101", severity: finding.Error, domain: domain, name: domain,
		at: append(g.places(local), g.places(virtual)...),
		message: func(names string, n int) string {
			return fmt.Sprintf("%s %s local (mydestination) and in %s; local wins, so recipients are searched among the system users",
				names, is(n), virtual.Parameter)
		},
		fixes: func(names string) string {
			return fmt.Sprintf("take %s out of mydestination (mydestination = localhost), or out of %s", names, virtual.Parameter)
		}})
}

func is(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// alsoAlias is VD102.
func (g *graph) alsoAlias(domain string, alias, other route.Why) {
	n := note{code: "VD102", severity: finding.Error, domain: domain, name: domain,
		at: append(g.places(alias), g.places(other)...),
		fixes: func(names string) string {
			return fmt.Sprintf("take %s out of virtual_alias_domains: aliases work in %s without it", names, other.Parameter)
		}}
	why := "listed in virtual_alias_domains"
	if !g.settings.Value("virtual_alias_domains").Set {
		why = fmt.Sprintf("an alias domain because virtual_alias_domains is not set, so that every key of virtual_alias_maps counts, %q too", alias.Key)
		n.fix, n.fixes = "virtual_alias_domains =", nil
	}
	n.message = func(names string, count int) string {
		return fmt.Sprintf("%s %s in %s, and %s; the alias domain wins, and recipients without an alias are unknown",
			names, is(count), other.Parameter, why)
	}
	g.notes.add(n)
}

// byPattern reports a domain that a rule of a pattern table answers for.
func (g *graph) byPattern(ctx context.Context, why route.Why) bool {
	for _, t := range g.list.Of(ctx, why.Parameter) {
		if t.Spec == why.Table {
			return t.Pattern
		}
	}
	return false
}

// patternDomain is VD513: a pattern that means addresses answers a bare domain name.
// lost says that the domain has mailboxes, or should be hosted by nobody here.
func (g *graph) patternDomain(domain string, why route.Why, maps string, lost bool) {
	if !g.isMaps(why, maps) {
		return // a pattern for domains, as somebody wrote it
	}
	name := domain
	if domain == anyDomain {
		name = "of any domain"
	}
	n := note{code: "VD513", severity: finding.Warning, domain: domain, name: name, at: g.places(why),
		message: says("a pattern of " + maps + " answers the bare name %s too, and " + why.Parameter + ", which is not set, makes it a domain of this host"),
		fix:     "let the pattern match addresses only, with an @ in it, or add: " + why.Parameter + " ="}
	if lost {
		n.severity = finding.Error
	}
	if why.Parameter == "virtual_mailbox_domains" {
		n.fix = "list the domains in virtual_mailbox_domains"
	}
	g.notes.add(n)
}

// isMaps reports a domain list that is an address table, as by default.
func (g *graph) isMaps(why route.Why, maps string) bool {
	return g.settings.String(why.Parameter) == g.settings.String(maps)
}

// ownOutput is VD513: a pattern that answers its own result.
func (g *graph) ownOutput(h *hop, severity finding.Severity) {
	g.notes.add(note{code: "VD513", severity: severity, domain: address.Fold(address.Split(h.from).Domain), name: h.from, at: []origin.At{h.place(g)},
		message: func(string, int) string {
			return fmt.Sprintf("a pattern of %s answers its own result: %s -> %s, and so on", h.parameter, h.from, strings.Join(h.to, ", "))
		},
		fix: fmt.Sprintf("let the pattern at %v match only what it is meant for, not its result", h.place(g).RelativeTo(g.setup.Dir))})
}

// judgeStranger follows somebody unknown in a domain: a catch-all must lead
// somewhere.
func (g *graph) judgeStranger(ctx context.Context, d inventory.Domain) {
	s := g.stranger(ctx, d.Name)
	if !s.caught {
		return
	}
	p := g.follow(ctx, s.address)
	g.judge(ctx, p)
	g.judgeForwarding(p)
	if s.found.Key.Kind == table.Full {
		for _, user := range g.someUsers(ctx) {
			g.examineExtension(ctx, address.Address{Local: user, Domain: d.Name})
		}
	}
}

// mostUsers is how many names are tried in a domain whose users are those of
// another one.
const mostUsers = 20

// someUsers are local parts of mailboxes.
func (g *graph) someUsers(ctx context.Context) []string {
	var users []string
	for _, t := range g.list.Of(ctx, "virtual_mailbox_maps") {
		for _, e := range t.Entries {
			if local, _, ok := strings.Cut(e.Key, "@"); ok && local != "" && len(users) < mostUsers {
				users = append(users, local)
			}
		}
	}
	return users
}

// judgeOpenEnds is VD208, case (a): mailbox domains without a list of recipients.
func (g *graph) judgeOpenEnds(ctx context.Context) {
	v := g.settings.Value("virtual_mailbox_maps")
	wanted := g.wantsVerified()
	if strings.TrimSpace(v.Text) != "" || g.lost("virtual_mailbox_maps") || wanted && !access.PassedOver(verifying) {
		return
	}
	text := "virtual_mailbox_maps is empty, so every address of %s is accepted, and mail for those that do not exist bounces later"
	if wanted {
		text += "; " + verifying + " has no effect here"
	}
	var domain *inventory.Domain
	for _, d := range g.list.Domains(ctx) {
		if d.Class == route.VirtualMailbox {
			domain = &d
			break
		}
	}
	if domain == nil {
		return
	}
	g.notes.add(note{code: "VD208", severity: finding.Warning, domain: domain.Name, name: domain.Name,
		at:      []origin.At{g.parameter("virtual_mailbox_maps"), domain.At},
		message: says(text), fix: "list the mailboxes in virtual_mailbox_maps"})
}

// lost reports a parameter that is written where it is part of another one, or with a
// value that cannot be used: that is said already (VD310).
func (g *graph) lost(parameter string) bool {
	if slices.ContainsFunc(config.Faults(g.setup.Fault), func(f *config.Fault) bool { return f.At.Parameter == parameter }) {
		return true
	}
	return slices.ContainsFunc(g.settings.Warnings(), func(p config.Problem) bool {
		return p.Kind == config.Swallowed && strings.HasSuffix(p.Text, ": "+parameter) || p.Kind == config.Wrong && p.Parameter == parameter
	})
}

// verifying is the restriction that asks the server of a mailbox whether it is there.
const verifying = "reject_unverified_recipient"

// wantsVerified reports whether recipients are to be verified where they are delivered.
func (g *graph) wantsVerified() bool {
	for _, parameter := range []string{"smtpd_recipient_restrictions", "smtpd_relay_restrictions"} {
		if strings.Contains(g.setup.Service.String(parameter), verifying) {
			return true
		}
	}
	return false
}
