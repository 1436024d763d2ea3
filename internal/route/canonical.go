package route

import (
	"context"
	"strings"

	"postern/internal/address"
)

// maxCanonical is how often a canonical mapping is applied to its own result.
const maxCanonical = 10

// canonicalRecipient applies recipient_canonical_maps and canonical_maps.
func (r *Router) canonicalRecipient(ctx context.Context, a address.Address, tr *Trace) (address.Address, error) {
	return r.canonical(ctx, a, tr, "envelope_recipient", "recipient_canonical_maps", r.p.recipientCanonicalClasses)
}

// Sender completes and maps an envelope sender (cleanup(8)): rewriting,
// sender_canonical_maps, canonical_maps. MAILER-DAEMON at myorigin is the null
// sender, and the maps are asked about that one too. The error is an
// *ExpansionError.
func (r *Router) Sender(ctx context.Context, a address.Address, tr *Trace) (address.Address, error) {
	if !a.IsNull() {
		a = r.Rewrite(a)
	}
	if strings.EqualFold(a.Local, "MAILER-DAEMON") && strings.EqualFold(a.Domain, r.p.myorigin) {
		a = address.Address{}
	}
	return r.canonical(ctx, a, tr, "envelope_sender", "sender_canonical_maps", r.p.senderCanonicalClasses)
}

func (r *Router) canonical(ctx context.Context, a address.Address, tr *Trace, class, own string, ownClasses map[string]bool) (address.Address, error) {
	for _, m := range []struct {
		parameter string
		on        bool
	}{{own, ownClasses[class]}, {"canonical_maps", r.p.canonicalClasses[class]}} {
		if !m.on || r.maps[m.parameter].Empty() {
			continue
		}
		for n := 0; ; n++ {
			if n == maxCanonical {
				r.log.Warningf("unreasonable %s map nesting for %s", m.parameter, a)
				break
			}
			found, ok, err := r.lookupExternal(ctx, m.parameter, a, tr)
			if err != nil {
				return a, tableExpansion(a, m.parameter, err)
			}
			if !ok {
				break
			}
			to, err := r.targets(a, found, r.p.propagate["canonical"])
			if err != nil {
				return a, tableExpansion(a, m.parameter, err)
			}
			if len(to) > 1 {
				r.log.Warningf("multi-valued %s entry for %s", m.parameter, a)
			}
			before := a
			a = to[0]
			tr.add("rewrite", m.parameter, before.Internal(), a.Internal(), first(found.At))
			if a.Equal(before) {
				break
			}
		}
	}
	return a, nil
}
