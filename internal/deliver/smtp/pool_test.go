package smtp

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/deliver"
)

// kept makes an agent that keeps connections for a long time.
func kept(t testing.TB, change func(*Options)) *Agent {
	t.Helper()
	a, _ := newAgent(t, func(o *Options) {
		o.CacheTime, o.CacheLife = time.Hour, time.Hour
		if change != nil {
			change(o)
		}
	})
	return a
}

func TestConnectionsAreKept(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		p := (&peer{lmtp: network == "unix"}).start(t, network)
		hop := "unix:" + p.addr
		if network == "tcp" {
			hop = "[127.0.0.1]:" + p.port()
		}
		a := kept(t, func(o *Options) { o.LMTP = p.lmtp })
		for use := 1; use <= 3; use++ {
			s := a.Deliver(context.Background(), request(hop, "a@test", "b@test"))[1]
			if s.Kind != deliver.Sent || s.ConnUse != use || (s.Setup > 0) != (use == 1) {
				t.Errorf("%s, use %d: ConnUse %d, Setup %v, %s", network, use, s.ConnUse, s.Setup, show(s))
			}
		}
		if connections, messages := p.counts(); connections != 1 || messages != 3 {
			t.Errorf("%s: %d connections for %d messages", network, connections, messages)
		}
	}
}

func TestConnectionsAreNotKept(t *testing.T) {
	now := time.Unix(1e9, 0)
	for _, test := range []struct {
		name   string
		change func(*Options)
		want   int // connections for 4 messages
	}{
		{"no cache", func(o *Options) { o.CacheTime = 0 }, 4},
		{"used up", func(o *Options) { o.CacheUses = 2 }, 2},
		{"too old", func(o *Options) {
			o.CacheLife = 90 * time.Second
			o.Now = func() time.Time { now = now.Add(20 * time.Second); return now }
		}, 2},
	} {
		p := (&peer{}).start(t, "tcp")
		a := kept(t, test.change)
		for range 4 {
			if s := a.Deliver(context.Background(), request("[127.0.0.1]:"+p.port(), "a@test"))[0]; s.Kind != deliver.Sent {
				t.Errorf("%s: %s", test.name, show(s))
			}
		}
		if got, _ := p.counts(); got != test.want {
			t.Errorf("%s: %d connections, want %d", test.name, got, test.want)
		}
	}
}

func TestIdleConnectionEnds(t *testing.T) {
	quit := make(chan struct{}, 1)
	p := (&peer{hook: func(line string) string {
		if line == "QUIT" {
			quit <- struct{}{}
		}
		return ""
	}}).start(t, "tcp")
	a := kept(t, func(o *Options) { o.CacheTime = 10 * time.Millisecond })
	a.Deliver(context.Background(), request("[127.0.0.1]:"+p.port(), "a@test"))
	<-quit
	if a.pool.take(poolKey{nextHop: "[127.0.0.1]:" + p.port()}) != nil {
		t.Error("an ended connection is still there")
	}
}

func TestCacheSize(t *testing.T) {
	a := kept(t, func(o *Options) { o.CacheSize = 2 })
	for range 4 {
		p := (&peer{}).start(t, "tcp")
		if s := a.Deliver(context.Background(), request("[127.0.0.1]:"+p.port(), "a@test"))[0]; s.Kind != deliver.Sent {
			t.Error(show(s))
		}
	}
	if a.pool.count != 2 || len(a.pool.idle) != 2 {
		t.Errorf("%d connections are kept, want 2", a.pool.count)
	}
	a.Close()
	if a.pool.count != 0 || len(a.pool.idle) != 0 {
		t.Errorf("%d connections are kept after Close", a.pool.count)
	}
	p := (&peer{}).start(t, "tcp")
	if s := a.Deliver(context.Background(), request("[127.0.0.1]:"+p.port(), "a@test"))[0]; s.Kind != deliver.Sent || a.pool.count != 0 {
		t.Errorf("after Close: %s, %d kept", show(s), a.pool.count)
	}
}

func TestDeadConnectionGoesUnnoticed(t *testing.T) {
	for name, kill := range map[string]func(*peer, *atomic.Bool){
		"closed": func(p *peer, _ *atomic.Bool) { p.dropAll() },
		"421":    func(_ *peer, tired *atomic.Bool) { tired.Store(true) },
	} {
		var tired atomic.Bool
		p := (&peer{hook: func(line string) string {
			if strings.HasPrefix(line, "MAIL") && tired.Swap(false) {
				return "421 4.3.2 enough"
			}
			return ""
		}}).start(t, "tcp")
		a := kept(t, nil)
		for i := range 3 {
			s := a.Deliver(context.Background(), request("[127.0.0.1]:"+p.port(), "a@test"))[0]
			if s.Kind != deliver.Sent || s.ConnUse != 1 {
				t.Errorf("%s, message %d: ConnUse %d, %s", name, i, s.ConnUse, show(s))
			}
			kill(p, &tired)
		}
		if connections, messages := p.counts(); connections != 3 || messages != 3 {
			t.Errorf("%s: %d connections for %d messages", name, connections, messages)
		}
	}
}

