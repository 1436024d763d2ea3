package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"postern/internal/control"
	"postern/internal/control/mailq"
)

// exNoPerm is the exit status for a user who may not (sysexits(3)).
const exNoPerm = 77

const postqueueUsage = "usage: postqueue -f | postqueue -i queueid | postqueue -j | postqueue -p | postqueue -s site"

// words is an error in Postfix's own words, which programs may look for.
type words string

func (w words) Error() string { return string(w) }

// postqueueTool is a run of postqueue(1). Every failure but a lack of permission
// has exit status 69, as there.
type postqueueTool struct {
	env   Env
	mode  byte // f, i, j, p, s; 0: none
	value string
	dir   string
}

// runPostqueue is the command postqueue.
func runPostqueue(ctx context.Context, env Env) int {
	t, err := parsePostqueue(env)
	if err != nil {
		return t.fail(exUnavailable, err)
	}
	return t.run(ctx)
}

func parsePostqueue(env Env) (*postqueueTool, error) {
	t := &postqueueTool{env: env, dir: defaultDir(env)}
	opts, rest, err := getopt(env.Args[1:], "c:fi:jps:v", "")
	if err != nil {
		fmt.Fprintf(env.Stderr, "postqueue: %v\n", err)
		return t, errors.New(postqueueUsage)
	}
	for _, o := range opts {
		switch o.letter {
		case 'c':
			t.dir = o.value
		case 'v':
		default:
			if t.mode != 0 {
				return t, errors.New(postqueueUsage)
			}
			t.mode, t.value = o.letter, o.value
		}
	}
	if t.mode == 0 || len(rest) > 0 {
		return t, errors.New(postqueueUsage)
	}
	return t, nil
}

func (t *postqueueTool) fail(status int, err error) int {
	fmt.Fprintf(t.env.Stderr, "postqueue: fatal: %v\n", err)
	return status
}

func (t *postqueueTool) run(ctx context.Context) int {
	m, err := findMailSystem(t.dir)
	if err != nil {
		return t.fail(exUnavailable, err)
	}
	defer m.close()
	m.public = true
	verb := "flush"
	switch t.mode {
	case 'p', 'j':
		verb = "view"
		m.direct = true
		m.warn = func(format string, args ...any) {
			fmt.Fprintf(t.env.Stderr, "postqueue: warning: "+format+"\n", args...)
		}
		err = t.list(ctx, m)
	default:
		err = t.flush(ctx, m)
	}
	var told *control.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &told) && told.Code == control.Denied:
		return t.fail(exNoPerm, err)
	case errors.Is(err, control.ErrNoServer), errors.Is(err, fs.ErrPermission):
		if verb == "view" {
			return t.fail(exUnavailable, words("Queue report unavailable - mail system is down"))
		}
		return t.fail(exUnavailable, words("Cannot flush mail queue - mail system is down"))
	}
	return t.fail(exUnavailable, err)
}

// list is postqueue -p and -j. Lines appear as they come, not one by one.
func (t *postqueueTool) list(ctx context.Context, m *mailSystem) error {
	w := bufio.NewWriter(t.env.Stdout)
	p := &mailqPrinter{w: w}
	err := m.list(ctx, mailq.Filter{}, func(e *mailq.Entry) error {
		switch {
		case e.Error != "":
			fmt.Fprintf(t.env.Stderr, "postqueue: warning: %s: %s\n", e.ID, e.Error)
			return nil
		case t.mode == 'j':
			return writeMailqJSON(w, e)
		}
		return p.entry(e)
	})
	if err == nil && t.mode == 'p' {
		err = p.end()
	}
	return errors.Join(err, w.Flush())
}

// flush is postqueue -f, -i and -s.
func (t *postqueueTool) flush(ctx context.Context, m *mailSystem) error {
	var err error
	switch t.mode {
	case 'f':
		_, err = m.stream(ctx, "queue.flush", nil, control.Sink{})
	case 'i':
		if !idLike(t.value) {
			return words(fmt.Sprintf("Cannot flush queue ID - invalid name: \"%.100s\"", t.value))
		}
		_, err = m.stream(ctx, "queue.flush-message", nil, control.Sink{}, t.value)
	case 's':
		if !siteLike(t.value) {
			return words(fmt.Sprintf("Cannot flush mail queue - invalid destination: \"%.100s\"", t.value))
		}
		_, err = m.stream(ctx, "queue.flush", nil, control.Sink{}, t.value)
	}
	return err
}

// idLike reports whether a word could be a queue id, ours or Postfix's.
func idLike(s string) bool {
	return s != "" && len(s) <= 100 && strings.Trim(strings.ToLower(s), "0123456789abcdefghijklmnopqrstuvwxyz") == ""
}

// siteLike reports whether a word could be a destination: a host name, or one or
// an address in brackets.
func siteLike(s string) bool {
	if inner, ok := strings.CutPrefix(s, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		return ok && inner != "" && strings.Trim(strings.ToLower(inner), "abcdefghijklmnopqrstuvwxyz0123456789.:-") == ""
	}
	for _, c := range []byte(s) {
		if c < 0x80 && !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-", rune(c)) {
			return false
		}
	}
	return s != "" && s[0] != '.' && s[0] != '-'
}
