package errored

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/deliver"
)

func TestDeliver(t *testing.T) {
	for _, test := range []struct {
		retry   bool
		nextHop string
		want    deliver.Status
	}{
		{false, "5.1.1 User unknown in virtual alias table", deliver.Status{Kind: deliver.Bounced, DSN: "5.1.1", Reason: "User unknown in virtual alias table"}},
		{false, "closed", deliver.Status{Kind: deliver.Bounced, DSN: "5.0.0", Reason: "closed"}},
		{false, "", deliver.Status{Kind: deliver.Bounced, DSN: "5.0.0", Reason: "Address is undeliverable"}},
		{false, "4.2.1 too full", deliver.Status{Kind: deliver.Bounced, DSN: "5.2.1", Reason: "too full"}},
		{false, "5.1.6", deliver.Status{Kind: deliver.Bounced, DSN: "5.1.6", Reason: "Address is undeliverable"}},
		{false, "5.1.6.7 odd", deliver.Status{Kind: deliver.Bounced, DSN: "5.0.0", Reason: "5.1.6.7 odd"}},
		{false, "5..1 odd", deliver.Status{Kind: deliver.Bounced, DSN: "5.0.0", Reason: "5..1 odd"}},
		{false, "3.1.1 odd", deliver.Status{Kind: deliver.Bounced, DSN: "5.0.0", Reason: "3.1.1 odd"}},
		{false, "5.1.x odd", deliver.Status{Kind: deliver.Bounced, DSN: "5.0.0", Reason: "5.1.x odd"}},
		{true, "4.3.2 closed for the weekend", deliver.Status{Kind: deliver.Deferred, DSN: "4.3.2", Reason: "closed for the weekend"}},
		{true, "5.1.1 no", deliver.Status{Kind: deliver.Deferred, DSN: "4.1.1", Reason: "no"}},
		{true, "later", deliver.Status{Kind: deliver.Deferred, DSN: "4.0.0", Reason: "later"}},
	} {
		test.want.Relay = "none"
		request := &deliver.Request{NextHop: test.nextHop, Recipients: make([]deliver.Recipient, 2)}
		got := Agent{Retry: test.retry}.Deliver(t.Context(), request)
		if diff := cmp.Diff([]deliver.Status{test.want, test.want}, got); diff != "" {
			t.Errorf("Agent{Retry: %v}.Deliver(%q) (-want +got):\n%s", test.retry, test.nextHop, diff)
		}
	}
}
