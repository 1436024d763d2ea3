// Package mailq is what commands and server say to each other about the queue:
// the JSON form of messages and filters, and the Handler that carries out the
// commands, in the server, or in the command itself when no server runs.
//
//	queue.list       Filter                 an item, an Entry, for each message, oldest first, then the maildrop's
//	queue.show       Args: a queue id       Data: an Entry
//	queue.why        Args: a queue id       Data: a Why
//	queue.apply      an Order               an item, the queue id, for each message when Order.Each is set
//	queue.message    Args: a queue id       Data: a Message; items: its text in pieces
//	queue.flush      Args: maybe a domain   makes deferred mail due now
//	queue.flush-message  Args: a queue id   makes one message due now
//
// Everything that an Order does is logged, whoever gave it, under the name of
// Postfix's command for it:
//
//	postfix/postsuper[812]: 0000000004D2: placed on hold
//	postfix/postsuper[812]: Placed on hold: 1 message
//
// Mail in the maildrop, which the server has yet to take in, can be listed, shown
// and deleted like what is in the queue. Its ids are longer than any of the queue.
//
// An unknown field of a request is refused, so that a misspelt filter never
// chooses more than was meant.
//
// It imports address, control, queue and spool.
package mailq

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"postern/internal/control"
	"postern/internal/queue"
	"postern/internal/spool"
)

// Entry is a message in the queue. Error is set when it cannot be read; then it
// has nothing but ID and State.
type Entry struct {
	ID         string      `json:"id"`
	State      string      `json:"state"` // incoming, active, deferred, hold, maildrop
	Sender     string      `json:"sender"`
	Size       int64       `json:"size"`
	Arrival    time.Time   `json:"arrival"`
	Attempts   int         `json:"attempts"`
	Next       *time.Time  `json:"next,omitempty"`
	Expired    bool        `json:"expired,omitempty"`
	Warned     bool        `json:"warned,omitempty"`
	Done       int         `json:"done,omitempty"` // recipients that are done with
	Recipients []Recipient `json:"recipients"`
	Error      string      `json:"error,omitempty"`
}

// Recipient is one that is not done with.
type Recipient struct {
	Address  string `json:"address"`
	Original string `json:"original,omitempty"`
	Status   string `json:"status,omitempty"`
	Reason   string `json:"reason,omitempty"`
}

func newEntry(e queue.Entry, err error) Entry {
	out := Entry{
		ID: e.ID, State: e.State.String(), Sender: e.Sender, Size: e.Size, Arrival: e.Arrival, Attempts: e.Attempts,
		Next: moment(e.Next), Expired: e.Expired, Warned: e.Warned, Done: e.Done,
		Recipients: make([]Recipient, 0, len(e.Recipients)),
	}
	for _, r := range e.Recipients {
		out.Recipients = append(out.Recipients, Recipient(r))
	}
	if err != nil {
		out.Error = err.Error()
	}
	return out
}

// queue is an entry as filters look at it.
func (e *Entry) queue() *queue.Entry {
	out := &queue.Entry{ID: e.ID, Sender: e.Sender, Size: e.Size, Arrival: e.Arrival}
	for _, r := range e.Recipients {
		out.Recipients = append(out.Recipients, queue.EntryRecipient(r))
	}
	return out
}

// moment is nil for no time.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// Why is why a message is still here.
type Why struct {
	Entry     Entry      `json:"message"`
	Sentence  string     `json:"sentence"`
	Advice    string     `json:"advice,omitempty"` // what to do
	Recipient string     `json:"recipient,omitempty"`
	Status    string     `json:"status,omitempty"`
	Reason    string     `json:"reason,omitempty"`
	Transport string     `json:"transport,omitempty"`
	NextHop   string     `json:"nexthop,omitempty"`
	Next      *time.Time `json:"next,omitempty"`
	DeadUntil *time.Time `json:"dead_until,omitempty"`
	Busy      int        `json:"busy,omitempty"`
	Window    int        `json:"window,omitempty"`
	Ahead     int        `json:"ahead,omitempty"`
}

func newWhy(w queue.Why) Why {
	out := Why{
		Entry: newEntry(w.Entry, nil), Sentence: w.Sentence, Recipient: w.Recipient, Status: w.Status, Reason: w.Reason,
		Transport: w.Transport, NextHop: w.NextHop, Next: moment(w.Next), DeadUntil: moment(w.DeadUntil),
		Busy: w.Busy, Window: w.Window, Ahead: w.Ahead,
	}
	out.Advice = out.advice()
	return out
}

