package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"postern/internal/control"
	"postern/internal/control/mailq"
)

// newChange is a command that does something to messages. One that cannot be
// taken back asks first, unless it is for messages that were named.
func (t *queueTool) newChange(name, action, short string, destructive bool) *cobra.Command {
	var flags filterFlags
	cmd := &cobra.Command{Use: name + " [ID...]", Short: short}
	flags.add(cmd)
	all := cmd.Flags().Bool("all", false, "all messages")
	yes := false
	if destructive {
		cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f, err := flags.filter(args)
		if err != nil {
			return err
		}
		switch {
		case empty(&f) && !*all:
			return usageError{name + ": name messages by id or by a filter, or say --all"}
		case !empty(&f) && *all:
			return usageError{name + ": --all does not go with ids and filters"}
		}
		return t.exit(t.change(cmd.Context(), name, mailq.Order{Action: action, Filter: f},
			destructive && !yes && len(f.IDs) == 0))
	}
	return cmd
}

// errDeclined is the answer no.
var errDeclined = errors.New("nothing was done")

func (t *queueTool) change(ctx context.Context, name string, o mailq.Order, ask bool) (err error) {
	m, err := t.open(false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	if ask {
		if err := t.confirm(ctx, m, name, o); err != nil {
			return err
		}
	}
	bar := newBuildBar(t.env.Stderr, name, "")
	n, err := m.apply(ctx, o, control.Sink{Progress: func(p control.Progress) {
		if p.Total > 0 {
			bar.progress(float64(p.Done) / float64(p.Total))
		}
	}})
	bar.end(err)
	if err == nil || n > 0 {
		fmt.Fprintf(t.env.Stdout, "%s\n", mailq.Summary(o.Action, n))
	}
	if err == nil && n < len(o.Filter.IDs) {
		return fmt.Errorf("%d of %d: the others are not in the queue, or there was nothing to do", n, len(o.Filter.IDs))
	}
	return err
}

// confirm counts the messages, and asks when there are more than one. Those in the
// maildrop can be deleted only.
func (t *queueTool) confirm(ctx context.Context, m *mailSystem, name string, o mailq.Order) error {
	n := 0
	count := func(e *mailq.Entry) error {
		if e.State != mailq.StateMaildrop || o.Action == "delete" {
			n++
		}
		return nil
	}
	if err := m.list(ctx, o.Filter, count); err != nil {
		return err
	}
	if n <= 1 {
		return nil
	}
	fmt.Fprintf(t.env.Stderr, "%s %d messages? [y/N] ", name, n)
	answer, err := bufio.NewReader(t.env.Stdin).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	case "":
		if err != nil {
			fmt.Fprintln(t.env.Stderr)
			return fmt.Errorf("%w: say --yes where nobody can answer", errDeclined)
		}
	}
	return errDeclined
}
