package tables

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"postern/internal/address"
	"postern/internal/check/inventory"
)

// What can be wrong with a key: of which letters it is, and of which form.
const (
	broken   = "a control character"
	nbsp     = "an invisible blank"
	blanks   = "a blank"
	unicodes = "a U-label"
	capitals = "a capital letter"

	brackets  = "angle brackets"
	quotes    = "quotes around the whole address"
	separator = "a ',' or ';' in its domain"
	dot       = "a dot at its end"
	twoAts    = "two '@'"
	scheme    = "'://'"
	mailto    = "'mailto:' in front"
	wildcard  = "a '*', which is no wildcard here"
	atSign    = "an '@' in front"
	anAddress = "'@', as only addresses have it"
)

// oddities are those that rows have, in the order in which they are reported.
var oddities = []string{broken, nbsp, blanks, unicodes, capitals, brackets, quotes, separator, dot, twoAts, scheme, mailto, wildcard, atSign}

// kind is what a table is asked for.
type kind uint8

const (
	others      kind = iota // hosts, next hops, lists of several kinds: any form may be right
	ofAddresses             // addresses, and parts of them
	ofDomains               // domains, and nothing else
	ofNames                 // names of aliases(5), in which a blank may be
)

// domainLists are the parameters whose tables are asked for a domain only.
var domainLists = map[string]bool{"mydestination": true, "virtual_alias_domains": true, "virtual_mailbox_domains": true, "relay_domains": true}

// addressMaps are those whose tables are asked for addresses.
var addressMaps = map[string]bool{
	"virtual_alias_maps": true, "virtual_mailbox_maps": true, "virtual_uid_maps": true, "virtual_gid_maps": true,
	"canonical_maps": true, "sender_canonical_maps": true, "recipient_canonical_maps": true, "sender_bcc_maps": true,
	"recipient_bcc_maps": true, "relay_recipient_maps": true, "relocated_maps": true, "smtpd_sender_login_maps": true,
}

// kindOf tells it by the parameters that somebody wrote.
func kindOf(t *inventory.Table) kind {
	k := others
	for _, u := range t.Uses {
		switch {
		case u.Parameter == "alias_maps":
			return ofNames
		case !u.Written():
		case addressMaps[u.Parameter]:
			k = ofAddresses
		case !domainLists[u.Parameter]:
			return others
		case k == others:
			k = ofDomains
		}
	}
	return k
}

// oddity is what is wrong with a key of a table, "" for nothing. A name without a dot
// in a table of domains is nobody's domain, and there on purpose: PostfixAdmin's ALL.
func oddity(key string, k kind) string {
	if k == ofDomains && !strings.Contains(key, ".") {
		return ""
	}
	why := misspelt(key)
	if k == ofNames && why == blanks && strings.TrimSpace(key) == key && !strings.Contains(key, "@") {
		return ""
	}
	if why != "" || k == others || k == ofNames {
		return why
	}
	return misshapen(key, k)
}

// misspelt is what is wrong with the letters of a key.
func misspelt(key string) string {
	if isPlain(key) {
		return ""
	}
	local, domain, hasAt := cutAt(key)
	switch {
	case strings.ContainsFunc(key, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		return broken
	case strings.ContainsFunc(key, isInvisible):
		return nbsp
	case strings.TrimSpace(key) != key, strings.ContainsAny(domain, " \t"), hasAt && strings.TrimSpace(local) != local:
		return blanks
	case isULabel(domain):
		return unicodes
	case address.Fold(key) != key:
		return capitals
	}
	return ""
}

// misshapen is what is wrong with the form of an address, or of a domain.
func misshapen(key string, k kind) string {
	local, domain, hasAt := cutAt(key)
	switch {
	case k == ofDomains && strings.Contains(key, "://"):
		return scheme
	case k == ofDomains && strings.HasPrefix(key, "*"):
		return wildcard
	case k == ofDomains && strings.HasPrefix(key, "@"):
		return atSign
	case k == ofAddresses && !hasAt:
		return "" // a user of $myorigin, or whatever marks a domain
	case strings.HasPrefix(key, "mailto:"):
		return mailto
	case strings.HasPrefix(key, "<"), strings.HasSuffix(key, ">"):
		return brackets
	case strings.HasPrefix(key, `"`) && strings.HasSuffix(domain, `"`):
		return quotes
	case strings.ContainsAny(domain, ",;"):
		return separator
	case strings.HasSuffix(domain, "."):
		return dot
	case strings.Contains(local, "@") && local[0] != '"':
		return twoAts
	}
	return ""
}

// isPlain reports a key of small letters, digits and the like, as most are.
func isPlain(key string) bool {
	for i := range len(key) {
		if c := key[i]; c <= ' ' || c >= 0x7f || 'A' <= c && c <= 'Z' {
			return false
		}
	}
	return true
}

// isInvisible reports blanks that no eye tells from others, or sees at all.
func isInvisible(r rune) bool {
	return r > 0x7f && (unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) && r != '\u200d' && r != '\u200c') || r == utf8.RuneError
}

// isULabel reports a domain with letters that are not ASCII.
func isULabel(domain string) bool {
	return strings.ContainsFunc(domain, func(r rune) bool { return r >= utf8.RuneSelf })
}

// isBlank reports what does not belong to an address: white space, seen or not, and
// control characters.
func isBlank(r rune) bool { return r <= ' ' || r == 0x7f || isInvisible(r) }

// cutAt cuts an address; a text without '@' is a domain.
func cutAt(key string) (local, domain string, hasAt bool) {
	i := strings.LastIndexByte(key, '@')
	if i < 0 {
		return "", key, false
	}
	return key[:i], key[i+1:], true
}

// meant is a key as it was meant: folded, without blanks, its domain in the form
// that SMTP uses.
func meant(key string) string {
	if isPlain(key) {
		return key
	}
	local, domain, hasAt := cutAt(key)
	domain = address.Fold(strings.Map(func(r rune) rune {
		if isBlank(r) {
			return -1
		}
		return r
	}, domain))
	if ascii, err := idna.Lookup.ToASCII(domain); err == nil && isULabel(domain) {
		domain = ascii
	}
	if !hasAt {
		return domain
	}
	return address.Fold(strings.TrimFunc(local, isBlank)) + "@" + domain
}

// intended is meant in the form that a table of that kind is asked for.
func intended(key string, k kind) string {
	key = meant(key)
	if k == others || misshapen(key, k) == "" {
		return key
	}
	if k == ofDomains {
		if _, behind, ok := strings.Cut(key, "://"); ok {
			key, _, _ = strings.Cut(behind, "/")
		}
		key = strings.TrimLeft(key, "*@.")
	}
	key = strings.TrimRight(strings.Trim(strings.TrimPrefix(key, "mailto:"), "<>"), ",;.")
	if len(key) > 1 && key[0] == '"' && key[len(key)-1] == '"' {
		key = key[1 : len(key)-1]
	}
	local, domain, hasAt := cutAt(key)
	domain = strings.Map(func(r rune) rune {
		if r == ',' || r == ';' {
			return '.'
		}
		return r
	}, domain)
	if !hasAt {
		return domain
	}
	return strings.TrimRight(local, "@") + "@" + domain
}
