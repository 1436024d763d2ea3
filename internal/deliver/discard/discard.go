// Package discard is the delivery agent of the master.cf service discard: it
// drops mail and says that it was delivered. The next hop, which is the domain
// of the recipient where the table names none, is logged as the reason.
//
//	transport_maps:  trap.example.org  discard:spam trap
//
// See transport(5) and discard(8). It imports deliver.
package discard

import (
	"context"

	"postern/internal/deliver"
)

// Agent drops mail.
type Agent struct{}

var _ deliver.Agent = Agent{}

// Deliver returns Sent for every recipient, with the next hop as the reason, or
// "discarded" where that is empty. The log says relay=none.
func (Agent) Deliver(_ context.Context, r *deliver.Request) []deliver.Status {
	reason := r.NextHop
	if reason == "" {
		reason = "discarded"
	}
	statuses := make([]deliver.Status, len(r.Recipients))
	for i := range statuses {
		statuses[i] = deliver.Status{Kind: deliver.Sent, DSN: "2.0.0", Reason: reason, Relay: "none"}
	}
	return statuses
}
