package ldap

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"
)

// search is one question to a server.
type search struct {
	base   string
	scope  int
	filter string
	attrs  []string
}

// allEntries is the filter of a search that has none.
const allEntries = "(objectClass=*)"

var scopes = map[string]int{
	"": goldap.ScopeBaseObject, "base": goldap.ScopeBaseObject,
	"one": goldap.ScopeSingleLevel, "onelevel": goldap.ScopeSingleLevel,
	"sub": goldap.ScopeWholeSubtree, "subtree": goldap.ScopeWholeSubtree,
	"children": goldap.ScopeChildren, "subordinate": goldap.ScopeChildren,
}

var scopeNames = []string{"base", "one", "sub", "children"}

// cutScheme cuts an LDAP URL (RFC 4516) behind the "://". The scheme is in
// lower case. ok is false when text is no LDAP URL.
func cutScheme(text string) (scheme, rest string, ok bool) {
	scheme, rest, ok = strings.Cut(text, "://")
	scheme = strings.ToLower(scheme)
	return scheme, rest, ok && (scheme == "ldap" || scheme == "ldaps" || scheme == "ldapi")
}

// parseURL reads an LDAP URL, scheme://host/base?attributes?scope?filter. Its
// host is returned as it is written.
func parseURL(text string) (host string, s search, err error) {
	_, rest, ok := cutScheme(text)
	if !ok {
		return "", s, errors.New("not an LDAP URL")
	}
	host, rest, _ = strings.Cut(rest, "/")
	parts := append(strings.Split(rest, "?"), "", "", "")
	for i, p := range parts {
		if parts[i], err = url.PathUnescape(p); err != nil {
			return "", s, err
		}
	}
	s.base = parts[0]
	if parts[1] != "" {
		s.attrs = strings.Split(parts[1], ",")
	}
	if s.scope, ok = scopes[strings.ToLower(parts[2])]; !ok {
		return "", s, fmt.Errorf("unknown scope %q", parts[2])
	}
	s.filter = allEntries
	if parts[3] != "" {
		s.filter, err = tidyFilter(parts[3])
	}
	return host, s, err
}

// subtype compares two names of attributes: 1 when b is a or a with options
// ("mail" and "mail;lang-de"), -1 when only a has options, 0 when they are
// different attributes.
func subtype(a, b string) int {
	a, b = strings.ToLower(a), strings.ToLower(b)
	switch {
	case b == a || strings.HasPrefix(b, a+";"):
		return 1
	case strings.HasPrefix(a, b+";"):
		return -1
	}
	return 0
}

// wanted is what a URL asks for of the attributes that the table uses. A URL
// that names none asks for all.
func wanted(asked, used []string) []string {
	if len(asked) == 0 {
		return used
	}
	var attrs []string
	for _, a := range asked {
		for _, u := range used {
			switch n := subtype(a, u); {
			case n > 0:
				attrs = append(attrs, u)
			case n < 0:
				attrs = append(attrs, a)
			}
		}
	}
	return attrs
}

// String is the search as a command that can be typed.
func (s search) String() string {
	return fmt.Sprintf("ldapsearch -b '%s' -s %s '%s' %s", s.base, scopeNames[s.scope], s.filter, strings.Join(s.attrs, " "))
}

// same reports whether two searches ask the same.
func (s search) same(t search) bool {
	return s.base == t.base && s.scope == t.scope && s.filter == t.filter && slices.Equal(s.attrs, t.attrs)
}
