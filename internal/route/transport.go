package route

import (
	"context"
	"errors"
	"strings"

	"postern/internal/address"
	"postern/internal/origin"
	"postern/internal/table"
)

// unknownUser is the text for a recipient that does not exist in its class.
// show_user_unknown_table_name = no leaves the table out.
func (r *Router) unknownUser(c Class) string {
	if !r.p.showTableName {
		return "User unknown"
	}
	name := [...]string{"local recipient", "virtual alias", "virtual mailbox", "relay recipient"}[c]
	return "User unknown in " + name + " table"
}

// transport fills in how the mail leaves: the default of the class, then
// transport_maps, then relocated_maps.
func (r *Router) transport(ctx context.Context, res *Resolution, sender address.Address, tr *Trace) error {
	if err := r.classTransport(ctx, res, sender, tr); err != nil {
		return err
	}
	if res.Class != VirtualAlias {
		if err := r.transportMap(ctx, res, tr); err != nil {
			return err
		}
	}
	if err := r.relocated(ctx, res, tr); err != nil {
		return err
	}
	if tr != nil {
		tr.add("transport", res.TransportBy, res.Address.Internal(), res.Transport+":"+res.NextHop, res.TransportAt)
	}
	return nil
}

func (r *Router) classTransport(ctx context.Context, res *Resolution, sender address.Address, tr *Trace) error {
	domain := res.Address.Domain
	switch res.Class {
	case Local:
		res.choose("local_transport", r.p.localTransport, domain)
	case VirtualAlias:
		res.Transport, res.NextHop = "error", "5.1.1 "+r.unknownUser(VirtualAlias)
	case VirtualMailbox:
		res.choose("virtual_transport", r.p.virtualTransport, domain)
	case Relay, Default:
		next, by, err := r.relayhost(ctx, domain, sender, tr)
		if err != nil {
			return err
		}
		res.NextHopBy = by
		if res.Class == Relay {
			res.choose("relay_transport", r.p.relayTransport, next)
			return nil
		}
		res.choose("default_transport", r.p.defaultTransport, next)
		return r.senderTransport(ctx, res, next, sender, tr)
	}
	return nil
}

// choose takes "transport:nexthop" of a parameter; without a next hop it is the
// given one.
func (res *Resolution) choose(parameter, value, next string) {
	res.TransportBy = parameter
	res.Transport, res.NextHop = transportNexthop(value, next)
	if res.NextHop != next {
		res.NextHopBy = parameter
	}
}

// transportNexthop cuts a parameter value "transport:nexthop" at the first
// colon.
func transportNexthop(value, fallback string) (transport, nexthop string) {
	transport, nexthop, _ = strings.Cut(value, ":")
	if nexthop == "" {
		nexthop = fallback
	}
	return transport, nexthop
}

// relayhost is the next hop of mail that leaves, and the parameter that names it:
// the sender's relay host, the relayhost, or the domain itself.
func (r *Router) relayhost(ctx context.Context, domain string, sender address.Address, tr *Trace) (next, by string, err error) {
	const bySender = "sender_dependent_relayhost_maps"
	found, ok, err := r.bySender(ctx, bySender, sender, r.p.emptyRelayhostKey, tr)
	switch {
	case err != nil:
		return "", "", err
	case ok && found.Value != "" && !strings.EqualFold(found.Value, "DUNNO"):
		return found.Value, bySender, nil
	case r.p.relayhost != "":
		return r.p.relayhost, "relayhost", nil
	}
	return domain, "", nil
}

// senderTransport applies sender_dependent_default_transport_maps.
func (r *Router) senderTransport(ctx context.Context, res *Resolution, next string, sender address.Address, tr *Trace) error {
	const parameter = "sender_dependent_default_transport_maps"
	found, ok, err := r.bySender(ctx, parameter, sender, r.p.emptyTransportKey, tr)
	if err != nil || !ok || found.Value == "" || strings.EqualFold(found.Value, "DUNNO") {
		return err
	}
	res.choose(parameter, found.Value, next)
	res.TransportAt = first(found.At)
	return nil
}

func (r *Router) bySender(ctx context.Context, parameter string, sender address.Address, nullKey string, tr *Trace) (table.Found, bool, error) {
	if sender.IsNull() {
		sender = address.Address{Local: nullKey}
	}
	return r.lookup(ctx, parameter, sender, tr)
}

// transportMap applies transport(5): the full address, without extension, the
// domain, its parents, and "*".
func (r *Router) transportMap(ctx context.Context, res *Resolution, tr *Trace) error {
	m := r.maps["transport_maps"]
	if m.Empty() {
		return nil
	}
	keys := table.TransportKeys(res.Address, r.delimiter, r.p.parentDomains["transport_maps"])
	found, err := m.Find(ctx, keys, tr.observer())
	if errors.Is(err, table.ErrNotFound) {
		return nil
	}
	if err != nil {
		return r.fail(res.Address.Internal(), "transport_maps", err)
	}
	transport, next, _ := strings.Cut(found.Value, ":")
	switch {
	case transport == "" && next == "":
		return nil
	case transport == "":
		res.NextHop, res.NextHopBy = next, "transport_maps"
	default:
		res.Transport, res.NextHop = transport, next
		res.TransportBy, res.NextHopBy = "transport_maps", "transport_maps"
		if next == "" {
			res.NextHop, res.NextHopBy = res.Address.Domain, ""
			if transport == "error" || transport == "retry" {
				res.NextHop = "Address is undeliverable"
			}
		}
	}
	res.TransportAt = first(found.At)
	return nil
}

// relocated applies relocated(5), in every class.
func (r *Router) relocated(ctx context.Context, res *Resolution, tr *Trace) error {
	found, ok, err := r.lookup(ctx, "relocated_maps", res.Address, tr)
	if err != nil || !ok {
		return err
	}
	res.Transport, res.NextHop = "error", "5.1.6 User has moved to "+found.Value
	res.TransportBy, res.NextHopBy = "relocated_maps", "relocated_maps"
	res.TransportAt = first(found.At)
	return nil
}

// lookup asks a maps parameter in the default key order. ok is false when
// nothing was found; the error is a *Failure.
func (r *Router) lookup(ctx context.Context, parameter string, a address.Address, tr *Trace) (table.Found, bool, error) {
	m := r.maps[parameter]
	if m.Empty() {
		return table.Found{}, false, nil
	}
	keys := table.AddressKeys(a, r.delimiter, r.bare(ctx, a.Domain), table.ExternalFirst)
	return r.find(ctx, m, a, keys, tr)
}

// bare says, when asked, whether addresses of the domain are also looked up
// without their domain: it is myorigin or local.
func (r *Router) bare(ctx context.Context, domain string) func() (bool, error) {
	return func() (bool, error) {
		if strings.EqualFold(domain, r.p.myorigin) {
			return true, nil
		}
		return r.isLocal(ctx, domain, nil)
	}
}

// first returns the first place of a result, or none.
func first(at []origin.At) origin.At {
	if len(at) == 0 {
		return origin.At{}
	}
	return at[0]
}
