package addresses

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"postern/internal/address"
	"postern/internal/check/inventory"
	"postern/internal/explain"
	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/route"
	"postern/internal/table"
)

// hostingMaps are the tables whose rows say that a domain is meant to be hosted here.
var hostingMaps = []string{"virtual_mailbox_maps", "virtual_alias_maps", "relay_recipient_maps"}

// loginMaps are the tables of those who may log in or send. There is no verifier that
// reads stored passwords: smtpd_sasl_password_maps is no parameter, and counts for nothing.
var loginMaps = []string{"smtpd_sender_login_maps"}

// examineNowhere is VD103 and VD516: rows for domains in no list.
func (g *graph) examineNowhere(ctx context.Context) {
	known := map[string]bool{} // whether a domain is in no list
	for _, parameter := range hostingMaps {
		for _, t := range g.list.Of(ctx, parameter) {
			for _, e := range t.Entries {
				if domain := g.domainOf(e); domain != "" && g.unlisted(ctx, known, parameter, domain) && !g.isIdentity(parameter, e) {
					g.noteNowhere(ctx, domain, parameter, e.At())
				}
			}
		}
	}
	for _, parameter := range loginMaps {
		for _, t := range g.list.Of(ctx, parameter) {
			for _, e := range t.Entries {
				if domain := g.domainOf(e); domain != "" && g.unlisted(ctx, known, parameter, domain) && !g.elsewhere(ctx, e, domain) {
					g.noteLogin(domain, parameter, e)
				}
			}
		}
	}
}

// domainOf is the domain of the key of a row, "" when it has none.
func (g *graph) domainOf(e table.Entry) string {
	at := strings.LastIndexByte(e.Key, '@')
	if at < 0 {
		return ""
	}
	domain := address.Fold(e.Key[at+1:])
	if meant(domain) != domain || !route.ValidHostname(domain) {
		return "" // no lookup finds it, which another room says
	}
	return domain
}

// unlisted reports whether the domain of a row is in no list, and that for no other
// reason that is known.
func (g *graph) unlisted(ctx context.Context, known map[string]bool, parameter, domain string) bool {
	if parameter == "virtual_alias_maps" && g.isHost(domain) {
		return false
	}
	is, seen := known[domain]
	if !seen {
		class, _, ok := g.class(ctx, domain)
		is = ok && class == route.Default && !g.isVeiledDomain(ctx, domain) && !g.onlySends(ctx)
		known[domain] = is
	}
	return is
}

// isHost reports whether a domain is a name of this host. It need be in no list to
// have aliases: they are for the mail that the host itself sends.
func (g *graph) isHost(domain string) bool {
	return domain == "localhost" || strings.HasPrefix(domain, "localhost.") ||
		domain == address.Fold(g.settings.String("myhostname")) || domain == address.Fold(g.settings.String("myorigin"))
}

// onlySends reports a host that takes no mail from outside: its aliases are for mail
// that it sends.
func (g *graph) onlySends(ctx context.Context) bool {
	if s := g.settings.String("inet_interfaces"); s != "loopback-only" && s != "localhost" && s != "127.0.0.1" {
		return false
	}
	return !slices.ContainsFunc(g.list.Domains(ctx), func(d inventory.Domain) bool { return d.Class != route.Local })
}

// isIdentity reports an alias to itself, which changes nothing wherever its domain is.
func (g *graph) isIdentity(parameter string, e table.Entry) bool {
	return parameter == "virtual_alias_maps" && slices.Equal(g.targetsOf(parameter, e.Key), g.targetsOf(parameter, e.Value))
}

// noteNowhere is VD103.
func (g *graph) noteNowhere(ctx context.Context, domain, parameter string, at origin.At) {
	key := "VD103 " + domain
	n := note{code: "VD103", severity: finding.Error, domain: domain, at: []origin.At{at}}
	if !g.notes.has(key) {
		n.near = g.list.NearDomain(ctx, domain)
		r := g.reviveDomain(ctx, domain)
		n.at = append(n.at, r.at...)
		n.message = func(_ string, n int) string {
			return fmt.Sprintf("%s is in no list of domains (mydestination, virtual_alias_domains, virtual_mailbox_domains, relay_domains), "+
				"so mail for it is refused%s; %s", domain, r.because, rowsFor(n, parameter))
		}
		n.fix = cmp.Or(r.cure, nowhereFix(domain, parameter, n.near))
	}
	g.notes.addTo(key, n)
}

