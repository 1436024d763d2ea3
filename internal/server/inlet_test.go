package server

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/config"
	"postern/internal/maillog"
	"postern/internal/queue"
	"postern/internal/setup"
	"postern/internal/spool"
)

// TestFlowDelay: a client waits while mail comes in faster than it goes out, for
// in_flow_delay at most, and not at all otherwise.
func TestFlowDelay(t *testing.T) {
	for _, tt := range []struct {
		name     string
		delay    time.Duration
		pressure time.Duration // how long it lasts
		ends     time.Duration // when the session does
		waits    time.Duration
	}{
		{"no pressure", time.Second, 0, time.Hour, 0},
		{"pressure", time.Second, time.Hour, time.Hour, time.Second},
		{"a short one", time.Second, 120 * time.Millisecond, time.Hour, 150 * time.Millisecond},
		{"switched off", 0, time.Hour, time.Hour, 0},
		{"the session ends", 10 * time.Second, time.Hour, 700 * time.Millisecond, 700 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), tt.ends)
				defer cancel()
				in := &inlet{delay: tt.delay, pressure: func() bool { return time.Since(start) < tt.pressure }}
				in.wait(ctx)
				if waited := time.Since(start); waited != tt.waits {
					t.Errorf("waited %v, want %v", waited, tt.waits)
				}
			})
		})
	}
}

// TestFastFlush: who may ask for mail is in fast_flush_domains.
func TestFastFlush(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"main.cf": "myhostname = mx.host.example\nrelay_domains = relay.example\n" +
			"fast_flush_domains = $relay_domains, .dotted.example, !not.other.example, other.example, fail:{trouble}\n",
		"master.cf": "smtp inet n - n - - smtpd\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	settings, err := config.Load(dir, config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	log, err := maillog.Open(maillog.Options{File: filepath.Join(dir, "log")})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	opener := setup.NewOpener(settings, log.Program("test"))
	defer opener.Close()
	flush := newFastFlush(t.Context(), opener, settings, log.Program("flush"))
	for domain, want := range map[string]bool{
		"relay.example": true, "RELAY.example": true, "sub.relay.example": true, "other.example": true,
		"not.other.example": false,
	} {
		if got, err := flush.eligible(t.Context(), domain); got != want || err != nil {
			t.Errorf("%s: eligible %v, %v; want %v", domain, got, err, want)
		}
	}
	if got, err := flush.eligible(t.Context(), "unknown.example"); got || err == nil {
		t.Errorf("with a failing table: eligible %v, %v; want an error", got, err)
	}
	sp, err := spool.Open(filepath.Join(dir, "spool"), smallSpool)
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()
	s := &Server{queue: queue.New(queue.Options{Store: sp})} // which does not run
	if got, err := s.flushSite(t.Context(), flush, "relay.example"); !got || !errors.Is(err, queue.ErrStopped) {
		t.Errorf("flushSite = %v, %v; want %v", got, err, queue.ErrStopped)
	}
	if got, err := s.flushSite(t.Context(), flush, "not.other.example"); got || err != nil {
		t.Errorf("flushSite of a domain that may not ask = %v, %v", got, err)
	}
}
