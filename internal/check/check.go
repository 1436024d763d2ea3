// Package check examines a configuration before mail meets it: domains in two
// classes, aliases that lead nowhere, rows that can never match, tables that fail,
// mailboxes that cannot be written. What it finds has the codes of package
// finding.
//
// The rooms below each know one family of failures; every room has the same two
// doors. Examine looks at everything a configuration has; Address looks at what one
// explained address met. The resolver is the server's own, route.Router, and the
// rows come from package inventory. Rooms do not know of each other and work beside
// each other; each keeps to the time of its context, and one that has not ended by
// then is named in Result.Unfinished.
//
//	inventory   what the tables list
//	addresses   the graph of addresses: VD101 to VD103, VD201 to VD209, VD502, VD506, VD512 to VD514, VD516, VD517
//	tables      files, indexes, queries, types: VD301 to VD309, VD511, VD515
//	settings    main.cf and master.cf: VD310, VD404, VD501, VD503, VD504, VD509, VD510
//	mailboxes   where mail is put: VD203, VD401 to VD403
//	names       the DNS: VD104, VD105, VD507, VD508
//
// Nothing is changed: no index is built, no mailbox made. Nothing secret is said: every
// finding, whoever reports it, goes through secrets first.
//
// It imports address, config, explain, finding, origin, setup, syntax, table,
// table/cf, and the rooms below.
package check

import (
	"context"
	"time"

	"postern/internal/check/addresses"
	"postern/internal/check/inventory"
	"postern/internal/check/mailboxes"
	"postern/internal/check/names"
	"postern/internal/check/settings"
	"postern/internal/check/tables"
	"postern/internal/explain"
	"postern/internal/finding"
)

// Time bounds a whole examination; ServerTime every wait for one server.
const (
	Time       = 20 * time.Second
	ServerTime = 3 * time.Second
)

// inDNS is what the room of names looks at.
const inDNS = "names in the DNS"

// Options say how to examine.
type Options struct {
	// DNS asks the DNS. Without it that happens only when dns_servers is set.
	DNS bool
	// Silent asks no mail server and no DNS: what is not there yet when a host
	// starts is no fault of the configuration.
	Silent bool
	// Time bounds the examination; 0: the constant Time.
	Time time.Duration
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

// room is one family of checks. A door may be nil.
type room struct {
	name    string // what it looks at, for the progress and for what did not end
	examine examiner
	follow  follower
}

// rooms are all families of checks: what they look at, Examine, Address. unanswered is
// told that no server of the DNS answers; nil: nobody wants to know.
func rooms(o Options, unanswered func(servers string)) []room {
	boxes, dns := mailboxes.Room{ServerTime: ServerTime, Silent: o.Silent}, names.Room{Always: o.DNS, Unanswered: unanswered}
	list := []room{
		{"addresses", addresses.Examine, addresses.Address},
		{"tables", tables.Examine, tables.Address},
		{"settings", settings.Examine, nil},
		{"mailboxes and mailbox servers", boxes.Examine, boxes.Address},
	}
	if !o.Silent {
		list = append(list, room{inDNS, dns.Examine, dns.Address})
	}
	return list
}

// Address fills in the findings of an explained address.
func Address(ctx context.Context, i *inventory.Inventory, e *explain.Explanation, o Options) {
	list, hide := &finding.List{}, secretsOf(i.Setup.Opener, i.Setup.Settings)
	report := func(f finding.Finding) { list.Add(hide.finding(f).RelativeTo(i.Setup.Dir)) }
	for _, r := range rooms(o, nil) {
		if r.follow != nil {
			r.follow(ctx, i, e, report)
		}
	}
	e.Findings = list.Sorted()
}
