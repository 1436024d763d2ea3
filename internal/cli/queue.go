package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/internal/control"
	"postern/internal/control/mailq"
)

// newQueue is the group of commands that look at the queue and put it in order.
func newQueue(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use: "queue", Short: "Look at the queue, and put it in order",
		Long: `Messages are chosen by their queue ids, or by filters; those that meet all of
them. A change without ids and filters needs --all.`,
		RunE: func(_ *cobra.Command, args []string) error {
			text := "queue needs a command: list, show, why, flush, retry, hold, release, bounce, delete, requeue"
			if len(args) > 0 {
				text = fmt.Sprintf("unknown command %q: %s", args[0], text)
			}
			return usageError{text}
		},
	}
	t := &queueTool{env: env}
	t.dir = cmd.PersistentFlags().StringP("config", "c", defaultDir(env), "configuration directory")
	cmd.AddCommand(t.newList(), t.newShow(), t.newWhy(), t.newFlush(),
		t.newChange("retry", "retry", "Try to deliver now", false),
		t.newChange("hold", "hold", "Do not deliver until released", false),
		t.newChange("release", "release", "Deliver again what was put on hold", false),
		t.newChange("bounce", "bounce", "Return to the sender after one more try, what is on hold too", true),
		t.newChange("delete", "delete", "Forget: nobody is told", true),
		t.newChange("requeue", "requeue", "Expand the recipients anew, under a new queue id", false))
	return cmd
}

// queueTool is what the commands of the group share.
type queueTool struct {
	env Env
	dir *string
}

// open finds the queue. The spool itself is looked into when no server runs.
func (t *queueTool) open(public bool) (*mailSystem, error) {
	m, err := findMailSystem(*t.dir)
	if err != nil {
		return nil, err
	}
	m.public, m.direct = public, true
	m.warn = func(format string, args ...any) { fmt.Fprintf(t.env.Stderr, "postern: warning: "+format+"\n", args...) }
	return m, nil
}

// exit says what went wrong and returns its exit status: 69 the queue cannot be
// reached, 77 not for this user, 1 anything else.
func (t *queueTool) exit(err error) error {
	var told *control.Error
	st := status(1)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, control.ErrNoServer):
		st = exUnavailable
	case errors.Is(err, fs.ErrPermission):
		st, err = exNoPerm, errNotYours
	case errors.As(err, &told) && told.Code == control.Denied:
		st = exNoPerm
	case errors.As(err, &told) && told.Code == control.Refused:
		st = exUnavailable
	}
	fmt.Fprintf(t.env.Stderr, "postern: %v\n", err)
	return st
}

// filterFlags are the flags that choose messages.
type filterFlags struct {
	sender, recipient, domain, reason, older, younger string
	states                                            []string
}

func (f *filterFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.sender, "sender", "", "sender: an address, @domain, or <> for the null sender")
	flags.StringVar(&f.recipient, "recipient", "", "a recipient that still waits: an address, or @domain")
	flags.StringVar(&f.domain, "domain", "", "domain of a recipient that still waits")
	flags.StringVar(&f.reason, "reason", "", "part of the reason why it waits")
	flags.StringVar(&f.older, "older", "", "at least that old: 30m, 2h, 3d")
	flags.StringVar(&f.younger, "younger", "", "less than that old")
	flags.StringSliceVar(&f.states, "state", nil, "incoming, active, deferred, hold or maildrop")
}

// filter makes the filter of the flags and of the ids that were given.
func (f *filterFlags) filter(ids []string) (mailq.Filter, error) {
	out := mailq.Filter{Sender: f.sender, Recipient: f.recipient, Domain: f.domain, Reason: f.reason, States: f.states}
	for _, id := range ids {
		if !idLike(id) {
			return out, usageError{fmt.Sprintf("%q is no queue id", id)}
		}
		out.IDs = append(out.IDs, strings.ToUpper(id))
	}
	for _, s := range f.states {
		if err := mailq.CheckState(s); err != nil {
			return out, usageError{err.Error()}
		}
	}
	var err error
	if out.Older, err = parseAge(f.older); err != nil {
		return out, usageError{"--older: " + err.Error()}
	}
	if out.Younger, err = parseAge(f.younger); err != nil {
		return out, usageError{"--younger: " + err.Error()}
	}
	return out, nil
}

// empty reports whether neither ids nor filters were given.
func empty(f *mailq.Filter) bool {
	return len(f.IDs) == 0 && f.Sender == "" && f.Recipient == "" && f.Domain == "" && f.Reason == "" &&
		f.Older == 0 && f.Younger == 0 && len(f.States) == 0
}

// parseAge reads a time as main.cf has them: a number and s, m, h, d or w; a
// number alone is seconds.
func parseAge(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	unit := time.Second
	digits := text
	switch text[len(text)-1] {
	case 's', 'S':
		digits = text[:len(text)-1]
	case 'm', 'M':
		unit, digits = time.Minute, text[:len(text)-1]
	case 'h', 'H':
		unit, digits = time.Hour, text[:len(text)-1]
	case 'd', 'D':
		unit, digits = 24*time.Hour, text[:len(text)-1]
	case 'w', 'W':
		unit, digits = 7*24*time.Hour, text[:len(text)-1]
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || n > uint64(1<<62/unit) {
		return 0, fmt.Errorf("%q is no time: write 90s, 30m, 2h, 3d or 1w", text)
	}
	return time.Duration(n) * unit, nil
}

func (t *queueTool) newFlush() *cobra.Command {
	cmd := &cobra.Command{Use: "flush [DOMAIN]", Short: "Try all deferred mail now, or that for a domain"}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			return usageError{"flush takes one domain"}
		}
		return t.exit(t.flush(cmd.Context(), args))
	}
	return cmd
}

func (t *queueTool) flush(ctx context.Context, args []string) error {
	m, err := t.open(true)
	if err != nil {
		return err
	}
	m.direct = false
	resp, err := m.stream(ctx, "queue.flush", nil, control.Sink{}, args...)
	if err == nil {
		fmt.Fprintln(t.env.Stdout, resp.Text)
	}
	return err
}

// ask puts a question about one message and decodes the answer into v.
func (t *queueTool) ask(ctx context.Context, command, id string, v any) (err error) {
	m, err := t.open(false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	resp, err := m.stream(ctx, command, nil, control.Sink{}, strings.ToUpper(id))
	if err != nil {
		return err
	}
	return json.Unmarshal(resp.Data, v)
}
