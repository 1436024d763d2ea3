package names

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"postern/internal/dns"
	"postern/internal/finding"
	"postern/internal/origin"
)

// identity is the finding for a host whose name (that it says in EHLO), addresses
// and reverse names do not agree: others take such a host for a spammer.
func (x *examination) identity(ctx context.Context) []finding.Finding {
	name, at := x.helo()
	if !public(name) {
		return nil
	}
	wrong := x.disagreements(ctx, name)
	if len(wrong) == 0 {
		return nil
	}
	return []finding.Finding{{
		Code: "VD507", Severity: finding.Warning, At: []origin.At{at},
		Message: "this host calls itself " + name + ": " + firstOf(wrong),
		Fix:     "let the address record of " + name + " and the reverse name of its address (PTR, set by whoever gave the address) name each other, or write the right name into " + at.Parameter,
	}}
}

// helo is the name that servers are told, and where it is written.
func (x *examination) helo() (string, origin.At) {
	parameter := "myhostname"
	if v := x.settings.Value("smtp_helo_name"); v.Set && fold(v.Text) != x.name {
		parameter = "smtp_helo_name"
	}
	at := x.settings.Value(parameter).At
	at.Parameter = parameter
	return fold(x.settings.String(parameter)), at
}

// disagreements are what is wrong with a name, in words.
func (x *examination) disagreements(ctx context.Context, name string) []string {
	addrs, err := x.dns.LookupHost(ctx, name)
	switch {
	case dns.IsNotFound(err):
		return []string{"that name has no address"}
	case err != nil:
		return nil
	}
	var wrong []string
	for _, a := range addrs {
		if a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() {
			continue // its reverse name is nobody's business
		}
		if text := x.reverse(ctx, name, a); text != "" {
			wrong = append(wrong, text)
		}
	}
	return wrong
}

// reverse compares the reverse names of an address with the name.
func (x *examination) reverse(ctx context.Context, name string, a netip.Addr) string {
	names, err := x.dns.LookupPTR(ctx, a)
	switch {
	case dns.IsNotFound(err):
		return fmt.Sprintf("its address %v has no reverse name", a)
	case err != nil:
		return ""
	}
	if slices.ContainsFunc(names, func(n string) bool { return fold(n) == name }) {
		return ""
	}
	return fmt.Sprintf("the reverse name of its address %v is %s", a, strings.Join(names, ", "))
}
