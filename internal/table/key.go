package table

import (
	"iter"
	"strings"

	"postern/internal/address"
)

// KeyKind is which part of an address or name a key is.
type KeyKind uint8

// Kinds of keys, with the key for user+ext@a.example.org.
const (
	Full               KeyKind = iota // user+ext@a.example.org; the whole name or network address
	NoExtension                       // user@a.example.org
	BareFull                          // user+ext
	BareNoExtension                   // user
	CatchAll                          // @a.example.org
	Domain                            // a.example.org
	Parent                            // .example.org or example.org; 192.0.2
	Star                              // *
	LocalAt                           // user+ext@
	LocalAtNoExtension                // user@
)

// Key is one thing to ask tables for.
type Key struct {
	Text string
	// Alt is asked after Text found nothing in any table, if it is another one:
	// the internal form of an address with a quoted local part.
	Alt       string
	Partial   bool   // not for pattern tables
	Extension string // with its delimiter: what the key left out of the local part
	Kind      KeyKind
	// Err says that the next key could not be determined. It ends the search.
	Err error
}

// Form is the spelling of the keys of an address.
type Form uint8

// Forms of keys.
const (
	ExternalFirst Form = iota // `"a b"@example.org`, then `a b@example.org`
	ExternalOnly              // `"a b"@example.org`: canonical and virtual alias maps
)

// key fills in the text of an address.
func (f Form) key(a address.Address, k Key) Key {
	k.Text = a.String()
	if f == ExternalFirst {
		k.Alt = a.Internal()
	}
	return k
}

// OnlyKey is the sequence of one key, of the kind Full. It is for maps that
// are asked for a plain name.
func OnlyKey(text string) iter.Seq[Key] {
	return func(yield func(Key) bool) { yield(Key{Text: text}) }
}

// AddressKeys yields the keys of an address in the order of most address
// tables (virtual(5), "TABLE SEARCH ORDER"):
//
//	user+ext@domain, user@domain, user+ext, user, @domain
//
// bare says whether the local part alone stands for the address too: the domain
// is myorigin or a local one. It is called when its turn comes; its error is
// yielded as Key.Err. nil means no. An address without a domain has the keys
// user+ext and user only, of the kinds Full and NoExtension.
func AddressKeys(a address.Address, d address.Delimiter, bare func() (bool, error), form Form) iter.Seq[Key] {
	return func(yield func(Key) bool) {
		base, ext, split := d.Split(a.Local)
		if !fullKeys(a, base, ext, split, form, yield) || a.Domain == "" {
			return
		}
		ok, err := false, error(nil)
		if bare != nil {
			ok, err = bare()
		}
		if err != nil {
			yield(Key{Err: err})
			return
		}
		if ok && !yield(form.key(address.Address{Local: a.Local}, Key{Kind: BareFull, Partial: true})) {
			return
		}
		if ok && split && !yield(form.key(address.Address{Local: base}, Key{Kind: BareNoExtension, Partial: true, Extension: ext})) {
			return
		}
		yield(Key{Text: "@" + a.Domain, Kind: CatchAll, Partial: true})
	}
}

// fullKeys yields the address with and without its extension, and reports
// whether to go on.
func fullKeys(a address.Address, base, ext string, split bool, form Form, yield func(Key) bool) bool {
	if !yield(form.key(a, Key{Kind: Full})) {
		return false
	}
	return !split || yield(form.key(address.Address{Local: base, Domain: a.Domain},
		Key{Kind: NoExtension, Partial: true, Extension: ext}))
}

// TransportKeys yields the keys of transport_maps (transport(5)):
//
//	user+ext@a.example, user@a.example, a.example, .example, *
//
// The parent domains come without their leading dot when transport_maps is in
// parent_domain_matches_subdomains.
func TransportKeys(a address.Address, d address.Delimiter, parentsWithoutDot bool) iter.Seq[Key] {
	return func(yield func(Key) bool) {
		base, ext, split := d.Split(a.Local)
		if fullKeys(a, base, ext, split, ExternalFirst, yield) &&
			domainKeys(a.Domain, parentsWithoutDot, yield) {
			yield(Key{Text: "*", Kind: Star, Partial: true})
		}
	}
}