// Filter chooses messages; see queue.Filter.
type Filter struct {
	IDs       []string      `json:"ids,omitempty"`
	Sender    string        `json:"sender,omitempty"`
	Recipient string        `json:"recipient,omitempty"`
	Domain    string        `json:"domain,omitempty"`
	Reason    string        `json:"reason,omitempty"`
	Older     time.Duration `json:"older,omitempty"` // nanoseconds
	Younger   time.Duration `json:"younger,omitempty"`
	States    []string      `json:"states,omitempty"`
}

// states are the names of queues.
var states = map[string]queue.State{
	"incoming": queue.Incoming, "active": queue.Active, "deferred": queue.Deferred, "hold": queue.Held,
}

// parseState is the state of a queue's name; "held" is "hold" too.
func parseState(name string) (queue.State, error) {
	if name == "held" {
		name = "hold"
	}
	s, ok := states[name]
	if !ok {
		return 0, fmt.Errorf("unknown state %q: incoming, active, deferred, hold or maildrop", name)
	}
	return s, nil
}

// CheckState is an error for a name that is no state of an Entry.
func CheckState(name string) error {
	if name == StateMaildrop {
		return nil
	}
	_, err := parseState(name)
	return err
}

// queue is the filter for what is in the queue; none reports that it chooses
// nothing there.
func (f *Filter) queue() (out queue.Filter, none bool, err error) {
	out = f.conditions()
	out.IDs = f.IDs
	for _, name := range f.States {
		if name == StateMaildrop {
			continue
		}
		s, err := parseState(name)
		if err != nil {
			return out, true, err
		}
		out.States = append(out.States, s)
	}
	return out, len(f.States) > 0 && len(out.States) == 0, nil
}

// conditions are what f wants of a message besides its id and state.
func (f *Filter) conditions() queue.Filter {
	return queue.Filter{Sender: f.Sender, Recipient: f.Recipient, Domain: f.Domain, Reason: f.Reason,
		OlderThan: f.Older, YoungerThan: f.Younger}
}

// readsNothing reports whether f chooses by ids and states alone.
func (f *Filter) readsNothing() bool {
	return f.Sender == "" && f.Recipient == "" && f.Domain == "" && f.Reason == "" && f.Older == 0 && f.Younger == 0
}

// ids are the ids that f names, in upper case; nil: it names none.
func (f *Filter) ids() map[string]bool {
	if f.IDs == nil {
		return nil
	}
	m := make(map[string]bool, len(f.IDs))
	for _, id := range f.IDs {
		m[strings.ToUpper(id)] = true
	}
	return m
}

// Order is something to be done to messages.
type Order struct {
	Action string `json:"action"` // retry, hold, release, delete, expire, bounce, requeue
	Filter Filter `json:"filter"`
	Each   bool   `json:"each,omitempty"` // take Filter.IDs one by one, and tell each
}

// Done is the Data of the answer to an Order.
type Done struct {
	Count int `json:"count"` // messages to which it was done
}

// action is what an order can ask for: the words for a message, and for all of
// them.
type action struct {
	queue     queue.Action
	one, many string
}

var actions = map[string]action{
	"retry":   {queue.Retry, "tried now", "Tried now"},
	"hold":    {queue.Hold, "placed on hold", "Placed on hold"},
	"release": {queue.Release, "released from hold", "Released from hold"},
	"delete":  {queue.Delete, "removed", "Deleted"},
	"expire":  {queue.Expire, "expired", "Force-expired"},
	"bounce":  {queue.Bounce, "expired", "Force-expired, and released from hold where it was"},
	"requeue": {queue.Requeue, "requeued", "Requeued"},
}

// Summary is the line that ends an order: "Deleted: 1 message".
func Summary(name string, n int) string {
	s := "s"
	if n == 1 {
		s = ""
	}
	return fmt.Sprintf("%s: %d message%s", actions[name].many, n, s)
}

// Word is what was done to one message: "placed on hold".
func Word(name string) string { return actions[name].one }

// Message is what postcat shows besides the text.
type Message struct {
	Entry    Entry          `json:"message"`
	Envelope spool.Envelope `json:"envelope"`
	Done     []bool         `json:"done"` // by recipient of the envelope
}

// Part is an item of queue.message: a piece of the text.
type Part struct {
	Text []byte `json:"text"`
}

// decode reads the Data of a request into v.
func decode(r control.Request, v any) error {
	if len(r.Data) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(r.Data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%s: %w", r.Command, err)
	}
	return nil
}

// Request makes a request of a command and its data.
func Request(command string, data any, args ...string) (control.Request, error) {
	r := control.Request{Command: command, Args: args}
	if data == nil {
		return r, nil
	}
	b, err := json.Marshal(data)
	r.Data = b
	return r, err
}