func TestKeptConnectionThatFailsInTheMiddle(t *testing.T) {
	// Behind MAIL the failure counts, and the same address is not asked twice.
	var fail atomic.Bool
	p := (&peer{hook: func(line string) string {
		if strings.HasPrefix(line, "RCPT") && fail.Load() {
			return "450 4.2.0 not now"
		}
		return ""
	}}).start(t, "tcp")
	a := kept(t, nil)
	hop := "[127.0.0.1]:" + p.port()
	a.Deliver(context.Background(), request(hop, "a@test"))
	fail.Store(true)
	if s := a.Deliver(context.Background(), request(hop, "a@test"))[0]; s.Kind != deliver.Deferred || s.ConnUse != 2 {
		t.Errorf("ConnUse %d, %s", s.ConnUse, show(s))
	}
	fail.Store(false)
	if s := a.Deliver(context.Background(), request(hop, "a@test"))[0]; s.Kind != deliver.Sent || s.ConnUse != 3 {
		t.Errorf("ConnUse %d, %s", s.ConnUse, show(s))
	}
	if got, _ := p.counts(); got != 1 {
		t.Errorf("%d connections, want 1", got)
	}
}

// TestServerThatTiresOfUs: a server that answers 421 after ten messages, or just
// closes the connection, gets the next one over a new connection at once,
// wherever in the transaction it says so.
func TestServerThatTiresOfUs(t *testing.T) {
	for _, test := range []struct{ name, offer, verb, reply string }{
		{"421 to MAIL", "", "MAIL", "421 4.3.2 enough"}, {"421 to RCPT", "", "RCPT", "421 4.3.2 enough"}, {"421 to DATA", "", "DATA", "421 4.3.2 enough"},
		{"closes at MAIL", "", "MAIL", "DROP"}, {"closes at DATA", "", "DATA", "DROP"},
		{"421 to MAIL, with chunks", "250-CHUNKING\r\n", "MAIL", "421 4.3.2 enough"}, {"421 to RCPT, with chunks", "250-CHUNKING\r\n", "RCPT", "421 4.3.2 enough"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &peer{ehlo: test.offer}
			p.hook = func(line string) string {
				p.mu.Lock()
				defer p.mu.Unlock()
				if p.messages == 10*p.connections && strings.HasPrefix(line, test.verb) {
					return test.reply
				}
				return ""
			}
			p.start(t, "tcp")
			a := kept(t, nil)
			for i := range 35 {
				s := a.Deliver(context.Background(), request("[127.0.0.1]:"+p.port(), "a@test"))[0]
				if s.Kind != deliver.Sent || s.ConnUse != i%10+1 {
					t.Errorf("message %d: use %d, %s", i, s.ConnUse, show(s))
				}
			}
			if connections, messages := p.counts(); connections != 4 || messages != 35 {
				t.Errorf("%d connections for %d messages", connections, messages)
			}
		})
	}
}

// TestLostWithTheText: where the text went out with its envelope, and the
// connection ended without an answer, nobody else gets the message now.
func TestLostWithTheText(t *testing.T) {
	first := (&peer{ehlo: "250-CHUNKING\r\n", reply: map[string]string{"MAIL": "DROP"}}).start(t, "tcp")
	second := (&peer{}).start(t, "tcp")
	a, _ := newAgent(t, nil)
	s := a.Deliver(context.Background(), request("[127.0.0.1]:"+first.port()+", [127.0.0.1]:"+second.port(), "a@test"))[0]
	want := "deferred dsn=4.4.2 relay=127.0.0.1[127.0.0.1]:PORT0 (lost connection with 127.0.0.1[127.0.0.1] while sending end of data -- message may be sent more than once)"
	if got := show(s, first.port()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if _, messages := second.counts(); messages != 0 {
		t.Errorf("%d messages went to the second server", messages)
	}
}

func TestManyAtOnce(t *testing.T) {
	p := (&peer{lmtp: true}).start(t, "unix")
	a := kept(t, func(o *Options) { o.LMTP = true })
	const workers, each = 10, 20
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for i := range each {
				to := fmt.Sprintf("u%d.%d@test", w, i)
				if s := a.Deliver(context.Background(), request("unix:"+p.addr, to))[0]; s.Kind != deliver.Sent || !strings.Contains(s.Reason, "<"+to+">") {
					t.Errorf("%s: %s", to, show(s))
				}
			}
		})
	}
	all.Wait()
	if connections, messages := p.counts(); connections > workers || messages != workers*each {
		t.Errorf("%d connections, %d messages", connections, messages)
	}
}

func BenchmarkDeliver(b *testing.B) {
	for _, reuse := range []bool{true, false} {
		b.Run(fmt.Sprintf("reuse=%v", reuse), func(b *testing.B) {
			p := (&peer{lmtp: true}).start(b, "unix")
			a := kept(b, func(o *Options) {
				o.LMTP = true
				if !reuse {
					o.CacheTime = 0
				}
			})
			r := request("unix:"+p.addr, "a@test")
			b.ReportAllocs()
			for b.Loop() {
				if s := a.Deliver(context.Background(), r)[0]; s.Kind != deliver.Sent {
					b.Fatal(show(s))
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}
