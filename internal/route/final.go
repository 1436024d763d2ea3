package route

import (
	"context"

	"postern/internal/address"
)

// Final resolves an address that no alias replaces, and says in refusal why mail
// for it would bounce or wait: it does not exist in its class, or its transport is
// error or retry. refusal is "" when it exists, or when only another server knows;
// permanent tells bouncing from waiting. Errors are those of Resolve.
func (r *Router) Final(ctx context.Context, a address.Address, tr *Trace) (res Resolution, refusal string, permanent bool, err error) {
	if res, err = r.Resolve(ctx, a, address.Address{}, tr); err != nil {
		return res, "", false, err
	}
	text, code, _, err := r.exists(ctx, res, recipientSide, tr)
	return res, text, code >= 500, err
}
