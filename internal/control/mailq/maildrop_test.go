package mailq

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/control"
	"postern/internal/queue"
	"postern/internal/spool"
)

// heap is a Maildrop in memory. Ids of what cannot be read begin with BAD, of what
// is taken in when it is looked at with GONE, of what nobody may remove with STUCK.
type heap struct {
	ids    []string
	closed int
	err    error
}

func (h *heap) IDs() ([]string, error) { return slices.Clone(h.ids), h.err }

func (h *heap) Open(id string) (*Submitted, error) {
	switch {
	case !slices.Contains(h.ids, id), strings.HasPrefix(id, "GONE"):
		return nil, fmt.Errorf("%s: %w", id, queue.ErrNotFound)
	case strings.HasPrefix(id, "BAD"):
		return nil, errors.New("not a maildrop file")
	}
	e := spool.Envelope{Sender: "me@" + strings.ToLower(id) + ".test", Arrival: time.Now(), Recipients: []spool.Recipient{{Address: "x@far.test"}}}
	return &Submitted{Envelope: e, Size: 7, Text: strings.NewReader("Subject: " + id + "\n\n"), Closer: h}, nil
}

func (h *heap) Close() error { h.closed++; return nil }

func (h *heap) Remove(id string) error {
	i := slices.Index(h.ids, id)
	if i < 0 || strings.HasPrefix(id, "GONE") {
		return fmt.Errorf("%s: %w", id, queue.ErrNotFound)
	}
	if strings.HasPrefix(id, "STUCK") {
		return errors.New("operation not permitted")
	}
	h.ids = slices.Delete(h.ids, i, i+1)
	return nil
}

// dropIDs lists what a filter chooses and is in no queue; with "!" what cannot be
// read.
func (w *world) dropIDs(t *testing.T, f Filter) string {
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
		if e.Error != "" {
			e.ID += "!"
		}
		if e.State == StateMaildrop {
			out = append(out, e.ID)
		} else if len(out) > 0 {
			t.Errorf("%s of the queue comes after the maildrop", e.ID)
		}
	}
	return strings.Join(out, " ")
}

func TestMaildropIsListed(t *testing.T) {
	w := newWorld(t)
	h := &heap{ids: []string{"ONE", "BAD", "GONE", "TWO"}}
	w.Maildrop = h
	for _, test := range []struct {
		filter Filter
		want   string
		queued string
	}{
		{Filter{}, "ONE BAD! TWO", "0 1 2"},
		{Filter{States: []string{"maildrop"}}, "ONE BAD! TWO", ""},
		{Filter{States: []string{"incoming"}}, "", "0 1 2"},
		{Filter{States: []string{"hold", "maildrop"}}, "ONE BAD! TWO", ""},
		{Filter{IDs: []string{"two", w.ids[0]}}, "TWO", "0"},
		{Filter{Sender: "me@one.test"}, "ONE", ""},
		{Filter{Sender: "@one.test"}, "ONE", "0 2"},
		{Filter{Domain: "far.test", Younger: time.Minute}, "ONE TWO", ""},
		{Filter{Older: time.Minute}, "", "0 1 2"},
		{Filter{Reason: "refused"}, "", ""},
	} {
		if got := w.dropIDs(t, test.filter); got != test.want {
			t.Errorf("list %+v = %q, want %q", test.filter, got, test.want)
		}
		if got := w.chosen(t, test.filter); got != test.queued {
			t.Errorf("list %+v of the queue = %q, want %q", test.filter, got, test.queued)
		}
	}
	h.closed = 0
	w.dropIDs(t, Filter{})
	if h.closed != 2 {
		t.Errorf("%d files were closed, want both that were opened", h.closed)
	}
	h.err = errors.New("maildrop: input/output error")
	if got, want := w.dropIDs(t, Filter{}), "maildrop: input/output error"; got != want {
		t.Errorf("list = %q, want %q", got, want)
	}
}

