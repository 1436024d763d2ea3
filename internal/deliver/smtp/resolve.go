package smtp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"postern/internal/deliver"
	"postern/internal/dns"
)

// maxExchangers bounds the hosts that are looked up for one domain: whoever
// owns a zone can name thousands.
const maxExchangers = 50

// target is one address to connect to.
type target struct {
	network string // "tcp" or "unix"
	address string // for the dialer
	nextHop string // destination as written, for policies and credentials
	domain  string // host or domain of the destination
	name    string // host, for Remote-MTA
	label   string // "mx.example.test[192.0.2.7]", for reasons
	relay   string // the same with the port, for relay=
	port    string
	ip      netip.Addr
	own     bool
	mx      bool // name is that of an exchanger of domain
	secure  bool // validated as such (DNSSEC)
}

// resolve returns the addresses of a destination in the order in which they
// are tried, at least one, or the status that stands for none.
func (a *Agent) resolve(ctx context.Context, d destination) ([]target, *deliver.Status) {
	if d.Unix != "" {
		return []target{a.socket(d)}, nil
	}
	groups, exchangers := [][]dns.MX{{{Host: d.Host}}}, false
	if d.MX && !a.o.NoMX {
		list, err := a.o.Resolver.LookupMX(ctx, d.Host)
		switch {
		case err == nil && dns.IsNullMX(list):
			return nil, bounced("5.1.0", fmt.Sprintf("Domain %s does not accept mail (nullMX)", d.Host))
		case err == nil:
			groups, exchangers = byPreference(list), true
		case dns.ClassOf(err) != dns.NoData: // RFC 5321, 5.1: no MX, so the domain is the host
			return nil, nameError(err, d.Host, "MX")
		}
	}
	targets, loop, err := a.addresses(ctx, groups, d, exchangers)
	switch {
	case len(targets) > 0:
	case loop && !temporary(err):
		return nil, bounced(loopDSN, fmt.Sprintf("mail for %s loops back to myself", d.Host))
	default:
		status := nameError(err, d.Host, "A")
		if d.MX && a.o.DeferNoMX && status.Kind == deliver.Bounced {
			status.Kind, status.DSN = deliver.Deferred, "4"+status.DSN[1:]
		}
		return nil, status
	}
	return a.limit(targets), nil
}

// limit leaves as many addresses as smtp_mx_address_limit allows. Where there
// are both families neither gets more than its half, unless the other does not
// use up its own (postconf smtp_balance_inet_protocols).
func (a *Agent) limit(all []target) []target {
	limit := a.o.MaxAddress
	if limit <= 0 || len(all) <= limit {
		return all
	}
	if !a.o.Balance || limit == 1 {
		return all[:limit]
	}
	six := 0
	for _, t := range all {
		if t.ip.Is6() {
			six++
		}
	}
	six = max(min(six, limit/2), limit-(len(all)-six))
	four := limit - six
	return slices.DeleteFunc(all, func(t target) bool {
		left := &four
		if t.ip.Is6() {
			left = &six
		}
		*left--
		return *left < 0
	})
}

func (a *Agent) socket(d destination) target {
	path := d.Unix
	label, domain := a.o.Hostname+"["+path+"]", "unix:"+path
	if !filepath.IsAbs(path) {
		path = filepath.Join(a.o.QueueDirectory, path)
	}
	return target{network: "unix", address: path, nextHop: d.Text, domain: domain, name: a.o.Hostname, label: label, relay: label}
}

// byPreference groups exchangers, which are sorted, by their preference.
func byPreference(list []dns.MX) [][]dns.MX {
	var groups [][]dns.MX
	for i, mx := range list[:min(len(list), maxExchangers)] {
		if i == 0 || mx.Preference != list[i-1].Preference {
			groups = append(groups, nil)
		}
		last := len(groups) - 1
		groups[last] = append(groups[last], mx)
	}
	return groups
}

// addresses looks up the hosts, group by group, until there are enough
// addresses. loop: one of a group was our own, so that group and those behind
// it were left out (RFC 5321, 5.1). err is the last lookup error, a temporary
// one if there was any.
func (a *Agent) addresses(ctx context.Context, groups [][]dns.MX, d destination, exchangers bool) (all []target, loop bool, err error) {
	for _, hosts := range groups {
		var group []target
		for _, host := range hosts {
			addrs, lookupErr := a.lookupHost(ctx, host.Host)
			if lookupErr != nil && !temporary(err) {
				err = lookupErr
			}
			for _, ip := range addrs {
				t := a.target(d, host.Host, ip)
				t.mx, t.secure = exchangers, exchangers && host.Secure
				group = append(group, t)
			}
		}
		if slices.ContainsFunc(group, func(t target) bool { return t.own }) {
			return all, true, err
		}
		if a.o.Randomize {
			a.o.Shuffle(len(group), func(i, j int) { group[i], group[j] = group[j], group[i] })
		}
		a.prefer(group)
		all = append(all, group...)
		if a.o.MaxAddress > 0 && len(all) >= a.o.MaxAddress && !a.o.Balance {
			break
		}
	}
	return all, false, err
}

func temporary(err error) bool { return err != nil && dns.ClassOf(err) == dns.Temporary }

// lookupHost asks in the order of smtp_host_lookup.
func (a *Agent) lookupHost(ctx context.Context, host string) (addrs []netip.Addr, err error) {
	for _, how := range a.o.HostLookup {
		r := a.o.Resolver
		if how == "native" {
			r = a.o.Native
		}
		if addrs, err = r.LookupHost(ctx, host); err == nil || !dns.IsNotFound(err) {
			return addrs, err
		}
	}
	return nil, err
}

func (a *Agent) target(d destination, host string, ip netip.Addr) target {
	label := host + "[" + ip.String() + "]"
	return target{
		network: "tcp",
		address: net.JoinHostPort(ip.String(), d.Port),
		nextHop: d.Text,
		domain:  d.Host,
		name:    host,
		label:   label,
		relay:   label + ":" + d.Port,
		port:    d.Port,
		ip:      ip,
		own:     d.Port == a.loopPort && (strings.EqualFold(host, a.o.Hostname) || a.o.Own != nil && a.o.Own(ip)),
	}
}

// prefer sorts addresses by family (postconf smtp_address_preference).
func (a *Agent) prefer(group []target) {
	if a.o.Prefer != "ipv4" && a.o.Prefer != "ipv6" {
		return
	}
	rank := func(t target) int {
		if t.ip.Is4() == (a.o.Prefer == "ipv4") {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(group, func(x, y target) int { return rank(x) - rank(y) })
}

// nameError is the status of a lookup that gave nothing.
func nameError(err error, name, qtype string) *deliver.Status {
	class := dns.ClassOf(err)
	if e, ok := errors.AsType[*dns.Error](err); ok {
		name, qtype = e.Name, e.Type
	}
	reason := fmt.Sprintf("Host or domain name not found. Name service error for name=%s type=%s: %s", name, qtype, class)
	if class == dns.Temporary {
		return &deliver.Status{Kind: deliver.Deferred, DSN: "4.4.3", Reason: printable(reason), Relay: "none", Destination: true}
	}
	return bounced("5.4.4", reason)
}

func bounced(dsn, reason string) *deliver.Status {
	return &deliver.Status{Kind: deliver.Bounced, DSN: dsn, Reason: printable(reason), Relay: "none"}
}
