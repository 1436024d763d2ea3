package cli

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"postern/internal/server"
)

// newServe runs the server in the foreground. SIGHUP reloads, SIGTERM and
// SIGINT stop it.
func newServe(env Env) *cobra.Command {
	cmd := &cobra.Command{Use: "serve", Short: "Run the mail server in the foreground", Args: noArguments}
	dir := configDir(cmd, env)
	tty := cmd.Flags().Bool("log-stderr", false, "log to standard error, whatever maillog_file says")
	hints := cmd.Flags().Bool("hints", false, "print what to try once the server is ready")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		abs, err := filepath.Abs(*dir)
		if err != nil {
			return err
		}
		o := server.Options{Dir: abs, LogToTTY: *tty}
		o.Ready = func(addresses []string) {
			if *hints {
				printHints(env.Stdout, *dir, addresses)
				return
			}
			for _, a := range addresses {
				fmt.Fprintf(env.Stderr, "postern: listening on %s\n", a)
			}
		}
		hup := make(chan os.Signal, 1)
		signal.Notify(hup, syscall.SIGHUP)
		defer signal.Stop(hup)
		o.Reload = hup
		return server.Run(cmd.Context(), o)
	}
	return cmd
}
