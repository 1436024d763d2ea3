package names

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"postern/internal/address"
	"postern/internal/check/inventory"
	"postern/internal/dns"
	"postern/internal/explain"
	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/route"
)

// hostedDomains are domains of which this host is the final destination.
type hostedDomains struct {
	list  []*hostedDomain
	total int // more than are in the list, when there are too many
}

// hostedDomain is one of them, and what the DNS says.
type hostedDomain struct {
	name      string
	class     route.Class
	parameter string
	at        origin.At
	elsewhere string   // its mail exchangers, when none is this host
	sentOn    bool     // mail for it leaves all the same, by a rule that somebody wrote
	missing   []string // records
}

// hosted are the domains of the configuration. Relay domains are hosted by others.
func (x *examination) hosted(ctx context.Context) *hostedDomains {
	h := &hostedDomains{}
	for _, d := range x.i.Domains(ctx) {
		h.add(ctx, x, d)
	}
	return h
}

func (h *hostedDomains) add(ctx context.Context, x *examination, d inventory.Domain) {
	if d.Class == route.Relay || !public(d.Name) || fold(d.Name) == x.name {
		return
	}
	if h.total++; len(h.list) < MaxDomains {
		h.list = append(h.list, &hostedDomain{name: d.Name, class: d.Class, parameter: d.Parameter, at: d.At})
	}
}

// hostedOf are the domains that an explained address meets.
func (x *examination) hostedOf(ctx context.Context, e *explain.Explanation) *hostedDomains {
	domains := []string{domainOf(e.Normalized)}
	for _, r := range e.Recipients {
		domains = append(domains, domainOf(r.Address))
	}
	slices.Sort(domains)
	h := &hostedDomains{}
	for _, name := range slices.Compact(domains) {
		class, why, err := x.i.Setup.Router.Classify(ctx, name, nil)
		if err == nil && class != route.Default {
			h.add(ctx, x, inventory.Domain{Name: name, Class: class, Parameter: why.Parameter, At: why.At})
		}
	}
	return h
}

func domainOf(addr string) string { return fold(addr[strings.LastIndexByte(addr, '@')+1:]) }

// special are the ends of names that are not in the public DNS (RFC 6761, RFC 6762,
// RFC 8375, RFC 9476) or that nobody puts there.
var special = []string{".localhost", ".localdomain", ".local", ".internal", ".invalid", ".lan", ".home.arpa", ".onion", ".alt"}

// public reports whether a domain can have records.
func public(name string) bool {
	name = fold(name)
	return strings.Contains(name, ".") && route.ValidHostname(name) && !strings.HasPrefix(name, "localhost.") &&
		!slices.ContainsFunc(special, func(end string) bool { return strings.HasSuffix(name, end) })
}

// local reports whether mydestination has a name.
func (x *examination) local(ctx context.Context, name string) bool {
	class, _, err := x.i.Setup.Router.Classify(ctx, fold(name), nil)
	return err == nil && class == route.Local
}

// sentOn reports whether mail for a domain goes to another host by a rule that
// somebody wrote: then nobody believes that its mailboxes are here.
func (x *examination) sentOn(ctx context.Context, domain string) bool {
	res, err := x.i.Setup.Router.Resolve(ctx, address.Address{Local: anyone, Domain: domain}, address.Address{}, nil)
	return err == nil && x.program(res.Transport) == "smtp"
}

// program is that of a delivery service.
func (x *examination) program(service string) string {
	for _, m := range x.settings.Services() {
		if m.Name == service && m.Type == "unix" {
			return m.Command
		}
	}
	return ""
}

// look asks all about a domain.
func (d *hostedDomain) look(ctx context.Context, x *examination) {
	d.mx(ctx, x)
	if d.elsewhere != "" || d.class == route.Local && slices.Contains(d.missing, "MX") {
		d.missing = nil // others keep its records; or it is the name of a host
		return
	}
	if !x.has(ctx, d.name, "v=spf1") {
		d.missing = append(d.missing, "SPF")
	}
	if !x.hasDMARC(ctx, d.name) {
		d.missing = append(d.missing, "DMARC")
	}
}

// mx asks whether mail for the domain comes here.
func (d *hostedDomain) mx(ctx context.Context, x *examination) {
	list, err := x.dns.LookupMX(ctx, d.name)
	if err != nil {
		if c := dns.ClassOf(err); c == dns.NotFound || c == dns.NoData {
			d.missing = append(d.missing, "MX")
		}
		return
	}
	if dns.IsNullMX(list) {
		d.elsewhere = "none (it says that it takes no mail, RFC 7505)"
		return
	}
	var hosts []string
	for _, mx := range list[:min(len(list), maxExchangers)] {
		who, addrs := x.host(ctx, mx.Host)
		if who != theirs {
			return
		}
		hosts = append(hosts, shown(mx.Host, addrs))
	}
	d.elsewhere, d.sentOn = firstOf(hosts), x.sentOn(ctx, d.name)
}

// maxExchangers bounds the hosts that are asked for of one domain.
const maxExchangers = 20

