package smtp

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// destination is one item of a next hop.
type destination struct {
	Text string // as written: "[mx.example.test]:587"
	Host string // domain, host name or address; "" for a socket
	Port string // a number
	Unix string // path of a socket, as written
	MX   bool   // Host is a domain whose exchangers are looked up
}

// parseNextHop reads a next hop. port is the default, mx whether a name without
// brackets is a domain.
func parseNextHop(text, port string, mx bool) ([]destination, error) {
	var list []destination
	for _, item := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
		d, err := parseDestination(item, port, mx)
		if err != nil {
			return nil, fmt.Errorf("bad next hop %q: %w", item, err)
		}
		list = append(list, d)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("bad next hop %q: no destination", text)
	}
	return list, nil
}

func parseDestination(item, port string, mx bool) (destination, error) {
	text := item
	if path, ok := strings.CutPrefix(item, "unix:"); ok {
		if path == "" {
			return destination{}, fmt.Errorf("no path of a socket")
		}
		return destination{Text: text, Unix: path}, nil
	}
	if rest, ok := strings.CutPrefix(item, "inet:"); ok {
		item, mx = rest, false
	}
	host, service, brackets, err := splitHostPort(item)
	if err != nil {
		return destination{}, err
	}
	if service == "" {
		service = port
	}
	number, err := portNumber(service)
	if err != nil {
		return destination{}, err
	}
	if addr, err := literal(host); err == nil {
		host, mx = addr.String(), false
	}
	return destination{Text: text, Host: host, Port: number, MX: mx && !brackets}, nil
}

// splitHostPort cuts "[host]:port", "host:port", or either without a port. An
// IPv6 address without brackets has no port.
func splitHostPort(item string) (host, port string, brackets bool, err error) {
	if rest, ok := strings.CutPrefix(item, "["); ok {
		inner, tail, closed := strings.Cut(rest, "]")
		after, colon := strings.CutPrefix(tail, ":")
		switch {
		case !closed:
			return "", "", false, fmt.Errorf("missing ]")
		case inner == "":
			return "", "", false, fmt.Errorf("no host")
		case tail != "" && (!colon || after == ""):
			return "", "", false, fmt.Errorf("text behind ]")
		}
		return inner, after, true, nil
	}
	host = item
	if _, err := netip.ParseAddr(item); err != nil {
		if i := strings.LastIndexByte(item, ':'); i >= 0 {
			host, port = item[:i], item[i+1:]
			if port == "" {
				return "", "", false, fmt.Errorf("no port behind the colon")
			}
		}
	}
	if host == "" {
		return "", "", false, fmt.Errorf("no host")
	}
	return host, port, false, nil
}

// literal reads an IP address, with or without the "ipv6:" of RFC 5321, 4.1.3.
func literal(host string) (netip.Addr, error) {
	if len(host) > 5 && strings.EqualFold(host[:5], "ipv6:") {
		host = host[5:]
	}
	return netip.ParseAddr(host)
}

// portNumber returns the number of a port that is given by number or name.
func portNumber(service string) (string, error) {
	switch strings.ToLower(service) {
	case "smtp":
		return "25", nil
	case "lmtp":
		return "24", nil
	case "submission":
		return "587", nil
	case "smtps", "submissions":
		return "465", nil
	}
	n, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		known, lerr := net.LookupPort("tcp", service)
		if lerr != nil {
			return "", fmt.Errorf("unknown service %q", service)
		}
		n = uint64(known)
	}
	if n == 0 {
		return "", fmt.Errorf("port 0")
	}
	return strconv.FormatUint(n, 10), nil
}
