package settings

import (
	"context"
	"fmt"
	"strings"

	"postern/internal/config"
	"postern/internal/finding"
	"postern/internal/origin"
)

// limits reports a mailbox that may hold less than one message may have (VD404):
// virtual(8) and local(8) refuse to start then.
func (x *examination) limits(ctx context.Context) {
	for _, m := range x.services {
		switch m.Command {
		case "virtual":
			if x.delivers(ctx, m.Name, "virtual_mailbox_domains", "virtual_transport") {
				x.limit(m.settings, "virtual_mailbox_limit")
			}
		case "local":
			if x.delivers(ctx, m.Name, "mydestination", "local_transport") {
				x.limit(m.settings, "mailbox_size_limit")
			}
		}
	}
}

// delivers reports whether mail comes to a delivery service: by the transport of a
// class that has domains, or by a row of transport_maps.
func (x *examination) delivers(ctx context.Context, name, domains, transport string) bool {
	if len(x.settings.List(domains)) > 0 && serviceOf(x.settings.String(transport)) == name {
		return true
	}
	for _, t := range x.Of(ctx, "transport_maps") {
		for _, row := range t.Entries {
			if serviceOf(row.Value) == name {
				return true
			}
		}
	}
	return false
}

// serviceOf is the transport of "transport:nexthop".
func serviceOf(value string) string {
	name, _, _ := strings.Cut(value, ":")
	return name
}

// usualMessage is the default of message_size_limit.
const usualMessage = 10240000

func (x *examination) limit(s *config.Settings, name string) {
	size, message := s.Int64(name), s.Int64("message_size_limit")
	text := fmt.Sprintf("%s (%d) is smaller than message_size_limit (%d)", name, size, message)
	fix := fmt.Sprintf("%s = 0 for no limit, or at least %d", name, message)
	switch {
	case size == 0, x.wrong[name], x.wrong["message_size_limit"], message > 0 && size >= message:
		return
	case message == 0:
		text = fmt.Sprintf("%s is %d and messages have no limit (message_size_limit = 0)", name, size)
		fix = fmt.Sprintf("%s = 0 for no limit, or a limit for messages too: message_size_limit = %d", name, min(size, usualMessage))
	}
	at := []origin.At{s.Value(name).At, s.Value("message_size_limit").At}
	if isDefault(at[0]) {
		at[0], at[1] = at[1], at[0]
	}
	x.report(finding.Finding{Code: "VD404", Severity: finding.Error, At: at,
		Message: text + ": the delivery agent refuses to start, and all its mail waits",
		Fix:     fix})
}