func TestMaildropIsShown(t *testing.T) {
	w := newWorld(t)
	w.Maildrop = &heap{ids: []string{"ONE", "BAD", "GONE"}}
	_, resp, err := w.ask(t, "queue.show", nil, "ONE")
	if err != nil || !strings.Contains(string(resp.Data), `"id":"ONE","state":"maildrop","sender":"me@one.test"`) {
		t.Errorf("show = %s, %v", resp.Data, err)
	}
	items, _, err := w.ask(t, "queue.message", nil, "ONE")
	if err != nil || len(items) != 2 {
		t.Fatalf("message = %q, %v, want the envelope and a piece", items, err)
	}
	var m Message
	var p Part
	if err := errors.Join(json.Unmarshal([]byte(items[0]), &m), json.Unmarshal([]byte(items[1]), &p)); err != nil {
		t.Fatal(err)
	}
	if string(p.Text) != "Subject: ONE\n\n" || m.Envelope.Sender != "me@one.test" || len(m.Done) != 1 {
		t.Errorf("message = %+v, text %q", m, p.Text)
	}
	for id, sentences := range map[string][2]string{
		"ONE": {"is about to take it in", "waits for the server to be started"},
		"BAD": {"cannot be read", "cannot be read"},
	} {
		for i, stopped := range []bool{false, true} {
			w.Stopped = stopped
			var why Why
			_, resp, err := w.ask(t, "queue.why", nil, id)
			if err == nil {
				err = json.Unmarshal(resp.Data, &why)
			}
			if err != nil || !strings.Contains(why.Sentence, sentences[i]) || why.Entry.ID != id {
				t.Errorf("why %s, stopped %t = %+v, %v, want %q", id, stopped, why, err, sentences[i])
			}
		}
	}
	for _, command := range []string{"queue.show", "queue.why", "queue.message"} {
		for _, id := range []string{"GONE", "NONE"} {
			var told *control.Error
			if _, _, err := w.ask(t, command, nil, id); !errors.As(err, &told) || told.Code != control.NotFound {
				t.Errorf("%s %s = %v, want not found", command, id, err)
			}
		}
	}
	if _, _, err := w.ask(t, "queue.message", nil, "BAD"); err == nil || err.Error() != "not a maildrop file" {
		t.Errorf("message BAD = %v", err)
	}
}

func TestMaildropIsDeleted(t *testing.T) {
	w := newWorld(t)
	h := &heap{ids: []string{"ONE", "BAD", "GONE", "TWO", "THREE", "STUCK"}}
	w.Maildrop = h
	apply := func(o Order, count int, left string) []string {
		t.Helper()
		items, resp, err := w.ask(t, "queue.apply", o)
		if err != nil || string(resp.Data) != fmt.Sprintf(`{"count":%d}`, count) {
			t.Errorf("%s %+v = %s, %v, want %d", o.Action, o.Filter, resp.Data, err, count)
		}
		if got := strings.Join(h.ids, " "); got != left {
			t.Errorf("%s %+v leaves %q, want %q", o.Action, o.Filter, got, left)
		}
		return items
	}
	for _, action := range []string{"hold", "release", "expire", "bounce", "requeue", "retry"} {
		apply(Order{Action: action, Filter: Filter{States: []string{"maildrop"}}}, 0, "ONE BAD GONE TWO THREE STUCK")
	}
	apply(Order{Action: "delete", Filter: Filter{States: []string{"hold"}}}, 0, "ONE BAD GONE TWO THREE STUCK")
	apply(Order{Action: "delete", Filter: Filter{Sender: "me@one.test"}}, 1, "BAD GONE TWO THREE STUCK")
	w.lines = nil
	items := apply(Order{Action: "delete", Filter: Filter{IDs: []string{"bad", "gone", "two", w.ids[1]}}, Each: true}, 3, "GONE THREE STUCK")
	if diff := cmp.Diff([]string{`"` + w.ids[1] + `"`, `"BAD"`, `"TWO"`}, items); diff != "" {
		t.Errorf("items (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"BAD: removed", "TWO: removed", "Deleted: 3 messages"}, w.lines); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	_, resp, err := w.ask(t, "queue.apply", Order{Action: "delete"})
	if err == nil || err.Error() != "operation not permitted" || string(resp.Data) != `{"count":3}` {
		t.Errorf("delete = %s, %v, want the three that could be deleted and the error", resp.Data, err)
	}
}

// TestMaildropStops: nobody who has gone is told more.
func TestMaildropStops(t *testing.T) {
	w := newWorld(t)
	h := &heap{ids: []string{"ONE", "TWO"}}
	w.Maildrop = h
	r, err := Request("queue.apply", Order{Action: "delete", Filter: Filter{IDs: []string{"ONE", "TWO"}}, Each: true})
	if err != nil {
		t.Fatal(err)
	}
	_, err = control.Handler(w.Handle).Stream(t.Context(), r, control.Sink{Item: func(json.RawMessage) error { return io.ErrClosedPipe }})
	if !errors.Is(err, io.ErrClosedPipe) || len(h.ids) != 1 {
		t.Errorf("delete = %v, left %q, want it to stop after one", err, h.ids)
	}
}
