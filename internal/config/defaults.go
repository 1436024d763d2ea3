package config

import (
	"net"
	"net/netip"
	"sort"
	"strings"
)

func sortStrings(s []string) { sort.Strings(s) }

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

// networks is mynetworks by mynetworks_style: host, subnet or class.
func (s *Settings) networks() string {
	style, _ := s.plain("mynetworks_style")
	prefixes, err := s.options.Interfaces()
	if err != nil || len(prefixes) == 0 {
		return "127.0.0.1/32"
	}
	var out []string
	for _, p := range prefixes {
		a := p.Addr().Unmap()
		bits := a.BitLen()
		switch {
		case style == "host":
		case style == "class" && a.Is4():
			switch first := a.As4()[0]; {
			case first < 128:
				bits = 8
			case first < 192:
				bits = 16
			default:
				bits = 24
			}
		default:
			bits = p.Bits()
		}
		net := netip.PrefixFrom(a, bits).Masked()
		if a.Is6() {
			out = append(out, "["+net.Addr().String()+"]/"+net.String()[strings.LastIndexByte(net.String(), '/')+1:])
			continue
		}
		out = append(out, net.String())
	}
	return strings.Join(out, " ")
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
