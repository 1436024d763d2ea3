// Package smtp is the agent of the transports smtp, relay and lmtp: it hands a
// message to another server and says for each recipient what that said.
//
// # Next hops
//
//	example.test           mail exchangers of the domain, else its addresses
//	example.test:587       the same, at another port
//	[mx.example.test]:587  addresses of the host, no MX lookup
//	[192.0.2.1] [ipv6:2001:db8::1]
//	inet:host:port         addresses of the host (LMTP's way to write it)
//	unix:private/lmtp      a socket, relative to queue_directory
//
// Several of them, separated by commas or blanks, are tried in order. LMTP
// never looks for MX records. Ports may be names. An IP address without brackets
// is taken as one.
//
// # Order of a delivery
//
//  1. An idle connection to the same next hop is used, if there is one. When it
//     turns out that the server closed it in the meantime, this goes unnoticed.
//  2. The next hop is resolved: MX records by preference, in random order where
//     that is equal, and their addresses; when one of them is our own address,
//     it and all with its preference or a worse one are left out, or if nothing
//     remains, the mail loops (port 25 only).
//  3. Each address is tried: connect, greeting, EHLO or LHLO, STARTTLS, the
//     transaction. Recipients that are accepted, or refused for good, are done
//     with. Those that are deferred, and all of them when there was no
//     transaction, are tried at the next address, until smtp_mx_address_limit
//     addresses or smtp_mx_session_limit sessions are used up.
//  4. Whoever is left keeps the status of the last try. That a name was not found
//     does not bounce those that were deferred before.
//
// A conversation that breaks off behind the final dot is deferred at once: the
// server may have the message, and another one would make it two.
//
// Connections that are still good are kept for a short time for the next
// message (smtp_connection_cache_time_limit).
//
// The agent does not authenticate, look up TLS policies (Options.TLS decides),
// rewrite headers, or convert 8-bit text for servers without 8BITMIME.
//
// It imports deliver, dns, smtp, smtpc and spool.
package smtp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"time"

	"postern/internal/deliver"
	"postern/internal/dns"
	"postern/internal/smtpc"
)

// Logger takes the lines of the agent.
type Logger interface {
	Infof(format string, args ...any)
	Warningf(format string, args ...any)
}

// Options are the parameters of an agent. In the names of parameters, smtp_
// stands for lmtp_ too.
type Options struct {
	LMTP           bool
	Hostname       string // myhostname
	QueueDirectory string // queue_directory
	Port           string // smtp_tcp_port: number or name; "" is 25, for LMTP 24

	Resolver    dns.Resolver // MX records, and hosts where HostLookup says "dns"
	Native      dns.Resolver // hosts where HostLookup says "native"; may be nil
	HostLookup  []string     // smtp_host_lookup: "dns", "native" in order; empty is "dns"
	NoMX        bool         // smtp_dns_support_level = disabled: no MX lookups, native host lookups
	DeferNoMX   bool         // smtp_defer_if_no_mx_address_found
	Prefer      string       // smtp_address_preference: "any", "ipv4", "ipv6"
	Randomize   bool         // smtp_randomize_addresses
	MaxAddress  int          // smtp_mx_address_limit; 0: none
	MaxSessions int          // smtp_mx_session_limit; 0: none
	Relayhost   string       // relayhost: a next hop whose name is not found defers
	Fallback    []string     // smtp_fallback_relay: next hops behind the given one
	Bind4       netip.Addr   // smtp_bind_address
	Bind6       netip.Addr   // smtp_bind_address6
	// Own reports whether an address is ours (inet_interfaces, proxy_interfaces).
	// nil: none is.
	Own func(netip.Addr) bool

	Session         smtpc.Options // but for TLS
	ConnectTimeout  time.Duration // smtp_connect_timeout; 0: that of the system
	GreetingRetries bool          // smtp_skip_5xx_greeting: a 5xx greeting defers
	// TLS returns what is asked of a host (smtp_tls_security_level). domain is the
	// next hop that led to it, without brackets and port, or "unix:path". nil: no
	// TLS. It is called for every connection; an error defers.
	TLS func(domain, host string) (smtpc.TLS, error)

	CacheTime time.Duration // smtp_connection_cache_time_limit; 0: connections are not kept
	CacheLife time.Duration // smtp_connection_reuse_time_limit; 0: none
	CacheUses int           // smtp_connection_reuse_count_limit; 0: none
	CacheSize int           // idle connections at most; 0: 100

	Dial    func(ctx context.Context, network, address string) (net.Conn, error) // nil: the network
	Shuffle func(n int, swap func(i, j int))                                     // nil: rand.Shuffle
	Now     func() time.Time                                                     // nil: time.Now
	Log     Logger
}

// Agent delivers by SMTP or LMTP. It is safe for concurrent use.
type Agent struct {
	o        Options
	pool     *pool
	fallback []destination
	loopPort string // the port at which our own address means a loop
}

var _ deliver.Agent = (*Agent)(nil)

// New makes an agent. Options.Resolver and Options.Log must be set, and
// Options.Fallback must hold next hops, or nothing.
func New(o Options) (*Agent, error) {
	if o.Resolver == nil || o.Log == nil {
		return nil, errors.New("smtp agent: no resolver or no log")
	}
	if o.Port == "" {
		o.Port = "25"
		if o.LMTP {
			o.Port = "24"
		}
	}
	if len(o.HostLookup) == 0 {
		o.HostLookup = []string{"dns"}
	}
	if o.NoMX {
		o.HostLookup = []string{"native"}
	}
	if o.Native == nil {
		o.Native = o.Resolver
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Shuffle == nil {
		o.Shuffle = rand.Shuffle
	}
	if o.Session.Hello == "" {
		o.Session.Hello = o.Hostname
	}
	o.Session.LMTP = o.LMTP
	a := &Agent{o: o, pool: newPool(&o), loopPort: "25"}
	if o.LMTP {
		a.loopPort = ""
	}
	if len(o.Fallback) > 0 {
		var err error
		if a.fallback, err = parseNextHop(strings.Join(o.Fallback, " "), o.Port, !o.LMTP); err != nil {
			return nil, fmt.Errorf("smtp_fallback_relay: %w", err)
		}
	}
	return a, nil
}

// Close ends the idle connections and keeps none from now on. Deliveries that
// are under way are not disturbed.
func (a *Agent) Close() { a.pool.close() }
