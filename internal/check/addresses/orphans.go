package addresses

import (
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

// companionMaps are the tables with something about an address that is to be kept
// elsewhere.
var companionMaps = []string{
	"transport_maps", "smtpd_sender_login_maps", "virtual_uid_maps", "virtual_gid_maps", "recipient_bcc_maps",
	"sender_bcc_maps", "sender_dependent_relayhost_maps", "sender_dependent_default_transport_maps",
}

// examineOrphans is VD514: rows for an address of a hosted domain that has neither
// alias nor mailbox.
func (g *graph) examineOrphans(ctx context.Context) {
	for _, parameter := range companionMaps {
		for _, t := range g.list.Of(ctx, parameter) {
			for _, e := range t.Entries {
				if ctx.Err() != nil {
					return
				}
				if g.isOrphan(ctx, parameter, e) {
					g.orphan(parameter, t.Spec, e)
				}
			}
		}
	}
}

// isOrphan asks whether mail for the address of a row is refused because nobody has
// it. A row that refuses it on purpose is none.
func (g *graph) isOrphan(ctx context.Context, parameter string, e table.Entry) bool {
	at := strings.LastIndexByte(e.Key, '@')
	if at < 1 || meant(e.Key) != address.Fold(e.Key) || isWildcard(e.Key[:at]) {
		return false
	}
	transport, _, _ := strings.Cut(e.Value, ":")
	if parameter == "transport_maps" && slices.Contains([]string{"error", "retry", "discard"}, transport) {
		return false
	}
	a, err := address.Parse(e.Key)
	if err != nil || !g.list.Hosted(ctx, a.Domain) || g.isVeiled(ctx, a) {
		return false
	}
	verdict := g.router.CheckRecipient(ctx, address.Address{}, a, nil)
	if verdict.Resolution.Class == route.Default || verdict.Reply.Code/100 != 5 || verdict.Resolution.TransportBy == "relocated_maps" {
		return false
	}
	_, mapped := g.askAlias(ctx, a)
	return !mapped // an alias with a dead target is another mistake
}

// orphan is VD514.
func (g *graph) orphan(parameter, spec string, e table.Entry) {
	g.notes.addTo("VD514 "+parameter+" "+spec, note{code: "VD514", severity: finding.Warning, domain: address.Fold(address.Split(e.Key).Domain),
		name: e.Key, at: []origin.At{e.At()},
		message: func(names string, n int) string {
			return fmt.Sprintf("%s in %s: neither alias nor mailbox, so the row is for somebody who is gone, and counts again when the name is used again",
				names, parameter)
		},
		fix: fmt.Sprintf("take the row out of %s, or add the mailbox", spec)})
}
