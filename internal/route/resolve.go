package route

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"strings"
	"unicode/utf8"

	"postern/internal/address"
	"postern/internal/origin"
	"postern/internal/table"
)

// Resolution is where one address belongs and how its mail leaves.
type Resolution struct {
	Class   Class
	Why     Why
	Address address.Address // after source routing through our own domains is undone
	// Transport is the name of a master.cf service, NextHop what it is told:
	// a domain, "[host]:port", "unix:path", or the text of error and retry.
	Transport, NextHop string
	// TransportBy is the parameter that chose the transport, TransportAt the row
	// when it is a table. NextHopBy is the parameter that named the next hop, ""
	// when it is the domain.
	TransportBy, NextHopBy string
	TransportAt            origin.At
	// Routed says that the local part contains '@', '!' or '%': mail that wants
	// to be sent on. It counts as foreign unless allow_untrusted_routing is set.
	Routed bool
}

// Resolve finds class, transport and next hop of a rewritten address. sender
// chooses among sender-dependent relay hosts and transports; it may be null.
// Errors are *Failure (a list or table failed) and *SyntaxError.
func (r *Router) Resolve(ctx context.Context, a, sender address.Address, tr *Trace) (Resolution, error) {
	a, err := r.unroute(ctx, a, tr)
	if err != nil {
		return Resolution{}, err
	}
	a, err = r.checkDomain(a)
	if err != nil {
		return Resolution{}, err
	}
	res := Resolution{Address: a, Routed: strings.ContainsAny(a.Local, routing)}
	if res.Class, res.Why, err = r.Classify(ctx, a.Domain, tr); err != nil {
		return Resolution{}, err
	}
	if err := r.transport(ctx, &res, sender, tr); err != nil {
		var f *Failure
		if errors.As(err, &f) {
			f.Config = false // of the resolver a client learns no more than that it failed
		}
		return Resolution{}, err
	}
	if r.startsWithMinus(a) {
		return Resolution{}, &SyntaxError{a.Internal()}
	}
	return res, nil
}

// routing are the characters of a local part that ask for mail to be sent on.
const routing = "@!%"

// startsWithMinus reports a local part that a command could take for an option
// (postconf allow_min_user).
func (r *Router) startsWithMinus(a address.Address) bool {
	return strings.HasPrefix(a.Local, "-") && !r.p.allowMinUser
}

// unroute takes local domains off the end of an address as long as what
// remains is itself an address: user%other@here and user@other@here mean
// user@other. See trivial-rewrite(8).
func (r *Router) unroute(ctx context.Context, a address.Address, tr *Trace) (address.Address, error) {
	local, domain := a.Local, a.Domain
	for range len(local) + len(domain) + 100 {
		domain = stripDot(domain)
		if domain == "" {
			if rest, ok := strings.CutSuffix(local, "@"); ok {
				if !r.p.resolveNullDomain && !strings.ContainsAny(rest, routing) {
					return a, &SyntaxError{a.Internal()}
				}
				local = rest
			}
		} else {
			ours, err := r.isLocal(ctx, domain, tr)
			if err != nil {
				return a, err
			}
			if !ours {
				return address.Address{Local: local, Domain: domain}, nil
			}
		}
		if inner, ok := r.innerRoute(local); ok {
			local, domain = inner.Local, inner.Domain
			continue
		}
		if local == "" {
			next := address.Split(r.p.emptyAddressRecipient)
			local, domain = next.Local, cmp.Or(next.Domain, domain)
			continue
		}
		if domain != "" {
			return address.Address{Local: local, Domain: domain}, nil
		}
		domain = r.p.myhostname
	}
	return a, &Failure{Address: a.Internal(), Parameter: "resolve", Err: errors.New("giving up: the address keeps changing")}
}

