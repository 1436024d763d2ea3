package sql

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"postern/internal/syntax"
)

// host is one server of a hosts parameter.
type host struct {
	network string // "tcp", "unix", or "uri"
	host    string // name or address, the path of the socket, or the whole URI
	port    string // "": the default
	name    string // as in messages: where it is, without a password

	pgsql *pgconn.Config // how to connect, for pgsql: only
}

var errNoHost = errors.New("names no host")

// parseHosts reads a hosts parameter: items separated by commas and blanks,
// each "host", "host:port", "[address]:port" or "/path", with or without inet:
// or unix: in front, and with uris also postgresql://... . None at all is
// localhost. port is the usual one.
func parseHosts(value, port string, uris bool) ([]host, error) {
	var hosts []host
	items := syntax.Split(value, syntax.Separators)
	if len(items) == 0 {
		items = []string{localhost}
	}
	for i, item := range items {
		h, err := parseHost(item, uris)
		if err != nil && strings.ContainsAny(value, "@") { // part of a URI with a password
			return nil, fmt.Errorf("item %d is neither a host nor a postgresql:// URI; in a URI, write a comma or a blank as %%2C or %%20", i+1)
		}
		if err != nil {
			return nil, fmt.Errorf("%q: %w", item, err)
		}
		if h.name == "" {
			h.name = h.address(port)
		}
		hosts = append(hosts, h)
	}
	return hosts, nil
}

const localhost = "localhost"

func parseHost(item string, uris bool) (host, error) {
	if uris && (strings.HasPrefix(item, "postgresql://") || strings.HasPrefix(item, "postgres://")) {
		return host{network: "uri", host: item, name: uriName(item)}, nil
	}
	rest, isUnix := strings.CutPrefix(item, "unix:")
	if !isUnix {
		rest, _ = strings.CutPrefix(item, "inet:")
	}
	if strings.HasPrefix(rest, "/") {
		return host{network: "unix", host: path.Clean(rest)}, nil
	}
	if isUnix {
		return host{}, errors.New("unix: is followed by the full path of a socket")
	}
	return parseAddress(rest)
}

// parseAddress reads host, host:port, and IPv6 addresses with or without
// brackets.
func parseAddress(text string) (host, error) {
	h := host{network: "tcp", host: text}
	if _, err := netip.ParseAddr(text); err == nil {
		return h, nil
	}
	hasPort := false
	if inner, ok := strings.CutPrefix(text, "["); ok {
		var rest string
		if h.host, rest, ok = strings.Cut(inner, "]"); ok && rest != "" {
			h.port, hasPort = strings.CutPrefix(rest, ":")
			ok = hasPort
		}
		if !ok {
			return host{}, errors.New("no ] behind the address")
		}
	} else if i := strings.LastIndexByte(text, ':'); i >= 0 {
		h.host, h.port, hasPort = text[:i], text[i+1:], true
	}
	if n, err := strconv.ParseUint(h.port, 10, 16); hasPort && (err != nil || n == 0) {
		return host{}, fmt.Errorf("port %q is not a number from 1 to 65535", h.port)
	}
	if _, err := netip.ParseAddr(h.host); err != nil && strings.Contains(h.host, ":") {
		return host{}, errors.New("is neither host:port nor [address]:port")
	}
	if h.host == "" {
		return host{}, errNoHost
	}
	return h, nil
}

// uriName is a URI without what should not be in a log: the password and the
// parameters.
func uriName(uri string) string {
	scheme, rest, _ := strings.Cut(uri, "://")
	rest, _, _ = strings.Cut(rest, "?")
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		rest = rest[i+1:]
	}
	return scheme + "://" + rest
}

// address is where to dial: host:port, or the socket. port is the one to take
// when the host has none.
func (h host) address(port string) string {
	if h.port != "" {
		port = h.port
	}
	if h.network == "unix" || port == "" {
		return h.host
	}
	return net.JoinHostPort(h.host, port)
}
