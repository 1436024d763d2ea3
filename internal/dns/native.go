package dns

import (
	"context"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Native answers as the C library of the machine would: /etc/hosts first, then
// the DNS, where names with few dots are tried with the search list of
// /etc/resolv.conf (resolv.conf(5), options search and ndots).
//
// The file is read again when it changed, looked at once a second at most. Other
// sources of nsswitch.conf are not asked.
type Native struct {
	client *Client
	path   string
	now    func() time.Time

	mu      sync.Mutex
	checked time.Time
	stamp   time.Time // modification time and
	size    int64     // size of the file that was read
	byName  map[string][]netip.Addr
	byAddr  map[netip.Addr][]string
}

var _ Resolver = (*Native)(nil)

// NewNative puts a hosts file in front of a client. path "" is /etc/hosts; a
// file that cannot be read is an empty one.
func NewNative(client *Client, path string) *Native {
	if path == "" {
		path = "/etc/hosts"
	}
	return &Native{client: client, path: path, now: time.Now}
}

// LookupMX implements Resolver: MX records are in the DNS only.
func (n *Native) LookupMX(ctx context.Context, domain string) ([]MX, error) {
	return n.client.LookupMX(ctx, domain)
}

// LookupHost implements Resolver.
func (n *Native) LookupHost(ctx context.Context, host string) ([]netip.Addr, error) {
	byName, _ := n.hosts()
	key := strings.ToLower(strings.TrimSuffix(host, "."))
	if addrs := n.client.family(slices.Clone(byName[key])); len(addrs) > 0 {
		return addrs, nil
	}
	var first error
	for _, name := range n.candidates(host) {
		addrs, err := n.client.LookupHost(ctx, name)
		if err == nil {
			return addrs, nil
		}
		if ClassOf(err) == Temporary {
			return nil, err
		}
		if first == nil || name == host {
			first = err
		}
	}
	return nil, first
}

// candidates are the names that are asked for a host, in order.
func (n *Native) candidates(host string) []string {
	if strings.HasSuffix(host, ".") || len(n.client.search) == 0 {
		return []string{host}
	}
	var list []string
	for _, domain := range n.client.search {
		if domain = strings.Trim(domain, "."); domain != "" {
			list = append(list, host+"."+domain)
		}
	}
	if strings.Count(host, ".") >= n.client.ndots {
		return append([]string{host}, list...)
	}
	return append(list, host)
}

// LookupPTR implements Resolver.
func (n *Native) LookupPTR(ctx context.Context, addr netip.Addr) ([]string, error) {
	_, byAddr := n.hosts()
	addr = addr.Unmap().WithZone("")
	if names := byAddr[addr]; len(names) > 0 {
		return slices.Clone(names), nil
	}
	return n.client.LookupPTR(ctx, addr)
}

// hosts returns the maps of the hosts file as it is now. They are replaced as a
// whole, never changed.
func (n *Native) hosts() (map[string][]netip.Addr, map[netip.Addr][]string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.now()
	if n.byName != nil && now.Sub(n.checked) < time.Second && !now.Before(n.checked) {
		return n.byName, n.byAddr
	}
	n.checked = now
	info, err := os.Stat(n.path)
	if err == nil && n.byName != nil && info.ModTime().Equal(n.stamp) && info.Size() == n.size {
		return n.byName, n.byAddr
	}
	text, err := os.ReadFile(n.path)
	if err == nil && info != nil {
		n.stamp, n.size = info.ModTime(), info.Size()
	}
	n.byName, n.byAddr = parseHosts(string(text))
	return n.byName, n.byAddr
}

// HostsFile are the addresses of a host in a hosts file alone, for those who must
// not ask the DNS. path "" is /etc/hosts; a file that cannot be read is an empty one.
func HostsFile(path, host string) []netip.Addr {
	byName, _ := NewNative(nil, path).hosts()
	return byName[strings.ToLower(strings.TrimSuffix(host, "."))]
}

// parseHosts reads hosts(5): an address and its names on a line, canonical name
// first. What is no address or no host name is left out.
func parseHosts(text string) (map[string][]netip.Addr, map[netip.Addr][]string) {
	byName := make(map[string][]netip.Addr)
	byAddr := make(map[netip.Addr][]string)
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(fields[0])
		if err != nil {
			continue
		}
		addr = addr.Unmap().WithZone("")
		for _, name := range fields[1:] {
			name = strings.TrimSuffix(name, ".")
			if !validHost(name) {
				continue
			}
			key := strings.ToLower(name)
			if !slices.Contains(byName[key], addr) {
				byName[key] = append(byName[key], addr)
			}
			byAddr[addr] = append(byAddr[addr], name)
		}
	}
	return byName, byAddr
}
