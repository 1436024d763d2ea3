// Package mailboxes looks at the places where mail is put: the files of virtual(8)
// and local(8), and the LMTP servers that keep the mail themselves.
//
//	VD203   a mailbox table knows a user, the LMTP server refuses him
//	VD208   a pattern of mailboxes that virtual(8) leaves out
//	VD401   a path that is not what it looks like: no final slash, the base twice, ".."
//	VD402   a mailbox that its owner cannot write, or without an owner
//	VD403   a transport that leads nowhere: no socket, nobody listening, no right to connect
//
// # Files
//
// Only where virtual(8) delivers are rows of virtual_mailbox_maps paths. Whether
// their owner could write there is judged from the owner, the groups and the mode of
// every directory on the way, as the kernel would for that user and group without
// supplementary groups; nothing is tried out. So it does not matter who asks.
// What cannot be looked at, and what an access control list decides, is not judged.
// A missing directory above an mbox file is an obstacle, as nobody makes it.
//
// # Servers
//
// Sockets are connected to. An LMTP server is asked for at most Sample users, by
// LHLO, MAIL FROM:<>, RCPT TO and RSET; no text is ever sent. A mailbox whose mail an
// alias sends elsewhere is not asked for.
//
// # Limits
//
// A server has check.ServerTime for its answer. Addresses of servers are numbers,
// localhost, or stand in /etc/hosts: a name that only the DNS knows is not asked.
// Not here: quotas of the mailbox server, SELinux and AppArmor, servers that ask
// for TLS or a login before MAIL.
//
// It imports address, check/inventory, config, dns, explain, finding, nearest,
// origin, privsep, route, smtp, smtpc, table, golang.org/x/net/idna and
// golang.org/x/sys/unix.
package mailboxes

import (
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"postern/internal/check/inventory"
	"postern/internal/explain"
	"postern/internal/finding"
	"postern/internal/route"
)

// Sample is how many users an LMTP server is asked for.
const Sample = 20

// parallel bounds the servers that are asked at a time.
const parallel = 16

// Room looks at mailboxes. The zero Room is that of the commands.
type Room struct {
	// ServerTime bounds the wait for one server; 0: 3 seconds.
	ServerTime time.Duration
	// Silent asks no server, neither whether it is there nor whom it knows.
	Silent bool
	// Dial connects to a server; nil: a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Perm chooses among users; nil: at random.
	Perm func(n int) []int
	// Sockets are where LMTP servers are known to listen, for near misses; nil: the
	// usual places.
	Sockets []string
	// Hosts is the file of host names; "": /etc/hosts.
	Hosts string
}

// Examine reports what is wrong with the mailboxes and mailbox servers of a whole
// configuration.
func (r Room) Examine(ctx context.Context, i *inventory.Inventory, report finding.Report) {
	if i.Setup.Router == nil {
		return
	}
	x := r.begin(i)
	if many, err := i.Snapshot(ctx); err == nil && many.Router != nil {
		x.router, x.verdicts = many.Router, many.Router
	}
	if quick, err := i.Verdicts(ctx); err == nil && quick.Router != nil {
		x.verdicts = quick.Router
	}
	x.run(report,
		func() []finding.Finding { return x.files(ctx) },
		func() []finding.Finding { return x.localSpool() },
		func() []finding.Finding {
			if x.Silent {
				return nil
			}
			return x.servers(ctx, x.everywhere(ctx))
		},
	)
}

// Address reports what is wrong where mail for one address is put.
func (r Room) Address(ctx context.Context, i *inventory.Inventory, e *explain.Explanation, report finding.Report) {
	if i.Setup.Router == nil {
		return
	}
	x := r.begin(i)
	x.run(report,
		func() []finding.Finding { return x.fileOf(ctx, e) },
		func() []finding.Finding { return x.localOf(ctx, e) },
		func() []finding.Finding { return x.servers(ctx, x.destinationsOf(ctx, e)) },
	)
}

// examination is one use of a Room.
type examination struct {
	Room
	i      *inventory.Inventory
	router *route.Router
	// verdicts is the same, which does not say where an answer is written.
	verdicts *route.Router
	services
}

func (r Room) begin(i *inventory.Inventory) *examination {
	if r.ServerTime == 0 {
		r.ServerTime = 3 * time.Second
	}
	if r.Dial == nil {
		r.Dial = new(net.Dialer).DialContext
	}
	if r.Perm == nil {
		r.Perm = rand.Perm
	}
	return &examination{Room: r, i: i, router: i.Setup.Router, verdicts: i.Setup.Router, services: servicesOf(i.Setup.Settings)}
}

// run does several parts beside each other, and reports in their order.
func (x *examination) run(report finding.Report, parts ...func() []finding.Finding) {
	found := make([][]finding.Finding, len(parts))
	var all sync.WaitGroup
	for n, part := range parts {
		all.Go(func() { found[n] = part() })
	}
	all.Wait()
	for f := range slices.Values(slices.Concat(found...)) {
		report(f)
	}
}
