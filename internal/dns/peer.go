package dns

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
)

// Unknown is the name of a client whose name could not be verified.
const Unknown = "unknown"

// PeerStatus says how far a client's name can be believed.
type PeerStatus uint8

// Peer states, from best to worst.
const (
	PeerOK        PeerStatus = iota // address to name and name to address agree
	PeerNotFound                    // no name, or the name has no address
	PeerForged                      // the name has other addresses
	PeerTemporary                   // a lookup failed; it may succeed later
)

// Peer is what the DNS says of a client.
type Peer struct {
	Name          string     // verified name, or Unknown
	Status        PeerStatus // of Name (reject_unknown_client_hostname)
	Reverse       string     // name of the address, unverified, or Unknown
	ReverseStatus PeerStatus // of Reverse (reject_unknown_reverse_client_hostname); never PeerForged
	Warning       string     // for the log, "hostname x.test does not resolve to address 192.0.2.1"; or ""
}

// PeerName finds the name of a client: the address must have a name, and the
// name must have the address (postconf smtpd_peername_lookup). A name that
// looks like an address counts as none. With several names the first one
// counts.
func PeerName(ctx context.Context, r Resolver, addr netip.Addr) Peer {
	addr = addr.Unmap().WithZone("")
	p := Peer{Name: Unknown, Reverse: Unknown, Status: PeerNotFound, ReverseStatus: PeerNotFound}
	names, err := r.LookupPTR(ctx, addr)
	if err != nil || len(names) == 0 {
		if err != nil && ClassOf(err) == Temporary {
			p.Status, p.ReverseStatus = PeerTemporary, PeerTemporary
		}
		return p
	}
	name := names[0]
	if numeric(name) {
		p.Warning = fmt.Sprintf("numeric hostname: %s", name)
		return p
	}
	p.Reverse, p.ReverseStatus = name, PeerOK
	addrs, err := r.LookupHost(ctx, name)
	switch {
	case err != nil && ClassOf(err) == Temporary:
		p.Status = PeerTemporary
	case err != nil:
		p.Status = PeerNotFound
	case !slices.Contains(addrs, addr):
		p.Status = PeerForged
		p.Warning = fmt.Sprintf("hostname %s does not resolve to address %s", name, addr)
		return p
	default:
		p.Name, p.Status = name, PeerOK
		return p
	}
	p.Warning = fmt.Sprintf("hostname %s does not resolve to address %s: %s", name, addr, ClassOf(err))
	return p
}
