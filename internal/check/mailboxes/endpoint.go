package mailboxes

import (
	"errors"
	"net"
	"strings"
)

// endpoint is where an LMTP server listens.
type endpoint struct {
	unix       string // path of a socket, as written
	host, port string
}

var errNoPath = errors.New("unix: without the path of a socket")

// parseEndpoint reads the next hop of lmtp(8): unix:PATH, inet:HOST:PORT,
// HOST:PORT, [HOST]:PORT, with a default for the port. Of several only the first
// is looked at.
func parseEndpoint(nextHop, port string) (endpoint, error) {
	if words := strings.FieldsFunc(nextHop, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }); len(words) > 0 {
		nextHop = words[0]
	}
	if path, ok := strings.CutPrefix(nextHop, "unix:"); ok {
		if path == "" {
			return endpoint{}, errNoPath
		}
		return endpoint{unix: path}, nil
	}
	e := endpoint{host: strings.TrimPrefix(nextHop, "inet:"), port: port}
	if host, service, err := net.SplitHostPort(e.host); err == nil {
		e.host, e.port = host, service
	}
	e.host = strings.TrimSuffix(strings.TrimPrefix(e.host, "["), "]")
	if len(e.host) > 5 && strings.EqualFold(e.host[:5], "ipv6:") {
		e.host = e.host[5:]
	}
	if e.host == "" {
		return endpoint{}, errors.New("no host")
	}
	if e.port == "lmtp" {
		e.port = "24" // what services(5) does not always know
	}
	return e, nil
}
