package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/internal/control/mailq"
)

func (t *queueTool) newList() *cobra.Command {
	var flags filterFlags
	cmd := &cobra.Command{Use: "list [ID...]", Short: "List messages, oldest first"}
	flags.add(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print one JSON object per message")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f, err := flags.filter(args)
		if err != nil {
			return err
		}
		return t.exit(t.list(cmd.Context(), f, *asJSON))
	}
	return cmd
}

func (t *queueTool) list(ctx context.Context, f mailq.Filter, asJSON bool) (err error) {
	m, err := t.open(true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	w := bufio.NewWriter(t.env.Stdout)
	show := (&queueTable{w: w, aligned: isTerminal(t.env.Stdout), now: time.Now()}).row
	if asJSON {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		show = func(entry *mailq.Entry) error { return e.Encode(entry) }
	}
	err = m.list(ctx, f, show)
	return errors.Join(err, w.Flush())
}

// queueTable writes messages a line each: aligned with a heading for people, or
// separated by tabs for programs:
//
//	ID  STATE  AGE  SIZE  TRIES  NEXT  SENDER  RECIPIENT  REASON
//
// Ages and the time to the next try are in seconds where tabs are.
type queueTable struct {
	w       io.Writer
	aligned bool
	now     time.Time
	rows    int
}

func (t *queueTable) row(e *mailq.Entry) error {
	recipient, reason := "", e.Error
	if len(e.Recipients) > 0 {
		recipient = external(e.Recipients[0].Address)
	}
	for i := range e.Recipients {
		if reason == "" {
			reason = e.Recipients[i].Reason
		}
	}
	reason = printable(reason)
	age, next := t.now.Sub(e.Arrival), ""
	if !t.aligned {
		if e.Next != nil {
			next = fmt.Sprint(int64(e.Next.Sub(t.now).Seconds()))
		}
		_, err := fmt.Fprintf(t.w, "%s\t%s\t%d\t%d\t%d\t%s\t%s\t%s\t%d\t%s\n", e.ID, e.State, int64(age.Seconds()), e.Size, e.Attempts,
			next, sender(e), recipient, len(e.Recipients), reason)
		return err
	}
	if e.Next != nil {
		next = inTime(e.Next.Sub(t.now))
	}
	if n := len(e.Recipients); n > 1 {
		recipient += fmt.Sprintf(" +%d", n-1)
	}
	if t.rows == 0 {
		fmt.Fprintf(t.w, "%-12s  %-8s  %5s  %6s  %5s  %6s  %-28s  %-28s  %s\n",
			"ID", "STATE", "AGE", "SIZE", "TRIES", "NEXT", "SENDER", "RECIPIENT", "REASON")
	}
	t.rows++
	_, err := fmt.Fprintf(t.w, "%-12s  %-8s  %5s  %6s  %5d  %6s  %-28s  %-28s  %s\n",
		e.ID, e.State, span(age), octets(e.Size), e.Attempts, next, clip(sender(e), 28), clip(recipient, 28), clip(reason, 60))
	return err
}

// sender is the sender as the queue commands show it; <> is the null sender.
func sender(e *mailq.Entry) string {
	if e.Sender == "" {
		return "<>"
	}
	return external(e.Sender)
}

// span is a duration in its largest unit: 40s, 12m, 5h, 3d.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// until is a moment to come with the time to it.
func until(at, now time.Time) string {
	text := at.Local().Format(time.RFC1123Z)
	if !at.After(now) {
		return text + " (now)"
	}
	return text + " (in " + span(at.Sub(now)) + ")"
}

// inTime is the time to something: "now" when it is due.
func inTime(d time.Duration) string {
	if d <= 0 {
		return "now"
	}
	return span(d)
}

// octets is a size in its largest unit.
func octets(n int64) string {
	switch {
	case n < 10<<10:
		return fmt.Sprintf("%dB", n)
	case n < 10<<20:
		return fmt.Sprintf("%dK", n>>10)
	}
	return fmt.Sprintf("%dM", n>>20)
}

// clip cuts text to n characters.
func clip(text string, n int) string {
	r := []rune(text)
	if len(r) <= n {
		return text
	}
	return string(r[:n-1]) + "…"
}

func (t *queueTool) newShow() *cobra.Command {
	cmd := &cobra.Command{Use: "show ID...", Short: "Show all that is known of messages"}
	asJSON := cmd.Flags().Bool("json", false, "print one JSON object per message")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usageError{"show needs a queue id"}
		}
		for _, id := range args {
			var e mailq.Entry
			if err := t.ask(cmd.Context(), "queue.show", id, &e); err != nil {
				return t.exit(err)
			}
			if *asJSON {
				if err := json.NewEncoder(t.env.Stdout).Encode(e); err != nil {
					return err
				}
				continue
			}
			showEntry(t.env.Stdout, &e, time.Now())
		}
		return nil
	}
	return cmd
}

