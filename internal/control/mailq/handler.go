package mailq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"postern/internal/address"
	"postern/internal/control"
	"postern/internal/queue"
)

// Logger takes log lines.
type Logger interface {
	Infof(format string, args ...any)
}

// Handler carries out the commands on a queue.
type Handler struct {
	Queue *queue.Queue
	// Maildrop is mail that is not in the queue yet; nil: there is none.
	Maildrop Maildrop
	// Stopped is set when the queue is not run: what needs deliveries is then
	// refused.
	Stopped bool
	// Log takes the sum of every Order; nil: no log. The queue logs each message.
	Log Logger
	// FlushSite makes the mail due that waits for a domain; eligible is false
	// where nobody keeps account of it (postconf fast_flush_domains). nil: every
	// domain is.
	FlushSite func(ctx context.Context, domain string) (eligible bool, err error)
}

// Handle is a control.Handler for the commands that begin with "queue.".
func (h *Handler) Handle(ctx context.Context, r control.Request, out control.Stream) control.Response {
	switch r.Command {
	case "queue.list":
		return h.list(ctx, r, out)
	case "queue.show":
		return h.one(r, func(id string) (any, error) {
			e, err := h.Queue.Show(id)
			if errors.Is(err, queue.ErrNotFound) {
				return h.droppedEntry(id)
			}
			return newEntry(e, nil), err
		})
	case "queue.why":
		return h.one(r, func(id string) (any, error) {
			w, err := h.Queue.Why(id)
			if errors.Is(err, queue.ErrNotFound) {
				return h.whyDropped(id)
			}
			return newWhy(w), err
		})
	case "queue.apply":
		return h.apply(ctx, r, out)
	case "queue.message":
		return h.message(r, out)
	case "queue.flush":
		return h.flush(ctx, r)
	case "queue.flush-message":
		return h.flushMessage(ctx, r)
	}
	return control.Fail(control.Usage, fmt.Errorf("unknown command %s", r.Command))
}

func (h *Handler) list(ctx context.Context, r control.Request, out control.Stream) control.Response {
	var f Filter
	if err := decode(r, &f); err != nil {
		return control.Fail(control.Usage, err)
	}
	filter, none, err := f.queue()
	if err != nil {
		return control.Fail(control.Usage, err)
	}
	if !none {
		for e, err := range h.Queue.List(ctx, filter) {
			if err != nil && e.ID == "" {
				return control.Fail("", err)
			}
			if err := out.Item(newEntry(e, err)); err != nil {
				return control.Fail("", err)
			}
		}
	}
	for e, err := range h.chosen(ctx, &f) {
		if err == nil {
			err = out.Item(e)
		}
		if err != nil {
			return control.Fail("", err)
		}
	}
	return control.Response{}
}

// one answers a question about one message.
func (h *Handler) one(r control.Request, ask func(id string) (any, error)) control.Response {
	if len(r.Args) != 1 {
		return control.Fail(control.Usage, fmt.Errorf("%s needs one queue id", r.Command))
	}
	v, err := ask(r.Args[0])
	if err != nil {
		return failure(err)
	}
	return Answer(v)
}

func failure(err error) control.Response {
	if errors.Is(err, queue.ErrNotFound) {
		return control.Fail(control.NotFound, err)
	}
	return control.Fail("", err)
}

// Answer is a response with data.
func Answer(v any) control.Response {
	b, err := json.Marshal(v)
	if err != nil {
		return control.Fail("", err)
	}
	return control.Response{Data: b}
}

func (h *Handler) apply(ctx context.Context, r control.Request, out control.Stream) control.Response {
	var o Order
	if err := decode(r, &o); err != nil {
		return control.Fail(control.Usage, err)
	}
	act, ok := actions[o.Action]
	if !ok {
		return control.Fail(control.Usage, fmt.Errorf("unknown action %q", o.Action))
	}
	filter, none, err := o.Filter.queue()
	if err != nil {
		return control.Fail(control.Usage, err)
	}
	if h.Stopped && (act.queue == queue.Retry || act.queue == queue.Requeue) {
		return control.Fail(control.Refused, fmt.Errorf("%s: the mail system is down", o.Action))
	}
	n := 0
	switch {
	case none:
	case o.Each:
		n, err = h.each(ctx, act, filter, out)
	default:
		n, err = h.Queue.Apply(ctx, act.queue, filter, out.Progress)
	}
	if err == nil && act.queue == queue.Delete {
		var tell func(id string) error
		if o.Each {
			tell = func(id string) error { return out.Item(id) }
		}
		var dropped int
		dropped, err = h.deleteDropped(ctx, &o.Filter, tell)
		n += dropped
	}
	if h.Log != nil {
		h.Log.Infof("%s", Summary(o.Action, n))
	}
	resp := Answer(Done{n})
	if err != nil {
		resp.Error = err.Error()
	}
	return resp
}

