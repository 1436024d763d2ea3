package command

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"postern/internal/privsep"
)

// afterwards is how long the output of a program that has ended is waited for:
// what it started in the background may still hold the other end.
const afterwards = time.Second

// Direct is the Runner that starts programs as children of this process. As
// root it gives them any identity but that of root; otherwise only its own.
type Direct struct {
	As privsep.Runner // says who may be become; required
}

var _ Runner = Direct{}

// Run implements Runner.
func (d Direct) Run(ctx context.Context, s Spec, stdin *os.File) (Result, error) {
	defer stdin.Close()
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	if err := d.As.Do(s.As, func() error { return nil }); err != nil {
		return Result{}, err
	}
	// The parent of a process is a thread, and its end is what kills the program
	// (Pdeathsig): this one does nothing else until then.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	out, child, err := os.Pipe()
	if err != nil {
		return Result{}, err
	}
	defer out.Close()
	cmd, err := d.start(s, stdin, child)
	child.Close()
	stdin.Close()
	if err != nil {
		return Result{}, err
	}
	kept := collect(out, s.Output)
	g := &group{pid: cmd.Process.Pid}
	timedOut := g.watch(ctx, s.Limit)
	g.wait()
	state, err := cmd.Process.Wait()
	r := Result{TimedOut: timedOut(), Output: kept()}
	if err != nil {
		return r, err
	}
	r.Status = state.ExitCode()
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		r.Signal = int(status.Signal())
	}
	if !r.TimedOut && ctx.Err() != nil {
		return r, ctx.Err()
	}
	return r, nil
}

// start makes the child. Only its standard descriptors are open in it: all
// others of a Go program are closed at exec.
func (d Direct) start(s Spec, stdin, output *os.File) (*exec.Cmd, error) {
	if len(s.Argv) == 0 {
		return nil, &fs.PathError{Op: "exec", Path: "", Err: unix.ENOENT}
	}
	program, err := find(s.Argv[0], s.Env)
	if err != nil {
		return nil, err
	}
	// A program reads its input without expecting EAGAIN.
	if err := unix.SetNonblock(int(stdin.Fd()), false); err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{
		Path: program, Args: s.Argv, Env: s.Env, Dir: s.Dir,
		Stdin: stdin, Stdout: output, Stderr: output,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
	}
	if cmd.Env == nil {
		cmd.Env = []string{} // nil would be ours
	}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = credential(s.As)
	}
	return cmd, cmd.Start()
}

// credential sets the real, effective and saved ids: a process of root that
// calls setuid(2) gives up all three, and its capabilities with them.
func credential(id privsep.Identity) *syscall.Credential {
	c := &syscall.Credential{Uid: uint32(id.UID), Gid: uint32(id.GID), Groups: []uint32{uint32(id.GID)}}
	if len(id.Groups) > 0 {
		c.Groups = nil
		for _, g := range id.Groups {
			c.Groups = append(c.Groups, uint32(g))
		}
	}
	return c
}

// find is the file of a program: what contains a slash as it is, other names
// from PATH of the environment that the program gets. Whether it may be executed
// is for the kernel to say.
func find(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, variable := range env {
		list, ok := strings.CutPrefix(variable, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(list) {
			path := filepath.Join(dir, name)
			st, err := os.Stat(path)
			if filepath.IsAbs(dir) && err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
				return path, nil
			}
		}
	}
	return "", &fs.PathError{Op: "exec", Path: name, Err: unix.ENOENT}
}

// group is the process group of a running program. The id of a group may be
// used for another one as soon as the program is waited for, so it is killed
// only before that.
type group struct {
	pid   int
	mu    sync.Mutex
	ended bool
	done  chan struct{}
}

// watch kills the group when the limit is over, or ctx. The function it returns
// says, after wait, whether it was the limit.
func (g *group) watch(ctx context.Context, limit time.Duration) (timedOut func() bool) {
	g.done = make(chan struct{})
	finished := make(chan bool, 1)
	go func() {
		var over <-chan time.Time
		if limit > 0 {
			timer := time.NewTimer(limit)
			defer timer.Stop()
			over = timer.C
		}
		select {
		case <-g.done:
			finished <- false
		case <-over:
			finished <- g.kill()
		case <-ctx.Done():
			g.kill()
			finished <- false
		}
	}()
	return func() bool { return <-finished }
}

// kill reports whether the program was still running.
func (g *group) kill() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return false
	}
	unix.Kill(-g.pid, unix.SIGKILL)
	return true
}

// wait returns when the program has ended, and leaves its zombie.
func (g *group) wait() {
	for {
		err := unix.Waitid(unix.P_PID, g.pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	g.mu.Lock()
	g.ended = true
	g.mu.Unlock()
	close(g.done)
}

// collect reads all output and keeps the beginning. The function it returns is
// called when the program has ended; it gives what was kept.
func collect(out *os.File, limit int) (kept func() []byte) {
	result := make(chan []byte, 1)
	go func() {
		text, _ := io.ReadAll(io.LimitReader(out, int64(max(limit, 0))))
		io.Copy(io.Discard, out)
		result <- text
	}()
	return func() []byte {
		timer := time.AfterFunc(afterwards, func() { out.SetReadDeadline(time.Unix(1, 0)) })
		defer timer.Stop()
		return <-result
	}
}
