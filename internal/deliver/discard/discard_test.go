package discard

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/deliver"
)

func TestDeliver(t *testing.T) {
	for nextHop, reason := range map[string]string{"spam trap": "spam trap", "example.net": "example.net", "": "discarded"} {
		want := deliver.Status{Kind: deliver.Sent, DSN: "2.0.0", Reason: reason, Relay: "none"}
		got := Agent{}.Deliver(t.Context(), &deliver.Request{NextHop: nextHop, Recipients: make([]deliver.Recipient, 2)})
		if diff := cmp.Diff([]deliver.Status{want, want}, got); diff != "" {
			t.Errorf("Deliver(%q) (-want +got):\n%s", nextHop, diff)
		}
	}
}
