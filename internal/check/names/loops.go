package names

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"postern/internal/address"
	"postern/internal/dns"
	"postern/internal/explain"
	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/route"
)

// anyone stands for the users of a domain.
const anyone = "postern-check-nobody"

// destinations are domains to which mail leaves by their MX.
type destinations struct {
	list  []*destinationDomain
	known map[string]*destinationDomain // by the name that the DNS is asked for
	seen  map[string]*destinationDomain // by the domain of the mail; nil: it does not leave by an MX
	total int
}

func newDestinations() *destinations {
	return &destinations{known: map[string]*destinationDomain{}, seen: map[string]*destinationDomain{}}
}

// destinationDomain is one of them.
type destinationDomain struct {
	name  string // that the DNS is asked for
	via   string // the domain of the mail, when that is another
	why   string // how mail comes to be sent there
	relay bool
	at    []origin.At
	loop  string // the mail exchanger that is this host
}

// destinations are the relay domains, and the domains that aliases forward to.
func (x *examination) destinations(ctx context.Context) *destinations {
	l := newDestinations()
	for _, d := range x.i.Domains(ctx) {
		if d.Class == route.Relay {
			l.add(ctx, x, address.Address{Local: anyone, Domain: d.Name}, "mail for "+d.Name+" is relayed ("+d.Parameter+")", d.At)
		}
	}
	for _, parameter := range []string{"virtual_alias_maps", "alias_maps"} {
		for _, t := range x.i.Of(ctx, parameter) {
			for _, e := range t.Entries {
				if ctx.Err() != nil {
					return l
				}
				l.forwards(ctx, x, e.Key, e.Value, e.At())
			}
		}
	}
	return l
}

// forwards adds the foreign domains of the targets of an alias.
func (l *destinations) forwards(ctx context.Context, x *examination, key, value string, at origin.At) {
	if !strings.Contains(value, "@") {
		return
	}
	list, err := address.ParseList(value)
	if err != nil {
		return
	}
	for _, a := range list {
		if a.Domain == "" || strings.ContainsAny(a.Local, "|/:") {
			continue
		}
		d, seen := l.seen[fold(a.Domain)]
		if !seen && !x.i.Hosted(ctx, a.Domain) {
			d = l.add(ctx, x, a, key+" is forwarded to "+a.Internal(), at)
		}
		l.seen[fold(a.Domain)] = d
		if d != nil {
			d.addPlace(at)
		}
	}
}

// destinationsOf are those of an explained address: its own domain, when it is not
// known here, and those of its final recipients.
func (x *examination) destinationsOf(ctx context.Context, e *explain.Explanation) *destinations {
	l := newDestinations()
	given := address.Split(e.Normalized)
	if e.Class == route.Default.String() && given.Domain != "" {
		l.add(ctx, x, given, "mail for "+e.Normalized+" would be sent there", x.settings.Value("virtual_mailbox_domains").At)
	}
	for _, r := range e.Recipients {
		a := address.Split(r.Address)
		if x.program(r.Transport) != "smtp" || a.Domain == "" {
			continue
		}
		l.add(ctx, x, a, "mail for "+e.Normalized+" is sent to "+r.Address, placesOf(e, r.Address)...)
	}
	return l
}

// placesOf are the rows that name a final recipient; else what decided the class.
func placesOf(e *explain.Explanation, target string) []origin.At {
	var at []origin.At
	for _, s := range e.Steps {
		if s.At != nil && s.Result != nil && strings.HasSuffix(s.Parameter, "_maps") && strings.Contains(fold(*s.Result), fold(target)) {
			at = append(at, *s.At)
		}
	}
	if len(at) == 0 && e.ClassReason.At != nil {
		at = append(at, *e.ClassReason.At)
	}
	return at
}

