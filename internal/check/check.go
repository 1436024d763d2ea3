// Package check examines a configuration before mail meets it: domains in two
// classes, aliases that lead nowhere, rows that can never match, tables that fail,
// mailboxes that cannot be written. What it finds has the codes of package
// finding.
//
// The rooms below each know one family of failures; every room has the same two
// doors. Examine looks at everything a configuration has; Address looks at what one
// explained address met. The resolver is the server's own, route.Router, and the
// rows come from package inventory.
//
//	inventory   what the tables list
//	addresses   the graph of addresses: VD101 to VD103, VD201 to VD209, VD502, VD506, VD512 to VD514, VD516, VD517
//	tables      files, indexes, queries, types: VD301 to VD309, VD511, VD515
//	settings    main.cf and master.cf: VD310, VD404, VD501, VD503, VD504, VD509, VD510
//	mailboxes   where mail is put: VD203, VD401 to VD403
//	names       the DNS: VD104, VD105, VD507, VD508
//
// Nothing is changed: no index is built, no mailbox made.
package check

import (
	"context"
	"time"

	"postern/internal/check/inventory"
	"postern/internal/explain"
	"postern/internal/finding"
	"postern/internal/setup"
)

// Time bounds a whole examination; ServerTime every wait for one server.
const (
	Time       = 20 * time.Second
	ServerTime = 3 * time.Second
)

// Options say how to examine.
type Options struct {
	// DNS asks the DNS. Without it that happens only when dns_servers is set.
	DNS bool
	// Progress is told how much of the work is done, from 0 to 1, and what is
	// being looked at; nil: nobody wants to know. It may be called from several
	// goroutines.
	Progress func(part float64, what string)
}

// examiner is the first door of a room: it reports what it finds in a whole
// configuration.
type examiner func(ctx context.Context, i *inventory.Inventory, report finding.Report)

// follower is the second door: it reports what concerns one address.
type follower func(ctx context.Context, i *inventory.Inventory, e *explain.Explanation, report finding.Report)

// Examine examines a whole configuration. The time is bounded by Time; what did
// not end by then is left out.
func Examine(ctx context.Context, s *setup.Setup, o Options) []finding.Finding {
	ctx, cancel := context.WithTimeout(ctx, Time)
	defer cancel()
	i, list := inventory.New(s), &finding.List{}
	report := func(f finding.Finding) { list.Add(f.RelativeTo(s.Dir)) }
	for _, examine := range examiners(o) {
		examine(ctx, i, report)
	}
	return list.Sorted()
}

// Address fills in the findings of an explained address.
func Address(ctx context.Context, i *inventory.Inventory, e *explain.Explanation, o Options) {
	list := &finding.List{}
	report := func(f finding.Finding) { list.Add(f.RelativeTo(i.Setup.Dir)) }
	for _, follow := range followers(o) {
		follow(ctx, i, e, report)
	}
	e.Findings = list.Sorted()
}

func examiners(Options) []examiner { return nil }

func followers(Options) []follower { return nil }
