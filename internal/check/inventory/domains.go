package inventory

import (
	"context"
	"slices"
	"strings"

	"postern/internal/address"
	"postern/internal/config"
	"postern/internal/origin"
	"postern/internal/route"
	"postern/internal/table"
)

// Domain is a domain that one of the four lists has.
type Domain struct {
	Name      string // folded
	Class     route.Class
	Parameter string    // that has it: mydestination
	Table     string    // type:name, when a table has it
	At        origin.At // the word, the line or the row
	// Default says that nobody wrote the parameter: it is the default of
	// relay_domains that has the local domains, or of virtual_alias_domains.
	Default bool
	Losers  []Domain // the other lists that have it too, and do not count
}

// lists are the domain lists by class.
var lists = [...]string{
	route.Local:          "mydestination",
	route.VirtualAlias:   "virtual_alias_domains",
	route.VirtualMailbox: "virtual_mailbox_domains",
	route.Relay:          "relay_domains",
}

// addressMaps are the maps that are domain lists by default: of their keys only
// those are domains that look like it.
var addressMaps = map[route.Class]string{route.VirtualAlias: "virtual_alias_maps", route.VirtualMailbox: "virtual_mailbox_maps"}

// Domains are the domains that this host is the final destination or a relay for,
// by class and then in the order of their list. Where a list cannot be read to the
// end (a pattern, a server that cannot be listed), it is asked for the domains that
// the rows of other tables name.
func (i *Inventory) Domains(ctx context.Context) []Domain {
	return i.domains.get(func() []Domain {
		var found []Domain
		whole := true
		for class, parameter := range lists {
			list, all := i.listDomains(ctx, route.Class(class), parameter)
			found, whole = append(found, list...), whole && all
		}
		list, index := merge(found)
		if whole || i.Setup.Router == nil {
			return list
		}
		for _, name := range i.mentioned(ctx) {
			if _, known := index[name]; !known {
				index[name] = -1
				list = append(list, i.ask(ctx, name)...)
			}
		}
		slices.SortStableFunc(list, func(a, b Domain) int { return int(a.Class) - int(b.Class) })
		return list
	})
}

// merge puts the domains that several lists have under the first one.
func merge(found []Domain) (list []Domain, index map[string]int) {
	index = make(map[string]int, len(found))
	for _, d := range found {
		n, known := index[d.Name]
		switch {
		case !known:
			index[d.Name] = len(list)
			list = append(list, d)
		case list[n].Class != d.Class && !slices.ContainsFunc(list[n].Losers, func(l Domain) bool { return l.Class == d.Class }):
			list[n].Losers = append(list[n].Losers, d)
		}
	}
	return list, index
}

// listDomains reads one list; whole: to its end.
func (i *Inventory) listDomains(ctx context.Context, class route.Class, parameter string) (found []Domain, whole bool) {
	v, whole := i.Setup.Settings.Value(parameter), true
	use := table.Use{Parameter: parameter, At: v.At, Fold: true}
	list, _ := i.Setup.Opener.List(ctx, v.Text, table.StringList, false, use) // what is wrong is for other checks
	for it := range list.Items() {
		d := Domain{Class: class, Parameter: parameter, At: it.At, Default: !v.Set}
		switch {
		case it.Negated || it.Err != nil:
		case it.Table == nil:
			if d.Name = it.Text; isDomain(d.Name) {
				found = append(found, d)
			}
		default:
			rows, all := i.tableDomains(ctx, it, d, v)
			found, whole = append(found, rows...), whole && all
		}
	}
	return found, whole
}

// tableDomains are the keys of a table of a domain list.
func (i *Inventory) tableDomains(ctx context.Context, it table.Item, d Domain, v config.Value) (found []Domain, whole bool) {
	i.mu.Lock()
	t := i.table(it.Text, Use{Parameter: d.Parameter, At: it.At})
	i.mu.Unlock()
	i.read(ctx, []*Table{t})
	other := addressMaps[d.Class]
	dotted := other != "" && v.Text == i.Setup.Settings.String(other)
	d.Table = t.Spec
	for _, e := range t.Entries {
		d.Name = address.Fold(e.Key)
		if isDomain(d.Name) && (!dotted || strings.Contains(d.Name, ".")) {
			d.At = e.At()
			found = append(found, d)
		}
	}
	return found, t.Complete || t.Err != nil
}

// isDomain reports whether a word of a list is the name of one domain.
func isDomain(name string) bool {
	return route.ValidHostname(name) || route.ValidLiteral(name)
}

// mentioned are the domains of the keys of the address tables.
func (i *Inventory) mentioned(ctx context.Context) []string {
	seen := map[string]bool{}
	var names []string
	for _, parameter := range recipientMaps {
		for _, t := range i.Of(ctx, parameter) {
			for _, e := range t.Entries {
				_, domain, ok := strings.Cut(address.Fold(e.Key), "@")
				if ok && !seen[domain] && isDomain(domain) {
					seen[domain] = true
					names = append(names, domain)
				}
			}
		}
	}
	return names
}

// recipientMaps are the tables whose keys are recipients.
var recipientMaps = []string{"virtual_mailbox_maps", "virtual_alias_maps", "relay_recipient_maps"}

// ask asks the resolver for the class of a domain.
func (i *Inventory) ask(ctx context.Context, name string) []Domain {
	var found []Domain
	for _, why := range i.Setup.Router.Listed(ctx, name) {
		found = append(found, Domain{Name: name, Class: why.Class, Parameter: why.Parameter, Table: why.Table, At: why.At,
			Default: !i.Setup.Settings.Value(why.Parameter).Set})
	}
	list, _ := merge(found)
	return list
}

// Class is the class of a domain as the resolver has it. Default: it is not hosted
// here, or nobody can tell.
func (i *Inventory) Class(ctx context.Context, domain string) route.Class {
	domain = address.Fold(domain)
	i.mu.Lock()
	class, known := i.class[domain]
	i.mu.Unlock()
	if known || i.Setup.Router == nil {
		if !known {
			class = route.Default
		}
		return class
	}
	class, _, err := i.Setup.Router.Classify(ctx, domain, nil)
	if err != nil {
		class = route.Default
	}
	i.mu.Lock()
	i.class[domain] = class
	i.mu.Unlock()
	return class
}

// Hosted reports whether mail for a domain ends here or is relayed from here on
// purpose: its class is not the default one.
func (i *Inventory) Hosted(ctx context.Context, domain string) bool {
	return i.Class(ctx, domain) != route.Default
}
