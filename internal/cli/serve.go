package cli

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"postern/internal/helper"
	"postern/internal/server"
)

// newServe runs the server in the foreground. SIGHUP reloads, SIGTERM and
// SIGINT stop it. Started by root it stays behind as the helper of the server
// process, which it starts with the same arguments.
func newServe(env Env) *cobra.Command {
	cmd := &cobra.Command{Use: "serve", Short: "Run the mail server in the foreground", Args: noArguments}
	dir := configDir(cmd, env)
	tty := cmd.Flags().Bool("log-stderr", false, "log to standard error, whatever maillog_file says")
	hints := cmd.Flags().Bool("hints", false, "print what to try once the server is ready")
	strict := cmd.Flags().Bool("strict", false, "refuse to start, or to reload, with a configuration in which check finds an error")
	helperFD := cmd.Flags().Int("helper", 0, "descriptor of the helper's socket, in a process that the helper has started")
	if err := cmd.Flags().MarkHidden("helper"); err != nil {
		panic(err)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		abs, err := filepath.Abs(*dir)
		if err != nil {
			return err
		}
		hup := make(chan os.Signal, 1)
		signal.Notify(hup, syscall.SIGHUP)
		defer signal.Stop(hup)
		o := server.Options{Dir: abs, LogToTTY: *tty, HelperFD: *helperFD, Reload: hup}
		if o.HelperFD == 0 {
			if !cmd.Flags().Changed("config") && env.Getenv("MAIL_CONFIG") == "" {
				fmt.Fprintf(env.Stderr, "postern: the configuration is %s; -c DIR names another\n", abs)
			}
			say := env.Stderr
			if *tty {
				say = nil // who reads the log there has it
			}
			o.Examine = examine(abs, *strict, say)
			separated, err := server.Separated(abs)
			if err != nil {
				return err
			}
			if separated {
				return supervise(cmd, o, env, hup)
			}
		}
		o.Ready = func(addresses []string) {
			if *hints {
				printHints(env.Stdout, *dir, addresses)
				return
			}
			for _, a := range addresses {
				fmt.Fprintf(env.Stderr, "postern: listening on %s\n", a)
			}
		}
		syscall.Umask(0o077) // of commands too, as Postfix has it
		return server.Run(cmd.Context(), o)
	}
	return cmd
}

// supervise runs the server in a process of its own and ends with its status.
// What went wrong there has been said there, unless a signal has ended it.
func supervise(cmd *cobra.Command, o server.Options, env Env, hup <-chan os.Signal) error {
	args := append(slices.Clone(env.Args[1:]), "--helper", strconv.Itoa(helper.ControlFD))
	err := server.Supervise(cmd.Context(), o, args, hup)
	var exit *helper.ExitError
	if errors.As(err, &exit) {
		if exit.Signal != 0 {
			fmt.Fprintf(env.Stderr, "postern: %v\n", exit)
		}
		return status(exit.Status)
	}
	return err
}
