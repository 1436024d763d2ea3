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
	"postern/internal/table"
)

// keyedMaps are the tables whose keys are addresses.
var keyedMaps = []string{
	"virtual_alias_maps", "virtual_mailbox_maps", "relay_recipient_maps",
	"recipient_canonical_maps", "canonical_maps",
}

// examineUnaskable is VD201 for rows: keys that no address has, although they look
// like a wildcard or a user.
func (g *graph) examineUnaskable(ctx context.Context) {
	for _, parameter := range keyedMaps {
		for _, t := range g.list.Of(ctx, parameter) {
			if t.Pattern {
				continue
			}
			for _, e := range t.Entries {
				g.judgeKey(ctx, parameter, e)
			}
		}
	}
}

func (g *graph) judgeKey(ctx context.Context, parameter string, e table.Entry) {
	at := strings.LastIndexByte(e.Key, '@')
	switch {
	case at >= 0 && isWildcard(e.Key[:at]):
		g.wildcard(parameter, e, address.Fold(e.Key[at:]))
	case at < 0 && parameter == "virtual_mailbox_maps" && meant(e.Key) == address.Fold(e.Key):
		g.bareMailbox(ctx, parameter, e)
	}
}

// isWildcard reports what other systems write for any user.
func isWildcard(local string) bool {
	switch local {
	case "*", "%", ".*", ".+", "?", "(.*)", "^.*":
		return true
	}
	return false
}

func (g *graph) wildcard(parameter string, e table.Entry, right string) {
	g.notes.add(note{code: "VD201", severity: finding.Error, domain: right[1:], name: e.Key, at: []origin.At{e.At()}, near: []string{right},
		message: says("%s in " + parameter + " is no wildcard: no address is looked up like that"),
		fix:     "write " + right + " for all other users of the domain"})
}

// bareMailbox is a mailbox without a domain: it is asked for only in the domain of
// myorigin, and in local domains, which have no such mailboxes.
func (g *graph) bareMailbox(ctx context.Context, parameter string, e table.Entry) {
	if strings.Contains(e.Key, ".") {
		// A domain, while virtual_mailbox_domains is $virtual_mailbox_maps.
		if class, _, ok := g.class(ctx, e.Key); !ok || class != route.Default {
			return
		}
	}
	if class, _, ok := g.class(ctx, g.settings.String("myorigin")); !ok || class == route.VirtualMailbox {
		return
	}
	var near []string
	for _, d := range g.list.Domains(ctx) {
		if d.Class != route.VirtualMailbox || len(near) == maxNear {
			continue
		}
		whole := address.Address{Local: address.Fold(e.Key), Domain: d.Name}
		if _, ok := g.ask(ctx, parameter, whole, table.ExternalFirst); ok {
			return // the query takes the address apart
		}
		near = append(near, whole.Internal())
	}
	fix := "write the whole address"
	if len(near) > 0 {
		fix += ", such as " + near[0]
	}
	g.notes.add(note{code: "VD201", severity: finding.Error, name: e.Key, at: []origin.At{e.At()}, near: near, fix: fix,
		message: says("%s in " + parameter + " has no domain: mailboxes of virtual domains are looked up as user@domain only")})
}

// explainUnknown is VD201 and VD202 for the address that was asked about.
func (g *graph) explainUnknown(ctx context.Context, p *path) {
	if p.failed {
		return
	}
	for _, e := range p.ends {
		if e.by != nil || e.err != nil || e.refusal == "" || !e.permanent ||
			e.res.Transport == "error" && e.res.TransportBy == "transport_maps" || e.res.TransportBy == "relocated_maps" {
			continue
		}
		near := g.list.Near(ctx, e.address.Internal())
		if e.class == route.VirtualAlias {
			g.unknownAlias(ctx, e, near)
			if likely(near, e.address.Internal()) == "" {
				continue // it is no spelling error, then
			}
		}
		g.unknown(ctx, e, near)
	}
}

// unknown is VD201: the domain is known, the recipient is not.
func (g *graph) unknown(ctx context.Context, e end, near []string) {
	maps := recipientMaps(e.class)
	n := note{code: "VD201", severity: finding.Error, domain: address.Fold(e.address.Domain), name: e.address.Internal(), near: near,
		fix: fmt.Sprintf("add %s to %s, or an alias for it to virtual_alias_maps", e.address, maps)}
	r := g.reviveAddress(ctx, e.address, e.class)
	at, because := g.mistaken(ctx, e.address)
	n.at = append(slices.Concat(at, r.at), g.parameter(maps))
	n.message = says("no row for %s in virtual_alias_maps or " + maps + cmp.Or(r.because, because))
	other := likely(near, e.address.Internal())
	if other != "" {
		n.fix = fmt.Sprintf("write %s if that is meant, or add %s to %s", other, e.address, maps)
	}
	if r.cure != "" {
		if n.fix = r.cure; other != "" {
			n.fix += fmt.Sprintf(", or write %s if that is meant", other)
		}
	}
	g.notes.add(n)
}

// mistaken are rows that were meant to answer for an address and do not: a wildcard
// of another system, a user without a domain.
func (g *graph) mistaken(ctx context.Context, a address.Address) (at []origin.At, because string) {
	for _, parameter := range keyedMaps {
		for _, t := range g.list.Of(ctx, parameter) {
			if t.Pattern {
				continue
			}
			for _, key := range []string{"*@", "%@", ".*@"} {
				for _, e := range t.Rows(key + a.Domain) {
					at, because = append(at, e.At()), fmt.Sprintf("; %s is no wildcard, write @%s", e.Key, a.Domain)
				}
			}
			if parameter == "virtual_mailbox_maps" {
				for _, e := range t.Rows(a.Local) {
					at, because = append(at, e.At()), fmt.Sprintf("; %s is there without its domain", e.Key)
				}
			}
		}
	}
	return at, because
}

// unknownAlias is VD202: an alias domain has no row for the address.
func (g *graph) unknownAlias(ctx context.Context, e end, near []string) {
	domain := address.Fold(e.address.Domain)
	r := g.reviveAddress(ctx, e.address, e.class)
	at := append(g.pointing(ctx, e.address), r.at...)
	fix := cmp.Or(r.cure,
		fmt.Sprintf("add a row for %s to virtual_alias_maps, or make %s a mailbox domain", e.address, domain))
	g.notes.add(note{code: "VD202", severity: finding.Error, domain: domain, name: e.address.Internal(), near: near,
		at:      append(at, g.places(e.res.Why)...),
		message: says("%s is unknown: " + domain + " is an alias domain, which has no mailboxes, and virtual_alias_maps has no row for it" + r.because),
		fix:     fix})
}

// pointing are the alias rows that have an address as a target.
func (g *graph) pointing(ctx context.Context, a address.Address) []origin.At {
	var at []origin.At
	text := address.Fold(a.Internal())
	for _, t := range g.list.Of(ctx, "virtual_alias_maps") {
		for _, e := range t.Entries {
			if len(at) < finding.MaxPlaces && strings.Contains(address.Fold(e.Value), text) && names(e.Value, a) {
				at = append(at, e.At())
			}
		}
	}
	return at
}

func names(value string, a address.Address) bool {
	list, _ := address.ParseList(value)
	for _, t := range list {
		if t.Equal(a) {
			return true
		}
	}
	return false
}
