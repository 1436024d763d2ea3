// Package cli is the command line: one file per command. Called by a Postfix
// name (postfix, sendmail, postqueue, postmap), or with that name as its first
// argument, the program behaves as that program; these have historic flags and
// parse them themselves. All others are subcommands of postern.
//
// Commands about the queue ask the running server by its sockets (see control),
// and look into the spool themselves when none runs. Exit status 69 says that the
// mail system cannot be reached, 77 that this user may not, 64 a wrong call; the
// Postfix programs keep their own.
//
// It imports server, explain and what the commands are made of.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"postern/internal/server"
)

// Env is the world of a command.
type Env struct {
	Args           []string // with the program's name
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
}

// status is an error that is only an exit status: the command has said all
// there is to say.
type status int

func (s status) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// usageError is a wrong call.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

// commands are the Postfix programs that this one stands in for.
var commands = map[string]func(context.Context, Env) int{
	"sendmail":   sendmail,
	"postconf":   postconf,
	"postmap":    postmap,
	"postalias":  postalias,
	"newaliases": newaliases,
	"postqueue":  runPostqueue,
	"mailq":      runMailq,
	"postsuper":  runPostsuper,
	"postcat":    runPostcat,
	"qshape":     runQshape,
	"postfix":    runPostfix,
}

// Main runs the command that the arguments name and returns its exit status.
func Main(env Env) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	name := filepath.Base(env.Args[0])
	if run, ok := commands[name]; ok {
		return run(ctx, env)
	}
	if len(env.Args) > 1 {
		if run, ok := commands[env.Args[1]]; ok {
			env.Args = env.Args[1:]
			return run(ctx, env)
		}
	}
	return execute(ctx, env)
}

// execute runs a subcommand of postern.
func execute(ctx context.Context, env Env) int {
	root := newRoot(env)
	root.SetArgs(env.Args[1:])
	err := root.ExecuteContext(ctx)
	var st status
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &st):
		return int(st)
	case errors.As(err, &usage):
		fmt.Fprintf(env.Stderr, "postern: %v\n", err)
		return 64
	}
	fmt.Fprintf(env.Stderr, "postern: %v\n", err)
	return 1
}

func newRoot(env Env) *cobra.Command {
	root := &cobra.Command{
		Use:   "postern",
		Short: "A mail server for virtual domains that reads a Postfix configuration",
		Long: `Postern is a mail server for virtual domains. It reads a Postfix configuration
directory as it stands and does what Postfix does with it, and it can say why.

The Postfix commands postfix, sendmail, mailq, postqueue, postsuper, postcat,
qshape, postconf, postmap, postalias and newaliases are subcommands too, with
their own flags: "postern postmap -q KEY TYPE:NAME".`,
		SilenceUsage: true, SilenceErrors: true, Version: server.Version,
	}
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err.Error()} })
	root.AddCommand(newServe(env), newInit(env), newExplain(env), newCheck(env), newPlan(env), newQueue(env),
		newControl(env, "reload", "Read the configuration again; a broken one is refused and the old one stays"),
		newControl(env, "flush", "Try to deliver all deferred mail now"),
		newControl(env, "stop", "End the running server; open transactions are finished"),
		newControl(env, "status", "Say whether the server runs"))
	return root
}

// configDir adds the flag -c: the configuration directory, by default that of
// MAIL_CONFIG or /etc/postfix.
func configDir(cmd *cobra.Command, env Env) *string {
	return cmd.Flags().StringP("config", "c", defaultDir(env), "configuration directory")
}

func defaultDir(env Env) string {
	if dir := env.Getenv("MAIL_CONFIG"); dir != "" {
		return dir
	}
	return "/etc/postfix"
}

// noArguments refuses stray words.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Sprintf("%s takes no argument, got %q", cmd.Name(), args[0])}
	}
	return nil
}
