package addresses

import (
	"context"
	"fmt"
	"strings"

	"postern/internal/address"
	"postern/internal/check/inventory"
	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/route"
)

// duties is VD506: postmaster@ and abuse@ of a hosted domain (RFC 2142). Local
// domains have the aliases of the host.
func (g *graph) duties(ctx context.Context, d inventory.Domain) {
	if d.Class != route.VirtualAlias && d.Class != route.VirtualMailbox {
		return
	}
	for _, local := range []string{"postmaster", "abuse"} {
		a := address.Address{Local: local, Domain: d.Name}
		if reply := g.router.CheckRecipient(ctx, address.Address{}, a, nil).Reply; reply.Code/100 != 5 {
			continue
		}
		g.notes.addTo("VD506", note{code: "VD506", severity: finding.Info, domain: d.Name, name: a.Internal(), at: []origin.At{d.At},
			message: says("complaints and block lists write to addresses that are not there: %s"),
			fixes:   func(names string) string { return "add aliases for " + names }})
	}
}

// forwarded is VD502: aliases that send mail on to other hosts under the name of
// its sender.
func (g *graph) forwarded(from string, at origin.At) {
	for _, parameter := range []string{"sender_canonical_maps", "canonical_maps"} {
		if strings.TrimSpace(g.settings.String(parameter)) != "" {
			return
		}
	}
	g.notes.addTo("VD502", note{code: "VD502", severity: finding.Info, name: from, at: []origin.At{at},
		message: func(names string, n int) string {
			return fmt.Sprintf("%s outside with the sender as it is, which SPF does not allow to this host: %s", forward(n), names)
		},
		fix: "rewrite the envelope sender of forwarded mail (SRS, by sender_canonical_maps), or let the target fetch the mail"})
}

func forward(n int) string {
	if n == 1 {
		return "an alias forwards"
	}
	return fmt.Sprintf("%d aliases forward", n)
}