// add notes a destination, when mail for the address leaves by the MX of a domain.
func (l *destinations) add(ctx context.Context, x *examination, a address.Address, why string, at ...origin.At) *destinationDomain {
	if x.settings.String("best_mx_transport") != "" || x.settings.Bool("disable_dns_lookups") {
		return nil // such mail does not come back as an error, or no MX is asked for
	}
	res, err := x.i.Setup.Router.Resolve(ctx, a, address.Address{}, nil)
	if err != nil || x.program(res.Transport) != "smtp" {
		return nil
	}
	name, ok := exchanged(res.NextHop)
	if !ok {
		return nil
	}
	d := l.known[name]
	if d == nil {
		if l.total++; len(l.list) == MaxDomains {
			return nil
		}
		d = &destinationDomain{name: name, why: why, relay: res.Class == route.Relay}
		if name != fold(res.Address.Domain) {
			d.via = res.Address.Domain
		}
		l.known[name] = d
		l.list = append(l.list, d)
	}
	for _, place := range at {
		d.addPlace(place)
	}
	return d
}

func (d *destinationDomain) addPlace(at origin.At) {
	if len(d.at) < finding.MaxPlaces && !at.IsZero() && !slices.ContainsFunc(d.at, func(b origin.At) bool { return samePlace(at, b) }) {
		d.at = append(d.at, at)
	}
}

// exchanged is the domain of a next hop whose mail exchangers are looked up: it has
// no brackets, and the port is that of SMTP. Of several destinations the first
// counts.
func exchanged(nextHop string) (string, bool) {
	words := strings.FieldsFunc(nextHop, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
	if len(words) == 0 || strings.ContainsAny(words[0], "[/") || strings.HasPrefix(words[0], "inet:") {
		return "", false
	}
	name := words[0]
	if _, err := netip.ParseAddr(name); err == nil {
		return "", false
	}
	if host, port, err := net.SplitHostPort(name); err == nil {
		if name = host; port != "25" && port != "smtp" {
			return "", false
		}
	}
	return fold(name), public(name)
}

// look asks whether the best mail exchanger is this host. A domain without MX is
// its own (RFC 5321, 5.1).
func (d *destinationDomain) look(ctx context.Context, x *examination) {
	list, err := x.dns.LookupMX(ctx, d.name)
	switch {
	case err != nil && dns.ClassOf(err) == dns.NoData:
		list = []dns.MX{{Host: d.name}}
	case err != nil || dns.IsNullMX(list):
		return
	}
	for _, mx := range list[:min(len(list), maxExchangers)] {
		if mx.Preference != list[0].Preference {
			return
		}
		if who, addrs := x.host(ctx, mx.Host); who == ours {
			d.loop = shown(mx.Host, addrs)
			return
		}
	}
}

// loops are the findings for mail that would come back.
func (l *destinations) loops(x *examination) []finding.Finding {
	var list []finding.Finding
	for _, d := range l.list {
		if d.loop == "" {
			continue
		}
		f := finding.Finding{Code: "VD104", Severity: finding.Error, At: d.at}
		f.Message = fmt.Sprintf("%s, but the best MX of %s is %s, which is this host: it loops back to myself", d.why, d.name, d.loop)
		switch {
		case d.via != "":
			f.Fix = fmt.Sprintf("write the next hop in brackets, [%s], when it is a host, or name another one", d.name)
		case d.relay:
			f.Fix = fmt.Sprintf("say in transport_maps where the mailboxes of %s are: %[1]s smtp:[HOST]; or move it to virtual_mailbox_domains", d.name)
		default:
			f.Message += ", and no list of domains has it"
			f.Fix = fmt.Sprintf("add %s to virtual_mailbox_domains or virtual_alias_domains, or let its MX be the host that has the mailboxes", d.name)
			d.addPlace(x.settings.Value("virtual_mailbox_domains").At)
			f.At = d.at
		}
		if l.total > len(l.list) {
			f.Message += fmt.Sprintf(" (only the first %d of %d domains were asked for)", len(l.list), l.total)
		}
		list = append(list, f)
	}
	return list
}
