package queue

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/deliver"
	"postern/internal/spool"
)

// lines is a logger that passes on what it is told.
type lines chan string

func (l lines) Infof(format string, args ...any)    { l <- fmt.Sprintf(format, args...) }
func (l lines) Warningf(format string, args ...any) { l <- "warning: " + fmt.Sprintf(format, args...) }

// await returns when a line with that end was logged.
func (l lines) await(t *testing.T, end string) string {
	t.Helper()
	patience := time.After(time.Minute)
	for {
		select {
		case line := <-l:
			if strings.HasSuffix(line, end) {
				return line
			}
		case <-patience:
			t.Fatalf("nothing logged that ends in %q", end)
		}
	}
}

// fussy is a store that refuses the first new messages.
type fussy struct {
	*spool.Spool
	refused bool
}

func (f *fussy) Commit(ctx context.Context, c spool.Change) ([]*spool.Message, error) {
	if len(c.New) > 0 && !f.refused {
		f.refused = true
		return nil, spool.ErrFull
	}
	return f.Spool.Commit(ctx, c)
}

// TestWithTheSpool runs the queue on the real store: a message bounces in part
// and waits in part, its notification is refused at first and then delivered,
// and a restart finds what is left.
func TestWithTheSpool(t *testing.T) {
	dir := t.TempDir()
	s, err := spool.Open(dir, spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m := newMemory()
	log := make(lines, 100)
	o := m.options(defaults)
	o.Log = func(string) Logger { return log }
	o.Store = &fussy{Spool: s}
	o.Submit = func(_ context.Context, n Submission) (spool.New, error) {
		draft, err := s.Create(n.Size)
		if err != nil {
			return spool.New{}, err
		}
		if _, err := n.Text.WriteTo(draft); err != nil {
			return spool.New{}, err
		}
		n.Envelope.Arrival = time.Now()
		return spool.New{Draft: draft, Envelope: n.Envelope}, nil
	}
	reports := make(chan string, 1)
	m.agent = func(_ context.Context, r *deliver.Request) []deliver.Status {
		var statuses []deliver.Status
		for _, rcpt := range r.Recipients {
			if rcpt.Address == "s@example.org" {
				reports <- text(t, r.Message)
			}
			statuses = append(statuses, obey(rcpt))
		}
		return statuses
	}
	q := New(o)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); q.Run(ctx) }()

	draft, err := s.Create(0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(draft, "Subject: test\n\nbody\n")
	fresh, err := s.Commit(t.Context(), spool.Change{New: []spool.New{{
		Draft: draft, Envelope: envelopeTo("s@example.org", "good@a.example", "bad@b.example", "late@c.example"),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	q.Add(fresh[0])
	log.await(t, "new messages cannot be written: insufficient system storage")
	for listed(t, q, Filter{})[0].State != Deferred {
		runtime.Gosched()
	}
	q.Flush()
	log.await(t, ": removed") // the notification
	if report := <-reports; !strings.Contains(report, "bad@b.example") || !strings.Contains(report, "\nSubject: test\n\nbody\n") {
		t.Errorf("report is\n%s", report)
	}
	cancel()
	<-ended
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s, err = spool.Open(dir, spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	left := slices.Collect(s.Pending())
	if len(left) != 1 || left[0].Message.ID != fresh[0].ID || !slices.Equal(left[0].Done, []bool{true, true, false}) ||
		left[0].Attempts != 2 || len(left[0].Deferrals) != 1 || left[0].Deferrals[0].Reason != "try later" {
		t.Errorf("pending after a restart: %+v", left)
	}
}

// text reads a message; it is called by an agent, and so does not stop the test.
func text(t *testing.T, m *spool.Message) string {
	body, err := m.Open()
	if err != nil {
		t.Error(err)
		return ""
	}
	defer body.Close()
	var b strings.Builder
	if _, err := body.WriteTo(&b); err != nil {
		t.Error(err)
	}
	return b.String()
}
