package inventory

import (
	"context"
	"maps"
	"slices"
	"strings"

	"postern/internal/address"
	"postern/internal/nearest"
)

// mostNear is how many near misses are given.
const mostNear = 5

// neighbours are the known addresses in the order in which near misses are searched.
type neighbours struct {
	domains []string            // hosted
	locals  map[string][]string // by domain
	homes   map[string][]string // the domains of a local part
	odd     map[string][]string // by what was meant: keys with capitals, blanks and the like, as stored
}

// Near are the addresses that may have been meant by one that is not there, best
// first, at most 5: rows that no lookup finds for their capitals, blanks or an
// inactive record, as they are stored; a letter or two that differ; the same local
// part in a domain of similar name, then in any other. The address itself is in it
// only as such a row.
func (i *Inventory) Near(ctx context.Context, addr string) []string {
	n := i.near.get(func() *neighbours { return i.neighbours(ctx) })
	addr = meant(addr)
	local, domain, ok := cutAt(addr)
	if !ok {
		return n.nearDomains(addr)
	}
	list := slices.Clone(n.odd[addr])
	limit := limitOf(local)
	similar := nearest.Words(local, slices.Values(n.locals[domain]), limit)
	list = append(list, qualified(similar, domain)...)
	if user, ext := i.extension(local); ext != "" {
		list = append(list, qualified(nearest.Words(user, slices.Values(n.locals[domain]), limitOf(user)), domain)...)
	}
	for _, d := range n.nearDomains(domain) {
		list = append(list, qualified(nearest.Words(local, slices.Values(n.locals[d]), 0), d)...)
	}
	for _, d := range n.homes[local] {
		list = append(list, local+"@"+d)
	}
	return best(list, addr, n.odd[addr])
}

// extension takes the extension off a local part.
func (i *Inventory) extension(local string) (user, ext string) {
	if i.Setup.Router == nil {
		return local, ""
	}
	return i.Setup.Router.Extension(local)
}

// NearDomain are the hosted domains that look like one that is not, best first.
func (i *Inventory) NearDomain(ctx context.Context, domain string) []string {
	n := i.near.get(func() *neighbours { return i.neighbours(ctx) })
	return n.nearDomains(meant(domain))
}

// nearDomains finds spelling errors, and domains that are the name with or without the
// usual name of a host in front.
func (n *neighbours) nearDomains(domain string) []string {
	domain = strings.TrimSuffix(domain, ".")
	list := slices.DeleteFunc(nearest.Words(domain, slices.Values(n.domains), limitOf(stem(domain))), func(d string) bool {
		return stem(d) == stem(domain) && nearest.Word(domain, slices.Values([]string{d}), 1) == "" // .net is not .test
	})
	for _, d := range n.domains {
		if isHostOf(domain, d) || isHostOf(d, domain) {
			list = append(list, d)
		}
	}
	return best(list, domain, nil)
}

// stem is a domain without its top-level domain.
func stem(domain string) string { return domain[:max(0, strings.LastIndexByte(domain, '.'))] }

// hosts are names of hosts that people put in front of a mail domain.
var hosts = []string{"imap", "mail", "mx", "pop", "smtp", "webmail", "www"}

// isHostOf reports whether name is a host of that domain by its name. Any other
// subdomain may well be a domain of its own.
func isHostOf(name, domain string) bool {
	label, rest, _ := strings.Cut(name, ".")
	return rest == domain && slices.Contains(hosts, label)
}

// limitOf is how many letters may differ: a short word is soon another one.
func limitOf(word string) int {
	switch {
	case len(word) < 3:
		return 0
	case len(word) < 6:
		return 1
	}
	return 2
}

// best are the first few that are not the word itself; those of exempt may be.
func best(list []string, word string, exempt []string) []string {
	var out []string
	for _, s := range list {
		if s == word && !slices.Contains(exempt, s) || slices.Contains(out, s) {
			continue
		}
		if out = append(out, s); len(out) == mostNear {
			break
		}
	}
	return out
}

func qualified(locals []string, domain string) []string {
	out := make([]string, len(locals))
	for j, local := range locals {
		out[j] = local + "@" + domain
	}
	return out
}

func cutAt(addr string) (local, domain string, ok bool) {
	j := strings.LastIndexByte(addr, '@')
	if j < 0 {
		return addr, "", false
	}
	return addr[:j], addr[j+1:], true
}

// meant is a key without what makes it differ by mistake: capitals, and white
// space and control characters anywhere.
func meant(key string) string {
	return address.Fold(strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f || r == 0xa0 || r == 0x200b || r == 0xfeff || r == 0x202f {
			return -1
		}
		return r
	}, key))
}

// neighbours sorts what is known.
func (i *Inventory) neighbours(ctx context.Context) *neighbours {
	n := &neighbours{locals: map[string][]string{}, homes: map[string][]string{}, odd: map[string][]string{}}
	for _, d := range i.Domains(ctx) {
		n.domains = append(n.domains, d.Name)
	}
	for a := range i.Addresses(ctx) {
		if local, domain, ok := cutAt(a.Text); ok && keyed(a) {
			n.locals[domain] = append(n.locals[domain], local)
			n.homes[local] = append(n.homes[local], domain)
		}
	}
	for _, parameter := range slices.Concat(recipientMaps, lists[:]) {
		for _, t := range i.Of(ctx, parameter) {
			n.oddities(ctx, t)
		}
	}
	slices.Sort(n.domains)
	n.domains = slices.Compact(n.domains)
	return n
}

// keyed reports an address that is the key of a row for recipients: one that is only
// a target, or the owner of something, need not exist.
func keyed(a Address) bool {
	return slices.ContainsFunc(a.From, func(s Source) bool {
		return !s.Target && (s.Parameter == "alias_maps" || slices.Contains(recipientMaps, s.Parameter))
	})
}

// oddities adds the rows of a table that no lookup finds.
func (n *neighbours) oddities(ctx context.Context, t *Table) {
	odd := map[string]bool{}
	for _, e := range t.Entries {
		if m := meant(e.Key); m != e.Key {
			odd[e.Key] = true
		}
	}
	for _, h := range t.Hidden(ctx) {
		odd[h.Key] = true
	}
	for _, key := range slices.Sorted(maps.Keys(odd)) {
		m := meant(key)
		n.odd[m] = append(n.odd[m], key)
	}
}
