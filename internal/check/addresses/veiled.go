package addresses

import (
	"context"
	"slices"
	"strings"

	"golang.org/x/net/idna"

	"postern/internal/address"
	"postern/internal/config"
)

// isVeiled reports whether an address is unknown only because the row that has it
// cannot be found: it has capitals or blanks, or its line could not be read. Other
// rooms blame that row (VD308, VD309), and a table that fails (VD301 to VD307).
func (g *graph) isVeiled(ctx context.Context, a address.Address) bool {
	user, _ := g.router.Extension(a.Local)
	whole, base := meant(a.Internal()), meant(address.Address{Local: user, Domain: a.Domain}.Internal())
	for _, parameter := range []string{"virtual_mailbox_maps", "virtual_alias_maps", "relay_recipient_maps"} {
		set := g.veiledKeys(ctx, parameter)
		if set[whole] || set[base] || set[everything] {
			return true
		}
	}
	return false
}

// everything stands for all rows of a table that cannot be read.
const everything = "*"

// veiledKeys are what was meant by the rows of a parameter that cannot be found.
func (g *graph) veiledKeys(ctx context.Context, parameter string) map[string]bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if set, known := g.veils[parameter]; known {
		return set
	}
	set := map[string]bool{}
	for _, t := range g.list.Of(ctx, parameter) {
		if t.Err != nil {
			set[everything] = true
		}
		for _, e := range t.Entries {
			if m := meant(e.Key); m != e.Key {
				set[m] = true
			}
		}
		for _, p := range t.Problems {
			if words := strings.Fields(p.At.Text); len(words) > 0 {
				set[meant(words[0])] = true
			}
		}
	}
	g.veils[parameter] = set
	return set
}

// isVeiledDomain reports whether a domain is in no list only because the word that
// names it is lost: behind a '#', in a misspelt parameter, in an earlier setting, in a
// row or line that cannot be read, in a line of main.cf that is no setting, or before
// a semicolon.
func (g *graph) isVeiledDomain(ctx context.Context, domain string) bool {
	domain = meant(domain)
	for _, parameter := range domainLists {
		set := g.veiledKeys(ctx, parameter)
		if set[domain] || set[everything] || hasWord(g.settings.String(parameter), domain) {
			return true
		}
	}
	for _, d := range g.list.Domains(ctx) {
		if d.Name != domain && meant(d.Name) == domain {
			return true
		}
	}
	for _, f := range config.Faults(g.list.Setup.Fault) {
		if hasWord(f.At.Text, domain) {
			return true
		}
	}
	for _, p := range g.settings.Warnings() {
		if !p.Kind.Miswritten() {
			continue
		}
		if hasWord(p.At.Text, domain) {
			return true
		}
		for _, at := range p.Also {
			if hasWord(at.Text, domain) {
				return true
			}
		}
	}
	return false
}

// hasWord reports whether a setting names a domain, as a word or between semicolons.
func hasWord(setting, domain string) bool {
	return slices.Contains(strings.FieldsFunc(address.Fold(setting), func(r rune) bool { return r <= ' ' || strings.ContainsRune(",;=#", r) }), domain)
}

// meant is an address or a domain without what makes it differ by mistake: capitals,
// white space, control characters, punctuation around it, and a domain that is not
// spelled in ASCII.
func meant(key string) string {
	ascii := true
	key = address.Fold(strings.Map(func(r rune) rune {
		switch {
		case r <= ' ', r == 0x7f, r == 0xa0, r == 0x200b, r == 0x202f, r == 0xfeff:
			return -1
		}
		ascii = ascii && r < 0x80
		return r
	}, key))
	key = unwrapped(key)
	if ascii {
		return key
	}
	at := strings.LastIndexByte(key, '@') + 1
	if domain, err := idna.Lookup.ToASCII(key[at:]); err == nil {
		return key[:at] + domain
	}
	return key
}

// unwrapped is an address without angle brackets or quotes around it, and without a
// dot, comma or semicolon behind it.
func unwrapped(key string) string {
	inner := strings.TrimRight(key, ".,;>")
	if len(inner) > 1 && inner[0] == '"' && inner[len(inner)-1] == '"' {
		inner = inner[1 : len(inner)-1]
	}
	return strings.TrimLeft(inner, "<")
}
