package config

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"postern/internal/syntax"
)

// defaultOf is the default of a parameter: that of the catalogue, or computed
// from the host (postconf myhostname, mydomain, mynetworks).
func (s *Settings) defaultOf(p *Param) string {
	switch p.Name {
	case "myhostname":
		return s.hostname()
	case "mydomain":
		host, _ := s.plain("myhostname")
		if _, domain, ok := strings.Cut(host, "."); ok {
			return domain
		}
		return "localdomain"
	case "mynetworks":
		return s.networks()
	case "compatibility_level":
		if c, _ := s.plain("compatibility"); c == "postfix" {
			return "0"
		}
		return p.Default
	case "config_directory":
		return s.dir
	}
	return p.Default
}

// plain expands a parameter by itself.
func (s *Settings) plain(name string) (string, error) {
	return (&expander{s: s}).value(name, 0)
}

// hostname is the host's name; one without a dot gets mydomain, or
// localdomain.
func (s *Settings) hostname() string {
	name, err := s.options.Hostname()
	if err != nil || name == "" {
		name = "localhost"
	}
	if strings.Contains(name, ".") {
		return name
	}
	if v, ok := s.written["mydomain"]; ok && v.Raw != "" && !strings.Contains(v.Raw, "$myhostname") {
		return name + "." + v.Raw
	}
	return name + ".localdomain"
}

// networks is mynetworks by mynetworks_style (host, subnet or class), for the
// addresses that inet_interfaces and inet_protocols select.
func (s *Settings) networks() string {
	style, _ := s.plain("mynetworks_style")
	prefixes, err := s.options.Interfaces()
	if err != nil || len(prefixes) == 0 {
		return "127.0.0.1/32"
	}
	var out []string
	for _, p := range prefixes {
		a := p.Addr().Unmap()
		if !s.listensOn(a) {
			continue
		}
		net := netip.PrefixFrom(a, networkBits(style, a, p.Bits())).Masked()
		text := net.String()
		if a.Is6() {
			text = "[" + net.Addr().String() + "]/" + strconv.Itoa(net.Bits())
		}
		if !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return strings.Join(out, " ")
}

// networkBits is the prefix length of the network of an interface address.
func networkBits(style string, a netip.Addr, bits int) int {
	switch {
	case style == "host":
		return a.BitLen()
	case style == "class" && a.Is4():
		switch first := a.As4()[0]; {
		case first < 128:
			return 8
		case first < 192:
			return 16
		default:
			return 24
		}
	}
	return bits
}

// listensOn reports whether inet_protocols and inet_interfaces (all,
// loopback-only, addresses, names) select an address of this host. A name other
// than localhost may be any address.
func (s *Settings) listensOn(a netip.Addr) bool {
	protocols, _ := s.plain("inet_protocols")
	if p := strings.ToLower(protocols); p == "ipv4" && !a.Is4() || p == "ipv6" && !a.Is6() {
		return false
	}
	interfaces, _ := s.plain("inet_interfaces")
	for _, item := range syntax.Split(interfaces, syntax.Separators) {
		literal, err := netip.ParseAddr(strings.Trim(item, "[]"))
		switch {
		case err == nil:
			if literal == a {
				return true
			}
		case item == "loopback-only", item == "localhost":
			if a.IsLoopback() {
				return true
			}
		default:
			return true
		}
	}
	return false
}

// hostPrefixes are the addresses of this host with their networks.
func hostPrefixes() ([]netip.Prefix, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var out []netip.Prefix
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p)
		}
	}
	return out, nil
}
