package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"postern/internal/control"
	"postern/internal/control/mailq"
)

const postsuperUsage = "usage: postsuper [-c config_dir] [-d queue_id (delete)] [-e queue_id (expire)] " +
	"[-f queue_id (expire and/or un-hold)] [-h queue_id (hold)] [-H queue_id (un-hold)] [-p (purge temporary files)] " +
	"[-r queue_id (requeue)] [-s (structure fix)] [-S (redundant structure fix)][-v (verbose)] [queue...]"

// postsuperAction is what a flag of postsuper(1) does: actions on messages of
// these queues, unless the command line names others.
type postsuperAction struct {
	flag   byte
	action string
	queues []string
}

// postsuperActions are in the order in which they are done. -f is -e for
// everything and then -H for what was on hold.
var postsuperActions = []postsuperAction{
	{'d', "delete", []string{"hold", "incoming", "active", "deferred", "maildrop"}},
	{'e', "expire", []string{"hold", "incoming", "active", "deferred"}},
	{'f', "expire", []string{"hold", "incoming", "active", "deferred"}},
	{'h', "hold", []string{"incoming", "active", "deferred"}},
	{'f', "release", []string{"hold"}},
	{'H', "release", []string{"hold"}},
	{'r', "requeue", []string{"hold", "incoming", "active", "deferred"}},
}

// postsuperQueues are directories of Postfix's queue; those without messages of
// ours are accepted and are empty.
var postsuperQueues = []string{"incoming", "active", "deferred", "hold", "maildrop", "corrupt", "bounce", "defer", "trace", "flush", "saved"}

// idBatch is how many queue ids go into one request.
const idBatch = 10000

// postsuperTool is a run of postsuper(1).
type postsuperTool struct {
	env    Env
	dir    string
	given  map[byte]bool     // flags, those without a single good id too
	ids    map[byte][]string // by flag
	all    map[byte]bool
	queues []string // named on the command line
	system *mailSystem
}

// runPostsuper is the command postsuper. Flags -p, -s and -S have nothing to do:
// the spool has no files that could lie in the wrong place.
func runPostsuper(ctx context.Context, env Env) int {
	t := &postsuperTool{env: env, dir: defaultDir(env), given: map[byte]bool{}, ids: map[byte][]string{}, all: map[byte]bool{}}
	err := t.parse()
	if err == nil {
		err = t.run(ctx)
	}
	var told *control.Error
	switch {
	case err == nil:
		return 0
	case errors.Is(err, fs.ErrPermission), errors.As(err, &told) && told.Code == control.Denied:
		err = errors.New("use of this command is reserved for the superuser")
	}
	fmt.Fprintf(env.Stderr, "postsuper: fatal: %v\n", err)
	return 1
}

func (t *postsuperTool) parse() error {
	opts, rest, err := getopt(t.env.Args[1:], "c:d:e:f:h:H:pr:sSv", "")
	if err != nil {
		fmt.Fprintf(t.env.Stderr, "postsuper: %v\n", err)
		return errors.New(postsuperUsage)
	}
	for _, o := range opts {
		switch o.letter {
		case 'c':
			t.dir = o.value
		case 'p', 's', 'S', 'v':
		default:
			if err := t.choose(o.letter, o.value); err != nil {
				return err
			}
		}
	}
	for _, q := range rest {
		if !slices.Contains(postsuperQueues, q) {
			return fmt.Errorf("invalid directory name: %s", q)
		}
	}
	t.queues = rest
	return nil
}

// choose adds the messages of one flag: an id, ALL, or "-" for ids from the
// standard input.
func (t *postsuperTool) choose(flag byte, value string) error {
	t.given[flag] = true
	switch value {
	case "ALL":
		t.all[flag] = true
		return nil
	case "-":
		lines := bufio.NewScanner(t.env.Stdin)
		for lines.Scan() {
			t.add(flag, strings.TrimSpace(lines.Text()))
		}
		return lines.Err()
	}
	t.add(flag, value)
	return nil
}

func (t *postsuperTool) add(flag byte, id string) {
	if !idLike(id) {
		fmt.Fprintf(t.env.Stderr, "postsuper: warning: invalid mail queue id: %s\n", printable(id))
		return
	}
	t.ids[flag] = append(t.ids[flag], id)
}

func (t *postsuperTool) run(ctx context.Context) (err error) {
	if t.system, err = findMailSystem(t.dir); err != nil {
		return err
	}
	t.system.direct = true
	defer func() { err = errors.Join(err, t.system.close()) }()
	for _, a := range postsuperActions {
		if t.given[a.flag] {
			if err := t.do(ctx, a); err != nil {
				return err
			}
		}
	}
	return nil
}

// do carries out one action and says what was done. Ids are told one by one, ALL
// only as a sum.
func (t *postsuperTool) do(ctx context.Context, a postsuperAction) error {
	queues := a.queues
	if len(t.queues) > 0 {
		queues = slices.DeleteFunc(slices.Clone(t.queues), func(q string) bool { return !slices.Contains(a.queues, q) })
	}
	count := 0
	order := mailq.Order{Action: a.action, Filter: mailq.Filter{States: queues}}
	if len(queues) > 0 && t.all[a.flag] {
		n, err := t.system.apply(ctx, order, control.Sink{})
		if err != nil {
			return err
		}
		count += n
	}
	order.Each = true
	for ids := range slices.Chunk(t.ids[a.flag], idBatch) {
		if len(queues) == 0 {
			break
		}
		order.Filter.IDs = ids
		n, err := t.system.apply(ctx, order, control.Sink{Item: func(raw json.RawMessage) error {
			var id string
			if err := json.Unmarshal(raw, &id); err != nil {
				return err
			}
			fmt.Fprintf(t.env.Stderr, "postsuper: %s: %s\n", id, mailq.Word(a.action))
			return nil
		}})
		count += n
		if err != nil {
			return err
		}
	}
	fmt.Fprintf(t.env.Stderr, "postsuper: %s\n", mailq.Summary(a.action, count))
	return nil
}
