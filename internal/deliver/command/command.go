// Package command runs programs for the delivery agents: |command of aliases
// and .forward files, mailbox_command, and the pipe transport.
//
// A program runs as the identity it was given and as nobody else: with its
// user, group and supplementary groups as real, effective and saved ids, with
// no privilege left, in a process group of its own, with an environment that is
// given in full, its input a file, and its output collected up to a limit. When
// the time limit is over, the whole group is killed.
//
// Direct runs programs as children of this process; the client of the helper
// process has it do that. Feed writes a message to a program, Argv decides when a
// shell is needed, and Status makes a delivery status of how a program ended:
// sysexits.h, or an enhanced status code at the start of what it said.
//
// Limits: the output of what a program leaves in the background is waited for a
// second, then it loses its standard output. Such children are not killed, unless
// the time limit is over before the program has ended. When this process is
// killed, so is the program; what that one has started only loses its input and
// output. The file mode mask is that of this process: postern serve and the helper
// set 077, which is what programs get from Postfix.
//
// It imports deliver, privsep and golang.org/x/sys/unix.
package command

import (
	"context"
	"os"
	"time"

	"postern/internal/privsep"
)

// Spec is a program to run.
type Spec struct {
	As privsep.Identity
	// Argv is the program, an absolute path or a name that is looked up in PATH
	// of Env, and its arguments. Nothing is given to a shell unless Argv says
	// so.
	Argv  []string
	Env   []string // NAME=value, in full
	Dir   string   // working directory, absolute
	Limit time.Duration
	// Output bounds what is kept of standard output and standard error, which
	// are one stream; the rest is read and dropped.
	Output int
}

// Result is how a program ended.
type Result struct {
	Status   int    // exit status; -1 when a signal ended it
	Signal   int    // 0: none
	TimedOut bool   // it was killed after Spec.Limit
	Output   []byte // the beginning of what it said
}

// Runner runs programs. The error says that the program could not be started
// at all; it wraps privsep.ErrRoot or privsep.ErrNotRoot, or is the system's.
// Run closes stdin. The end of ctx kills the program.
type Runner interface {
	Run(ctx context.Context, s Spec, stdin *os.File) (Result, error)
}
