package smtp

import (
	"context"
	"errors"
	"strconv"

	"postern/internal/deliver"
	"postern/internal/smtpc"
)

// policy is how the connection to an address is to be secured, or the status of
// a host that must not be used.
func (a *Agent) policy(ctx context.Context, t target) (smtpc.TLS, *deliver.Status) {
	if a.o.TLS == nil {
		return smtpc.TLS{}, nil
	}
	host := Host{Domain: t.domain, Name: t.name, MX: t.mx, Secure: t.secure}
	if t.network == "unix" {
		host = Host{Name: t.name}
	}
	if port, err := strconv.ParseUint(t.port, 10, 16); err == nil {
		host.Port = uint16(port)
	}
	policy, err := a.o.TLS(ctx, t.nextHop, host)
	if err == nil {
		return policy, nil
	}
	status := &deliver.Status{Kind: deliver.Deferred, DSN: "4.7.5", Reason: "client TLS configuration problem", Relay: "none", Destination: true}
	if e, ok := errors.AsType[*PolicyError](err); ok {
		status.DSN, status.Reason = e.DSN, printable(e.Reason)
		a.o.Log.Infof("TLS policy for %s: %v", t.label, err)
	} else {
		a.o.Log.Warningf("TLS policy for %s: %v", t.label, err)
	}
	return policy, status
}

// logTLS says how a new connection is secured (smtp_tls_loglevel), or that it
// could have been (smtp_tls_note_starttls_offer).
func (a *Agent) logTLS(s *session, policy smtpc.TLS) {
	trust, summary := s.client.TLSSummary()
	switch {
	case summary != "" && a.o.LogTLS:
		a.o.Log.Infof("%s TLS connection established to %s: %s", trust, s.target.relay, summary)
	case a.o.NoteStartTLS && policy.Config == nil && s.client.Extensions().StartTLS:
		a.o.Log.Infof("Host offered STARTTLS: [%s]", s.target.name)
	}
}

// authFunc is smtpc.Options.Auth.
type authFunc func(context.Context, smtpc.Server) (smtpc.Mechanism, error)

// login looks up with what to authenticate to an address; nil is without.
func (a *Agent) login(ctx context.Context, sender string, t target) (authFunc, *deliver.Status) {
	if a.o.Credentials == nil {
		return nil, nil
	}
	user, password, ok, err := a.o.Credentials(ctx, sender, t.nextHop, t.name)
	if err != nil {
		a.o.Log.Warningf("credentials for %s: %v", t.label, err)
		return nil, &deliver.Status{Kind: deliver.Deferred, DSN: "4.3.0", Reason: "authentication password lookup error", Relay: "none", Destination: true}
	}
	if !ok || a.o.Mechanism == nil {
		return nil, nil
	}
	return func(ctx context.Context, s smtpc.Server) (smtpc.Mechanism, error) {
		return a.o.Mechanism(ctx, user, password, s)
	}, nil
}