func rowsFor(n int, parameter string) string {
	if n == 1 {
		return "a row of " + parameter + " is for it"
	}
	return fmt.Sprintf("%d rows are for it, in %s and others", n, parameter)
}

// nowhereFix names the list that fits the rows. Aliases of a domain that is hosted
// elsewhere are of use too: for mail that is sent from here.
func nowhereFix(domain, parameter string, near []string) string {
	list := map[string]string{"virtual_mailbox_maps": "virtual_mailbox_domains", "virtual_alias_maps": "virtual_alias_domains",
		"relay_recipient_maps": "relay_domains"}[parameter]
	if len(near) > 0 {
		return fmt.Sprintf("add %s to %s, or write %s if that is meant", domain, list, near[0])
	}
	if parameter == "virtual_alias_maps" {
		return fmt.Sprintf("add %s to %s if all its mail is to come here; leave the row as it is if it is meant for mail that leaves through this host", domain, list)
	}
	return fmt.Sprintf("add %s to %s", domain, list)
}

// elsewhere reports a row that lets a user of a hosted domain send with an address
// that is hosted elsewhere.
func (g *graph) elsewhere(ctx context.Context, e table.Entry, domain string) bool {
	logins, _ := address.ParseList(e.Value)
	for _, l := range logins {
		if l.Domain == "" || address.Fold(l.Domain) == domain || !g.list.Hosted(ctx, l.Domain) {
			return false
		}
	}
	return len(logins) > 0
}

// noteLogin is VD516.
func (g *graph) noteLogin(domain, parameter string, e table.Entry) {
	g.notes.addTo("VD516 "+domain, note{code: "VD516", severity: finding.Warning, domain: domain, at: []origin.At{e.At()},
		message: func(_ string, n int) string {
			return fmt.Sprintf("%s is in no list of domains, and its users can still log in or send: %s", domain, rowsFor(n, parameter))
		},
		fix: fmt.Sprintf("take the rows of %s out of %s, or add the domain to a list again", domain, parameter)})
}

// explainNowhere is VD103 for one address whose domain is in no list.
func (g *graph) explainNowhere(ctx context.Context, a address.Address, e *explain.Explanation) {
	domain := address.Fold(a.Domain)
	if e.Reply.Code < 400 {
		return
	}
	g.examineRowsOf(ctx, domain)
	if g.notes.has("VD103 " + domain) {
		return
	}
	r := g.reviveDomain(ctx, domain)
	n := note{code: "VD103", severity: finding.Info, domain: domain, name: domain, near: g.list.NearDomain(ctx, domain),
		at: append(r.at, g.parameter("virtual_mailbox_domains"), g.parameter("virtual_alias_domains"),
			g.parameter("relay_domains"), g.parameter("mydestination")),
		message: says("%s is not hosted here: it is in none of mydestination, virtual_alias_domains, virtual_mailbox_domains and relay_domains, " +
			"and the client is neither in mynetworks nor logged in" + r.because),
		fix: "add " + domain + " to virtual_mailbox_domains if it is to be hosted here; to send to it, the client has to log in"}
	switch {
	case r.cure != "":
		n.severity, n.fix = finding.Error, r.cure
	case g.isVeiledDomain(ctx, domain):
		n.fix = "look at what \"postern check\" says of the place where " + domain + " is written"
	case len(n.near) > 0:
		n.severity = finding.Error
		n.fix = fmt.Sprintf("write %s if that is meant, or add %s to virtual_mailbox_domains", n.near[0], domain)
	}
	g.notes.add(n)
}

// examineRowsOf looks for rows of one domain that is in no list.
func (g *graph) examineRowsOf(ctx context.Context, domain string) {
	known := map[string]bool{}
	for _, parameter := range hostingMaps {
		if !g.unlisted(ctx, known, parameter, domain) {
			continue
		}
		for _, t := range g.list.Of(ctx, parameter) {
			for _, e := range t.Entries {
				if g.domainOf(e) == domain && !g.isIdentity(parameter, e) {
					g.noteNowhere(ctx, domain, parameter, e.At())
				}
			}
		}
	}
}