// AccessAddressKeys yields the keys of an address in access(5) tables:
//
//	user+ext@a.example, user@a.example, a.example, example, user+ext@, user@
//
// The parent domains come with a leading dot unless smtpd_access_maps is in
// parent_domain_matches_subdomains. For the null sender ask OnlyKey of
// smtpd_null_access_lookup_key instead.
func AccessAddressKeys(a address.Address, d address.Delimiter, parentsWithoutDot bool) iter.Seq[Key] {
	return func(yield func(Key) bool) {
		base, ext, split := d.Split(a.Local)
		if !fullKeys(a, base, ext, split, ExternalFirst, yield) || !domainKeys(a.Domain, parentsWithoutDot, yield) {
			return
		}
		if a.Local == "" || !yield(localAt(a.Local, Key{Kind: LocalAt, Partial: true})) {
			return
		}
		if split {
			yield(localAt(base, Key{Kind: LocalAtNoExtension, Partial: true, Extension: ext}))
		}
	}
}

// localAt fills in the text local@.
func localAt(local string, k Key) Key {
	k.Text = address.QuoteLocal(local) + "@"
	k.Alt = local + "@"
	return k
}

// domainKeys yields a domain and its parents, all of them partial keys, and
// reports whether to go on.
func domainKeys(domain string, parentsWithoutDot bool, yield func(Key) bool) bool {
	if domain == "" {
		return true
	}
	if !yield(Key{Text: domain, Kind: Domain, Partial: true}) {
		return false
	}
	for parent := range parents(domain, parentsWithoutDot) {
		if !yield(Key{Text: parent, Kind: Parent, Partial: true}) {
			return false
		}
	}
	return true
}

// parents yields the parent domains of a name, nearest first. A domain literal
// has none.
func parents(name string, withoutDot bool) iter.Seq[string] {
	return func(yield func(string) bool) {
		if strings.HasPrefix(name, "[") {
			return
		}
		for name != "" {
			dot := strings.IndexByte(name[1:], '.')
			if dot < 0 {
				return
			}
			name = name[1+dot:]
			parent := name
			if withoutDot {
				parent = name[1:]
			}
			if parent != "" && !yield(parent) {
				return
			}
		}
	}
}

// HostKeys yields the keys of a host or domain name in access(5) tables: the
// name, then its parents, with a leading dot unless parentsWithoutDot. Pattern
// tables get the name only.
func HostKeys(name string, parentsWithoutDot bool) iter.Seq[Key] {
	return func(yield func(Key) bool) {
		if !yield(Key{Text: name}) {
			return
		}
		for parent := range parents(name, parentsWithoutDot) {
			if !yield(Key{Text: parent, Kind: Parent, Partial: true}) {
				return
			}
		}
	}
}

// NetKeys yields the keys of a network address in access(5) tables: the
// address, then what is left when it is cut at its last '.' (IPv4) or ':'
// (IPv6), and so on. Pattern tables get the address only.
func NetKeys(ip string) iter.Seq[Key] {
	return func(yield func(Key) bool) {
		if !yield(Key{Text: ip}) {
			return
		}
		separator := byte('.')
		if strings.IndexByte(ip, ':') >= 0 {
			separator = ':'
		}
		for {
			i := strings.LastIndexByte(ip, separator)
			if i < 0 {
				return
			}
			ip = ip[:i]
			if ip != "" && !yield(Key{Text: ip, Kind: Parent, Partial: true}) {
				return
			}
		}
	}
}

// AliasKeys yields the keys of alias_maps (aliases(5)): the local part, then
// without its extension. The domain is never part of them.
func AliasKeys(local string, d address.Delimiter) iter.Seq[Key] {
	return func(yield func(Key) bool) {
		if !yield(Key{Text: local}) {
			return
		}
		if base, ext, ok := d.Split(local); ok {
			yield(Key{Text: base, Kind: NoExtension, Partial: true, Extension: ext})
		}
	}
}
