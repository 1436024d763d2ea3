// Package dnstest gives tests a DNS of their own: a Map that answers from Go
// maps, and a Server on the loopback address that answers from zone text.
//
// It imports dns and github.com/miekg/dns.
package dnstest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	mdns "github.com/miekg/dns"

	"postern/internal/dns"
)

// Map is a resolver made of maps. Names are in lower case without a final dot.
// A name in none of them does not exist; one that is only in another map has no
// data of the type.
type Map struct {
	MX   map[string][]dns.MX
	Host map[string][]string // addresses in text form
	PTR  map[string][]string // by address in text form
	TXT  map[string][]string
	TLSA map[string][]dns.TLSA // by "_25._tcp.mx.example.test"; they are Secure
	Fail map[string]bool       // names (or addresses) whose lookups fail, temporarily
}

var (
	_ dns.Resolver     = (*Map)(nil)
	_ dns.TLSAResolver = (*Map)(nil)
)

// LookupMX implements dns.Resolver.
func (m *Map) LookupMX(ctx context.Context, domain string) ([]dns.MX, error) {
	if list := m.MX[strings.ToLower(domain)]; len(list) > 0 && !m.Fail[strings.ToLower(domain)] {
		return list, nil
	}
	return nil, m.no(ctx, domain, "MX")
}

// LookupHost implements dns.Resolver.
func (m *Map) LookupHost(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	if list := m.Host[strings.ToLower(host)]; len(list) > 0 && !m.Fail[strings.ToLower(host)] {
		addrs := make([]netip.Addr, len(list))
		for i, text := range list {
			addrs[i] = netip.MustParseAddr(text)
		}
		return addrs, nil
	}
	return nil, m.no(ctx, host, "A")
}

// LookupPTR implements dns.Resolver.
func (m *Map) LookupPTR(ctx context.Context, addr netip.Addr) ([]string, error) {
	if list := m.PTR[addr.String()]; len(list) > 0 && !m.Fail[addr.String()] {
		return list, nil
	}
	return nil, m.no(ctx, addr.String(), "PTR")
}

// LookupTXT answers as dns.Client does.
func (m *Map) LookupTXT(ctx context.Context, name string) ([]string, error) {
	if list := m.TXT[strings.ToLower(name)]; len(list) > 0 && !m.Fail[strings.ToLower(name)] {
		return list, nil
	}
	return nil, m.no(ctx, name, "TXT")
}

// LookupTLSA implements dns.TLSAResolver. No host is an alias.
func (m *Map) LookupTLSA(ctx context.Context, host string, port uint16, _ bool) (dns.TLSASet, error) {
	name := fmt.Sprintf("_%d._tcp.%s", port, strings.ToLower(host))
	if list := m.TLSA[name]; len(list) > 0 && !m.Fail[name] {
		return dns.TLSASet{Base: strings.ToLower(host), Records: list}, nil
	}
	return dns.TLSASet{}, m.no(ctx, name, "TLSA")
}

func (m *Map) no(ctx context.Context, name, qtype string) error {
	key := strings.ToLower(name)
	e := &dns.Error{Name: name, Type: qtype, Class: dns.NotFound, Err: ctx.Err()}
	switch {
	case ctx.Err() != nil || m.Fail[key]:
		e.Class = dns.Temporary
	case len(m.MX[key])+len(m.Host[key])+len(m.TXT[key]) > 0:
		e.Class = dns.NoData
	}
	return e
}

// Server is a name server on 127.0.0.1 that answers from zone text, over UDP
// and TCP on the same port.
type Server struct {
	Addr string // "127.0.0.1:port", for dns.Options.Servers

	records []mdns.RR
	mu      sync.Mutex
	asked   []string
	hook    func(question string)
}

// Start serves records in the form of a zone file, such as
//
//	example.test. 300 IN MX 10 mx.example.test.
//
// until the test ends. Answers have the AD bit, when the question asks for it and
// no name in them is insecure.test or below it. Names below servfail.test fail, as
// does the question for TLSA records below notlsa.test, those below silent.test
// are never answered, and answers of more than 512 octets below big.test are cut
// over UDP.
func Start(t testing.TB, zone string) *Server {
	t.Helper()
	s := &Server{}
	parser := mdns.NewZoneParser(strings.NewReader(zone), ".", "")
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		s.records = append(s.records, rr)
	}
	if err := parser.Err(); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Addr = l.Addr().String()
	pc, err := net.ListenPacket("udp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, srv := range []*mdns.Server{{Listener: l, Handler: s}, {PacketConn: pc, Handler: s}} {
		started, done := make(chan struct{}), make(chan error, 1)
		srv.NotifyStartedFunc = func() { close(started) }
		go func() { done <- srv.ActivateAndServe() }()
		select {
		case <-started:
		case err := <-done:
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = srv.Shutdown()
			<-done
		})
	}
	return s
}

// Asked returns the questions so far, as "name type".
func (s *Server) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

// OnQuestion sets a function that is called with every question, "name type",
// before it is answered.
func (s *Server) OnQuestion(f func(question string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = f
}

// ServeDNS implements the handler of the server.
func (s *Server) ServeDNS(w mdns.ResponseWriter, q *mdns.Msg) {
	name, qtype := strings.ToLower(q.Question[0].Name), q.Question[0].Qtype
	question := strings.TrimSuffix(name, ".") + " " + mdns.TypeToString[qtype]
	s.mu.Lock()
	s.asked = append(s.asked, question)
	hook := s.hook
	s.mu.Unlock()
	if hook != nil {
		hook(question)
	}
	if strings.HasSuffix(name, "silent.test.") {
		return
	}
	m := new(mdns.Msg).SetReply(q)
	if strings.HasSuffix(name, "servfail.test.") || qtype == mdns.TypeTLSA && strings.HasSuffix(name, "notlsa.test.") {
		m.Rcode = mdns.RcodeServerFailure
	} else {
		s.answer(m, name, qtype)
	}
	m.AuthenticatedData = q.AuthenticatedData && secure(m)
	if w.LocalAddr().Network() == "udp" && strings.HasSuffix(name, "big.test.") {
		m.Truncate(512)
	}
	_ = w.WriteMsg(m)
}

// secure reports whether no name of a reply lies below insecure.test.
func secure(m *mdns.Msg) bool {
	for _, rr := range m.Answer {
		if mdns.IsSubDomain("insecure.test.", rr.Header().Name) {
			return false
		}
	}
	return !mdns.IsSubDomain("insecure.test.", m.Question[0].Name)
}

func (s *Server) answer(m *mdns.Msg, name string, qtype uint16) {
	found := false
	for range 4 { // aliases
		alias := ""
		for _, rr := range s.records {
			if !strings.EqualFold(rr.Header().Name, name) {
				continue
			}
			found = true
			if c, ok := rr.(*mdns.CNAME); ok && qtype != mdns.TypeCNAME {
				m.Answer = append(m.Answer, rr)
				alias = strings.ToLower(c.Target)
			} else if rr.Header().Rrtype == qtype {
				m.Answer = append(m.Answer, rr)
			}
		}
		if alias == "" {
			break
		}
		name = alias
	}
	if !found {
		m.Rcode = mdns.RcodeNameError
	}
	for _, rr := range s.records {
		if soa, ok := rr.(*mdns.SOA); ok && len(m.Answer) == 0 {
			m.Ns = append(m.Ns, soa)
		}
	}
}