// innerRoute reads a local part that is an address itself. A local part that
// needs quotes is looked into only with resolve_dequoted_address.
func (r *Router) innerRoute(local string) (address.Address, bool) {
	at := strings.LastIndexByte(local, '@')
	bang := r.p.swapBangpath && strings.Contains(local, "!")
	percent := r.p.allowPercentHack && strings.Contains(local, "%")
	if at < 0 && !bang && !percent {
		return address.Address{}, false
	}
	if address.QuoteLocal(local) != local {
		if !r.p.resolveDequoted {
			return address.Address{}, false
		}
		// Rewriting sees no operators between quotes.
		switch {
		case at >= 0:
		case percent:
			i := strings.LastIndexByte(local, '%')
			local = local[:i] + "@" + local[i+1:]
		default:
			site, user, _ := strings.Cut(local, "!")
			local = user + "@" + site
		}
	}
	return r.Rewrite(address.Split(local)), true
}

// stripDot takes one dot off the end of a domain.
func stripDot(domain string) string {
	if s, ok := strings.CutSuffix(domain, "."); ok && s != "" && !strings.HasSuffix(s, ".") {
		return s
	}
	return domain
}

// checkDomain refuses domains that cannot exist: bad literals, bad host names,
// bare addresses. With resolve_numeric_domain a bare address becomes a literal.
func (r *Router) checkDomain(a address.Address) (address.Address, error) {
	bad := func() error { return &SyntaxError{a.Internal()} }
	if strings.HasPrefix(a.Domain, "[") {
		if _, ok := literal(a.Domain); !ok {
			return a, bad()
		}
		return a, nil
	}
	if r.p.smtputf8 && !utf8.ValidString(a.Local) {
		return a, bad()
	}
	if ip, ok := bareAddress(a.Domain); ok {
		if !r.p.resolveNumeric {
			return a, bad()
		}
		if ip.Is6() {
			return address.Address{Local: a.Local, Domain: "[IPv6:" + a.Domain + "]"}, nil
		}
		return address.Address{Local: a.Local, Domain: "[" + a.Domain + "]"}, nil
	}
	if !ValidHostname(a.Domain) {
		return a, bad()
	}
	return a, nil
}

// bareAddress reads a network address that stands where a domain should. Only what
// looks like one is parsed: the error about any other domain would cost more.
func bareAddress(domain string) (netip.Addr, bool) {
	if domain == "" || !strings.Contains(domain, ":") && (domain[0] < '0' || domain[0] > '9') {
		return netip.Addr{}, false
	}
	ip, err := netip.ParseAddr(domain)
	return ip, err == nil
}

// literal reads an address literal, "[192.0.2.1]" or "[IPv6:2001:db8::1]".
func literal(domain string) (netip.Addr, bool) {
	if len(domain) < 2 || domain[0] != '[' || domain[len(domain)-1] != ']' {
		return netip.Addr{}, false
	}
	text, v6 := domain[1:len(domain)-1], false
	if len(text) > 5 && strings.EqualFold(text[:5], "IPv6:") {
		text, v6 = text[5:], true
	}
	ip, err := netip.ParseAddr(text)
	if err != nil || ip.Is6() != v6 || ip.Zone() != "" {
		return netip.Addr{}, false
	}
	return ip, true
}

// ValidLiteral reports whether text is an address literal (RFC 5321, 4.1.3).
func ValidLiteral(text string) bool {
	_, ok := literal(text)
	return ok
}

// ValidHostname reports whether name can be a host name: labels of 1 to 63
// octets of letters, digits, '-' and '_' (and bytes above 127, RFC 6531), no
// hyphen at the ends of a label, at most 255 octets, not digits and dots only.
// One label is enough.
func ValidHostname(name string) bool {
	if name == "" || len(name) > 255 || !utf8.ValidString(name) {
		return false
	}
	numeric := true
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			c := label[i]
			switch {
			case c >= '0' && c <= '9':
			case c == '-' || c == '_' || c >= 0x80 || c|0x20 >= 'a' && c|0x20 <= 'z':
				numeric = false
			default:
				return false
			}
		}
	}
	return !numeric
}

// isLocal reports whether a domain is one of ours in the sense of local(8):
// listed in mydestination, or the literal of one of our addresses.
func (r *Router) isLocal(ctx context.Context, domain string, tr *Trace) (bool, error) {
	_, ok, err := r.matchLocal(ctx, domain, tr)
	return ok, err
}

