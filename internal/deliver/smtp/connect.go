package smtp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"postern/internal/deliver"
	"postern/internal/smtpc"
)

// connect opens a session with an address, or says why not. A handshake that
// fails where TLS is only tried (postconf smtp_tls_security_level, may) is
// followed by a connection in clear, if that is allowed.
func (d *delivery) connect(ctx context.Context, t target, start time.Time) (*session, *deliver.Status) {
	a := d.a
	policy, status := a.policy(ctx, t)
	if status != nil {
		return nil, status
	}
	auth, status := a.login(ctx, d.r.Message.Envelope.Sender, t)
	if status != nil {
		return nil, status
	}
	s, err := a.open(ctx, t, policy, auth)
	inClear := false
	if e, ok := errors.AsType[*smtpc.Error](err); ok && noTLS(e) && ctx.Err() == nil {
		if inClear = auth == nil && d.mayGoInClear(policy); inClear {
			a.o.Log.Infof("Cannot start TLS with %s: %v; going on in clear", t.relay, e.Err)
			s, err = a.open(ctx, t, smtpc.TLS{}, nil)
		} else {
			a.o.Log.Infof("Cannot start TLS with %s: %v", t.relay, e.Err)
		}
	}
	if _, ok := errors.AsType[*smtpc.Error](err); ok || err == nil {
		d.sessions++
	}
	if err != nil {
		return nil, a.noSession(t, err)
	}
	a.logTLS(s, policy)
	if t.network == "tcp" && t.port == a.loopPort && strings.EqualFold(s.client.ServerName(), a.o.Hostname) {
		s.client.Quit()
		return nil, &deliver.Status{Kind: deliver.Bounced, DSN: loopDSN, Reason: "mail for " + printable(t.domain) + " loops back to myself", Relay: t.relay}
	}
	s.born = a.o.Now()
	s.setup = s.born.Sub(start)
	s.single = inClear
	return s, nil
}

// noTLS reports whether TLS was begun and did not come about.
func noTLS(e *smtpc.Error) bool {
	return e.Kind == smtpc.TLSHandshake || e.Kind == smtpc.TLSUnverified || e.Kind == smtpc.TimedOut && e.Phase == smtpc.StartTLS
}

// mayGoInClear reports whether TLS is only tried, and the message has waited for
// it long enough: whoever disturbs a handshake only delays what is fresh.
func (d *delivery) mayGoInClear(policy smtpc.TLS) bool {
	wait, age := d.a.o.ClearAfter, d.a.o.Now().Sub(d.r.Message.Envelope.Arrival)
	return !policy.Required && !policy.Wrapper && wait > 0 && age >= wait
}

// open dials and says hello. An error is an *smtpc.Error, or one of dialling.
func (a *Agent) open(ctx context.Context, t target, policy smtpc.TLS, auth authFunc) (*session, error) {
	conn, err := a.dial(ctx, t)
	if err != nil {
		return nil, err
	}
	o := a.o.Session
	o.TLS, o.Auth = policy, auth
	s := &session{client: smtpc.New(conn, o), target: t}
	if err := s.client.Open(ctx); err != nil {
		s.client.Quit()
		return nil, err
	}
	return s, nil
}

func (a *Agent) dial(ctx context.Context, t target) (net.Conn, error) {
	if a.o.ConnectTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, a.o.ConnectTimeout)
		defer cancel()
	}
	if a.o.Dial != nil {
		return a.o.Dial(ctx, t.network, t.address)
	}
	var d net.Dialer
	if bind := a.o.Bind6; t.network == "tcp" {
		if t.ip.Is4() {
			bind = a.o.Bind4
		}
		if bind.IsValid() {
			d.LocalAddr = &net.TCPAddr{IP: bind.AsSlice(), Zone: bind.Zone()}
		}
	}
	conn, err := d.DialContext(ctx, t.network, t.address)
	if d.LocalAddr != nil && !a.o.BindOrDefer && errors.Is(err, syscall.EADDRNOTAVAIL) {
		a.o.Log.Warningf("connect to %s from %s: %v", t.relay, d.LocalAddr, err)
		d.LocalAddr = nil
		conn, err = d.DialContext(ctx, t.network, t.address)
	}
	return conn, err
}

// noSession is the status of an address with which no session came about.
func (a *Agent) noSession(t target, err error) *deliver.Status {
	e, ok := errors.AsType[*smtpc.Error](err)
	if errors.Is(err, context.Canceled) {
		return &deliver.Status{Kind: deliver.Deferred, DSN: "4.3.2", Reason: "delivery was interrupted", Relay: "none"}
	}
	if !ok {
		reason := fmt.Sprintf("connect to %s: %s", t.relay, dialReason(err))
		return &deliver.Status{Kind: deliver.Deferred, DSN: "4.4.1", Reason: reason, Relay: "none", Destination: true}
	}
	status := a.failed(t, e)
	status.Destination = status.Kind == deliver.Deferred && e.Kind != smtpc.Canceled
	return status
}

// dialReason is the error of the system as the C library writes it.
func dialReason(err error) string {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		text := errno.Error()
		return strings.ToUpper(text[:1]) + text[1:]
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() || errors.Is(err, os.ErrDeadlineExceeded) {
		return "Connection timed out"
	}
	return printable(err.Error())
}
