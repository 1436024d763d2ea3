package queue

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/internal/address"
	"postern/internal/spool"
)

// Why says why a message is still in the queue.
type Why struct {
	Entry    Entry
	Sentence string // one sentence for people, without a full stop
	// Recipient is the one that the rest is about: the first that has failed,
	// or else the first; internal form.
	Recipient string
	// Reason and Status are those of its last failed try; "" when there was none.
	Reason, Status string
	// Transport and NextHop are where it goes now; "" when that cannot be said.
	Transport, NextHop string
	Next               time.Time // of the next try; zero: none planned, or at once
	DeadUntil          time.Time // when the destination is tried again; zero: it is not dead
	Busy, Window       int       // deliveries to the destination under way, and allowed
	Ahead              int       // messages that wait for the destination, this one included
	Delivering         bool      // a delivery of this message is under way
}

// routeLimit bounds how long Why waits for tables.
const routeLimit = 5 * time.Second

// Why says why a message is still in the queue, or ErrNotFound. To tell where
// it goes the router is asked, which may take up to five seconds.
func (q *Queue) Why(id string) (Why, error) {
	e, err := q.Show(id)
	if err != nil {
		return Why{}, err
	}
	w := Why{Entry: e, Next: e.Next}
	for i, r := range e.Recipients {
		if i == 0 || r.Reason != "" && w.Reason == "" {
			w.Recipient, w.Reason, w.Status = r.Address, r.Reason, r.Status
		}
	}
	q.locate(&w)
	w.Sentence = q.sentence(&w)
	return w, nil
}

// locate finds out where the recipient goes, and how its destination does.
func (q *Queue) locate(w *Why) {
	if q.options.Route == nil {
		return
	}
	ctx, cancel := context.WithTimeout(q.context(), routeLimit)
	defer cancel()
	to, err := q.options.Route(ctx, w.Entry.Sender, w.Recipient)
	if err != nil {
		return
	}
	w.Transport, w.NextHop = to.Transport, to.NextHop
	now := q.options.Now()
	number, _ := spool.ParseID(w.Entry.ID)
	q.mu.Lock()
	defer q.mu.Unlock()
	if it := q.items[number]; it != nil {
		w.Delivering = it.pass.busy > 0
	}
	t := q.transports[to.Transport]
	if t == nil {
		return
	}
	l := t.lanes[t.key(to.NextHop, cmp.Or(to.Address, w.Recipient))]
	w.Window = t.firstWindow()
	if l != nil {
		w.Busy, w.Window, w.Ahead = l.busy, l.window, l.shares.len()+l.parked.len()
	}
	switch {
	case t.dead(now):
		w.DeadUntil = t.deadUntil
	case l != nil && l.dead():
		w.DeadUntil = l.restsTo
	}
}

// sentence is the answer for people.
func (q *Queue) sentence(w *Why) string {
	var b strings.Builder
	now := q.options.Now()
	if err := q.options.Store.Err(); err != nil {
		fmt.Fprintf(&b, "nothing is delivered, for results cannot be recorded (%v)", err)
		return b.String()
	}
	switch w.Entry.State {
	case Held:
		b.WriteString("it is on hold until somebody releases it")
	case Incoming:
		b.WriteString(q.waitsForFirst(&w.Entry))
	case Active:
		b.WriteString(w.waitsForDestination())
	default:
		fmt.Fprintf(&b, "%s failed", tries(w.Entry.Attempts))
	}
	if w.Reason != "" {
		fmt.Fprintf(&b, "; <%s> last failed with: %s", address.Split(w.Recipient), w.Reason)
	}
	if !w.DeadUntil.IsZero() {
		fmt.Fprintf(&b, "; its destination is left alone until %s", w.DeadUntil.Local().Format(time.DateTime))
	}
	switch {
	case w.Entry.Expired:
		b.WriteString("; it is returned to its sender if the next try fails too")
	case w.Next.IsZero():
	case w.Next.After(now):
		fmt.Fprintf(&b, "; the next try is at %s", w.Next.Local().Format(time.DateTime))
	default:
		b.WriteString("; the next try is due")
		if room := q.waitsForRoom(&w.Entry); room != "" {
			b.WriteString(": " + room)
		} else {
			b.WriteString(", and waits until there is room in the active queue")
		}
	}
	return printable([]byte(b.String()))
}

// waitsForFirst says why a message has not been tried yet.
func (q *Queue) waitsForFirst(e *Entry) string {
	room := q.waitsForRoom(e)
	q.mu.Lock()
	defer q.mu.Unlock()
	limit := q.parameters.activeLimit()
	switch {
	case !q.running:
		return "it waits for its first try, and the mail system is down"
	case room != "":
		return "it waits for its first try: " + room
	case q.active >= limit:
		return fmt.Sprintf("it waits for its first try: the active queue is full with %d messages (qmgr_message_active_limit)", limit)
	}
	return "it waits for its first try, which is at any moment"
}

// waitsForDestination says what an active message waits for.
func (w *Why) waitsForDestination() string {
	to := w.NextHop
	switch {
	case w.Transport == "":
		return "it is being worked on"
	case to == "":
		to = w.Transport
	}
	switch {
	case w.Delivering || w.Ahead == 0:
		return fmt.Sprintf("it is being delivered over %s to %s", w.Transport, to)
	case w.Window > 0 && w.Busy >= w.Window:
		return fmt.Sprintf("it waits for its turn with %d messages for %s over %s, where %d at a time may be delivered", w.Ahead, to, w.Transport, w.Window)
	}
	return fmt.Sprintf("it waits for its turn with %d messages for %s over %s", w.Ahead, to, w.Transport)
}

// tries is a number of tries in words.
func tries(n int) string {
	if n == 1 {
		return "the first try"
	}
	return fmt.Sprintf("%d tries", n)
}

// waitsForRoom says for what room a message waits, and who is in front; ""
// when it does not.
func (q *Queue) waitsForRoom(e *Entry) string {
	number, _ := spool.ParseID(e.ID)
	n := e.Done + len(e.Recipients)
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.parameters.size(n)
	r := &q.rooms[s]
	ahead := slices.Index(r.waiting.all(), number)
	if ahead < 0 {
		return ""
	}
	var first *item
	for _, it := range q.items {
		if it.weight > 0 && it.size == s && (first == nil || it.number < first.number) {
			first = it
		}
	}
	text := fmt.Sprintf("there is no room for its %d recipients (qmgr_message_recipient_limit)", n)
	if first != nil {
		text += fmt.Sprintf(" beside the %d of messages being delivered, such as %s", r.used, spool.FormatID(first.number))
	}
	if ahead > 0 {
		text += fmt.Sprintf(", and messages wait in front of it: %d", ahead)
	}
	return text
}
