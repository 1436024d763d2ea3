package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Options configure a Client. The zero value is what a stub resolver does on
// its own: the servers of /etc/resolv.conf, both address families.
type Options struct {
	Servers    []string      // dns_servers, as "address" or "address:port"; empty: those of ResolvConf
	ResolvConf string        // "" is /etc/resolv.conf; when it cannot be read, the server is 127.0.0.1
	Timeout    time.Duration // of one try; 0: the timeout of ResolvConf, 5s
	Attempts   int           // tries of each server; 0: the attempts of ResolvConf, 2
	NoIPv4     bool          // inet_protocols without ipv4
	NoIPv6     bool          // inet_protocols without ipv6
	CacheSize  int           // answers that are kept; 0: 4096; negative: none
	Trust      Trust         // dns_trust_ad
	Now        func() time.Time
}

// Client is a stub resolver. It is safe for concurrent use and has nothing to
// close.
type Client struct {
	servers  []server
	search   []string // of resolv.conf, for Native
	ndots    int
	timeout  time.Duration
	attempts int
	ipv4     bool
	ipv6     bool
	cache    *cache
}

var _ Resolver = (*Client)(nil)

// New makes a Client. It fails when a server of Options.Servers is not an IP
// address; nothing is asked yet.
func New(o Options) (*Client, error) {
	path := o.ResolvConf
	if path == "" {
		path = "/etc/resolv.conf"
	}
	conf, err := dns.ClientConfigFromFile(path)
	if err != nil { // resolv.conf(5): without the file, the server is on this machine
		conf = &dns.ClientConfig{Servers: []string{"127.0.0.1"}, Ndots: 1, Timeout: 5, Attempts: 2}
	}
	c := &Client{
		search:   conf.Search,
		ndots:    conf.Ndots,
		timeout:  o.Timeout,
		attempts: o.Attempts,
		ipv4:     !o.NoIPv4,
		ipv6:     !o.NoIPv6,
		cache:    newCache(o.CacheSize, o.Now),
	}
	if c.timeout <= 0 {
		c.timeout = time.Duration(conf.Timeout) * time.Second
	}
	if c.attempts <= 0 {
		c.attempts = max(conf.Attempts, 1)
	}
	servers := o.Servers
	if len(servers) == 0 {
		servers = conf.Servers
	}
	for _, s := range servers {
		addr, err := serverAddr(s)
		if err != nil {
			return nil, fmt.Errorf("dns_servers: %w", err)
		}
		c.servers = append(c.servers, server{addr.String(), o.Trust.of(addr.Addr())})
	}
	return c, nil
}

// server is a name server.
type server struct {
	addr    string
	trusted bool // its AD bit is believed
}

// serverAddr completes the address of a name server with port 53.
func serverAddr(s string) (netip.AddrPort, error) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap, nil
	}
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is not an IP address", s)
	}
	return netip.AddrPortFrom(a, 53), nil
}

// LookupMX implements Resolver. Exchangers that are no host names are left
// out; with none left the class is Malformed.
func (c *Client) LookupMX(ctx context.Context, domain string) ([]MX, error) {
	a, err := c.lookup(ctx, domain, dns.TypeMX)
	if err != nil {
		return nil, err
	}
	var list []MX
	for _, rr := range a.records {
		mx := rr.(*dns.MX)
		host := strings.TrimSuffix(mx.Mx, ".")
		if host == "" && len(a.records) > 1 || host != "" && !validHost(host) { // RFC 7505, 3: a null MX stands alone
			continue
		}
		list = append(list, MX{Host: host, Preference: mx.Preference, Secure: a.secure})
	}
	if len(list) == 0 {
		return nil, &Error{Name: domain, Type: "MX", Class: Malformed}
	}
	slices.SortStableFunc(list, func(a, b MX) int { return int(a.Preference) - int(b.Preference) })
	return list, nil
}

// LookupHost implements Resolver. "localhost" is never asked (RFC 6761, 6.3).
func (c *Client) LookupHost(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap()}, nil
	}
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return c.family([]netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}), nil
	}
	var addrs4, addrs6 []netip.Addr
	var err4, err6 error
	switch {
	case !c.ipv6:
		addrs4, err4 = c.addresses(ctx, host, dns.TypeA)
		err6 = err4
	case !c.ipv4:
		addrs6, err6 = c.addresses(ctx, host, dns.TypeAAAA)
		err4 = err6
	default:
		var both sync.WaitGroup
		both.Go(func() { addrs6, err6 = c.addresses(ctx, host, dns.TypeAAAA) })
		addrs4, err4 = c.addresses(ctx, host, dns.TypeA)
		both.Wait()
	}
	if addrs := append(addrs4, addrs6...); len(addrs) > 0 {
		return addrs, nil
	}
	if ClassOf(err4) != Temporary && ClassOf(err6) == Temporary {
		return nil, err6 // one family is unknown still: so is the answer
	}
	return nil, err4
}

func (c *Client) addresses(ctx context.Context, host string, qtype uint16) ([]netip.Addr, error) {
	a, err := c.lookup(ctx, host, qtype)
	if err != nil {
		return nil, err
	}
	addrs := make([]netip.Addr, 0, len(a.records))
	for _, rr := range a.records {
		var ip net.IP
		switch rr := rr.(type) {
		case *dns.A:
			ip = rr.A
		case *dns.AAAA:
			ip = rr.AAAA
		}
		if a, ok := netip.AddrFromSlice(ip); ok {
			addrs = append(addrs, a.Unmap())
		}
	}
	if len(addrs) == 0 {
		return nil, &Error{Name: host, Type: dns.TypeToString[qtype], Class: Malformed}
	}
	return addrs, nil
}

