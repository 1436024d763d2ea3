package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/config"
	"postern/internal/control"
	"postern/internal/control/mailq"
	"postern/internal/maillog"
	"postern/internal/spool"
)

// reader takes an answer.
type reader struct {
	items    []string
	progress int
	err      error        // of Item
	look     func() error // is called at the first item
}

func (r *reader) Item(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if r.items = append(r.items, string(b)); len(r.items) == 1 && r.look != nil {
		return r.look()
	}
	return r.err
}

func (r *reader) Progress(int, int) { r.progress++ }

// TestCollected: an answer of any size arrives whole and in order, and not before
// it is told to, unless there is no place for it.
func TestCollected(t *testing.T) {
	for _, tt := range []struct {
		name   string
		n      int
		tmp    string // TMPDIR
		early  bool
		spills bool
	}{
		{"empty", 0, t.TempDir(), false, false},
		{"small", 3, t.TempDir(), false, false},
		{"large", 4000, t.TempDir(), false, true},
		{"no temporary file", 4000, filepath.Join(t.TempDir(), "missing"), true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("TMPDIR", tt.tmp)
			out := &reader{}
			c := &collected{out: out}
			var want []string
			for i := range tt.n {
				v := fmt.Sprintf("%d\n%s", i, strings.Repeat("x", 1000))
				b, _ := json.Marshal(v)
				want = append(want, string(b))
				if err := c.Item(v); err != nil {
					t.Fatal(err)
				}
			}
			c.Progress(1, 2)
			if (len(out.items) > 0) != tt.early || (c.size > 0) != tt.spills || out.progress != 1 {
				t.Errorf("%d items came early, %d bytes are in a file, %d times progress", len(out.items), c.size, out.progress)
			}
			if names, _ := os.ReadDir(tt.tmp); len(names) > 0 {
				t.Errorf("the file has a name: %v", names)
			}
			if err := errors.Join(c.tell(), c.close()); err != nil {
				t.Fatal(err)
			}
			if strings.Join(out.items, "\n") != strings.Join(want, "\n") {
				t.Errorf("%d items arrived, want %d as they were given", len(out.items), len(want))
			}
		})
	}
}

// TestCollectedNoReader: the error of who takes the answer comes back.
func TestCollectedNoReader(t *testing.T) {
	gone := errors.New("gone")
	c := &collected{out: &reader{err: gone}}
	if err := c.Item("x"); err != nil {
		t.Fatal(err)
	}
	if err := c.tell(); !errors.Is(err, gone) {
		t.Errorf("tell() = %v, want %v", err, gone)
	}
	if err := c.Item(make(chan int)); err == nil {
		t.Error("Item of what has no JSON form = nil")
	}
}

// offline is a queue without a server, with one message.
func offline(t *testing.T) (*Offline, *config.Settings) {
	t.Helper()
	h := &house{t: t, dir: t.TempDir()}
	h.configure("", freePort(t))
	v, err := LoadSettings(h.dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(SpoolDirectory(v)), 0o755); err != nil {
		t.Fatal(err)
	}
	sp := take(t, SpoolDirectory(v), false)
	d, err := sp.Create(0)
	if err != nil {
		t.Fatal(err)
	}
	e := spool.Envelope{Sender: "a@one.test", Arrival: time.Unix(1_700_000_000, 0), Recipients: []spool.Recipient{{Address: "b@two.test"}}}
	if _, err := sp.Commit(t.Context(), spool.Change{New: []spool.New{{Draft: d, Envelope: e}}}); err != nil {
		t.Fatal(err)
	}
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
	log, err := maillog.Open(maillog.Options{File: filepath.Join(h.dir, "offline.log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	o, err := OpenOffline(v, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
	return o, v
}

// TestOfflineLetsGo: when the answer of a command arrives that looks at the queue,
// a server can have the spool; and the next command has it again.
func TestOfflineLetsGo(t *testing.T) {
	o, v := offline(t)
	r, err := mailq.Request("queue.list", mailq.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		out := &reader{look: func() error { return take(t, SpoolDirectory(v), false).Close() }}
		if resp := o.Handle(t.Context(), r, out); resp.Error != "" || len(out.items) != 1 || !strings.Contains(out.items[0], "a@one.test") {
			t.Errorf("queue.list = %+v, items %q", resp, out.items)
		}
	}
	order, err := mailq.Request("queue.apply", mailq.Order{Action: "hold"})
	if err != nil {
		t.Fatal(err)
	}
	if resp := o.Handle(t.Context(), order, &reader{}); resp.Error != "" || string(resp.Data) != `{"count":1}` {
		t.Errorf("queue.apply = %+v, %s", resp, resp.Data)
	}
	var held *spool.LockedError
	if _, err := spool.Open(SpoolDirectory(v), smallSpool); !errors.As(err, &held) || !held.Brief() {
		t.Errorf("while orders are given, Open = %v, want it held by a command", err)
	}
}

// TestOfflineTaken: a server that has come between two commands keeps its spool.
func TestOfflineTaken(t *testing.T) {
	o, v := offline(t)
	r, err := mailq.Request("queue.list", mailq.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	gone := errors.New("gone")
	if resp := o.Handle(context.Background(), r, &reader{err: gone}); !strings.Contains(resp.Error, "gone") {
		t.Errorf("queue.list for nobody = %+v", resp)
	}
	sp := take(t, SpoolDirectory(v), false)
	defer sp.Close()
	if resp := o.Handle(context.Background(), r, &reader{}); resp.Code != control.Refused || !strings.Contains(resp.Error, "by a server, process") {
		t.Errorf("queue.list = %+v, want it refused for the server", resp)
	}
}
