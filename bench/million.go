package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"postern/internal/spool"
)

// backlog fills the spool of a server that is not running with messages that
// are waiting for their next try.
func backlog(dir string, n int) error {
	spoolDir := filepath.Join(dir, "queue", "postern", "spool")
	if err := os.MkdirAll(filepath.Dir(spoolDir), 0o755); err != nil {
		return err
	}
	s, err := spool.Open(spoolDir, spool.Options{})
	if err != nil {
		return err
	}
	text := plan{Size: 1024}.body()
	text = text[:len(text)-len(".\r\n")]
	const batch = 500
	for done := 0; done < n && err == nil; done += batch {
		err = postpone(s, text, done, min(batch, n-done))
	}
	if cerr := s.Close(); err == nil {
		err = cerr
	}
	return err
}

// postpone puts messages in that have failed once.
func postpone(s *spool.Spool, text []byte, first, count int) error {
	var c spool.Change
	now := time.Now()
	for i := range count {
		d, err := s.Create(int64(len(text)))
		if err != nil {
			return err
		}
		if _, err := d.Write(text); err != nil {
			return err
		}
		c.New = append(c.New, spool.New{Draft: d, Envelope: spool.Envelope{
			Sender: "sender@client.example", Arrival: now.Add(-time.Hour),
			Recipients: []spool.Recipient{{Address: fmt.Sprintf("box%d@dead.example", (first+i)%boxes)}},
		}})
	}
	messages, err := s.Commit(context.Background(), c)
	if err != nil {
		return err
	}
	var later spool.Change
	for i, m := range messages {
		later.Defer = append(later.Defer, spool.Postponement{
			Message: m, Attempts: 1, Next: now.Add(time.Duration(60+(first+i)%4000) * time.Second),
			Deferrals: []spool.Deferral{{Status: "4.4.1", Reason: "connect to dead.example[192.0.2.1]:25: Connection timed out"}},
		})
	}
	_, err = s.Commit(context.Background(), later)
	return err
}

// crowded starts a server with a backlog and says how soon it takes mail, how
// much memory it has, and how fast it is besides.
func (b *bench) crowded(ctx context.Context, w workload, c contender, dir, port string, s *scene) (figures, error) {
	if err := backlog(dir, b.backlog); err != nil {
		return figures{}, fmt.Errorf("fill the spool: %w", err)
	}
	began := time.Now()
	var err error
	if s.server, err = c.start(ctx, b, dir); err != nil {
		return figures{}, err
	}
	if err := waitGreeting(ctx, port); err != nil {
		return figures{}, err
	}
	one := w.load
	one.Addr, one.Sessions, one.Messages = s.addr, 1, 1
	if _, err := generate(one); err != nil {
		return figures{}, err
	}
	started := time.Since(began)
	f, err := b.burden(ctx, w, s)
	f.start = started.Seconds()
	return f, err
}
