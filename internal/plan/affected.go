package plan

import (
	"context"
	"iter"
	"slices"
	"strings"

	"postern/internal/address"
	"postern/internal/check/inventory"
	"postern/internal/config"
	"postern/internal/route"
	"postern/internal/table"
)

// affected tells which addresses a change can concern, when it is only one of rows:
// those that a changed row has as its key, and those that rows lead to them. An
// address that is followed from row to row without meeting one of these gets the
// same answers as before.
type affected struct {
	origin  string          // myorigin, of addresses without a domain
	names   map[string]bool // addresses, folded and without extension
	domains map[string]bool // of which all addresses are concerned
	cut     func(local string) string
}

// follows are the parameters whose rows lead from an address to others.
var follows = []string{"virtual_alias_maps", "canonical_maps", "recipient_canonical_maps", "recipient_bcc_maps"}

// keyed are the parameters whose tables are asked for an address in the forms that
// keysOf knows, and for nothing else: those in which a change is one of these keys.
var keyed = map[string]bool{
	"virtual_alias_maps": true, "virtual_mailbox_maps": true, "relay_recipient_maps": true, "virtual_uid_maps": true, "virtual_gid_maps": true,
	"virtual_mailbox_domains": true, "virtual_alias_domains": true, "relay_domains": true,
}

// affectedBy compares the rows of both sides; nil: the difference is not one of rows
// that are all known, and every address has to be followed.
func affectedBy(ctx context.Context, sides [2]*side) *affected {
	before, after := sides[0], sides[1]
	settings := after.setup.Settings
	even := newEvener(sides)
	if !sameSettings(before, after, even) || leadsAnywhere(settings) {
		return nil
	}
	old, now := before.inventory.Tables(ctx), after.inventory.Tables(ctx)
	if len(old) != len(now) {
		return nil
	}
	a := &affected{origin: address.Fold(settings.String("myorigin")), names: map[string]bool{}, domains: map[string]bool{},
		cut: cutter(after)}
	for i := range old {
		if even.text(old[i].Spec) != even.text(now[i].Spec) || !a.table(old[i], now[i], even) {
			return nil
		}
	}
	a.domainLists(before.inventory.Domains(ctx), after.inventory.Domains(ctx))
	if bcc := settings.String("always_bcc"); bcc != "" && a.has(bcc) {
		return nil
	}
	return a.close(ctx, sides)
}

// leadsAnywhere says of settings whether they lead from an address to others in ways
// that are not looked at here, or name files of which no rows are known.
func leadsAnywhere(s *config.Settings) bool {
	return s.String("masquerade_domains") != "" ||
		slices.ContainsFunc(s.List("mynetworks"), func(w string) bool { return strings.HasPrefix(strings.TrimLeft(w, "!"), "/") })
}

// domainLists adds the domains that are not the same on both sides, and all local
// ones: a user's own files may lead anywhere.
func (a *affected) domainLists(before, after []inventory.Domain) {
	class := make(map[string]inventory.Domain, len(before))
	for _, d := range before {
		class[d.Name] = d
	}
	for _, d := range after {
		old, known := class[d.Name]
		delete(class, d.Name)
		if !known || old.Class != d.Class || old.Parameter != d.Parameter || len(old.Losers) != len(d.Losers) || d.Class == route.Local {
			a.domains[d.Name] = true
		}
	}
	for name := range class { // those that are gone
		a.domains[name] = true
	}
}

// sameSettings says whether all parameters and services are the same, but for the
// name of the directory.
func sameSettings(before, after *side, even *evener) bool {
	for name, v := range after.setup.Settings.All() {
		old := before.setup.Settings.Value(name)
		if name != "config_directory" && even.text(old.Text) != even.text(v.Text) {
			return false
		}
	}
	for name, v := range before.setup.Settings.All() {
		if name != "config_directory" && even.text(v.Text) != even.text(after.setup.Settings.Value(name).Text) {
			return false
		}
	}
	return slices.EqualFunc(before.setup.Settings.Services(), after.setup.Settings.Services(), even.sameService)
}

// table adds the keys of the rows in which a table differs. It is false when not all
// of its rows are known, or when it is asked in ways that are not known here.
func (a *affected) table(old, now *inventory.Table, even *evener) bool {
	inPlace := old.Spec == now.Spec && (strings.HasPrefix(now.Spec, "static:") || strings.HasPrefix(now.Spec, "inline:"))
	switch {
	case old.Err != nil || now.Err != nil || redirects(now):
		return false
	case inPlace:
		return true
	case old.Pattern && now.Pattern:
		return !leads(now) && slices.EqualFunc(old.Rules, now.Rules, even.sameRule)
	case !old.Complete || !now.Complete || !sameQuery(old, now):
		return false
	}
	known := !slices.ContainsFunc(now.Uses, func(u inventory.Use) bool { return !keyed[u.Parameter] })
	for key := range changedKeys(old, now) {
		if !known || !a.key(key) {
			return false
		}
	}
	return true
}

