package helper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"postern/internal/privsep"
)

// ControlFD is the descriptor of the control socket in the server process.
const ControlFD = 3

// patience is how long requests may take to end when the server has ended.
const patience = 2 * time.Second

// Process is the server process that a helper starts.
type Process struct {
	Path string           // of the program
	Args []string         // with its name
	Env  []string         // nil: that of the helper
	As   privsep.Identity // mail_owner
	// Lock stays open in both processes: a lock of it ends with the last one.
	Lock *os.File
}

// ExitError is a server that has not ended well.
type ExitError struct {
	Status int // of the process; 128 and the signal, as shells have it
	Signal int // that has ended it; 0: none
}

func (e *ExitError) Error() string {
	if e.Signal != 0 {
		return fmt.Sprintf("the server process was ended by signal %d", e.Signal)
	}
	return fmt.Sprintf("the server process ended with status %d", e.Status)
}

// Supervise starts the server process as its own user, with no way to more
// rights, and does what it asks for until it ends: a nil error says that it
// ended well, an *ExitError that it did not. Signals are passed on; the end of
// ctx is a SIGTERM.
func Supervise(ctx context.Context, o Options, p Process, signals <-chan os.Signal) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	h, err := New(pair[0], o)
	if err != nil {
		unix.Close(pair[1])
		return err
	}
	theirs := os.NewFile(uintptr(pair[1]), "control")
	started, ended := make(chan *os.Process), make(chan error, 1)
	// The parent of a process is a thread: the signal of its death would come
	// when this one ends, and what it has given up for the child is lost to it.
	go func() {
		runtime.LockOSThread()
		ended <- p.run(theirs, started)
	}()
	var child *os.Process
	select {
	case child = <-started:
	case err := <-ended:
		return err
	}
	// Commands get this mask, as Postfix has it; the server has started with ours.
	defer unix.Umask(unix.Umask(0o077))
	serving := make(chan error, 1)
	serveCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	go func() { serving <- h.Serve(serveCtx) }()
	err = relay(ctx, child, signals, ended)
	stop()
	select {
	case <-serving:
	case <-time.After(patience):
	}
	return err
}

// run is the life of the server process. The thread that calls it is not used
// for anything else.
func (p *Process) run(control *os.File, started chan<- *os.Process) error {
	defer control.Close()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl(PR_SET_NO_NEW_PRIVS): %w", err)
	}
	groups := []uint32{uint32(p.As.GID)}
	for _, g := range p.As.Groups {
		if g != p.As.GID {
			groups = append(groups, uint32(g))
		}
	}
	cmd := exec.Cmd{
		Path: p.Path, Args: p.Args, Env: p.Env, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		ExtraFiles: []*os.File{control, p.Lock},
		SysProcAttr: &syscall.SysProcAttr{
			Credential: &syscall.Credential{Uid: uint32(p.As.UID), Gid: uint32(p.As.GID), Groups: groups},
			Pdeathsig:  syscall.SIGTERM,
		},
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the server process as %s, who needs the right to execute this program: %w", p.As, err)
	}
	control.Close()
	started <- cmd.Process
	err := cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return &ExitError{Status: 128 + int(status.Signal()), Signal: int(status.Signal())}
	}
	return &ExitError{Status: exit.ExitCode()}
}

// relay passes signals on until the process has ended.
func relay(ctx context.Context, child *os.Process, signals <-chan os.Signal, ended <-chan error) error {
	stop := ctx.Done()
	for {
		select {
		case err := <-ended:
			return err
		case s := <-signals:
			_ = child.Signal(s) // a process that has ended says so above
		case <-stop:
			_ = child.Signal(syscall.SIGTERM)
			stop = nil
		}
	}
}
