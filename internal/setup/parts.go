package setup

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"

	"postern/internal/config"
	"postern/internal/origin"
	"postern/internal/route"
	"postern/internal/syntax"
	"postern/internal/table"
	"postern/internal/table/builtin"
)

// NewOpener makes the opener of lookup tables for the settings.
func NewOpener(s *config.Settings, log table.Logger) *table.Opener {
	aliases := map[string]bool{}
	for _, spec := range append(s.List("alias_maps"), s.List("alias_database")...) {
		aliases[strings.TrimPrefix(table.Direct(spec), "debug:")] = true
	}
	return &table.Opener{
		Dir: s.Dir(), Types: builtin.Types(), Aliases: aliases, Approved: approved(s),
		Param: func(name string) (string, origin.At, bool) {
			v, ok := s.Lookup(name)
			return v.Text, v.At, ok
		},
		Autocompile: s.Bool("table_autocompile"), RelativeNames: s.Bool("table_relative_names"),
		CacheTTL: s.Duration("table_cache_ttl"), CacheSize: s.Int("table_cache_size"),
		SingleValueStrict: s.String("table_single_value") == "strict",
		StrictDuplicates:  s.String("compatibility") == "postfix",
		UTF8:              s.Bool("smtputf8_enable"), Log: log,
	}
}

// approved says of "proxy:type:name" whether proxy_read_maps lists it.
func approved(s *config.Settings) func(spec string) bool {
	list := sync.OnceValue(func() map[string]bool {
		set := make(map[string]bool)
		addProxied(set, s.String("proxy_read_maps"))
		return set
	})
	return func(spec string) bool { return list()[spec] }
}

// addProxied adds the tables of a list that have the prefix "proxy:". Members of
// unionmap: and pipemap: count, as in newer versions of Postfix.
func addProxied(set map[string]bool, text string) {
	for _, word := range syntax.Split(text, syntax.Separators) {
		if name := table.Direct(word); name != word {
			set["proxy:"+name] = true
		} else if i := strings.IndexByte(word, '{'); i >= 0 {
			if inner, ok := syntax.Unbrace(word[i:]); ok {
				addProxied(set, inner)
			}
		}
	}
}

// NewRouter makes a router with the addresses of this host and its system users.
// The opener stays open with it.
func NewRouter(ctx context.Context, o route.Options) (*route.Router, error) {
	users, err := route.TableUsers(ctx, o.Opener)
	if err != nil {
		return nil, err
	}
	o.Addresses, o.Users = HostAddresses(), users
	return route.New(ctx, o)
}

// HostAddresses are the addresses of the network interfaces. One that cannot
// be read is left out.
func HostAddresses() []netip.Addr {
	var out []netip.Addr
	list, err := net.InterfaceAddrs()
	if err != nil {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	}
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p.Addr().Unmap())
		}
	}
	return out
}