// sameQuery says whether the same is asked of two databases.
func sameQuery(old, now *inventory.Table) bool {
	if old.Query == nil || now.Query == nil {
		return old.Query == now.Query
	}
	return old.Query.Text == now.Query.Text
}

// redirects says whether the answers of a table can be actions that give a message
// other recipients (access(5)).
func redirects(t *inventory.Table) bool {
	if !slices.ContainsFunc(t.Uses, func(u inventory.Use) bool { return !strings.HasSuffix(u.Parameter, "_maps") && !keyed[u.Parameter] }) {
		return false
	}
	action := func(text string) bool { return strings.Contains(text, "@") }
	return slices.ContainsFunc(t.Entries, func(e table.Entry) bool { return action(e.Value) }) ||
		slices.ContainsFunc(t.Rules, func(r table.Rule) bool { return action(r.Result) })
}

// leads says whether a table of patterns leads from addresses to others.
func leads(t *inventory.Table) bool {
	return slices.ContainsFunc(t.Uses, func(u inventory.Use) bool { return slices.Contains(follows, u.Parameter) })
}

// changedKeys yields the keys, folded, whose rows are not the same in two tables.
func changedKeys(old, now *inventory.Table) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, pair := range [][2]*inventory.Table{{old, now}, {now, old}} {
			for _, e := range pair[0].Entries {
				same := slices.EqualFunc(pair[0].Rows(e.Key), pair[1].Rows(e.Key), func(x, y table.Entry) bool { return x.Key == y.Key && x.Value == y.Value })
				if !same && !yield(address.Fold(e.Key)) {
					return
				}
			}
		}
	}
}

// key adds what a key is asked for: an address, or a whole domain. A word alone may
// be either: a domain, or a user of myorigin. It is false for what is none of these.
func (a *affected) key(key string) bool {
	local, domain, ok := strings.Cut(key, "@")
	switch {
	case strings.ContainsAny(key, `" [`), key == "":
		return false
	case ok && local == "":
		a.domains[domain] = true
	case ok:
		a.names[a.name(key)] = true
	default:
		a.domains[strings.TrimPrefix(key, ".")] = true
		a.names[a.name(key)] = true
	}
	return true
}

// name is an address without its extension, folded; one without a domain is of
// myorigin.
func (a *affected) name(text string) string {
	text = address.Fold(text)
	at := strings.LastIndexByte(text, '@')
	if at < 0 {
		text, at = text+"@"+a.origin, len(text)
	}
	return a.cut(text[:at]) + text[at:]
}

// has says whether an address may be concerned.
func (a *affected) has(text string) bool {
	name := a.name(text)
	if a.names[name] || strings.ContainsAny(name, `"[%!`) {
		return true
	}
	domain := name[strings.LastIndexByte(name, '@')+1:]
	for domain != "" { // and its parent domains
		if a.domains[domain] {
			return true
		}
		_, domain, _ = strings.Cut(domain, ".")
	}
	return false
}

// close adds what rows lead to the addresses that are there, until nothing is added.
func (a *affected) close(ctx context.Context, sides [2]*side) *affected {
	for grown := true; grown; {
		grown = false
		for _, s := range sides {
			for _, parameter := range follows {
				for _, t := range s.inventory.Of(ctx, parameter) {
					more, ok := a.follow(t)
					if !ok {
						return nil
					}
					grown = grown || more
				}
			}
		}
	}
	return a
}

// follow adds the keys of the rows of a table that lead to an address that is there.
// It is not ok when a key is one that nobody knows the addresses of.
func (a *affected) follow(t *inventory.Table) (grown, ok bool) {
	for _, e := range t.Entries {
		if !a.reaches(e.Value) {
			continue
		}
		names, domains := len(a.names), len(a.domains)
		if !a.key(address.Fold(e.Key)) {
			return grown, false
		}
		grown = grown || len(a.names) > names || len(a.domains) > domains
	}
	return grown, true
}

// reaches says whether one of the addresses of a result is there. Of what is not
// written plainly it may be.
func (a *affected) reaches(value string) bool {
	if strings.ContainsAny(value, `"<>()\;[]%!:|/`) {
		return true
	}
	for len(value) > 0 {
		var one string
		if i := strings.IndexAny(value, ", \t"); i >= 0 {
			one, value = value[:i], value[i+1:]
		} else {
			one, value = value, ""
		}
		// "@domain" keeps the user: any of that domain.
		if one != "" && (strings.HasPrefix(one, "@") || a.has(one)) {
			return true
		}
	}
	return false
}

// cutter cuts the extension off a local part, as the router does.
func cutter(s *side) func(string) string {
	if s.explainer == nil {
		return func(local string) string { return local }
	}
	return func(local string) string {
		if base, extension := s.explainer.Router.Extension(local); extension != "" {
			return base
		}
		return local
	}
}