// family filters addresses by the families in use.
func (c *Client) family(addrs []netip.Addr) []netip.Addr {
	return slices.DeleteFunc(addrs, func(a netip.Addr) bool { return a.Is4() && !c.ipv4 || a.Is6() && !c.ipv6 })
}

// LookupPTR implements Resolver. Names that are no host names are left out.
// Loopback addresses are not asked for: their zone is local to this machine
// (RFC 6303, 4.1), see Native for /etc/hosts.
func (c *Client) LookupPTR(ctx context.Context, addr netip.Addr) ([]string, error) {
	addr = addr.Unmap().WithZone("")
	notFound := &Error{Name: addr.String(), Type: "PTR", Class: NotFound}
	arpa, err := dns.ReverseAddr(addr.String())
	if err != nil || addr.IsLoopback() {
		return nil, notFound
	}
	a, err := c.lookup(ctx, arpa, dns.TypePTR)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, rr := range a.records {
		if name := strings.TrimSuffix(rr.(*dns.PTR).Ptr, "."); validHost(name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		notFound.Class = Malformed
		return nil, notFound
	}
	return names, nil
}

// lookup returns the records of one type, at least one, from the cache or from a
// server.
func (c *Client) lookup(ctx context.Context, name string, qtype uint16) (answer, error) {
	asked, ok := ascii(name)
	if !ok {
		return answer{}, &Error{Name: name, Type: dns.TypeToString[qtype], Class: Malformed}
	}
	key := question{strings.ToLower(asked), qtype}
	a, ok := c.cache.get(key)
	if !ok {
		var err error
		if a, err = c.ask(ctx, key); err != nil {
			return answer{}, &Error{Name: name, Type: dns.TypeToString[qtype], Class: Temporary, Err: err}
		}
		c.cache.put(key, a)
	}
	if len(a.records) == 0 {
		return answer{}, &Error{Name: name, Type: dns.TypeToString[qtype], Class: a.class}
	}
	return a, nil
}

// ask goes round the servers until one gives an answer.
func (c *Client) ask(ctx context.Context, q question) (answer, error) {
	var errs []error
	for range c.attempts {
		for _, server := range c.servers {
			reply, err := c.exchange(ctx, q, server)
			if err == nil {
				a := read(q, reply)
				a.secure = server.trusted && reply.AuthenticatedData
				return a, nil
			}
			if ctx.Err() != nil {
				return answer{}, ctx.Err()
			}
			errs = append(errs, err)
		}
	}
	if len(errs) == 0 {
		return answer{}, errors.New("no name servers")
	}
	return answer{}, errs[len(errs)-1]
}

// exchange asks one server. A reply is an answer when it is positive or says
// that the name does not exist.
func (c *Client) exchange(ctx context.Context, q question, s server) (*dns.Msg, error) {
	m := new(dns.Msg).SetQuestion(dns.Fqdn(q.name), q.qtype)
	m.SetEdns0(1232, s.trusted)     // DNS flag day 2020: no fragments
	m.AuthenticatedData = s.trusted // RFC 6840, 5.7: we understand the AD bit
	udp := dns.Client{Timeout: c.timeout, UDPSize: 1232}
	server := s.addr
	reply, err := roundTrip(ctx, &udp, m, server)
	if err == nil && reply.Truncated {
		tcp := dns.Client{Net: "tcp", Timeout: c.timeout}
		reply, err = roundTrip(ctx, &tcp, m, server)
	}
	if err != nil {
		return nil, fmt.Errorf("server %s: %w", server, err)
	}
	if len(reply.Question) != 1 || reply.Question[0].Qtype != q.qtype ||
		!strings.EqualFold(reply.Question[0].Name, dns.Fqdn(q.name)) {
		return nil, fmt.Errorf("server %s: reply to another question", server)
	}
	if reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError {
		return nil, fmt.Errorf("server %s: %s", server, dns.RcodeToString[reply.Rcode])
	}
	return reply, nil
}

// roundTrip sends a message and waits for the reply, or for the end of ctx.
func roundTrip(ctx context.Context, c *dns.Client, m *dns.Msg, server string) (*dns.Msg, error) {
	conn, err := c.DialContext(ctx, server)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // ends the read
	defer func() {
		if stop() {
			_ = conn.Close()
		}
	}()
	reply, _, err := c.ExchangeWithConnContext(ctx, m, conn)
	return reply, err
}

// read takes the records of the question's type out of a reply, following
// aliases (RFC 1034, 3.6.2).
func read(q question, reply *dns.Msg) answer {
	const maxAliases = 10
	a := answer{class: NoData, ttl: negativeTTL(reply), owner: q.name}
	if reply.Rcode == dns.RcodeNameError {
		a.class = NotFound
	}
	owner := dns.Fqdn(q.name)
	for range maxAliases {
		next := ""
		for _, rr := range reply.Answer {
			h := rr.Header()
			if !strings.EqualFold(h.Name, owner) {
				continue
			}
			if h.Rrtype == q.qtype {
				if len(a.records) == 0 || h.Ttl < a.ttl {
					a.ttl = h.Ttl
				}
				a.records = append(a.records, rr)
			} else if alias, ok := rr.(*dns.CNAME); ok {
				next = alias.Target
			}
		}
		if len(a.records) > 0 || next == "" {
			break
		}
		owner = next
		a.owner = strings.TrimSuffix(strings.ToLower(next), ".")
	}
	return a
}

// negativeTTL is how long a "no" is good for (RFC 2308, 5).
func negativeTTL(reply *dns.Msg) uint32 {
	for _, rr := range reply.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return min(soa.Hdr.Ttl, soa.Minttl, 300)
		}
	}
	return 0
}
