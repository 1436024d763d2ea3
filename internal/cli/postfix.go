package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"postern/internal/config"
	"postern/internal/control"
	"postern/internal/server"
)

const postfixUsage = "Usage: postfix start (or stop, reload, abort, flush, check, status, start-fg, version)"

// postfixTool is a run of postfix(1). Its exit status is 0 or 1.
type postfixTool struct {
	env      Env
	dir      string // absolute
	settings *config.Settings
}

// runPostfix is the command postfix. What it does is said on standard error and
// logged, under the name of Postfix's script.
func runPostfix(ctx context.Context, env Env) int {
	t := &postfixTool{env: env, dir: defaultDir(env)}
	opts, rest, err := getopt(env.Args[1:], "c:Dv", "")
	if err != nil {
		fmt.Fprintf(env.Stderr, "postfix: %v\n", err)
		return 1
	}
	for _, o := range opts {
		if o.letter == 'c' {
			t.dir = o.value
		}
	}
	if len(rest) != 1 {
		return t.fatal("%s", postfixUsage)
	}
	if t.dir, err = filepath.Abs(t.dir); err != nil {
		return t.fatal("%v", err)
	}
	return t.run(ctx, rest[0])
}

func (t *postfixTool) run(ctx context.Context, command string) int {
	if command == "version" {
		fmt.Fprintf(t.env.Stdout, "Postern %s\n", server.Version)
		return 0
	}
	commands := map[string]func(context.Context) int{
		"start": t.start, "start-fg": t.startForeground, "stop": t.stop, "abort": t.abort,
		"reload": t.reload, "flush": t.flush, "check": t.check, "status": t.status,
	}
	f, ok := commands[command]
	if !ok {
		return t.fatal("unknown command: '%s'. %s", printable(command), postfixUsage)
	}
	var err error
	if t.settings, err = server.LoadSettings(t.dir); t.settings == nil || err != nil && needsConfig(command) {
		return t.fatal("%v", err)
	}
	return f(ctx)
}

// needsConfig reports whether a command is refused when main.cf is broken; the
// others are for the server that runs on the old one.
func needsConfig(command string) bool {
	return slices.Contains([]string{"start", "start-fg", "check"}, command)
}

// say prints a line and logs it. A log that cannot be opened is passed over.
func (t *postfixTool) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	fmt.Fprintf(t.env.Stderr, "postfix/postfix-script: %s\n", text)
	if t.settings == nil {
		return
	}
	log := commandLog(t.settings)
	log.Program("postfix-script").Infof("%s", text)
	_ = log.Close() // it is a courtesy
}

func (t *postfixTool) fatal(format string, args ...any) int {
	t.say("fatal: "+format, args...)
	return 1
}

// running asks the server who it is. No server: control.ErrNoServer.
func (t *postfixTool) running(ctx context.Context) (server.Status, error) {
	var st server.Status
	resp, err := t.tell(ctx, "status")
	if err != nil {
		return st, err
	}
	return st, json.Unmarshal(resp.Data, &st)
}

// tell gives a command to the server.
func (t *postfixTool) tell(ctx context.Context, command string) (control.Response, error) {
	resp, err := control.Call(ctx, server.ControlSocket(t.settings), control.Request{Command: command})
	if errors.Is(err, fs.ErrPermission) {
		err = errNotYours
	}
	return resp, err
}

// notRunning says why a command found no server.
func (t *postfixTool) notRunning(err error) int {
	if errors.Is(err, control.ErrNoServer) {
		return t.fatal("the Postern mail system is not running")
	}
	return t.fatal("%v", err)
}

func (t *postfixTool) status(ctx context.Context) int {
	st, err := t.running(ctx)
	switch {
	case errors.Is(err, control.ErrNoServer):
		t.say("the Postern mail system is not running")
		return 1
	case err != nil:
		return t.fatal("%v", err)
	}
	t.say("the Postern mail system is running: PID: %d", st.PID)
	return 0
}

func (t *postfixTool) flush(ctx context.Context) int {
	if _, err := t.tell(ctx, "flush"); err != nil {
		if errors.Is(err, control.ErrNoServer) {
			return t.fatal("Cannot flush mail queue - mail system is down")
		}
		return t.fatal("%v", err)
	}
	return 0
}

func (t *postfixTool) reload(ctx context.Context) int {
	if _, err := t.running(ctx); err != nil {
		return t.notRunning(err)
	}
	t.say("refreshing the Postern mail system")
	resp, err := t.tell(ctx, "reload")
	for _, w := range resp.Warnings {
		fmt.Fprintf(t.env.Stderr, "postfix/postfix-script: warning: %s\n", printable(w))
	}
	if err != nil {
		return t.fatal("reload refused, the old configuration stays: %v", err)
	}
	return 0
}

// stopTime bounds the wait for transactions and deliveries under way.
const stopTime = 2 * time.Minute

func (t *postfixTool) stop(ctx context.Context) int {
	if _, err := t.running(ctx); err != nil {
		return t.notRunning(err)
	}
	t.say("stopping the Postern mail system")
	if _, err := t.tell(ctx, "stop"); err != nil {
		return t.fatal("%v", err)
	}
	return t.untilGone(ctx)
}

// abort ends the server without an orderly end, which loses nothing that was
// acknowledged.
func (t *postfixTool) abort(ctx context.Context) int {
	st, err := t.running(ctx)
	if err != nil {
		return t.notRunning(err)
	}
	t.say("aborting the Postern mail system")
	if err := syscall.Kill(st.PID, syscall.SIGKILL); err != nil {
		return t.fatal("end process %d: %v", st.PID, err)
	}
	return t.untilGone(ctx)
}

// untilGone waits until nobody holds the lock of the spool.
func (t *postfixTool) untilGone(ctx context.Context) int {
	ctx, cancel := context.WithTimeout(ctx, stopTime)
	defer cancel()
	for locked(filepath.Join(server.SpoolDirectory(t.settings), "lock")) {
		if !pause(ctx) {
			return t.fatal("the Postern mail system still finishes what it has begun")
		}
	}
	return 0
}

// locked reports whether a process holds the lock file. One that cannot be
// opened is held by nobody that we could wait for.
func locked(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// pause waits a moment between two looks; false: ctx has ended.
func pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(25 * time.Millisecond):
		return true
	}
}

// check says what a start or reload would refuse, and what is odd.
func (t *postfixTool) check(ctx context.Context) int {
	_, err := t.running(ctx)
	return t.examine(ctx, !errors.Is(err, control.ErrNoServer))
}

// examine says what is wrong with the configuration, a line for each.
func (t *postfixTool) examine(ctx context.Context, running bool) int {
	err := server.Check(ctx, t.settings, running, func(text string) {
		fmt.Fprintf(t.env.Stderr, "postfix: warning: %s\n", printable(text))
	})
	if err == nil {
		return 0
	}
	for line := range strings.Lines(err.Error()) {
		t.fatal("%s", strings.TrimSuffix(line, "\n"))
	}
	return 1
}

// fit examines the configuration before a start.
func (t *postfixTool) fit(ctx context.Context) bool {
	if t.examine(ctx, false) == 0 {
		return true
	}
	t.fatal("Postern integrity check failed!")
	return false
}

// startForeground runs the server in this process.
func (t *postfixTool) startForeground(ctx context.Context) int {
	if _, err := t.running(ctx); err == nil {
		return t.fatal("the Postern mail system is already running")
	}
	if !t.fit(ctx) {
		return 1
	}
	t.say("starting the Postern mail system")
	env := t.env
	env.Args = []string{"postern", "serve", "-c", t.dir}
	return execute(ctx, env)
}