func (r *Router) matchLocal(ctx context.Context, domain string, tr *Trace) (Why, bool, error) {
	domain = stripDot(domain)
	if domain == "" || strings.HasSuffix(domain, ".") {
		return Why{}, false, nil
	}
	if why, ok, err := r.inList(ctx, Local, domain, tr); ok || err != nil {
		return why, ok, err
	}
	if ip, ok := literal(domain); ok && r.own[ip.Unmap()] {
		return Why{Class: Local, Parameter: "inet_interfaces", Key: domain}, true, nil
	}
	return Why{}, false, nil
}

// inList asks one domain list.
func (r *Router) inList(ctx context.Context, c Class, domain string, tr *Trace) (Why, bool, error) {
	why, ok, err := r.askList(ctx, c, domain, tr)
	if err != nil {
		return Why{}, false, r.fail(domain, c.parameter(), err)
	}
	return why, ok, nil
}

func (r *Router) askList(ctx context.Context, c Class, domain string, tr *Trace) (Why, bool, error) {
	m, err := r.domains[c].Match(ctx, domain, tr.observer())
	if errors.Is(err, table.ErrNotFound) {
		return Why{}, false, nil
	}
	if err != nil {
		return Why{}, false, err
	}
	why := Why{Class: c, Parameter: c.parameter(), Table: m.Table, Key: m.Key}
	if n := len(m.At); n > 0 {
		why.At = m.At[n-1] // the row, where a table matched
	}
	if why.Key == "" {
		why.Key = m.Item
	}
	return why, true, nil
}

// fail wraps the error of a table in a Failure and logs it, unless the table
// does that itself.
func (r *Router) fail(addr, parameter string, err error) *Failure {
	var te *table.Error
	isTable := errors.As(err, &te)
	f := &Failure{Address: addr, Parameter: parameter, Err: err, Config: isTable && te.Config}
	if !isTable || !te.Told {
		r.log.Warningf("%s lookup failure for %q: %v", parameter, addr, err)
	}
	return f
}

// Classify asks the domain lists in the order of precedence. The error is a
// *Failure.
func (r *Router) Classify(ctx context.Context, domain string, tr *Trace) (Class, Why, error) {
	why, ok, err := r.matchLocal(ctx, domain, tr)
	for c := VirtualAlias; !ok && err == nil && c < Default; c++ {
		why, ok, err = r.inList(ctx, c, domain, tr)
	}
	if err != nil {
		return Default, Why{}, err
	}
	if !ok {
		why = Why{Class: Default}
	}
	tr.add("classify", why.Parameter, domain, why.Class.String(), why.At)
	return why.Class, why, nil
}

// Listing is what one domain list says about a domain.
type Listing struct {
	Class     Class
	Parameter string
	Listed    bool
	Why       Why   // when Listed
	Err       error // the list cannot say
}

// Lists asks every domain list for a domain, in the order of precedence. The first
// that has it counts, whatever the others say.
func (r *Router) Lists(ctx context.Context, domain string) []Listing {
	var all []Listing
	for c := Local; c < Default; c++ {
		l := Listing{Class: c, Parameter: c.parameter()}
		l.Why, l.Listed, l.Err = r.askList(ctx, c, domain, nil)
		all = append(all, l)
	}
	return all
}

// Listed returns every domain list that has the domain, in the order of
// precedence. Lists that fail are passed over. More than one is a
// misconfiguration: only the first counts.
func (r *Router) Listed(ctx context.Context, domain string) []Why {
	var all []Why
	for _, l := range r.Lists(ctx, domain) {
		if l.Err == nil && l.Listed {
			all = append(all, l.Why)
		}
	}
	return all
}

// Own reports whether an address is this machine's, or that of a proxy in front
// of it (inet_interfaces, proxy_interfaces).
func (r *Router) Own(a netip.Addr) bool { return r.own[a.Unmap().WithZone("")] }
