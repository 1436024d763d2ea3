package mailq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/control"
	"postern/internal/queue"
	"postern/internal/route"
	"postern/internal/spool"
)

// journal is a log that is kept.
type journal struct{ lines []string }

func (j *journal) Infof(format string, args ...any) {
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

// world is a handler on a queue that is not run, with three messages.
type world struct {
	Handler
	journal
	ids []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s, err := spool.Open(t.TempDir()+"/spool", spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{}
	long := strings.Repeat("0123456789abcde\n", 20<<10)
	for i, e := range []spool.Envelope{
		{Sender: "a@one.test", Recipients: []spool.Recipient{{Address: "x@far.test", Original: "x@old.test"}, {Address: "y@far.test"}}},
		{Sender: "", Recipients: []spool.Recipient{{Address: "z@other.test"}}},
		{Sender: "c@one.test", Recipients: []spool.Recipient{{Address: "z@far.test"}}},
	} {
		e.Arrival = time.Now().Add(-time.Duration(3-i) * time.Hour)
		d, err := s.Create(0)
		if err != nil {
			t.Fatal(err)
		}
		text := "Subject: hi\n\nhello\n"
		if i == 1 {
			text += long
		}
		if _, err := d.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		m, err := s.Commit(t.Context(), spool.Change{New: []spool.New{{Draft: d, Envelope: e}}})
		if err != nil {
			t.Fatal(err)
		}
		w.ids = append(w.ids, m[0].ID)
	}
	w.Queue = queue.New(queue.Options{
		Store: s,
		Route: func(context.Context, string, string) (queue.Routed, error) {
			return queue.Routed{}, &route.DeliveryError{DSN: "4.3.0", Reason: "down", Temporary: true}
		},
		Transport: func(string) (queue.Transport, bool) { return queue.Transport{}, false },
	})
	w.Log = &w.journal
	return w
}

// ask gives a command and returns its items.
func (w *world) ask(t *testing.T, command string, data any, args ...string) ([]string, control.Response, error) {
	t.Helper()
	r, err := Request(command, data, args...)
	if err != nil {
		t.Fatal(err)
	}
	var items []string
	resp, err := control.Handler(w.Handle).Stream(t.Context(), r, control.Sink{Item: func(raw json.RawMessage) error {
		items = append(items, string(raw))
		return nil
	}})
	return items, resp, err
}

// chosen lists the messages that a filter chooses, by their place.
func (w *world) chosen(t *testing.T, f Filter) string {
	t.Helper()
	items, _, err := w.ask(t, "queue.list", f)
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, raw := range items {
		var e Entry
		if err := json.Unmarshal([]byte(raw), &e); err != nil {
			t.Fatal(err)
		}
		for i, id := range w.ids {
			if e.ID == id {
				out = append(out, fmt.Sprint(i))
			}
		}
	}
	return strings.Join(out, " ")
}

func TestList(t *testing.T) {
	w := newWorld(t)
	for _, test := range []struct {
		filter Filter
		want   string
	}{
		{Filter{}, "0 1 2"},
		{Filter{Sender: "<>"}, "1"},
		{Filter{Sender: "@one.test"}, "0 2"},
		{Filter{Recipient: "y@far.test"}, "0"},
		{Filter{Domain: "FAR.test"}, "0 2"},
		{Filter{Older: 90 * time.Minute}, "0 1"},
		{Filter{Younger: 90 * time.Minute}, "2"},
		{Filter{IDs: []string{w.ids[2], "NOPE"}}, "2"},
		{Filter{States: []string{"hold"}}, ""},
		{Filter{States: []string{"incoming", "held"}}, "0 1 2"},
		{Filter{Reason: "refused"}, ""},
		{Filter{States: []string{"asleep"}}, `unknown state "asleep": incoming, active, deferred, hold or maildrop`},
	} {
		if got := w.chosen(t, test.filter); got != test.want {
			t.Errorf("list %+v = %q, want %q", test.filter, got, test.want)
		}
	}
}

// TestMisspelt: a filter that is not understood chooses nothing, rather than
// everything.
func TestMisspelt(t *testing.T) {
	w := newWorld(t)
	for command, data := range map[string]any{
		"queue.list":  map[string]string{"sendr": "a@one.test"},
		"queue.apply": map[string]any{"action": "delete", "filtr": Filter{IDs: w.ids[:1]}},
	} {
		_, _, err := w.ask(t, command, data)
		var told *control.Error
		if !errors.As(err, &told) || told.Code != control.Usage {
			t.Errorf("%s with an unknown field = %v, want a usage error", command, err)
		}
	}
	if got := w.chosen(t, Filter{}); got != "0 1 2" {
		t.Errorf("left = %s", got)
	}
}

func TestApply(t *testing.T) {
	w := newWorld(t)
	items, resp, err := w.ask(t, "queue.apply", Order{Action: "hold", Filter: Filter{IDs: []string{strings.ToLower(w.ids[0]), "ABC", w.ids[0]}}, Each: true})
	if err != nil || string(resp.Data) != `{"count":1}` {
		t.Fatalf("hold = %s, %v", resp.Data, err)
	}
	if diff := cmp.Diff([]string{`"` + w.ids[0] + `"`}, items); diff != "" {
		t.Errorf("items (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"Placed on hold: 1 message"}, w.lines); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	if got := w.chosen(t, Filter{States: []string{"hold"}}); got != "0" {
		t.Errorf("on hold = %q", got)
	}
	for _, step := range []struct {
		order Order
		count int
		left  string
	}{
		{Order{Action: "release", Filter: Filter{States: []string{"hold"}}}, 1, "0 1 2"},
		{Order{Action: "release"}, 0, "0 1 2"},
		{Order{Action: "delete", Filter: Filter{Domain: "far.test"}}, 2, "1"},
		{Order{Action: "delete", Filter: Filter{IDs: []string{w.ids[0]}}, Each: true}, 0, "1"},
	} {
		_, resp, err := w.ask(t, "queue.apply", step.order)
		if err != nil || string(resp.Data) != fmt.Sprintf(`{"count":%d}`, step.count) {
			t.Errorf("apply %+v = %s, %v, want %d", step.order, resp.Data, err, step.count)
		}
		if got := w.chosen(t, Filter{}); got != step.left {
			t.Errorf("after %+v left = %q, want %q", step.order, got, step.left)
		}
	}
	if _, _, err := w.ask(t, "queue.apply", Order{Action: "burn"}); err == nil {
		t.Error("an unknown action was done")
	}
}

// TestStopped: what needs deliveries is refused while the queue is not run.
func TestStopped(t *testing.T) {
	w := newWorld(t)
	w.Stopped = true
	for _, ask := range []func() error{
		func() error { _, _, err := w.ask(t, "queue.flush", nil); return err },
		func() error { _, _, err := w.ask(t, "queue.flush-message", nil, w.ids[0]); return err },
		func() error { _, _, err := w.ask(t, "queue.apply", Order{Action: "retry"}); return err },
		func() error { _, _, err := w.ask(t, "queue.apply", Order{Action: "requeue"}); return err },
	} {
		var told *control.Error
		if err := ask(); !errors.As(err, &told) || told.Code != control.Refused {
			t.Errorf("error = %v, want a refusal", err)
		}
	}
	if _, resp, err := w.ask(t, "queue.apply", Order{Action: "hold"}); err != nil || string(resp.Data) != `{"count":3}` {
		t.Errorf("hold = %s, %v", resp.Data, err)
	}
}

func TestShowAndWhy(t *testing.T) {
	w := newWorld(t)
	_, resp, err := w.ask(t, "queue.show", nil, w.ids[0])
	var e Entry
	if err != nil || json.Unmarshal(resp.Data, &e) != nil {
		t.Fatalf("show = %s, %v", resp.Data, err)
	}
	want := []Recipient{{Address: "x@far.test", Original: "x@old.test"}, {Address: "y@far.test"}}
	if diff := cmp.Diff(want, e.Recipients); diff != "" || e.State != "incoming" || e.Sender != "a@one.test" {
		t.Errorf("show = %+v\n%s", e, diff)
	}
	_, resp, err = w.ask(t, "queue.why", nil, w.ids[0])
	var y Why
	if err != nil || json.Unmarshal(resp.Data, &y) != nil || y.Sentence == "" || y.Entry.ID != w.ids[0] {
		t.Errorf("why = %s, %v", resp.Data, err)
	}
	for _, command := range []string{"queue.show", "queue.why", "queue.message"} {
		var told *control.Error
		if _, _, err := w.ask(t, command, nil, "ABCDEF"); !errors.As(err, &told) || told.Code != control.NotFound {
			t.Errorf("%s of nothing = %v, want not found", command, err)
		}
		if _, _, err := w.ask(t, command, nil); !errors.As(err, &told) || told.Code != control.Usage {
			t.Errorf("%s without an id = %v, want a usage error", command, err)
		}
	}
}

// TestMessage: a long text comes in pieces.
func TestMessage(t *testing.T) {
	w := newWorld(t)
	items, _, err := w.ask(t, "queue.message", nil, w.ids[1])
	if err != nil || len(items) < 6 {
		t.Fatalf("%d items, %v", len(items), err)
	}
	var m Message
	if err := json.Unmarshal([]byte(items[0]), &m); err != nil || len(m.Envelope.Recipients) != 1 || len(m.Done) != 1 {
		t.Errorf("head = %s, %v", items[0], err)
	}
	var text []byte
	for _, raw := range items[1:] {
		var p Part
		if err := json.Unmarshal([]byte(raw), &p); err != nil {
			t.Fatal(err)
		}
		text = append(text, p.Text...)
	}
	if int64(len(text)) != m.Entry.Size || !strings.HasPrefix(string(text), "Subject: hi\n\nhello\n0123") {
		t.Errorf("%d octets, want %d", len(text), m.Entry.Size)
	}
}

func TestFlushSite(t *testing.T) {
	w := newWorld(t)
	var asked string
	w.FlushSite = func(_ context.Context, domain string) (bool, error) {
		asked = domain
		return domain == "far.test", nil
	}
	if _, _, err := w.ask(t, "queue.flush", nil, "FAR.test"); err != nil || asked != "far.test" {
		t.Errorf("flush far.test = %v, asked for %q", err, asked)
	}
	_, _, err := w.ask(t, "queue.flush", nil, "[near.test]")
	if err == nil || err.Error() != `Flush service is not configured for destination "[near.test]"` {
		t.Errorf("flush [near.test] = %v", err)
	}
	w.FlushSite = nil
	if _, _, err := w.ask(t, "queue.flush", nil, "far.test"); err == nil || err.Error() != queue.ErrStopped.Error() {
		t.Errorf("flush in a queue that does not run = %v, want %v", err, queue.ErrStopped)
	}
}

func TestSummary(t *testing.T) {
	for n, want := range map[int]string{0: "Deleted: 0 messages", 1: "Deleted: 1 message", 2: "Deleted: 2 messages"} {
		if got := Summary("delete", n); got != want {
			t.Errorf("Summary(delete, %d) = %q, want %q", n, got, want)
		}
	}
}

func TestAdvice(t *testing.T) {
	for _, test := range []struct {
		why  Why
		want string // part
	}{
		{Why{Entry: Entry{ID: "AB", State: "hold"}}, "postern queue release AB"},
		{Why{Entry: Entry{State: "active"}}, ""},
		{Why{Entry: Entry{State: "deferred", Expired: true}}, "next try"},
		{Why{Entry: Entry{State: "deferred"}}, ""},
		{Why{Entry: Entry{State: "deferred"}, Reason: "connect to x[192.0.2.1]:25: Connection timed out", NextHop: "x"}, "x does not answer"},
		{Why{Entry: Entry{State: "deferred"}, Reason: "host x[192.0.2.1] said: 450 later"}, "The other server says"},
		{Why{Entry: Entry{State: "deferred"}, Reason: "odd"}, "The log says more"},
	} {
		got := test.why.advice()
		if !strings.Contains(got, test.want) || test.want == "" && got != "" {
			t.Errorf("advice(%+v) = %q, want %q in it", test.why, got, test.want)
		}
	}
}

func FuzzFilter(f *testing.F) {
	for _, seed := range []string{`{"sender":"<>"}`, `{"ids":["A"],"older":1}`, `{"states":["hold"]}`, `{"states":["maildrop"]}`, `{"older":-1}`, `{"x":1}`, `[]`, ``} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var filter Filter
		if err := decode(control.Request{Data: data}, &filter); err != nil {
			return
		}
		out, none, err := filter.queue()
		if err != nil {
			return
		}
		dropped := 0
		for _, s := range filter.States {
			if s == StateMaildrop {
				dropped++
			}
		}
		if len(out.States)+dropped != len(filter.States) || none != (dropped > 0 && len(out.States) == 0) {
			t.Fatalf("filter %+v became %+v, %t", filter, out, none)
		}
	})
}
