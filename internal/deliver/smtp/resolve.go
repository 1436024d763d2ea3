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
	domain  string // host or domain of the destination
	name    string // host, for Remote-MTA
	label   string // "mx.example.test[192.0.2.7]", for reasons
	relay   string // the same with the port, for relay=
	port    string
	ip      netip.Addr
	own     bool
}

// resolve returns the addresses of a destination in the order in which they
// are tried, at least one, or the status that stands for none.
func (a *Agent) resolve(ctx context.Context, d destination) ([]target, *deliver.Status) {
	if d.Unix != "" {
		return []target{a.socket(d.Unix)}, nil
	}
	groups := [][]string{{d.Host}}
	if d.MX && !a.o.NoMX {
		list, err := a.o.Resolver.LookupMX(ctx, d.Host)
		switch {
		case err == nil && dns.IsNullMX(list):
			return nil, bounced("5.1.0", fmt.Sprintf("Domain %s does not accept mail (nullMX)", d.Host))
		case err == nil:
			groups = byPreference(list)
		case dns.ClassOf(err) != dns.NoData: // RFC 5321, 5.1: no MX, so the domain is the host
			return nil, nameError(err, d.Host, "MX")
		}
	}
	targets, loop, err := a.addresses(ctx, groups, d)
	switch {
	case len(targets) > 0:
	case loop && !temporary(err):
		return nil, bounced("5.4.6", fmt.Sprintf("mail for %s loops back to myself", d.Host))
	default:
		status := nameError(err, d.Host, "A")
		if d.MX && a.o.DeferNoMX && status.Kind == deliver.Bounced {
			status.Kind, status.DSN = deliver.Deferred, "4"+status.DSN[1:]
		}
		return nil, status
	}
	if a.o.MaxAddress > 0 && len(targets) > a.o.MaxAddress {
		targets = targets[:a.o.MaxAddress]
	}
	return targets, nil
}

func (a *Agent) socket(path string) target {
	label, domain := a.o.Hostname+"["+path+"]", "unix:"+path
	if !filepath.IsAbs(path) {
		path = filepath.Join(a.o.QueueDirectory, path)
	}
	return target{network: "unix", address: path, domain: domain, name: a.o.Hostname, label: label, relay: label}
}

// byPreference groups exchangers, which are sorted, by their preference.
func byPreference(list []dns.MX) [][]string {
	var groups [][]string
	for i, mx := range list[:min(len(list), maxExchangers)] {
		if i == 0 || mx.Preference != list[i-1].Preference {
			groups = append(groups, nil)
		}
		last := len(groups) - 1
		groups[last] = append(groups[last], mx.Host)
	}
	return groups
}

// addresses looks up the hosts, group by group, until there are enough
// addresses. loop: one of a group was our own, so that group and those behind
// it were left out (RFC 5321, 5.1). err is the last lookup error, a temporary
// one if there was any.
func (a *Agent) addresses(ctx context.Context, groups [][]string, d destination) (all []target, loop bool, err error) {
	for _, hosts := range groups {
		var group []target
		for _, host := range hosts {
			addrs, lookupErr := a.lookupHost(ctx, host)
			if lookupErr != nil && !temporary(err) {
				err = lookupErr
			}
			for _, ip := range addrs {
				group = append(group, a.target(d, host, ip))
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
		if a.o.MaxAddress > 0 && len(all) >= a.o.MaxAddress {
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