// has reports whether a name has a TXT record of a kind, or might have.
func (x *examination) has(ctx context.Context, name, version string) bool {
	list, err := x.dns.LookupTXT(ctx, name)
	if err != nil {
		c := dns.ClassOf(err)
		return c != dns.NotFound && c != dns.NoData
	}
	return slices.ContainsFunc(list, func(text string) bool {
		if len(text) < len(version) || !strings.EqualFold(text[:len(version)], version) {
			return false
		}
		rest := text[len(version):]
		return rest == "" || rest[0] == ' ' || rest[0] == ';'
	})
}

// hasDMARC looks for a policy at the domain and above it, where that of the
// organisation is (RFC 7489, 6.6.3).
func (x *examination) hasDMARC(ctx context.Context, name string) bool {
	for strings.Contains(name, ".") {
		if x.has(ctx, "_dmarc."+name, "v=DMARC1") {
			return true
		}
		_, name, _ = strings.Cut(name, ".")
	}
	return false
}

// moved are the findings for domains whose mail goes elsewhere, one for each place.
func (h *hostedDomains) moved(x *examination) []finding.Finding {
	elsewhere := func(d *hostedDomain) string {
		if d.sentOn {
			return ""
		}
		return d.elsewhere
	}
	return h.byPlace(elsewhere, func(same []*hostedDomain) finding.Finding {
		d := same[0]
		f := finding.Finding{Code: "VD105", Severity: finding.Warning,
			Message: fmt.Sprintf("%s is hosted here (%s), but its MX is %s: mail from outside goes there, mail from here stays here", d.name, d.parameter, d.elsewhere),
			Fix:     fmt.Sprintf("take %s out of %s when it has moved, or let its MX be %s", d.name, d.parameter, x.name)}
		if len(same) > 1 {
			f.Message += fmt.Sprintf("; so for %d domains of this list: %s", len(same), firstOf(namesOf(same)))
		}
		return f
	})
}

// incomplete are the findings for domains without records, one for each place.
func (h *hostedDomains) incomplete() []finding.Finding {
	what := func(d *hostedDomain) string { return strings.Join(d.missing, ", ") }
	return h.byPlace(what, func(same []*hostedDomain) finding.Finding {
		var each []string
		for _, d := range same {
			each = append(each, fmt.Sprintf("%s has no %s record", d.name, strings.Join(d.missing, ", no ")))
		}
		f := finding.Finding{Code: "VD508", Severity: finding.Warning, Message: firstOf(each), Fix: "add to the DNS: " + records(same[0])}
		if len(same) > len(each[:min(len(each), 3)]) {
			f.Message += fmt.Sprintf(" (%d domains of this list)", len(same))
		}
		return f
	})
}

// records are the records that a domain should have.
func records(d *hostedDomain) string {
	text := map[string]string{
		"MX":    fmt.Sprintf("%s. MX 10 of this host", d.name),
		"SPF":   fmt.Sprintf("%s. TXT \"v=spf1 mx -all\"", d.name),
		"DMARC": fmt.Sprintf("_dmarc.%s. TXT \"v=DMARC1; p=none\"", d.name),
	}
	var list []string
	for _, kind := range d.missing {
		list = append(list, text[kind])
	}
	return strings.Join(list, "; ")
}

// byPlace makes findings of domains: those of one line of main.cf share one, and
// rows of which the same is to be said.
func (h *hostedDomains) byPlace(what func(*hostedDomain) string, make func([]*hostedDomain) finding.Finding) []finding.Finding {
	var groups [][]*hostedDomain
	index := map[string]int{}
	for _, d := range h.list {
		if what(d) == "" {
			continue
		}
		key := d.at.String() + "\x00" + d.at.Parameter
		n, known := index[key]
		if !known {
			n = len(groups)
			index[key], groups = n, append(groups, nil)
		}
		groups[n] = append(groups[n], d)
	}
	var list []finding.Finding
	for _, same := range merge(groups, what) {
		f := make(same)
		f.At = placesOfDomains(same)
		if len(h.list) == MaxDomains && h.total > MaxDomains {
			f.Message += fmt.Sprintf(" (only the first %d of %d domains were asked for)", MaxDomains, h.total)
		}
		list = append(list, f)
	}
	return list
}

// merge joins groups of which the same is to be said.
func merge(groups [][]*hostedDomain, what func(*hostedDomain) string) [][]*hostedDomain {
	var merged [][]*hostedDomain
	index := map[string]int{}
	for _, g := range groups {
		text := what(g[0]) + "\x00" + g[0].parameter
		mixed := slices.ContainsFunc(g, func(d *hostedDomain) bool { return what(d) != what(g[0]) })
		n, known := index[text]
		switch {
		case mixed:
			merged = append(merged, g)
		case known:
			merged[n] = append(merged[n], g...)
		default:
			index[text] = len(merged)
			merged = append(merged, g)
		}
	}
	return merged
}

// placesOfDomains are the places of domains, as many as a finding names.
func placesOfDomains(list []*hostedDomain) []origin.At {
	var at []origin.At
	for _, d := range list {
		if len(at) < finding.MaxPlaces && !slices.ContainsFunc(at, func(a origin.At) bool { return samePlace(a, d.at) }) {
			at = append(at, d.at)
		}
	}
	return at
}

func namesOf(list []*hostedDomain) []string {
	var names []string
	for _, d := range list {
		names = append(names, d.name)
	}
	return names
}
