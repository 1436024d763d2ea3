package server

import (
	"context"
	"errors"
	"slices"
	"strings"

	"postern/internal/access"
	"postern/internal/config"
	"postern/internal/table"
)

// fastFlush says which domains may ask for their mail (ETRN, postqueue -s).
type fastFlush struct{ domains *table.List }

// newFastFlush reads fast_flush_domains. What cannot be used of it is logged.
func newFastFlush(ctx context.Context, o *table.Opener, s *config.Settings, log access.Logger) fastFlush {
	v := s.Value("fast_flush_domains")
	parents := slices.ContainsFunc(s.List("parent_domain_matches_subdomains"), func(w string) bool {
		return strings.EqualFold(w, "fast_flush_domains")
	})
	list, err := o.List(ctx, v.Text, table.DomainList, parents, table.Use{Parameter: "fast_flush_domains", At: v.At, Fold: true})
	if err != nil {
		log.Warningf("%v: fast_flush_domains: %v", v.At, err)
	}
	return fastFlush{list}
}

// eligible reports whether a domain is in the list. An error is a failing table.
func (f fastFlush) eligible(ctx context.Context, domain string) (bool, error) {
	_, err := f.domains.Match(ctx, domain, nil)
	if errors.Is(err, table.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// flushSite starts the delivery of what is queued for a domain that may ask for
// it (ETRN, postqueue -s). An error says why that does not start.
func (s *Server) flushSite(ctx context.Context, f fastFlush, domain string) (eligible bool, err error) {
	if eligible, err = f.eligible(ctx, domain); eligible {
		err = s.queue.FlushDestination(domain)
	}
	return eligible, err
}
