package server

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/config"
	"postern/internal/deliver"
	"postern/internal/queue"
	"postern/internal/smtpc"
)

// settingsOf reads a main.cf.
func settingsOf(t *testing.T, mainCF string) *config.Settings {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"main.cf": "myhostname = mx.host.example\n" + mainCF, "master.cf": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	v, err := config.Load(dir, config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSessionOptions(t *testing.T) {
	for _, test := range []struct {
		name, mainCF string
		lmtp         bool
		change       func(*smtpc.Options) // of what the defaults give
	}{
		{"defaults", "", false, func(*smtpc.Options) {}},
		{"no EHLO", "smtp_never_send_ehlo = yes\nsmtp_always_send_ehlo = no\n", false, func(o *smtpc.Options) { o.EHLO = smtpc.EhloNever }},
		{"EHLO when offered", "smtp_always_send_ehlo = no\n", false, func(o *smtpc.Options) { o.EHLO = smtpc.EhloWhenOffered }},
		{"rate", "smtp_per_request_deadline = yes\n", false, func(o *smtpc.Options) { o.MinDataRate = 500 }},
		{"rate of LMTP does not count for SMTP", "lmtp_per_request_deadline = yes\nlmtp_min_data_rate = 7\n", false, func(*smtpc.Options) {}},
		{"offers", "smtp_discard_ehlo_keywords = chunking, dsn\n", false, func(o *smtpc.Options) { o.Discard = []string{"chunking", "dsn"} }},
		{"LMTP", "lmtp_lhlo_name = me.test\nlmtp_per_request_deadline = yes\nlmtp_min_data_rate = 7\nsmtp_never_send_ehlo = yes\n", true, func(o *smtpc.Options) {
			o.LMTP, o.Hello, o.MinDataRate, o.WaitQuit = true, "me.test", 7, true
		}},
	} {
		prefix := map[bool]string{false: "smtp_", true: "lmtp_"}[test.lmtp]
		want := smtpc.Options{Hello: "mx.host.example", LineLimit: 998, Timeouts: smtpc.DefaultTimeouts()}
		test.change(&want)
		got := sessionOptions(settingsOf(t, test.mainCF), prefix, test.lmtp)
		if len(got.Discard) == 0 {
			got.Discard = nil
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

// accepting is an agent that delivers everything, and says where to.
type accepting struct{}

func (accepting) Deliver(_ context.Context, r *deliver.Request) []deliver.Status {
	return []deliver.Status{{Kind: deliver.Sent, Reason: r.Transport + " " + r.NextHop}}
}

func TestBestMX(t *testing.T) {
	g := &generation{agents: map[string]queue.Transport{"local": {Agent: accepting{}}}}
	for to, want := range map[string]string{
		"local": "sent local x.test", "local:": "sent local x.test", "local:here": "sent local here",
		"missing": "deferred mail transport unavailable",
	} {
		r := &deliver.Request{Transport: "smtp", NextHop: "x.test", Recipients: make([]deliver.Recipient, 1)}
		s := g.bestMX(to)(context.Background(), r)[0]
		if got := s.Kind.String() + " " + s.Reason; got != want {
			t.Errorf("best_mx_transport = %s: %s, want %s", to, got, want)
		}
	}
}
