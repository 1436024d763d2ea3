// Package addresses examines where addresses lead: domains that are in two lists or
// in none, aliases that end nowhere or in a circle, catch-alls that take the mail of
// mailboxes, rows that nobody asks for.
//
// What can be judged for one address is judged by following it with the server's own
// resolver (follow.go) and looking at the ends (judge.go, catchall.go). Address does
// so for the address that was asked about, Examine for every address that a row
// names, and for somebody unknown in every domain. What needs whole tables has a file
// of its own:
//
//	domains.go   a domain in two classes (VD101, VD102) or by a pattern (VD513)
//	nowhere.go   rows for a domain in no list (VD103, VD516)
//	unknown.go   rows that no address asks for, recipients that nobody knows (VD201, VD202)
//	order.go     two tables that answer one key differently (VD206, VD517)
//	orphans.go   rows for addresses that are gone (VD514)
//	dormant.go   rows that are there and inactive, for the cures
//	duties.go    what a domain owes the world: postmaster, forwarding (VD502, VD506)
//
// One cause gives one finding. Findings about one row are one (notes.go), and what
// follows from a cause that is reported already is left out: causes.go says what
// follows from what, veiled.go what is caused by a row that another room blames. An
// address that cannot be judged, because a table fails, is not judged.
//
// Limits: addresses that only a pattern or a database that cannot be listed knows
// are not enumerated; a pattern that spells out one address is followed. Forwarding
// is followed through maxForwards messages. A chain of more than fewAliases aliases is
// searched for a circle, and followed to the limits of the server only if it has none.
// Of findings of one kind about one domain the first maxAlike are told one by one.
//
// Not here: whether the mailbox can be written, and what other servers say of an
// address. Nothing is changed.
//
// It imports access, address, check/inventory, config, explain, finding, origin, route,
// setup and table, and golang.org/x/net/idna.
package addresses

import (
	"context"
	"sync"

	"postern/internal/address"
	"postern/internal/check/inventory"
	"postern/internal/config"
	"postern/internal/explain"
	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/route"
	"postern/internal/setup"
	"postern/internal/table"
)

// Examine reports what is wrong with the domains and addresses of a whole
// configuration. Without a router, which a configuration may be too broken to have,
// it has nothing to say.
func Examine(ctx context.Context, i *inventory.Inventory, report finding.Report) {
	s, _ := i.Snapshot(ctx) // a policy that cannot be made is no matter of addresses
	if s.Router == nil {
		return
	}
	g := newGraph(ctx, i, s)
	if quick, _ := i.Verdicts(ctx); quick.Router != nil {
		g.verdicts = quick.Router.UpTo(fewAliases)
	}
	g.examineDomains(ctx)
	g.examineRows(ctx)
	g.examineAddresses(ctx)
	g.notes.report(report)
}

// Address reports what concerns one explained address.
func Address(ctx context.Context, i *inventory.Inventory, e *explain.Explanation, report finding.Report) {
	given, err := address.Parse(e.Address)
	if err != nil || given.IsNull() || i.Setup.Router == nil {
		return
	}
	g := newGraph(ctx, i, i.Setup)
	a := g.router.Rewrite(given)
	g.explainDomain(ctx, a, e)
	g.explainCatchAll(ctx, a)
	p := g.follow(ctx, a)
	g.judge(ctx, p)
	g.judgeForwarding(p)
	g.explainUnknown(ctx, p)
	g.explainOrder(ctx, a, e)
	g.notes.report(report)
}

// graph is one examination: the resolver, the tables as it asks them, and what was
// found.
type graph struct {
	list      *inventory.Inventory
	setup     *setup.Setup // answers questions; its rows are those of list
	settings  *config.Settings
	router    *route.Router
	shallow   *route.Router // the same, which soon gives up a chain of aliases
	verdicts  *route.Router // and does not say where an answer is written
	delimiter address.Delimiter
	maps      map[string]*table.Maps
	notes     notes

	mu        sync.Mutex // guards what follows
	strangers map[string]*stranger
	veils     map[string]map[string]bool
	dormant   map[string][]dormant // nil until it is asked for
}

// asked are the parameters whose tables are asked here besides by the router.
var asked = []string{
	"virtual_alias_maps", "virtual_mailbox_maps", "relay_recipient_maps", "recipient_canonical_maps",
	"canonical_maps", "alias_maps", "recipient_bcc_maps", "sender_bcc_maps",
}

func newGraph(ctx context.Context, i *inventory.Inventory, s *setup.Setup) *graph {
	g := &graph{
		list: i, setup: s, settings: s.Settings, router: s.Router, shallow: s.Router.UpTo(fewAliases), maps: map[string]*table.Maps{},
		strangers: map[string]*stranger{}, veils: map[string]map[string]bool{},
		delimiter: address.Delimiter{
			Set:          s.Settings.String("recipient_delimiter"),
			DoubleBounce: s.Settings.String("double_bounce_sender"),
			OwnerRequest: s.Settings.Bool("owner_request_special"),
		},
	}
	g.verdicts = g.shallow
	for _, parameter := range asked {
		v := s.Settings.Value(parameter)
		use := table.Use{Parameter: parameter, At: v.At, Fold: true}
		// What cannot be opened fails when it is asked; the room of tables says so.
		g.maps[parameter], _ = s.Opener.Maps(ctx, v.Text, use)
	}
	return g
}

// ask puts the keys of an address to a parameter, as the router does but without
// sparing mailboxes from catch-alls. ok is false when there is no answer, or none
// can be had.
func (g *graph) ask(ctx context.Context, parameter string, a address.Address, form table.Form) (table.Found, bool) {
	bare := func() (bool, error) {
		if address.Fold(a.Domain) == address.Fold(g.settings.String("myorigin")) {
			return true, nil
		}
		class, _, err := g.router.Classify(ctx, a.Domain, nil)
		return class == route.Local, err
	}
	found, err := g.maps[parameter].Find(ctx, table.AddressKeys(a, g.delimiter, bare, form), nil)
	return found, err == nil
}

// askAlias asks virtual_alias_maps.
func (g *graph) askAlias(ctx context.Context, a address.Address) (table.Found, bool) {
	return g.ask(ctx, "virtual_alias_maps", a, table.ExternalOnly)
}

// class is the class of a domain; ok is false when a list fails.
func (g *graph) class(ctx context.Context, domain string) (route.Class, route.Why, bool) {
	class, why, err := g.router.Classify(ctx, domain, nil)
	return class, why, err == nil
}

// parameter is the place of a parameter, also where only its default counts.
func (g *graph) parameter(name string) origin.At {
	at := g.settings.Value(name).At
	if at.Parameter == "" {
		at.Parameter = name
	}
	return at
}
