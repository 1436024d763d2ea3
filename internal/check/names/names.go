// Package names compares a configuration with what the DNS says about its domains
// and about this host.
//
//	VD104   the best MX of a domain is this host, which does not know the domain
//	VD105   a domain is hosted here, and its MX is somewhere else
//	VD507   the name, the addresses and the reverse names of this host do not agree
//	VD508   a hosted domain without MX, SPF or DMARC record
//
// The DNS is asked only when dns_servers is set, and then only those servers, or when
// somebody wants it (Room.Always). An answer that does not come is never a finding,
// and a finding needs a certain answer: "no such name", "no such record", or
// records.
//
// This host is whatever has the name myhostname, an address of inet_interfaces or
// proxy_interfaces, or the address of myhostname. Names of mydestination may be meant
// for it too: an MX of such a name is no reason for VD105, and none for VD104.
//
// # Limits
//
// Servers have ServerTime for an answer, all questions Time; MaxDomains hosted
// domains and as many others are asked for, and messages say when there are more.
// Not here: DKIM keys, whose selectors nobody lists; MTA-STS, TLSA; whether an SPF
// record allows this host.
//
// It imports address, check/inventory, config, dns, explain, finding, origin, route and
// golang.org/x/sys/unix.
package names

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"postern/internal/check/inventory"
	"postern/internal/config"
	"postern/internal/dns"
	"postern/internal/explain"
	"postern/internal/finding"
	"postern/internal/origin"
)

// Bounds of the questions.
const (
	MaxDomains = 1000
	parallel   = 16
	perTry     = 1500 * time.Millisecond // two of them are what a server has
	Time       = 10 * time.Second
)

// Resolver is what is asked; *dns.Client is one.
type Resolver interface {
	dns.Resolver
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// Room looks at names. The zero Room is that of the commands without --dns.
type Room struct {
	Always   bool     // ask even when dns_servers is not set
	Resolver Resolver // nil: a dns.Client for dns_servers, or /etc/resolv.conf
	// Unanswered is told that nobody answers, so that nothing was looked at; nil:
	// nobody wants to know. servers is dns_servers, or "the servers of /etc/resolv.conf".
	Unanswered func(servers string)
}

// Examine reports what the DNS says against a whole configuration.
func (r Room) Examine(ctx context.Context, i *inventory.Inventory, report finding.Report) {
	ctx, cancel := context.WithTimeout(ctx, Time)
	defer cancel()
	x := r.begin(ctx, i)
	if x == nil {
		return
	}
	hosted, others := x.hosted(ctx), x.destinations(ctx)
	x.each(ctx, len(hosted.list), func(n int) { hosted.list[n].look(ctx, x) })
	x.each(ctx, len(others.list), func(n int) { others.list[n].look(ctx, x) })
	for _, f := range slices.Concat(others.loops(x), hosted.moved(x), x.identity(ctx), hosted.incomplete()) {
		report(f)
	}
}

// Address reports what the DNS says against the domains of one explained address.
func (r Room) Address(ctx context.Context, i *inventory.Inventory, e *explain.Explanation, report finding.Report) {
	ctx, cancel := context.WithTimeout(ctx, Time)
	defer cancel()
	x := r.begin(ctx, i)
	if x == nil {
		return
	}
	hosted, others := x.hostedOf(ctx, e), x.destinationsOf(ctx, e)
	x.each(ctx, len(hosted.list), func(n int) { hosted.list[n].mx(ctx, x) })
	x.each(ctx, len(others.list), func(n int) { others.list[n].look(ctx, x) })
	for _, f := range slices.Concat(others.loops(x), hosted.moved(x)) {
		report(f)
	}
}

// examination is one use of a Room.
type examination struct {
	i        *inventory.Inventory
	settings *config.Settings
	dns      Resolver
	name     string              // myhostname, folded
	addrs    map[netip.Addr]bool // of that name
}

// begin returns nil when the DNS is not to be asked, or does not answer.
func (r Room) begin(ctx context.Context, i *inventory.Inventory) *examination {
	s := i.Setup.Settings
	if i.Setup.Router == nil || !r.Always && s.String("dns_servers") == "" {
		return nil
	}
	x := &examination{i: i, settings: s, dns: r.Resolver, addrs: map[netip.Addr]bool{},
		name: fold(s.String("myhostname"))}
	if x.dns == nil {
		client, err := newClient(s)
		if err != nil {
			return nil // the server refuses to start with it, and says why
		}
		x.dns = client
	}
	addrs, err := x.dns.LookupHost(ctx, x.name)
	if e, ok := errors.AsType[net.Error](err); ok && (e.Timeout() || errors.Is(err, unix.ECONNREFUSED)) {
		if r.Unanswered != nil {
			r.Unanswered(cmp.Or(s.String("dns_servers"), "the servers of /etc/resolv.conf"))
		}
		return nil // nobody answers: other questions would take as long
	}
	for _, a := range addrs {
		x.addrs[a.Unmap()] = true
	}
	return x
}

// newClient asks as the server would, with less patience.
func newClient(s *config.Settings) (*dns.Client, error) {
	o := dns.Options{Servers: s.List("dns_servers"), Timeout: perTry, Attempts: 2, NoIPv4: true, NoIPv6: true}
	for _, protocol := range s.List("inet_protocols") {
		o.NoIPv4 = o.NoIPv4 && protocol != "all" && protocol != "ipv4"
		o.NoIPv6 = o.NoIPv6 && protocol != "all" && protocol != "ipv6"
	}
	return dns.New(o)
}

// each calls f for 0 to n-1, some at a time.
func (x *examination) each(ctx context.Context, n int, f func(int)) {
	var all sync.WaitGroup
	next := make(chan int)
	for range min(parallel, n) {
		all.Go(func() {
			for n := range next {
				f(n)
			}
		})
	}
	for k := range n {
		if ctx.Err() != nil {
			break
		}
		next <- k
	}
	close(next)
	all.Wait()
}

// whose says whether a name is that of this host.
type whose uint8

const (
	unknown whose = iota // the DNS does not answer
	ours
	maybe // it is in mydestination
	theirs
)

// host says whether a mail exchanger is this host, and its addresses.
func (x *examination) host(ctx context.Context, name string) (whose, []netip.Addr) {
	if fold(name) == x.name {
		return ours, nil
	}
	addrs, err := x.dns.LookupHost(ctx, name)
	for _, a := range addrs {
		if a = a.Unmap(); x.addrs[a] || x.i.Setup.Router.Own(a) {
			return ours, addrs
		}
	}
	switch {
	case x.local(ctx, name):
		return maybe, addrs
	case err != nil && !dns.IsNotFound(err):
		return unknown, nil
	}
	return theirs, addrs
}

func fold(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// shown is a host with its first address: "mx.example.test (192.0.2.7)".
func shown(name string, addrs []netip.Addr) string {
	if len(addrs) == 0 {
		return name
	}
	return name + " (" + addrs[0].String() + ")"
}

// firstOf are the first few of a list, and how many more there are.
func firstOf(list []string) string {
	const few = 3
	if len(list) <= few {
		return strings.Join(list, ", ")
	}
	return strings.Join(list[:few], ", ") + " and others"
}

// samePlace tells whether two findings would have the same place.
func samePlace(a, b origin.At) bool { return a.String() == b.String() && a.Parameter == b.Parameter }
