package metrics

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"postern/internal/deliver"
	"postern/internal/queue"
	"postern/internal/spool"
)

// full returns figures of everything there is.
func full() *Metrics {
	m := New("1.2.3")
	now := time.Unix(1000, 0)
	m.Watch(Sources{
		Queue: func() queue.Stats {
			return queue.Stats{Incoming: 1, Active: 2, Deferred: 3, Held: 4, Oldest: now.Add(-90 * time.Second),
				Deliveries: map[string]int{"smtp": 5},
				Dead:       []queue.DeadDestination{{Transport: "smtp", NextHop: "a.test"}, {Transport: "smtp", NextHop: "b.test"}}}
		},
		Spool: func() spool.Stats {
			return spool.Stats{Unstruck: 1, LogBytes: 64, LiveBytes: 32, Segments: 2, Spares: 1, Records: 7, Syncs: 6, Checkpoints: 5, Moved: 4}
		},
		Free:     func() (int64, error) { return 4096, nil },
		Sessions: func() int { return 3 },
		Started:  now, Now: func() time.Time { return now },
	})
	m.Delivered("smtp", deliver.Sent, queue.Delays{Before: time.Second, Queue: time.Millisecond, Setup: time.Minute, Transmission: time.Hour})
	m.Delivered("", deliver.Bounced, queue.Delays{})
	m.Removed(2 * time.Second)
	m.Spooled("log sync", 300*time.Microsecond)
	m.Connected()
	m.Ended(250)
	m.Ended(452)
	m.Rejected("rcpt", 550)
	m.Rejected("connect", 0)
	m.Logged("warning")
	m.TableTrouble()
	return m
}

// TestLint: names, units and help are as Prometheus wants them.
func TestLint(t *testing.T) {
	problems, err := testutil.GatherAndLint(full().registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestPage(t *testing.T) {
	want := `
# HELP postern_deliveries_total Recipients for which a delivery ended, by result.
# TYPE postern_deliveries_total counter
postern_deliveries_total{result="bounced",transport="none"} 1
postern_deliveries_total{result="sent",transport="smtp"} 1
# HELP postern_queue_dead_destinations Destinations that are not tried now because they failed, by transport.
# TYPE postern_queue_dead_destinations gauge
postern_queue_dead_destinations{transport="smtp"} 2
# HELP postern_queue_messages Messages in the queue, by state.
# TYPE postern_queue_messages gauge
postern_queue_messages{state="active"} 2
postern_queue_messages{state="deferred"} 3
postern_queue_messages{state="hold"} 4
postern_queue_messages{state="incoming"} 1
# HELP postern_queue_oldest_seconds Age of the oldest message in the queue; 0 when it is empty.
# TYPE postern_queue_oldest_seconds gauge
postern_queue_oldest_seconds 90
# HELP postern_smtpd_messages_accepted_total Messages that a client was told 250 for.
# TYPE postern_smtpd_messages_accepted_total counter
postern_smtpd_messages_accepted_total 1
# HELP postern_smtpd_messages_refused_total Messages refused at the end of their text.
# TYPE postern_smtpd_messages_refused_total counter
postern_smtpd_messages_refused_total{class="4xx"} 1
# HELP postern_smtpd_rejects_total Commands that the policy refused.
# TYPE postern_smtpd_rejects_total counter
postern_smtpd_rejects_total{class="5xx",command="rcpt"} 1
postern_smtpd_rejects_total{class="hangup",command="connect"} 1
# HELP postern_spool_free_bytes Free bytes of the spool's file system.
# TYPE postern_spool_free_bytes gauge
postern_spool_free_bytes 4096
# HELP postern_spool_segments Segments of the spool's log, in use and prepared.
# TYPE postern_spool_segments gauge
postern_spool_segments{state="spare"} 1
postern_spool_segments{state="used"} 2
`
	if err := testutil.GatherAndCompare(full().registry, strings.NewReader(want),
		"postern_deliveries_total", "postern_queue_dead_destinations", "postern_queue_messages", "postern_queue_oldest_seconds",
		"postern_smtpd_messages_accepted_total", "postern_smtpd_messages_refused_total", "postern_smtpd_rejects_total",
		"postern_spool_free_bytes", "postern_spool_segments"); err != nil {
		t.Error(err)
	}
}

// TestFailingSource: a figure that cannot be had is left out, the others stay.
func TestFailingSource(t *testing.T) {
	m := New("1")
	m.Watch(Sources{Free: func() (int64, error) { return 0, errors.New("gone") }, Sessions: func() int { return 1 }})
	n, err := testutil.GatherAndCount(m.registry, "postern_spool_free_bytes", "postern_smtpd_sessions")
	if err != nil || n != 1 {
		t.Errorf("%d figures, %v, want 1", n, err)
	}
}

// get reads a page from a listener.
func get(t *testing.T, l net.Listener, path string) (int, string) {
	t.Helper()
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, l.Addr().Network(), l.Addr().String())
	}}}
	resp, err := c.Get("http://metrics" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestServe(t *testing.T) {
	for _, spec := range []string{"127.0.0.1:0", "unix:" + filepath.Join(t.TempDir(), "metrics")} {
		t.Run(spec, func(t *testing.T) {
			l, err := Listen(spec)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- full().Serve(ctx, l) }()
			code, text := get(t, l, "/metrics")
			for _, want := range []string{`postern_build_info{goversion="go`, `postern_queue_messages{state="hold"} 4`, "go_goroutines ", "process_resident_memory_bytes "} {
				if code != 200 || !strings.Contains(text, want) {
					t.Errorf("page (%d) lacks %q:\n%s", code, want, text)
				}
			}
			if code, _ := get(t, l, "/"); code != 404 {
				t.Errorf("GET / = %d, want 404", code)
			}
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Serve = %v", err)
			}
		})
	}
}

func TestListen(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for spec, want := range map[string]string{
		"9100":                      "neither host:port nor unix:path",
		"unix:metrics":              "begin with a slash",
		"unix:" + file:              "in the way",
		"unix:" + dir + "/no/where": "no such file",
		"127.0.0.1:99999":           "invalid port",
	} {
		if l, err := Listen(spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Listen(%q) = %v, %v, want %q", spec, l, err, want)
		}
	}
	spec := "unix:" + filepath.Join(dir, "socket")
	first, err := Listen(spec)
	if err != nil {
		t.Fatal(err)
	}
	first.(*net.UnixListener).SetUnlinkOnClose(false)
	first.Close()
	again, err := Listen(spec) // over the socket of a server that is gone
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}
