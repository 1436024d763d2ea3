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
//     turns out that the server closed it in the meantime, or answers 421 before
//     it has the text, a new connection is made at once, and nobody hears of it.
//  2. The next hop is resolved: MX records by preference, in random order where
//     that is equal, and their addresses; when one of them is our own address,
//     it and all with its preference or a worse one are left out, or if nothing
//     remains, the mail loops (port 25 only) or is best_mx_transport's.
//  3. Each address is tried: policy and credentials are looked up, then connect,
//     greeting, EHLO or LHLO, STARTTLS, AUTH, the transaction. Recipients that are
//     accepted, or refused for good, are done with. Those that are deferred, and
//     all of them when there was no transaction, are tried at the next address,
//     until smtp_mx_address_limit addresses or smtp_mx_session_limit sessions are
//     used up.
//  4. Whoever is left keeps the status of the last try. That a name was not found
//     does not bounce those that were deferred before.
//
// A conversation that breaks off behind the end of the text is deferred at once:
// the server may have the message, and another one would make it two.
//
// Connections that are still good are kept for a short time for the next
// message (smtp_connection_cache_time_limit), the last used first; deliveries
// that find none at hand make one, and none waits for another.
//
// # What servers cannot take
//
// To a server without 8BITMIME parts that are labelled 8bit go out as
// quoted-printable (package sevenbit). Without SMTPUTF8 the message bounces when
// its sender needs it, or a header and the client said SMTPUTF8; else only the
// recipients whose addresses need it do. The sender's wishes for reports go on
// to servers that offer DSN, and Status.Reach says whether they did.
//
// A probe ends behind RCPT.
//
// # In clear
//
// Where TLS is only tried (level may) a handshake that fails defers the message,
// and once that is minimal_backoff_time old it goes out in clear, over a
// connection of its own. Where there are credentials for the server it waits
// for TLS, for they would be in clear too.
//
// # Results
//
// Replies are shown with all their lines and codes, one behind the other, as
// Postfix does: "550-5.1.1 no such user 550 5.1.1 here".
//
// Not here: rewriting of addresses on the way out (smtp_generic_maps), header
// checks, smtp_reply_filter, tables of servers whose offers are overlooked
// (smtp_discard_ehlo_keyword_address_maps), XFORWARD.
//
// It imports deliver, dns, sevenbit, smtp, smtpc and spool.
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
	Balance     bool         // smtp_balance_inet_protocols
	MaxSessions int          // smtp_mx_session_limit; 0: none
	Relayhost   string       // relayhost: a next hop whose name is not found defers
	Fallback    []string     // smtp_fallback_relay: next hops behind the given one
	// BestMX delivers mail that would loop back to us, for our own address is the
	// best exchanger of its domain (best_mx_transport). nil: it is bounced.
	BestMX      func(context.Context, *deliver.Request) []deliver.Status
	Bind4       netip.Addr // smtp_bind_address
	Bind6       netip.Addr // smtp_bind_address6
	BindOrDefer bool       // smtp_bind_address_enforce: else an address that this machine does not have is passed over
	// Own reports whether an address is ours (inet_interfaces, proxy_interfaces).
	// nil: none is.
	Own func(netip.Addr) bool

	Session         smtpc.Options // but for TLS and Auth
	KeepEightBit    bool          // disable_mime_output_conversion: 8-bit text goes to servers without 8BITMIME as it is
	AssumeFinal     bool          // lmtp_assume_final: LMTP to a server without DSN is final delivery
	ConnectTimeout  time.Duration // smtp_connect_timeout; 0: that of the system
	GreetingRetries bool          // smtp_skip_5xx_greeting: a 5xx greeting defers
	// TLS says how a connection to a host is to be secured
	// (smtp_tls_security_level, smtp_tls_policy_maps). nextHop is the destination
	// as it was written: "example.test", "[mx.example.test]:587", "unix:path". It
	// is called for every host before a connection is made. An error defers, and
	// the next host is tried: a *PolicyError says why, any other is the mistake
	// of this configuration, and is logged. nil: no TLS.
	TLS func(ctx context.Context, nextHop string, host Host) (smtpc.TLS, error)
	// ClearAfter is the age of a message from which on it goes out in clear when
	// TLS is only tried and the handshake fails (minimal_backoff_time). A younger
	// one, and one whose server is to get credentials, waits. 0: they all wait.
	ClearAfter   time.Duration
	LogTLS       bool // smtp_tls_loglevel above 0: a line for every encrypted connection
	NoteStartTLS bool // smtp_tls_note_starttls_offer
	// Credentials are looked up for a host (smtp_sasl_auth_enable,
	// smtp_sasl_password_maps); ok is false when there are none, and nobody
	// authenticates. nextHop is as for TLS, host is its name. nil: never.
	Credentials func(ctx context.Context, sender, nextHop, host string) (user, password string, ok bool, err error)
	// BySender: credentials depend on the sender
	// (smtp_sender_dependent_authentication), so only messages of the same sender
	// share a connection.
	BySender bool
	// Mechanism chooses how to use credentials with a server
	// (smtp_sasl_mechanism_filter, smtp_sasl_security_options and the like). An
	// error says why there is none: "no mechanism available".
	Mechanism func(ctx context.Context, user, password string, s smtpc.Server) (smtpc.Mechanism, error)
	// AuthBounces: a server that refuses the credentials for good bounces the
	// mail (smtp_sasl_auth_soft_bounce = no).
	AuthBounces bool

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

// Host is a server as it was found.
type Host struct {
	Domain string // of the next hop, without brackets and port; "" for a socket
	Name   string // as in the MX record, or in the next hop; may be an IP address
	Port   uint16 // 0 for a socket
	MX     bool   // the name comes from MX records of Domain
	Secure bool   // these records were validated (DNSSEC); false without MX
}

// PolicyError says that a host must not be used: its TLSA records cannot be
// looked up, or a policy does not name it. Mail for it is deferred.
type PolicyError struct {
	DSN    string // "4.7.5"
	Reason string // for the log and the report
	Err    error  // cause, may be nil
}

func (e *PolicyError) Error() string {
	if e.Err == nil {
		return e.Reason
	}
	return e.Reason + ": " + e.Err.Error()
}

func (e *PolicyError) Unwrap() error { return e.Err }
