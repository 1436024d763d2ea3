package command

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"postern/internal/privsep"
)

// runnerOf makes this program a process that runs one command: the value is a
// named pipe, which the command keeps open.
const runnerOf = "POSTERN_TEST_RUNNER"

func TestMain(m *testing.M) {
	fifo := os.Getenv(runnerOf)
	if fifo == "" {
		os.Exit(m.Run())
	}
	unix.Umask(0o077)
	// The first command has ended when the second one starts: it is the thread of
	// the second that counts.
	for _, script := range []string{"true", "exec >" + fifo + "; umask; exec sleep 987653"} {
		input, err := os.Open(os.DevNull)
		if err != nil {
			panic(err)
		}
		if _, err := (Direct{privsep.New()}).Run(context.Background(), sh(script), input); err != nil {
			panic(err)
		}
	}
}

// TestRunnerKilled: a process that is killed leaves no running command, and the
// file mode mask of a command is that of the process.
func TestRunnerKilled(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "alive")
	if err := errors.Join(unix.Mkfifo(fifo, 0o622), os.Chmod(fifo, 0o622), os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	runner := exec.Command(program)
	runner.Env, runner.Stderr = append(os.Environ(), runnerOf+"="+fifo), os.Stderr
	if err := runner.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runner.Wait()
		// One that has failed has opened nothing: nobody is to wait for that.
		if f, err := os.OpenFile(fifo, os.O_WRONLY|unix.O_NONBLOCK, 0); err == nil {
			f.Close()
		}
	}()
	alive, err := os.Open(fifo) // returns when the command has opened it too
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Close()
	out := bufio.NewReader(alive)
	if mask, err := out.ReadString('\n'); err != nil || mask != "0077\n" {
		t.Errorf("umask %q, %v", mask, err)
	}
	if err := runner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-ended
	if rest, err := io.ReadAll(out); err != nil || len(rest) > 0 { // the end comes with the end of the command
		t.Errorf("the command said %q, %v", rest, err)
	}
}
