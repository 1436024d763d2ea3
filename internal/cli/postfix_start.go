package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"postern/internal/control"
	"postern/internal/server"
)

// start runs the server, if the configuration is fit for it, in the background, in a session of its own, and waits
// until it answers or has ended. What it says before it logs, and if it panics,
// goes to $queue_directory/postern/start.log.
func (t *postfixTool) start(ctx context.Context) int {
	switch _, err := t.running(ctx); {
	case err == nil:
		return t.fatal("the Postern mail system is already running")
	case !errors.Is(err, control.ErrNoServer):
		return t.fatal("%v", err)
	}
	if !t.fit(ctx) {
		return 1
	}
	t.say("starting the Postern mail system")
	if err := t.background(ctx); err != nil {
		return t.fatal("%v", err)
	}
	return 0
}

func (t *postfixTool) background(ctx context.Context) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	dir := filepath.Dir(server.SpoolDirectory(t.settings))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("queue_directory: %w", err)
	}
	log, err := os.OpenFile(filepath.Join(dir, "start.log"), os.O_CREATE|os.O_RDWR|os.O_TRUNC|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("queue_directory: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(program, "serve", "-c", t.dir)
	// By the name postern, whatever name this was called by.
	cmd.Args[0] = "postern"
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // what it said tells more than its exit status
		close(ended)
	}()
	for {
		if _, err := t.running(ctx); err == nil {
			return nil
		}
		select {
		case <-ended:
			return errors.New(lastWords(log))
		default:
		}
		if !pause(ctx) {
			_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
			<-ended
			return ctx.Err()
		}
	}
}

// maxWords is how much of what a server said before its end is shown.
const maxWords = 16 << 10

// lastWords is what a server said that did not come up.
func lastWords(log *os.File) string {
	text, err := io.ReadAll(io.NewSectionReader(log, 0, maxWords))
	text = bytes.TrimSpace(text)
	if err != nil || len(text) == 0 {
		return "the server ended without a word"
	}
	lines := strings.Split(string(text), "\n")
	last := strings.TrimPrefix(lines[len(lines)-1], "postern: ")
	if len(lines) == 1 || strings.HasPrefix(lines[len(lines)-1], "postern: ") {
		return last
	}
	return string(text)
}
