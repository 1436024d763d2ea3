package mailboxes

import (
	"context"
	"maps"
	"strings"
	"sync"

	"postern/internal/address"
	"postern/internal/config"
	"postern/internal/nearest"
	"postern/internal/origin"
	"postern/internal/route"
)

// services are the delivery agents of master.cf: the program by the name of the
// service.
type services map[string]string

// servicesOf reads master.cf. Services that every Postfix has are not missed: a
// master.cf without them was cut short to show something else.
func servicesOf(s *config.Settings) services {
	programs := services{"virtual": "virtual", "local": "local", "lmtp": "lmtp", "smtp": "smtp", "relay": "smtp",
		"error": "error", "retry": "error", "discard": "discard"}
	for _, m := range s.Services() {
		if m.Type == "unix" {
			programs[m.Name] = m.Command
		}
	}
	return programs
}

// near are services that are spelt almost like name.
func (s services) near(name string) []string {
	return nearest.Words(name, maps.Keys(s), max(1, len(name)/3))
}

// places resolves addresses. Where transport_maps and relocated_maps are not set,
// all users of a domain go the same way, and one of them is asked for.
type places struct {
	router *route.Router
	whole  bool // a domain has one answer

	mu    sync.Mutex
	known map[string]*route.Resolution // by domain, or by address; nil: no answer
}

func newPlaces(r *route.Router) *places {
	return &places{router: r, known: map[string]*route.Resolution{},
		whole: len(r.Tables("transport_maps"))+len(r.Tables("relocated_maps")) == 0}
}

// of says where mail for an address goes; nil: that is not known.
func (p *places) of(ctx context.Context, a address.Address) *route.Resolution {
	key := strings.ToLower(a.Domain)
	if !p.whole {
		key = address.Fold(a.Internal())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	res, ok := p.known[key]
	if ok {
		return res
	}
	if r, err := p.router.Resolve(ctx, a, address.Address{}, nil); err == nil {
		res = &r
	}
	p.known[key] = res
	return res
}

// transportPlaces are where the transport of a resolution is written: the row,
// if it was one, then the parameter.
func transportPlaces(s *config.Settings, res *route.Resolution) []origin.At {
	var at []origin.At
	if !res.TransportAt.IsZero() {
		at = append(at, res.TransportAt)
	}
	if v, ok := s.Lookup(res.TransportBy); ok {
		at = append(at, v.At)
	}
	return at
}
