package address

import "strings"

// Rewriter completes addresses as trivial-rewrite(8) does, so that every
// address that is looked up or resolved has the form user@full.domain. A field
// that is left zero switches its rule off. Envelope addresses always use the
// values of main.cf; header addresses of remote clients have
// remote_header_rewrite_domain in place of both Origin and Domain.
type Rewriter struct {
	AppendAtOrigin   bool   // append_at_myorigin
	AppendDotDomain  bool   // append_dot_mydomain
	SwapBangPath     bool   // swap_bangpath
	AllowPercentHack bool   // allow_percent_hack
	Origin           string // myorigin, without '@'
	Domain           string // mydomain, without '.'
}

// Rewrite returns the address in its complete form.
//
// A lone "@" becomes the null address and the null address stays what it is.
// A source route is cut off. In an address without a domain "site!user" becomes
// user@site (at the first '!'), else "user%site" becomes user@site (at the last
// '%'), else Origin is appended; "user@" stays as it is. Then Domain is appended to
// a domain without dots, unless it is an [address literal], and one dot is stripped from
// the end of the domain, unless another dot or nothing stands in front of it.
//
// '!' and '%' are operators only in a local part that needs no quotes.
func (r Rewriter) Rewrite(a Address) Address {
	if a.Domain == "" && (a.Local == "" || a.Local == "@") {
		return Address{}
	}
	a = cutRoute(a)
	if a.Domain == "" && !strings.HasSuffix(a.Local, "@") {
		a = r.addDomain(a)
	}
	if r.AppendDotDomain && r.Domain != "" && a.Domain != "" && !strings.ContainsAny(a.Domain, ".[]") {
		a.Domain += "." + r.Domain
	}
	if n := len(a.Domain); n > 1 && a.Domain[n-1] == '.' && a.Domain[n-2] != '.' {
		a.Domain = a.Domain[:n-1]
	}
	return a
}

// cutRoute drops "@relay:" of an internal form; Parse and ParseList have done
// so already.
func cutRoute(a Address) Address {
	if a.Local != "" && a.Local[0] != '@' {
		return a
	}
	internal := a.Internal()
	i := strings.IndexByte(internal, ':')
	if i < 0 || i == len(internal)-1 {
		return a
	}
	return Split(internal[i+1:])
}

func (r Rewriter) addDomain(a Address) Address {
	plain := isDotAtom(a.Local)
	if i := strings.IndexByte(a.Local, '!'); i >= 0 && r.SwapBangPath && plain {
		return Split(a.Local[i+1:] + "@" + a.Local[:i])
	}
	if i := strings.LastIndexByte(a.Local, '%'); i >= 0 && r.AllowPercentHack && plain {
		return Split(a.Local[:i] + "@" + a.Local[i+1:])
	}
	if r.AppendAtOrigin {
		a.Domain = r.Origin
	}
	return a
}
