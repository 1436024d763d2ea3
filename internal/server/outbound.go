package server

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"postern/internal/config"
	"postern/internal/deliver"
	"postern/internal/deliver/smtp"
	"postern/internal/smtpc"
)

// smtpOptions reads the parameters of smtp(8) or lmtp(8); the latter have the
// prefix lmtp_.
func smtpOptions(g *generation, v *config.Settings, lmtp bool, log smtp.Logger) (smtp.Options, error) {
	prefix := "smtp_"
	if lmtp {
		prefix = "lmtp_"
	}
	o := smtp.Options{
		LMTP: lmtp, Hostname: v.String("myhostname"), QueueDirectory: v.String("queue_directory"), Port: v.String(prefix + "tcp_port"),
		Relayhost: v.String("relayhost"), Resolver: g.resolver, Native: g.native, HostLookup: v.List(prefix + "host_lookup"),
		NoMX:      v.String(prefix+"dns_support_level") == "disabled" || v.Bool("disable_dns_lookups"),
		DeferNoMX: v.Bool(prefix + "defer_if_no_mx_address_found"), Fallback: v.List(prefix + "fallback_relay"),
		Prefer: v.String(prefix + "address_preference"), Randomize: v.Bool(prefix + "randomize_addresses"),
		MaxAddress: v.Int(prefix + "mx_address_limit"), MaxSessions: v.Int(prefix + "mx_session_limit"),
		Balance: v.Bool(prefix + "balance_inet_protocols"), BindOrDefer: v.Bool(prefix + "bind_address_enforce"), Own: g.router.Own,
		ConnectTimeout: v.Duration(prefix + "connect_timeout"), GreetingRetries: v.Bool(prefix + "skip_5xx_greeting"),
		CacheTime: v.Duration(prefix + "connection_cache_time_limit"), CacheLife: v.Duration(prefix + "connection_reuse_time_limit"),
		CacheUses:    v.Int(prefix + "connection_reuse_count_limit"),
		KeepEightBit: v.Bool("disable_mime_output_conversion"), AssumeFinal: lmtp && v.Bool("lmtp_assume_final"),
		LogTLS:       logsTLS(v, prefix),
		NoteStartTLS: v.Bool(prefix + "tls_note_starttls_offer"),
		ClearAfter:   v.Duration("minimal_backoff_time"),
		Session:      sessionOptions(v, prefix, lmtp),
	}
	if best := v.String("best_mx_transport"); best != "" && !lmtp {
		o.BestMX = g.bestMX(best)
	}
	if !v.Bool(prefix + "connection_cache_on_demand") {
		o.CacheTime = 0
	}
	for name, to := range map[string]*netip.Addr{"bind_address": &o.Bind4, "bind_address6": &o.Bind6} {
		if text := v.String(prefix + name); text != "" {
			a, err := netip.ParseAddr(text)
			if err != nil {
				return o, fmt.Errorf("%v: %s%s: %w", v.Value(prefix+name).At, prefix, name, err)
			}
			*to = a
		}
	}
	var err error
	if o.TLS, err = clientTLS(g, v, prefix, log); err != nil {
		return o, err
	}
	err = clientAuth(g, v, prefix, log, &o)
	return o, err
}

// sessionOptions reads how to talk to a server.
func sessionOptions(v *config.Settings, prefix string, lmtp bool) smtpc.Options {
	timeout := func(name string) time.Duration { return v.Duration(prefix + name + "_timeout") }
	o := smtpc.Options{
		LMTP: lmtp, LineLimit: v.Int(prefix + "line_length_limit"), WaitQuit: !v.Bool(prefix + "skip_quit_response"),
		Timeouts: smtpc.Timeouts{
			StartTLS: timeout("starttls"), Mail: timeout("mail"), Rcpt: timeout("rcpt"),
			DataInit: timeout("data_init"), DataXfer: timeout("data_xfer"), DataDone: timeout("data_done"),
			Rset: timeout("rset"), Quit: timeout("quit"),
		},
	}
	if v.Bool(prefix + "per_request_deadline") {
		o.MinDataRate = v.Int(prefix + "min_data_rate")
	}
	if lmtp {
		o.Hello, o.Timeouts.Helo, o.Discard = v.String("lmtp_lhlo_name"), timeout("lhlo"), v.List("lmtp_discard_lhlo_keywords")
		return o
	}
	o.Hello, o.Timeouts.Helo, o.Discard = v.String("smtp_helo_name"), timeout("helo"), v.List("smtp_discard_ehlo_keywords")
	switch {
	case v.Bool("smtp_never_send_ehlo"):
		o.EHLO = smtpc.EhloNever
	case !v.Bool("smtp_always_send_ehlo"):
		o.EHLO = smtpc.EhloWhenOffered
	}
	return o
}

// bestMX gives mail for domains whose best mail exchanger is this machine to
// another transport, "transport" or "transport:nexthop" (best_mx_transport).
func (g *generation) bestMX(to string) func(context.Context, *deliver.Request) []deliver.Status {
	name, nextHop, _ := strings.Cut(to, ":")
	return func(ctx context.Context, r *deliver.Request) []deliver.Status {
		r.Transport = name
		if nextHop != "" {
			r.NextHop = nextHop
		}
		if t, ok := g.agents[name]; ok {
			return t.Agent.Deliver(ctx, r)
		}
		statuses := make([]deliver.Status, len(r.Recipients))
		for i := range statuses {
			statuses[i] = deliver.Status{Kind: deliver.Deferred, DSN: "4.3.0", Reason: "mail transport unavailable", Relay: "none"}
		}
		return statuses
	}
}
