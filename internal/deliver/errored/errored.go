// Package errored is the delivery agent of the master.cf services error and
// retry: it delivers nothing and returns the text of the next hop as the result
// for every recipient.
//
//	transport_maps:  old.example.org   error:5.1.6 the domain has moved
//	                 slow.example.org  retry:4.3.2 closed for the weekend
//
// error bounces, retry defers. An enhanced status code in front of the text is
// taken as the status; without one it is 5.0.0 or 4.0.0, and one of the other
// class gets the class of the service. Without a text it is "Address is
// undeliverable". See transport(5) and error(8).
//
// It imports deliver.
package errored

import (
	"context"
	"strings"

	"postern/internal/deliver"
)

// Agent bounces or defers every recipient. Its zero value is the service error.
type Agent struct {
	// Retry makes it the service retry: deferred instead of bounced.
	Retry bool
}

var _ deliver.Agent = Agent{}

// Deliver returns the next hop's text as the fate of every recipient. The log
// says relay=none.
func (a Agent) Deliver(_ context.Context, r *deliver.Request) []deliver.Status {
	status := deliver.Status{Kind: deliver.Bounced, Relay: "none"}
	class := "5"
	if a.Retry {
		status.Kind, class = deliver.Deferred, "4"
	}
	status.DSN, status.Reason = split(r.NextHop, class)
	statuses := make([]deliver.Status, len(r.Recipients))
	for i := range statuses {
		statuses[i] = status
	}
	return statuses
}

// split cuts "5.1.1 text" into its enhanced status code, moved to the class
// when it is of another one, and the text.
func split(text, class string) (dsn, reason string) {
	dsn, reason = class+".0.0", strings.TrimSpace(text)
	if word, rest, _ := strings.Cut(reason, " "); isStatus(word) {
		dsn, reason = class+word[1:], strings.TrimSpace(rest)
	}
	if reason == "" {
		reason = "Address is undeliverable"
	}
	return dsn, reason
}

// isStatus reports whether word is an enhanced status code (RFC 3463, 2).
func isStatus(word string) bool {
	parts := strings.Split(word, ".")
	if len(parts) != 3 || len(parts[0]) != 1 || strings.Trim(parts[0], "245") != "" {
		return false
	}
	for _, part := range parts[1:] {
		if len(part) < 1 || len(part) > 3 || strings.Trim(part, "0123456789") != "" {
			return false
		}
	}
	return true
}