// abreast is how many messages of an Order with Each are changed at a time: they
// share a sync of the spool.
const abreast = 64

// each applies an action to messages one by one and tells each, in the order of
// their ids.
func (h *Handler) each(ctx context.Context, act action, f queue.Filter, out control.Stream) (int, error) {
	total := 0
	for ids := range slices.Chunk(unique(f.IDs), abreast) {
		done, errs := make([]int, len(ids)), make([]error, len(ids))
		var all sync.WaitGroup
		for i := range ids {
			one := f
			one.IDs = ids[i : i+1]
			all.Go(func() { done[i], errs[i] = h.Queue.Apply(ctx, act.queue, one, nil) })
		}
		all.Wait()
		for i, id := range ids {
			if done[i] == 0 {
				continue
			}
			total++
			if err := out.Item(id); err != nil {
				return total, err
			}
		}
		if err := errors.Join(errs...); err != nil {
			return total, err
		}
	}
	return total, nil
}

// unique is ids in upper case, without those that came before.
func unique(ids []string) []string {
	seen := make(map[string]bool, len(ids))
	out := make([]string, 0, len(ids))
	for _, id := range ids {
		id = strings.ToUpper(id)
		if !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out
}

func (h *Handler) message(r control.Request, out control.Stream) control.Response {
	if len(r.Args) != 1 {
		return control.Fail(control.Usage, errors.New("queue.message needs one queue id"))
	}
	e, err := h.Queue.Show(r.Args[0])
	if errors.Is(err, queue.ErrNotFound) {
		return h.sendDropped(r.Args[0], out)
	}
	if err != nil {
		return failure(err)
	}
	p, err := h.Queue.Message(e.ID)
	if err != nil {
		return failure(err)
	}
	if err := out.Item(Message{newEntry(e, nil), p.Message.Envelope, p.Done}); err != nil {
		return control.Fail("", err)
	}
	body, err := p.Message.Open()
	if err != nil {
		return control.Fail("", err)
	}
	defer body.Close()
	if _, err := body.WriteTo(parts{out}); err != nil {
		return control.Fail("", err)
	}
	return control.Response{}
}

// partSize is the length of the pieces of a text.
const partSize = 64 << 10

// parts sends what is written to it as items.
type parts struct{ out control.Stream }

func (p parts) Write(text []byte) (int, error) {
	n := 0
	for piece := range slices.Chunk(text, partSize) {
		if err := p.out.Item(Part{piece}); err != nil {
			return n, err
		}
		n += len(piece)
	}
	return n, nil
}

// flush makes deferred mail due: all of it, or that for a domain
// (postqueue -f, -s).
func (h *Handler) flush(ctx context.Context, r control.Request) control.Response {
	if h.Stopped {
		return control.Fail(control.Refused, errors.New("the mail system is down"))
	}
	if len(r.Args) == 0 {
		h.Queue.Flush()
		return control.Response{Text: "deferred mail is tried now"}
	}
	domain := address.Fold(strings.Trim(r.Args[0], "[]"))
	flush := h.FlushSite
	if flush == nil {
		flush = func(_ context.Context, domain string) (bool, error) { return true, h.Queue.FlushDestination(domain) }
	}
	eligible, err := flush(ctx, domain)
	switch {
	case err != nil:
		return control.Fail("", err)
	case !eligible:
		return control.Response{Code: control.Refused, Error: fmt.Sprintf("Flush service is not configured for destination %q", r.Args[0])}
	}
	return control.Response{Text: "deferred mail for " + domain + " is tried now"}
}

// flushMessage makes one message due; one that is not there is passed over
// (postqueue -i).
func (h *Handler) flushMessage(ctx context.Context, r control.Request) control.Response {
	if h.Stopped {
		return control.Fail(control.Refused, errors.New("the mail system is down"))
	}
	if len(r.Args) != 1 {
		return control.Fail(control.Usage, fmt.Errorf("%s needs one queue id", r.Command))
	}
	if _, err := h.Queue.Apply(ctx, queue.Retry, queue.Filter{IDs: r.Args}, nil); err != nil {
		return control.Fail("", err)
	}
	return control.Response{Text: r.Args[0] + " is tried now"}
}