// showEntry writes all that is known of a message.
func showEntry(w io.Writer, e *mailq.Entry, now time.Time) {
	field := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	field("id", "%s", e.ID)
	field("state", "%s", e.State)
	field("sender", "%s", sender(e))
	field("size", "%d octets", e.Size)
	field("arrived", "%s (%s ago)", e.Arrival.Local().Format(time.RFC1123Z), span(now.Sub(e.Arrival)))
	field("tries", "%d", e.Attempts)
	if e.Next != nil {
		field("next try", "%s", until(*e.Next, now))
	}
	if e.Expired {
		field("expired", "by order: it goes back with the next try that fails")
	}
	if e.Warned {
		field("warned", "the sender was told of the delay")
	}
	if e.Done > 0 {
		field("done", "%d recipients", e.Done)
	}
	for i := range e.Recipients {
		r := &e.Recipients[i]
		text := external(r.Address)
		if r.Original != "" && !strings.EqualFold(r.Original, r.Address) {
			text += " (was " + external(r.Original) + ")"
		}
		field("recipient", "%s", text)
		if r.Reason != "" {
			field("", "  %s %s", r.Status, printable(r.Reason))
		}
	}
}

func (t *queueTool) newWhy() *cobra.Command {
	cmd := &cobra.Command{Use: "why ID...", Short: "Say why a message is still here, and what to do"}
	asJSON := cmd.Flags().Bool("json", false, "print one JSON object per message")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usageError{"why needs a queue id"}
		}
		for _, id := range args {
			var why mailq.Why
			if err := t.ask(cmd.Context(), "queue.why", id, &why); err != nil {
				return t.exit(err)
			}
			if *asJSON {
				if err := json.NewEncoder(t.env.Stdout).Encode(why); err != nil {
					return err
				}
				continue
			}
			showWhy(t.env.Stdout, &why, time.Now())
		}
		return nil
	}
	return cmd
}

// showWhy writes the reason: a sentence, what was said, what comes next, what to
// do.
func showWhy(w io.Writer, y *mailq.Why, now time.Time) {
	fmt.Fprintf(w, "%s: %s.\n", y.Entry.ID, printable(y.Sentence))
	field := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-10s %s\n", name, fmt.Sprintf(format, args...))
	}
	if y.Recipient != "" {
		field("recipient", "%s", external(y.Recipient))
	}
	if y.Reason != "" {
		field("said", "%s %s", y.Status, printable(y.Reason))
	}
	if y.Transport != "" {
		field("goes by", "%s to %s", y.Transport, printable(y.NextHop))
	}
	if y.DeadUntil != nil {
		field("dead", "the destination is not tried until %s", until(*y.DeadUntil, now))
	}
	if y.Window > 0 && y.Busy >= y.Window {
		field("busy", "%d deliveries to the destination are under way, as many as there may be", y.Busy)
	}
	if y.Ahead > 0 {
		field("ahead", "%d messages wait for the same destination", y.Ahead)
	}
	if y.Next != nil {
		field("next try", "%s", until(*y.Next, now))
	}
	if y.Advice != "" {
		field("to do", "%s", y.Advice)
	}
}
